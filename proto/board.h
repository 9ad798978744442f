/* SPDX-License-Identifier: MIT */
/* proto/board.h: the layout of the memory that daemon and clients share.
 *
 * Each session has two boards, both sealed memfds of a fixed size, sparse:
 *
 *   progress   written by the daemon only; mapped read-only by its owner and by importers
 *   events     written by owner and importers, and the marks in it also by the daemon, which never
 *              trusts what it reads there
 *
 * A point names a moment of a stream: (session slot, stream, value) in one 64-bit word. It is
 * reached when the timeline's `completed` >= value. Values only ever grow, also when a timeline is
 * given to a new stream and when a slot is given to a new session (`base`), so that a stale point
 * reads as reached.
 *
 * Order rules (checked by the model in tests/model):
 *   1. a point is stored in a cell only after its Record was handed to the transport;
 *   2. `completed` is stored with release and read with acquire: who sees the value sees the data;
 *   3. `status` is stored before `wake` is bumped, `wake` before FUTEX_WAKE: nobody sleeps through
 *      an error;
 *   4. who records bumps `generation`, then looks for CELL_WAITED; who waits for a record sets
 *      CELL_WAITED, then looks at `generation`: one of the two sees the other. `wake` of a timeline and
 *      its mark are the same, see mark_take().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOARD_MAGIC 0x54525058u         /* "XPRT" */
#define BOARD_LAYOUT 2u

#define POINT_SLOT_BITS 12
#define POINT_STREAM_BITS 9
#define POINT_VALUE_BITS 43

#define BOARD_SLOTS (1u << POINT_SLOT_BITS)       /* sessions of one daemon at a time */
#define BOARD_TIMELINES (1u << POINT_STREAM_BITS) /* streams of one session at a time */
#define BOARD_CELLS (1u << 18)                    /* events of one session at a time */
#define POINT_VALUE_MAX ((UINT64_C(1) << POINT_VALUE_BITS) - 1)

/* ---- points ------------------------------------------------------------------------------- */

static inline uint64_t point_pack(uint32_t slot, uint32_t stream, uint64_t value)
{
    return ((uint64_t)slot << (POINT_STREAM_BITS + POINT_VALUE_BITS)) |
           ((uint64_t)stream << POINT_VALUE_BITS) | value;
}

static inline uint32_t point_slot(uint64_t point)
{
    return (uint32_t)(point >> (POINT_STREAM_BITS + POINT_VALUE_BITS));
}

static inline uint32_t point_stream(uint64_t point)
{
    return (uint32_t)(point >> POINT_VALUE_BITS) & (BOARD_TIMELINES - 1);
}

static inline uint64_t point_value(uint64_t point)
{
    return point & POINT_VALUE_MAX;
}

/* Which stamp a timing Record fills: 1 + (board slot, cell), so that 0 means none. */
static inline uint64_t stamp_pack(uint32_t slot, uint32_t cell)
{
    return 1 + (((uint64_t)slot << 32) | cell);
}

static inline uint32_t stamp_slot(uint64_t stamp)
{
    return (uint32_t)((stamp - 1) >> 32);
}

static inline uint32_t stamp_cell(uint64_t stamp)
{
    return (uint32_t)(stamp - 1);
}

/* ---- progress board ------------------------------------------------------------------------ */

enum board_state {
    BOARD_LIVE = 1,
    BOARD_DEAD = 2,                     /* the session is gone; timelines only drain */
};

struct board_header {
    uint32_t magic;
    uint32_t layout;
    uint32_t slot;
    _Atomic uint32_t state;             /* enum board_state */
    uint8_t instance[16];               /* of the daemon */
    uint64_t base;                      /* values <= base belong to earlier sessions: reached */
    int32_t pid;                        /* of the owner, for messages */
    _Atomic uint32_t cpu;               /* of the progress board: 1 + where the daemon served the
                                           session last; 0: not said */
    uint32_t reserved[4];
};

enum timeline_state {
    TIMELINE_FREE = 0,                  /* no stream, or its last one is drained */
    TIMELINE_LIVE = 1,
};

struct board_timeline {
    _Atomic uint64_t completed;         /* the value reached; 0: nothing since `base` */
    _Atomic uint32_t wake;              /* futex word: bumped after each publication */
    _Atomic uint32_t status;            /* an xpurt_result; not 0: later values never come */
    _Atomic uint32_t state;             /* enum timeline_state */
    _Atomic uint32_t device;
    _Atomic uint64_t last;     /* while FREE: the highest value ever used here; a new
                                  stream begins behind it (and behind `base`) */
    _Atomic uint32_t external; /* its points have slots on the native board, see native.h */
    uint32_t reserved_word;
    uint64_t reserved[3];
};

/* When a timing event was reached; valid for the event's point only if `point` equals it before
 * and after `nanoseconds` was read. */
struct board_stamp {
    _Atomic uint64_t point;
    _Atomic uint64_t nanoseconds;       /* of the device's own clock */
};

#define BOARD_PAGE 4096u

struct board_progress {
    struct board_header header;
    uint8_t pad[BOARD_PAGE - sizeof(struct board_header)];
    struct board_timeline timelines[BOARD_TIMELINES];
    struct board_stamp stamps[BOARD_CELLS];
};

/* ---- event board ---------------------------------------------------------------------------- */

#define CELL_TIMING 0x1u
#define CELL_BLOCKING 0x2u
#define CELL_INTERPROCESS 0x4u
#define CELL_FLAGS 0xffu
#define CELL_DEVICE_SHIFT 8             /* 1 + the device of the first record; 0: none yet */
#define CELL_DEVICE_MASK 0xffff00u
#define CELL_WAITED 0x1000000u          /* somebody sleeps on `generation` */

struct board_cell {
    _Atomic uint64_t point;             /* 0: never recorded */
    _Atomic uint32_t generation;        /* records so far, modulo 2^32 */
    _Atomic uint32_t flags;             /* CELL_* */
};

#define MARK_SLEEPS 1u                  /* somebody sleeps on `wake` of the timeline */

/* The first page. Whoever has mapped the progress board of a session has mapped this too. */
struct board_marks {
    struct board_header header;
    _Atomic uint32_t timelines[BOARD_TIMELINES]; /* MARK_SLEEPS */
    uint8_t pad[BOARD_PAGE - sizeof(struct board_header) - BOARD_TIMELINES * sizeof(uint32_t)];
};

struct board_events {
    struct board_marks marks;
    struct board_cell cells[BOARD_CELLS];
};

_Static_assert(sizeof(struct board_header) == 64, "the header is one cache line");
_Static_assert(sizeof(struct board_timeline) == 64, "a timeline is one cache line");
_Static_assert(sizeof(struct board_cell) == 16, "a cell is 16 bytes");
_Static_assert(sizeof(struct board_stamp) == 16, "a stamp is 16 bytes");
_Static_assert(sizeof(struct board_marks) == BOARD_PAGE, "the marks are the first page");
_Static_assert(sizeof(struct board_progress) % BOARD_PAGE == 0, "boards are whole pages");
_Static_assert(sizeof(struct board_events) % BOARD_PAGE == 0, "boards are whole pages");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "points are shared between processes");

/* ---- what both sides do with a timeline ------------------------------------------------------ */

/* Has @p timeline reached @p value? Acquire: who sees the value sees the data behind it. */
static inline bool timeline_reached(const struct board_timeline *timeline, uint64_t value)
{
    return atomic_load_explicit(&timeline->completed, memory_order_acquire) >= value;
}

/* ---- sleeping and waking ------------------------------------------------------------------- */

/* Who sleeps on a futex word sets a bit of a mark, so that who wakes need not ask the kernel when there is
 * nobody. All of it sequentially consistent:
 *
 *      to sleep   mark_set(), load the word, look whether there is something to sleep for; if
 *                 mark_there() still, board_sleep() on the word that was loaded; begin again
 *      to wake    mark_take(), bump the word; board_wake() if the mark was taken, or is there (again)
 *
 * One of the two sees the other. The mark is cleared before the bump, never after, and looked for once
 * more before the sleep: a mark that is cleared after that look is followed by a bump, which ends the
 * sleep, and no mark of who waits for the next bump is lost (tests/model/generation.pml). */
static inline void mark_set(_Atomic uint32_t *mark, uint32_t bit)
{
    atomic_fetch_or(mark, bit);
}

static inline bool mark_there(const _Atomic uint32_t *mark, uint32_t bit)
{
    return atomic_load(mark) & bit;
}

static inline bool mark_take(_Atomic uint32_t *mark, uint32_t bit)
{
    bool there = mark_there(mark, bit);

    if (there)
        atomic_fetch_and(mark, ~bit);
    return there;
}

/* Wake every waiter of a futex word. Whether there were any. */
bool board_wake(_Atomic uint32_t *word);

/* Sleep while *word == seen, for at most timeout_ns. Returns at once when the word differs. May
 * return early for no reason. Works on read-only mappings. */
void board_sleep(const _Atomic uint32_t *word, uint32_t seen, uint64_t timeout_ns);
