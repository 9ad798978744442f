/* SPDX-License-Identifier: MIT */
/* Beyond parity: waiting for a record that is still to come, on the host and in stream order. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

TestSuite(generations, .init = scene_start, .fini = scene_stop);

static uint32_t generation_of(xpurt_event *event)
{
    uint32_t generation = 77;

    test_ok(xpurt_event_get_generation(event, &generation));
    return generation;
}

Test(generations, beyond_generation_counts_records)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0);
    uint32_t generation;

    cr_assert_eq(generation_of(event), 0);
    test_ok(xpurt_event_wait_generation(event, 0, 0));
    for (uint32_t i = 1; i <= 3; i++) {
        test_expect(XPURT_TIMEOUT, xpurt_event_wait_generation(event, i, 0));
        test_ok(xpurt_event_record(event, stream));
        cr_assert_eq(generation_of(event), i);
        test_ok(xpurt_event_wait_generation(event, i, XPURT_NO_TIMEOUT));
    }
    test_ok(xpurt_event_wait_generation(event, 1, 0)); /* past */
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_record(event, stream));
    cr_assert_eq(generation_of(event), 5);
    test_ok(xpurt_batch_end());

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_generation(event, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_generation(NULL, &generation));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_wait_generation(NULL, 1, 0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_wait_generation(stream, NULL, 1));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_wait_generation(NULL, event, 1));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_get_generation(event, &generation));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_wait_generation(event, 1, 0));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_wait_generation(stream, event, 1));
}

/* The record is there, but what it captured is not done. */
Test(generations, beyond_generation_waits_for_completion)
{
    xpurt_stream *stream = stream_on(0), *waiting = stream_on(last_device);
    xpurt_event *event = event_with(0);

    test_ok(xpurt_stream_wait_generation(waiting, event, 1));
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_expect(XPURT_TIMEOUT, xpurt_event_wait_generation(event, 1, 30 * MS));
    cr_assert_not(stream_done(waiting));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_wait_generation(event, 1, XPURT_NO_TIMEOUT));
    test_ok(xpurt_stream_synchronize(waiting));
}

/* ---- two processes ------------------------------------------------------------------------------ */

enum { ROUNDS = 300 };

/* Each side makes every other record, and waits for those of the other side. */
static void play(xpurt_event *event, uint32_t mine)
{
    xpurt_stream *stream = stream_on(0);

    for (uint32_t i = 1; i <= ROUNDS; i++) {
        if (i % 2 == mine)
            test_ok(xpurt_event_record(event, stream));
        else
            test_ok(xpurt_event_wait_generation(event, i, XPURT_NO_TIMEOUT));
    }
}

static void plays(int channel, void *data)
{
    (void)data;
    play(event_receive(channel), 0);
}

Test(generations, beyond_generation_ping_pong)
{
    struct test_peer peer;
    xpurt_event *event;

    test_peer_start(&peer, plays, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(peer.channel, event);
    play(event, 1);
    test_peer_join(&peer);
    cr_assert_eq(generation_of(event), ROUNDS);
}

/* Data through streams only: within a round neither host waits for the other. Each event is recorded
 * once a round, so that nobody meets a later record than the one meant. */
enum { STEPS = 8, SHIFTS = 30 };

struct belt {
    xpurt_event *full[STEPS], *empty[STEPS];
    xpurt_stream *stream;
    unsigned char *memory, *host;
};

static unsigned char mark_of(uint32_t round, int step)
{
    return (unsigned char)(round * STEPS + (uint32_t)step);
}

static void consumes_in_stream_order(int channel, void *data)
{
    struct belt belt;
    xpurt_mem_handle handle;

    (void)data;
    for (int i = 0; i < STEPS; i++) {
        belt.full[i] = event_receive(channel);
        belt.empty[i] = event_receive(channel);
    }
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, (void **)&belt.memory));
    test_ok(xpurt_host_malloc((void **)&belt.host, STEPS));
    belt.stream = stream_on(0);
    for (uint32_t round = 1; round <= SHIFTS; round++) {
        for (int i = 0; i < STEPS; i++) {
            test_ok(xpurt_stream_wait_generation(belt.stream, belt.full[i], round));
            test_ok(xpurt_memcpy_async(belt.host + i, belt.memory, 1, belt.stream));
            test_ok(xpurt_event_record(belt.empty[i], belt.stream));
        }
        test_ok(xpurt_stream_synchronize(belt.stream));
        for (int i = 0; i < STEPS; i++)
            test_require(belt.host[i] == mark_of(round, i), "round %u, step %d", round, i);
        test_pass(channel);
        test_await(channel);
    }
}

Test(generations, beyond_generation_in_stream_order)
{
    struct belt belt;
    xpurt_mem_handle handle;
    struct test_peer peer;

    test_peer_start(&peer, consumes_in_stream_order, NULL);
    test_gate_open(&xpurtd);
    for (int i = 0; i < STEPS; i++) {
        belt.full[i] = event_with(XPURT_EVENT_INTERPROCESS);
        belt.empty[i] = event_with(XPURT_EVENT_INTERPROCESS);
        event_send(peer.channel, belt.full[i]);
        event_send(peer.channel, belt.empty[i]);
    }
    belt.memory = memory_on(0, 64);
    belt.stream = stream_on(0);
    test_ok(xpurt_mem_get_ipc_handle(belt.memory, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    for (uint32_t round = 1; round <= SHIFTS; round++) {
        for (int i = 0; i < STEPS; i++) {
            test_ok(xpurt_memset_async(belt.memory, mark_of(round, i), 64, belt.stream));
            test_ok(xpurt_event_record(belt.full[i], belt.stream));
            test_ok(xpurt_stream_wait_generation(belt.stream, belt.empty[i], round));
        }
        test_ok(xpurt_stream_synchronize(belt.stream));
        test_await(peer.channel);
        test_pass(peer.channel);
    }
    test_peer_join(&peer);
}

/* ---- death -------------------------------------------------------------------------------------- */

static void opens_and_hangs(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);

    (void)data;
    test_ok(xpurt_event_record(event, stream_on(0)));
    test_pass(channel);
    (void)xpurt_event_wait_generation(event, 1000, XPURT_NO_TIMEOUT);
    for (;;)
        pause();
}

static void *waits_on_the_host(void *event)
{
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_wait_generation(event, 2, XPURT_NO_TIMEOUT));
    return NULL;
}

/* Killed: an opener, which waits itself and which others wait for, on the host and in streams. */
Test(generations, beyond_generation_death_of_the_recorder)
{
    struct footprint here = { 0 }, there = { 0 };

    test_ok(xpurt_init());
    for (int round = 0; round < 3; round++) {
        xpurt_stream *stream, *behind;
        struct test_peer peer;
        xpurt_event *event;
        pthread_t thread;

        test_peer_start(&peer, opens_and_hangs, NULL);
        event = event_with(XPURT_EVENT_INTERPROCESS);
        stream = stream_on(0);
        behind = stream_on(last_device);
        event_send(peer.channel, event);
        test_await(peer.channel);
        test_ok(xpurt_stream_wait_generation(stream, event, 2));
        test_ok(xpurt_stream_wait_stream(behind, stream));
        pthread_create(&thread, NULL, waits_on_the_host, event);
        test_expect(XPURT_TIMEOUT, xpurt_event_wait_generation(event, 2, 100 * MS));
        test_peer_kill(&peer);
        pthread_join(thread, NULL);
        test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
        test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(behind));
        cr_assert(said("a process is gone"), "%s", xpurt_last_error());
        test_ok(xpurt_stream_destroy(stream));
        test_ok(xpurt_stream_destroy(behind));
        test_ok(xpurt_event_wait_generation(event, 1, 0)); /* what was recorded stays */

        /* It is good for more records, and nobody sleeps for the dead. */
        stream = stream_on(0);
        test_ok(xpurt_event_record(event, stream));
        test_ok(xpurt_event_wait_generation(event, 2, XPURT_NO_TIMEOUT));
        test_ok(xpurt_stream_destroy(stream));
        test_ok(xpurt_event_destroy(event));
        test_daemon_await_counter("sessions", 1);
        test_daemon_await_counter("streams", 0);
        test_daemon_await_counter("user-leases", 0);
        if (round == 0) {
            here = footprint_of(getpid());
            there = footprint_of(xpurtd.pid);
        }
    }
    footprint_check(getpid(), here);
    footprint_check(xpurtd.pid, there);
}

static void waits_for_its_maker(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    test_ok(xpurt_stream_wait_generation(stream, event, 1));
    test_pass(channel);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_wait_generation(event, 1, XPURT_NO_TIMEOUT));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
    test_pass(channel);
}

static void makes_and_hangs(int channel, void *data)
{
    (void)data;
    event_send(channel, event_with(XPURT_EVENT_INTERPROCESS));
    for (;;)
        pause();
}

Test(generations, beyond_generation_death_of_the_maker)
{
    struct test_peer maker, waiter;
    xpurt_event_handle handle;

    test_peer_start(&maker, makes_and_hangs, NULL);
    test_peer_start(&waiter, waits_for_its_maker, NULL);
    test_receive(maker.channel, &handle, sizeof(handle));
    test_send(waiter.channel, &handle, sizeof(handle));
    test_await(waiter.channel);
    test_peer_kill(&maker);
    test_await(waiter.channel);
    test_peer_join(&waiter);
    test_daemon_await_counter("sessions", 1);
}

static void opens_and_closes(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);

    (void)data;
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_device_synchronize(0)); /* and is sent */
}

/* Nobody died: another may open it yet, and does. */
Test(generations, beyond_generation_nobody_there_yet)
{
    struct test_peer peer;
    xpurt_event *event;

    test_peer_start(&peer, opens_and_closes, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(peer.channel, event);
    test_peer_join(&peer);
    test_expect(XPURT_TIMEOUT, xpurt_event_wait_generation(event, 1, 1300 * MS));
    test_ok(xpurt_event_record(event, stream_on(0)));
    test_ok(xpurt_event_wait_generation(event, 1, XPURT_NO_TIMEOUT));
}

static void *waits_for_the_daemon(void *event)
{
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_wait_generation(event, 1, XPURT_NO_TIMEOUT));
    return NULL;
}

Test(generations, beyond_generation_death_of_the_daemon)
{
    struct footprint here = footprint_of(getpid());
    xpurt_event *event = event_with(0), *recorded = event_with(0);
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    pthread_t thread;

    test_ok(xpurt_event_record(recorded, other));
    test_ok(xpurt_event_synchronize(recorded));
    test_ok(xpurt_stream_wait_generation(stream, event, 1));
    pthread_create(&thread, NULL, waits_for_the_daemon, event);
    test_expect(XPURT_TIMEOUT, xpurt_event_wait_generation(event, 1, 60 * MS));
    test_daemon_kill(&xpurtd);
    pthread_join(thread, NULL);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(stream));
    test_ok(xpurt_event_wait_generation(recorded, 1, 0));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_wait_generation(other, event, 1));
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_reset());
    footprint_check(getpid(), here);
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_destroy(event));
}

/* ---- ends --------------------------------------------------------------------------------------- */

static void records_when_told(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);

    (void)data;
    test_pass(channel);
    test_await(channel);
    test_ok(xpurt_event_record(event, stream_on(0)));
    test_pass(channel);
    test_await(channel);
}

/* The stream's wait outlives the event here, not the event everywhere. */
Test(generations, beyond_generation_of_a_destroyed_event)
{
    struct test_peer peer;
    xpurt_stream *stream, *hopeless;
    xpurt_event *event, *own;
    int fd;

    test_peer_start(&peer, records_when_told, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    own = event_with(0);
    stream = stream_on(0);
    hopeless = stream_on(0);
    event_send(peer.channel, event);
    test_await(peer.channel);
    test_ok(xpurt_stream_wait_generation(stream, event, 1));
    test_ok(xpurt_stream_wait_generation(hopeless, own, 1));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_event_destroy(own));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_get_fd(event, &fd));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(hopeless));
    cr_assert_not(stream_done(stream));
    test_pass(peer.channel);
    test_await(peer.channel);
    test_ok(xpurt_stream_synchronize(stream));
    test_daemon_await_counter("handles", 0);
    test_pass(peer.channel);
    test_peer_join(&peer);
}

/* A stream that waits for what it does itself, later. */
Test(generations, beyond_generation_of_its_own_future)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0);

    test_ok(xpurt_stream_wait_generation(stream, event, 1));
    test_ok(xpurt_event_record(event, stream));
    test_expect(XPURT_ERROR_DEPENDENCY, xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_destroy(stream));
    test_daemon_await_counter("streams", 0);
}

static void child_waits(int channel, void *data)
{
    xpurt_event *event = data;
    xpurt_stream *stream = stream_on(0);

    test_ok(xpurt_stream_wait_generation(stream, event, 1));
    test_pass(channel);
    test_ok(xpurt_event_wait_generation(event, 1, XPURT_NO_TIMEOUT));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_destroy(event));
}

Test(generations, beyond_generation_and_fork)
{
    xpurt_event *event = event_with(0), *never = event_with(0);
    xpurt_stream *stream = stream_on(0), *stuck = stream_on(0);
    struct test_peer child;

    /* At the time of the fork a job holds an event: in the child nobody does. */
    test_ok(xpurt_stream_wait_generation(stuck, never, 1));
    test_ok(xpurt_stream_wait_generation(stuck, event, 3));
    test_peer_start(&child, child_waits, event);
    test_await(child.channel);
    test_ok(xpurt_event_record(event, stream));
    test_peer_join(&child);
    test_ok(xpurt_event_wait_generation(event, 2, XPURT_NO_TIMEOUT));
    test_ok(xpurt_event_record(never, stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_synchronize(stuck));
}

static void parent_of_an_heir(int channel, void *data)
{
    xpurt_event *event = event_with(0);
    pid_t pid;

    (void)data;
    test_ok(xpurt_event_record(event, stream_on(0)));
    pid = fork();
    if (pid == 0) {
        test_ok(xpurt_init());
        test_pass(channel);
        test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_wait_generation(event, 2, XPURT_NO_TIMEOUT));
        test_pass(channel);
        _exit(0);
    }
    for (;;)
        pause();
}

Test(generations, beyond_generation_death_of_the_parent)
{
    struct test_peer parent;

    test_peer_start(&parent, parent_of_an_heir, NULL);
    test_await(parent.channel);
    kill(parent.pid, SIGKILL);
    test_await(parent.channel);         /* of the child, which has the channel too */
    test_peer_kill(&parent);
}
