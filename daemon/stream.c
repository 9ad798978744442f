/* SPDX-License-Identifier: MIT */
/* daemon/stream.c: commands on their way to the GPU.
 *
 * Guarantees of this file:
 *   - work whose dependency was not submitted is never put on the GPU: it waits here, and turns
 *     into an error when the dependency can no longer come;
 *   - memory, slots and boards that a command uses live until a marker behind it is done;
 *   - `completed` never goes back, and reaches a value only when all work before it is done, and
 *     after the points that work waited for;
 *   - a failed stream runs nothing more, but what is on the GPU drains.
 */
#include "daemon/stream.h"
#include "daemon/dependence.h"
#include "daemon/graph.h"
#include "daemon/launch.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "daemon/watch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SPARE_WORKS_MAX 1024u           /* 100 KiB */

/* ---- what unfinished commands hold --------------------------------------------------------------- */

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
static bool holds_reserve(struct stream *stream, uint64_t more)
{
    uint64_t needed = stream->holds_end - stream->holds_begin + 4 + more;

    return needed <= stream->holds_size || holds_grow(stream, needed);
}

/* Takes over the reference. */
static void hold(struct stream *stream, struct resource *resource)
{
    if (!resource)
        return;
    stream->holds[stream->holds_end++ & (stream->holds_size - 1)] = resource;
    stream->session->n_unfinished++;
    stream->session->user->n_unfinished++;
}

static void holds_release(struct stream *stream, uint64_t end)
{
    stream->session->n_unfinished -= end - stream->holds_begin;
    stream->session->user->n_unfinished -= end - stream->holds_begin;
    while (stream->holds_begin != end)
        resource_unref(stream->holds[stream->holds_begin++ & (stream->holds_size - 1)]);
    session_balance(stream->session);
}

/* ---- markers ------------------------------------------------------------------------------------- */

static struct marker *marker_at(struct stream *stream, uint64_t position)
{
    return &stream->markers[position % STREAM_MARKERS];
}

static uint64_t markers_left(struct stream *stream)
{
    return STREAM_MARKERS -
           (atomic_load_explicit(&stream->head, memory_order_relaxed) - stream->freed);
}

static bool markers_full(struct stream *stream)
{
    /* A command may need one place, the fence behind it another. */
    return markers_left(stream) < 2;
}

static bool markers_running(struct stream *stream)
{
    return stream->freed != atomic_load_explicit(&stream->head, memory_order_relaxed);
}

static void stream_lose(struct stream *stream);

/* Those who depend on us do not know yet: more was lost than they were told, or the device was too,
 * which may come later. */
static bool lost_more(const struct stream *stream)
{
    return atomic_load(&stream->lost_from) < stream->told_from ||
           (atomic_load(&stream->device_lost) && !stream->told_device);
}

/* Give back what belongs to markers that are done, or whose device is lost. */
static void markers_reclaim(struct stream *stream)
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
static void marker_push(struct stream *stream, const struct marker *marker)
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
static void publish(struct stream *stream, uint64_t value)
{
    timeline_publish(stream->timeline, value);
    stream->wake = true;
}

static bool markers_make(struct stream *stream)
{
    if (!stream->markers)
        stream->markers = calloc(STREAM_MARKERS, sizeof(*stream->markers));
    return stream->markers;
}

/* The marker is behind the work on the GPU. Where that is done at once, no thread hop is needed:
 * publish here. Takes what the marker holds from @p work, if any. */
static void marker_take(struct stream *stream, struct marker *marker, struct work *work)
{
    if (work) {
        hold(stream, work->holds[0]);
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

/* ---- points ---------------------------------------------------------------------------------------- */

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

static void point_describe(struct runtime *runtime, uint64_t point, char *text, size_t size)
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
static const char *point_fate(struct runtime *runtime, uint64_t point)
{
    struct board *board = runtime->boards.boards[point_slot(point)];

    if (!board || !board->session)
        return "is gone";
    return point_error(runtime, point) == XPURT_ERROR_PEER_LOST ?
               "has failed, because a process is gone" :
               "has failed";
}

/* ---- blocking ---------------------------------------------------------------------------------------- */

static void block_on_point(struct stream *stream, uint64_t point)
{
    struct session *session = stream->runtime->boards.boards[point_slot(point)]->session;

    stream->blocked = BLOCKED_POINT;
    stream->blocked_point = point;
    stream->blocked_session = session;
    heap_add(&session->places[point_stream(point)].waiters, &stream->waiter, point_value(point));
}

static void block_full(struct stream *stream)
{
    stream->blocked = BLOCKED_FULL;
    atomic_store(&stream->notify, true);
    /* An external stream may be held up by its own client, which we are to listen to then. */
    if (!stream->external)
        session_full(stream->session, true);
    /* The reaper may have passed just before it could see that we want to know. */
    markers_reclaim(stream);
    if (!markers_full(stream))
        stream_resume(stream);
}

static void waiter_remove(struct stream *stream)
{
    if (!stream->blocked_session)
        return;
    heap_remove(&stream->blocked_session->places[point_stream(stream->blocked_point)].waiters,
                &stream->waiter);
    stream->blocked_session = NULL;
}

static void unblock(struct stream *stream)
{
    waiter_remove(stream);
    if (stream->blocked == BLOCKED_FULL && !stream->external)
        session_full(stream->session, false);
    stream->blocked = BLOCKED_NOT;
}

void stream_resume(struct stream *stream)
{
    if (stream->resumed)
        return;
    stream->resumed = true;
    stream->next_resumed = stream->runtime->resumed;
    stream->runtime->resumed = stream;
}

/* Those who wait for a value up to @p value of that timeline go on: they look at it again. */
static void waiters_resume(struct session *session, uint32_t index, uint64_t value)
{
    struct heap_node *first;

    while ((first = session->places[index].waiters) && first->value <= value) {
        struct stream *waiter = HEAP_ENTRY(first, struct stream, waiter);

        waiter_remove(waiter);
        stream_resume(waiter);
    }
}

void stream_waiters_release(struct session *session)
{
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++)
        waiters_resume(session, i, UINT64_MAX);
}

/* ---- running --------------------------------------------------------------------------------------------- */

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
    hold(stream, work->holds[0]);
    hold(stream, work->holds[1]);
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
    hold(stream, work->holds[0]);
    work->holds[0] = NULL;
    while (launch->n_holds && !work->captured)
        hold(stream, launch->holds[--launch->n_holds]);
    return XPURT_SUCCESS;
}

static xpurt_result run_record(struct stream *stream, struct work *work)
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
    waiters_resume(stream->session, stream->index, stream->submitted);
    return XPURT_SUCCESS;
}

/* @p waiter will wait for @p point, which is on its way on the GPU. NULL: no memory. */
static struct dependence *depend(struct stream *waiter, uint64_t point)
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
    if (!result && (!holds_reserve(stream, 0) || !(dependence = depend(stream, point))))
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
    hold(stream, resource_ref(gpu_slot_resource(slot)));
    hold(stream, resource_ref(&board->resource));
    return XPURT_SUCCESS;
}

/* ---- external streams: the client puts on its own list, and tells us ------------------------------------ */

/* It goes on by itself. No later record of it counts; nothing it waits for is to hold it up. */
static void external_fail(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);

    marker_lose(stream, head);
    for (uint64_t i = stream->freed; i != head; i++)
        if (i >= atomic_load(&stream->lost_from) && marker_at(stream, i)->promise)
            gpu_slot_release(marker_at(stream, i)->promise);
}

/* The list signals @p work's slot or waits for it, later than now: it stays until the list is past the
 * next record, or the stream ends. */
static void external_hold(struct stream *stream, struct work *work)
{
    if (!holds_reserve(stream, 0))
        return;
    for (unsigned i = 0; i < 2; i++) {
        hold(stream, work->holds[i]);
        work->holds[i] = NULL;
    }
}

/* There is nothing to wait for: let the list go on. Work that was run holds nothing any more. */
static void external_go_on(struct stream *stream, struct work *work)
{
    if (work->kind == WORK_WAIT && work->wait.promise && work->holds[0])
        gpu_slot_release(work->wait.slot);
    external_hold(stream, work);
}

static xpurt_result external_record(struct stream *stream, struct work *work)
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
    waiters_resume(stream->session, stream->index, stream->submitted);
    return XPURT_SUCCESS;
}

static xpurt_result external_wait_push(struct stream *stream, struct work *work)
{
    uint64_t point = work->wait.point;
    struct board *board = stream->runtime->boards.boards[point_slot(point)];
    struct marker marker = {
        .promise = work->wait.promise ? work->wait.slot : NULL,
        .cause = { .timeline = &board->progress->timelines[point_stream(point)],
                   .value = point_value(point) },
    };

    if (!holds_reserve(stream, 0) || !markers_make(stream) ||
        !(marker.dependence = depend(stream, point)))
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    hold(stream, resource_ref(&board->resource));
    external_hold(stream, work);
    marker.holds_end = stream->holds_covered; /* it says nothing of how far the list is */
    marker_push(stream, &marker);
    return XPURT_SUCCESS;
}

/* ---- running, continued ---------------------------------------------------------------------------------- */

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
        block_on_point(stream, point);
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
    hold(stream, work->holds[0]);
    work->holds[0] = NULL;
}

/* Also on a failed stream: what it has on the GPU goes on. */
static void run_hold(struct stream *stream, struct work *work)
{
    markers_reclaim(stream);
    hold_on(stream, work);
}

/* Run one command; false when it must wait, and the stream is blocked then. */
static bool run(struct stream *stream, struct work *work)
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
            block_full(stream);
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

void work_drop(struct work *work)
{
    resource_unref(work->holds[0]);
    resource_unref(work->holds[1]);
    work->holds[0] = work->holds[1] = NULL;
    if (work->kind == WORK_LAUNCH && !work->captured)
        launch_free(work->launch);
}

/* The stream will not run it. */
static void drop(struct stream *stream, struct work *work)
{
    if (stream->external)
        external_go_on(stream, work);
    else if (work->kind == WORK_HOLD && work->holds[0])
        hold_on(stream, work);          /* what was put on the GPU before goes on */
    work_drop(work);
}

uint64_t work_weight(const struct work *work)
{
    return work->kind == WORK_LAUNCH ? 1 + work->launch->size / 256 : 1;
}

static struct work *queue_pop(struct stream *stream)
{
    struct work *work = stream->queue;

    stream->queue = work->next;
    if (!stream->queue)
        stream->queue_tail = &stream->queue;
    stream->session->n_queued--;
    user_discharge(stream->session->user, CHARGE_QUEUED, work_weight(work));
    return work;
}

/* It could not run: it is the next one again. */
static void queue_unpop(struct stream *stream, struct work *work)
{
    work->next = stream->queue;
    if (!stream->queue)
        stream->queue_tail = &work->next;
    stream->queue = work;
    stream->session->n_queued++;
    user_charge_always(stream->session->user, CHARGE_QUEUED, work_weight(work));
}

static void queue_refuse(struct stream *stream, const struct work *work, bool memory)
{
    struct user *user = stream->session->user;
    struct work dropped = *work;

    drop(stream, &dropped);
    stream->destroyed |= work->kind == WORK_DESTROY;
    if (memory)
        stream_fail(stream, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
    else
        stream_fail(stream, XPURT_ERROR_QUOTA,
                    "limit user-queued: %" PRIu64 " commands of uid %u wait for other streams "
                    "already, %" PRIu64 " may",
                    user->charged[CHARGE_QUEUED], (unsigned)user->uid,
                    charge_limit(user->limits, CHARGE_QUEUED));
}

static void queue_push(struct stream *stream, const struct work *work)
{
    struct user *user = stream->session->user;
    struct work *copy = NULL;
    bool charged = user_charge(user, CHARGE_QUEUED, work_weight(work));

    if (charged)
        copy = stock_take(&stream->runtime->spare_works, sizeof(*copy));
    if (!copy) {
        if (charged)
            user_discharge(user, CHARGE_QUEUED, work_weight(work));
        queue_refuse(stream, work, charged);
        return;
    }
    *copy = *work;
    copy->next = NULL;
    *stream->queue_tail = copy;
    stream->queue_tail = &copy->next;
    stream->session->n_queued++;
}

static void touch(struct stream *stream)
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
            touch(stream);
}

void stream_submit(struct stream *stream, const struct work *submitted)
{
    struct work work = *submitted;

    if (stream->capture && work.kind != WORK_HOLD && work.kind != WORK_DESTROY) {
        graph_take(stream->capture, &work);
        return;
    }
    touch(stream);
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
        drop(stream, &work);
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
    touch(stream);
    unblock(stream);
    while (stream->queue && !stream->blocked) {
        /* Popped first: what runs may fail the stream, which drops the queue. */
        struct work *work = queue_pop(stream);

        if (run(stream, work)) {
            drop(stream, work);
            stock_give(&stream->runtime->spare_works, work, SPARE_WORKS_MAX);
            continue;
        }
        queue_unpop(stream, work);
    }
}

/* ---- end ------------------------------------------------------------------------------------------------- */

static void queue_drop(struct stream *stream)
{
    while (stream->queue) {
        struct work *work = queue_pop(stream);

        if (work->kind == WORK_DESTROY)
            stream->destroyed = true;
        drop(stream, work);
        stock_give(&stream->runtime->spare_works, work, SPARE_WORKS_MAX);
    }
}

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
    unblock(stream);
    queue_drop(stream);
    waiters_resume(stream->session, stream->index, UINT64_MAX);
    touch(stream);
}

/* Everything is done and nobody looks at it. */
static bool stream_drained(struct stream *stream)
{
    markers_reclaim(stream);
    return stream->destroyed && !stream->queue && !stream->work && !stream->touched &&
           !stream->resumed && !markers_running(stream) &&
           !reaper_knows(stream->runtime->reaper, stream);
}

static void stream_free(struct stream *stream)
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

/* Memory may be freed when no place is left: the fence comes when one is, see stream_noticed(). */
static bool fence_fits(struct stream *stream)
{
    if (markers_left(stream))
        return true;
    atomic_store(&stream->notify, true);
    markers_reclaim(stream);            /* the reaper may have passed before it could see that */
    return markers_left(stream);
}

void stream_finish(struct stream *stream)
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

/* What its list has done counts, the rest will not come: it died with the client. */
static void external_close(struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_relaxed);
    uint64_t i = stream->freed;

    while (i != head && (!marker_at(stream, i)->slot ||
                         gpu_slot_done(marker_at(stream, i)->slot) == XPURT_SUCCESS))
        i++;
    marker_lose(stream, i);
}

void stream_close(struct stream *stream)
{
    if (stream->external)
        external_close(stream);
    stream->failed = true;
    stream->destroyed = true;
    unblock(stream);
    queue_drop(stream);
    touch(stream);
}

/* ---- lost work ------------------------------------------------------------------------------------------- */

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
        touch(other);
    }
}

/* Some of what is on the GPU will not come, or does not count. */
static void stream_lose(struct stream *stream)
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

void stream_noticed(struct stream *stream)
{
    markers_reclaim(stream);
    watches_look(stream->session, stream->index);
    if (stream->work)
        touch(stream);
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
