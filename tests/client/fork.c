/* SPDX-License-Identifier: MIT */
/* parity L2: a process that uses xpurt forks, and both go on. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
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

TestSuite(forks, .init = start, .fini = stop);

/* What the parent has before the fork. */
struct inherited {
    xpurt_stream *stream;
    xpurt_event *recorded, *timing, *opened;
    unsigned char *device, *pinned;
};

static void make(struct inherited *inherited)
{
    xpurt_event_handle handle;

    test_ok(xpurt_stream_create(&inherited->stream));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &inherited->recorded));
    test_ok(xpurt_event_create(XPURT_EVENT_TIMING, &inherited->timing));
    test_ok(xpurt_event_get_ipc_handle(inherited->recorded, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &inherited->opened));
    test_ok(xpurt_malloc((void **)&inherited->device, 4096));
    test_ok(xpurt_host_malloc((void **)&inherited->pinned, 4096));
    inherited->pinned[0] = 42;
    test_ok(xpurt_memset_async(inherited->device, 1, 4096, inherited->stream));
    test_ok(xpurt_event_record(inherited->recorded, inherited->stream));
}

static void child_of_a_user(int channel, void *data)
{
    struct inherited *inherited = data;
    xpurt_event_handle handle;
    xpurt_stream *stream;
    float milliseconds;
    void *memory;

    test_require(!xpurt_is_initialized(), "the child has a session it did not ask for");

    /* Streams are the parent's. */
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_query(inherited->stream));
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_synchronize(inherited->stream));
    test_expect(XPURT_ERROR_FORKED, xpurt_event_record(inherited->timing, inherited->stream));
    test_expect(XPURT_ERROR_FORKED,
                xpurt_stream_wait_event(inherited->stream, inherited->recorded));
    test_ok(xpurt_stream_destroy(inherited->stream));

    /* So is memory; the contents of pinned memory are still here. */
    test_require(inherited->pinned[0] == 42, "%d", inherited->pinned[0]);
    test_require(!xpurt_host_is_pinned(inherited->pinned), "still pinned");
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(inherited->device));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(inherited->pinned));

    /* Events work, before and after the first connection of the child. */
    test_expect(XPURT_NOT_READY, xpurt_event_query(inherited->recorded));
    test_expect(XPURT_NOT_READY, xpurt_event_query(inherited->opened));
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_stream_wait_event(stream, inherited->recorded));
    test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_event_get_ipc_handle(inherited->recorded, &handle));
    test_pass(channel);                 /* the parent opens the gate */
    test_ok(xpurt_event_synchronize(inherited->recorded));
    test_ok(xpurt_stream_synchronize(stream));

    /* Record the parent's event here; it sees that. */
    test_ok(xpurt_event_record(inherited->timing, stream));
    test_ok(xpurt_event_synchronize(inherited->timing));
    test_ok(xpurt_event_elapsed_time(inherited->timing, inherited->timing, &milliseconds));
    test_pass(channel);
    test_await(channel);

    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_event_destroy(inherited->recorded));
    test_ok(xpurt_event_destroy(inherited->timing));
    test_ok(xpurt_event_destroy(inherited->opened));
    test_ok(xpurt_stream_synchronize(stream));
}

Test(forks, parity_L2_parent_and_child_go_on)
{
    struct inherited inherited;
    unsigned char byte = 0;
    struct test_peer child;
    float milliseconds;

    make(&inherited);
    test_peer_start(&child, child_of_a_user, &inherited);
    test_await(child.channel);
    test_gate_open(&xpurtd);
    test_await(child.channel);
    test_ok(xpurt_event_query(inherited.timing));
    test_ok(xpurt_event_elapsed_time(inherited.timing, inherited.timing, &milliseconds));
    cr_assert(milliseconds == 0);
    test_pass(child.channel);
    test_peer_join(&child);

    /* What the child destroyed was its own. */
    test_ok(xpurt_event_query(inherited.recorded));
    test_ok(xpurt_event_query(inherited.opened));
    test_ok(xpurt_event_record(inherited.timing, inherited.stream));
    test_ok(xpurt_memcpy_async(&byte, inherited.device, 1, inherited.stream));
    cr_assert_eq(byte, 1);
    cr_assert(xpurt_host_is_pinned(inherited.pinned));
    test_ok(xpurt_event_destroy(inherited.opened));
    test_ok(xpurt_event_destroy(inherited.recorded));
    test_daemon_await_counter("handles", 0);
}

static void child_that_outlives(int channel, void *data)
{
    struct inherited *inherited = data;

    test_ok(xpurt_init());
    test_pass(channel);
    test_await(channel);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(inherited->recorded));
}

static void parent_that_dies(int channel, void *data)
{
    struct inherited inherited;
    struct test_peer child;

    (void)data;
    make(&inherited);
    test_peer_start(&child, child_that_outlives, &inherited);
    test_await(child.channel);
    test_pass(channel);
    test_await(channel);
    test_ok(xpurt_reset());             /* the session ends; we stay to see the child end */
    test_pass(child.channel);
    test_peer_join(&child);
}

Test(forks, parity_L2_parent_session_ends)
{
    struct test_peer parent;

    test_peer_start(&parent, parent_that_dies, NULL);
    test_await(parent.channel);
    test_pass(parent.channel);
    test_peer_join(&parent);
}

static uint32_t slot_of_session(void)
{
    xpurt_daemon_info info;

    test_ok(xpurt_daemon_get_info(&info));
    return info.session;
}

/* Ours, of @p slot, ends; others come and go until the last one before that slot has gone. */
static void slots_pass(uint32_t slot)
{
    enum { SLOTS = 4096 };

    test_ok(xpurt_reset());
    test_daemon_await_counter("boards", 1); /* slots are used again in the order they became free */
    while ((slot_of_session() + 1) % SLOTS != slot)
        test_ok(xpurt_reset());
    test_ok(xpurt_reset());
}

/* Its session gets the slot that its parent's had. */
static void child_in_the_slot(int channel, void *data)
{
    struct inherited *inherited = data;
    xpurt_stream *stream;
    uint32_t slot;

    test_receive(channel, &slot, sizeof(slot));
    test_ok(xpurt_stream_create(&stream));
    test_require(slot_of_session() == slot, "%u instead of %u", slot_of_session(), slot);
    test_ok(xpurt_event_query(inherited->recorded));
    test_ok(xpurt_event_query(inherited->opened));
    test_ok(xpurt_event_record(inherited->timing, stream));
    test_ok(xpurt_event_synchronize(inherited->timing));
    test_ok(xpurt_event_destroy(inherited->recorded));
    test_ok(xpurt_event_destroy(inherited->timing));
    test_ok(xpurt_event_destroy(inherited->opened));
    test_ok(xpurt_stream_synchronize(stream));
}

Test(forks, in_the_slot_of_the_parent)
{
    struct inherited inherited;
    struct test_peer child;
    uint32_t slot;

    test_gate_open(&xpurtd);
    make(&inherited);
    test_ok(xpurt_event_synchronize(inherited.recorded));
    slot = slot_of_session();
    test_peer_start(&child, child_in_the_slot, &inherited);
    slots_pass(slot);
    test_send(child.channel, &slot, sizeof(slot));
    test_peer_join(&child);
}

/* Another session has the slot that its parent's had, and shares an event. */
static void child_that_imports(int channel, void *data)
{
    struct inherited *inherited = data;
    xpurt_event_handle handle;
    xpurt_event *event;

    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_ok(xpurt_event_query(inherited->recorded));
    test_pass(channel);                 /* the gate is opened */
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_event_query(inherited->recorded));
}

Test(forks, with_another_in_the_slot_of_the_parent)
{
    struct inherited before, after;
    xpurt_event_handle handle;
    struct test_peer child;
    uint32_t slot;

    test_gate_open(&xpurtd);
    make(&before);
    test_ok(xpurt_event_synchronize(before.recorded));
    slot = slot_of_session();
    test_peer_start(&child, child_that_imports, &before);
    slots_pass(slot);
    test_gate_close(&xpurtd);
    make(&after);
    test_require(slot_of_session() == slot, "%u instead of %u", slot_of_session(), slot);
    test_ok(xpurt_event_get_ipc_handle(after.recorded, &handle));
    test_send(child.channel, &handle, sizeof(handle));
    test_await(child.channel);
    test_gate_open(&xpurtd);
    test_peer_join(&child);
}

static void grandchild(int channel, void *data)
{
    struct inherited *inherited = data;

    test_expect(XPURT_NOT_READY, xpurt_event_query(inherited->recorded));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(inherited->recorded));
}

/* Forks before it has a session of its own. */
static void child_that_forks(int channel, void *data)
{
    struct inherited *inherited = data;
    struct test_peer peer;

    test_peer_start(&peer, grandchild, inherited);
    test_await(peer.channel);
    test_pass(channel);
    test_ok(xpurt_event_synchronize(inherited->recorded));
    test_peer_join(&peer);
}

Test(forks, parity_L2_grandchildren)
{
    struct inherited inherited;
    struct test_peer child;

    make(&inherited);
    test_peer_start(&child, child_that_forks, &inherited);
    test_await(child.channel);
    test_gate_open(&xpurtd);
    test_peer_join(&child);
    test_ok(xpurt_stream_synchronize(inherited.stream));
}

/* Within a batch: what was collected is the parent's to send. */
static void child_of_a_batch(int channel, void *data)
{
    xpurt_event *event = data;
    xpurt_stream *stream;

    (void)channel;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_batch_end());
    test_ok(xpurt_event_query(event));
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_stream_synchronize(stream));
}

Test(forks, parity_L2_in_a_batch)
{
    struct test_peer child;
    xpurt_stream *stream;
    xpurt_event *event;
    void *memory;

    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_malloc(&memory, 64));
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_memset_async(memory, 1, 64, stream));
    test_ok(xpurt_event_record(event, stream));
    test_peer_start(&child, child_of_a_batch, event);
    test_peer_join(&child);
    test_ok(xpurt_batch_end());
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
}
