/* SPDX-License-Identifier: MIT */
/* Parity L2: a process forks again and again while its threads record, wait, create and destroy. A
 * plain program, to be run under ThreadSanitizer too.
 *
 * Checked: no thread of the parent meets an error; each child can use the library from its first
 * call on, whatever the threads were in the middle of, and orders itself with them by an event of
 * before the fork; the daemon is left as it was. */
#include "tests/parity/scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS = 4, CHILDREN = 30 };

static xpurt_event *shared[THREADS];    /* recorded by a thread each, and by the children */
static _Atomic bool stop;
static _Atomic unsigned rounds[THREADS];

static void *work(void *arg)
{
    unsigned index = (unsigned)((xpurt_event **)arg - shared);
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = memory_on(0, 64);

    while (!atomic_load(&stop)) {
        xpurt_event *event = event_with(0);
        xpurt_stream *other = stream_on(0);

        test_ok(xpurt_memset_async(memory, (int)index, 64, stream));
        test_ok(xpurt_event_record(shared[index], stream));
        test_ok(xpurt_stream_wait_event(other, shared[(index + 1) % THREADS]));
        test_ok(xpurt_event_record(event, other));
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_event_destroy(event));
        test_ok(xpurt_stream_destroy(other));
        atomic_fetch_add(&rounds[index], 1);
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_free(memory));
    return NULL;
}

static void child_of_threads(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = memory_on(0, 64), out = 0;

    (void)channel;
    (void)data;
    for (int i = 0; i < THREADS; i++) {
        test_ok(xpurt_stream_wait_event(stream, shared[i]));
        test_ok(xpurt_event_synchronize(shared[i]));
        test_ok(xpurt_memset_async(memory, i + 1, 64, stream));
        test_ok(xpurt_event_record(shared[i], stream));
    }
    test_ok(xpurt_memcpy_async(&out, memory, 1, stream));
    test_require(out == THREADS, "%d", out);
    for (int i = 0; i < THREADS; i++)
        test_ok(xpurt_event_destroy(shared[i]));
}

/* The threads go on: each does a round more. */
static void await_rounds(void)
{
    for (int i = 0; i < THREADS; i++) {
        unsigned before = atomic_load(&rounds[i]);

        for (int ms = 0; atomic_load(&rounds[i]) == before; ms++) {
            test_require(ms < 60000, "thread %d stands still", i);
            usleep(1000);
        }
    }
}

int main(void)
{
    pthread_t threads[THREADS];
    struct test_peer child;

    scene_start();
    test_gate_open(&xpurtd);
    for (int i = 0; i < THREADS; i++)
        shared[i] = event_with(i % 2 ? XPURT_EVENT_BLOCKING : 0);
    for (int i = 0; i < THREADS; i++)
        test_require(pthread_create(&threads[i], NULL, work, &shared[i]) == 0, "thread %d", i);
    for (int i = 0; i < CHILDREN; i++) {
        test_peer_start(&child, child_of_threads, NULL);
        test_peer_join(&child);
        if (i % 10 == 0)
            await_rounds();
    }
    await_rounds();
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        test_ok(xpurt_event_destroy(shared[i]));
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("streams", 0);
    test_daemon_await_counter("user-allocations", 0);
    test_ok(xpurt_reset());
    scene_stop();
    return 0;
}
