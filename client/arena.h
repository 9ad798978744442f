/* SPDX-License-Identifier: MIT */
/* client/arena.h: where the boards of all sessions are mapped.
 *
 * The progress board of slot s lies at arena_boards + s, so that a point is looked up with two
 * loads. A slot that is not mapped reads as zeros. Its marks lie at arena_marks + s, which can be
 * written at any time: where nothing is mapped that is for nobody.
 */
#pragma once

#include "proto/board.h"

#include <xpurt/base.h>

struct arena_slot {
    struct board_events *events;        /* mapped when an event of the slot was opened, or own */
    uint32_t opened;                    /* event objects that point into `events` */
    bool mapped;                        /* the progress board is in the arena */
    bool leased;                        /* the daemon keeps the slot for this session */
};

/* NULL before the first connection. Hidden: each query loads it, without a look at another table. */
extern __attribute__((visibility("hidden"))) const struct board_progress *arena_boards;
extern struct board_marks arena_marks[BOARD_SLOTS];
extern struct arena_slot arena_slots[BOARD_SLOTS];

/* Lies outside xpurt_result: the point's board is not mapped. */
#define ARENA_UNMAPPED ((xpurt_result) - 1)

/* Reserve the address space. 0 or -errno. */
int arena_reserve(void);

/* Map the progress board of @p slot, its marks, and the whole event board where @p cells are wanted;
 * what was there is replaced, save that a child's inherited events keep the cells that they have. The
 * descriptors stay the caller's. 0, -EPROTO for boards that are none of ours, or -errno. */
int arena_map(uint32_t slot, int progress_fd, int events_fd, bool cells);

void arena_unmap(uint32_t slot);

/* The daemon keeps @p slot for this session, from now on. */
void arena_lease(uint32_t slot);

/* The first slot, from @p slot on, of which there is anything here; BOARD_SLOTS: there is none. */
uint32_t arena_next(uint32_t slot);

#define ARENA_FOREACH(slot) \
    for (uint32_t slot = arena_next(0); slot < BOARD_SLOTS; slot = arena_next(slot + 1))

static inline bool arena_dead(uint32_t slot)
{
    return atomic_load_explicit(&arena_boards[slot].header.state, memory_order_acquire) ==
           BOARD_DEAD;
}

static inline const struct board_timeline *arena_timeline(uint64_t point)
{
    return &arena_boards[point_slot(point)].timelines[point_stream(point)];
}

/* The mark of its timeline, for who sleeps. */
static inline _Atomic uint32_t *arena_mark(uint64_t point)
{
    return &arena_marks[point_slot(point)].timelines[point_stream(point)];
}

static inline bool arena_reached(uint64_t point)
{
    return timeline_reached(arena_timeline(point), point_value(point));
}

/* XPURT_SUCCESS: reached; XPURT_NOT_READY; ARENA_UNMAPPED; else why it never will be. No lock. */
xpurt_result arena_point_state(uint64_t point);
