/* SPDX-License-Identifier: MIT */
/* daemon/stream_queue.c: commands that cannot go to the GPU yet.
 *
 * Guarantees of this file:
 *   - what is queued keeps its order, and is charged to the user until it is popped;
 *   - a stream that waits for a record runs on when that is there, or can no longer come;
 *   - a client whose stream has too much on the GPU is not read until there is room again.
 */
#include "daemon/launch.h"
#include "daemon/session.h"
#include "daemon/stream_internal.h"
#include "proto/hot.h"

#include <inttypes.h>

/* ---- blocking -------------------------------------------------------------------------------------- */

void stream_block_on_point(struct stream *stream, uint64_t point)
{
    struct session *session = stream->runtime->boards.boards[point_slot(point)]->session;

    stream->blocked = BLOCKED_POINT;
    stream->blocked_point = point;
    stream->blocked_session = session;
    heap_add(&session->places[point_stream(point)].waiters, &stream->waiter, point_value(point));
}

void stream_block_full(struct stream *stream)
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

void stream_unblock(struct stream *stream)
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
HOT void stream_waiters_resume(struct session *session, uint32_t index, uint64_t value)
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
        stream_waiters_resume(session, i, UINT64_MAX);
}

/* ---- the queue ------------------------------------------------------------------------------------- */

uint64_t work_weight(const struct work *work)
{
    return work->kind == WORK_LAUNCH ? 1 + work->launch->size / 256 : 1;
}

struct work *queue_pop(struct stream *stream)
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
void queue_unpop(struct stream *stream, struct work *work)
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

    stream_drop(stream, &dropped);
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

void queue_push(struct stream *stream, const struct work *work)
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

void queue_drop(struct stream *stream)
{
    while (stream->queue) {
        struct work *work = queue_pop(stream);

        if (work->kind == WORK_DESTROY)
            stream->destroyed = true;
        stream_drop(stream, work);
        stock_give(&stream->runtime->spare_works, work, SPARE_WORKS_MAX);
    }
}
