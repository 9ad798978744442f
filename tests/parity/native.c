/* SPDX-License-Identifier: MIT */
/* Parity, Level Zero contexts of the process's own: command lists as streams, events as native ones. */
#include "tests/support/native.h"
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(native, .init = scene_start, .fini = scene_stop);

#define SECOND_NS UINT64_C(1000000000)
#define WORD 8                          /* bytes of what the tests pass on */

struct external {
    struct test_native native;
    xpurt_ze_list list;
    xpurt_stream *stream;
};

static void external_open(struct external *external, unsigned device)
{
    test_native_open(&external->native);
    external->list = test_native_list(&external->native, device);
    test_ok(xpurt_stream_from_ze_list(&external->list, &external->stream));
}

static void external_close(struct external *external)
{
    test_ok(xpurt_stream_destroy(external->stream));
    test_require(test_native_synchronize(&external->native, &external->list, 10 * SECOND_NS),
                 "the list does not end");
    test_ok(xpurt_ze_close(&external->native.context));
    test_ze(zeCommandListDestroy(external->list.list));
    test_ze(zeContextDestroy(external->native.context.context));
}

/* The same bytes as @p memory, for the list. */
static unsigned char *native_pointer(struct external *external, void *memory)
{
    void *native;

    test_ok(
        xpurt_mem_get_ze_pointer(memory, &external->list.context, external->list.device, &native));
    return native;
}

static unsigned char *pinned(size_t size)
{
    void *bytes;

    test_ok(xpurt_host_malloc(&bytes, size));
    memset(bytes, 0, size);
    return bytes;
}

/* ---- what is taken ----------------------------------------------------------------------------------- */

Test(native, parity_S8_takes_lists_in_order_only)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS };
    struct test_native native;
    xpurt_ze_list good, list;
    xpurt_stream *stream;
    void *handle;

    test_native_open(&native);
    good = test_native_list(&native, 0);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(NULL, &stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&good, NULL));
    list = good;
    list.list = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));
    test_require(said("null"), "%s", xpurt_last_error());
    list = good;
    list.device = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));
    list = good;
    list.desc = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));
    list = good;
    list.context.context = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));
    list = good;
    list.context.driver = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));

    list = good;
    list.desc = &desc;
    list.ordered = 0;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_from_ze_list(&list, &stream));
    test_require(said("not in order"), "%s", xpurt_last_error());
    desc.mode = ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS;
    test_ok(xpurt_stream_from_ze_list(&list, &stream));
    test_ok(xpurt_stream_destroy(stream));
    desc.mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS;
    desc.flags = ZE_BIT(1);             /* in order, by the name that newer headers have */
    test_ok(xpurt_stream_from_ze_list(&list, &stream));
    test_ok(xpurt_stream_get_native_handle(stream, &handle));
    test_require(handle == good.list, "another handle");
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_ze_close(&native.context));
}

/* Whoever counts other devices than xpurtd must not open its handles. */
Test(native, parity_S8_refuses_other_devices, .init = scene_count_devices)
{
    struct test_daemon other;
    struct test_native native;
    xpurt_ze_list list;
    xpurt_stream *stream;

    setenv("ZE_SOFT_DEVICES", "3", 1);
    test_daemon_start(&other, NULL);
    unsetenv("ZE_SOFT_DEVICES");
    if (n_devices == 1)
        setenv("ZE_SOFT_DEVICES", "1", 1);
    test_native_open(&native);
    list = test_native_list(&native, 0);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_stream_from_ze_list(&list, &stream));
    test_require(said("xpurtd 3"), "%s", xpurt_last_error());
    test_daemon_stop(&other);
}

/* Its commands are the caller's business. */
Test(native, parity_S8_is_the_callers_to_fill)
{
    unsigned char *memory = memory_on(0, WORD);
    struct external external;

    external_open(&external, 0);
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_memset_async(memory, 1, WORD, external.stream));
    test_require(said("external"), "%s", xpurt_last_error());
    test_ok(xpurt_stream_synchronize(external.stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_ze_close(&external.native.context));
    external_close(&external);
    test_ok(xpurt_ze_close(&external.native.context));
}

/* ---- order --------------------------------------------------------------------------------------------- */

/* A stream of the daemon, then the list; then the other way round. */
Test(native, parity_S8_orders_both_ways)
{
    unsigned char *memory = memory_on(0, WORD), *seen = pinned(WORD), *native;
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0), *back = event_with(0);
    struct external external;
    ze_event_handle_t gate;

    external_open(&external, 0);
    native = native_pointer(&external, memory);
    test_ok(xpurt_memset_async(memory, 0, WORD, stream));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    test_gate_close(&xpurtd);

    test_ok(xpurt_memset_async(memory, 0x11, WORD, stream));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_wait_event(external.stream, event));
    test_native_copy(&external.list, seen, native, WORD);
    test_expect(XPURT_NOT_READY, xpurt_stream_query(external.stream));
    test_require(!test_native_synchronize(&external.native, &external.list, SECOND_NS / 20),
                 "the list did not wait");
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(external.stream));
    test_require(seen[0] == 0x11, "the list saw 0x%x", seen[0]);

    gate = test_native_hold(&external.native, &external.list);
    seen[0] = 0x22;
    test_native_copy(&external.list, native, seen, WORD);
    test_ok(xpurt_event_record(back, external.stream));
    test_ok(xpurt_stream_wait_event(stream, back));
    test_ok(xpurt_memcpy_async(seen + 4, memory, 1, stream));
    test_require(!stream_done(stream), "the stream did not wait");
    test_expect(XPURT_NOT_READY, xpurt_event_query(back));
    test_native_let_go(gate);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_event_query(back));
    test_require(seen[4] == 0x22, "the stream saw 0x%x", seen[4]);
    test_ok(xpurt_mem_put_ze_pointer(&external.list.context, native));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_mem_put_ze_pointer(&external.list.context, native));
    external_close(&external);
}

/* Two lists, and two contexts, of one process. */
Test(native, parity_S8_orders_lists)
{
    struct external first, second;
    xpurt_event *event = event_with(0);
    ze_event_handle_t gate;

    external_open(&first, 0);
    external_open(&second, last_device);
    gate = test_native_hold(&first.native, &first.list);
    test_ok(xpurt_event_record(event, first.stream));
    test_ok(xpurt_stream_wait_event(second.stream, event));
    test_require(!test_native_synchronize(&second.native, &second.list, SECOND_NS / 20),
                 "the list did not wait");
    test_native_let_go(gate);
    test_ok(xpurt_stream_synchronize(second.stream));
    external_close(&second);
    external_close(&first);
}

/* Recorded again: who waits already waits for what it captured. */
Test(native, parity_S8_waits_keep_what_they_captured)
{
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external first, second;
    ze_event_handle_t gates[2];

    external_open(&first, 0);
    external_open(&second, 0);
    gates[0] = test_native_hold(&first.native, &first.list);
    test_ok(xpurt_event_record(event, first.stream));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_stream_wait_event(second.stream, event));
    gates[1] = test_native_hold(&first.native, &first.list);
    for (int i = 0; i < 20; i++)        /* more than can be found of one timeline */
        test_ok(xpurt_event_record(event, first.stream));
    test_native_let_go(gates[0]);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_synchronize(second.stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_native_let_go(gates[1]);
    test_ok(xpurt_event_synchronize(event));
    external_close(&second);
    external_close(&first);
}

/* More than there are slots in a pool, or markers of a stream, none of them done. */
Test(native, parity_S8_runs_ahead)
{
    enum { RECORDS = 1500 };
    static xpurt_event *events[RECORDS];
    struct external external;
    ze_event_handle_t gate;

    external_open(&external, 0);
    gate = test_native_hold(&external.native, &external.list);
    for (int i = 0; i < RECORDS; i++) {
        events[i] = event_with(0);
        test_ok(xpurt_event_record(events[i], external.stream));
    }
    test_expect(XPURT_NOT_READY, xpurt_event_query(events[0]));
    test_native_let_go(gate);
    test_ok(xpurt_event_synchronize(events[RECORDS - 1]));
    for (int i = 0; i < RECORDS; i++) {
        test_ok(xpurt_event_query(events[i]));
        test_ok(xpurt_event_destroy(events[i]));
    }
    external_close(&external);
}

/* Slots come back: far more records and waits than there are slots. */
Test(native, parity_S8_goes_on_for_ever)
{
    xpurt_event *event = event_with(0), *back = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external first, second;

    external_open(&first, 0);
    external_open(&second, 0);
    for (int i = 0; i < 6000; i++) {
        test_ok(xpurt_event_record(event, first.stream));
        test_ok(xpurt_stream_wait_event(second.stream, event));
        test_ok(xpurt_stream_wait_event(stream, event));
        test_ok(xpurt_event_record(back, stream));
        test_ok(xpurt_stream_wait_event(first.stream, back));
    }
    test_ok(xpurt_stream_synchronize(first.stream));
    test_ok(xpurt_stream_synchronize(second.stream));
    external_close(&second);
    external_close(&first);
}

/* ---- looking -------------------------------------------------------------------------------------------- */

/* D4, S5 and S7 hold for the caller's own lists too. */
Test(native, parity_S8_is_a_stream)
{
    struct external external;
    xpurt_stream *found;
    ze_event_handle_t gate;
    uint64_t id;
    int device;

    external_open(&external, last_device);
    test_ok(xpurt_stream_query(external.stream));
    gate = test_native_hold(&external.native, &external.list);
    test_expect(XPURT_NOT_READY, xpurt_stream_query(external.stream));
    test_expect(XPURT_NOT_READY, xpurt_stream_query(external.stream));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(external.stream, 1000000));
    test_native_let_go(gate);
    test_ok(xpurt_stream_synchronize(external.stream));
    test_ok(xpurt_stream_query(external.stream));

    test_ok(xpurt_stream_get_device(external.stream, &device));
    test_require(device == last_device, "device %d", device);
    test_ok(xpurt_stream_get_id(external.stream, &id));
    test_ok(xpurt_stream_from_id(id, device, &found));
    test_require(found == external.stream, "another stream");
    external_close(&external);
}

struct looked {
    unsigned char *bytes, seen;
};

static void looks_and_writes(void *data)
{
    struct looked *looked = data;

    looked->seen = looked->bytes[0];
    looked->bytes[0] = 0x44;
}

/* What the list does before the function, the function, what the list does after it; then a record that
 * is made later than the wait for it. */
Test(native, beyond_host_func_on_a_list)
{
    unsigned char *from = pinned(WORD), *to = pinned(WORD);
    struct looked looked = { .bytes = pinned(WORD) };
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0);
    struct external external;
    ze_event_handle_t gate;

    external_open(&external, 0);
    gate = test_native_hold(&external.native, &external.list);
    from[0] = 0x33;
    test_native_copy(&external.list, looked.bytes, from, WORD);
    for (int i = 0; i < 3; i++)
        test_ok(xpurt_launch_host_func(external.stream, looks_and_writes, &looked));
    test_native_copy(&external.list, to, looked.bytes, WORD);
    test_expect(XPURT_NOT_READY, xpurt_stream_query(external.stream));
    test_require(!looked.seen, "called too early");
    test_native_let_go(gate);
    test_ok(xpurt_stream_synchronize(external.stream));
    test_require(to[0] == 0x44 && looked.seen == 0x44, "0x%x, 0x%x", to[0], looked.seen);

    from[0] = 0x55;
    test_ok(xpurt_stream_wait_generation(external.stream, event, 1));
    test_native_copy(&external.list, to, from, WORD);
    test_require(!test_native_synchronize(&external.native, &external.list, SECOND_NS / 20),
                 "the list did not wait");
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_synchronize(external.stream));
    test_require(to[0] == 0x55, "0x%x", to[0]);
    external_close(&external);
    test_daemon_await_counter("streams", 1);
}

static void let_go_later(int channel, void *data)
{
    (void)data;
    test_await(channel);
    usleep(50000);
    test_pass(channel);
}

Test(native, parity_D4_device_synchronize_waits_for_external_streams)
{
    unsigned char *memory = memory_on(0, WORD), *native, *one = pinned(WORD);
    struct test_peer peer;
    struct external external;
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = event_with(0);

    test_peer_start(&peer, let_go_later, NULL);
    external_open(&external, 0);
    native = native_pointer(&external, memory);
    one[0] = 1;
    /* Held up by work of the daemon, which a gate holds up. */
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_wait_event(external.stream, event));
    test_native_copy(&external.list, native, one, 1);
    test_pass(peer.channel);
    test_await(peer.channel);
    test_expect(XPURT_NOT_READY, xpurt_stream_query(external.stream));
    test_gate_open(&xpurtd);
    test_ok(xpurt_device_synchronize(0));
    test_ok(xpurt_stream_query(stream));
    test_ok(xpurt_memcpy_async(one + 1, memory, 1, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_require(one[1] == 1, "not copied yet");
    test_peer_join(&peer);
    external_close(&external);
}

Test(native, parity_S8_records_times)
{
    xpurt_event *begin = event_with(XPURT_EVENT_TIMING), *end = event_with(XPURT_EVENT_TIMING);
    struct external external;
    ze_event_handle_t gate;
    float first, milliseconds;

    external_open(&external, 0);
    test_ok(xpurt_event_record(begin, external.stream));
    gate = test_native_hold(&external.native, &external.list);
    test_ok(xpurt_event_record(end, external.stream));
    test_ok(xpurt_event_synchronize(begin));
    test_expect(XPURT_NOT_READY, xpurt_event_elapsed_time(begin, end, &first));
    usleep(20000);
    test_native_let_go(gate);
    test_ok(xpurt_event_synchronize(end));
    test_ok(xpurt_event_elapsed_time(begin, end, &milliseconds));
    test_require(milliseconds >= 20 && milliseconds < 20000, "%f ms", (double)milliseconds);
    external_close(&external);
}

/* ---- processes ------------------------------------------------------------------------------------------ */

/* What each of two other processes does: wait for the event before, add one, record its own. */
static void adds_one_natively(int channel, void *data)
{
    struct external external;
    xpurt_event *before, *own;
    xpurt_mem_handle handle;
    unsigned char *native;
    void *memory;

    (void)data;
    external_open(&external, 0);
    own = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(channel, own);
    before = event_receive(channel);
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, &memory));
    native = native_pointer(&external, memory);
    test_await(channel);                /* `before` is recorded */
    test_ok(xpurt_stream_wait_event(external.stream, before));
    test_native_copy(&external.list, native + 1, native, 1);
    test_native_copy(&external.list, native, native + 2, 1);
    test_ok(xpurt_event_record(own, external.stream));
    test_pass(channel);
    test_ok(xpurt_stream_synchronize(external.stream));
    external_close(&external);
}

/* Daemon stream, list of one process, list of another, daemon stream again. */
Test(native, parity_S8_orders_three_processes)
{
    unsigned char *memory = memory_on(0, WORD), *seen = pinned(WORD);
    xpurt_event *first, *events[2];
    xpurt_stream *stream;
    struct test_peer peers[2];
    xpurt_mem_handle handle;

    test_peer_start(&peers[0], adds_one_natively, NULL);
    test_peer_start(&peers[1], adds_one_natively, NULL);
    stream = stream_on(0);
    first = event_with(XPURT_EVENT_INTERPROCESS);
    test_ok(xpurt_mem_get_ipc_handle(memory, &handle));
    for (int i = 0; i < 2; i++)
        events[i] = event_receive(peers[i].channel);
    event_send(peers[0].channel, first);
    test_send(peers[0].channel, &handle, sizeof(handle));

    /* 0, then 7 once the gate opens; byte 2 tells what the others are to write. */
    test_ok(xpurt_memset_async(memory, 7, WORD, stream));
    test_ok(xpurt_event_record(first, stream));
    test_pass(peers[0].channel);
    test_await(peers[0].channel);
    /* The second one gets the first one's event from here: only its maker can export it. */
    test_ok(xpurt_stream_wait_event(stream, events[0]));
    test_ok(xpurt_memcpy_async(seen, memory, WORD, stream));
    test_ok(xpurt_event_record(first, stream));
    event_send(peers[1].channel, first);
    test_send(peers[1].channel, &handle, sizeof(handle));
    test_pass(peers[1].channel);
    test_await(peers[1].channel);
    test_ok(xpurt_stream_wait_event(stream, events[1]));
    test_require(!stream_done(stream), "nobody waited");
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    test_require(seen[0] == 7 && seen[1] == 7, "%u %u", seen[0], seen[1]);
    for (int i = 0; i < 2; i++)
        test_peer_join(&peers[i]);
    test_daemon_await_counter("user-native-slots", 0);
}

static void records_and_hangs(int channel, void *data)
{
    struct external external;
    xpurt_event *event;

    (void)data;
    external_open(&external, 0);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(channel, event);
    (void)test_native_hold(&external.native, &external.list);
    test_ok(xpurt_event_record(event, external.stream));
    test_pass(channel);
    pause();
}

/* The list of a process that is killed will not go on: who waits for it is told, and not held up. */
Test(native, parity_S8_death_of_a_peer)
{
    struct test_peer peer;
    xpurt_event *event, *next = event_with(0);
    xpurt_stream *stream, *other;
    struct external external;

    test_peer_start(&peer, records_and_hangs, NULL);
    external_open(&external, 0);
    stream = stream_on(0);
    other = stream_on(last_device);
    event = event_receive(peer.channel);
    test_await(peer.channel);
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_stream_wait_event(external.stream, event));
    test_ok(xpurt_event_record(next, external.stream));
    test_ok(xpurt_stream_wait_event(other, next));
    test_require(!stream_done(stream) && !stream_done(other), "nobody waited");
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(external.stream));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(other));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(next));
    test_require(test_native_synchronize(&external.native, &external.list, 10 * SECOND_NS),
                 "the list hangs");
    external_close(&external);
    test_ok(xpurt_event_destroy(event));
    test_daemon_await_counter("user-native-slots", 512); /* our own pool's */
}

static void records_fails_and_hangs(int channel, void *data)
{
    struct external external;
    xpurt_event *event, *lost;

    (void)data;
    external_open(&external, 0);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(channel, event);
    lost = event_receive(channel);
    test_await(channel);                /* `lost` is recorded */
    (void)test_native_hold(&external.native, &external.list);
    test_ok(xpurt_event_record(event, external.stream));
    test_ok(xpurt_stream_wait_event(external.stream, lost));
    test_pass(channel);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(external.stream));
    test_pass(channel);
    pause();
}

/* A stream that has failed still has records to come from before; when its process dies those are lost
 * too, and who waits for them is told as well. */
Test(native, parity_S8_death_after_a_failure)
{
    struct test_peer first, second;
    xpurt_event_handle lost;
    xpurt_event *event;
    xpurt_stream *stream;
    struct external external;

    test_peer_start(&first, records_and_hangs, NULL);
    test_peer_start(&second, records_fails_and_hangs, NULL);
    external_open(&external, 0);
    stream = stream_on(0);
    event = event_receive(second.channel);
    test_receive(first.channel, &lost, sizeof(lost));
    test_send(second.channel, &lost, sizeof(lost));
    test_await(first.channel);
    test_pass(second.channel);
    test_await(second.channel);
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_stream_wait_event(external.stream, event));
    test_require(!stream_done(stream) && !stream_done(external.stream), "nobody waited");
    test_peer_kill(&first);
    test_await(second.channel);
    test_require(!stream_done(stream) && !stream_done(external.stream), "it is to come still");
    test_peer_kill(&second);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(external.stream));
    test_require(test_native_synchronize(&external.native, &external.list, 10 * SECOND_NS),
                 "the list hangs");
    external_close(&external);
    test_ok(xpurt_event_destroy(event));
}

/* Nobody is left who could signal. */
Test(native, parity_S8_death_of_the_daemon)
{
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external external;

    external_open(&external, 0);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_stream_wait_event(external.stream, event));
    test_daemon_kill(&xpurtd);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(external.stream));
    test_require(test_native_synchronize(&external.native, &external.list, 10 * SECOND_NS),
                 "the list hangs");
    test_ok(xpurt_reset());
    external_close(&external);
    test_daemon_start_again(&xpurtd, NULL);
    external_open(&external, 0);
    test_ok(xpurt_stream_synchronize(external.stream));
    external_close(&external);
}

/* ---- events as native ones ------------------------------------------------------------------------------ */

static ze_event_handle_t native_event(struct external *external, xpurt_event *event)
{
    ze_event_handle_t native;

    test_ok(xpurt_event_get_ze_event(event, &external->list.context, &native));
    return native;
}

static void event_put(struct external *external, ze_event_handle_t native)
{
    test_ok(xpurt_event_put_ze_event(&external->list.context, native));
}

Test(native, parity_I9_native_events_wait_for_what_is_captured)
{
    xpurt_event *event = event_with(0), *never = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external external;
    ze_event_handle_t native, again;

    external_open(&external, 0);
    native = native_event(&external, never);
    test_ze(zeEventHostSynchronize(native, 10 * SECOND_NS));
    event_put(&external, native);

    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    native = native_event(&external, event);
    test_require(zeEventQueryStatus(native) == ZE_RESULT_NOT_READY, "signalled too early");
    test_ze(zeCommandListAppendBarrier(external.list.list, NULL, 1, &native));
    test_require(!test_native_synchronize(&external.native, &external.list, SECOND_NS / 20),
                 "the list did not wait");
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
    test_require(test_native_synchronize(&external.native, &external.list, 10 * SECOND_NS),
                 "the list waits on");

    test_gate_close(&xpurtd);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ze(zeEventQueryStatus(native)); /* it is about the record before */
    again = native_event(&external, event);
    test_require(zeEventQueryStatus(again) == ZE_RESULT_NOT_READY, "signalled too early");
    event_put(&external, native);
    test_expect(XPURT_ERROR_INVALID_HANDLE,
                xpurt_event_put_ze_event(&external.list.context, (ze_event_handle_t)stream));
    event_put(&external, again);        /* not signalled yet: nobody is told */
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    external_close(&external);
}

/* Other arguments than those. */
Test(native, parity_I9_bad_arguments)
{
    xpurt_event *event = event_with(0);
    xpurt_ze_context context;
    struct external external;
    ze_event_handle_t native;
    xpurt_ze_pool pool;

    external_open(&external, 0);
    context = external.list.context;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ze_event(NULL, &context, &native));
    test_expect(XPURT_ERROR_INVALID_HANDLE,
                xpurt_event_get_ze_event((xpurt_event *)external.stream, &context, &native));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ze_event(event, NULL, &native));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ze_event(event, &context, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ze_pool(event, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ze_pool(NULL, &pool));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_put_ze_event(&context, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_put_ze_event(NULL, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_put_ze_pool(NULL));
    memset(&pool, 0xff, sizeof(pool));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_put_ze_pool(&pool));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_ze_close(NULL));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_get_ze_event(event, &context, &native));
    context.context = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_ze_close(&context));
    external_close(&external);
}

/* Opened by hand: handle, descriptor and index are all that it takes. */
Test(native, parity_I9_pools_by_hand)
{
    ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC };
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external external;
    ze_event_pool_handle_t pool;
    ze_event_handle_t native;
    xpurt_ze_pool where;

    external_open(&external, 0);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_get_ze_pool(event, &where));
    test_require(where.index < where.count, "%u of %u", where.index, where.count);
    test_ze(zeEventPoolOpenIpcHandle(external.list.context.context, where.handle, &pool));
    desc.index = where.index;
    test_ze(zeEventCreate(pool, &desc, &native));
    test_require(zeEventQueryStatus(native) == ZE_RESULT_NOT_READY, "signalled too early");
    test_gate_open(&xpurtd);
    test_ze(zeEventHostSynchronize(native, 10 * SECOND_NS));
    test_ze(zeEventDestroy(native));
    test_ze(zeEventPoolCloseIpcHandle(pool));
    test_ok(xpurt_event_put_ze_pool(&where));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_put_ze_pool(&(xpurt_ze_pool){ .id = 99 }));
    external_close(&external);
}

static void opens_natively(int channel, void *data)
{
    struct external external;
    ze_event_handle_t native;
    xpurt_event *event;

    (void)data;
    external_open(&external, 0);
    event = event_receive(channel);
    test_await(channel);                /* recorded there */
    native = native_event(&external, event);
    test_require(zeEventQueryStatus(native) == ZE_RESULT_NOT_READY, "signalled too early");
    test_pass(channel);
    test_ze(zeEventHostSynchronize(native, 10 * SECOND_NS));
    test_ok(xpurt_event_query(event));
    event_put(&external, native);
    external_close(&external);
}

/* Two others open it natively, each in its own context. */
Test(native, parity_I9_across_processes)
{
    struct test_peer others[2];
    xpurt_stream *stream;
    xpurt_event *event;

    for (int i = 0; i < 2; i++)
        test_peer_start(&others[i], opens_natively, NULL);
    stream = stream_on(0);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    for (int i = 0; i < 2; i++)
        event_send(others[i].channel, event);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    for (int i = 0; i < 2; i++) {
        test_pass(others[i].channel);
        test_await(others[i].channel);
    }
    test_gate_open(&xpurtd);
    for (int i = 0; i < 2; i++)
        test_peer_join(&others[i]);
    test_daemon_await_counter("user-native-slots", 0);
    test_daemon_await_counter("user-watches", 0);
}

/* Whoever waits for the dead natively goes on, and a query tells why. */
Test(native, parity_I9_death_of_a_peer)
{
    struct test_peer peer;
    struct external external;
    ze_event_handle_t native;
    xpurt_event *event;

    test_peer_start(&peer, records_and_hangs, NULL);
    external_open(&external, 0);
    event = event_receive(peer.channel);
    test_await(peer.channel);
    native = native_event(&external, event);
    test_require(zeEventQueryStatus(native) == ZE_RESULT_NOT_READY, "signalled too early");
    test_peer_kill(&peer);
    test_ze(zeEventHostSynchronize(native, 10 * SECOND_NS));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_query(event));
    event_put(&external, native);
    external_close(&external);
}

/* They come back: far more of them than there are slots. */
Test(native, parity_I9_given_back)
{
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    struct external external;

    external_open(&external, 0);
    for (int i = 0; i < 10000; i++) {
        test_ok(xpurt_event_record(event, stream));
        event_put(&external, native_event(&external, event));
    }
    test_require(test_daemon_counter("user-native-slots") <= 4096, "%llu slots",
                 test_daemon_counter("user-native-slots"));
    external_close(&external);
}
