/* SPDX-License-Identifier: MIT */
/* daemon/watch.c: see watch.h.
 *
 * Guarantees of this file:
 *   - a watch fires once, and is charged to who asked until then, however it comes to that: the
 *     point is reached, its stream fails, either session ends;
 *   - a point that was not submitted yet, or whose stream is still to be created, can be watched;
 *   - no descriptor of a client is ever written to: what a poll holds is the daemon's own end of a
 *     socket pair, which nobody else can make block, and which closes itself with the daemon.
 */
#include "daemon/watch.h"
#include "daemon/point.h"
#include "daemon/session.h"
#include "proto/hot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

struct watch {
    struct heap_node node;              /* in `watches` of the owner */
    struct watch *prev_asked, *next_asked;
    struct session *owner;              /* borrowed: whose point it is */
    struct session *asker;              /* borrowed: who pays */
    uint64_t point;
    watch_fire *fire;
    void *data;
};

static struct heap_node **heap_of(struct watch *watch)
{
    return &watch->owner->places[point_stream(watch->point)].watches;
}

/* The one with the lowest point of that stream, or NULL. */
static struct watch *first_of(struct session *session, uint32_t stream)
{
    struct heap_node *first = session->places[stream].watches;

    return first ? HEAP_ENTRY(first, struct watch, node) : NULL;
}

void watch_free(struct watch *watch)
{
    if (!watch)
        return;
    heap_remove(heap_of(watch), &watch->node);
    DL_DELETE2(watch->asker->watching, watch, prev_asked, next_asked);
    user_discharge(watch->asker->user, CHARGE_WATCHES, 1);
    free(watch);
}

static void watch_done(struct watch *watch, xpurt_result result)
{
    watch_fire *fire = watch->fire;
    void *data = watch->data;

    watch_free(watch);
    fire(data, result);
}

/* XPURT_NOT_READY: somebody may still reach it. */
static xpurt_result point_outcome(struct session *asker, uint64_t point)
{
    struct gpu_slot *slot;

    switch (point_look(asker->runtime, asker->user, point, &slot)) {
    case POINT_REACHED:
        return XPURT_SUCCESS;
    case POINT_RUNNING:
    case POINT_UNSUBMITTED:
        return XPURT_NOT_READY;
    case POINT_LOST:
        return point_error(asker->runtime, point);
    case POINT_REFUSED:
        break;
    }
    return XPURT_ERROR_PERMISSION;
}

static bool watch_add(struct session *asker, uint32_t serial, uint64_t point, watch_fire *fire,
                      void *data, struct watch **ret_watch)
{
    struct watch *watch;

    if (!session_charge(asker, serial, CHARGE_WATCHES, 1))
        return false;
    watch = malloc(sizeof(*watch));
    if (!watch) {
        user_discharge(asker->user, CHARGE_WATCHES, 1);
        session_error(asker, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return false;
    }
    *watch = (struct watch){
        .owner = asker->runtime->boards.boards[point_slot(point)]->session,
        .asker = asker,
        .point = point,
        .fire = fire,
        .data = data,
    };
    heap_add(heap_of(watch), &watch->node, point_value(point));
    DL_APPEND2(asker->watching, watch, prev_asked, next_asked);
    *ret_watch = watch;
    return true;
}

bool watch_new(struct session *asker, uint32_t serial, uint64_t point, watch_fire *fire, void *data,
               struct watch **ret_watch)
{
    xpurt_result outcome = point_outcome(asker, point);
    struct watch *watch = NULL;
    struct stream *stream;

    if (outcome == XPURT_ERROR_PERMISSION) {
        session_error(asker, serial, 0, outcome, "a point of another user, or of no process");
        return false;
    }
    if (outcome == XPURT_NOT_READY) {
        if (!watch_add(asker, serial, point, fire, data, &watch))
            return false;
        stream = watch->owner->places[point_stream(point)].stream;
        if (stream)
            stream_watched(stream);
        outcome = point_outcome(asker, point); /* it may have been just before */
        if (outcome != XPURT_NOT_READY) {
            watch_free(watch);
            watch = NULL;
        }
    }
    if (ret_watch)
        *ret_watch = watch;
    if (!watch)
        fire(data, outcome);
    return true;
}

HOT void watches_look(struct session *session, uint32_t stream)
{
    const struct board_timeline *timeline = &session->board->progress->timelines[stream];
    struct watch *watch;

    while ((watch = first_of(session, stream))) {
        if (timeline_reached(timeline, point_value(watch->point)))
            watch_done(watch, XPURT_SUCCESS);
        else if (atomic_load(&timeline->status))
            watch_done(watch, point_error(session->runtime, watch->point));
        else
            return;
    }
}

void watch_end(struct session *session)
{
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++) {
        watches_look(session, i);
        while (session->places[i].watches)
            watch_done(first_of(session, i), XPURT_ERROR_PEER_LOST);
    }
    while (session->watching)
        watch_done(session->watching, XPURT_ERROR_PEER_LOST);
}

/* ---- descriptors ------------------------------------------------------------------------------------ */

/* Readable by what is in it, and by its end: 8 bytes like those of an eventfd, for who reads. The
 * result is not told: a query of the event tells it. */
static void poll_fire(void *data, xpurt_result result)
{
    static const uint64_t one = 1;
    int fd = (int)(intptr_t)data;

    (void)result;
    (void)send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

void point_poll(struct session *session, uint32_t serial, const Xpurt__PointPoll *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__PointPolled polled = XPURT__POINT_POLLED__INIT;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        session_error(session, serial, 0,
                      errno == ENOMEM ? XPURT_ERROR_OUT_OF_HOST_MEMORY : XPURT_ERROR_QUOTA,
                      "the daemon has no descriptor to spare: %s", strerror(errno));
        return;
    }
    (void)shutdown(ends[0], SHUT_RD);   /* the client has nothing to say here */
    if (watch_new(session, serial, request->point, poll_fire, (void *)(intptr_t)ends[0], NULL)) {
        reply.reply_case = XPURT__TO_CLIENT__REPLY_POINT_POLLED;
        reply.point_polled = &polled;
        session_reply(session, serial, &reply, &ends[1], 1);
    } else {
        close(ends[0]);
    }
    close(ends[1]);
}
