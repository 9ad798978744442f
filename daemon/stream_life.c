/* SPDX-License-Identifier: MIT */
/* daemon/stream_life.c: how a stream begins, fails and ends.
 *
 * Guarantees of this file:
 *   - a failed stream runs nothing more, but what is on the GPU drains;
 *   - streams that the GPU makes wait for work that is lost have failed before it is let go;
 *   - a timeline is free for another stream when nothing of the last one is left, be it queued, on
 *     the GPU or with the reaper.
 */
#include "daemon/session.h"
#include "daemon/stream_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <utlist.h>

/* ---- the beginning --------------------------------------------------------------------------------- */

struct stream *stream_new(struct session *session, uint32_t index, uint32_t device, bool external)
{
    struct board_timeline *timeline = &session->board->progress->timelines[index];
    uint64_t base = session->board->progress->header.base;
    struct stream *stream;

    stream = calloc(1, sizeof(*stream));
    if (!stream)
        return NULL;
    stream->session = session;
    stream->runtime = session->runtime;
    stream->timeline = timeline;
    stream->mark = &session->board->marks->timelines[index];
    stream->slot = session->board->slot;
    stream->index = index;
    stream->device = device;
    stream->external = external;
    stream->queue_tail = &stream->queue;
    stream->accepted = atomic_load_explicit(&timeline->last, memory_order_relaxed);
    if (stream->accepted < base)
        stream->accepted = base;
    stream->submitted = stream->accepted;
    stream->lost_from = MARKER_NONE;
    stream->told_from = MARKER_NONE;

    /* Points of the last stream here are over: reached first, then no error any more. */
    timeline_publish(timeline, stream->accepted);
    atomic_store_explicit(&timeline->status, XPURT_SUCCESS, memory_order_release);
    atomic_store_explicit(&timeline->device, device, memory_order_relaxed);
    atomic_store_explicit(&timeline->external, external, memory_order_relaxed);
    atomic_store_explicit(&timeline->state, TIMELINE_LIVE, memory_order_release);
    if (session->board->n_timelines <= index)
        session->board->n_timelines = index + 1;
    session->places[index].stream = stream;
    if (session->places[index].watches)
        stream_watched(stream);         /* they were here before the stream */
    DL_APPEND2(session->runtime->streams, stream, prev_stream, next_stream);
    session->n_streams++;
    session->runtime->counters.streams++;
    return stream;
}

void stream_start(struct stream *stream, int priority)
{
    struct user *user = stream->session->user;
    struct gpu_context *context;
    xpurt_result result;

    if (!user_charge(user, CHARGE_STREAMS, 1)) {
        stream_fail(stream, XPURT_ERROR_QUOTA, "limit user-streams: %" PRIu64 " are allowed",
                    stream->runtime->limits->user_streams);
        return;
    }
    result = user_context(user, &context);
    if (!result)
        result = stream->external ? gpu_list_new_external(context, stream->device, &stream->list) :
                                    gpu_list_new(context, stream->device, priority, &stream->list);
    if (result) {
        user_discharge(user, CHARGE_STREAMS, 1);
        stream_fail(stream, result, "cannot create a stream: %s", gpu_error());
    }
}

/* ---- failure --------------------------------------------------------------------------------------- */

void stream_fail(struct stream *stream, xpurt_result result, const char *format, ...)
{
    va_list args;

    if (stream->failed)
        return;
    stream->failed = true;
    va_start(args, format);
    session_verror(stream->session, 0, stream->index + 1, result, format, args);
    va_end(args);

    timeline_fail(stream->timeline, stream->mark, (uint32_t)result);
    if (stream->external)
        external_fail(stream);
    stream_unblock(stream);
    queue_drop(stream);
    stream_waiters_resume(stream->session, stream->index, UINT64_MAX);
    stream_touch(stream);
}

/* The first value that was submitted and will not come. */
static uint64_t lost_value(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);
    uint64_t i = atomic_load(&stream->lost_from);

    for (i = i < stream->freed ? stream->freed : i; i < head; i++)
        if (marker_at(stream, i)->value)
            return marker_at(stream, i)->value;
    return UINT64_MAX;
}

/* Streams that the GPU makes wait for work of ours that is lost: it will be let go, so that they
 * drain, but nothing of that counts. */
static void dependents_fail(struct stream *stream)
{
    bool gone = !stream->session->board->session ||
                atomic_load(&stream->timeline->status) == XPURT_ERROR_PEER_LOST;
    uint64_t value = lost_value(stream);
    struct dependence *dependence;

    DL_FOREACH(stream->dependents, dependence) {
        struct stream *other = dependence->waiter;

        /* Streams may wait for each other: told once is enough. */
        if (dependence->value < value || other == stream ||
            dependence->position >= atomic_load(&other->lost_from))
            continue;
        marker_lose(other, dependence->position);
        stream_fail(other, gone ? XPURT_ERROR_PEER_LOST : XPURT_ERROR_DEPENDENCY,
                    "it waits for stream %u of process %d, %s", stream->index,
                    (int)stream->session->pid, gone ? "which is gone" : "whose device is lost");
        if (other->external)
            external_fail(other);
        stream_touch(other);
    }
}

/* Some of what is on the GPU will not come, or does not count. */
void stream_lose(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);
    uint64_t from = atomic_load(&stream->lost_from);

    stream->told_from = from;
    stream->told_device = atomic_load(&stream->device_lost);
    if (stream->told_device)
        stream_fail(stream, XPURT_ERROR_DEVICE_LOST, "device %u is lost", stream->device);
    dependents_fail(stream);
    if (!stream->told_device)
        return;
    for (uint64_t i = from < stream->freed ? stream->freed : from; i < head; i++)
        if (marker_at(stream, i)->slot)
            gpu_slot_release(marker_at(stream, i)->slot);
}

/* ---- the end --------------------------------------------------------------------------------------- */

void stream_close(struct stream *stream)
{
    if (stream->external)
        external_close(stream);
    stream->failed = true;
    stream->destroyed = true;
    stream_unblock(stream);
    queue_drop(stream);
    stream_touch(stream);
}

/* Everything is done and nobody looks at it. */
bool stream_drained(struct stream *stream)
{
    markers_reclaim(stream);
    return stream->destroyed && !stream->queue && !stream->work && !stream->touched &&
           !stream->resumed && !markers_running(stream) &&
           !reaper_knows(stream->runtime->reaper, stream);
}

void stream_free(struct stream *stream)
{
    struct session *session = stream->session;

    holds_release(stream, stream->holds_end);
    dependence_free(stream->dependence);
    dependences_end(stream);
    if (stream->list) {
        gpu_list_free(stream->list);
        user_discharge(session->user, CHARGE_STREAMS, 1);
    }
    session->places[stream->index].stream = NULL;
    session->n_streams--;
    stream->runtime->counters.streams--;
    atomic_store_explicit(&stream->timeline->last, stream->accepted, memory_order_relaxed);
    atomic_store_explicit(&stream->timeline->state, TIMELINE_FREE, memory_order_release);
    DL_DELETE2(stream->runtime->streams, stream, prev_stream, next_stream);
    free(stream->holds);
    free(stream->markers);
    free(stream);
    session_settle(session);
}
