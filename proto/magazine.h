/* SPDX-License-Identifier: MIT */
/* proto/magazine.h: what daemon and client share about the client's own freed blocks.
 *
 * Memory that a client frees in stream order is likely to be wanted again by the same stream. Each
 * session has a magazine, a sealed memfd of a fixed size. A block that was allocated for a stream
 * gets an entry; freeing and allocating it again is a compare-and-swap of its entry, and the daemon
 * is not asked. While it is cached there, the block still belongs to the session:
 *
 *      USED  --- client: freed --->  CACHED  --- daemon: wants it back --->  GONE
 *        ^------ client: allocated ----'
 *
 * A cached entry holds the client's position: the bytes of all commands it gave to the connection
 * before. The daemon takes a block back only when it has read as many, so that no command that uses
 * the block is still under way. The daemon trusts none of it: an entry names a block that this
 * session owns anyway, so a client that lies here takes memory from nobody but itself.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define MAGAZINE_MAGIC 0x474d5058u               /* "XPMG" */
#define MAGAZINE_ENTRIES 1024u                   /* blocks of one session */
#define MAGAZINE_BLOCK_MAX (UINT64_C(64) << 20)  /* bytes: larger ones are worth a round trip */
#define MAGAZINE_BYTES_MAX (UINT64_C(256) << 20) /* that a client caches; then it frees */
#define MAGAZINE_DEVICES 64u

enum magazine_state {
    MAGAZINE_GONE,                      /* not the session's any more, or never was */
    MAGAZINE_USED,                      /* the rest of the word: bytes asked for */
    MAGAZINE_CACHED,                    /* the rest of the word: the client's position */
};

/* Frees that were under way: what the daemon has finished, by size class: small, large. Only grows.
 * Blocks whose free was a swap of an entry are not among them. */
struct magazine_finished {
    _Atomic uint64_t blocks[2];
    _Atomic uint64_t bytes[2];
};

struct magazine_page {
    uint32_t magic;
    uint32_t reserved[15];
    struct magazine_finished finished[MAGAZINE_DEVICES]; /* written by the daemon */
    _Alignas(4096) _Atomic uint64_t entries[MAGAZINE_ENTRIES];
};

#define MAGAZINE_COUNTED \
    0u                                  /* USED for so many bytes: freed before, now the daemon's to
                                           free; not to be counted as finished */

static inline uint64_t magazine_word(enum magazine_state state, uint64_t value)
{
    return value << 2 | state;
}

static inline enum magazine_state magazine_state(uint64_t word)
{
    return (enum magazine_state)(word & 3);
}

static inline uint64_t magazine_value(uint64_t word)
{
    return word >> 2;
}
