/* SPDX-License-Identifier: MIT */
/* daemon/graph.c: capturing commands, and running them again.
 *
 * Guarantees of this file:
 *   - what is captured was checked as any command, and holds what it uses for as long as the graph
 *     is there or anything launched from it is unfinished;
 *   - launching allocates nothing, and is as fair to others as the commands one by one;
 *   - replacing memory changes the whole graph or nothing of it;
 *   - each captured command is charged, and given back with the graph.
 */
#include "daemon/graph.h"
#include "daemon/launch.h"
#include "daemon/session.h"
#include "daemon/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void graph_free(struct resource *resource)
{
    struct graph *graph = (struct graph *)resource;

    for (uint32_t i = 0; i < graph->n; i++)
        work_drop(&graph->commands[i]);
    user_discharge(graph->user, CHARGE_GRAPH_COMMANDS, graph->charged);
    free(graph->commands);
    free(graph);
}

static struct graph *graph_find(struct session *session, uint32_t id)
{
    struct graph *graph;

    HASH_FIND(hh, session->graphs, &id, sizeof(id), graph);
    return graph;
}

static void graph_remove(struct session *session, struct graph *graph)
{
    session->spent += graph->n;         /* letting go of them takes as long */
    HASH_DEL(session->graphs, graph);
    resource_unref(&graph->resource);
}

/* An empty one, spoiled when the user may have no more; NULL: no memory. */
static struct graph *graph_new(struct user *user, uint32_t id, uint32_t device)
{
    struct graph *graph = calloc(1, sizeof(*graph));

    if (!graph)
        return NULL;
    if (!user_charge(user, CHARGE_GRAPH_COMMANDS, 1)) {
        user_charge_always(user, CHARGE_GRAPH_COMMANDS, 1);
        graph->spoiled = XPURT_ERROR_QUOTA; /* to be told at its end: the stream may go on */
    }
    graph->charged = 1;
    graph->resource = (struct resource){ .refs = 1, .destroy = graph_free };
    graph->id = id;
    graph->device = device;
    graph->user = user;
    return graph;
}

/* ---- capturing -------------------------------------------------------------------------------------- */

void graph_begin(struct session *session, struct stream *stream, uint32_t id)
{
    struct graph *graph;

    if (stream->capture || !id || graph_find(session, id)) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "graph %u cannot be captured: there is one already", id);
        return;
    }
    graph = graph_new(session->user, id, stream->device);
    if (graph)
        HASH_ADD(hh, session->graphs, id, sizeof(graph->id), graph);
    if (!graph || !HASH_ADDED(hh, graph)) {
        if (graph)
            resource_unref(&graph->resource);
        stream_fail(stream, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
        return;
    }
    graph->capturing = true;
    stream->capture = graph;
}

static bool graph_grow(struct graph *graph)
{
    uint32_t size = graph->size ? 2 * graph->size : 16;
    struct work *commands;

    if (graph->n < graph->size)
        return true;
    commands = realloc(graph->commands, size * sizeof(*commands));
    if (!commands)
        return false;
    graph->commands = commands;
    graph->size = size;
    return true;
}

void graph_take(struct graph *graph, const struct work *work)
{
    const uint64_t weight = work_weight(work);

    /* Those that are dropped count too: the client, who knows nothing of that yet, goes on counting. */
    graph->n_records += work->kind == WORK_RECORD;
    if (!graph->spoiled && (graph->n >= graph->user->limits->graph_commands ||
                            !user_charge(graph->user, CHARGE_GRAPH_COMMANDS, weight)))
        graph->spoiled = XPURT_ERROR_QUOTA;
    if (!graph->spoiled && !graph_grow(graph)) {
        user_discharge(graph->user, CHARGE_GRAPH_COMMANDS, weight);
        graph->spoiled = XPURT_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (graph->spoiled) {
        struct work dropped = *work;

        work_drop(&dropped);
        return;
    }
    graph->charged += weight;
    graph->commands[graph->n++] = *work;
}

void graph_abandon(struct session *session, struct stream *stream)
{
    if (!stream->capture)
        return;
    graph_remove(session, stream->capture);
    stream->capture = NULL;
}

/* A stream that has failed dropped commands, or did not check them. */
static xpurt_result capture_result(const struct stream *stream)
{
    if (stream->failed)
        return (xpurt_result)atomic_load(&stream->timeline->status);
    return stream->capture ? stream->capture->spoiled : XPURT_ERROR_INVALID_ARGUMENT;
}

static void end_refuse(struct session *session, struct stream *stream, uint32_t serial,
                       xpurt_result result)
{
    const struct limits *limits = session->runtime->limits;

    if (stream->failed)
        session_error(session, serial, 0, result,
                      "the stream failed while it was captured, or before");
    else if (!stream->capture)
        session_error(session, serial, 0, result, "stream %u is not being captured", stream->index);
    else if (result == XPURT_ERROR_QUOTA)
        session_error(session, serial, 0, result,
                      "limits graph-commands and user-graph-commands: a graph may have %" PRIu64
                      " commands, those of a user %" PRIu64 " in all",
                      limits->graph_commands, limits->user_graph_commands);
    else
        session_error(session, serial, 0, result, "the daemon is out of memory");
}

void graph_end(struct session *session, struct stream *stream, uint32_t serial)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__GraphEnded ended = XPURT__GRAPH_ENDED__INIT;
    struct graph *graph = stream->capture;
    xpurt_result result = capture_result(stream);

    if (result) {
        end_refuse(session, stream, serial, result);
        graph_abandon(session, stream);
        return;
    }
    stream->capture = NULL;
    graph->capturing = false;
    ended.commands = graph->n;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_GRAPH_ENDED;
    reply.graph_ended = &ended;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- launching -------------------------------------------------------------------------------------- */

/* What of a graph is to run; false: the stream failed. */
static bool launch_check(struct session *session, struct stream *stream,
                         const Xpurt__GraphLaunch *launch, struct graph **ret_graph)
{
    struct graph *graph = graph_find(session, launch->graph);
    uint32_t records = 0, waits = 0;

    if (!graph || graph->capturing || launch->count > GRAPH_LAUNCH_MAX ||
        launch->first > graph->n || launch->count > graph->n - launch->first) {
        stream_fail(stream, XPURT_ERROR_INVALID_HANDLE,
                    "there are no %u commands from %u on in graph %u", launch->count, launch->first,
                    launch->graph);
        return false;
    }
    if (stream->capture || graph->device != stream->device) {
        stream_fail(
            stream, XPURT_ERROR_INVALID_DEVICE,
            "graph %u was captured on device %u, and the stream is on device %u or captured "
            "itself",
            graph->id, graph->device, stream->device);
        return false;
    }
    for (uint32_t i = 0; i < launch->count; i++) {
        records += graph->commands[launch->first + i].kind == WORK_RECORD;
        waits += graph->commands[launch->first + i].kind == WORK_WAIT;
    }
    if (launch->n_points != waits || (records && launch->value != stream->accepted + 1) ||
        stream->accepted > POINT_VALUE_MAX - records) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "graph %u: %zu points for %u waits, or records from value %" PRIu64
                    " on where the next one is %" PRIu64,
                    graph->id, launch->n_points, waits, launch->value, stream->accepted + 1);
        return false;
    }
    *ret_graph = graph;
    return true;
}

void graph_launch(struct session *session, struct stream *stream, const Xpurt__GraphLaunch *launch)
{
    const uint64_t *point = launch->points;
    struct graph *graph;

    if (!launch_check(session, stream, launch, &graph))
        return;
    session->spent += launch->count;
    for (uint32_t i = 0; i < launch->count; i++) {
        struct work work = graph->commands[launch->first + i];

        /* The graph holds what the command does. */
        work.holds[0] = resource_ref(&graph->resource);
        work.holds[1] = NULL;
        work.captured = true;
        if (work.kind == WORK_WAIT) {
            work.wait.point = *point++;
        } else if (work.kind == WORK_RECORD) {
            work.record.value = stream->accepted + 1;
            session->runtime->counters.records++;
        }
        stream_submit(stream, &work);
    }
}

/* ---- replacing memory ------------------------------------------------------------------------------- */

/* The same command with references of its own. -ENOMEM. */
static int command_clone(const struct work *work, struct work *ret_work)
{
    struct launch *launch = NULL;

    if (work->kind == WORK_LAUNCH && !(launch = launch_clone(work->launch)))
        return -ENOMEM;
    *ret_work = *work;
    if (launch)
        ret_work->launch = launch;
    for (unsigned i = 0; i < 2; i++)
        if (work->holds[i])
            resource_ref(work->holds[i]);
    return 0;
}

static int command_move(struct work *work, const struct move *move, const char **ret_reason)
{
    switch (work->kind) {
    case WORK_COPY:
    case WORK_FILL:
    case WORK_COPY_ROWS:
    case WORK_FILL_ROWS:
        return transfer_move(work, move, ret_reason);
    case WORK_LAUNCH:
        return launch_move(work->launch, move);
    default:
        return 0;                       /* its memory is a board */
    }
}

/* Fill @p clone with the commands of @p graph, moved; how many uses were. -ENOMEM, -EDQUOT, -EINVAL:
 * *ret_reason says why. */
static int graph_move(struct graph *clone, const struct graph *graph, const struct move *move,
                      const char **ret_reason)
{
    int moved = 0;

    if (!user_charge(clone->user, CHARGE_GRAPH_COMMANDS, graph->charged - 1))
        return -EDQUOT;
    clone->charged = graph->charged;
    clone->commands = malloc((graph->n + 1) * sizeof(*clone->commands));
    if (!clone->commands)
        return -ENOMEM;
    for (; clone->n < graph->n; clone->n++) {
        struct work *work = &clone->commands[clone->n];
        int r = command_clone(&graph->commands[clone->n], work);

        if (r == 0) {
            r = command_move(work, move, ret_reason);
            if (r < 0)
                work_drop(work);
        }
        if (r < 0)
            return r;
        moved += r;
    }
    clone->size = clone->n;
    clone->n_records = graph->n_records;
    return moved;
}

/* Where memory is to come from and go to. Freed device memory has no owner, but its address is still in
 * the graph. */
static xpurt_result move_read(struct session *session, const Xpurt__GraphReplace *replace,
                              struct move *ret_move)
{
    struct resource *ignored;
    void *from, *to;
    xpurt_result result = XPURT_SUCCESS;

    if (!replace->size || !replace->from)
        return XPURT_ERROR_INVALID_ADDRESS;
    if (replace->from->segment)
        result = memory_locate(session, replace->from, replace->size, &from, &ignored);
    else if (replace->from->offset > UINT64_MAX - replace->size)
        result = XPURT_ERROR_INVALID_ADDRESS;
    else
        from = (void *)(uintptr_t)replace->from->offset;
    if (!result)
        result = memory_locate(session, replace->to, replace->size, &to, &ret_move->resource);
    if (result)
        return result;
    ret_move->from = (uintptr_t)from;
    ret_move->to = (uintptr_t)to;
    ret_move->size = replace->size;
    ret_move->on_device = !replace->to->segment;
    return XPURT_SUCCESS;
}

/* Put a moved graph into the place of another one; how many uses were moved. Errors as graph_move(). */
static int replace(struct session *session, struct graph *graph, const struct move *move,
                   const char **ret_reason)
{
    struct graph *clone = graph_new(graph->user, graph->id, graph->device);
    int moved;

    if (!clone)
        return -ENOMEM;
    moved = clone->spoiled ? -EDQUOT : graph_move(clone, graph, move, ret_reason);
    if (moved > 0) {
        /* For a moment there are two of that number. */
        HASH_ADD(hh, session->graphs, id, sizeof(clone->id), clone);
        if (HASH_ADDED(hh, clone)) {
            graph_remove(session, graph);
            return moved;
        }
        moved = -ENOMEM;
    }
    resource_unref(&clone->resource);
    return moved;
}

static void replace_refuse(struct session *session, uint32_t serial, int error, const char *reason)
{
    if (error == -EINVAL)
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT, "%s", reason);
    else if (error == -EDQUOT)
        session_error(session, serial, 0, XPURT_ERROR_QUOTA,
                      "limit user-graph-commands: the graph is there twice for a moment");
    else
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
}

void graph_replace(struct session *session, uint32_t serial, const Xpurt__GraphReplace *message)
{
    struct graph *graph = graph_find(session, message->graph);
    const char *reason = "a kernel takes addresses of device memory only";
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__GraphReplaced replaced = XPURT__GRAPH_REPLACED__INIT;
    struct move move;
    int moved;

    if (!graph || graph->capturing) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE, "there is no graph %u",
                      message->graph);
        return;
    }
    if (move_read(session, message, &move)) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "%" PRIu64 " bytes are not all in one piece of memory of this process",
                      message->size);
        return;
    }
    session->spent += graph->n;
    moved = replace(session, graph, &move, &reason);
    if (moved < 0) {
        replace_refuse(session, serial, moved, reason);
        return;
    }
    replaced.uses = (uint32_t)moved;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_GRAPH_REPLACED;
    reply.graph_replaced = &replaced;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- the end ------------------------------------------------------------------------------------------ */

void graph_destroy(struct session *session, uint32_t id)
{
    struct graph *graph = graph_find(session, id);

    if (graph && !graph->capturing)
        graph_remove(session, graph);
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE, "there is no graph %u", id);
}

void graphs_end(struct session *session)
{
    struct graph *graph, *next;

    for (unsigned i = 0; i < BOARD_TIMELINES; i++)
        if (session->places[i].stream)
            session->places[i].stream->capture = NULL;
    HASH_ITER(hh, session->graphs, graph, next)
        graph_remove(session, graph);
}
