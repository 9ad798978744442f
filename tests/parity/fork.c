/* SPDX-License-Identifier: MIT */
/* Parity L2: a process that has used xpurt forks; both go on, events of before the fork order both,
 * and the death of either is an error to the other, no more. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(forks, .init = scene_start, .fini = scene_stop);

enum { ROUNDS = 200, WORDS = 1024, SIZE = WORDS * sizeof(unsigned) };

/* What the parent has before the fork. The memory is reached by its handle: addresses are a process's
 * own. */
struct family {
    xpurt_event *from_parent, *from_child;
    xpurt_stream *stream;
    unsigned *memory, *pinned;
    xpurt_mem_handle handle;
};

static void family_make(struct family *family)
{
    family->from_parent = event_with(0);
    family->from_child = event_with(XPURT_EVENT_BLOCKING);
    family->stream = stream_on(last_device);
    family->memory = (unsigned *)(void *)memory_on(last_device, SIZE);
    test_ok(xpurt_mem_get_ipc_handle(family->memory, &family->handle));
    test_ok(xpurt_host_malloc((void **)&family->pinned, SIZE));
}

/* Put @p number into all of the memory, in stream order. */
static void write_number(const struct family *family, unsigned number)
{
    for (int i = 0; i < WORDS; i++)
        family->pinned[i] = number;
    test_ok(xpurt_memcpy_async(family->memory, family->pinned, SIZE, family->stream));
}

/* Read it back, in stream order. */
static void expect_number(const struct family *family, unsigned number)
{
    test_ok(xpurt_memcpy_async(family->pinned, family->memory, SIZE, family->stream));
    test_ok(xpurt_stream_synchronize(family->stream));
    for (int i = 0; i < WORDS; i++)
        test_require(family->pinned[i] == number, "word %d is %u instead of %u", i,
                     family->pinned[i], number);
}

/* The child's own of all but the events. */
static void child_begin(struct family *family)
{
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_query(family->stream));
    test_ok(xpurt_stream_destroy(family->stream));
    family->stream = stream_on(last_device);
    test_ok(xpurt_mem_open_ipc_handle(&family->handle, (void **)&family->memory));
    test_require(!xpurt_host_is_pinned(family->pinned), "the parent's pinned memory");
    test_ok(xpurt_host_malloc((void **)&family->pinned, SIZE));
}

static void child_end(const struct family *family)
{
    test_ok(xpurt_host_free(family->pinned));
    test_ok(xpurt_mem_close_ipc_handle(family->memory));
    test_ok(xpurt_event_destroy(family->from_parent));
    test_ok(xpurt_event_destroy(family->from_child));
    test_ok(xpurt_stream_destroy(family->stream));
}

/* ---- order -------------------------------------------------------------------------------------- */

static void answers(int channel, void *data)
{
    struct family *family = data;

    child_begin(family);
    for (unsigned round = 0; round < ROUNDS; round++) {
        test_await(channel);            /* recorded there; maybe not done */
        test_ok(xpurt_stream_wait_event(family->stream, family->from_parent));
        expect_number(family, 2 * round);
        write_number(family, 2 * round + 1);
        test_ok(xpurt_event_record(family->from_child, family->stream));
        test_pass(channel);
    }
    test_ok(xpurt_event_synchronize(family->from_child));
    child_end(family);
}

/* No host waits for the other's work. */
Test(forks, parity_L2_streams_order_each_other_by_events_of_before)
{
    struct family family;
    struct test_peer child;

    family_make(&family);
    test_gate_open(&xpurtd);
    test_peer_start(&child, answers, &family);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round) {
            test_ok(xpurt_stream_wait_event(family.stream, family.from_child));
            expect_number(&family, 2 * round - 1);
        }
        write_number(&family, 2 * round);
        test_ok(xpurt_event_record(family.from_parent, family.stream));
        test_pass(child.channel);
        test_await(child.channel);
    }
    test_peer_join(&child);
    test_ok(xpurt_event_query(family.from_child));
    expect_number(&family, 2 * ROUNDS - 1);
    cr_assert(xpurt_host_is_pinned(family.pinned));
}

static void waits_then_records(int channel, void *data)
{
    struct family *family = data;

    child_begin(family);
    test_ok(xpurt_event_query(family->from_parent)); /* not recorded yet */
    test_pass(channel);
    test_await(channel);                /* now it is, behind work that takes long */
    test_expect(XPURT_NOT_READY, xpurt_event_query(family->from_parent));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(family->from_parent, 1000000));
    test_ok(xpurt_stream_wait_event(family->stream, family->from_parent));
    test_ok(xpurt_event_record(family->from_child, family->stream));
    test_require(!stream_done(family->stream), "it does not wait for the parent");
    test_pass(channel);
    test_await(channel);                /* the gate is open */
    test_ok(xpurt_event_synchronize(family->from_parent));
    test_ok(xpurt_stream_synchronize(family->stream));
    child_end(family);
}

/* Each waits for what the other records after the fork, on the host and in its streams. */
Test(forks, parity_L2_records_after_the_fork)
{
    xpurt_stream *waiting = stream_on(0);
    struct family family;
    struct test_peer child;

    family_make(&family);
    test_peer_start(&child, waits_then_records, &family);
    test_await(child.channel);
    occupy(family.stream);
    test_ok(xpurt_event_record(family.from_parent, family.stream));
    test_pass(child.channel);
    test_await(child.channel);
    test_expect(XPURT_NOT_READY, xpurt_event_query(family.from_child));
    test_ok(xpurt_stream_wait_event(waiting, family.from_child));
    cr_assert_not(stream_done(waiting));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(family.from_child));
    test_ok(xpurt_stream_synchronize(waiting));
    test_pass(child.channel);
    test_peer_join(&child);
}

/* ---- death -------------------------------------------------------------------------------------- */

/* Its record does not come before it dies. */
static void records_behind_the_gate(int channel, void *data)
{
    struct family *family = data;

    child_begin(family);
    occupy(family->stream);
    test_ok(xpurt_event_record(family->from_child, family->stream));
    test_pass(channel);
    test_await(channel);
}

Test(forks, parity_L2_the_child_is_killed)
{
    struct family family;
    struct test_peer child;

    family_make(&family);
    occupy(family.stream);
    test_ok(xpurt_event_record(family.from_parent, family.stream));
    test_peer_start(&child, records_behind_the_gate, &family);
    test_await(child.channel);
    test_expect(XPURT_NOT_READY, xpurt_event_query(family.from_child));
    test_peer_kill(&child);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(family.from_child));
    test_expect(XPURT_NOT_READY, xpurt_event_query(family.from_parent)); /* nothing of ours */
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(family.from_parent));

    write_number(&family, 7);
    test_ok(xpurt_event_record(family.from_child, family.stream)); /* good for another turn */
    test_ok(xpurt_event_synchronize(family.from_child));
    expect_number(&family, 7);
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("streams", 1);
}

struct orphan {
    struct family family;
    int channel;                        /* to the test: the parent's ends with the parent */
};

static void outlives(int channel, void *data)
{
    struct orphan *orphan = data;
    struct family *family = &orphan->family;

    prctl(PR_SET_PDEATHSIG, 0);
    close(channel);
    child_begin(family);
    write_number(family, 9);
    test_ok(xpurt_stream_wait_event(family->stream, family->from_parent));
    test_expect(XPURT_NOT_READY, xpurt_event_query(family->from_parent));
    test_pass(orphan->channel);
    test_await(orphan->channel);        /* the parent is dead */
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(family->from_parent));
    test_pass(orphan->channel);
    test_await(orphan->channel);        /* the gate is open: what is on the GPU drains */
    (void)xpurt_stream_synchronize(family->stream);

    test_ok(xpurt_stream_destroy(family->stream));
    family->stream = stream_on(last_device);
    expect_number(family, 9);           /* the parent's memory lives as long as we use it */
    test_ok(xpurt_event_record(family->from_child, family->stream));
    test_ok(xpurt_event_synchronize(family->from_child));
    test_ok(xpurt_event_record(family->from_parent, family->stream));
    test_ok(xpurt_event_synchronize(family->from_parent));
    child_end(family);
    test_pass(orphan->channel);
}

static void forks_and_is_killed(int channel, void *data)
{
    struct orphan orphan = { .channel = *(int *)data };
    struct test_peer child;

    family_make(&orphan.family);
    occupy(orphan.family.stream);
    test_ok(xpurt_event_record(orphan.family.from_parent, orphan.family.stream));
    test_peer_start(&child, outlives, &orphan);
    test_await(channel);                /* never comes */
}

Test(forks, parity_L2_the_parent_is_killed)
{
    struct test_peer parent;
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    test_peer_start(&parent, forks_and_is_killed, &ends[1]);
    close(ends[1]);
    test_await(ends[0]);
    test_peer_kill(&parent);
    test_pass(ends[0]);
    test_await(ends[0]);
    test_gate_open(&xpurtd);
    test_pass(ends[0]);
    test_await(ends[0]);                /* the orphan has done all that it should */
    close(ends[0]);
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("handles", 0);
    test_daemon_await_counter("user-allocations", 0);
}
