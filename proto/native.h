/* SPDX-License-Identifier: MIT */
/* proto/native.h: the layout of native boards: Level Zero events that several processes use.
 *
 * A session that works with a Level Zero context of its own has a third board. Its slots are events
 * in pools that the daemon made and the session opened; a record on an external stream signals one,
 * and others wait for it on their own queues, without asking the daemon.
 *
 *   claim     the owner takes a FREE slot: CLAIMED
 *   record    it appends a signal of the slot, stores `point`, then sends the record
 *   pin       another session that wants to wait writes the slot to one of its own pins, and after
 *             that looks whether `point` is still the one it means. Yes: the slot is not reused before
 *             the pin goes. It appends its wait and tells the daemon, which holds the slot for it
 *             from then on and clears the pin.
 *   reclaim   when nobody holds the slot, the daemon stores point = 0, and after that looks at the pins
 *             of all sessions of the user. None names it: reset, FREE. Else it looks again later.
 *
 * Either the pin is seen by the daemon or the zero by the one who pins: both sides store first and
 * look then, sequentially consistent. Pins of a dead session do not count. Written by sessions of one
 * user, who trust each other; the daemon trusts nothing here, and a lie costs the liar's user
 * only. Checked by the model in tests/model.
 */
#pragma once

#include "proto/board.h"

#define NATIVE_POOL_SLOTS 512u          /* drivers round a pool of any size up to 64 KiB */
#define NATIVE_POOLS 8u                 /* of a session */
#define NATIVE_SLOTS (NATIVE_POOLS * NATIVE_POOL_SLOTS)
#define NATIVE_PINS 64u                 /* waits that the daemon has not seen yet */
#define NATIVE_HINTS 8u                 /* latest points of a timeline that can be found */
#define NATIVE_WAITS 64u                /* of a stream since its last record: each holds a slot */

enum native_state {
    NATIVE_NONE = 0,                    /* its pool was not made yet */
    NATIVE_FREE = 1,
    NATIVE_CLAIMED = 2,
};

struct native_slot {
    _Atomic uint64_t point;             /* what it tells of; 0: nothing others may wait for */
    _Atomic uint32_t state;             /* enum native_state */
    uint32_t reserved;
};

struct board_native {
    struct board_header header;
    uint8_t pad[BOARD_PAGE - sizeof(struct board_header)];
    struct native_slot slots[NATIVE_SLOTS];
    _Atomic uint16_t hints[BOARD_TIMELINES][NATIVE_HINTS]; /* by value: 1 + slot, or stale */
    _Atomic uint64_t pins[NATIVE_PINS];                    /* native_pin(), or 0 */
    uint8_t rest[BOARD_PAGE - NATIVE_PINS * sizeof(uint64_t)];
};

_Static_assert(sizeof(struct native_slot) == 16, "a slot is 16 bytes");
_Static_assert(sizeof(struct board_native) % BOARD_PAGE == 0, "boards are whole pages");

static inline uint64_t native_pin(uint32_t owner, uint32_t slot)
{
    return (uint64_t)1 << 63 | (uint64_t)owner << 32 | slot;
}
