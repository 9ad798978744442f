/* SPDX-License-Identifier: MIT */
/* tests/unit/layout.c: the shared memory and the handles are read by other builds and other
 * languages: where things lie is written down here as numbers, as in docs/protocol.md. */
#include "proto/board.h"
#include "proto/handle.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

TestSuite(layout, .timeout = 30);

Test(layout, header)
{
    cr_assert_eq(sizeof(struct board_header), 64);
    cr_assert_eq(offsetof(struct board_header, magic), 0);
    cr_assert_eq(offsetof(struct board_header, layout), 4);
    cr_assert_eq(offsetof(struct board_header, slot), 8);
    cr_assert_eq(offsetof(struct board_header, state), 12);
    cr_assert_eq(offsetof(struct board_header, instance), 16);
    cr_assert_eq(offsetof(struct board_header, base), 32);
    cr_assert_eq(offsetof(struct board_header, pid), 40);
    cr_assert_eq(BOARD_MAGIC, 0x54525058);
    cr_assert_eq(BOARD_LAYOUT, 2);
    cr_assert_eq(BOARD_LIVE, 1);
    cr_assert_eq(BOARD_DEAD, 2);
}

Test(layout, progress_board)
{
    cr_assert_eq(offsetof(struct board_progress, timelines), 4096);
    cr_assert_eq(offsetof(struct board_progress, stamps), 36864);
    cr_assert_eq(sizeof(struct board_progress), 36864 + 16 * 262144);
    cr_assert_eq(sizeof(struct board_timeline), 64);
    cr_assert_eq(offsetof(struct board_timeline, completed), 0);
    cr_assert_eq(offsetof(struct board_timeline, wake), 8);
    cr_assert_eq(offsetof(struct board_timeline, status), 12);
    cr_assert_eq(offsetof(struct board_timeline, state), 16);
    cr_assert_eq(offsetof(struct board_timeline, device), 20);
    cr_assert_eq(offsetof(struct board_timeline, last), 24);
    cr_assert_eq(sizeof(struct board_stamp), 16);
    cr_assert_eq(offsetof(struct board_stamp, point), 0);
    cr_assert_eq(offsetof(struct board_stamp, nanoseconds), 8);
    cr_assert_eq(TIMELINE_FREE, 0);
    cr_assert_eq(TIMELINE_LIVE, 1);
}

Test(layout, event_board)
{
    cr_assert_eq(offsetof(struct board_events, marks.timelines), 64);
    cr_assert_eq(offsetof(struct board_events, cells), 4096);
    cr_assert_eq(sizeof(struct board_events), 4096 + 16 * 262144);
    cr_assert_eq(sizeof(struct board_cell), 16);
    cr_assert_eq(offsetof(struct board_cell, point), 0);
    cr_assert_eq(offsetof(struct board_cell, generation), 8);
    cr_assert_eq(offsetof(struct board_cell, flags), 12);
    cr_assert_eq(CELL_TIMING, 1);
    cr_assert_eq(CELL_BLOCKING, 2);
    cr_assert_eq(CELL_INTERPROCESS, 4);
    cr_assert_eq(CELL_DEVICE_SHIFT, 8);
}

Test(layout, handles)
{
    cr_assert_eq(sizeof(struct handle), 64);
    cr_assert_eq(offsetof(struct handle, magic), 0);
    cr_assert_eq(offsetof(struct handle, kind), 4);
    cr_assert_eq(offsetof(struct handle, instance), 8);
    cr_assert_eq(offsetof(struct handle, token), 24);
    cr_assert_eq(HANDLE_MAGIC, 0x48525058);
}

Test(layout, points)
{
    static const uint64_t values[] = { 0, 1, 1000, POINT_VALUE_MAX };
    static const uint32_t slots[] = { 0, 1, BOARD_SLOTS - 1 };
    static const uint32_t streams[] = { 0, 1, BOARD_TIMELINES - 1 };

    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++)
            for (size_t m = 0; m < 4; m++) {
                uint64_t point = point_pack(slots[i], streams[k], values[m]);

                cr_assert_eq(point_slot(point), slots[i]);
                cr_assert_eq(point_stream(point), streams[k]);
                cr_assert_eq(point_value(point), values[m]);
            }
    cr_assert_eq(point_pack(0, 0, 0), 0, "0 means: never recorded");
    cr_assert_eq(point_pack(1, 2, 3), UINT64_C(0x0010100000000003));
    cr_assert_eq(point_pack(BOARD_SLOTS - 1, BOARD_TIMELINES - 1, POINT_VALUE_MAX), UINT64_MAX);
}

Test(layout, stamps)
{
    cr_assert_eq(stamp_pack(0, 0), 1, "0 means: none");
    cr_assert_eq(stamp_slot(stamp_pack(BOARD_SLOTS - 1, BOARD_CELLS - 1)), BOARD_SLOTS - 1);
    cr_assert_eq(stamp_cell(stamp_pack(BOARD_SLOTS - 1, BOARD_CELLS - 1)), BOARD_CELLS - 1);
    cr_assert_eq(stamp_cell(stamp_pack(5, 0)), 0);
    cr_assert_eq(stamp_slot(stamp_pack(5, 0)), 5);
}

/* ---- sleeping -------------------------------------------------------------------------------- */

static _Atomic uint32_t word;
static _Atomic uint32_t asleep;

static void *sleeper(void *data)
{
    (void)data;
    atomic_fetch_add(&asleep, 1);
    while (atomic_load(&word) == 0)
        board_sleep(&word, 0, UINT64_C(60000000000));
    return NULL;
}

Test(layout, a_wake_reaches_every_sleeper)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, sleeper, NULL), 0);
    while (atomic_load(&asleep) < 4)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    atomic_store(&word, 1);
    board_wake(&word);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

Test(layout, no_sleep_on_a_word_that_differs)
{
    atomic_store(&word, 7);
    board_sleep(&word, 6, UINT64_C(3600000000000)); /* or the time-out of the suite tells */
    board_sleep(&word, 7, 1000000);                 /* ends by itself */
}
