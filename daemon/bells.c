/* SPDX-License-Identifier: MIT */
/* daemon/bells.c: see bells.h.
 *
 * A ring whose client has just rung is served without a round of libuv's loop: that has phases for
 * timers, handles and requests, which cost a caller that waits more than what it asked for. Bells are
 * handles of the loop; we only look into its epoll set before it does. What we find there besides bells
 * it finds again, as it watches for levels.
 *
 * Where one client's bell ends nearly every sleep we sleep on its ring instead (lookout.h): that wakes us
 * sooner. Everything else is heard later then, and makes such sleeps rarer.
 *
 * The loop's set in one of our own would look simpler. But while a set is in another one each change of
 * it takes a lock of the whole kernel, which any process can hold for long.
 */
#include "daemon/bells.h"

#include "proto/hot.h"
#include "proto/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEARD_MAX 64                    /* at a time; the others come next */
#define CACHE_LINE 64
#define ENOUGH 64u                      /* sleeps that a bell ends until one is on its ring ... */
#define ENOUGH_MAX 4096u                /* ... and when that was too few, again and again */
#define DOZE_MS 100

/* Whether what we see in the loop's set is seen there again: by what wakes the loop from elsewhere. */
static int find_out(struct bells *bells)
{
    struct epoll_event events[8];
    uv_async_t async;
    int r, seen, again;

    r = uv_async_init(bells->loop, &async, NULL);
    if (r < 0)
        return r;
    uv_run(bells->loop, UV_RUN_NOWAIT);
    uv_async_send(&async);
    seen = epoll_wait(bells->fd, events, 8, 0);
    again = epoll_wait(bells->fd, events, 8, 0);
    bells->direct = seen > 0 && again == seen;
    uv_close((uv_handle_t *)&async, NULL);
    uv_run(bells->loop, UV_RUN_NOWAIT);
    return 0;
}

int bells_init(struct bells *bells, uv_loop_t *loop)
{
    int r;

    *bells = (struct bells){ .loop = loop, .fd = uv_backend_fd(loop) };
    r = find_out(bells);
    return r < 0 || !bells->direct ? r : lookout_init(&bells->lookout, bells->fd);
}

void bells_deinit(struct bells *bells)
{
    lookout_deinit(&bells->lookout);
    free(bells->by_fd);
    bells->by_fd = NULL;
    bells->size = 0;
}

/* Watch for edges: nobody has to read the eventfd. libuv has put it into its set by now, and does not
 * touch it there again until it closes it. Where that fails it is told again and again until it is read. */
HOT static void tell(struct bell *bell, bool broken)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = bell->fd };

    if (!bell->edge)
        bell->edge =
            epoll_ctl(uv_backend_fd(bell->poll.loop), EPOLL_CTL_MOD, bell->fd, &event) == 0;
    bell->rung(bell, broken);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    tell((struct bell *)poll, status < 0);
}

static int grow(struct bells *bells, int size)
{
    struct bell **by_fd = realloc(bells->by_fd, (size_t)size * sizeof(*by_fd));

    if (!by_fd)
        return -ENOMEM;
    bells->by_fd = by_fd;
    while (bells->size < size)
        by_fd[bells->size++] = NULL;
    return 0;
}

/* What was heard last: @p bell alone, or anything else. */
HOT static void favour(struct bells *bells, struct bell *bell)
{
    bells->times = bell && bell == bells->favourite ? bells->times + 1 : 0;
    bells->favourite = bell;
}

static void unwatch(struct bells *bells)
{
    if (!bells->watched)
        return;
    bells->watched = false;
    lookout_end(&bells->lookout);
}

int bells_add(struct bells *bells, struct bell *bell)
{
    int r = bell->fd < bells->size ? 0 : grow(bells, 2 * bell->fd + 1);

    if (r == 0)
        r = uv_poll_init(bells->loop, &bell->poll, bell->fd);
    if (r < 0)
        return r;
    uv_poll_start(&bell->poll, UV_READABLE, on_poll);
    bell->enough = ENOUGH;
    bells->by_fd[bell->fd] = bell;
    return 0;
}

void bells_close(struct bells *bells, struct bell *bell, uv_close_cb closed)
{
    bells->by_fd[bell->fd] = NULL;
    if (bells->favourite == bell) {
        favour(bells, NULL);
        unwatch(bells);
    }
    uv_close((uv_handle_t *)&bell->poll, closed);
}

/* How long the loop may sleep. Its clock stands since its last round, or ours. */
static int loop_timeout(uv_loop_t *loop)
{
    int timeout = uv_backend_timeout(loop);

    if (timeout <= 0)
        return timeout;
    uv_update_time(loop);
    return uv_backend_timeout(loop);
}

/* Sleep. Without epoll_wait(), which lets others cancel a thread there: the C library's part of that is
 * cold in who wakes up. */
HOT static int hear(const struct bells *bells, struct epoll_event *events, int timeout)
{
#ifdef __SANITIZE_THREAD__              /* it delivers signals there */
    return epoll_wait(bells->fd, events, HEARD_MAX, timeout);
#else
    return (int)syscall(SYS_epoll_pwait, bells->fd, events, HEARD_MAX, timeout, NULL, 0);
#endif
}

/* After so many sleeps in a row the lookout had to wake us: a detour for whoever that was. */
static void make_rarer(struct bell *bell, uint64_t times)
{
    if (times >= 2 * bell->enough)
        bell->enough = ENOUGH;
    else if (bell->enough < ENOUGH_MAX)
        bell->enough *= 2;
}

/* Sleep on the ring of the favourite, where that can be had. False: it did not ring. */
HOT static bool doze(struct bells *bells, int *timeout)
{
    struct bell *bell = bells->favourite;
    uint32_t asleep = RING_ASLEEP;

    if (!bells->watched)
        lookout_begin(&bells->lookout, bell->asleep);
    bells->watched = true;
    if (!atomic_compare_exchange_strong(bell->asleep, &asleep, RING_DOZING))
        return false;
#ifdef __SANITIZE_THREAD__              /* signals are delivered in the calls that it knows */
    *timeout = *timeout < 0 || *timeout > DOZE_MS ? DOZE_MS : *timeout;
#endif
    if (lookout_sleep(&bells->lookout, RING_DOZING, *timeout))
        make_rarer(bell, bells->times);
    *timeout = 0;                       /* what else ended the sleep is there already */
    asleep = RING_DOZING;
    if (atomic_load(bell->asleep) == RING_DOZING &&
        atomic_compare_exchange_strong(bell->asleep, &asleep, RING_ASLEEP))
        return false;
    favour(bells, bell);
    return true;
}

HOT static bool dozing_pays(const struct bells *bells)
{
    return bells->favourite && bells->times >= bells->favourite->enough;
}

static struct bell *bell_of(const struct bells *bells, int fd)
{
    return fd >= 0 && fd < bells->size ? bells->by_fd[fd] : NULL;
}

HOT bool bells_await(struct bells *bells, bool wait)
{
    struct epoll_event heard[HEARD_MAX];
    struct bell *bell;
    int timeout, n;
    bool loop_ready;

    if (!bells->direct) {               /* it tells the bells itself */
        uv_run(bells->loop, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
        return true;
    }
    timeout = loop_timeout(bells->loop);
    loop_ready = timeout == 0;
    if (wait && timeout && dozing_pays(bells) && doze(bells, &timeout)) {
        tell(bells->favourite, false);
        return false;
    }
    n = hear(bells, heard, wait ? timeout : 0);
    /* What is called next in another library, before we sleep again: there by then. */
    __builtin_prefetch((const char *)uv_backend_timeout);
    __builtin_prefetch((const char *)uv_backend_timeout + CACHE_LINE);
    loop_ready |= n <= 0 && wait;       /* one is due, most likely */
    if (n > 0 || wait) {
        unwatch(bells);
        bell = n == 1 ? bell_of(bells, heard[0].data.fd) : NULL;
        favour(bells, bell && bell->asleep ? bell : NULL);
    }
    for (int i = 0; i < n; i++) {
        bell = bell_of(bells, heard[i].data.fd);
        if (bell)
            tell(bell, heard[i].events & EPOLLERR);
        else
            loop_ready = true;
    }
    return loop_ready;
}
