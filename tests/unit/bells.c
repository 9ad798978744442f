/* SPDX-License-Identifier: MIT */
/* tests/unit/bells.c: bells are heard each time, and the loop beside them. */
#include "daemon/bells.h"

#include "proto/board.h"
#include "proto/ring.h"

#include <criterion/criterion.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BELLS 100                       /* more than are heard at a time */
#define TIMER_MS 20
#define LONG_MS 1000
#define RINGS 100                       /* more than it takes to be slept on */
#define PAUSE_US 300
#define ATTACKS 50

static uv_loop_t loop;
static uv_timer_t timer;
static struct bells bells;
static struct bell all[BELLS];
static unsigned heard[BELLS], fired, broken;
static bool silence_others;

static void on_rung(struct bell *bell, bool is_broken)
{
    cr_assert_not(is_broken);
    heard[bell - all]++;
    for (unsigned i = 0; silence_others && i < BELLS; i++)
        if (&all[i] != bell && !uv_is_closing((uv_handle_t *)&all[i].poll))
            bells_close(&bells, &all[i], NULL);
}

static void on_broken(struct bell *bell, bool is_broken)
{
    (void)bell;
    broken += is_broken;
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
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void end(void)
{
    for (unsigned i = 0; i < BELLS; i++) {
        if (!uv_is_closing((uv_handle_t *)&all[i].poll))
            bells_close(&bells, &all[i], NULL);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < BELLS; i++)
        close(all[i].fd);
    bells_deinit(&bells);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(bells, .init = begin, .fini = end, .timeout = 60);

/* One round, as rota_round() makes it. */
static void round_of(bool wait)
{
    if (bells_await(&bells, wait))
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* Until those that were told were told all. */
static void settle(void)
{
    for (unsigned before = told() + 1; before != told();) {
        before = told();
        for (unsigned i = 0; i < BELLS; i++)
            round_of(false);
    }
}

static void ring_all_again_and_again(void)
{
    for (unsigned times = 1; times <= 3; times++) { /* and nobody reads them */
        unsigned before[BELLS];

        memcpy(before, heard, sizeof(heard));
        for (unsigned i = 0; i < BELLS; i++)
            ring(i);
        round_of(true);                 /* does not wait for ever */
        settle();
        for (unsigned i = 0; i < BELLS; i++)
            cr_assert_gt(heard[i], before[i]);
    }
}

Test(bells, each_is_told_each_time)
{
    cr_assert(bells.direct);
    ring_all_again_and_again();
}

/* Where a libuv watches for edges, it has to look first. */
Test(bells, the_loop_tells_them_too)
{
    bells.direct = false;
    ring_all_again_and_again();
}

/* Bells that ring all the time do not make the loop's clock stand still. */
Test(bells, timers_fire_beside_them)
{
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired) {
        ring(0);
        round_of(true);
    }
    cr_assert_gt(heard[0], 1);
}

Test(bells, waiting_ends_with_a_timer)
{
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired)
        round_of(true);
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

/* A bell that keeps us for long does not put off a timer for longer than that. */
Test(bells, timers_fire_after_long_work)
{
    uint64_t begin = uv_hrtime();

    uv_timer_start(&timer, on_timer, LONG_MS, 0);
    ring(0);
    round_of(true);
    usleep(LONG_MS * 900);              /* as if that bell's work took it */
    while (!fired)
        round_of(true);
    cr_assert_lt(uv_hrtime() - begin, UINT64_C(1000000) * LONG_MS * 3 / 2);
}

/* What reports an error: the end of a pipe that nobody reads. */
static void hear_broken(void)
{
    struct bell bell = { .rung = on_broken };
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    bell.fd = ends[1];
    cr_assert_eq(bells_add(&bells, &bell), 0);
    while (!broken)
        round_of(true);
    bells_close(&bells, &bell, NULL);
    round_of(false);
    close(ends[1]);
}

Test(bells, a_broken_one_says_so)
{
    hear_broken();
}

Test(bells, a_broken_one_says_so_by_the_loop)
{
    bells.direct = false;
    hear_broken();
}

static uv_poll_t other;

static void on_other(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    fired++;
    uv_close((uv_handle_t *)poll, NULL);
}

static void watch_other(struct bell *bell, bool is_broken)
{
    cr_assert_not(is_broken);
    if (!heard[bell - all]++)
        uv_poll_start(&other, UV_READABLE, on_other);
}

/* libuv puts into its set at the next round only what it is to watch. */
Test(bells, what_a_bell_begins_to_watch_is_watched)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

    cr_assert_eq(uv_poll_init(&loop, &other, fd), 0);
    all[3].rung = watch_other;
    ring(3);
    while (!fired)
        round_of(true);
    round_of(false);
    close(fd);
}

/* One that rang, and is removed before it is its turn, may be gone. */
Test(bells, who_is_removed_is_told_nothing)
{
    silence_others = true;
    ring(7);
    ring(8);
    ring(9);
    round_of(true);
    round_of(false);
    cr_assert_lt(0, told());
    cr_assert_eq(told(), heard[7] + heard[8] + heard[9]);
    cr_assert_eq(!heard[7] + !heard[8] + !heard[9], 2, "only the first is told");
}

/* ---- sleeping on a ring -------------------------------------------------------------------------------- */

/* Two rings, whose bells are the first two of all. */
static _Atomic uint32_t words[2];
static _Atomic unsigned slept[2];       /* how often they were put to sleep */
static _Atomic bool over;
static unsigned woken_by_word;
static uv_async_t async;

static void on_ring(struct bell *bell, bool is_broken)
{
    cr_assert_not(is_broken);
    heard[bell - all]++;
    atomic_store(&words[bell - all], RING_ASLEEP);
    atomic_fetch_add(&slept[bell - all], 1);
}

static void on_over(uv_async_t *where)
{
    (void)where;
    atomic_store(&over, true);
}

static void begin_rings(void)
{
    cr_assert_eq(uv_async_init(&loop, &async, on_over), 0);
    for (unsigned i = 0; i < 2; i++) {
        all[i].rung = on_ring;
        all[i].asleep = &words[i];
    }
}

/* As a client does, who waits until it was served. */
static void call(unsigned i)
{
    unsigned before = atomic_load(&slept[i]);

    if (atomic_exchange(&words[i], RING_AWAKE) == RING_DOZING) {
        woken_by_word++;
        board_wake(&words[i]);
    } else {
        ring(i);
    }
    while (atomic_load(&slept[i]) == before)
        usleep(10);
}

/* The first, then the second, then both in turns, then the loop. */
static void *call_often(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 3 * RINGS; i++) {
        usleep(PAUSE_US);
        call(i / RINGS < 2 ? i / RINGS : i % 2);
    }
    usleep(PAUSE_US);
    uv_async_send(&async);
    return NULL;
}

/* Rounds, until the other thread, or the loop, says that it is over. */
static void rounds_beside(void *(*thread_main)(void *arg))
{
    pthread_t thread;

    atomic_store(&over, false);
    cr_assert_eq(pthread_create(&thread, NULL, thread_main, NULL), 0);
    while (!atomic_load(&over))
        round_of(true);
    pthread_join(thread, NULL);
}

/* The next sleep is on the first ring. */
static void favour_first(void)
{
    settle();
    do {
        ring(0);                        /* as one that was not asleep yet */
        words[0] = RING_AWAKE;
        round_of(true);
    } while (bells.favourite != &all[0] || bells.times < all[0].enough);
    cr_assert_eq(words[0], RING_ASLEEP);
}

static void end_rings(void)
{
    uv_close((uv_handle_t *)&async, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

Test(bells, whose_calls_end_most_sleeps_is_slept_on)
{
    begin_rings();
    rounds_beside(call_often);
    cr_assert_geq(heard[0], RINGS * 3 / 2);
    cr_assert_geq(heard[1], RINGS * 3 / 2);
    cr_assert_gt(woken_by_word, RINGS / 2);
    end_rings();
}

static void *call_second(void *arg)
{
    (void)arg;
    usleep(TIMER_MS * 1000);
    call(1);
    uv_async_send(&async);
    return NULL;
}

Test(bells, others_are_heard_meanwhile_and_make_it_rarer)
{
    uint64_t enough = all[0].enough;

    begin_rings();
    favour_first();
    rounds_beside(call_second);
    cr_assert_geq(heard[1], 1);
    cr_assert_eq(all[0].enough, 2 * enough);
    cr_assert_not(bells.watched);
    end_rings();
}

Test(bells, timers_fire_meanwhile)
{
    begin_rings();
    favour_first();
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired)
        round_of(true);
    end_rings();
}

/* A client writes what it likes. */
static void *scribble(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&over); i++) {
        atomic_store(&words[0], i % 7 ? RING_DOZING : i % 2 ? RING_ASLEEP : RING_AWAKE);
        if (i % 1000 == 999)
            uv_async_send(&async);
    }
    return NULL;
}

/* It sends who sleeps on the word to another one, where nobody wakes it. */
static void *requeue(void *arg)
{
    static _Atomic uint32_t elsewhere;
    uint64_t end = uv_hrtime() + UINT64_C(1000000) * LONG_MS;
    long moved = 0;

    (void)arg;
    while (moved <= 0 && uv_hrtime() < end)
        moved = syscall(SYS_futex, &words[0], FUTEX_REQUEUE, 0, 1000, &elsewhere, 0);
    cr_assert_eq(moved, 1);
    uv_async_send(&async);
    return NULL;
}

static void attack(void *(*thread_main)(void *arg))
{
    begin_rings();
    for (unsigned i = 0; i < ATTACKS; i++) {
        all[0].enough = 8;              /* the first one is enough again */
        favour_first();
        rounds_beside(thread_main);
    }
    end_rings();
}

Test(bells, who_writes_to_the_word_cannot_keep_us_asleep)
{
    attack(scribble);
}

Test(bells, who_requeues_its_sleepers_cannot_keep_us_asleep)
{
    attack(requeue);
}

Test(bells, who_is_slept_on_may_go)
{
    begin_rings();
    favour_first();
    bells_close(&bells, &all[0], NULL);
    cr_assert_not(bells.watched);
    uv_timer_start(&timer, on_timer, TIMER_MS, 0);
    while (!fired)
        round_of(true);
    end_rings();
}
