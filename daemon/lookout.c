/* SPDX-License-Identifier: MIT */
/* daemon/lookout.c: see lookout.h.
 *
 * Guarantees of this file:
 *   - the watching thread touches neither the set's contents nor the word, which may be another
 *     process's, or unmapped by now: it only asks the kernel to wake who sleeps there;
 *   - it wakes again, after a while, until the sleeper has noticed: the word, with which the kernel would
 *     see a wake-up that comes just before the sleep, is not ours to rely on.
 */
#include "daemon/lookout.h"

#include "proto/board.h"
#include "proto/hot.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AGAIN_MS 1

enum lookout_state {
    OUT_RESTING,
    OUT_WATCHING,
    OUT_SEEN,                           /* the set has something, and the sleeper has to notice */
    OUT_STOPPED,
};

static void *watch(void *arg)
{
    struct lookout *lookout = arg;
    struct pollfd fds[2] = { { lookout->stir, POLLIN, 0 }, { -1, POLLIN, 0 } };
    eventfd_t stirred;
    uint32_t state;

    while ((state = atomic_load(&lookout->state)) != OUT_STOPPED) {
        fds[1].fd = state == OUT_WATCHING ? lookout->set : -1;
        if (poll(fds, 2, state == OUT_SEEN ? AGAIN_MS : -1) < 0)
            continue;
        if (fds[0].revents)
            (void)eventfd_read(lookout->stir, &stirred);
        if (state == OUT_WATCHING && fds[1].revents)
            (void)atomic_compare_exchange_strong(&lookout->state, &state, OUT_SEEN);
        if (atomic_load(&lookout->state) == OUT_SEEN)
            (void)board_wake(atomic_load(&lookout->word));
    }
    return NULL;
}

int lookout_init(struct lookout *lookout, int set)
{
    sigset_t all, before;
    int r;

    *lookout = (struct lookout){ .set = set };
    lookout->stir = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookout->stir < 0)
        return -errno;
    sigfillset(&all);                   /* those are the others' */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&lookout->thread, NULL, watch, lookout);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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
    lookout_end(lookout); /* who still looks at another word has nothing to wake there */
    atomic_store(&lookout->word, word);
    atomic_store(&lookout->state, OUT_WATCHING);
    (void)eventfd_write(lookout->stir, 1);
}

HOT bool lookout_sleep(struct lookout *lookout, uint32_t value, int timeout_ms)
{
    uint64_t timeout_ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000;

    if (atomic_load(&lookout->state) == OUT_WATCHING)
        board_sleep(atomic_load_explicit(&lookout->word, memory_order_relaxed), value, timeout_ns);
    if (atomic_load(&lookout->state) != OUT_SEEN)
        return false;
    lookout_end(lookout);
    return true;
}

void lookout_end(struct lookout *lookout)
{
    atomic_store(&lookout->state, OUT_RESTING);
}
