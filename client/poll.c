/* SPDX-License-Identifier: MIT */
/* client/poll.c: descriptors that become readable when an event completes.
 *
 * Guarantees of this file:
 *   - the descriptor is the caller's alone, and is readable for good once there is nothing to wait
 *     for any more, the daemon's death included;
 *   - the daemon is asked only while the event is not complete.
 */
#include "client/event.h"

#include "client/result.h"
#include "client/wait.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the daemon gives out, after it has told. */
static xpurt_result descriptor_ready(int *ret_fd)
{
    static const uint64_t one = 1;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return system_error("a descriptor cannot be made", -errno);
    (void)send(ends[0], &one, sizeof(one), MSG_NOSIGNAL);
    close(ends[0]);
    *ret_fd = ends[1];
    return XPURT_SUCCESS;
}

static xpurt_result descriptor_ask(uint64_t point, int *ret_fd)
{
    Xpurt__PointPoll poll = XPURT__POINT_POLL__INIT;
    Xpurt__ToDaemon request = { REQUEST(POINT_POLL), .point_poll = &poll };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    poll.point = point;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_POINT_POLLED, 1, &reply);
    session_leave();
    if (r == XPURT_SUCCESS)
        *ret_fd = frame_fds_take(&reply.fds);
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_event_get_fd(xpurt_event *event, int *ret_fd)
{
    uint64_t point;
    xpurt_result r;

    r = event_check(event);
    if (r)
        return r;
    if (!ret_fd)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the descriptor");
    r = session_settle();
    if (r)
        return r;

    point = atomic_load_explicit(&event_place(event).cell->point, memory_order_acquire);
    if (!point || point_check(point) != XPURT_NOT_READY)
        return descriptor_ready(ret_fd);
    return descriptor_ask(point, ret_fd);
}
