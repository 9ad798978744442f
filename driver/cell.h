/* SPDX-License-Identifier: MIT */
/* cell.h: a 64-bit word that can be waited for. Everything in the driver that completes (events,
 * fences, queues, timelines) is a cell; to wait is to wait until `value >= target`.
 */
#ifndef SOFT_CELL_H
#define SOFT_CELL_H

#include "soft.h"

/* Lives in private memory, or in an event pool shared by several processes. */
struct cell {
    _Atomic uint64_t value;
    _Atomic uint32_t sleepers;          /* host threads in futex waits, all processes */
    _Atomic uint32_t parked;            /* waiting queues, all processes */
};

/* One per shared pool: rung after a cell changed for which a queue of some process is parked. */
struct doorbell {
    _Atomic uint32_t rings;
};

struct waiter {
    struct cell *cell;                  /* borrowed: whoever parks keeps it mapped until woken */
    uint64_t target;
    struct doorbell *bell;                          /* NULL for a private cell */
    void (*wake)(struct waiter *waiter, bool last); /* last: of those woken together */
    struct waiter *next, **link;
};

static inline bool cell_reached(const struct cell *cell, uint64_t target)
{
    return atomic_load_explicit(&cell->value, memory_order_acquire) >= target;
}

void cell_store_parked(struct cell *cell, uint64_t value, struct doorbell *bell);
void cell_wake(struct cell *cell, struct doorbell *bell);

/* Sets the value and wakes whoever waits for it. Who was parked here before is satisfied even when
 * somebody resets the cell before he runs; who parks after such a reset is not. */
static inline void cell_store(struct cell *cell, uint64_t value, struct doorbell *bell)
{
    if (UNLIKELY(atomic_load_explicit(&cell->parked, memory_order_seq_cst))) {
        cell_store_parked(cell, value, bell);
        return;
    }
    atomic_store_explicit(&cell->value, value, memory_order_seq_cst);
    if (UNLIKELY(atomic_load_explicit(&cell->sleepers, memory_order_seq_cst) |
                 atomic_load_explicit(&cell->parked, memory_order_seq_cst)))
        cell_wake(cell, bell);
}

/* False: already reached, the waiter is not used. True: wake() is called exactly once, from any
 * thread, perhaps before this returns. */
bool cell_park(struct waiter *waiter);

/* Sleeps until reached: NOT_READY after @p timeout ns (0: at once, UINT64_MAX: never), DEVICE_LOST
 * when @p lost (may be NULL) becomes true. */
ze_result_t cell_wait(struct cell *cell, uint64_t target, struct doorbell *bell, uint64_t timeout,
                      const _Atomic bool *lost);

void cell_after_fork(void);

/* for the listener (listen.c): wakes what was reached in other processes, and tells which doorbells
 * to listen to from now on */
struct listened {
    struct doorbell *bell;
    uint32_t rings;
};
size_t cell_rescan_shared(struct listened *bells, size_t size, bool *ret_more);
void listen_notify(void);
void listen_after_fork(void);

#endif
