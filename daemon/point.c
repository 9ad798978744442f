/* SPDX-License-Identifier: MIT */
/* daemon/point.c: see point.h.
 *
 * Guarantees of this file: looking changes nothing; a RUNNING point has a marker on the GPU; of what
 * is alive of another user's, nothing is said but that it is refused.
 */
#include "daemon/point.h"
#include "daemon/runtime.h"
#include "daemon/session.h"
#include "daemon/stream.h"

#include <stdio.h>

/* The unfinished marker that covers @p value, or NULL when all such are done. */
static struct gpu_slot *marker_find(struct stream *stream, uint64_t value)
{
    uint64_t first = atomic_load_explicit(&stream->done, memory_order_acquire);
    uint64_t end = atomic_load_explicit(&stream->head, memory_order_relaxed);

    for (; first < end; first++) {
        struct marker *marker = marker_at(stream, first);

        if (marker->value >= value)
            return marker->slot;
    }
    return NULL;
}

enum point_state point_look(struct runtime *runtime, struct user *user, uint64_t point,
                            struct gpu_slot **ret_slot)
{
    uint32_t slot = point_slot(point), index = point_stream(point);
    uint64_t value = point_value(point);
    struct board *board = runtime->boards.boards[slot];
    struct board_timeline *timeline;
    struct stream *stream;

    if (value <= runtime->boards.base[slot])
        return POINT_REACHED;
    if (!board || board->user != user)
        return POINT_REFUSED;

    timeline = &board->progress->timelines[index];
    if (timeline_reached(timeline, value))
        return POINT_REACHED;
    if (!board->session || atomic_load(&timeline->status))
        return POINT_LOST;

    stream = board->session->places[index].stream;
    if (!stream || stream->submitted < value)
        return POINT_UNSUBMITTED;
    *ret_slot = marker_find(stream, value);
    if (*ret_slot)
        return POINT_RUNNING;
    /* Published since the first look, or done without that. */
    return timeline_reached(timeline, value) ? POINT_REACHED : POINT_LOST;
}

void point_describe(struct runtime *runtime, uint64_t point, char *text, size_t size)
{
    struct board *board = runtime->boards.boards[point_slot(point)];

    snprintf(text, size, "stream %u of process %d", point_stream(point),
             board ? (int)board->progress->header.pid : 0);
}

xpurt_result point_error(struct runtime *runtime, uint64_t point)
{
    struct board *board = runtime->boards.boards[point_slot(point)];
    const struct board_timeline *timeline;

    if (!board || !board->session)
        return XPURT_ERROR_PEER_LOST;
    timeline = &board->progress->timelines[point_stream(point)];
    /* Who waits for somebody who waited for the dead waits for the dead. */
    return atomic_load(&timeline->status) == XPURT_ERROR_PEER_LOST ? XPURT_ERROR_PEER_LOST :
                                                                     XPURT_ERROR_DEPENDENCY;
}

/* How a sentence about a point that is LOST ends. */
const char *point_fate(struct runtime *runtime, uint64_t point)
{
    struct board *board = runtime->boards.boards[point_slot(point)];

    if (!board || !board->session)
        return "is gone";
    return point_error(runtime, point) == XPURT_ERROR_PEER_LOST ?
               "has failed, because a process is gone" :
               "has failed";
}
