/* SPDX-License-Identifier: MIT */
/* Beyond parity with PyTorch's XPU runtime: graphs, and what a stream that is captured answers (S9). */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

TestSuite(graphs, .init = scene_start, .fini = scene_stop);

#define SIZE 4096u
#define MANY 1000u                      /* commands: more than one launch command runs */

static bool capturing(xpurt_stream *stream)
{
    int answer = 7;

    test_ok(xpurt_stream_is_capturing(stream, &answer));
    test_require(answer == 0 || answer == 1, "is-capturing says %d", answer);
    return answer;
}

static unsigned char *pinned(size_t size)
{
    void *memory;

    test_ok(xpurt_host_malloc(&memory, size));
    memset(memory, 0, size);
    return memory;
}

static xpurt_graph *ended(xpurt_stream *stream)
{
    xpurt_graph *graph;

    test_ok(xpurt_graph_end(stream, &graph));
    return graph;
}

static void copy(void *to, const void *from, size_t size, xpurt_stream *stream)
{
    test_ok(xpurt_memcpy_async(to, from, size, stream));
}

/* ---- capturing ---------------------------------------------------------------------------------- */

Test(graphs, parity_S9_is_capturing)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    xpurt_graph *graph;

    cr_assert_not(capturing(stream));
    test_ok(xpurt_graph_begin(stream));
    cr_assert(capturing(stream));
    cr_assert_not(capturing(other));
    cr_assert_not(capturing(NULL));
    test_ok(xpurt_stream_set_current(stream)); /* also while it is captured */
    cr_assert(capturing(NULL));
    graph = ended(stream);
    cr_assert_not(capturing(stream));
    cr_assert_not(capturing(NULL));
    test_ok(xpurt_graph_destroy(graph));
}

/* What is captured is not done before it is launched, and is done at each launch. */
Test(graphs, beyond_graph_runs_what_was_captured)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE), *device = memory_on(0, SIZE);
    xpurt_graph *graph;
    size_t size;

    test_ok(xpurt_graph_begin(stream));
    copy(device, from, SIZE, stream);
    copy(to, device, SIZE, stream);
    graph = ended(stream);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 2);
    memset(from, 1, SIZE);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(to[0], 0);

    for (int round = 1; round < 4; round++) {
        memset(from, round, SIZE);
        test_ok(xpurt_graph_launch(graph, stream));
        test_ok(xpurt_stream_synchronize(stream));
        cr_assert(to[0] == round && to[SIZE - 1] == round, "%d", to[0]);
    }
    test_ok(xpurt_graph_destroy(graph));
}

/* The stream is not called done before the last command of a launch is. */
Test(graphs, beyond_graph_is_waited_for)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *device = memory_on(0, SIZE);
    xpurt_graph *graph;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_memset_async(device, 7, SIZE, stream));
    graph = ended(stream);
    test_ok(xpurt_stream_query(stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_destroy(graph)); /* what was launched is still done */
    test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(stream, 20000000));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_device_synchronize(0));
}

/* On another stream, and in one frame with what is around it. */
Test(graphs, beyond_graph_launches_anywhere_in_order)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *values = pinned(4), *to = pinned(4), *device = memory_on(0, 4);
    xpurt_graph *graph;

    for (unsigned char i = 0; i < 4; i++)
        values[i] = i + 1;
    test_ok(xpurt_graph_begin(stream));
    copy(device, &values[1], 1, stream);
    copy(&to[1], device, 1, stream);
    graph = ended(stream);
    test_ok(xpurt_batch_begin());
    copy(device, &values[0], 1, other);
    copy(&to[0], device, 1, other);
    test_ok(xpurt_graph_launch(graph, other));
    copy(&to[2], device, 1, other);
    test_ok(xpurt_batch_end());
    test_ok(xpurt_stream_synchronize(other));
    cr_assert(to[0] == 1 && to[1] == 2 && to[2] == 2, "%d %d %d", to[0], to[1], to[2]);
    test_ok(xpurt_graph_destroy(graph));
}

/* 1,000 steps, each of which needs the one before, with records and waits in between. */
Test(graphs, beyond_graph_of_many_commands)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *from = pinned(1), *device = memory_on(0, MANY + 1), *to = pinned(1);
    xpurt_event *steps = event_with(0), *before = event_with(0);
    uint32_t generation = 0;
    xpurt_graph *graph;
    size_t size;

    test_ok(xpurt_graph_begin(stream));
    for (unsigned i = 0; i < MANY; i++) {
        test_ok(xpurt_stream_wait_event(stream, before));
        copy(&device[i + 1], &device[i], 1, stream);
        if (i % 3 == 0)
            test_ok(xpurt_event_record(steps, stream));
    }
    copy(to, &device[MANY], 1, stream);
    graph = ended(stream);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, MANY + MANY + MANY / 3 + 1 + 1);
    for (unsigned char round = 1; round < 4; round++) {
        *from = round;
        copy(device, from, 1, other);
        test_ok(xpurt_event_record(before, other));
        test_ok(xpurt_graph_launch(graph, stream));
        test_ok(xpurt_stream_synchronize(stream));
        cr_assert_eq(*to, round);
        test_ok(xpurt_event_get_generation(steps, &generation));
        cr_assert_eq(generation, round * (MANY / 3 + 1));
    }
    test_ok(xpurt_graph_destroy(graph));
}

/* An empty one is fine. */
Test(graphs, beyond_graph_of_nothing)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_graph *graph;

    test_ok(xpurt_graph_begin(stream));
    graph = ended(stream);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
}

/* ---- events -------------------------------------------------------------------------------------- */

static void sees_three_launches(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);

    (void)data;
    test_pass(channel);
    for (uint32_t n = 1; n <= 3; n++)
        test_ok(xpurt_event_wait_generation(event, n, XPURT_NO_TIMEOUT));
    test_ok(xpurt_event_destroy(event));
    test_pass(channel);
}

/* Each launch records them anew; other processes see it. Destroying them does not disturb the graph. */
Test(graphs, beyond_graph_records_events)
{
    struct test_peer peer;
    xpurt_event *event, *local;
    xpurt_stream *stream;
    xpurt_graph *graph;
    uint64_t id;

    test_peer_start(&peer, sees_three_launches, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    local = event_with(0);
    stream = stream_on(last_device);
    event_send(peer.channel, event);
    test_await(peer.channel);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_memset_async(memory_on(last_device, SIZE), 1, SIZE, stream));
    test_ok(xpurt_event_record(local, stream));
    graph = ended(stream);
    test_ok(xpurt_event_get_id(event, &id));
    cr_assert_eq(id, 0);                /* not recorded yet */
    test_ok(xpurt_event_query(local));

    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_synchronize(event));
    test_expect(XPURT_NOT_READY, xpurt_event_query(local));
    test_ok(xpurt_event_destroy(local));
    test_gate_open(&xpurtd);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_await(peer.channel);
    test_peer_join(&peer);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
    test_ok(xpurt_event_destroy(event));
}

/* The wait is for what the event holds at each launch, not for what it held at the capture. */
Test(graphs, beyond_graph_waits_for_what_events_hold)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(last_device);
    xpurt_event *event = event_with(0), *done = event_with(0);
    xpurt_graph *graph;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_event_record(done, stream));
    graph = ended(stream);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_synchronize(done));
    occupy(other);
    test_ok(xpurt_event_record(event, other));
    test_ok(xpurt_graph_launch(graph, stream));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(done, 20000000));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(done));
    test_ok(xpurt_event_query(event));
    test_ok(xpurt_graph_destroy(graph));
}

/* Waiting for an own record is no wait, also in the launch after. */
Test(graphs, beyond_graph_waits_for_its_own_records)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0);
    xpurt_graph *graph;
    size_t size;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_wait_event(stream, event));
    graph = ended(stream);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 1);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
}

Test(graphs, beyond_graph_times)
{
    xpurt_event *begin = event_with(XPURT_EVENT_TIMING), *end = event_with(XPURT_EVENT_TIMING);
    unsigned char *a = memory_on(0, 1 << 22), *b = memory_on(0, 1 << 22);
    xpurt_stream *stream = stream_on(0);
    float milliseconds = -1;
    xpurt_graph *graph;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(begin, stream));
    copy(a, b, 1 << 22, stream);
    test_ok(xpurt_event_record(end, stream));
    graph = ended(stream);
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(begin, end, &milliseconds));
    for (int round = 0; round < 2; round++) {
        test_ok(xpurt_graph_launch(graph, stream));
        test_ok(xpurt_stream_synchronize(stream));
        test_ok(xpurt_event_elapsed_time(begin, end, &milliseconds));
        cr_assert(milliseconds > 0 && milliseconds < 10000, "%g", (double)milliseconds);
    }
    test_ok(xpurt_graph_destroy(graph));
}

static void records_and_dies(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(channel);
    pause();
}

/* The peer that was to make the point is gone: the launch says so, and sends nothing of the graph. */
Test(graphs, beyond_graph_waits_for_the_dead)
{
    xpurt_event *event, *done;
    struct test_peer peer;
    xpurt_stream *stream;
    xpurt_graph *graph;
    uint32_t generation;

    test_peer_start(&peer, records_and_dies, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    done = event_with(0);
    stream = stream_on(0);
    event_send(peer.channel, event);
    test_await(peer.channel);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(done, stream));
    test_ok(xpurt_stream_wait_event(stream, event));
    graph = ended(stream);
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_get_generation(done, &generation));
    cr_assert_eq(generation, 0);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_event_record(event, stream)); /* somebody else's record: all is well again */
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
    test_gate_open(&xpurtd);
}

static void gives_an_event_and_dies(int channel, void *data)
{
    (void)data;
    event_send(channel, event_with(XPURT_EVENT_INTERPROCESS | XPURT_EVENT_TIMING));
    pause();
}

/* A graph records an event whose owner is gone, and goes on with it when it is destroyed here too. */
Test(graphs, beyond_graph_records_events_of_the_dead, .timeout = 60)
{
    struct test_peer peer;
    xpurt_event *event, *own;
    xpurt_stream *stream;
    xpurt_graph *graph;
    float milliseconds;

    test_peer_start(&peer, gives_an_event_and_dies, NULL);
    event = event_receive(peer.channel);
    own = event_with(XPURT_EVENT_TIMING);
    stream = stream_on(0);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(own, stream));
    test_ok(xpurt_event_record(event, stream));
    graph = ended(stream);
    test_peer_kill(&peer);
    test_daemon_await_counter("sessions", 1);
    for (int round = 0; round < 3; round++) {
        test_ok(xpurt_graph_launch(graph, stream));
        test_ok(xpurt_stream_wait_event(stream, event));
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_event_elapsed_time(own, event, &milliseconds));
        cr_assert(milliseconds >= 0 && milliseconds < 10000, "%g", (double)milliseconds);
    }
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_event_destroy(own));
    for (int i = 0; i < 100; i++)       /* which get no cell that the graph still writes to */
        own = event_with(XPURT_EVENT_TIMING);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(own, own, &milliseconds));
    test_ok(xpurt_graph_destroy(graph));
    test_daemon_await_counter("user-leases", 0);
    test_daemon_await_counter("boards", 1);
}

/* ---- replacing memory ---------------------------------------------------------------------------- */

Test(graphs, beyond_graph_replaces_memory)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE), *device = memory_on(0, SIZE);
    unsigned char *other_from = pinned(SIZE), *other_to = pinned(SIZE), *other = memory_on(0, SIZE);
    xpurt_graph *graph;
    size_t uses, size;

    memset(from, 1, SIZE);
    memset(other_from, 2, SIZE);
    test_ok(xpurt_graph_begin(stream));
    copy(device, from, SIZE, stream);
    copy(to + 100, device + 10, 100, stream);
    test_ok(xpurt_memcpy_2d_async(to + 1000, 50, device, 100, 10, 5, stream));
    graph = ended(stream);

    test_ok(xpurt_graph_replace(graph, device, other, SIZE, &uses));
    cr_assert_eq(uses, 3);
    test_ok(xpurt_graph_replace(graph, device, other, SIZE, &uses));
    cr_assert_eq(uses, 0);
    test_ok(xpurt_free(device));        /* nobody uses it any more */
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_replace(graph, from, other_from, SIZE, NULL));
    test_ok(xpurt_graph_replace(graph, to, other_to, SIZE, &uses));
    cr_assert_eq(uses, 2);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert(to[99] == 0 && to[100] == 1 && to[199] == 1 && to[200] == 0);
    cr_assert(to[1000] == 1 && to[1209] == 1 && to[1210] == 0);
    cr_assert(other_to[99] == 0 && other_to[100] == 2 && other_to[199] == 2 && other_to[200] == 0);
    cr_assert(other_to[1000] == 2 && other_to[1009] == 2 && other_to[1010] == 0);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 3);
    test_ok(xpurt_graph_destroy(graph));
}

/* All or nothing, and why not. */
Test(graphs, beyond_graph_refuses_to_replace)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *device = memory_on(0, SIZE), *other = memory_on(0, SIZE), *to = pinned(SIZE);
    char ordinary[64];
    xpurt_graph *graph;
    size_t uses = 77;

    test_ok(xpurt_graph_begin(stream));
    copy(to, device, 64, stream);
    copy(to + 64, device + 1024, 1024, stream);
    test_ok(xpurt_memset_d32_async(device + 3072, 5, 16, stream));
    graph = ended(stream);

    /* The first copy would move, the second only in part. */
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_graph_replace(graph, device, other, 1500, &uses));
    cr_assert(said("more than what is replaced"), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_graph_replace(graph, device + 3072, other + 1, 64, &uses));
    cr_assert(said("aligned"), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_graph_replace(graph, device, to + 32, 64, &uses));
    cr_assert(said("written too"), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_graph_replace(graph, device, other + SIZE - 32, 64, &uses));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_graph_replace(graph, device, ordinary, sizeof(ordinary), &uses));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_graph_replace(graph, device, NULL, 64, &uses));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_graph_replace(graph, NULL, other, 64, &uses));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_graph_replace(graph, device, other, 0, &uses));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_graph_replace(graph, device, other, SIZE_MAX, &uses));
    cr_assert_eq(uses, 77);

    test_gate_open(&xpurtd);
    copy(device, memset(pinned(SIZE), 9, SIZE), SIZE, stream);
    test_ok(xpurt_graph_launch(graph, stream)); /* as it was */
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert(to[0] == 9 && to[1087] == 9 && to[1088] == 0);
    test_ok(xpurt_graph_destroy(graph));
}

/* A launch that has not begun yet goes on with what it had. */
Test(graphs, beyond_graph_replaces_behind_launches)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *to = pinned(SIZE), *first = pinned(SIZE), *second = pinned(SIZE);
    xpurt_event *event = event_with(0);
    xpurt_graph *graph;

    memset(first, 1, SIZE);
    memset(second, 2, SIZE);
    test_ok(xpurt_graph_begin(stream));
    copy(memory_on(0, SIZE), first, SIZE, stream);
    copy(to, first, SIZE, stream);
    graph = ended(stream);
    occupy(other);
    test_ok(xpurt_event_record(event, other));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_replace(graph, first, second, SIZE, NULL));
    test_ok(xpurt_graph_destroy(graph));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(to[SIZE - 1], 1);
}

/* ---- lifetime ------------------------------------------------------------------------------------ */

/* Freed memory that a graph uses stays until the graph goes; then all is given back. */
Test(graphs, beyond_graph_keeps_what_it_uses)
{
    unsigned long long memory, host;
    unsigned char *from, *device, *to;
    xpurt_stream *stream;
    xpurt_graph *graph;

    stream = stream_on(0);
    to = pinned(SIZE);
    memory = test_daemon_counter("user-memory");
    host = test_daemon_counter("user-host-memory");
    from = pinned(1 << 22);
    device = memory_on(0, 1 << 22);
    memset(from, 3, 1 << 22);
    test_ok(xpurt_graph_begin(stream));
    copy(device, from, 1 << 22, stream);
    copy(to, device, SIZE, stream);
    graph = ended(stream);
    test_ok(xpurt_free(device));
    test_ok(xpurt_host_free(from));
    test_ok(xpurt_empty_cache());
    test_ok(xpurt_empty_host_cache());
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(to[SIZE - 1], 3);
    cr_assert_gt(test_daemon_counter("user-graph-commands"), 2);
    test_ok(xpurt_graph_destroy(graph));
    test_daemon_await_counter("user-graph-commands", 0);
    test_daemon_await_counter("user-memory", memory);
    test_daemon_await_counter("user-host-memory", host);
}

Test(graphs, beyond_graph_of_a_stream_that_goes)
{
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    xpurt_graph *graph;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_memset_async(memory_on(0, SIZE), 1, SIZE, stream));
    test_ok(xpurt_stream_destroy(stream));
    test_daemon_await_counter("user-graph-commands", 0);
    test_daemon_await_counter("streams", 0);
    test_ok(xpurt_event_destroy(event));

    stream = stream_on(0);              /* a graph outlives the stream it was captured on */
    test_ok(xpurt_graph_begin(stream));
    graph = ended(stream);
    test_ok(xpurt_stream_destroy(stream));
    stream = stream_on(0);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_destroy(graph));
}

/* Another process goes in the middle of its capture, and with unfinished launches. */
static void captures_and_dies(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    xpurt_graph *graph;

    (void)data;
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_memset_async(memory_on(0, SIZE), 1, SIZE, stream));
    test_ok(xpurt_graph_begin(other));
    test_ok(xpurt_memset_async(memory_on(0, SIZE), 1, SIZE, other));
    graph = ended(other);
    for (int i = 0; i < 100; i++)
        test_ok(xpurt_graph_launch(graph, other));
    test_pass(channel);
    pause();
}

Test(graphs, beyond_graph_of_a_process_that_dies)
{
    struct test_peer peer;

    test_peer_start(&peer, captures_and_dies, NULL);
    test_ok(xpurt_init());
    test_await(peer.channel);
    cr_assert_geq(test_daemon_counter("user-graph-commands"), 3);
    test_peer_kill(&peer);
    test_daemon_await_counter("sessions", 2); /* its streams drain */
    test_gate_open(&xpurtd);
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("user-graph-commands", 0);
    test_daemon_await_counter("user-memory", 0);
}

Test(graphs, beyond_graph_after_a_reset)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    xpurt_event *event = event_with(0);
    xpurt_graph *graph, *none = NULL;
    size_t size;

    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event, stream));
    graph = ended(stream);
    test_ok(xpurt_graph_begin(other));
    test_ok(xpurt_event_record(event, other));
    test_ok(xpurt_reset());
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_end(other, &none));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_launch(graph, stream_on(0)));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_get_size(graph, &size));
    test_ok(xpurt_graph_destroy(graph));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_stream_destroy(other));
}

/* A child has graphs of its own only; the parent is undisturbed, also in the middle of a capture. */
static void uses_graphs_of_before(int channel, void *data)
{
    xpurt_stream *stream = ((xpurt_stream **)data)[0], *own;
    xpurt_graph *graph = ((xpurt_graph **)data)[1], *made;

    test_expect(XPURT_ERROR_FORKED, xpurt_graph_begin(stream));
    test_expect(XPURT_ERROR_FORKED, xpurt_graph_end(stream, &made));
    own = stream_on(0);
    test_expect(XPURT_ERROR_FORKED, xpurt_graph_launch(graph, own));
    test_ok(xpurt_graph_destroy(graph));
    test_ok(xpurt_graph_begin(own));
    copy(memory_on(0, SIZE), pinned(SIZE), SIZE, own);
    made = ended(own);
    test_ok(xpurt_graph_launch(made, own));
    test_ok(xpurt_stream_synchronize(own));
    test_ok(xpurt_graph_destroy(made));
    test_pass(channel);
}

Test(graphs, beyond_graph_after_fork)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE);
    xpurt_event *event = event_with(0);
    struct test_peer child;
    xpurt_graph *graph, *second;
    void *data[2] = { stream };

    memset(from, 4, SIZE);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event, stream));
    graph = ended(stream);
    data[1] = graph;
    test_ok(xpurt_graph_begin(stream));
    copy(to, from, SIZE, stream);
    test_peer_start(&child, uses_graphs_of_before, data);
    test_await(child.channel);
    test_ok(xpurt_event_record(event, stream));
    second = ended(stream);
    test_ok(xpurt_graph_launch(second, stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_synchronize(event));
    cr_assert_eq(to[SIZE - 1], 4);
    test_peer_join(&child);
    test_ok(xpurt_graph_destroy(graph));
    test_ok(xpurt_graph_destroy(second));
}

/* What the stream was given before it is captured can be waited for meanwhile, in every way, and is no
 * part of the graph. */
Test(graphs, beyond_graph_behind_other_work, .timeout = 60)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE), *again = pinned(SIZE);
    xpurt_event *event = event_with(0);
    xpurt_graph *graph;
    size_t size;

    memset(from, 5, SIZE);
    for (int i = 0; i < 3; i++) {
        copy(to, from, SIZE, stream);   /* no record behind it */
        copy(again, from, SIZE, stream);
        test_ok(xpurt_graph_begin(stream));
        test_ok(xpurt_device_synchronize(0));
        cr_assert_eq(to[SIZE - 1], 5);
        test_ok(xpurt_stream_wait_stream(other, stream));
        test_ok(xpurt_stream_synchronize(other));
        test_ok(xpurt_host_free(again));
        test_ok(xpurt_event_record(event, stream));
        copy(to, from, SIZE, stream);
        test_ok(xpurt_device_synchronize(0));
        graph = ended(stream);
        test_ok(xpurt_graph_get_size(graph, &size));
        cr_assert_eq(size, 2);
        memset(to, 0, SIZE);
        test_ok(xpurt_graph_launch(graph, stream));
        test_ok(xpurt_device_synchronize(0));
        cr_assert_eq(to[SIZE - 1], 5);
        test_ok(xpurt_graph_destroy(graph));
        again = pinned(SIZE);
    }
}

/* Streams that are destroyed while they are captured are done at once, and their places are free again. */
Test(graphs, beyond_graph_of_streams_that_go, .timeout = 60)
{
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE);

    for (int i = 0; i < 2000; i++) {
        xpurt_stream *stream = stream_on(0);

        if (i % 2)
            copy(to, from, SIZE, stream);
        test_ok(xpurt_graph_begin(stream));
        copy(to, from, SIZE, stream);
        test_ok(xpurt_stream_destroy(stream));
        if (i % 100 < 2)
            test_ok(xpurt_device_synchronize(0));
    }
    test_daemon_await_counter("user-graph-commands", 0);
}

/* A long copy is in the middle when another thread captures the stream: its rest is refused. Neither the
 * stream nor the graph are the worse for it. */
#define ROWS 16384u
#define ROW 1024u

static void *copies_rows(void *data)
{
    static unsigned char ordinary[ROWS * ROW];
    static xpurt_result result;

    result = xpurt_memcpy_2d_async(memory_on(0, 2 * ROWS * ROW), (size_t)2 * ROW, ordinary, ROW,
                                   ROW, ROWS, data);
    return &result;
}

Test(graphs, beyond_graph_in_the_middle_of_a_copy, .timeout = 60)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(SIZE), *to = pinned(SIZE);
    pthread_t thread;
    xpurt_graph *graph;
    void *result;
    size_t size;

    occupy(stream);
    cr_assert_eq(pthread_create(&thread, NULL, copies_rows, stream), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL); /* it waits for the gate */
    test_ok(xpurt_graph_begin(stream));
    copy(to, from, SIZE, stream);
    test_gate_open(&xpurtd);
    cr_assert_eq(pthread_join(thread, &result), 0);
    test_require(*(xpurt_result *)result == XPURT_ERROR_UNSUPPORTED, "%s",
                 xpurt_result_name(*(xpurt_result *)result));
    graph = ended(stream);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 1);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void call(void *data)
{
    (void)data;
}

static unsigned char many[4 << 20];     /* ordinary memory */

/* Everything that cannot be captured says so, and neither stream nor capture are the worse for it. */
Test(graphs, beyond_graph_refuses_other_calls)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *device = memory_on(0, SIZE), *to = pinned(SIZE), ordinary[64] = "";
    unsigned char *large = memory_on(0, sizeof(many));
    xpurt_event *event = event_with(XPURT_EVENT_INTERPROCESS);
    xpurt_graph *graph, *second;
    void *memory = NULL;
    size_t size;

    test_ok(xpurt_graph_begin(other));
    second = ended(other);
    test_ok(xpurt_graph_begin(stream));
    copy(to, device, SIZE, stream);
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_graph_begin(stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_graph_launch(second, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_query(stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_synchronize_for(stream, 0));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_wait_stream(stream, other));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_wait_generation(stream, event, 1));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_launch_host_func(stream, call, NULL));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_malloc_async(&memory, SIZE, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_free_async(device, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_record_stream(device, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_host_record_stream(to, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memcpy_async(device, ordinary, 64, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memcpy_async(ordinary, device, 64, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memcpy_async(large, many, sizeof(many), stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memcpy_async(many, large, sizeof(many), stream));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memcpy_async(ordinary, ordinary + 32, 32, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED,
                xpurt_memcpy_2d_async(ordinary, 8, device, 16, 4, 4, stream));
    test_expect(XPURT_ERROR_UNSUPPORTED,
                xpurt_memcpy_2d_async(device, 16, ordinary, 8, 4, 4, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(device, 0, SIZE + 1, stream));
    cr_assert_null(memory);
    test_ok(xpurt_device_synchronize(0)); /* of what is not captured */
    graph = ended(stream);
    test_ok(xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 1);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_graph_destroy(graph));
    test_ok(xpurt_graph_destroy(second));
}

Test(graphs, beyond_graph_errors)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_graph *graph, *none = NULL;
    size_t size = 7;

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_graph_end(stream, &graph));
    test_ok(xpurt_graph_begin(stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_graph_end(stream, NULL));
    cr_assert(capturing(stream));
    graph = ended(stream);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_graph_launch(none, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_graph_launch(graph, NULL));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_launch((xpurt_graph *)stream, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_graph_get_size(graph, NULL));
    if (n_devices > 1)
        test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_graph_launch(graph, stream_on(1)));
    test_ok(xpurt_graph_destroy(NULL));
    test_ok(xpurt_graph_destroy(graph));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_destroy(graph));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_launch(graph, stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_graph_get_size(graph, &size));
    cr_assert_eq(size, 7);
    test_ok(xpurt_stream_synchronize(stream));
}

/* An event belongs to the device it was first recorded on: a launch elsewhere sends nothing. */
Test(graphs, beyond_graph_records_on_one_device)
{
    xpurt_event *event = event_with(0), *first = event_with(0);
    xpurt_stream *stream;
    xpurt_graph *graph;
    uint32_t generation;

    if (n_devices < 2)
        cr_skip_test("one device");
    stream = stream_on(0);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(first, stream));
    test_ok(xpurt_event_record(event, stream));
    graph = ended(stream);
    test_ok(xpurt_event_record(event, stream_on(1)));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_get_generation(first, &generation));
    cr_assert_eq(generation, 0);
    test_ok(xpurt_graph_destroy(graph));
}

/* The daemon goes in the middle of a capture, and between launches. */
Test(graphs, beyond_graph_without_the_daemon)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    xpurt_graph *graph, *none = NULL;

    test_ok(xpurt_graph_begin(other));
    graph = ended(other);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(event_with(0), stream));
    test_daemon_kill(&xpurtd);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_graph_end(stream, &none));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_graph_launch(graph, other));
    cr_assert_null(none);
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_graph_destroy(graph));
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_reset());
    stream = stream_on(0);
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_graph_destroy(ended(stream)));
}
