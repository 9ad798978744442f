/* SPDX-License-Identifier: MIT */
/* tests/unit/timeline.c: publishing wakes who says that they sleep, and nobody else. */
#include "daemon/board.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <xpurt/base.h>

#define FOR_EVER UINT64_C(3600000000000) /* a wake-up that is lost hangs the test */

enum { WAITERS = 4, VALUES = 20000 };

static struct board_timeline timeline;
static _Atomic uint32_t mark;
static _Atomic uint64_t seen[WAITERS];

static void await(uint64_t value)
{
    for (;;) {
        uint32_t wake;

        mark_set(&mark, MARK_SLEEPS);
        wake = atomic_load(&timeline.wake);
        if (timeline_reached(&timeline, value) || atomic_load(&timeline.status))
            return;
        if (mark_there(&mark, MARK_SLEEPS))
            board_sleep(&timeline.wake, wake, FOR_EVER);
    }
}

static void *await_each(void *data)
{
    _Atomic uint64_t *mine = data;

    for (uint64_t value = 1; value <= VALUES; value++) {
        await(value);
        atomic_store(mine, value);
    }
    return NULL;
}

static void start(pthread_t threads[WAITERS])
{
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, await_each, &seen[i]), 0);
}

static void join(pthread_t threads[WAITERS])
{
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
}

Test(timeline, without_sleepers_nobody_is_woken)
{
    timeline_publish(&timeline, 1);
    cr_assert_not(timeline_wake(&timeline, &mark));
    cr_assert_eq(timeline.wake, 1);
    mark_set(&mark, MARK_SLEEPS);       /* who has not gone to sleep yet */
    cr_assert_not(timeline_wake(&timeline, &mark));
    cr_assert_eq(timeline.wake, 2);
    cr_assert_not(mark_there(&mark, MARK_SLEEPS));
}

/* Each value when one waiter at least is on its way to sleep for it. */
static void publish_each(void)
{
    for (uint64_t value = 1; value <= VALUES; value++) {
        while (atomic_load(&seen[value % WAITERS]) != value - 1)
            sched_yield();
        timeline_publish(&timeline, value);
        (void)timeline_wake(&timeline, &mark);
    }
}

Test(timeline, no_wake_up_is_lost)
{
    pthread_t threads[WAITERS];

    start(threads);
    publish_each();
    join(threads);
}

static void *wake_all_the_time(void *data)
{
    _Atomic bool *stop = data;

    while (!atomic_load(stop))
        (void)timeline_wake(&timeline, &mark);
    return NULL;
}

/* Loop and reaper may wake at the same time, of which only one has published. */
Test(timeline, two_that_wake_lose_nobody)
{
    pthread_t threads[WAITERS], other;
    _Atomic bool stop = false;

    start(threads);
    cr_assert_eq(pthread_create(&other, NULL, wake_all_the_time, &stop), 0);
    publish_each();
    atomic_store(&stop, true);
    pthread_join(other, NULL);
    join(threads);
}

Test(timeline, a_failure_wakes_and_the_first_reason_stays)
{
    pthread_t threads[WAITERS];

    start(threads);
    while (!mark_there(&mark, MARK_SLEEPS))
        sched_yield();
    timeline_fail(&timeline, &mark, XPURT_ERROR_PEER_LOST);
    timeline_fail(&timeline, &mark, XPURT_ERROR_DEPENDENCY);
    join(threads);
    cr_assert_eq(timeline.status, XPURT_ERROR_PEER_LOST);
}
