/* SPDX-License-Identifier: MIT */
/* client/graph.c: capturing and launching graphs.
 *
 * Guarantees of this file:
 *   - a launch sends all of a graph or, when an event of it cannot be used, nothing;
 *   - an event that a graph records or waits for stays in place until the graph is destroyed;
 *   - other processes see the events of a launch as they see those of single calls: each after its
 *     record was sent.
 */
#include "client/graph.h"

#include "client/arena.h"
#include "client/event.h"
#include "client/place.h"
#include "client/pool.h"
#include "client/result.h"
#include "client/stream.h"
#include "proto/command.h"

#include <stdlib.h>

#define GRAPHS_MAX 65536u               /* those of before a fork or reset included */
#define POINTS_FEW 32u

/* A captured command that names an event. */
struct mark {
    xpurt_event *event;                 /* pinned */
    uint32_t command;                   /* its number */
    bool record;                        /* else a wait */
};

struct xpurt_graph {
    struct pool_object object;
    uint32_t epoch;                     /* of the session it belongs to */
    uint32_t id;                        /* on the wire */
    uint32_t device;
    uint32_t stream;                    /* it is captured on */
    bool capturing;                     /* only that stream knows it */
    uint32_t n;                         /* commands */
    uint32_t n_marks, n_waits;
    struct mark *marks;                 /* in order */
};

_Static_assert(sizeof(struct xpurt_graph) <= POOL_OBJECT_SIZE, "fits its place in the pool");

static struct pool graphs = { .capacity = GRAPHS_MAX };
static uint32_t last_id;

/* ---- life ----------------------------------------------------------------------------------------------- */

static xpurt_result graph_check(const xpurt_graph *graph)
{
    if (!graph)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the graph is null");
    if (pool_mark_of(&graphs, graph) != POOL_LIVE || graph->capturing)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live graph", (const void *)graph);
    if (graph->epoch != session.epoch)
        return error_set(XPURT_ERROR_FORKED, "the graph was captured before fork(): it belongs to "
                                             "the parent process");
    return XPURT_SUCCESS;
}

static void marks_drop(xpurt_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_marks; i++)
        event_unpin(graph->marks[i].event);
    graph->n_marks = graph->n_waits = 0;
}

static void graph_free(xpurt_graph *graph)
{
    marks_drop(graph);
    free(graph->marks);
    pool_give(&graphs, &graph->object);
}

void graph_discard(xpurt_graph *graph)
{
    if (graph)
        graph_free(graph);
}

void graphs_end(enum session_end why)
{
    for (uint32_t place = 0; place < graphs.used; place++) {
        xpurt_graph *graph = (xpurt_graph *)pool_object(&graphs, place);

        if (pool_mark_of(&graphs, graph) != POOL_LIVE)
            continue;
        if (why == SESSION_FORKED)
            graph->n_marks = 0;         /* the pins were the parent's */
        marks_drop(graph);
        if (graph->capturing && why == SESSION_RESET)
            graph_free(graph);          /* its stream is stale: nobody asks for it again */
    }
    if (why == SESSION_RESET)
        pool_outdate(&graphs);
}

/* ---- capturing ------------------------------------------------------------------------------------------ */

static xpurt_result graph_new(xpurt_stream *stream, xpurt_graph **ret_graph)
{
    Xpurt__GraphBegin begin = XPURT__GRAPH_BEGIN__INIT;
    xpurt_graph *graph = pool_take(&graphs);
    xpurt_result r;

    if (!graph)
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for another graph");
    graph->epoch = session.epoch;
    graph->id = ++last_id ? last_id : ++last_id;
    graph->device = stream_device(stream);
    graph->stream = stream_index(stream);
    graph->capturing = true;
    graph->n = graph->n_marks = graph->n_waits = 0;
    graph->marks = NULL;

    begin.stream = graph->stream;
    begin.graph = graph->id;
    r = connection_command(&(Xpurt__Command){ COMMAND(GRAPH_BEGIN), .graph_begin = &begin });
    if (r)
        graph_free(graph);
    else
        *ret_graph = graph;
    return r;
}

xpurt_result xpurt_graph_begin(xpurt_stream *stream)
{
    xpurt_graph *graph = NULL;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    if (stream_native(stream))
        r = error_set(XPURT_ERROR_UNSUPPORTED, "the stream is external: xpurt does not see its "
                                               "commands");
    else
        r = stream_record_all(stream);
    if (r == XPURT_SUCCESS)
        r = graph_new(stream, &graph);
    if (r == XPURT_SUCCESS)
        stream_set_capture(stream, graph);
    session_leave();
    return r;
}

void graph_count(xpurt_graph *graph)
{
    graph->n++;
}

/* Room for one more; grows at powers of two. */
static xpurt_result mark_add(xpurt_graph *graph, xpurt_event *event, bool record)
{
    uint32_t n = graph->n_marks;

    if ((n & (n - 1)) == 0) {
        struct mark *marks = realloc(graph->marks, (n ? 2 * n : 1) * sizeof(*marks));

        if (!marks)
            return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for the graph");
        graph->marks = marks;
    }
    graph->marks[graph->n_marks++] = (struct mark){ event, graph->n, record };
    graph->n_waits += !record;
    event_pin(event);
    return XPURT_SUCCESS;
}

/* The call failed after all. */
static void mark_undo(xpurt_graph *graph)
{
    const struct mark *mark = &graph->marks[--graph->n_marks];

    graph->n_waits -= !mark->record;
    event_unpin(mark->event);
}

static xpurt_result mark_sent(xpurt_graph *graph, xpurt_result result)
{
    if (result)
        mark_undo(graph);
    else
        graph->n++;
    return result;
}

xpurt_result graph_record(xpurt_graph *graph, xpurt_event *event, uint64_t stamp)
{
    xpurt_result r = mark_add(graph, event, true);

    if (r)
        return r;
    return mark_sent(graph,
                     connection_record(graph->stream, graph->n_marks - graph->n_waits, stamp));
}

static bool recorded_before(const xpurt_graph *graph, const xpurt_event *event)
{
    for (uint32_t i = 0; i < graph->n_marks; i++)
        if (graph->marks[i].record && graph->marks[i].event == event)
            return true;
    return false;
}

xpurt_result graph_wait(xpurt_graph *graph, xpurt_event *event)
{
    xpurt_result r;

    if (recorded_before(graph, event))
        return XPURT_SUCCESS;
    r = mark_add(graph, event, false);
    return r ? r : mark_sent(graph, connection_wait(graph->stream, 0));
}

/* The stream goes on without it. The lock is held, and free meanwhile. */
static xpurt_result end(xpurt_graph *graph)
{
    Xpurt__GraphEnd message = XPURT__GRAPH_END__INIT;
    Xpurt__ToDaemon request = { REQUEST(GRAPH_END), .graph_end = &message };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    message.stream = graph->stream;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_GRAPH_ENDED, 0, &reply);
    if (r == XPURT_SUCCESS && reply.message->graph_ended->commands != graph->n)
        r = error_set(XPURT_ERROR_PROTOCOL, "xpurtd captured %u commands instead of %u",
                      reply.message->graph_ended->commands, graph->n);
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_graph_end(xpurt_stream *stream, xpurt_graph **ret_graph)
{
    xpurt_graph *graph;
    uint32_t epoch;
    xpurt_result r;

    if (!ret_graph)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the graph");
    r = stream_enter(stream);
    if (r)
        return r;
    graph = stream_capture(stream);
    if (graph) {
        stream_set_capture(stream, NULL);
        epoch = session.epoch;
        r = end(graph);
        if (epoch != session.epoch)
            r = connection_lost_error(); /* reset by another thread, which took the graph */
        else if (r)
            graph_free(graph);
    } else {
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "the stream is not being captured");
    }
    if (r == XPURT_SUCCESS) {
        graph->capturing = false;
        *ret_graph = graph;
    }
    session_leave();
    return r;
}

/* ---- launching ------------------------------------------------------------------------------------------ */

/* What the waits of a graph wait for now. Looking at one may let go of the lock; what was looked at
 * before may be an older record then, which is as good as if the launch had begun earlier. */
static xpurt_result points_read(const xpurt_graph *graph, xpurt_stream *stream, uint64_t *points)
{
    xpurt_result r = XPURT_SUCCESS;

    for (uint32_t i = 0; i < graph->n_marks && r == XPURT_SUCCESS; i++)
        if (!graph->marks[i].record) {
            *points = event_point(graph->marks[i].event);
            r = stream_wait_check(stream, points++);
        }
    return r;
}

static xpurt_result events_bind(const xpurt_graph *graph)
{
    xpurt_result r = XPURT_SUCCESS;

    for (uint32_t i = 0; i < graph->n_marks && r == XPURT_SUCCESS; i++)
        if (graph->marks[i].record)
            r = event_bind(graph->marks[i].event, graph->device);
    return r;
}

/* A part of a graph, as the daemon takes it: what marks and points belong to it. */
struct part {
    uint32_t first, count;
    const struct mark *marks;
    uint32_t n_marks, n_records;
    bool more;                          /* commands behind the last record */
    uint64_t *points;
};

static struct part part_after(const xpurt_graph *graph, const struct part *before)
{
    struct part part = {
        .first = before->first + before->count,
        .marks = before->marks + before->n_marks,
        .points = before->points + (before->n_marks - before->n_records),
    };
    const struct mark *end = graph->marks + graph->n_marks;

    part.count = graph->n - part.first;
    if (part.count > GRAPH_LAUNCH_MAX)
        part.count = GRAPH_LAUNCH_MAX;
    part.more = part.count != 0;
    for (const struct mark *mark = part.marks;
         mark < end && mark->command < part.first + part.count; mark++) {
        part.n_marks++;
        part.n_records += mark->record;
        if (mark->record)
            part.more = mark->command + 1 < part.first + part.count;
    }
    return part;
}

static xpurt_result part_send(const xpurt_graph *graph, xpurt_stream *stream,
                              const struct part *part)
{
    Xpurt__GraphLaunch launch = XPURT__GRAPH_LAUNCH__INIT;
    uint64_t point = stream_next_point(stream);
    xpurt_result r;

    launch.stream = stream_index(stream);
    launch.graph = graph->id;
    launch.first = part->first;
    launch.count = part->count;
    launch.value = part->n_records ? point_value(point) : 0;
    launch.n_points = part->n_marks - part->n_records;
    launch.points = part->points;
    r = connection_command_large(
        &(Xpurt__Command){ COMMAND(GRAPH_LAUNCH), .graph_launch = &launch });
    if (r)
        return r;
    stream_launched(stream, part->n_records, part->more);
    for (uint32_t i = 0; i < part->n_marks && r == XPURT_SUCCESS; i++)
        if (part->marks[i].record)
            r = connection_publish(event_place(part->marks[i].event).cell, point++);
    return r;
}

/* @p points has room for what all waits wait for. The lock is held, and free meanwhile. */
static xpurt_result launch(const xpurt_graph *graph, xpurt_stream *stream, uint64_t *points)
{
    struct part part = { .marks = graph->marks, .points = points };
    xpurt_result r;

    r = points_read(graph, stream, points);
    if (r == XPURT_SUCCESS)
        r = stream_running(stream);     /* the lock was free */
    if (r == XPURT_SUCCESS)
        r = events_bind(graph);
    while (r == XPURT_SUCCESS && (part = part_after(graph, &part)).count)
        r = part_send(graph, stream, &part);
    return r;
}

static xpurt_result launch_check(const xpurt_graph *graph, xpurt_stream *stream)
{
    xpurt_result r = graph_check(graph);

    if (r)
        return r;
    if (stream_native(stream))
        return error_set(XPURT_ERROR_UNSUPPORTED,
                         "the stream is external: xpurtd cannot put a graph on its list");
    if (stream_device(stream) != graph->device)
        return error_set(XPURT_ERROR_INVALID_DEVICE,
                         "the graph was captured on device %u, the stream is on device %u",
                         graph->device, stream_device(stream));
    return XPURT_SUCCESS;
}

xpurt_result xpurt_graph_launch(xpurt_graph *graph, xpurt_stream *stream)
{
    uint64_t few[POINTS_FEW], *points = few;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    r = launch_check(graph, stream);
    if (r == XPURT_SUCCESS && graph->n_waits > POINTS_FEW) {
        points = malloc(graph->n_waits * sizeof(*points));
        if (!points)
            r = error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for a launch");
    }
    if (r == XPURT_SUCCESS)
        r = launch(graph, stream, points);
    session_leave();
    if (points != few)
        free(points);
    return r;
}

/* ---- the rest ------------------------------------------------------------------------------------------- */

/* Memory that is to be replaced. Device memory that was freed is only a number. */
static xpurt_result replaced_find(const void *from, size_t size, Xpurt__Location *ret_location)
{
    struct place place = { 0 };

    xpurt__location__init(ret_location);
    ret_location->offset = (uintptr_t)from;
    if (place_find(from, size, &place) == XPURT_SUCCESS && place.kind != PLACE_PAGEABLE)
        *ret_location = place.location;
    return from ? XPURT_SUCCESS : error_set(XPURT_ERROR_INVALID_ADDRESS, "a pointer is null");
}

static xpurt_result replacement_find(const void *to, size_t size, struct place *ret_place)
{
    xpurt_result r = to && size ? place_find(to, size, ret_place) :
                                  error_set(XPURT_ERROR_INVALID_ADDRESS, "there are no bytes");

    if (r == XPURT_SUCCESS && ret_place->kind == PLACE_PAGEABLE)
        r = error_set(XPURT_ERROR_INVALID_ADDRESS, "%p is not in device or pinned memory", to);
    return r;
}

static xpurt_result replace(const xpurt_graph *graph, Xpurt__Location *from, Xpurt__Location *to,
                            size_t size, size_t *ret_uses)
{
    Xpurt__GraphReplace message = XPURT__GRAPH_REPLACE__INIT;
    Xpurt__ToDaemon request = { REQUEST(GRAPH_REPLACE), .graph_replace = &message };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    message.graph = graph->id;
    message.from = from;
    message.to = to;
    message.size = size;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_GRAPH_REPLACED, 0, &reply);
    if (r == XPURT_SUCCESS && ret_uses)
        *ret_uses = reply.message->graph_replaced->uses;
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_graph_replace(xpurt_graph *graph, const void *from, void *to, size_t size,
                                 size_t *ret_uses)
{
    Xpurt__Location location;
    struct place target = { 0 };
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    r = graph_check(graph);
    if (r == XPURT_SUCCESS)
        r = replacement_find(to, size, &target);
    if (r == XPURT_SUCCESS)
        r = replaced_find(from, size, &location);
    if (r == XPURT_SUCCESS)
        r = replace(graph, &location, &target.location, size, ret_uses);
    session_leave();
    return r;
}

xpurt_result xpurt_graph_get_size(xpurt_graph *graph, size_t *ret_commands)
{
    xpurt_result r;

    connection_lock();
    r = graph_check(graph);
    if (r == XPURT_SUCCESS && !ret_commands)
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the number");
    if (r == XPURT_SUCCESS)
        *ret_commands = graph->n;
    connection_unlock();
    return r;
}

xpurt_result xpurt_graph_destroy(xpurt_graph *graph)
{
    Xpurt__GraphDestroy destroy = XPURT__GRAPH_DESTROY__INIT;
    xpurt_result r = XPURT_SUCCESS;
    uint32_t mark;

    if (!graph)
        return XPURT_SUCCESS;
    connection_lock();
    mark = pool_mark_of(&graphs, graph);
    if (mark == POOL_FREE || graph->capturing) {
        r = error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a graph", (void *)graph);
    } else {
        if (mark == POOL_LIVE && graph->epoch == session.epoch &&
            connection_state() == CONNECTION_READY) {
            destroy.graph = graph->id;
            (void)connection_command(
                &(Xpurt__Command){ COMMAND(GRAPH_DESTROY), .graph_destroy = &destroy });
        }
        graph_free(graph);
    }
    connection_unlock();
    return r;
}
