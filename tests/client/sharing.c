/* SPDX-License-Identifier: MIT */
/* Events and memory shared by processes. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <stdio.h>
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

TestSuite(sharing, .init = start, .fini = stop);

static xpurt_stream *stream_new(void)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_create(&stream));
    return stream;
}

static xpurt_event *event_new(unsigned flags)
{
    xpurt_event *event;

    test_ok(xpurt_event_create(flags | XPURT_EVENT_INTERPROCESS, &event));
    return event;
}

static void occupy(xpurt_stream *stream)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, 64));
    test_ok(xpurt_memset_async(memory, 1, 64, stream));
}

static void event_send(int channel, xpurt_event *event)
{
    xpurt_event_handle handle;

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(channel, &handle, sizeof(handle));
}

static xpurt_event *event_receive(int channel)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    return event;
}

Test(sharing, parity_I1_handles)
{
    xpurt_event *event = event_new(0), *plain, *opened[2];
    xpurt_event_handle handles[2];

    test_ok(xpurt_event_create(0, &plain));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ipc_handle(plain, &handles[0]));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ipc_handle(event, NULL));
    for (int i = 0; i < 2; i++) {
        test_ok(xpurt_event_get_ipc_handle(event, &handles[i]));
        test_ok(xpurt_event_open_ipc_handle(&handles[i], &opened[i]));
    }
    cr_assert_eq(sizeof(handles[0]), 64);
}

/* I4: an opened event cannot be exported; opening in the creating process shares state. */
Test(sharing, parity_I4_opening_in_the_creating_process)
{
    xpurt_event *event = event_new(0), *same;
    xpurt_stream *stream = stream_new();
    xpurt_event_handle handle, again;

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &same));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ipc_handle(same, &again));
    cr_assert(strstr(xpurt_last_error(), "opened"));

    occupy(stream);
    test_ok(xpurt_event_record(same, stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_query(same));

    /* Within a batch too: the second name knows what was recorded under the first. */
    test_gate_close(&xpurtd);
    test_ok(xpurt_batch_begin());
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_wait_event(stream_new(), same));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_NOT_READY, xpurt_event_query(same));
    test_ok(xpurt_batch_end());
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(same));
    test_ok(xpurt_event_destroy(same));
}

static void both_directions(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_new();

    (void)data;
    test_ok(xpurt_event_query(event));  /* not recorded yet */
    test_pass(channel);

    test_await(channel);                /* recorded there, not done */
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(event, 1000000));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_stream_synchronize(stream));
    test_pass(channel);

    test_await(channel);                /* record here */
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_destroy(event));
    test_await(channel);
}

Test(sharing, parity_I3_both_directions)
{
    struct test_peer peer;
    xpurt_event *event;
    xpurt_stream *stream;

    test_peer_start(&peer, both_directions, NULL);
    event = event_new(0);
    stream = stream_new();
    event_send(peer.channel, event);
    test_await(peer.channel);

    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(peer.channel);
    test_await(peer.channel);
    test_gate_open(&xpurtd);
    test_await(peer.channel);
    test_ok(xpurt_event_query(event));

    test_gate_close(&xpurtd);
    test_pass(peer.channel);
    test_await(peer.channel);           /* recorded there */
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(stream, 1000000));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_stream_synchronize(stream));
    test_pass(peer.channel);
    test_peer_join(&peer);
}

/* ---- three processes hand a number on -------------------------------------------------------- */

enum { RING = 3, TURNS = 300 };

struct ring {
    xpurt_event_handle events[RING];
    xpurt_mem_handle number;
};

/* Of one member, in pinned memory. */
struct history {
    unsigned char seen[TURNS];
    unsigned char mine[TURNS];
};

static struct history *history_new(int member)
{
    struct history *history;

    test_ok(xpurt_host_malloc((void **)&history, sizeof(*history)));
    for (int turn = 0; turn < TURNS; turn++)
        history->mine[turn] = (unsigned char)(turn * RING + member + 1);
    return history;
}

/* After the member before, in stream order: note what it left, leave one's own. */
static void ring_turn(int member, int turn, xpurt_event *events[RING], unsigned char *number,
                      xpurt_stream *stream, struct history *history)
{
    test_ok(xpurt_stream_wait_event(stream, events[(member + RING - 1) % RING]));
    test_ok(xpurt_memcpy_async(&history->seen[turn], number, 1, stream));
    test_ok(xpurt_memcpy_async(number, &history->mine[turn], 1, stream));
    test_ok(xpurt_event_record(events[member], stream));
}

static void ring_check(int member, xpurt_stream *stream, const struct history *history)
{
    test_ok(xpurt_stream_synchronize(stream));
    for (int turn = 0; turn < TURNS; turn++)
        test_require(history->seen[turn] == (unsigned char)(turn * RING + member),
                     "member %d saw %d in turn %d", member, history->seen[turn], turn);
}

static void ring_member(int channel, void *data)
{
    int member = *(int *)data;
    struct history *history = history_new(member);
    xpurt_stream *stream = stream_new();
    xpurt_event *events[RING];
    struct ring ring;
    void *number;

    test_receive(channel, &ring, sizeof(ring));
    for (int i = 0; i < RING; i++)
        test_ok(xpurt_event_open_ipc_handle(&ring.events[i], &events[i]));
    test_ok(xpurt_mem_open_ipc_handle(&ring.number, &number));
    for (int turn = 0; turn < TURNS; turn++) {
        test_await(channel);
        ring_turn(member, turn, events, number, stream, history);
        test_pass(channel);             /* submitted, not done */
    }
    ring_check(member, stream, history);
    test_pass(channel);
    test_await(channel);
}

Test(sharing, parity_I3_more_than_two)
{
    static int members[RING] = { 0, 1, 2 };
    struct test_peer peers[RING];
    struct history *history;
    xpurt_event *events[RING];
    xpurt_stream *stream;
    struct ring ring;
    void *number;

    for (int i = 1; i < RING; i++)
        test_peer_start(&peers[i], ring_member, &members[i]);
    test_gate_open(&xpurtd);
    history = history_new(0);
    stream = stream_new();
    test_ok(xpurt_malloc(&number, 64));
    test_ok(xpurt_memset_async(number, 0, 64, stream));
    test_ok(xpurt_mem_get_ipc_handle(number, &ring.number));
    for (int i = 0; i < RING; i++) {
        events[i] = event_new(0);
        test_ok(xpurt_event_get_ipc_handle(events[i], &ring.events[i]));
    }
    for (int i = 1; i < RING; i++)
        test_send(peers[i].channel, &ring, sizeof(ring));

    for (int turn = 0; turn < TURNS; turn++) {
        ring_turn(0, turn, events, number, stream, history);
        for (int i = 1; i < RING; i++) {
            test_pass(peers[i].channel);
            test_await(peers[i].channel);
        }
    }
    ring_check(0, stream, history);
    for (int i = 1; i < RING; i++)
        test_await(peers[i].channel);
    for (int i = 1; i < RING; i++) {
        test_pass(peers[i].channel);
        test_peer_join(&peers[i]);
    }
}

/* ---- ends -------------------------------------------------------------------------------------- */

static void opens_and_destroys(int channel, void *data)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    test_pass(channel);
    test_await(channel);                /* destroyed there, while recorded */
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&handle, &event));
    test_ok(xpurt_init());              /* what was sent before is processed */
}

/* I5, exporter destroys: the opener goes on, the handle is stale. I2: no separate close. */
Test(sharing, parity_I5_exporter_destroys)
{
    struct test_peer peer;
    xpurt_stream *stream;
    xpurt_event *event;

    test_peer_start(&peer, opens_and_destroys, NULL);
    event = event_new(0);
    stream = stream_new();
    event_send(peer.channel, event);
    test_await(peer.channel);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_destroy(event));
    test_pass(peer.channel);
    test_await(peer.channel);
    test_gate_open(&xpurtd);
    test_peer_join(&peer);
    test_daemon_await_counter("handles", 0);
}

static void records_and_waits_for_death(int channel, void *data)
{
    xpurt_event *event = event_new(0);
    xpurt_stream *stream = stream_new();

    (void)data;
    event_send(channel, event);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    test_pass(channel);
    test_await(channel);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(channel);
    test_await(channel);
}

/* I5, exporter is killed: what was complete stays so, what was not is PEER_LOST. */
Test(sharing, parity_I5_exporter_dies)
{
    char sentence[64];
    struct test_peer peer;
    xpurt_stream *stream;
    xpurt_event_handle handle;
    xpurt_event *event, *again;

    test_peer_start(&peer, records_and_waits_for_death, NULL);
    test_receive(peer.channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    test_await(peer.channel);
    test_ok(xpurt_event_query(event));
    test_pass(peer.channel);
    test_await(peer.channel);
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    stream = stream_new();
    test_ok(xpurt_stream_wait_event(stream, event));
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));
    snprintf(sentence, sizeof(sentence), "process %d", (int)peer.pid);
    cr_assert(strstr(xpurt_last_error(), sentence), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_query(event));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_wait_event(stream_new(), event));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&handle, &again));
    test_ok(xpurt_event_destroy(event));
}

Test(sharing, parity_I6_wrong_handles)
{
    xpurt_event *event = event_new(0), *opened = NULL;
    xpurt_event_handle handle, altered;
    xpurt_mem_handle memory;
    void *ptr = NULL;

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    for (unsigned i = 0; i < sizeof(handle); i++) {
        xpurt_result r;

        altered = handle;
        altered.bytes[i] ^= 0x40;
        r = xpurt_event_open_ipc_handle(&altered, &opened);
        cr_assert(r == XPURT_ERROR_INVALID_HANDLE || r == XPURT_ERROR_STALE_HANDLE, "byte %u: %s",
                  i, xpurt_result_name(r));
    }
    memcpy(&memory, &handle, sizeof(memory));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_mem_open_ipc_handle(&memory, &ptr));
    cr_assert_null(opened);
    cr_assert_null(ptr);
}

static void times(int channel, void *data)
{
    xpurt_event *begin = event_receive(channel), *end = event_receive(channel);
    xpurt_stream *stream = stream_new();
    float milliseconds = -1;

    (void)data;
    test_ok(xpurt_event_record(end, stream));
    test_ok(xpurt_event_synchronize(end));
    test_ok(xpurt_event_elapsed_time(begin, end, &milliseconds));
    test_require(milliseconds > 0, "%f ms", (double)milliseconds);
    test_send(channel, &milliseconds, sizeof(milliseconds));
}

/* One event is recorded by each side, the times are seen by both. */
Test(sharing, parity_I7_timing_and_interprocess)
{
    float seen = -1, there = -2;
    xpurt_event *begin, *end;
    xpurt_stream *stream;
    struct test_peer peer;

    test_peer_start(&peer, times, NULL);
    begin = event_new(XPURT_EVENT_TIMING);
    end = event_new(XPURT_EVENT_TIMING);
    stream = stream_new();
    test_ok(xpurt_event_record(begin, stream));
    test_ok(xpurt_event_synchronize(begin));
    event_send(peer.channel, begin);
    event_send(peer.channel, end);
    test_receive(peer.channel, &there, sizeof(there));
    test_ok(xpurt_event_elapsed_time(begin, end, &seen));
    cr_assert(seen == there);
    test_peer_join(&peer);
}

static void records_and_leaves(int channel, void *data)
{
    xpurt_event *done = event_receive(channel), *undone = event_receive(channel);
    xpurt_stream *stream = stream_new();

    test_ok(xpurt_event_record(done, stream));
    test_ok(xpurt_event_synchronize(done));
    if (*(bool *)data) {
        occupy(stream);
        test_ok(xpurt_event_record(undone, stream));
    }
    test_ok(xpurt_reset());
}

/* Looked at for the first time when its recorder is gone: what was done is done. */
Test(sharing, parity_I5_recorder_leaves_before_anybody_looks)
{
    xpurt_event *done, *undone;
    struct test_peer peer;
    bool leaves_work = false;

    test_peer_start(&peer, records_and_leaves, &leaves_work);
    done = event_new(0);
    undone = event_new(0);
    event_send(peer.channel, done);
    event_send(peer.channel, undone);
    test_peer_join(&peer);
    test_daemon_await_counter("sessions", 1);
    test_ok(xpurt_event_query(done));
    test_ok(xpurt_event_synchronize(done));
    test_ok(xpurt_stream_wait_event(stream_new(), done));
    test_ok(xpurt_event_query(undone)); /* never recorded */
}

Test(sharing, parity_I5_recorder_leaves_work_undone)
{
    xpurt_event *done, *undone;
    struct test_peer peer;
    bool leaves_work = true;

    test_peer_start(&peer, records_and_leaves, &leaves_work);
    done = event_new(0);
    undone = event_new(0);
    event_send(peer.channel, done);
    event_send(peer.channel, undone);
    test_peer_join(&peer);
    test_ok(xpurt_event_query(done));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(undone));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_wait_event(stream_new(), undone));
}

/* ---- many ---------------------------------------------------------------------------------------- */

enum { MANY = 10000 };

static void opens_many(int channel, void *data)
{
    static xpurt_event *events[MANY];
    xpurt_stream *stream = stream_new();

    (void)data;
    for (int i = 0; i < MANY; i++)
        events[i] = event_receive(channel);
    for (int i = MANY - 1; i >= 0; i--) {
        test_ok(xpurt_stream_wait_event(stream, events[i]));
        test_ok(xpurt_event_record(events[i], stream));
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_pass(channel);
    test_await(channel);
    for (int i = 0; i < MANY; i++) {
        test_ok(xpurt_event_query(events[i]));
        test_ok(xpurt_event_destroy(events[i]));
    }
    test_ok(xpurt_init());
}

/* I8, and that cells of dropped events come back when the opener is done. */
Test(sharing, parity_I8_ten_thousand)
{
    static xpurt_event *events[MANY];
    struct test_peer peer;
    xpurt_stream *stream;

    test_peer_start(&peer, opens_many, NULL);
    stream = stream_new();
    for (int i = 0; i < MANY; i++) {
        events[i] = event_new(0);
        test_ok(xpurt_event_record(events[i], stream));
        event_send(peer.channel, events[i]);
    }
    test_await(peer.channel);
    for (int i = 0; i < MANY; i++) {
        test_ok(xpurt_event_query(events[i]));
        test_ok(xpurt_event_destroy(events[i]));
    }
    test_pass(peer.channel);
    test_peer_join(&peer);
    test_daemon_await_counter("sessions", 1);
    for (int i = 0; i < (1 << 18); i++) /* more than were never used */
        test_ok(xpurt_event_create(0, &events[0]));
    test_daemon_await_counter("handles", 0);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static void reads_memory(int channel, void *data)
{
    unsigned char bytes[4096];
    xpurt_mem_handle handle;
    unsigned char *first, *second;
    xpurt_stream *stream = stream_new();

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, (void **)&first));
    test_ok(xpurt_mem_open_ipc_handle(&handle, (void **)&second));
    test_require(first == second, "opened twice, two addresses");
    test_ok(xpurt_mem_close_ipc_handle(first));
    test_pass(channel);
    test_await(channel);                /* freed there */
    test_ok(xpurt_memcpy_async(bytes, second, sizeof(bytes), stream));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        test_require(bytes[i] == 7, "byte %u is %u", i, bytes[i]);
    test_ok(xpurt_mem_close_ipc_handle(second));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_mem_close_ipc_handle(second));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(second, 1, 1, stream));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_mem_open_ipc_handle(&handle, (void **)&first));
}

Test(sharing, parity_I10_memory_outlives_its_owner)
{
    struct test_peer peer;
    unsigned char *memory;
    xpurt_mem_handle handle;
    xpurt_stream *stream;

    test_peer_start(&peer, reads_memory, NULL);
    test_gate_open(&xpurtd);
    test_ok(xpurt_malloc((void **)&memory, 8192));
    stream = stream_new();
    test_ok(xpurt_memset_async(memory, 5, 4096, stream));
    test_ok(xpurt_memset_async(memory + 4096, 7, 4096, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_mem_get_ipc_handle(memory + 4096, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    test_await(peer.channel);
    test_ok(xpurt_free(memory));
    (void)test_daemon_counter("sessions"); /* an answer: the daemon knows */
    test_pass(peer.channel);
    test_peer_join(&peer);
    test_daemon_await_counter("user-allocations", 0);
}
