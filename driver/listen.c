/* SPDX-License-Identifier: MIT */
/* listen.c: the one thread that hears other processes signal events.
 *
 * Guarantees of this file:
 *   - the thread exists only while a queue of this process waits for an event of a shared pool
 *     (and LINGER after that);
 *   - it sleeps on the doorbells of those pools; where the kernel cannot wait for several words at
 *     once, or there are too many pools, it looks every POLL instead.
 */
#include "cell.h"
#include "thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#define WORD_32 2u
#define BELLS 127u        /* futex_waitv takes 128 words; one is our own */
#define POLL 200000u      /* ns */
#define LINGER 100000000u /* ns: longer than the gap between two waits of a busy program */

struct waitv {                          /* struct futex_waitv of Linux 5.16 */
    uint64_t value, address;
    uint32_t flags, reserved;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool running;                    /* under the lock */
static _Atomic uint32_t notices;        /* bumped for each wait that was parked */

void listen_after_fork(void)
{
    pthread_mutex_init(&lock, NULL);
    running = false;
}

/* Returns whether the time ran out with nothing heard. */
static bool hear(const struct listened *bells, size_t count, uint32_t noticed, uint64_t timeout)
{
    struct waitv words[BELLS + 1] = { { noticed, (uintptr_t)&notices, WORD_32, 0 } };
    uint64_t until = clock_ns() + timeout;
    struct timespec at = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
    long r;

    for (size_t i = 0; i < count; i++)
        words[i + 1] = (struct waitv){ bells[i].rings, (uintptr_t)bells[i].bell, WORD_32, 0 };
    r = syscall(SYS_futex_waitv, words, count + 1, 0, timeout ? &at : NULL, CLOCK_MONOTONIC);
    if (r < 0 && errno == ENOSYS) {
        if (timeout == 0 || timeout > POLL)
            timeout = POLL;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, (long)timeout }, NULL);
        return count == 0;
    }
    return r < 0 && errno == ETIMEDOUT;
}

static bool stop_if_unnoticed(uint32_t noticed)
{
    bool stop;

    pthread_mutex_lock(&lock);
    stop = atomic_load(&notices) == noticed;
    running = !stop;
    pthread_mutex_unlock(&lock);
    return stop;
}

static void *listen_run(void *unused)
{
    struct listened bells[BELLS];
    uint64_t idle_since = 0;

    (void)unused;
    for (;;) {
        uint32_t noticed = atomic_load(&notices);
        bool more, silent;
        size_t count = cell_rescan_shared(bells, BELLS, &more);

        if (count)
            idle_since = 0;
        else if (!idle_since)
            idle_since = clock_ns();
        silent = hear(bells, count, noticed, !count ? LINGER : more ? POLL : 0);
        if (!count && silent && clock_ns() - idle_since >= LINGER && stop_if_unnoticed(noticed))
            return NULL;
    }
}

void listen_notify(void)
{
    atomic_fetch_add(&notices, 1);
    syscall(SYS_futex, &notices, FUTEX_WAKE, 1, NULL, NULL, 0);
    pthread_mutex_lock(&lock);
    if (!running)
        running = thread_start("ze_soft-listen", listen_run, NULL);
    pthread_mutex_unlock(&lock);
}
