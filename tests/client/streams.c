/* SPDX-License-Identifier: MIT */
/* Streams and devices against a daemon. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
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

TestSuite(streams, .init = start, .fini = stop);
TestSuite(devices, .init = start, .fini = stop);

/* Work that is not done before the gate is open. */
static void *occupy(xpurt_stream *stream)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_memset_async(memory, 1, 4096, stream));
    return memory;
}

static xpurt_stream *stream_new(void)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_create(&stream));
    return stream;
}

Test(streams, parity_S2_priorities)
{
    static const int wanted[][2] = { { -1, -1 }, { 0, 0 }, { 1, 1 }, { -9, -1 }, { 9, 1 } };
    xpurt_stream *stream;
    int priority;

    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        test_ok(xpurt_stream_create_with_priority(-1, wanted[i][0], &stream));
        test_ok(xpurt_stream_get_priority(stream, &priority));
        cr_assert_eq(priority, wanted[i][1]);
        test_gate_open(&xpurtd);
        occupy(stream);
        test_ok(xpurt_stream_synchronize(stream));
        test_ok(xpurt_stream_destroy(stream));
    }
}

Test(streams, parity_S5_query_is_never_true_while_a_command_runs)
{
    xpurt_stream *stream = stream_new();

    test_ok(xpurt_stream_query(stream));
    occupy(stream);
    for (int i = 0; i < 1000; i++)
        test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(stream, 1000000));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(stream, 0));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_query(stream));
}

Test(streams, parity_D4_device_synchronize_waits_for_all_streams)
{
    xpurt_stream *streams[3];
    void *other;

    for (int i = 0; i < 3; i++)
        streams[i] = stream_new();
    other = occupy(streams[1]);
    test_ok(xpurt_memcpy_async(other, occupy(streams[2]), 4096, streams[2]));
    test_ok(xpurt_stream_destroy(streams[2]));
    test_ok(xpurt_device_synchronize(1)); /* has nothing to do */
    test_gate_open(&xpurtd);
    test_ok(xpurt_device_synchronize(0));
    test_ok(xpurt_stream_query(streams[0]));
    test_ok(xpurt_stream_query(streams[1]));
}

Test(streams, handles_are_checked)
{
    xpurt_stream *stream = stream_new();
    int device;

    test_ok(xpurt_stream_get_device(stream, &device));
    cr_assert_eq(device, 0);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_get_device(stream, NULL));
    test_ok(xpurt_stream_destroy(stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_destroy(stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_query(stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_memset_async(&device, 0, 1, stream));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_stream_create_with_priority(2, 0, &stream));
    cr_assert(strstr(xpurt_last_error(), "device 2"));
}

/* More than there are timelines, one after the other and at once. */
Test(streams, timelines_are_reused)
{
    enum { MOST = 512 };
    static xpurt_stream *streams[MOST];
    xpurt_stream *one_more;
    xpurt_event *event;

    test_gate_open(&xpurtd);
    test_ok(xpurt_event_create(0, &event));
    for (int i = 0; i < 3 * MOST; i++) {
        xpurt_stream *stream = stream_new();

        test_ok(xpurt_event_record(event, stream));
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_stream_destroy(stream));
    }
    for (int i = 0; i < MOST; i++)
        streams[i] = stream_new();
    test_expect(XPURT_ERROR_QUOTA, xpurt_stream_create(&one_more));
    cr_assert(strstr(xpurt_last_error(), "512"));
    for (int i = 0; i < MOST; i++) {
        test_ok(xpurt_event_record(event, streams[i]));
        test_ok(xpurt_stream_synchronize(streams[i]));
        test_ok(xpurt_event_query(event));
    }
    for (int i = 0; i < MOST; i++)
        test_ok(xpurt_stream_destroy(streams[i]));
    test_ok(xpurt_stream_create(&one_more));
    occupy(one_more);
    test_ok(xpurt_stream_synchronize(one_more));
}

#define STOPPED_MS 200

static void *daemon_continue(void *data)
{
    (void)data;
    (void)poll(NULL, 0, STOPPED_MS);
    kill(xpurtd.pid, SIGCONT);
    return NULL;
}

/* Its work is done already, but the daemon has not seen its end. */
Test(streams, the_last_timeline_is_awaited)
{
    enum { MOST = 512 };
    static xpurt_stream *streams[MOST];
    xpurt_stream *one_more;
    xpurt_event *event;
    pthread_t thread;
    xpurt_result r;

    for (int i = 0; i < MOST; i++)
        streams[i] = stream_new();
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_event_record(event, streams[0]));
    test_ok(xpurt_event_synchronize(event));
    kill(xpurtd.pid, SIGSTOP);
    cr_assert_eq(pthread_create(&thread, NULL, daemon_continue, NULL), 0);
    test_ok(xpurt_stream_destroy(streams[0]));
    r = xpurt_stream_create(&one_more);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    test_expect(XPURT_SUCCESS, r);
    test_ok(xpurt_stream_synchronize(one_more));
}

Test(streams, created_and_destroyed_unused)
{
    for (int i = 0; i < 2000; i++)
        test_ok(xpurt_stream_destroy(stream_new()));
    test_ok(xpurt_stream_synchronize(stream_new()));
}

static void counts_streams(int channel, void *data)
{
    (void)data;
    for (unsigned expected = 0; expected < 3; expected++) {
        test_await(channel);
        test_daemon_await_counter("streams", expected);
        test_pass(channel);
    }
}

static void expect_one_more(const struct test_peer *counting)
{
    test_pass(counting->channel);
    test_await(counting->channel);
}

/* The daemon is not woken for a new stream alone; but by a look at it. */
Test(streams, made_with_what_comes_next)
{
    xpurt_stream *stream, *other;
    struct test_peer counting;
    uint32_t generation;
    xpurt_event *event;

    test_peer_start(&counting, counts_streams, NULL);
    stream = stream_new();
    test_ok(xpurt_event_create(0, &event));
    expect_one_more(&counting);         /* of 0 */
    test_ok(xpurt_stream_query(stream));
    expect_one_more(&counting);

    /* Nor is a record held back by it that needs no command. */
    test_ok(xpurt_event_record(event, stream));
    other = stream_new();
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_get_generation(event, &generation));
    cr_assert_eq(generation, 2);
    test_ok(xpurt_event_record(event, other));
    expect_one_more(&counting);
    test_ok(xpurt_event_synchronize(event));
    test_peer_join(&counting);
}

/* The work of a destroyed stream is still done. */
Test(streams, destroyed_with_work_pending)
{
    xpurt_stream *stream = stream_new();
    unsigned char bytes[4096] = { 0 };
    xpurt_event *event;
    void *memory = occupy(stream);

    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_destroy(stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_memcpy_async(bytes, memory, sizeof(bytes), stream_new()));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        cr_assert_eq(bytes[i], 1);
}

Test(streams, batches_send_at_their_end)
{
    xpurt_stream *stream = stream_new();
    unsigned long long before;
    xpurt_event *event;

    test_gate_open(&xpurtd);
    test_ok(xpurt_event_create(0, &event));
    before = test_daemon_counter("records");
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_batch_begin());
    for (int i = 0; i < 20000; i++) {   /* more than a frame holds */
        test_ok(xpurt_event_record(event, stream));
        test_ok(xpurt_stream_wait_event(stream, event));
    }
    test_ok(xpurt_batch_end());
    test_ok(xpurt_batch_end());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_batch_end());
    test_ok(xpurt_event_synchronize(event));
    cr_assert_eq(test_daemon_counter("records") - before, 20000);
}

/* A batch can never wait for itself. */
Test(streams, batches_are_sent_by_who_looks)
{
    xpurt_stream *first = stream_new(), *second = stream_new();
    xpurt_event *event;
    void *memory;

    test_gate_open(&xpurtd);
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_batch_begin());
    memory = occupy(first);
    test_ok(xpurt_event_record(event, first));
    test_ok(xpurt_stream_wait_event(second, event));
    test_ok(xpurt_memset_async(memory, 2, 4096, second));
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_record(event, second));
    while (xpurt_event_query(event) == XPURT_NOT_READY)
        ;
    test_ok(xpurt_event_query(event));
    test_ok(xpurt_event_record(event, second));
    test_ok(xpurt_stream_synchronize(second));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_batch_end());
}

/* An event destroyed in a batch, its cell used again before the batch is sent. */
Test(streams, batches_and_events_that_go)
{
    xpurt_stream *stream = stream_new();
    xpurt_event *events[64];

    occupy(stream);
    test_ok(xpurt_batch_begin());
    for (int i = 0; i < 64; i++) {
        test_ok(xpurt_event_create(0, &events[i]));
        test_ok(xpurt_event_record(events[i], stream));
    }
    for (int i = 0; i < 64; i++)
        test_ok(xpurt_event_destroy(events[i]));
    for (int i = 0; i < 64; i++)
        test_ok(xpurt_event_create(0, &events[i]));
    test_ok(xpurt_batch_end());
    for (int i = 0; i < 64; i++)
        test_ok(xpurt_event_query(events[i])); /* never recorded */
}

static void *look_at_current_device(void *arg)
{
    *(int *)arg = xpurt_get_device();
    test_ok(xpurt_set_device(0));
    return NULL;
}

Test(devices, parity_D2_current_device_is_per_thread)
{
    pthread_t thread;
    int seen = -1;

    cr_assert_eq(xpurt_device_count(), 2);
    cr_assert_eq(xpurt_get_device(), 0);
    test_ok(xpurt_set_device(1));
    test_ok(xpurt_set_device(-5));
    cr_assert_eq(xpurt_get_device(), 1);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_set_device(2));
    cr_assert(strstr(xpurt_last_error(), "device 2"));
    cr_assert(strstr(xpurt_last_error(), "serves 2"));
    cr_assert_eq(xpurt_exchange_device(0), 1);
    cr_assert_eq(xpurt_exchange_device(-1), -1);
    cr_assert_eq(xpurt_exchange_device(2), -1);
    cr_assert_eq(xpurt_exchange_device(1), 0);
    cr_assert_eq(pthread_create(&thread, NULL, look_at_current_device, &seen), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(seen, 0);
    cr_assert_eq(xpurt_get_device(), 1);
}

Test(devices, parity_D3_properties)
{
    static const uint8_t zeros[16];
    xpurt_device_properties properties[2];

    for (int i = 0; i < 2; i++) {
        test_ok(xpurt_device_get_properties(i, &properties[i]));
        cr_assert(properties[i].name[0]);
        cr_assert(properties[i].total_memory > 0);
        cr_assert(properties[i].max_allocation > 0);
        cr_assert(properties[i].compute_units > 0);
        cr_assert(properties[i].sub_group_size_count > 0);
        cr_assert_eq(properties[i].software, 1);
        cr_assert(memcmp(properties[i].uuid, zeros, 16));
    }
    cr_assert(memcmp(properties[0].uuid, properties[1].uuid, 16));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_get_properties(2, properties));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_get_properties(-1, properties));
}

Test(devices, parity_D5_peers_and_memory)
{
    int forth, back;
    uint64_t free_bytes, total;
    void *memory;

    test_ok(xpurt_device_can_access_peer(0, 1, &forth));
    test_ok(xpurt_device_can_access_peer(1, 0, &back));
    cr_assert_eq(forth, back);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_can_access_peer(0, 2, &forth));
    test_ok(xpurt_malloc(&memory, 1 << 20));
    test_ok(xpurt_mem_get_info(0, &free_bytes, &total));
    cr_assert(free_bytes < total);
}

Test(devices, counters_say_how_many_there_are)
{
    xpurt_counter counter = { .name = "" };
    size_t all, again;

    test_ok(xpurt_daemon_counters(0, NULL, &all));
    test_ok(xpurt_daemon_counters(1, &counter, &again));
    cr_assert(all > 1);
    cr_assert_eq(all, again);
    cr_assert(counter.name[0]);
    cr_assert_eq(test_daemon_counter("sessions"), 1);
}
