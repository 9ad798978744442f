/* SPDX-License-Identifier: MIT */
/* Threads that ask the daemon at once: one of them sleeps on the socket for all, and is woken by what comes
 * for any. None waits until a slice of that sleep is over. To be run under ThreadSanitizer too. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { THREADS = 8, SECONDS = 2 };

/* A call that ended with a slice took so long, hardly one that had to wait for a CPU. */
#define SLICE_NS UINT64_C(50000000)
#define SLICE_OVER_NS UINT64_C(2000000)
#define SLICES_MOST 25u                 /* of some 100,000 calls, by chance */

static atomic_uint slices;
static uint64_t end_ns;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void ask(unsigned which)
{
    static const size_t sizes[] = { 4096, 65536 };
    size_t count;
    void *memory;

    switch (which % 3) {
    case 0:                             /* answered with a descriptor */
        test_ok(xpurt_host_malloc(&memory, sizes[which % 2]));
        test_ok(xpurt_host_free(memory));
        break;
    case 1:
        test_ok(xpurt_malloc(&memory, sizes[which % 2]));
        test_ok(xpurt_free(memory));
        break;
    default:
        test_ok(xpurt_daemon_counters(0, NULL, &count));
    }
}

static void *work(void *data)
{
    unsigned which = *(unsigned *)data;
    uint64_t begin = now_ns(), now;

    for (; begin < end_ns; begin = now) {
        ask(which++);
        now = now_ns();
        if (now - begin >= SLICE_NS && now - begin < SLICE_NS + SLICE_OVER_NS)
            atomic_fetch_add(&slices, 1);
    }
    return NULL;
}

int main(void)
{
    struct test_daemon xpurtd;
    pthread_t threads[THREADS];
    unsigned first[THREADS];

    test_daemon_start(&xpurtd, NULL);
    test_ok(xpurt_init());
    end_ns = now_ns() + SECONDS * UINT64_C(1000000000);
    for (unsigned i = 0; i < THREADS; i++) {
        first[i] = i;
        test_require(pthread_create(&threads[i], NULL, work, &first[i]) == 0, "thread %u", i);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    test_require(slices <= SLICES_MOST, "%u calls took a slice", (unsigned)slices);
    test_ok(xpurt_reset());
    test_require(test_daemon_stop(&xpurtd) == 0, "the daemon ended badly");
    return 0;
}
