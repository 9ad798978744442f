/* SPDX-License-Identifier: MIT */
/* daemon/lookout.c: see lookout.h.
 *
 * Guarantees of this file:
 *   - the watching thread touches neither the set's contents nor the word, which may be another
 *     process's, or unmapped by now: it only asks the kernel to wake who sleeps there;
 *   - where that does not help it interrupts the sleeper by a signal, until that has noticed. It need not
 *     help: the sleep may begin just then, and who shares the word may have the kernel let its sleepers
 *     wait somewhere else (FUTEX_REQUEUE), or stop before it gets to us (a waiter with priority
 *     inheritance).
 *
 * A second word of our own, with futex_waitv(2), would need none of this, and takes a microsecond more:
 * half of what a sleep on a word is for.
 */
#include "daemon/lookout.h"

#include "proto/board.h"
#include "proto/hot.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AGAIN_MS 1                      /* at first */
#define AGAIN_MS_MAX 64

enum lookout_state {
    OUT_RESTING,
    OUT_WATCHING,
    OUT_SEEN,                           /* the set has something, and the sleeper has to notice */
    OUT_STOPPED,
};

/* The set has something: until the sleeper has noticed. That it stirs us says less, as it may have done so
 * for the watch that this is about. */
static void tell(struct lookout *lookout)
{
    struct pollfd stir = { lookout->stir, POLLIN, 0 };
    eventfd_t stirred;

    (void)board_wake(atomic_load(&lookout->word));
    for (int ms = AGAIN_MS; atomic_load(&lookout->state) == OUT_SEEN;) {
        if (poll(&stir, 1, ms) > 0) {
            (void)eventfd_read(lookout->stir, &stirred);
            continue;
        }
        if (atomic_load(&lookout->asleep))
            (void)pthread_kill(lookout->sleeper, SIGURG);
        ms = ms < AGAIN_MS_MAX ? 2 * ms : ms;
    }
}

static void *watch(void *arg)
{
    struct lookout *lookout = arg;
    struct pollfd fds[2] = { { lookout->stir, POLLIN, 0 }, { -1, POLLIN, 0 } };
    eventfd_t stirred;
    uint32_t state;

    while ((state = atomic_load(&lookout->state)) != OUT_STOPPED) {
        fds[1].fd = state == OUT_WATCHING ? lookout->set : -1;
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents)
            (void)eventfd_read(lookout->stir, &stirred);
        if (fds[1].revents && atomic_compare_exchange_strong(&lookout->state, &state, OUT_SEEN))
            tell(lookout);
    }
    return NULL;
}

static void on_signal(int number)
{
    (void)number;                       /* a call that sleeps returns */
}

/* Signals that are to be delivered go to other threads than ours. */
static int start(struct lookout *lookout)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&lookout->thread, NULL, watch, lookout);
    if (r == 0)
        (void)pthread_setname_np(lookout->thread, "xpurtd-lookout");
    sigdelset(&before, SIGURG);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

int lookout_init(struct lookout *lookout, int set)
{
    struct sigaction action = { .sa_handler = on_signal };
    int r;

    *lookout = (struct lookout){ .set = set };
    if (sigaction(SIGURG, &action, NULL) < 0)
        return -errno;
    lookout->stir = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookout->stir < 0)
        return -errno;
    r = start(lookout);
    if (r < 0)
        close(lookout->stir);
    lookout->started = r == 0;
    return r;
}

void lookout_deinit(struct lookout *lookout)
{
    if (!lookout->started)
        return;
    atomic_store(&lookout->state, OUT_STOPPED);
    (void)eventfd_write(lookout->stir, 1);
    pthread_join(lookout->thread, NULL);
    close(lookout->stir);
    lookout->started = false;
}

void lookout_begin(struct lookout *lookout, _Atomic uint32_t *word)
{
    lookout->sleeper = pthread_self();
    atomic_store(&lookout->word, word);
    atomic_store(&lookout->state, OUT_WATCHING);
    (void)eventfd_write(lookout->stir, 1);
}

HOT bool lookout_sleep(struct lookout *lookout, uint32_t value, int timeout_ms)
{
    uint64_t timeout_ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000;

    atomic_store(&lookout->asleep, true);
    if (atomic_load(&lookout->state) == OUT_WATCHING)
        board_sleep(atomic_load_explicit(&lookout->word, memory_order_relaxed), value, timeout_ns);
    atomic_store_explicit(&lookout->asleep, false, memory_order_relaxed);
    return atomic_load(&lookout->state) == OUT_SEEN;
}

void lookout_end(struct lookout *lookout)
{
    atomic_store(&lookout->state, OUT_RESTING);
}
