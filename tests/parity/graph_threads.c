/* SPDX-License-Identifier: MIT */
/* Many threads capture, launch, replace and destroy graphs at once, and all launch one that they share.
 * A plain program, to be run under ThreadSanitizer too.
 *
 * Checked: each thread's copies bring what that thread wrote, whatever the others do; the event of the
 * shared graph was recorded once for each launch; nothing stays in the daemon. */
#include "tests/parity/scene.h"

#include <pthread.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 60, SIZE = 512 };

static pthread_barrier_t barrier;
static xpurt_graph *shared;
static xpurt_event *recorded;

struct worker {
    unsigned char *from, *other, *to, *device;
    unsigned char number;
};

static void *pinned(size_t size)
{
    void *memory;

    test_ok(xpurt_host_malloc(&memory, size));
    return memory;
}

static void round_of(struct worker *worker, xpurt_stream *stream, unsigned char round)
{
    xpurt_event *event = NULL;
    xpurt_graph *graph;
    size_t uses;

    memset(worker->from, worker->number + round, SIZE);
    memset(worker->other, worker->number ^ round, SIZE);
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_memcpy_async(worker->device, worker->from, SIZE, stream));
    test_ok(xpurt_memcpy_async(worker->to, worker->device, SIZE, stream));
    test_ok(xpurt_stream_wait_event(stream, recorded));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_graph_end(stream, &graph));

    test_ok(xpurt_graph_launch(shared, stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_synchronize(event));
    test_require(worker->to[SIZE - 1] == (unsigned char)(worker->number + round),
                 "another's bytes");
    test_ok(xpurt_graph_replace(graph, worker->from, worker->other, SIZE, &uses));
    test_require(uses == 1, "%zu uses", uses);
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_event_destroy(event)); /* the graph keeps it */
    test_ok(xpurt_stream_synchronize(stream));
    test_require(worker->to[SIZE - 1] == (worker->number ^ round), "what was replaced");
    test_ok(xpurt_graph_destroy(graph));
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    xpurt_stream *stream;

    pthread_barrier_wait(&barrier);
    for (unsigned char round = 0; round < ROUNDS; round++) {
        stream = stream_on(0);
        round_of(worker, stream, round);
        test_ok(xpurt_stream_destroy(stream));
    }
    return NULL;
}

static void shared_make(void)
{
    xpurt_stream *stream = stream_on(0);

    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &recorded));
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_event_record(recorded, stream));
    test_ok(xpurt_graph_end(stream, &shared));
    test_ok(xpurt_stream_destroy(stream));
}

int main(void)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    uint32_t generation;

    scene_start();
    test_require(pthread_barrier_init(&barrier, NULL, THREADS) == 0, "no barrier");
    shared_make();
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .from = pinned(SIZE),
                                      .other = pinned(SIZE),
                                      .to = pinned(SIZE),
                                      .device = memory_on(0, SIZE),
                                      .number = (unsigned char)(17 * i) };
        test_require(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "thread %d", i);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    test_ok(xpurt_event_get_generation(recorded, &generation));
    test_require(generation == THREADS * ROUNDS, "%u records", generation);
    test_ok(xpurt_graph_destroy(shared));
    test_daemon_await_counter("user-graph-commands", 0);
    test_daemon_await_counter("streams", 0);
    test_ok(xpurt_reset());
    scene_stop();
    return 0;
}
