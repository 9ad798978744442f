/* SPDX-License-Identifier: MIT */
/* client/stream.c: streams and their timelines.
 *
 * Guarantees of this file:
 *   - values of a timeline only grow, also from one stream on it to the next;
 *   - a timeline gets a new stream only when the daemon is done with the last one;
 *   - a stream is never called done while a command is neither recorded nor complete: what was
 *     sent since the last record gets one before anybody looks.
 */
#include "client/stream.h"

#include "client/arena.h"
#include "client/companion.h"
#include "client/device.h"
#include "client/event.h"
#include "client/external.h"
#include "client/graph.h"
#include "client/magazine.h"
#include "client/pool.h"
#include "client/result.h"
#include "client/session.h"
#include "client/table.h"
#include "client/wait.h"
#include "proto/hot.h"

#include <xpurt/device.h>

#include <string.h>

#define STREAMS_MAX 65536u              /* streams of before a fork or reset included */
#define DRAIN_TRIES 5000u               /* of a millisecond, when every timeline is in use */
#define DRAIN_SLICE_NS 1000000u
#define PUBLISH_NS 50000000u            /* the daemon sees what is done on a list within that */

struct xpurt_stream {
    struct pool_object object;
    uint32_t epoch;                     /* of the session it belongs to */
    uint32_t index;                     /* of its timeline */
    uint32_t device;
    int32_t priority;
    uint64_t id;                        /* see xpurt_stream_get_id() */
    _Atomic uint64_t point;             /* of the last record; the stream's beginning before it */
    _Atomic bool dirty;                 /* commands were sent since */
    bool recorded;
    struct external *external;          /* NULL: the daemon runs it */
    xpurt_graph *capture;               /* NULL: its commands are run */
};

/* A timeline whose stream was destroyed; free again when the point is reached. */
struct draining {
    uint64_t point;
    uint32_t device;
};

_Static_assert(sizeof(struct xpurt_stream) <= POOL_OBJECT_SIZE, "fits its place in the pool");

static struct pool streams = { .capacity = STREAMS_MAX };
static uint64_t serial;                 /* streams ever made */

static struct {
    uint32_t used;                      /* timelines ever used by this session */
    uint32_t n_draining;
} timelines;

static TABLE struct xpurt_stream *live_streams[BOARD_TIMELINES];
static TABLE struct draining drainings[BOARD_TIMELINES]; /* oldest first */

void streams_end(enum session_end why)
{
    memset(live_streams, 0, timelines.used * sizeof(live_streams[0]));
    timelines.used = timelines.n_draining = 0;
    if (why == SESSION_RESET)
        pool_outdate(&streams);
}

/* ---- what others need ------------------------------------------------------------------------ */

HOT xpurt_result stream_check(xpurt_stream *stream)
{
    if (!stream)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the stream is null");
    if (pool_mark_of(&streams, stream) != POOL_LIVE)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live stream", (void *)stream);
    if (stream->epoch != session.epoch)
        return error_set(XPURT_ERROR_FORKED, "the stream was made before fork(): it belongs to the "
                                             "parent process");
    return XPURT_SUCCESS;
}

HOT xpurt_result stream_enter(xpurt_stream *stream)
{
    xpurt_result r = stream_check(stream);

    if (r == XPURT_SUCCESS)
        r = session_enter();
    if (r)
        return r;
    r = session_admit();
    if (r)
        session_leave();
    return r;
}

HOT xpurt_graph *stream_capture(const xpurt_stream *stream)
{
    return stream->capture;
}

void stream_set_capture(xpurt_stream *stream, xpurt_graph *graph)
{
    stream->capture = graph;
}

xpurt_result stream_running(const xpurt_stream *stream)
{
    if (!stream->capture)
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_UNSUPPORTED,
                     "the stream is being captured: this cannot be part of a graph");
}

xpurt_result stream_enter_running(xpurt_stream *stream)
{
    xpurt_result r = stream_enter(stream);

    if (r)
        return r;
    r = stream_running(stream);
    if (r)
        session_leave();
    return r;
}

uint32_t stream_index(const xpurt_stream *stream)
{
    return stream->index;
}

HOT uint32_t stream_device(const xpurt_stream *stream)
{
    return stream->device;
}

void *stream_native(const xpurt_stream *stream)
{
    return stream->external ? stream->external->native : NULL;
}

uint64_t stream_id(const xpurt_stream *stream)
{
    return stream->id;
}

xpurt_stream *stream_find(uint64_t id)
{
    xpurt_stream *stream = (xpurt_stream *)pool_object(&streams, stream_id_place(id));

    return stream && pool_mark_of(&streams, stream) == POOL_LIVE &&
                   stream->epoch == session.epoch && stream->id == id ?
               stream :
               NULL;
}

/* The daemon runs the stream, and has something to run. */
static xpurt_result stream_touch(xpurt_stream *stream)
{
    if (stream->external)
        return error_set(XPURT_ERROR_UNSUPPORTED,
                         "the stream is external: put this on its command list yourself");
    if (!stream->capture)
        atomic_store_explicit(&stream->dirty, true, memory_order_relaxed);
    return XPURT_SUCCESS;
}

static xpurt_result stream_sent(xpurt_stream *stream, xpurt_result result)
{
    if (result == XPURT_SUCCESS && stream->capture)
        graph_count(stream->capture);
    return result;
}

xpurt_result stream_command(xpurt_stream *stream, const Xpurt__Command *command)
{
    xpurt_result r = stream_touch(stream);

    return r ? r : stream_sent(stream, connection_command(command));
}

xpurt_result stream_command_large(xpurt_stream *stream, const Xpurt__Command *command)
{
    xpurt_result r = stream_touch(stream);

    return r ? r : stream_sent(stream, connection_command_large(command));
}

uint64_t stream_next_point(const xpurt_stream *stream)
{
    return atomic_load_explicit(&stream->point, memory_order_relaxed) + 1;
}

void stream_launched(xpurt_stream *stream, uint32_t records, bool more)
{
    uint64_t point = atomic_load_explicit(&stream->point, memory_order_relaxed);

    /* Dirty first: who looks without the lock must not take the launch for covered. */
    if (more)
        atomic_store_explicit(&stream->dirty, true, memory_order_relaxed);
    atomic_store_explicit(&stream->point, point + records, memory_order_release);
    if (records && !more)
        atomic_store_explicit(&stream->dirty, false, memory_order_release);
    stream->recorded |= records != 0;
}

HOT xpurt_result stream_record(xpurt_stream *stream, uint64_t stamp, uint64_t *ret_point)
{
    struct native_use use;
    uint64_t point;
    xpurt_result r;

    if (stream->external) {
        r = native_claim(&use);         /* the lock is free meanwhile */
        if (r)
            return r;
    }
    point = atomic_load_explicit(&stream->point, memory_order_relaxed) + 1;
    r = stream->external ? external_record(stream->external, &use, point, stamp) :
                           connection_record(stream->index, point_value(point), stamp);
    if (r)
        return r;

    atomic_store_explicit(&stream->point, point, memory_order_release);
    atomic_store_explicit(&stream->dirty, false, memory_order_release);
    stream->recorded = true;
    *ret_point = point;
    return XPURT_SUCCESS;
}

/* Whether there may be commands that its point does not cover. */
static bool stream_dirty(xpurt_stream *stream)
{
    return stream->external || atomic_load_explicit(&stream->dirty, memory_order_acquire);
}

xpurt_result stream_cover(xpurt_stream *stream, uint64_t *ret_point)
{
    if (stream_dirty(stream))
        return stream_record(stream, 0, ret_point);
    *ret_point = atomic_load_explicit(&stream->point, memory_order_acquire);
    return XPURT_SUCCESS;
}

xpurt_result stream_record_all(xpurt_stream *stream)
{
    uint64_t point;

    return stream->recorded && !stream_dirty(stream) ? XPURT_SUCCESS :
                                                       stream_record(stream, 0, &point);
}

/* stream_cover() with everything sent; takes the lock only where there is something to do. */
static xpurt_result stream_settle(xpurt_stream *stream, uint64_t *ret_point)
{
    xpurt_result r;

    r = stream_check(stream);
    if (r == XPURT_SUCCESS)
        r = stream_running(stream);
    if (r)
        return r;
    if (!stream_dirty(stream) &&
        !atomic_load_explicit(&connection_collected, memory_order_relaxed)) {
        *ret_point = atomic_load_explicit(&stream->point, memory_order_acquire);
        return XPURT_SUCCESS;
    }

    r = session_enter();
    if (r)
        return r;
    r = stream_cover(stream, ret_point);
    if (r == XPURT_SUCCESS)
        r = connection_flush();
    session_leave();
    return r;
}

xpurt_result stream_point_of(uint32_t index, uint64_t id, uint64_t *ret_point)
{
    xpurt_stream *stream = live_streams[index];

    *ret_point = 0;
    if (stream && stream->id == id)
        return stream_cover(stream, ret_point);
    for (uint32_t i = 0; i < timelines.n_draining; i++)
        if (point_stream(drainings[i].point) == index)
            *ret_point = drainings[i].point;
    return XPURT_SUCCESS;               /* a timeline gets a new stream when the last is done */
}

bool stream_point_over(uint64_t point)
{
    const struct board_timeline *timeline = arena_timeline(point);

    return !point || arena_reached(point) ||
           (atomic_load_explicit(&timeline->status, memory_order_acquire) &&
            atomic_load_explicit(&timeline->state, memory_order_acquire) == TIMELINE_FREE);
}

/* ---- creating and destroying ------------------------------------------------------------------ */

/* The daemon has seen the stream's creation and its end: the point was recorded in between. */
static bool drained(const struct draining *draining)
{
    const struct board_timeline *timeline = arena_timeline(draining->point);

    return !companion_exists(point_stream(draining->point)) &&
           (arena_reached(draining->point) ||
            atomic_load_explicit(&timeline->status, memory_order_acquire)) &&
           atomic_load_explicit(&timeline->state, memory_order_acquire) == TIMELINE_FREE;
}

static bool timeline_reuse(uint32_t *ret_index)
{
    for (uint32_t i = 0; i < timelines.n_draining; i++) {
        struct draining *draining = &drainings[i];

        if (!drained(draining))
            continue;
        *ret_index = point_stream(draining->point);
        timelines.n_draining--;
        memmove(draining, draining + 1, (timelines.n_draining - i) * sizeof(*draining));
        return true;
    }
    return false;
}

static xpurt_result timeline_take(uint32_t *ret_index)
{
    for (unsigned tries = 0; tries < DRAIN_TRIES; tries++) {
        const struct board_timeline *oldest;
        uint64_t point;
        uint32_t wake;
        xpurt_result r;

        if (timelines.used < BOARD_TIMELINES) {
            *ret_index = timelines.used++;
            return XPURT_SUCCESS;
        }
        if (timeline_reuse(ret_index))
            return XPURT_SUCCESS;
        if (!timelines.n_draining)
            break;

        r = connection_flush();
        if (r)
            return r;
        point = drainings[0].point;
        oldest = arena_timeline(point);
        connection_unlock();
        mark_set(arena_mark(point), MARK_SLEEPS);
        wake = atomic_load(&oldest->wake);
        /* Also where it is reached: the daemon may not have seen the stream's end. */
        if (mark_there(arena_mark(point), MARK_SLEEPS))
            board_sleep(&oldest->wake, wake, DRAIN_SLICE_NS);
        connection_lock();
    }
    return error_set(XPURT_ERROR_QUOTA,
                     "a process has at most %u streams at a time, those that "
                     "still have work after their end included",
                     BOARD_TIMELINES);
}

/* The daemon clears the error of a timeline's last stream when it makes the new one: wait for an
 * answer that comes after that, so that nobody takes the old error for the new stream's. */
static xpurt_result status_await_clear(void)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { REQUEST(STATS), .stats = &stats };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_COUNTERS, 0, &reply);
    reply_deinit(&reply);
    return r;
}

/* Where a new stream of timeline @p index begins. */
static uint64_t timeline_begin(uint32_t index)
{
    const struct board_progress *board = &arena_boards[session.slot];
    uint64_t last = atomic_load_explicit(&board->timelines[index].last, memory_order_relaxed);

    return last > board->header.base ? last : board->header.base;
}

xpurt_result timeline_open(uint32_t device, int priority, bool external, uint64_t *ret_point)
{
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;
    uint32_t index = 0;
    xpurt_result r;
    bool failed;

    r = timeline_take(&index);
    if (r)
        return r;
    failed = atomic_load(&arena_boards[session.slot].timelines[index].status);
    *ret_point = point_pack(session.slot, index, timeline_begin(index));
    connection_forget_stream_text(index);

    create.stream = index;
    create.device = device;
    create.priority = priority;
    create.external = external;
    r = connection_command_later(
        &(Xpurt__Command){ COMMAND(STREAM_CREATE), .stream_create = &create });
    if (r == XPURT_SUCCESS && failed)
        r = status_await_clear();
    return r;                           /* without a connection no timeline is of use any more */
}

xpurt_result timeline_confirm(uint64_t point, uint32_t device)
{
    const struct board_timeline *timeline = arena_timeline(point);
    xpurt_result r;

    r = status_await_clear();
    if (r)
        return r;
    r = (xpurt_result)atomic_load_explicit(&timeline->status, memory_order_acquire);
    if (r) {
        (void)point_error(point, r);
        timeline_close(point, device);
    }
    return r;
}

void timeline_close(uint64_t point, uint32_t device)
{
    Xpurt__StreamDestroy destroy = XPURT__STREAM_DESTROY__INIT;

    destroy.stream = point_stream(point);
    (void)connection_command(
        &(Xpurt__Command){ COMMAND(STREAM_DESTROY), .stream_destroy = &destroy });
    drainings[timelines.n_draining++] = (struct draining){ point, device };
}

static xpurt_result make(uint32_t device, int priority, enum stream_kind kind,
                         struct external *external, xpurt_stream **ret_stream)
{
    xpurt_stream *stream;
    uint64_t point = 0;
    xpurt_result r;

    stream = pool_take(&streams);
    if (!stream)
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for another stream");
    stream->epoch = 0;                  /* nobody's until it is whole */
    r = timeline_open(device, priority, external != NULL, &point);
    if (r) {
        pool_give(&streams, &stream->object);
        return r;
    }

    stream->epoch = session.epoch;
    stream->index = point_stream(point);
    stream->device = device;
    stream->priority = priority;
    stream->id = kind == STREAM_DEFAULT ?
                     0 :
                     stream_id_pack(++serial, pool_place(&streams, &stream->object), kind);
    stream->recorded = false;
    stream->external = external;
    stream->capture = NULL;
    atomic_store(&stream->point, point);
    atomic_store(&stream->dirty, false);
    live_streams[stream->index] = stream;
    device_use(device);
    *ret_stream = stream;
    return XPURT_SUCCESS;
}

xpurt_result stream_new(uint32_t device, int priority, enum stream_kind kind,
                        xpurt_stream **ret_stream)
{
    return make(device, priority, kind, NULL, ret_stream);
}

xpurt_result stream_new_external(uint32_t device, struct external *external,
                                 xpurt_stream **ret_stream)
{
    return make(device, 0, STREAM_EXTERNAL, external, ret_stream);
}

int stream_clamp_priority(int priority)
{
    return priority < -1 ? -1 : priority > 1 ? 1 : priority;
}

xpurt_result xpurt_stream_create_with_priority(int device, int priority, xpurt_stream **ret_stream)
{
    xpurt_result r;

    if (!ret_stream)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the stream");

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    r = stream_new((uint32_t)device, stream_clamp_priority(priority), STREAM_OWN, ret_stream);
    session_leave();
    return r;
}

xpurt_result xpurt_stream_create(xpurt_stream **ret_stream)
{
    return xpurt_stream_create_with_priority(-1, 0, ret_stream);
}

xpurt_result xpurt_stream_priority_range(int *ret_least, int *ret_greatest)
{
    if (ret_least)
        *ret_least = 1;
    if (ret_greatest)
        *ret_greatest = -1;
    return XPURT_SUCCESS;
}

/* The lock is held, the connection works. */
static void stream_end(xpurt_stream *stream)
{
    uint64_t point;

    if (!stream->recorded)
        atomic_store(&stream->dirty, true); /* drained() needs a point of this stream */
    if (stream_cover(stream, &point))
        return;
    magazine_flush(stream->index);
    timeline_close(point, stream->device);
    live_streams[stream->index] = NULL;
}

xpurt_result xpurt_stream_destroy(xpurt_stream *stream)
{
    if (!stream)
        return XPURT_SUCCESS;
    if (pool_mark_of(&streams, stream) == POOL_FREE)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live stream", (void *)stream);
    if (stream_id_kind(stream->id) < STREAM_OWN)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "the stream is the library's own, %s: it "
                         "cannot be destroyed",
                         stream->id ? "one of the pool" : "the default one of its device");

    connection_lock();
    if (stream->epoch == session.epoch) {
        graph_discard(stream->capture);
        stream->capture = NULL;
        companion_release(stream->index);
        if (connection_state() == CONNECTION_READY)
            stream_end(stream);
    }
    external_free(stream->external);
    pool_give(&streams, &stream->object);
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_stream_get_device(xpurt_stream *stream, int *ret_device)
{
    xpurt_result r = stream_check(stream);

    if (r)
        return r;
    if (!ret_device)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the device");
    *ret_device = (int)stream->device;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_stream_get_priority(xpurt_stream *stream, int *ret_priority)
{
    xpurt_result r = stream_check(stream);

    if (r)
        return r;
    if (!ret_priority)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the priority");
    *ret_priority = stream->priority;
    return XPURT_SUCCESS;
}

/* ---- looking and waiting ---------------------------------------------------------------------- */

/* The point was reached; but what came after it, or the stream's creation, may have failed. */
static xpurt_result stream_status(uint64_t point)
{
    uint32_t status = atomic_load_explicit(&arena_timeline(point)->status, memory_order_acquire);

    if (status) {
        connection_lock();
        point_error(point, (xpurt_result)status);
        connection_unlock();
    }
    return (xpurt_result)status;
}

/* The caller's own list may be done before the daemon has looked. */
static bool list_done(xpurt_stream *stream, uint64_t point)
{
    bool done;

    connection_lock();
    done = external_done(stream->external, point);
    connection_unlock();
    return done;
}

xpurt_result xpurt_stream_query(xpurt_stream *stream)
{
    uint64_t point;
    xpurt_result r;

    r = stream_check(stream);
    if (r)
        return r;
    /* Each look at an external stream puts a record on its list: not while the last one runs. */
    point = atomic_load_explicit(&stream->point, memory_order_acquire);
    if (!stream->external || arena_reached(point))
        r = stream_settle(stream, &point);
    if (r == XPURT_SUCCESS)
        r = point_poll(point);
    if (r == XPURT_NOT_READY && stream->external && list_done(stream, point))
        r = point_wait(point, false, PUBLISH_NS);
    return r == XPURT_TIMEOUT ? XPURT_NOT_READY : r ? r : stream_status(point);
}

xpurt_result xpurt_stream_synchronize_for(xpurt_stream *stream, uint64_t timeout_ns)
{
    uint64_t point;
    xpurt_result r;

    r = stream_settle(stream, &point);
    if (r == XPURT_SUCCESS)
        r = point_wait(point, false, timeout_ns);
    return r ? r : stream_status(point);
}

xpurt_result xpurt_stream_synchronize(xpurt_stream *stream)
{
    return xpurt_stream_synchronize_for(stream, XPURT_NO_TIMEOUT);
}

/* The points that cover all work of the process on @p device: of live streams, then of destroyed
 * ones. */
static xpurt_result device_cover(uint32_t device, uint64_t points[BOARD_TIMELINES],
                                 uint32_t *ret_live, uint32_t *ret_count)
{
    uint32_t n = 0;
    xpurt_result r;

    for (uint32_t i = 0; i < timelines.used; i++) {
        xpurt_stream *stream = live_streams[i];

        if (!stream || stream->device != device)
            continue;
        r = stream_cover(stream, &points[n++]);
        if (r)
            return r;
    }
    *ret_live = n;
    for (uint32_t i = 0; i < timelines.n_draining; i++)
        if (drainings[i].device == device)
            points[n++] = drainings[i].point;
    *ret_count = n;
    return connection_flush();
}

xpurt_result xpurt_device_synchronize(int device)
{
    uint64_t points[BOARD_TIMELINES];
    uint32_t n_live = 0, n_points = 0;
    xpurt_result r, first = XPURT_SUCCESS;

    r = device_enter(device);
    if (r)
        return r;
    r = device_cover((uint32_t)device, points, &n_live, &n_points);
    session_leave();
    if (r)
        return r;

    for (uint32_t i = 0; i < n_points; i++) {
        r = point_wait(points[i], false, XPURT_NO_TIMEOUT);
        if (r == XPURT_SUCCESS && i < n_live)
            r = stream_status(points[i]);
        if (r == XPURT_ERROR_DAEMON_LOST)
            return r;
        if (i < n_live && first == XPURT_SUCCESS)
            first = r;
    }
    return first;
}

/* ---- waiting for others ------------------------------------------------------------------------ */

xpurt_result stream_wait_check(xpurt_stream *stream, uint64_t *point)
{
    uint64_t wanted = *point;
    uint32_t slot = point_slot(wanted);
    xpurt_result r;

    *point = 0;
    if (!wanted || (slot == session.slot && point_stream(wanted) == stream->index))
        return XPURT_SUCCESS;

    r = arena_point_state(wanted);
    if (r == ARENA_UNMAPPED) {
        r = session_open_board(slot);   /* the daemon needs no board for a wait; our errors do */
        if (r == XPURT_ERROR_STALE_HANDLE)
            return XPURT_SUCCESS;
        if (r)
            return r;
        r = arena_point_state(wanted);
    }
    if (r == XPURT_SUCCESS)
        return r;
    if (r != XPURT_NOT_READY && r != ARENA_UNMAPPED)
        return point_error(wanted, r);
    *point = wanted;
    return XPURT_SUCCESS;
}

xpurt_result stream_wait(xpurt_stream *stream, uint64_t point)
{
    xpurt_result r = stream_wait_check(stream, &point);

    if (r || !point)
        return r;
    if (stream->external && external_should_record(stream->external)) {
        uint64_t covered;

        r = stream_record(stream, 0, &covered);
        if (r)
            return r;
    }
    if (stream->external)
        return external_wait(stream->external, stream->index, point);
    atomic_store_explicit(&stream->dirty, true, memory_order_relaxed);
    return connection_wait(stream->index, point);
}

xpurt_result xpurt_stream_wait_event(xpurt_stream *stream, xpurt_event *event)
{
    xpurt_result r;

    r = event_check(event);
    if (r)
        return r;
    r = stream_enter(stream);
    if (r)
        return r;
    r = stream->capture ? graph_wait(stream->capture, event) :
                          stream_wait(stream, event_point(event));
    session_leave();
    return r;
}

xpurt_result xpurt_stream_wait_stream(xpurt_stream *stream, xpurt_stream *other)
{
    uint64_t point;
    xpurt_result r;

    r = stream_check(other);
    if (r)
        return r;
    r = stream_enter_running(stream);
    if (r)
        return r;
    r = stream_cover(other, &point);
    if (r == XPURT_SUCCESS)
        r = stream_wait(stream, point);
    session_leave();
    return r;
}
