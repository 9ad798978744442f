/* SPDX-License-Identifier: MIT */
/* daemon/stream_external.c: streams of other contexts: the client puts on its own list, and tells us.
 *
 * Guarantees of this file:
 *   - a slot that the list signals or waits for is held until the list is past it, or the stream is
 *     gone, failed streams included;
 *   - a slot that we promised to signal is signalled when its point will not come, too;
 *   - nothing that was recorded after a failure is ever published.
 */
#include "daemon/session.h"
#include "daemon/stream_internal.h"

/* The list signals @p work's slot or waits for it, later than now: it stays until the list is past the
 * next record, or the stream ends. */
static void external_hold(struct stream *stream, struct work *work)
{
    if (!holds_reserve(stream, 0))
        return;
    for (unsigned i = 0; i < 2; i++) {
        holds_add(stream, work->holds[i]);
        work->holds[i] = NULL;
    }
}

/* There is nothing to wait for: let the list go on. Work that was run holds nothing any more. */
void external_go_on(struct stream *stream, struct work *work)
{
    if (work->kind == WORK_WAIT && work->wait.promise && work->holds[0])
        gpu_slot_release(work->wait.slot);
    external_hold(stream, work);
}

xpurt_result external_record(struct stream *stream, struct work *work)
{
    struct marker marker = {
        .slot = work->record.slot,
        .value = stream->failed ? 0 : work->record.value,
        .stamp_board = stream->failed ? NULL : work->record.stamp_board,
        .stamp_cell = work->record.stamp_cell,
    };

    markers_reclaim(stream);
    if (!holds_reserve(stream, 0) || !markers_make(stream))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    work->holds[1] = NULL;              /* the marker's now */
    marker_take(stream, &marker, work);
    stream->holds_covered = stream->holds_end;
    if (stream->failed)
        return XPURT_SUCCESS;

    stream->submitted = work->record.value;
    stream_waiters_resume(stream->session, stream->index, stream->submitted);
    return XPURT_SUCCESS;
}

xpurt_result external_wait_push(struct stream *stream, struct work *work)
{
    uint64_t point = work->wait.point;
    struct board *board = stream->runtime->boards.boards[point_slot(point)];
    struct marker marker = {
        .promise = work->wait.promise ? work->wait.slot : NULL,
        .cause = { .timeline = &board->progress->timelines[point_stream(point)],
                   .value = point_value(point) },
    };

    if (!holds_reserve(stream, 0) || !markers_make(stream) ||
        !(marker.dependence = stream_depend(stream, point)))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    holds_add(stream, resource_ref(&board->resource));
    external_hold(stream, work);
    marker.holds_end = stream->holds_covered; /* it says nothing of how far the list is */
    marker_push(stream, &marker);
    return XPURT_SUCCESS;
}

/* It goes on by itself. No later record of it counts; nothing it waits for is to hold it up. */
void external_fail(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);

    marker_lose(stream, head);
    for (uint64_t i = stream->freed; i != head; i++)
        if (i >= atomic_load(&stream->lost_from) && marker_at(stream, i)->promise)
            gpu_slot_release(marker_at(stream, i)->promise);
}

/* What its list has done counts, the rest will not come: it died with the client. */
void external_close(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);
    uint64_t i = stream->freed;

    while (i != head && (!marker_at(stream, i)->slot ||
                         gpu_slot_done(marker_at(stream, i)->slot) == XPURT_SUCCESS))
        i++;
    marker_lose(stream, i);
}
