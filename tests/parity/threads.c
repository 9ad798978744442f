/* SPDX-License-Identifier: MIT */
/* Many threads ask at once for the library's own streams, their current ones, and generators. A plain
 * program, to be run under ThreadSanitizer too.
 *
 * Checked: each thread sees the same default streams, and pools have no more streams than they may;
 * no thread's current stream is another's; no two threads get the same numbers of a generator. */
#include "tests/parity/scene.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 200, DRAWS = 4 };

static pthread_barrier_t barrier;
static xpurt_generator *generator;

static struct seen {
    xpurt_stream *standard[DEVICES_MAX];
    xpurt_stream *pooled[ROUNDS];
    uint64_t offsets[ROUNDS];
} seen[THREADS];

static void use_guards(xpurt_stream *one)
{
    xpurt_stream *before = current_on(0);
    {
        XPURT_STREAM_GUARD(guard, one);

        test_require(xpurt_get_device() == last_device && current_on(-1) == one,
                     "the guard did nothing");
    }
    test_require(xpurt_get_device() == 0 && current_on(-1) == before, "nothing was put back");
}

static void round_of(struct seen *mine, int round)
{
    xpurt_stream *own = stream_on(0), *one = stream_on(last_device);
    uint64_t seed, id = stream_id_of(own);
    xpurt_event *event = NULL;
    xpurt_stream *found;

    mine->pooled[round] = pooled_on(0, 0);
    test_ok(xpurt_stream_set_current(own));
    test_ok(xpurt_stream_wait_stream(own, mine->pooled[round]));
    test_ok(xpurt_stream_record_event(mine->standard[0], &event));
    test_ok(xpurt_event_record_once(event, own));
    test_ok(xpurt_event_synchronize(event));
    test_require(current_on(0) == own, "another thread's stream is current");
    test_ok(xpurt_stream_from_id(id, 0, &found));
    test_require(found == own, "another stream by that id");
    use_guards(one);
    test_ok(xpurt_generator_philox_engine_inputs(generator, DRAWS, &seed, &mine->offsets[round]));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_stream_destroy(own));
    test_ok(xpurt_stream_destroy(one));
    test_require(current_on(0) == mine->standard[0], "a stream that is gone is current");
}

static void *work(void *arg)
{
    struct seen *mine = arg;

    pthread_barrier_wait(&barrier);
    for (int device = 0; device < n_devices; device++)
        mine->standard[device] = default_on(device);
    for (int round = 0; round < ROUNDS; round++)
        round_of(mine, round);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

    return first < second ? -1 : first > second;
}

static void check_offsets(void)
{
    static uint64_t all[THREADS * ROUNDS];

    for (int i = 0; i < THREADS * ROUNDS; i++)
        all[i] = seen[i / ROUNDS].offsets[i % ROUNDS];
    qsort(all, THREADS * ROUNDS, sizeof(all[0]), by_value);
    for (int i = 0; i < THREADS * ROUNDS; i++)
        test_require(all[i] == (uint64_t)i * DRAWS, "offset %d is %llu", i,
                     (unsigned long long)all[i]);
}

/* In one round trip of the pool each stream comes once, whichever threads asked. */
static void check_streams(void)
{
    unsigned distinct = 0;

    for (int i = 0; i < THREADS; i++) {
        for (int device = 0; device < n_devices; device++)
            test_require(seen[i].standard[device] == seen[0].standard[device],
                         "two default streams of device %d", device);
        for (int k = 0; k < ROUNDS; k++) {
            bool known = false;

            for (int before = 0; before < i * ROUNDS + k && !known; before++)
                known = seen[before / ROUNDS].pooled[before % ROUNDS] == seen[i].pooled[k];
            distinct += !known;
        }
    }
    test_require(distinct == XPURT_POOL_STREAMS, "the pool has %u streams", distinct);
    test_daemon_await_counter("streams", (unsigned)(XPURT_POOL_STREAMS + n_devices));
}

int main(void)
{
    pthread_t threads[THREADS];

    scene_start();
    test_require(pthread_barrier_init(&barrier, NULL, THREADS) == 0, "no barrier");
    test_ok(xpurt_generator_create(0, &generator));
    for (int i = 0; i < THREADS; i++)
        test_require(pthread_create(&threads[i], NULL, work, &seen[i]) == 0, "thread %d", i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_streams();
    check_offsets();
    test_ok(xpurt_reset());
    scene_stop();
    return 0;
}
