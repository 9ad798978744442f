/* SPDX-License-Identifier: MIT */
/* Parity, guards, and the table for frameworks. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(guards, .init = scene_start, .fini = scene_stop);

/* Every way out of a scope. */
static int leave(int way)
{
    for (int i = 0; i < 2; i++) {
        XPURT_DEVICE_GUARD(guard, last_device);

        cr_assert_eq(guard.result, XPURT_SUCCESS);
        cr_assert_eq(xpurt_get_device(), last_device);
        if (way == 0)
            return 0;
        if (way == 1)
            break;
        if (way == 2)
            goto out;
        if (way == 3)
            continue;
    }
    cr_assert_eq(xpurt_get_device(), 0);
    return way;
out:
    cr_assert_eq(xpurt_get_device(), 0);
    return 2;
}

Test(guards, parity_G1_device_guard)
{
    for (int way = 0; way < 5; way++) {
        cr_assert_eq(leave(way), way);
        cr_assert_eq(xpurt_get_device(), 0);
    }
    {
        XPURT_DEVICE_GUARD(guard, -1);  /* changes nothing, puts back what was */

        cr_assert_eq(guard.result, XPURT_SUCCESS);
        cr_assert_eq(xpurt_get_device(), 0);
        test_ok(xpurt_set_device(last_device));
    }
    cr_assert_eq(xpurt_get_device(), 0);
    {
        XPURT_DEVICE_GUARD(outer, last_device);
        {
            XPURT_DEVICE_GUARD(inner, 0);

            test_ok(xpurt_device_guard_set(&inner, last_device));
            test_ok(xpurt_device_guard_set(&inner, 0));
            cr_assert_eq(inner.current, 0);
            test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_guard_set(&inner, n_devices));
            cr_assert_eq(xpurt_get_device(), 0);
        }
        cr_assert_eq(xpurt_get_device(), last_device);
    }
    cr_assert_eq(xpurt_get_device(), 0);
}

Test(guards, parity_G1_a_guard_that_failed_changes_nothing)
{
    {
        XPURT_DEVICE_GUARD(guard, n_devices);

        cr_assert_eq(guard.result, XPURT_ERROR_INVALID_DEVICE);
        cr_assert(said(n_devices == 2 ? "device 2" : "device 1"));
        test_ok(xpurt_set_device(last_device));
    }
    cr_assert_eq(xpurt_get_device(), last_device);
    {
        XPURT_STREAM_GUARD(guard, NULL);

        cr_assert_eq(guard.result, XPURT_ERROR_INVALID_ARGUMENT);
        test_ok(xpurt_set_device(0));
    }
    cr_assert_eq(xpurt_get_device(), 0);
}

Test(guards, parity_G1_optional_device_guard)
{
    {
        XPURT_OPTIONAL_DEVICE_GUARD(guard, -1);

        cr_assert_eq(guard.result, XPURT_SUCCESS);
        test_ok(xpurt_set_device(last_device));
    }
    cr_assert_eq(xpurt_get_device(), last_device); /* it had nothing to put back */
    {
        XPURT_OPTIONAL_DEVICE_GUARD(guard, -1);

        test_ok(xpurt_device_guard_set(&guard, 0));
        cr_assert_eq(xpurt_get_device(), 0);
    }
    cr_assert_eq(xpurt_get_device(), last_device);
    {
        XPURT_OPTIONAL_DEVICE_GUARD(guard, 0);

        cr_assert_eq(xpurt_get_device(), 0);
    }
    cr_assert_eq(xpurt_get_device(), last_device);
}

Test(guards, parity_G1_stream_guard)
{
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device),
                 *other = stream_on(last_device);

    test_ok(xpurt_stream_set_current(zero));
    {
        XPURT_STREAM_GUARD(guard, one);

        cr_assert_eq(xpurt_get_device(), last_device);
        cr_assert_eq(current_on(last_device), one);
        if (n_devices == 2)
            cr_assert_eq(current_on(0), zero);
        test_ok(xpurt_stream_guard_set(&guard, other));
        cr_assert_eq(current_on(-1), other);
        test_ok(xpurt_stream_guard_set(&guard, pooled_on(0, 0))); /* the other device */
        cr_assert_eq(xpurt_get_device(), 0);
        if (n_devices == 2)
            cr_assert_eq(current_on(1), default_on(1));
        test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_guard_set(&guard, NULL));
        cr_assert_eq(xpurt_get_device(), 0);
        test_ok(xpurt_stream_guard_set(&guard, one));
        {
            XPURT_STREAM_GUARD(inner, other);

            cr_assert_eq(current_on(-1), other);
        }
        cr_assert_eq(current_on(-1), one);
    }
    cr_assert_eq(xpurt_get_device(), 0);
    cr_assert_eq(current_on(0), zero);
    if (n_devices == 2)
        cr_assert_eq(current_on(1), default_on(1));
    {
        XPURT_STREAM_GUARD(guard, NULL); /* may still be set */

        test_ok(xpurt_stream_guard_set(&guard, one));
        cr_assert_eq(current_on(-1), one);
    }
    cr_assert_eq(xpurt_get_device(), 0);
}

/* What was current before may be gone when the guard ends. */
Test(guards, parity_G1_what_was_current_is_gone)
{
    xpurt_stream *gone = stream_on(0);

    test_ok(xpurt_stream_set_current(gone));
    {
        XPURT_STREAM_GUARD(guard, stream_on(last_device));

        test_ok(xpurt_stream_destroy(gone));
    }
    cr_assert_eq(current_on(-1), default_on(0));
    {
        XPURT_STREAM_GUARD(guard, stream_on(last_device));

        test_ok(xpurt_reset());
    }
    cr_assert_eq(xpurt_get_device(), 0);
    cr_assert_eq(current_on(0), default_on(0));
    cr_assert_eq(current_on(last_device), default_on(last_device));
}

Test(guards, parity_G1_ends_without_a_daemon)
{
    xpurt_stream *one = stream_on(last_device), *mine = stream_on(0);

    test_ok(xpurt_stream_set_current(mine));
    {
        XPURT_STREAM_GUARD(stream_guard, one);
        XPURT_DEVICE_GUARD(device_guard, 0);

        occupy(one);
        test_daemon_kill(&xpurtd);
        test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(one));
        test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_set_device(last_device));
    }
    cr_assert_eq(xpurt_get_device(), 0);
    test_daemon_start_again(&xpurtd, NULL);
}

Test(guards, parity_G1_multi_stream_guard)
{
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device), *second = stream_on(0);
    xpurt_stream *streams[] = { zero, one, second };
    xpurt_stream *wrong[] = { zero, NULL }, *before;

    test_ok(xpurt_stream_set_current(one));
    before = current_on(0);             /* one, where there is one device */
    {
        XPURT_MULTI_STREAM_GUARD(guard, streams, 3);

        cr_assert_eq(guard.result, XPURT_SUCCESS);
        cr_assert_eq(xpurt_get_device(), 0);
        cr_assert_eq(current_on(0), second); /* the last one of a device */
        if (n_devices == 2)
            cr_assert_eq(current_on(1), one);
        test_ok(xpurt_stream_set_current(pooled_on(last_device, 0)));
    }
    cr_assert_eq(current_on(0), before);
    cr_assert_eq(current_on(last_device), one);
    {
        XPURT_MULTI_STREAM_GUARD(guard, wrong, 2);

        cr_assert_eq(guard.result, XPURT_ERROR_INVALID_ARGUMENT);
        cr_assert_eq(current_on(0), before); /* none is set */
    }
    {
        XPURT_MULTI_STREAM_GUARD(guard, NULL, 0);

        cr_assert_eq(guard.result, XPURT_SUCCESS);
    }
    {
        XPURT_MULTI_STREAM_GUARD(guard, NULL, 1);

        cr_assert_eq(guard.result, XPURT_ERROR_INVALID_ARGUMENT);
    }
}

/* ---- the table ------------------------------------------------------------------------------------------ */

Test(guards, parity_G2_devices_and_streams)
{
    const xpurt_guard_table *table = xpurt_guard_table_get();
    xpurt_stream *stream, *previous, *pooled;
    xpurt_device_capability capability;
    int answer;
    void *native;

    cr_assert_eq(table->size, sizeof(*table));
    cr_assert_str_eq(table->type, "xpu");
    cr_assert_not(xpurt_is_initialized());
    table->unchecked_set_device(last_device);
    table->unchecked_set_device(-1);
    cr_assert_not(xpurt_is_initialized());
    cr_assert_eq(table->get_device(), last_device);
    cr_assert_eq(table->exchange_device(0), last_device);
    test_ok(table->set_device(last_device));
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->set_device(n_devices));
    cr_assert_eq(table->device_count(), n_devices);
    test_ok(table->get_device_capability(last_device, &capability));
    cr_assert(capability.data_types & XPURT_FLOAT32);

    test_ok(table->get_default_stream(last_device, &stream));
    test_ok(table->get_stream(last_device, &previous));
    cr_assert_eq(stream, previous);
    test_ok(table->get_stream_from_global_pool(last_device, 1, &pooled));
    test_ok(xpurt_stream_get_priority(pooled, &answer));
    cr_assert_eq(answer, -1);
    test_ok(table->get_stream_from_global_pool(last_device, 0, &pooled));
    test_ok(xpurt_stream_get_priority(pooled, &answer));
    cr_assert_eq(answer, 0);
    test_ok(table->exchange_stream(pooled, &previous));
    cr_assert_eq(previous, stream);
    test_ok(table->get_new_stream(0, 1, &stream));
    test_ok(xpurt_stream_get_priority(stream, &answer));
    cr_assert_eq(answer, 1);
    test_expect(XPURT_ERROR_UNSUPPORTED, table->get_stream_native_handle(stream, &native));

    occupy(stream);
    test_expect(XPURT_NOT_READY, table->query_stream(stream));
    test_ok(table->is_stream_capturing(stream, &answer));
    cr_assert_eq(answer, 0);
    test_gate_open(&xpurtd);
    test_ok(table->synchronize_stream(stream));
    test_ok(table->query_stream(stream));
    test_ok(table->synchronize_device(0));
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->synchronize_device(n_devices));
}

Test(guards, parity_G2_events)
{
    const xpurt_guard_table *table = xpurt_guard_table_get();
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device),
                 *waiting = stream_on(last_device);
    xpurt_event *start = NULL, *end = NULL, *wrong = NULL;
    double time = -1;

    test_ok(table->record(&start, zero, 0, XPURT_EVENT_TIMING));
    cr_assert_not_null(start);
    occupy(zero);
    test_ok(table->record(&end, zero, -1, XPURT_EVENT_TIMING));
    test_ok(table->record(&end, zero, 0, XPURT_EVENT_DEFAULT)); /* is made already */
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->record(&wrong, zero, 1, 0));
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->record(&start, one, 1, 0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, table->record(&wrong, zero, 0, 8));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, table->record(NULL, zero, 0, 0));
    cr_assert_null(wrong);
    test_expect(XPURT_NOT_READY, table->query_event(end));
    test_ok(table->block(end, waiting));
    cr_assert_not(stream_done(waiting));
    test_expect(XPURT_NOT_READY, table->elapsed_time(start, end, 0, &time));
    test_gate_open(&xpurtd);
    test_ok(table->synchronize_event(end));
    test_ok(table->elapsed_time(start, end, 0, &time));
    cr_assert(time > 0);
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->elapsed_time(start, end, 1, &time));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, table->elapsed_time(start, end, 0, NULL));
    test_ok(xpurt_stream_synchronize(waiting));
    table->destroy_event(start, 0);
    test_expect(XPURT_ERROR_INVALID_HANDLE, table->query_event(start));
    table->destroy_event(start, 0);     /* does not fail */
    table->destroy_event(NULL, -1);
}

/* Freed memory is not given to anybody before the stream is done, and wrong arguments are told. */
Test(guards, parity_G2_record_data_pointer_on_stream)
{
    enum { SIZE = 1 << 16 };
    const xpurt_guard_table *table = xpurt_guard_table_get();
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = memory_on(0, SIZE);
    int local;

    test_ok(xpurt_memset_async(memory, 1, SIZE, stream));
    test_ok(table->record_data_pointer_on_stream(memory + 5, stream));
    test_ok(table->record_data_pointer_on_stream(NULL, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, table->record_data_pointer_on_stream(&local, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, table->record_data_pointer_on_stream(memory, NULL));
    test_ok(xpurt_free(memory));
    cr_assert_geq(test_daemon_counter("user-memory"), SIZE); /* still there: work uses it */
    test_gate_open(&xpurtd);
    test_ok(table->synchronize_stream(stream));
    test_daemon_await_counter("user-memory", 0);
}

static void binds_to_the_table(int channel, void *data)
{
    const xpurt_guard_table *table = xpurt_guard_table_get();
    xpurt_event_handle handle;
    xpurt_event *event = NULL;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->event_from_ipc_handle(&handle, 1, &event));
    test_expect(XPURT_ERROR_INVALID_DEVICE, table->event_from_ipc_handle(&handle, 2, &event));
    test_require(!event, "opened for the wrong device");
    test_ok(table->event_from_ipc_handle(&handle, 0, &event));
    test_expect(XPURT_NOT_READY, table->query_event(event));
    test_pass(channel);
    test_ok(table->synchronize_event(event));
    table->destroy_event(event, 0);
}

Test(guards, parity_G2_event_handles)
{
    const xpurt_guard_table *table = xpurt_guard_table_get();
    xpurt_event_handle handle;
    xpurt_event *event = NULL;
    struct test_peer peer;
    xpurt_stream *stream;

    test_peer_start(&peer, binds_to_the_table, NULL);
    stream = stream_on(0);
    occupy(stream);
    test_ok(table->record(&event, stream, 0, XPURT_EVENT_INTERPROCESS));
    test_ok(table->get_event_ipc_handle(event, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    test_await(peer.channel);
    test_gate_open(&xpurtd);
    test_peer_join(&peer);
}
