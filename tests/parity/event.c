/* SPDX-License-Identifier: MIT */
/* Parity, events in one process. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

TestSuite(events, .init = scene_start, .fini = scene_stop);

static uint64_t id_of(xpurt_event *event)
{
    uint64_t id = 7;

    test_ok(xpurt_event_get_id(event, &id));
    return id;
}

static int device_of(xpurt_event *event)
{
    int device = 7;

    test_ok(xpurt_event_get_device(event, &device));
    return device;
}

Test(events, parity_E1_made_lazily)
{
    xpurt_event *first = event_with(0), *second = event_with(0);
    uint64_t id;

    test_ok(xpurt_set_device(last_device)); /* the current device does not matter */
    cr_assert_eq(id_of(first), 0);
    cr_assert_eq(device_of(first), -1);
    cr_assert_not(xpurt_device_is_used(0));
    cr_assert_not(xpurt_device_is_used(last_device));
    test_ok(xpurt_event_record(first, stream_on(0)));
    cr_assert_eq(device_of(first), 0);
    id = id_of(first);
    cr_assert_neq(id, 0);
    test_ok(xpurt_event_record(first, stream_on(0)));
    cr_assert_eq(id_of(first), id);
    test_ok(xpurt_event_record(second, stream_on(last_device)));
    cr_assert_eq(device_of(second), last_device);
    cr_assert_neq(id_of(second), id);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_id(first, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_device(first, NULL));
    test_ok(xpurt_event_destroy(first));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_get_id(first, &id));
}

Test(events, parity_E2_never_recorded_is_complete)
{
    xpurt_stream *stream = stream_on(0);

    for (unsigned flags = 0; flags < 8; flags++) {
        xpurt_event *event = event_with(flags);

        test_ok(xpurt_event_query(event));
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_event_synchronize_for(event, 0));
        test_ok(xpurt_stream_wait_event(stream, event));
    }
    cr_assert(stream_done(stream));
}

/* A chain of records of one event: each waiting stream goes on when its own record is done. */
Test(events, parity_E3_waits_keep_the_record_they_captured)
{
    xpurt_stream *producer = stream_on(0), *blocked = stream_on(0), *early = stream_on(0),
                 *late = stream_on(0);
    xpurt_event *event = event_with(0);

    test_ok(xpurt_event_record(event, producer));
    test_ok(xpurt_stream_wait_event(early, event));
    occupy(blocked);
    test_ok(xpurt_event_record(event, blocked));
    test_ok(xpurt_stream_wait_event(late, event));
    test_ok(xpurt_stream_synchronize(early));
    cr_assert_not(stream_done(late));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(late));
    test_ok(xpurt_event_query(event));
}

Test(events, parity_E3_record_once)
{
    xpurt_stream *stream = stream_on(0), *blocked = stream_on(0);
    xpurt_event *event = event_with(0);

    test_ok(xpurt_event_record_once(event, stream));
    test_ok(xpurt_event_synchronize(event));
    occupy(blocked);
    test_ok(xpurt_event_record_once(event, blocked)); /* is no record */
    test_ok(xpurt_event_query(event));
    test_ok(xpurt_event_record_once(event, stream_on(last_device)));
    test_ok(xpurt_event_record(event, blocked));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_record_once(event, NULL));

    /* A record that waits in a batch counts. */
    event = event_with(0);
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_event_record_once(event, stream));
    test_ok(xpurt_event_record_once(event, blocked));
    test_ok(xpurt_batch_end());
    test_ok(xpurt_event_synchronize(event));
}

Test(events, parity_E4_records_on_one_waits_on_any)
{
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device);
    xpurt_event *event = event_with(0);

    occupy(one);
    test_ok(xpurt_event_record(event, one));
    if (n_devices == 2) {
        test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_event_record(event, zero));
        cr_assert(said("device 0") && said("device 1"));
        test_expect(XPURT_NOT_READY, xpurt_event_query(event)); /* is what it was */
    }
    test_ok(xpurt_stream_wait_event(zero, event));
    cr_assert_not(stream_done(zero));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(zero));
}

static void *wait_on_the_last_device(void *arg)
{
    test_ok(xpurt_set_device(last_device));
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(arg, 1000000));
    test_expect(XPURT_NOT_READY, xpurt_event_query(arg));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(arg));
    test_ok(xpurt_event_query(arg));
    return NULL;
}

Test(events, parity_E5_any_thread_any_device_with_a_deadline)
{
    xpurt_event *event = event_with(0);
    xpurt_stream *stream = stream_on(0);
    pthread_t thread;

    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    cr_assert_eq(pthread_create(&thread, NULL, wait_on_the_last_device, event), 0);
    pthread_join(thread, NULL);
    test_ok(xpurt_event_synchronize_for(event, 0));
}

/* Each pair has all faults that come after the one that is told. */
Test(events, parity_E6_errors_in_order)
{
    xpurt_event *plain = event_with(0), *unrecorded = event_with(XPURT_EVENT_TIMING);
    xpurt_event *pending = event_with(XPURT_EVENT_TIMING), *done = event_with(XPURT_EVENT_TIMING);
    xpurt_event *elsewhere = event_with(XPURT_EVENT_TIMING);
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device);
    float time = -1;

    test_ok(xpurt_event_record(done, zero));
    test_ok(xpurt_event_record(elsewhere, one));
    test_ok(xpurt_stream_synchronize(zero));
    test_ok(xpurt_stream_synchronize(one));
    occupy(one);
    test_ok(xpurt_event_record(pending, one));

    test_expect(XPURT_ERROR_NO_TIMING, xpurt_event_elapsed_time(plain, unrecorded, &time));
    test_expect(XPURT_ERROR_NO_TIMING, xpurt_event_elapsed_time(pending, plain, &time));
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(pending, unrecorded, &time));
    test_expect(XPURT_ERROR_NOT_RECORDED, xpurt_event_elapsed_time(unrecorded, pending, &time));
    test_expect(XPURT_NOT_READY, xpurt_event_elapsed_time(done, pending, &time));
    test_expect(XPURT_NOT_READY, xpurt_event_elapsed_time(pending, done, &time));
    if (n_devices == 2)
        test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_event_elapsed_time(done, elsewhere, &time));
    cr_assert(time == -1);
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(pending));
    test_ok(xpurt_event_elapsed_time(elsewhere, pending, &time));
    cr_assert(time > 0);
}

Test(events, parity_E7_destroyed_with_waiters)
{
    xpurt_stream *producer = stream_on(0), *consumers[8];
    unsigned char *memory = memory_on(0, 64), seen[8] = { 0 };
    xpurt_event *event = event_with(0);

    test_ok(xpurt_memset_async(memory, 9, 64, producer));
    test_ok(xpurt_event_record(event, producer));
    for (int i = 0; i < 8; i++) {
        consumers[i] = stream_on(i % n_devices);
        test_ok(xpurt_stream_wait_event(consumers[i], event));
    }
    test_ok(xpurt_event_destroy(event));
    for (int i = 0; i < 8; i++)
        cr_assert_not(stream_done(consumers[i]));
    test_gate_open(&xpurtd);
    for (int i = 0; i < 8; i++) {
        test_ok(xpurt_memcpy_async(&seen[i], memory, 1, consumers[i]));
        cr_assert_eq(seen[i], 9);
    }
}

Test(events, parity_E8_flags)
{
    xpurt_event *event = NULL;

    cr_assert(XPURT_EVENT_TIMING == 1 && XPURT_EVENT_BLOCKING == 2 &&
              XPURT_EVENT_INTERPROCESS == 4 && XPURT_EVENT_DEFAULT == 0);
    for (unsigned bit = 3; bit < 32; bit++)
        test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_create(1u << bit | 7, &event));
    cr_assert_null(event);
    for (unsigned flags = 0; flags < 8; flags++) {
        xpurt_event_handle handle;
        float time;

        event = event_with(flags);
        test_expect(flags & XPURT_EVENT_TIMING ? XPURT_ERROR_NOT_RECORDED : XPURT_ERROR_NO_TIMING,
                    xpurt_event_elapsed_time(event, event, &time));
        test_expect(flags & XPURT_EVENT_INTERPROCESS ? XPURT_SUCCESS : XPURT_ERROR_INVALID_ARGUMENT,
                    xpurt_event_get_ipc_handle(event, &handle));
    }
}

/* What the thread computes while it waits often, each time for a little longer than others spin. */
static uint64_t cpu_of_waits(xpurt_event *event)
{
    struct timespec from, to;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < 200; i++)
        test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(event, 100000));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)to.tv_nsec -
           (uint64_t)from.tv_nsec;
}

/* Spinning is work that a blocking wait does not do, besides all that both do. Compared, not
 * measured; a preempted round is made good by the others. */
Test(events, parity_E8_blocking_waits_do_not_spin)
{
    xpurt_event *spinning = event_with(0), *blocking = event_with(XPURT_EVENT_BLOCKING);
    xpurt_stream *stream = stream_on(0);
    uint64_t most = 0, least = UINT64_MAX;

    occupy(stream);
    test_ok(xpurt_event_record(spinning, stream));
    test_ok(xpurt_event_record(blocking, stream));
    for (int round = 0; round < 5; round++) {
        uint64_t spun = cpu_of_waits(spinning), slept = cpu_of_waits(blocking);

        most = spun > most ? spun : most;
        least = slept < least ? slept : least;
    }
    cr_assert_lt(least, most);
}

Test(events, parity_E9_move_empties_the_source)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *source = event_with(0), *target = NULL, *original = source, *none = NULL;

    occupy(stream);
    test_ok(xpurt_event_record(source, stream));
    test_ok(xpurt_event_move(&source, &target));
    cr_assert_null(source);
    cr_assert_eq(target, original);
    test_expect(XPURT_NOT_READY, xpurt_event_query(target));
    test_ok(xpurt_event_destroy(source)); /* null: a no-op */
    test_expect(XPURT_NOT_READY, xpurt_event_query(target));

    test_ok(xpurt_event_move(&none, &source));
    cr_assert_null(source);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_move(NULL, &target));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_move(&target, NULL));
    test_ok(xpurt_event_move(&target, &target));
    cr_assert_eq(target, original);
    test_ok(xpurt_event_destroy(target));
    source = target;
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_move(&source, &none));
    cr_assert_eq(source, target);
}
