/* SPDX-License-Identifier: MIT */
/* Counting records in a cell, and sleeping until one more comes (order rule 4). */
#include "client/generation.h"
#include "client/deferred.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

static struct board_cell cell_at(uint32_t generation)
{
    struct board_cell cell = { .point = 1 };

    atomic_store(&cell.generation, generation);
    return cell;
}

Test(generation, counts_modulo_2_to_32)
{
    static const uint32_t starts[] = { 0, 1, 0x7fffffffu, 0x80000000u, UINT32_MAX };

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        uint32_t start = starts[i];
        struct board_cell cell = cell_at(start);

        cr_assert(generation_there(&cell, start));
        cr_assert_not(generation_there(&cell, start + 1));
        cr_assert_not(generation_there(&cell, start + 0x7fffffffu));
        cr_assert_not(generation_there(&cell, start + 0x80000000u));
        cr_assert(generation_there(&cell, start - 1));
        cr_assert(generation_there(&cell, start - 0x7fffffffu));
        cell_store(&cell, 2, 1);
        cr_assert(generation_there(&cell, start + 1));
        cell_store(&cell, 3, 5);
        cr_assert(generation_there(&cell, start + 6));
        cr_assert_not(generation_there(&cell, start + 7));
    }
}

Test(generation, a_record_takes_the_mark_of_waiters)
{
    struct board_cell cell = cell_at(0);

    atomic_store(&cell.flags, CELL_TIMING | 3u << CELL_DEVICE_SHIFT);
    cell_store(&cell, 7, 1);
    cr_assert_eq(cell.flags, CELL_TIMING | 3u << CELL_DEVICE_SHIFT);
    atomic_fetch_or(&cell.flags, CELL_WAITED);
    cell_store(&cell, 8, 1);
    cr_assert_eq(cell.flags, CELL_TIMING | 3u << CELL_DEVICE_SHIFT);
    cr_assert_eq(cell.point, 8);
    cr_assert_eq(cell.generation, 2);
}

/* Waiters without slices: a wake-up that is lost hangs the test. */
enum { WAITERS = 4, RECORDS = 20000 };

static struct board_cell shared;
static _Atomic uint32_t seen[WAITERS];

static void *wait_for_each(void *arg)
{
    _Atomic uint32_t *mine = arg;

    for (uint32_t i = 1; i <= RECORDS; i++) {
        for (;;) {
            uint32_t generation;

            mark_set(&shared.flags, CELL_WAITED);
            generation = atomic_load(&shared.generation);
            if (generation_there(&shared, i))
                break;
            if (mark_there(&shared.flags, CELL_WAITED))
                board_sleep(&shared.generation, generation, UINT64_C(3600000000000));
        }
        atomic_store(mine, i);
    }
    return NULL;
}

/* Each record is made when one waiter at least is on its way to sleep for it. */
Test(generation, no_wake_up_is_lost)
{
    pthread_t threads[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, wait_for_each, &seen[i]), 0);
    for (uint32_t i = 1; i <= RECORDS; i++) {
        while (atomic_load(&seen[i % WAITERS]) != i - 1)
            sched_yield();
        cell_store(&shared, i, 1);
    }
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
}
