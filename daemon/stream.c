/* SPDX-License-Identifier: MIT */
/* daemon/stream.c: commands on their way to the GPU.
 *
 * Guarantees of this file:
 *   - work whose dependency was not submitted is never put on the GPU: it waits in the queue, and
 *     turns into an error when the dependency can no longer come;
 *   - memory, slots and boards that a command uses live until a marker behind it is done;
 *   - `completed` never goes back, and reaches a value only when all work before it is done, and
 *     after the points that work waited for;
 *   - the way of a record, from stream_submit() to publish(), is all in this file.
 */
#include "daemon/graph.h"
#include "daemon/launch.h"
#include "daemon/log.h"
#include "daemon/point.h"
#include "daemon/session.h"
#include "daemon/stream_internal.h"
#include "daemon/watch.h"
#include "proto/hot.h"

#include <stdlib.h>
#include <utlist.h>

/* ---- what unfinished commands hold ----------------------------------------------------------------- */

static bool holds_grow(struct stream *stream, uint64_t needed)
{
    uint64_t size = stream->holds_size ? 2 * stream->holds_size : 8;
    struct resource **holds;

    while (size < needed)
        size *= 2;
    holds = malloc(size * sizeof(*holds));
    if (!holds)
        return false;
    for (uint64_t i = stream->holds_begin; i != stream->holds_end; i++)
        holds[i & (size - 1)] = stream->holds[i & (stream->holds_size - 1)];
    free(stream->holds);
    stream->holds = holds;
    stream->holds_size = size;
    return true;
}

/* Room for what one command and its markers hold at most, and @p more. */
bool holds_reserve(struct stream *stream, uint64_t more)
{
    uint64_t needed = stream->holds_end - stream->holds_begin + 4 + more;

    return needed <= stream->holds_size || holds_grow(stream, needed);
}

/* Takes over the reference. */
void holds_add(struct stream *stream, struct resource *resource)
{
    if (!resource)
        return;
    stream->holds[stream->holds_end++ & (stream->holds_size - 1)] = resource;
    stream->session->n_unfinished++;
    stream->session->user->n_unfinished++;
}

void holds_release(struct stream *stream, uint64_t end)
{
    stream->session->n_unfinished -= end - stream->holds_begin;
    stream->session->user->n_unfinished -= end - stream->holds_begin;
    while (stream->holds_begin != end)
        resource_unref(stream->holds[stream->holds_begin++ & (stream->holds_size - 1)]);
    session_balance(stream->session);
}

/* ---- markers --------------------------------------------------------------------------------------- */

/* Those who depend on us do not know yet: more was lost than they were told, or the device was too,
 * which may come later. */
static bool lost_more(const struct stream *stream)
{
    return atomic_load(&stream->lost_from) < stream->told_from ||
           (atomic_load(&stream->device_lost) && !stream->told_device);
}

/* Give back what belongs to markers that are done, or whose device is lost. */
HOT void markers_reclaim(struct stream *stream)
{
    uint64_t done = atomic_load(&stream->done);

    /* Before the slots go: others may wait for them. */
    if (stream->freed != done && lost_more(stream))
        stream_lose(stream);
    for (; stream->freed != done; stream->freed++) {
        struct marker *marker = marker_at(stream, stream->freed);

        if (marker->slot)
            resource_unref(gpu_slot_resource(marker->slot));
        dependence_free(marker->dependence);
        holds_release(stream, marker->holds_end);
    }
}

/* Takes over the reference to the slot, if there is one. */
void marker_push(struct stream *stream, const struct marker *marker)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);

    *marker_at(stream, head) = *marker;
    /* Somebody's memory goes back with it: do not leave that to the stream's next command. */
    if (stream->holds_begin != stream->holds_end && !stream->external)
        atomic_store(&stream->notify, true);
    atomic_store(&stream->head, head + 1);
    reaper_watch(stream->runtime->reaper, stream);
}

/* The stream is idle and has reached @p value. */
HOT static void publish(struct stream *stream, uint64_t value)
{
    timeline_publish(stream->timeline, value);
    stream->wake = true;
}

bool markers_make(struct stream *stream)
{
    if (!stream->markers)
        stream->markers = calloc(STREAM_MARKERS, sizeof(*stream->markers));
    return stream->markers;
}

/* The marker is behind the work on the GPU. Where that is done at once, no thread hop is needed:
 * publish here. Takes what the marker holds from @p work, if any. */
void marker_take(struct stream *stream, struct marker *marker, struct work *work)
{
    if (work) {
        holds_add(stream, work->holds[0]);
        work->holds[0] = NULL;
    }
    marker->holds_end = stream->holds_end;

    if (markers_running(stream) || gpu_slot_done(marker->slot) != XPURT_SUCCESS ||
        !cause_seen(&marker->cause) || stream_lost(stream)) {
        marker_push(stream, marker);
        return;
    }
    if (marker->stamp_board)
        board_stamp(marker->stamp_board, marker->stamp_cell,
                    point_pack(stream->slot, stream->index, marker->value),
                    gpu_slot_nanoseconds(marker->slot, stream->list));
    if (marker->value)
        publish(stream, marker->value);
    dependence_free(marker->dependence);
    resource_unref(gpu_slot_resource(marker->slot));
    holds_release(stream, stream->holds_end);
}

/* Put a marker behind the work on the GPU. Takes what the marker holds from @p work, if any. */
static xpurt_result marker_append(struct stream *stream, struct marker *marker, struct work *work)
{
    xpurt_result result;

    if (!holds_reserve(stream, 0) || !markers_make(stream))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    result = gpu_slot_new(stream->session->user->context, &marker->slot);
    if (result)
        return result;
    result = gpu_list_mark(stream->list, marker->slot, marker->stamp_board);
    if (result) {
        resource_unref(gpu_slot_resource(marker->slot));
        return result;
    }
    stream->runtime->counters.markers++;
    stream->work = false;
    marker->cause = stream->cause;
    stream->cause.timeline = NULL;
    marker->dependence = stream->dependence;
    stream->dependence = NULL;
    marker_take(stream, marker, work);
    return XPURT_SUCCESS;
}

/* ---- running --------------------------------------------------------------------------------------- */

static xpurt_result append_copy(struct gpu_list *list, const struct work *work)
{
    switch (work->kind) {
    case WORK_COPY:
        return gpu_list_copy(list, work->copy.to, work->copy.from, work->copy.size);
    case WORK_FILL:
        return gpu_list_fill(list, work->fill.to, work->fill.pattern, work->fill.width,
                             work->fill.size);
    case WORK_COPY_ROWS:
        return gpu_list_copy_rows(list, &work->copy_rows.to, &work->copy_rows.from,
                                  work->copy_rows.width, work->copy_rows.height);
    default:
        return gpu_list_fill_rows(list, &work->fill_rows.to, work->fill_rows.pattern,
                                  work->fill_rows.pattern_width, work->fill_rows.width,
                                  work->fill_rows.height);
    }
}

static xpurt_result run_copy(struct stream *stream, struct work *work)
{
    xpurt_result result;

    if (!holds_reserve(stream, 0))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    result = append_copy(stream->list, work);
    if (result && work->kind != WORK_FILL_ROWS) /* which may have failed half way */
        return result;

    stream->work = true;
    holds_add(stream, work->holds[0]);
    holds_add(stream, work->holds[1]);
    work->holds[0] = work->holds[1] = NULL;
    return result;
}

static xpurt_result run_launch(struct stream *stream, struct work *work)
{
    struct launch *launch = work->launch;
    xpurt_result result;

    if (!holds_reserve(stream, launch->n_holds))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    result = gpu_list_launch(stream->list, launch->kernel, launch->groups, launch->group_size,
                             launch->arguments, launch->n_arguments);
    if (result)
        return result;

    stream->work = true;
    holds_add(stream, work->holds[0]);
    work->holds[0] = NULL;
    while (launch->n_holds && !work->captured)
        holds_add(stream, launch->holds[--launch->n_holds]);
    return XPURT_SUCCESS;
}

HOT static xpurt_result run_record(struct stream *stream, struct work *work)
{
    struct marker marker = {
        .value = work->record.value,
        .stamp_board = work->record.stamp_board,
        .stamp_cell = work->record.stamp_cell,
    };
    xpurt_result result = XPURT_SUCCESS;

    markers_reclaim(stream);
    if (stream->failed)                 /* we found out just now */
        return XPURT_SUCCESS;
    if (stream->work || marker.stamp_board) {
        result = marker_append(stream, &marker, work);
    } else if (markers_running(stream)) {
        /* Nothing came between: the last marker tells for this record too. */
        uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);

        marker.slot = marker_at(stream, head - 1)->slot;
        marker.holds_end = stream->holds_end;
        resource_ref(gpu_slot_resource(marker.slot));
        marker_push(stream, &marker);
    } else {
        publish(stream, marker.value);
    }
    if (result)
        return result;

    stream->submitted = work->record.value;
    stream_waiters_resume(stream->session, stream->index, stream->submitted);
    return XPURT_SUCCESS;
}

/* @p waiter will wait for @p point, which is on its way on the GPU. NULL: no memory. */
struct dependence *stream_depend(struct stream *waiter, uint64_t point)
{
    const struct board *board = waiter->runtime->boards.boards[point_slot(point)];

    return dependence_new(waiter, atomic_load_explicit(&waiter->head, memory_order_relaxed),
                          board->session->places[point_stream(point)].stream, point_value(point));
}

/* Let the GPU hold back the stream's later commands until @p slot, which tells for @p point. */
static xpurt_result run_gpu_wait(struct stream *stream, uint64_t point, struct gpu_slot *slot)
{
    struct board *board = stream->runtime->boards.boards[point_slot(point)];
    struct dependence *dependence = NULL;
    xpurt_result result = XPURT_SUCCESS;

    /* A marker remembers one cause: the one before gets a marker of its own. */
    if (stream->cause.timeline) {
        struct marker marker = { .value = 0 };

        result = marker_append(stream, &marker, NULL);
    }
    if (!result && (!holds_reserve(stream, 0) || !(dependence = stream_depend(stream, point))))
        result = XPURT_ERROR_OUT_OF_HOST_MEMORY;
    if (!result)
        result = gpu_list_wait(stream->list, slot);
    if (result) {
        dependence_free(dependence);
        return result;
    }

    stream->work = true;
    stream->dependence = dependence;
    stream->cause.timeline = &board->progress->timelines[point_stream(point)];
    stream->cause.value = point_value(point);
    holds_add(stream, resource_ref(gpu_slot_resource(slot)));
    holds_add(stream, resource_ref(&board->resource));
    return XPURT_SUCCESS;
}

/* XPURT_NOT_READY: blocked. */
static xpurt_result run_wait(struct stream *stream, struct work *work)
{
    uint64_t point = work->wait.point;
    struct gpu_slot *slot = NULL;
    char text[64];

    switch (point_look(stream->runtime, stream->session->user, point, &slot)) {
    case POINT_REACHED:
        if (stream->external)
            external_go_on(stream, work);
        return XPURT_SUCCESS;
    case POINT_RUNNING:
        return stream->external ? external_wait_push(stream, work) :
                                  run_gpu_wait(stream, point, slot);
    case POINT_UNSUBMITTED:
        if (point_slot(point) == stream->slot && point_stream(point) == stream->index) {
            stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT, "waits for its own future");
            return XPURT_SUCCESS;
        }
        stream_block_on_point(stream, point);
        return XPURT_NOT_READY;
    case POINT_LOST:
        point_describe(stream->runtime, point, text, sizeof(text));
        stream_fail(stream, point_error(stream->runtime, point),
                    "what it waits for will not come: %s %s", text,
                    point_fate(stream->runtime, point));
        return XPURT_SUCCESS;
    case POINT_REFUSED:
        if (stream->runtime->boards.boards[point_slot(point)])
            stream_fail(stream, XPURT_ERROR_PERMISSION, "waits for a point of another user");
        else
            stream_fail(stream, XPURT_ERROR_INVALID_HANDLE, "waits for a point of no process");
        return XPURT_SUCCESS;
    }
    return XPURT_SUCCESS;
}

/* Until what the stream has on the GPU now is done. */
static void hold_on(struct stream *stream, struct work *work)
{
    if (!stream->work && !markers_running(stream) && !stream->external)
        return;
    if (!holds_reserve(stream, 0)) {
        stream_fail(stream, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
        return;
    }
    stream->work = !stream->external;   /* a marker will tell; of an external one the next record */
    holds_add(stream, work->holds[0]);
    work->holds[0] = NULL;
}

/* Also on a failed stream: what it has on the GPU goes on. */
static void run_hold(struct stream *stream, struct work *work)
{
    markers_reclaim(stream);
    hold_on(stream, work);
}

/* Run one command; false when it must wait, and the stream is blocked then. */
HOT static bool run(struct stream *stream, struct work *work)
{
    xpurt_result result = XPURT_SUCCESS;

    if (work->kind == WORK_DESTROY) {
        stream->destroyed = true;
        return true;
    }
    if (work->kind == WORK_HOLD) {
        run_hold(stream, work);
        return true;
    }
    if (stream->failed && !stream->external)
        return true;

    if (markers_full(stream)) {
        markers_reclaim(stream);
        if (stream->failed && !stream->external) /* we found out just now */
            return true;
        if (markers_full(stream)) {
            stream_block_full(stream);
            return false;
        }
    }

    switch (work->kind) {
    case WORK_COPY:
    case WORK_FILL:
    case WORK_COPY_ROWS:
    case WORK_FILL_ROWS:
        result = run_copy(stream, work);
        break;
    case WORK_LAUNCH:
        result = run_launch(stream, work);
        break;
    case WORK_RECORD:
        result = stream->external ? external_record(stream, work) : run_record(stream, work);
        break;
    case WORK_WAIT:
        if (!stream->failed)
            result = run_wait(stream, work);
        break;
    case WORK_HOLD:
    case WORK_DESTROY:
        break;
    }
    if (result == XPURT_NOT_READY)
        return false;
    if (result)
        stream_fail(stream, result, "%s",
                    result == XPURT_ERROR_OUT_OF_HOST_MEMORY ?
                        "the daemon or its driver is out of memory" :
                        gpu_error());
    return true;
}

HOT void work_drop(struct work *work)
{
    resource_unref(work->holds[0]);
    resource_unref(work->holds[1]);
    work->holds[0] = work->holds[1] = NULL;
    if (work->kind == WORK_LAUNCH && !work->captured)
        launch_free(work->launch);
}

/* The stream will not run it. */
HOT void stream_drop(struct stream *stream, struct work *work)
{
    if (stream->external)
        external_go_on(stream, work);
    else if (work->kind == WORK_HOLD && work->holds[0])
        hold_on(stream, work);          /* what was put on the GPU before goes on */
    work_drop(work);
}

void stream_touch(struct stream *stream)
{
    if (stream->touched)
        return;
    stream->touched = true;
    stream->next_touched = stream->runtime->touched;
    stream->runtime->touched = stream;
}

void streams_touch(struct runtime *runtime)
{
    struct stream *stream;

    DL_FOREACH2(runtime->streams, stream, next_stream)
        if (stream->work)
            stream_touch(stream);
}

HOT void stream_submit(struct stream *stream, const struct work *submitted)
{
    struct work work = *submitted;

    if (stream->capture && work.kind != WORK_HOLD && work.kind != WORK_DESTROY) {
        graph_take(stream->capture, &work);
        return;
    }
    stream_touch(stream);
    if (work.kind == WORK_RECORD) {
        struct board *board = stream->session->board;

        stream->accepted = work.record.value;
        if (board->last < stream->accepted)
            board->last = stream->accepted;
    }
    if (work.kind == WORK_DESTROY)
        stream->closing = true;
    if (stream->queue || !run(stream, &work))
        queue_push(stream, &work);
    else
        stream_drop(stream, &work);
}

void stream_hold(struct stream *stream, struct resource *resource)
{
    struct work work = { .kind = WORK_HOLD, .holds = { resource_ref(resource) } };

    stream_submit(stream, &work);
}

void stream_reclaim(struct stream *stream)
{
    markers_reclaim(stream);
}

void stream_run(struct stream *stream)
{
    stream_touch(stream);
    stream_unblock(stream);
    while (stream->queue && !stream->blocked) {
        /* Popped first: what runs may fail the stream, which drops the queue. */
        struct work *work = queue_pop(stream);

        if (run(stream, work)) {
            stream_drop(stream, work);
            stock_give(&stream->runtime->spare_works, work, SPARE_WORKS_MAX);
            continue;
        }
        queue_unpop(stream, work);
    }
}

/* ---- the end of a round ---------------------------------------------------------------------------- */

/* Memory may be freed when no place is left: the fence comes when one is, see stream_noticed(). */
static bool fence_fits(struct stream *stream)
{
    if (markers_left(stream))
        return true;
    atomic_store(&stream->notify, true);
    markers_reclaim(stream);            /* the reaper may have passed before it could see that */
    return markers_left(stream);
}

HOT void stream_finish(struct stream *stream)
{
    if (lost_more(stream))
        stream_lose(stream);
    if (stream->work && fence_fits(stream)) {
        struct marker fence = { .value = 0 };
        xpurt_result result = marker_append(stream, &fence, NULL);

        if (result) {
            /* Until a later try succeeds nothing tells when the work is done: it stays held. The
             * stream's client may be gone, so that nothing else would bring that try. */
            if (!stream->failed)
                log_error("cannot put a marker on a stream: %s", gpu_error());
            stream_fail(stream, result, "%s", gpu_error());
            stream->work = result != XPURT_ERROR_DEVICE_LOST;
            if (stream->work)
                runtime_retry(stream->runtime);
        }
    }
    if (stream->wake) {
        stream->wake = false;
        stream->runtime->counters.wakes++;
        if (timeline_wake(stream->timeline, stream->mark))
            stream->session->woke = true; /* near us, maybe: see on_settled() */
    }
    watches_look(stream->session, stream->index);
    if (!stream->destroyed)
        return;
    atomic_store(&stream->notify, true);
    if (stream_drained(stream))
        stream_free(stream);
}

void stream_noticed(struct stream *stream)
{
    markers_reclaim(stream);
    watches_look(stream->session, stream->index);
    if (stream->work)
        stream_touch(stream);
    if (stream->holds_begin == stream->holds_end && !stream->work && !stream->destroyed &&
        stream->blocked != BLOCKED_FULL && !stream->session->places[stream->index].watches)
        atomic_store(&stream->notify, false);
    if (stream->blocked == BLOCKED_FULL && !markers_full(stream))
        stream_resume(stream);
    if (stream_drained(stream))
        stream_free(stream);
}

void stream_watched(struct stream *stream)
{
    atomic_store(&stream->notify, true);
    /* The reaper stores `done`, then loads `notify`: it has seen ours, or we see its progress. */
    (void)atomic_load(&stream->done);
}
