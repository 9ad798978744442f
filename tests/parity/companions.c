/* SPDX-License-Identifier: MIT */
/* Many threads launch host functions and wait for records to come, on shared streams and on streams
 * that come and go. A plain program, to be run under ThreadSanitizer too.
 *
 * Checked: functions of a stream run one after the other and see what those before them did; all of
 * them have run when the stream is done; no record to come is missed. */
#include "tests/parity/scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 8, SHARED = 2, ROUNDS = 40 };

/* Plain counters: the streams order those who touch them. */
static uint64_t counters[SHARED];
static xpurt_stream *streams[SHARED];
static xpurt_event *turns[THREADS];
static _Atomic uint64_t own_calls;
static pthread_barrier_t barrier;

static void add(void *counter)
{
    ++*(uint64_t *)counter;
}

static void add_own(void *data)
{
    (void)data;
    atomic_fetch_add(&own_calls, 1);
}

/* A stream that is destroyed with functions and a wait still pending. */
static void short_lived(xpurt_event *turn, uint32_t generation)
{
    xpurt_stream *stream = stream_on(last_device);

    test_ok(xpurt_stream_wait_generation(stream, turn, generation));
    test_ok(xpurt_launch_host_func(stream, add_own, NULL));
    test_ok(xpurt_launch_host_func(stream, add_own, NULL));
    test_ok(xpurt_stream_destroy(stream));
}

static void *work(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;
    xpurt_stream *stream = stream_on(0);
    xpurt_event *next = turns[(me + 1) % THREADS];

    pthread_barrier_wait(&barrier);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < SHARED; i++)
            test_ok(xpurt_launch_host_func(streams[i], add, &counters[i]));
        short_lived(next, round);
        test_ok(xpurt_event_record(turns[me], stream));
        test_ok(xpurt_event_wait_generation(next, round, XPURT_NO_TIMEOUT));
    }
    test_ok(xpurt_stream_destroy(stream));
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];

    scene_start();
    test_require(pthread_barrier_init(&barrier, NULL, THREADS) == 0, "no barrier");
    for (int i = 0; i < SHARED; i++)
        streams[i] = stream_on(i % n_devices);
    for (int i = 0; i < THREADS; i++)
        turns[i] = event_with(XPURT_EVENT_BLOCKING * (i % 2));
    for (int i = 0; i < THREADS; i++)
        test_require(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0, "%d", i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SHARED; i++)
        test_ok(xpurt_stream_synchronize(streams[i]));
    test_ok(xpurt_device_synchronize(last_device));
    for (int i = 0; i < SHARED; i++)
        test_require(counters[i] == THREADS * ROUNDS, "stream %d: %llu calls", i,
                     (unsigned long long)counters[i]);
    test_require(own_calls == 2 * THREADS * ROUNDS, "%llu calls", (unsigned long long)own_calls);
    test_daemon_await_counter("streams", 2 * SHARED);
    test_ok(xpurt_reset());
    scene_stop();
    return 0;
}
