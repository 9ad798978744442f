/* SPDX-License-Identifier: MIT */
/* Parity, streams. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

TestSuite(streams, .init = scene_start, .fini = scene_stop);

Test(streams, parity_S1_pool_goes_round)
{
    xpurt_stream *first[DEVICES_MAX][3][XPURT_POOL_STREAMS];

    for (int device = 0; device < n_devices; device++)
        for (int priority = -1; priority <= 1; priority++)
            for (int i = 0; i < XPURT_POOL_STREAMS; i++) {
                xpurt_stream *stream = pooled_on(device, priority);
                int is;

                first[device][priority + 1][i] = stream;
                test_ok(xpurt_stream_get_device(stream, &is));
                cr_assert_eq(is, device);
                test_ok(xpurt_stream_get_priority(stream, &is));
                cr_assert_eq(is, priority);
                for (int k = 0; k < i; k++)
                    cr_assert_neq(first[device][priority + 1][k], stream);
            }
    cr_assert_eq(test_daemon_counter("streams"), n_devices * 3 * XPURT_POOL_STREAMS);

    for (int i = 0; i < 2 * XPURT_POOL_STREAMS; i++)
        cr_assert_eq(pooled_on(last_device, -1), first[last_device][0][i % XPURT_POOL_STREAMS]);
    cr_assert_eq(test_daemon_counter("streams"), n_devices * 3 * XPURT_POOL_STREAMS);
}

Test(streams, parity_S1_made_on_first_use)
{
    test_ok(xpurt_init());
    cr_assert_eq(test_daemon_counter("streams"), 0);
    pooled_on(0, 0);
    pooled_on(last_device, 0);
    cr_assert_eq(test_daemon_counter("streams"), 2);
    stream_on(0);
    cr_assert_eq(test_daemon_counter("streams"), 3);
    test_expect(XPURT_ERROR_INVALID_DEVICE,
                xpurt_stream_get_from_pool(n_devices, 0, &(xpurt_stream *){ NULL }));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_get_from_pool(0, 0, NULL));
}

Test(streams, parity_S1_the_library_s_own_cannot_be_destroyed)
{
    xpurt_stream *pooled = pooled_on(0, 0), *standard = default_on(0);

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_destroy(pooled));
    cr_assert(said("pool"));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_destroy(standard));
    cr_assert(said("default"));
    test_ok(xpurt_stream_query(pooled));
    test_ok(xpurt_stream_query(standard));
}

Test(streams, parity_S2_every_priority_works)
{
    static const int wanted[][2] = { { -1, -1 }, { 0, 0 }, { 1, 1 }, { -9, -1 }, { 9, 1 } };
    unsigned char out[5] = { 0 };
    int least, greatest, priority;

    test_ok(xpurt_stream_priority_range(&least, &greatest));
    cr_assert(least == 1 && greatest == -1);
    test_gate_open(&xpurtd);
    for (int i = 0; i < 5; i++) {
        xpurt_stream *stream = pooled_on(0, wanted[i][0]);
        unsigned char *memory = memory_on(0, 64);

        test_ok(xpurt_stream_get_priority(stream, &priority));
        cr_assert_eq(priority, wanted[i][1]);
        test_ok(xpurt_memset_async(memory, i + 1, 64, stream));
        test_ok(xpurt_memcpy_async(&out[i], memory + 63, 1, stream));
        cr_assert_eq(out[i], i + 1);
    }
}

Test(streams, parity_S3_default_stream)
{
    xpurt_stream *zero = default_on(0), *one = default_on(last_device);
    int device;

    cr_assert_eq(zero == one, n_devices == 1);
    cr_assert_eq(default_on(0), zero);
    cr_assert_eq(default_on(-1), zero);
    test_ok(xpurt_set_device(last_device));
    cr_assert_eq(default_on(-1), one);
    test_ok(xpurt_stream_get_device(one, &device));
    cr_assert_eq(device, last_device);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_stream_get_default(n_devices, &zero));

    occupy(one);                        /* nobody waits for it that did not ask to */
    test_ok(xpurt_stream_synchronize(stream_on(last_device)));
    cr_assert_not(stream_done(one));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(one));
}

static void *look_elsewhere(void *arg)
{
    xpurt_stream *mine = stream_on(0);

    (void)arg;
    test_require(current_on(0) == default_on(0), "a new thread has the other's current stream");
    test_ok(xpurt_stream_set_current(mine));
    test_require(current_on(0) == mine, "not set");
    return NULL;
}

Test(streams, parity_S3_current_stream_per_thread_and_device)
{
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device);
    pthread_t thread;

    cr_assert_eq(current_on(0), default_on(0));
    cr_assert_eq(current_on(last_device), default_on(last_device));
    test_ok(xpurt_stream_set_current(one));
    cr_assert_eq(xpurt_get_device(), 0); /* the device is not switched */
    if (n_devices == 2)
        cr_assert_eq(current_on(-1), default_on(0));
    cr_assert_eq(current_on(last_device), one);
    test_ok(xpurt_stream_set_current(zero));
    cr_assert_eq(current_on(-1), zero);
    cr_assert_eq(pthread_create(&thread, NULL, look_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(current_on(0), zero);
    test_ok(xpurt_stream_set_current(default_on(0)));
    cr_assert_eq(current_on(0), default_on(0));
}

/* One that is gone is never used again, not even when another one took its place. */
Test(streams, parity_S3_current_stream_that_was_destroyed)
{
    xpurt_stream *gone = stream_on(0), *later;

    test_ok(xpurt_stream_set_current(gone));
    test_ok(xpurt_stream_destroy(gone));
    later = stream_on(0);
    cr_assert_eq(later, gone, "the test wants the same place");
    cr_assert_eq(current_on(0), default_on(0));
    test_ok(xpurt_stream_set_current(later));
    cr_assert_eq(current_on(0), later);
}

Test(streams, parity_S4_set_and_exchange_current)
{
    xpurt_stream *first = stream_on(last_device), *second = pooled_on(last_device, 0),
                 *previous = NULL;

    test_ok(xpurt_stream_exchange_current(first, &previous));
    cr_assert_eq(previous, default_on(last_device));
    test_ok(xpurt_stream_exchange_current(second, &previous));
    cr_assert_eq(previous, first);
    cr_assert_eq(current_on(last_device), second);
    if (n_devices == 2)
        cr_assert_eq(current_on(0), default_on(0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_set_current(NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_exchange_current(first, NULL));
    test_ok(xpurt_stream_destroy(first));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_set_current(first));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_exchange_current(first, &previous));
    cr_assert_eq(current_on(last_device), second);
}

/* Leaves with 1 in the middle. */
static int work_that_fails(xpurt_stream *stream, int fail)
{
    XPURT_STREAM_GUARD(guard, stream);

    cr_assert_eq(guard.result, XPURT_SUCCESS);
    cr_assert_eq(xpurt_get_device(), last_device);
    cr_assert_eq(current_on(-1), stream);
    test_ok(xpurt_stream_set_current(pooled_on(0, 0))); /* both devices' streams come back */
    test_ok(xpurt_stream_set_current(pooled_on(last_device, 0)));
    test_ok(xpurt_set_device(0));
    if (fail)
        return 1;
    test_ok(xpurt_set_device(last_device));
    return 0;
}

Test(streams, parity_S4_guard_puts_device_and_both_streams_back)
{
    xpurt_stream *zero = stream_on(0), *one = stream_on(last_device),
                 *other = stream_on(last_device);
    xpurt_stream *before;

    test_ok(xpurt_stream_set_current(zero));
    test_ok(xpurt_stream_set_current(one));
    before = current_on(0);             /* zero, where there are two devices */
    for (int fail = 0; fail < 2; fail++) {
        cr_assert_eq(work_that_fails(other, fail), fail);
        cr_assert_eq(xpurt_get_device(), 0);
        cr_assert_eq(current_on(0), before);
        cr_assert_eq(current_on(last_device), one);
    }
}

Test(streams, parity_S5_query_and_synchronize)
{
    xpurt_stream *stream = pooled_on(0, 1);

    cr_assert(stream_done(stream));
    occupy(stream);
    for (int i = 0; i < 100; i++)
        cr_assert_not(stream_done(stream));
    test_expect(XPURT_TIMEOUT, xpurt_stream_synchronize_for(stream, 1000000));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert(stream_done(stream));
}

static void lose_device_zero(void)
{
    setenv("ZE_SOFT_FAULT", "lost:0:4;delay:copy:/1:20ms", 1);
    scene_count_devices();
    test_daemon_start(&xpurtd, NULL);
    unsetenv("ZE_SOFT_FAULT");
}

TestSuite(faults, .init = lose_device_zero, .fini = scene_stop);

/* What goes wrong after a call has returned is told by synchronise and query. */
Test(faults, parity_S5_synchronize_reports_asynchronous_errors)
{
    enum { SIZE = 1 << 16 };
    xpurt_stream *stream = stream_on(0), *healthy = NULL;
    unsigned char *memory = memory_on(0, SIZE);
    void *pinned;

    if (n_devices == 2)
        healthy = stream_on(1);
    test_ok(xpurt_host_malloc(&pinned, SIZE));
    for (int i = 0; i < 4; i++)
        test_ok(xpurt_memcpy_async(memory, pinned, SIZE, stream));
    test_expect(XPURT_ERROR_DEVICE_LOST, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_DEVICE_LOST, xpurt_stream_query(stream));
    test_expect(XPURT_ERROR_DEVICE_LOST, xpurt_device_synchronize(0));
    if (healthy) {
        occupy(healthy);
        test_ok(xpurt_stream_synchronize(healthy));
        test_ok(xpurt_device_synchronize(1));
    }
}

/* The data tells the order: each side sees what the other left. */
Test(streams, parity_S6_wait_stream_across_devices)
{
    enum { ROUNDS = 100 };
    xpurt_stream *ping = stream_on(0), *pong = stream_on(last_device);
    unsigned *here = (unsigned *)(void *)memory_on(0, 64);
    unsigned *there = (unsigned *)(void *)memory_on(last_device, 64), *pinned;

    test_ok(xpurt_host_malloc((void **)&pinned, (ROUNDS + 1) * sizeof(*pinned)));
    for (unsigned i = 0; i <= ROUNDS; i++)
        pinned[i] = i;
    for (unsigned i = 0; i < ROUNDS; i++) {
        test_ok(xpurt_stream_wait_stream(ping, pong));
        test_ok(xpurt_memcpy_async(here, &pinned[i + 1], sizeof(*pinned), ping));
        test_ok(xpurt_stream_wait_stream(pong, ping));
        test_ok(xpurt_memcpy_async(there, here, sizeof(*pinned), pong));
        test_ok(xpurt_memcpy_async(&pinned[i], there, sizeof(*pinned), pong));
    }
    test_ok(xpurt_stream_synchronize(pong));
    for (unsigned i = 0; i < ROUNDS; i++)
        cr_assert_eq(pinned[i], i + 1);
}

Test(streams, parity_S6_wait_stream_takes_what_was_there)
{
    xpurt_stream *first = stream_on(0), *second = stream_on(last_device), *third = stream_on(0);

    test_ok(xpurt_stream_wait_stream(third, first)); /* nothing is there */
    occupy(first);
    test_ok(xpurt_stream_wait_stream(second, first));
    test_ok(xpurt_stream_wait_stream(first, first));
    cr_assert_not(stream_done(second));
    cr_assert(stream_done(third));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(second));
    test_ok(xpurt_stream_synchronize(first));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_wait_stream(first, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_wait_stream(NULL, first));
    test_ok(xpurt_stream_destroy(second));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_wait_stream(first, second));
}

/* Within a batch the record and the wait travel together, in order. */
Test(streams, parity_S6_wait_stream_in_a_batch)
{
    xpurt_stream *first = stream_on(0), *second = stream_on(last_device);

    test_ok(xpurt_batch_begin());
    occupy(first);
    test_ok(xpurt_stream_wait_stream(second, first));
    test_ok(xpurt_batch_end());
    cr_assert_not(stream_done(second));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(second));
}

Test(streams, parity_S6_record_event)
{
    xpurt_stream *stream = stream_on(last_device), *waiting = stream_on(0);
    xpurt_event *event = NULL, *same;

    occupy(stream);
    test_ok(xpurt_stream_record_event(stream, &event));
    cr_assert_not_null(event);
    same = event;
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_ok(xpurt_stream_wait_event(waiting, event));
    cr_assert_not(stream_done(waiting));
    test_ok(xpurt_stream_record_event(stream, &event));
    cr_assert_eq(event, same);
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(waiting));
    test_ok(xpurt_event_synchronize(event));

    event = NULL;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_record_event(stream, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_record_event(NULL, &event));
    cr_assert_null(event);
}

Test(streams, parity_S7_ids)
{
    xpurt_stream *streams[] = { stream_on(0), stream_on(0), stream_on(last_device), pooled_on(0, 0),
                                pooled_on(last_device, 0) };
    xpurt_stream *found = NULL;
    void *native = &found;
    uint64_t id;

    cr_assert_eq(stream_id_of(default_on(0)), 0);
    cr_assert_eq(stream_id_of(default_on(last_device)), 0);
    test_ok(xpurt_stream_from_id(0, last_device, &found));
    cr_assert_eq(found, default_on(last_device));
    for (int i = 0; i < 5; i++) {
        int device;

        id = stream_id_of(streams[i]);
        cr_assert(id && !(id >> 63));
        for (int k = 0; k < i; k++)
            cr_assert_neq(stream_id_of(streams[k]), id);
        test_ok(xpurt_stream_get_device(streams[i], &device));
        test_ok(xpurt_stream_from_id(id, device, &found));
        cr_assert_eq(found, streams[i]);
        test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_stream_from_id(id, !device, &found));
        for (int bit = 0; bit < 64; bit++)
            if (xpurt_stream_from_id(id ^ UINT64_C(1) << bit, device, &found) == XPURT_SUCCESS)
                cr_assert_fail("bit %d of an id is not looked at", bit);
    }

    id = stream_id_of(streams[0]);
    test_ok(xpurt_stream_destroy(streams[0]));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_from_id(id, 0, &found));
    streams[0] = stream_on(0);
    cr_assert_neq(stream_id_of(streams[0]), id);
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_from_id(id, 0, &found));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_stream_from_id(0, n_devices, &found));
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_stream_get_native_handle(streams[0], &native));
    cr_assert_eq(native, &found);
}

Test(streams, parity_S9_is_capturing_initialises_nothing)
{
    xpurt_stream *stream;
    int capturing = 7;

    test_ok(xpurt_stream_is_capturing(NULL, &capturing));
    cr_assert_eq(capturing, 0);
    cr_assert_not(xpurt_is_initialized());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_is_capturing(NULL, NULL));
    test_expect(XPURT_ERROR_INVALID_HANDLE,
                xpurt_stream_is_capturing((xpurt_stream *)(void *)&capturing, &capturing));

    test_ok(xpurt_init());
    test_ok(xpurt_stream_is_capturing(NULL, &capturing));
    cr_assert_eq(test_daemon_counter("streams"), 0); /* not even the default stream */
    stream = stream_on(0);
    occupy(stream);
    capturing = 7;
    test_ok(xpurt_stream_is_capturing(stream, &capturing));
    cr_assert_eq(capturing, 0);
}

/* After a reset there are others, and the old ones are refused. */
Test(streams, parity_S3_fresh_after_a_reset)
{
    xpurt_stream *standard = default_on(0), *pooled = pooled_on(0, 0),
                 *mine = stream_on(last_device);

    test_ok(xpurt_stream_set_current(mine));
    test_ok(xpurt_stream_set_current(pooled));
    test_ok(xpurt_reset());
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_query(standard));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_query(pooled));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_set_current(mine));
    cr_assert_neq(default_on(0), standard);
    cr_assert_neq(pooled_on(0, 0), pooled);
    cr_assert_eq(current_on(0), default_on(0));
    cr_assert_eq(current_on(last_device), default_on(last_device));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_destroy(standard));
    test_ok(xpurt_stream_destroy(mine));
    test_gate_open(&xpurtd);
    occupy(default_on(0));
    test_ok(xpurt_device_synchronize(0));
}
