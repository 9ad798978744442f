/* SPDX-License-Identifier: MIT */
/* tests/unit/bells.c: bells are heard each time, and the loop beside them. */
#include "daemon/bells.h"

#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BELLS 100                       /* more than are heard at a time */
#define TIMER_MS 20

static uv_loop_t loop;
static uv_timer_t timer;
static struct bells bells;
static struct bell all[BELLS];
static unsigned heard[BELLS], fired;
static bool silence_others;

static void on_rung(struct bell *bell)
{
    heard[bell - all]++;
    for (unsigned i = 0; silence_others && i < BELLS; i++)
        if (&all[i] != bell)
            bells_remove(&bells, &all[i]);
}

static void ring(unsigned i)
{
    cr_assert_eq(eventfd_write(all[i].fd, 1), 0);
}

/* How often bells were told. */
static unsigned told(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < BELLS; i++)
        sum += heard[i];
    return sum;
}

static void on_timer(uv_timer_t *where)
{
    (void)where;
    fired++;
}

static void begin(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(bells_init(&bells, &loop), 0);
    uv_timer_init(&loop, &timer);
    for (unsigned i = 0; i < BELLS; i++) {
        all[i] = (struct bell){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .rung = on_rung };
        cr_assert_eq(bells_add(&bells, &all[i]), 0);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < BELLS; i++) {
        bells_remove(&bells, &all[i]);
        close(all[i].fd);
    }
    bells_deinit(&bells);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(bells, .init = begin, .fini = end, .timeout = 60);

Test(bells, each_is_told_each_time)
{
    uv_timer_start(&timer, on_timer, 1000000, 0); /* the loop has something to wait for */
    uv_run(&loop, UV_RUN_NOWAIT);
    for (unsigned times = 1; times <= 3; times++) { /* and nobody reads them */
        for (unsigned i = 0; i < BELLS; i++)
            ring(i);
        while (told() < times * BELLS)
            cr_assert_not(bells_await(&bells, true));
        for (unsigned i = 0; i < BELLS; i++)
            cr_assert_eq(heard[i], times);
    }
    cr_assert_not(bells_await(&bells, false));
    cr_assert_eq(told(), 3 * BELLS);
}

/* Bells that ring all the time do not make the loop's clock stand still. */
Test(bells, timers_fire_beside_them)
{
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired) {
        ring(0);
        if (bells_await(&bells, true))
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    cr_assert_gt(heard[0], 1);
}

Test(bells, waiting_ends_with_a_timer)
{
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired)
        if (bells_await(&bells, true))
            uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_eq(told(), 0);
}

Test(bells, what_the_loop_watches_is_heard)
{
    uv_async_t async;

    cr_assert_eq(uv_async_init(&loop, &async, NULL), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_not(bells_await(&bells, false));
    uv_async_send(&async);
    cr_assert(bells_await(&bells, true));
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_not(bells_await(&bells, false));
    uv_close((uv_handle_t *)&async, NULL);
    cr_assert(bells_await(&bells, true), "a handle to close does not wait");
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* One that rang, and is removed before it is its turn, may be gone. */
Test(bells, who_is_removed_is_told_nothing)
{
    silence_others = true;
    ring(7);
    ring(8);
    ring(9);
    (void)bells_await(&bells, true);
    (void)bells_await(&bells, false);
    cr_assert_eq(told(), 1);
}
