/* SPDX-License-Identifier: MIT */
/* Eight threads record, wait, query, synchronise, create and destroy at once, in a process that shares
 * events with another one in both directions. To be run under ThreadSanitizer too. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 8, SHARED = 16, OPENED = 4, ROUNDS = 400, BYTES = 70000 };

static xpurt_event *shared[SHARED];     /* recorded and looked at by all */
static xpurt_event *opened[OPENED];     /* the same, and another process records them too */
static xpurt_event_handle handles[OPENED];
static atomic_uint done;

/* A process that uses what our threads use, and has no part in them. */
static void share(int channel, void *data)
{
    _Atomic bool *stop = data;
    xpurt_event *events[OPENED];
    xpurt_stream *stream;

    test_ok(xpurt_stream_create(&stream));
    for (int i = 0; i < OPENED; i++) {
        test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &events[i]));
        test_ok(xpurt_event_get_ipc_handle(events[i], &handles[i]));
    }
    test_send(channel, handles, sizeof(handles));
    for (unsigned i = 0; !atomic_load(stop); i++) {
        test_ok(xpurt_stream_wait_event(stream, events[i % OPENED]));
        test_ok(xpurt_event_record(events[i % OPENED], stream));
        if (i % 64 == 0)
            test_ok(xpurt_event_synchronize(events[i % OPENED]));
    }
    test_ok(xpurt_stream_synchronize(stream));
}

static void use_shared(xpurt_stream *stream, unsigned *seed)
{
    xpurt_event *event = shared[(unsigned)rand_r(seed) % SHARED];
    xpurt_result r;

    test_ok(xpurt_event_record(event, stream));
    event = shared[(unsigned)rand_r(seed) % SHARED];
    test_ok(xpurt_stream_wait_event(stream, event));
    r = xpurt_event_query(event);
    test_require(r == XPURT_SUCCESS || r == XPURT_NOT_READY, "%s", xpurt_last_error());
    if (rand_r(seed) % 8 == 0)
        test_ok(xpurt_event_synchronize(event));
}

/* By the object that all threads have, and by one of its own of the same event. */
static void use_opened(xpurt_stream *stream, unsigned *seed)
{
    unsigned i = (unsigned)rand_r(seed) % OPENED;
    xpurt_event *event;

    test_ok(xpurt_event_open_ipc_handle(&handles[i], &event));
    test_ok(xpurt_stream_wait_event(stream, event));
    test_ok(xpurt_event_record(opened[i], stream));
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_stream_wait_event(stream, opened[(i + 1) % OPENED]));
    test_ok(xpurt_event_destroy(event));
}

static void use_own(xpurt_stream *stream)
{
    xpurt_event_handle handle;
    xpurt_event *event, *same;

    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &same));
    test_ok(xpurt_event_synchronize(same));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_event_destroy(same));
}

static void use_memory(xpurt_stream *stream, unsigned *seed)
{
    unsigned char from[256], to[256], *device, *pageable = malloc(BYTES);
    int value = rand_r(seed) & 0xff;

    test_require(pageable, "out of memory");
    memset(from, value, sizeof(from));
    memset(pageable, value ^ 1, BYTES);
    test_ok(xpurt_malloc((void **)&device, BYTES));
    test_ok(xpurt_memcpy_async(device, pageable, BYTES, stream));
    test_ok(xpurt_memcpy_async(device, from, sizeof(from), stream));
    test_ok(xpurt_memcpy_async(to, device, sizeof(to), stream));
    test_require(memcmp(from, to, sizeof(to)) == 0, "other bytes came back");
    test_ok(xpurt_memcpy_async(pageable, device, BYTES, stream));
    test_require(pageable[BYTES - 1] == (value ^ 1), "other bytes came back");
    test_ok(xpurt_free(device));
    free(pageable);
}

static void *work(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    xpurt_stream *stream;

    test_ok(xpurt_stream_create(&stream));
    for (int round = 0; round < ROUNDS; round++) {
        bool batch = rand_r(&seed) % 4 == 0;

        if (batch)
            test_ok(xpurt_batch_begin());
        use_shared(stream, &seed);
        use_shared(stream, &seed);
        if (round % 8 == 0)
            use_own(stream);
        if (round % 8 == 4)
            use_opened(stream, &seed);
        if (round % 16 == 0)
            use_memory(stream, &seed);
        if (batch)
            test_ok(xpurt_batch_end());
        if (round % 32 == 0) {
            test_ok(xpurt_stream_destroy(stream));
            test_ok(xpurt_stream_create(&stream));
        }
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_destroy(stream));
    atomic_fetch_add(&done, 1);
    return NULL;
}

int main(void)
{
    _Atomic bool *stop =
        mmap(NULL, sizeof(*stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct test_daemon xpurtd;
    struct test_peer sharer;
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];

    test_require(stop != MAP_FAILED, "mmap");
    test_daemon_start(&xpurtd, NULL);
    test_peer_start(&sharer, share, stop);
    test_receive(sharer.channel, handles, sizeof(handles));
    for (int i = 0; i < OPENED; i++)
        test_ok(xpurt_event_open_ipc_handle(&handles[i], &opened[i]));
    for (int i = 0; i < SHARED; i++)
        test_ok(xpurt_event_create(i % 2 ? XPURT_EVENT_BLOCKING : 0, &shared[i]));
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = (unsigned)i + 1;
        test_require(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0, "thread %d", i);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    test_require(done == THREADS, "%u", (unsigned)done);
    test_ok(xpurt_device_synchronize(0));
    for (int i = 0; i < SHARED; i++)
        test_ok(xpurt_event_destroy(shared[i]));
    atomic_store(stop, true);
    test_peer_join(&sharer);
    for (int i = 0; i < OPENED; i++)
        test_ok(xpurt_event_destroy(opened[i]));
    test_daemon_await_counter("handles", 0);
    test_daemon_await_counter("user-allocations", 0);
    test_ok(xpurt_reset());
    test_require(test_daemon_stop(&xpurtd) == 0, "the daemon ended badly");
    return 0;
}
