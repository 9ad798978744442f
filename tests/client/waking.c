/* SPDX-License-Identifier: MIT */
/* Who sleeps until a point is reached is woken then, wherever the point's boards came from: not when a
 * slice of the wait is over. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <time.h>

#define ROUNDS 200
#define PAUSE_NS 1000000L               /* whoever waits for that sleeps */
#define SLICE_MS 50                     /* of a wait */
#define MOST_MS (ROUNDS * SLICE_MS / 2) /* on a busy machine */

static struct test_daemon xpurtd;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(waking, .init = start, .fini = stop);

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void pause_for_a_while(void *data)
{
    struct timespec pause = { .tv_nsec = PAUSE_NS };

    (void)data;
    nanosleep(&pause, NULL);
}

static void record_late(xpurt_event *event, xpurt_stream *stream)
{
    test_ok(xpurt_launch_host_func(stream, pause_for_a_while, NULL));
    test_ok(xpurt_event_record(event, stream));
}

/* @p channel: who waits for the records; -1: we do. */
static void record_rounds(xpurt_event *event, int channel)
{
    xpurt_stream *stream;
    long long begin;

    test_ok(xpurt_stream_create(&stream));
    record_late(event, stream);         /* what is made once for the first of them is there */
    test_ok(xpurt_event_synchronize(event));
    begin = now_ms();
    for (unsigned i = 0; i < ROUNDS; i++) {
        record_late(event, stream);
        if (channel < 0) {
            test_ok(xpurt_event_synchronize(event));
            continue;
        }
        test_pass(channel);
        test_await(channel);
    }
    test_require(now_ms() - begin < MOST_MS, "%lld ms", now_ms() - begin);
}

static void wait_rounds(xpurt_event *event, int channel)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        test_await(channel);
        test_ok(xpurt_event_synchronize(event));
        test_pass(channel);
    }
}

Test(waking, the_recorder)
{
    xpurt_event *event;

    test_ok(xpurt_event_create(0, &event));
    record_rounds(event, -1);
}

static void importer(int channel, void *data)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    wait_rounds(event, channel);
}

Test(waking, an_importer)
{
    xpurt_event_handle handle;
    struct test_peer waiter;
    xpurt_event *event;

    test_peer_start(&waiter, importer, NULL);
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(waiter.channel, &handle, sizeof(handle));
    record_rounds(event, waiter.channel);
    test_peer_join(&waiter);
}

static void maker(int channel, void *data)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    (void)data;
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(channel, &handle, sizeof(handle));
    test_await(channel);
}

/* The waiter opened the boards of who made the event; those of who records it come by the point. */
Test(waking, an_importer_of_a_third_process)
{
    struct test_peer made, waiter;
    xpurt_event_handle handle;
    xpurt_event *event;

    test_peer_start(&made, maker, NULL);
    test_peer_start(&waiter, importer, NULL);
    test_receive(made.channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    test_send(waiter.channel, &handle, sizeof(handle));
    record_rounds(event, waiter.channel);
    test_peer_join(&waiter);
    test_pass(made.channel);
    test_peer_join(&made);
}

static void heir(int channel, void *data)
{
    wait_rounds(*(xpurt_event **)data, channel);
}

Test(waking, a_child)
{
    struct test_peer waiter;
    xpurt_event *event;

    test_ok(xpurt_event_create(0, &event));
    test_peer_start(&waiter, heir, &event);
    record_rounds(event, waiter.channel);
    test_peer_join(&waiter);
}
