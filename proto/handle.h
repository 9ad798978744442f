/* SPDX-License-Identifier: MIT */
/* proto/handle.h: what the 64 bytes of an exported handle hold.
 *
 * Clients pass handles on untouched. The daemon remembers every byte it gave out and compares them
 * all, so that an altered handle is refused wherever it was altered. The instance lets a daemon
 * tell a handle of an earlier start (stale) from a wrong one.
 */
#pragma once

#include <stdint.h>

#define HANDLE_SIZE 64u
#define HANDLE_MAGIC 0x48525058u        /* "XPRH" */

enum handle_kind {
    HANDLE_EVENT = 1,
    HANDLE_MEMORY = 2,
};

struct handle {
    uint32_t magic;
    uint32_t kind;                      /* enum handle_kind */
    uint8_t instance[16];               /* of the daemon that made it */
    uint8_t token[40];                  /* random: who does not hold the handle cannot guess it */
};

_Static_assert(sizeof(struct handle) == HANDLE_SIZE, "a handle is 64 bytes");
