/* SPDX-License-Identifier: MIT */
/* Events in one process. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static struct test_daemon xpurtd;

static void start(void)
{
    test_daemon_start_gated(&xpurtd);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(events, .init = start, .fini = stop);

static xpurt_stream *stream_on(int device)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_create_with_priority(device, 0, &stream));
    return stream;
}

static xpurt_event *event_new(unsigned flags)
{
    xpurt_event *event;

    test_ok(xpurt_event_create(flags, &event));
    return event;
}

static void *memory_new(size_t size)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, size));
    return memory;
}

/* Work that is not done before the gate is open. */
static void occupy(xpurt_stream *stream)
{
    test_ok(xpurt_memset_async(memory_new(64), 1, 64, stream));
}

Test(events, parity_E2_never_recorded)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_new(0);

    test_ok(xpurt_event_query(event));
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_synchronize_for(event, 0));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_stream_query(stream));
}

/* The wait keeps what it captured: the copy sees the byte written before the first record. */
Test(events, parity_E3_recording_again_replaces_the_point)
{
    xpurt_stream *producer = stream_on(0), *consumer = stream_on(0), *blocked = stream_on(0);
    unsigned char *memory = memory_new(64), seen = 0, two = 2;
    xpurt_event *event = event_new(0);

    test_ok(xpurt_memcpy_async(memory, &two, 1, producer));
    test_ok(xpurt_event_record(event, producer));
    test_ok(xpurt_stream_wait_event(consumer, event));

    occupy(blocked);
    test_ok(xpurt_event_record(event, blocked)); /* not done before the gate is open */
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_ok(xpurt_memcpy_async(&seen, memory, 1, consumer));
    cr_assert_eq(seen, 2);
    test_ok(xpurt_stream_synchronize(consumer));

    test_ok(xpurt_stream_wait_event(consumer, event));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(consumer, 1000000));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(consumer));
    test_ok(xpurt_event_synchronize(event));
}

Test(events, parity_E4_another_device_is_an_error)
{
    xpurt_event *event = event_new(0);
    xpurt_stream *zero = stream_on(0), *one = stream_on(1);

    test_ok(xpurt_event_record(event, one));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_event_record(event, zero));
    cr_assert(strstr(xpurt_last_error(), "device 1"));
    cr_assert(strstr(xpurt_last_error(), "device 0"));
    test_ok(xpurt_stream_wait_event(zero, event));
    test_ok(xpurt_stream_synchronize(zero));
    test_ok(xpurt_event_record(event, one));
}

static void *synchronise(void *arg)
{
    test_ok(xpurt_set_device(1));
    test_ok(xpurt_event_synchronize(arg));
    test_ok(xpurt_event_query(arg));
    return NULL;
}

Test(events, parity_E5_any_thread_any_device)
{
    xpurt_event *spinning = event_new(0), *blocking = event_new(XPURT_EVENT_BLOCKING);
    xpurt_stream *stream = stream_on(0);
    pthread_t threads[4];

    occupy(stream);
    test_ok(xpurt_event_record(spinning, stream));
    test_ok(xpurt_event_record(blocking, stream));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(spinning, 2000000));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(blocking, 2000000));
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, synchronise, i % 2 ? spinning : blocking),
                     0);
    test_gate_open(&xpurtd);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

Test(events, parity_E6_elapsed_time)
{
    enum { SIZE = 1 << 20 };
    xpurt_event *start_event = event_new(XPURT_EVENT_TIMING), *end = event_new(XPURT_EVENT_TIMING);
    xpurt_event *plain = event_new(0), *elsewhere = event_new(XPURT_EVENT_TIMING);
    xpurt_stream *stream = stream_on(0), *other = stream_on(1);
    void *memory = memory_new(SIZE), *copy = memory_new(SIZE);
    float forth = -1, back = 1;

    test_expect(XPURT_ERROR_NO_TIMING, xpurt_event_elapsed_time(plain, end, &forth));
    test_expect(XPURT_ERROR_NO_TIMING, xpurt_event_elapsed_time(start_event, plain, &forth));
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(start_event, end, &forth));
    test_ok(xpurt_event_record(start_event, stream));
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(start_event, end, &forth));
    cr_assert(strstr(xpurt_last_error(), "second"));
    for (int i = 0; i < 8; i++)
        test_ok(xpurt_memcpy_async(copy, memory, SIZE, stream));
    occupy(stream);
    test_ok(xpurt_event_record(end, stream));
    test_ok(xpurt_event_synchronize(start_event));
    test_expect(XPURT_NOT_READY, xpurt_event_elapsed_time(start_event, end, &forth));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(end));
    test_ok(xpurt_event_elapsed_time(start_event, end, &forth));
    test_ok(xpurt_event_elapsed_time(end, start_event, &back));
    cr_assert(forth > 0);
    cr_assert(forth == -back);

    test_ok(xpurt_event_record(elsewhere, other));
    test_ok(xpurt_event_synchronize(elsewhere));
    test_expect(XPURT_ERROR_INVALID_DEVICE,
                xpurt_event_elapsed_time(start_event, elsewhere, &forth));
}

Test(events, parity_E7_destroyed_with_work_pending)
{
    xpurt_stream *producer = stream_on(0), *consumer = stream_on(0);
    xpurt_event *event = event_new(0), *later;
    unsigned char *memory = memory_new(64), seen = 0;

    test_ok(xpurt_memset_async(memory, 9, 64, producer));
    test_ok(xpurt_event_record(event, producer));
    test_ok(xpurt_stream_wait_event(consumer, event));
    test_ok(xpurt_event_destroy(event));
    later = event_new(0);
    test_ok(xpurt_event_query(later));  /* maybe in the same cell, but not recorded */
    test_gate_open(&xpurtd);
    test_ok(xpurt_memcpy_async(&seen, memory, 1, consumer));
    cr_assert_eq(seen, 9);
}

Test(events, parity_E8_flags)
{
    xpurt_event *event = NULL;

    for (unsigned flags = 0; flags < 8; flags++)
        test_ok(xpurt_event_create(flags, &event));
    event = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_create(8, &event));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_create(0x80000001u, &event));
    cr_assert_null(event);
}

Test(events, handles_are_checked)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_new(0);

    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_query((xpurt_event *)(void *)stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE,
                xpurt_event_record(event, (xpurt_stream *)(void *)event));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_query(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_record(event, stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_wait_event(stream, event));
}

/* As many as fit, and the one after. */
Test(events, limit_of_a_process)
{
    enum { MOST = 1 << 18 };
    static xpurt_event *events[MOST];
    xpurt_event *one_more = NULL;

    for (int i = 0; i < MOST; i++)
        test_ok(xpurt_event_create(0, &events[i]));
    test_expect(XPURT_ERROR_QUOTA, xpurt_event_create(0, &one_more));
    test_ok(xpurt_event_destroy(events[77]));
    test_ok(xpurt_event_create(0, &one_more));
    for (int i = 0; i < MOST; i++)
        if (i != 77)
            test_ok(xpurt_event_destroy(events[i]));
}

/* Across streams and devices in one process: the data tells the order. */
Test(events, waits_order_streams_of_two_devices)
{
    enum { ROUNDS = 200 };
    xpurt_stream *ping = stream_on(0), *pong = stream_on(1);
    xpurt_event *event = event_new(0), *answer = event_new(0);
    unsigned *pinned, *here = memory_new(64), *there;

    test_ok(xpurt_set_device(1));
    there = memory_new(64);
    test_ok(xpurt_host_malloc((void **)&pinned, (ROUNDS + 1) * sizeof(*pinned)));
    for (unsigned i = 0; i <= ROUNDS; i++)
        pinned[i] = i;
    for (unsigned i = 0; i < ROUNDS; i++) {
        test_ok(xpurt_stream_wait_event(ping, answer));
        test_ok(xpurt_memcpy_async(here, &pinned[i + 1], sizeof(*pinned), ping));
        test_ok(xpurt_event_record(event, ping));
        test_ok(xpurt_stream_wait_event(pong, event));
        test_ok(xpurt_memcpy_async(there, here, sizeof(*pinned), pong));
        test_ok(xpurt_memcpy_async(&pinned[i], there, sizeof(*pinned), pong));
        test_ok(xpurt_event_record(answer, pong));
    }
    test_ok(xpurt_event_synchronize(answer));
    for (unsigned i = 0; i < ROUNDS; i++)
        cr_assert_eq(pinned[i], i + 1);
}
