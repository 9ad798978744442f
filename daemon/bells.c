/* SPDX-License-Identifier: MIT */
/* daemon/bells.c: see bells.h.
 *
 * A ring whose client has just rung is served without a round of libuv's loop: that has phases for
 * timers, handles and requests, which cost a caller that waits more than what it asked for. So the
 * loop's epoll set is one entry of ours.
 */
#include "daemon/bells.h"

#include "proto/hot.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HEARD_MAX 64                    /* at a time; the others come next */

int bells_init(struct bells *bells, uv_loop_t *loop)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    int r;

    *bells = (struct bells){ .loop = loop, .fd = epoll_create1(EPOLL_CLOEXEC) };
    if (bells->fd < 0)
        return -errno;
    if (epoll_ctl(bells->fd, EPOLL_CTL_ADD, uv_backend_fd(loop), &event) < 0) {
        r = -errno;
        bells_deinit(bells);
        return r;
    }
    return 0;
}

void bells_deinit(struct bells *bells)
{
    if (bells->fd >= 0)
        close(bells->fd);
    bells->fd = -1;
}

int bells_add(struct bells *bells, struct bell *bell)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = bell };

    return epoll_ctl(bells->fd, EPOLL_CTL_ADD, bell->fd, &event) < 0 ? -errno : 0;
}

void bells_remove(struct bells *bells, const struct bell *bell)
{
    (void)epoll_ctl(bells->fd, EPOLL_CTL_DEL, bell->fd, NULL);
    for (int i = 0; i < bells->n_heard; i++)
        if (bells->heard[i].data.ptr == bell)
            bells->heard[i].data.ptr = NULL;
}

HOT bool bells_await(struct bells *bells, bool wait)
{
    struct epoll_event heard[HEARD_MAX];
    bool loop_ready;
    int timeout = uv_backend_timeout(bells->loop);

    loop_ready = timeout == 0;
    bells->n_heard = epoll_wait(bells->fd, heard, HEARD_MAX, wait ? timeout : 0);
    uv_update_time(bells->loop);
    loop_ready |= bells->n_heard <= 0 && wait; /* a timer, most likely */

    bells->heard = heard;
    for (int i = 0; i < bells->n_heard; i++) {
        struct bell *bell = heard[i].data.ptr;

        if (bell)
            bell->rung(bell);
        else
            loop_ready = true;
    }
    bells->n_heard = 0;
    return loop_ready;
}
