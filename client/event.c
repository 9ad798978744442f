/* SPDX-License-Identifier: MIT */
/* client/event.c: events are cells that hold points.
 *
 * Guarantees of this file:
 *   - creating and querying ask nobody; a query of a complete event makes no system call;
 *   - a cell that was ever exported is used again only when the daemon says that nobody who
 *     opened it is left;
 *   - an event of before a fork works in both processes, and only the parent gives its cell back.
 */
#include "client/event.h"

#include "client/arena.h"
#include "client/deferred.h"
#include "client/graph.h"
#include "client/pool.h"
#include "client/result.h"
#include "client/stream.h"
#include "client/table.h"
#include "client/wait.h"
#include "proto/handle.h"
#include "proto/hot.h"

#include <errno.h>
#include <string.h>

#define EVENTS_MAX (4 * BOARD_CELLS)    /* own and opened ones of a process */
#define EVENT_FLAGS (XPURT_EVENT_TIMING | XPURT_EVENT_BLOCKING | XPURT_EVENT_INTERPROCESS)
#define RECLAIM_STEP 256u               /* dropped cells between questions to the daemon */
#define STAMP_TRIES 100u

struct xpurt_event {
    struct pool_object object;
    struct board_cell *cell;            /* in the event board of `slot` */
    uint32_t slot;
    uint32_t index;                     /* of the cell */
    uint32_t flags;                     /* CELL_TIMING, CELL_BLOCKING, CELL_INTERPROCESS */
    uint32_t epoch;                     /* of the session that made or opened it */
    uint32_t pins;                      /* uses by the library itself, also after its destruction */
    bool opened;                        /* by a handle */
    bool exported;
};

_Static_assert(sizeof(struct xpurt_event) <= POOL_OBJECT_SIZE, "fits its place in the pool");
_Static_assert(XPURT_EVENT_TIMING == CELL_TIMING && XPURT_EVENT_BLOCKING == CELL_BLOCKING &&
                   XPURT_EVENT_INTERPROCESS == CELL_INTERPROCESS,
               "flags are stored as they are");
_Static_assert(XPURT_IPC_HANDLE_SIZE == HANDLE_SIZE, "one handle");

static uint32_t pinned;                 /* pins of all events */
static struct pool events = { .capacity = EVENTS_MAX };

/* The cells of the own board. */
static struct {
    uint32_t used;                      /* ever, by this session */
    uint32_t n_free;
    uint32_t n_dropped;                 /* destroyed, but opened elsewhere as far as we know */
    uint32_t n_asked;                   /* of those: were left when we last asked */
} cells;

static TABLE uint32_t free_cells[BOARD_CELLS];

/* In a child: whoever pinned events was a thread of the parent. */
static void pins_drop(void)
{
    for (uint32_t place = 0; pinned && place < events.used; place++) {
        xpurt_event *event = (xpurt_event *)pool_object(&events, place);

        pinned -= event->pins;
        event->pins = 0;
        if (pool_mark_of(&events, event) == POOL_HELD)
            pool_give(&events, &event->object);
    }
}

void events_end(enum session_end why)
{
    cells.used = cells.n_free = cells.n_dropped = cells.n_asked = 0;
    if (why == SESSION_RESET)
        pool_outdate(&events);
    else
        pins_drop();
}

/* ---- checks ------------------------------------------------------------------------------------ */

static xpurt_result not_an_event(const xpurt_event *event)
{
    if (!event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the event is null");
    return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live event", (const void *)event);
}

HOT xpurt_result event_check(xpurt_event *event)
{
    return pool_mark_of(&events, event) == POOL_LIVE ? XPURT_SUCCESS : not_an_event(event);
}

/* Made by this session, not opened, not inherited. */
static bool event_own(const xpurt_event *event)
{
    return !event->opened && event->epoch == session.epoch;
}

bool event_pending(const xpurt_event *event)
{
    return deferred_find(event->cell);
}

bool event_shared(const xpurt_event *event)
{
    return !event_own(event) || event->exported;
}

bool event_destroyed(xpurt_event *event)
{
    return pool_mark_of(&events, event) == POOL_HELD;
}

struct event_place event_place(const xpurt_event *event)
{
    return (struct event_place){ .cell = event->cell,
                                 .slot = event->slot,
                                 .index = event->index,
                                 .blocking = event->flags & CELL_BLOCKING };
}

static uint64_t cell_point(const xpurt_event *event)
{
    return atomic_load_explicit(&event->cell->point, memory_order_acquire);
}

uint64_t event_point(xpurt_event *event)
{
    uint64_t point = deferred_find(event->cell);

    return point ? point : cell_point(event);
}

/* ---- cells --------------------------------------------------------------------------------------- */

/* Ask the daemon for dropped cells that nobody has open any more. */
static xpurt_result cells_reclaim(void)
{
    Xpurt__EventReclaim reclaim = XPURT__EVENT_RECLAIM__INIT;
    Xpurt__ToDaemon request = { REQUEST(EVENT_RECLAIM), .event_reclaim = &reclaim };
    struct reply reply = REPLY_NULL;
    const Xpurt__EventReclaimed *reclaimed;
    xpurt_result r;

    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_EVENT_RECLAIMED, 0, &reply);
    if (r)
        return r;

    reclaimed = reply.message->event_reclaimed;
    for (size_t i = 0; i < reclaimed->n_cells && cells.n_dropped; i++) {
        if (reclaimed->cells[i] >= cells.used)
            continue;
        free_cells[cells.n_free++] = reclaimed->cells[i];
        cells.n_dropped--;
    }
    cells.n_asked = cells.n_dropped;
    reply_deinit(&reply);
    return XPURT_SUCCESS;
}

static xpurt_result cell_take(uint32_t *ret_index)
{
    xpurt_result r;

    if (!cells.n_free && cells.n_dropped &&
        (cells.n_dropped >= cells.n_asked + RECLAIM_STEP || cells.used == BOARD_CELLS)) {
        r = cells_reclaim();
        if (r)
            return r;
    }
    if (cells.n_free)
        *ret_index = free_cells[--cells.n_free];
    else if (cells.used < BOARD_CELLS)
        *ret_index = cells.used++;
    else
        return error_set(XPURT_ERROR_QUOTA,
                         "a process has at most %u events at a time, those that "
                         "others still have open included",
                         BOARD_CELLS);
    return XPURT_SUCCESS;
}

static void cell_reset(struct board_cell *cell, uint32_t flags)
{
    atomic_store_explicit(&cell->point, 0, memory_order_relaxed);
    atomic_store_explicit(&cell->generation, 0, memory_order_relaxed);
    atomic_store_explicit(&cell->flags, flags, memory_order_release);
}

/* ---- creating and destroying ---------------------------------------------------------------------- */

static xpurt_event *event_new(uint32_t slot, uint32_t index, uint32_t flags)
{
    xpurt_event *event = pool_take(&events);

    if (!event) {
        error_set(XPURT_ERROR_QUOTA, "a process has at most %u events, opened ones included",
                  EVENTS_MAX);
        return NULL;
    }
    event->cell = &arena_slots[slot].events->cells[index];
    event->slot = slot;
    event->index = index;
    event->flags = flags;
    event->epoch = session.epoch;
    event->pins = 0;
    event->opened = false;
    event->exported = false;
    return event;
}

xpurt_result event_flags_check(unsigned flags)
{
    if (!(flags & ~(unsigned)EVENT_FLAGS))
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "unknown event flags 0x%x",
                     flags & ~(unsigned)EVENT_FLAGS);
}

xpurt_result xpurt_event_create(unsigned flags, xpurt_event **ret_event)
{
    xpurt_event *event;
    uint32_t index = 0;
    xpurt_result r;

    if (!ret_event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the event");
    r = event_flags_check(flags);
    if (r == XPURT_SUCCESS)
        r = session_enter();
    if (r)
        return r;
    r = cell_take(&index);
    if (r == XPURT_SUCCESS) {
        event = event_new(session.slot, index, flags);
        if (event) {
            cell_reset(event->cell, flags);
            *ret_event = event;
        } else {
            free_cells[cells.n_free++] = index;
            r = XPURT_ERROR_QUOTA;
        }
    }
    session_leave();
    return r;
}

static void opened_close(xpurt_event *event)
{
    Xpurt__EventClose event_close = XPURT__EVENT_CLOSE__INIT;

    if (event->epoch == session.epoch && connection_state() == CONNECTION_READY) {
        event_close.slot = event->slot;
        event_close.cell = event->index;
        (void)connection_command(
            &(Xpurt__Command){ COMMAND(EVENT_CLOSE), .event_close = &event_close });
    }
    if (--arena_slots[event->slot].opened == 0 && event->slot != session.slot &&
        arena_dead(event->slot))
        session_release_dead();
}

static void exported_drop(xpurt_event *event)
{
    Xpurt__EventDrop drop = XPURT__EVENT_DROP__INIT;

    drop.cell = event->index;
    (void)connection_command(&(Xpurt__Command){ COMMAND(EVENT_DROP), .event_drop = &drop });
    cells.n_dropped++;
}

/* The lock is held. */
static void event_end(xpurt_event *event)
{
    bool own = event_own(event);

    if (deferred_find(event->cell)) {
        if (own && !event->exported)
            deferred_forget(event->cell);
        else
            (void)connection_flush();   /* others look at the cell, which may be unmapped here */
    }
    if (event->opened)
        opened_close(event);
    else if (own && event->exported)
        exported_drop(event);
    else if (own)
        free_cells[cells.n_free++] = event->index;
}

xpurt_result xpurt_event_destroy(xpurt_event *event)
{
    uint32_t mark;

    if (!event)
        return XPURT_SUCCESS;
    mark = pool_mark_of(&events, event);
    if (mark != POOL_LIVE && mark != POOL_STALE)
        return not_an_event(event);

    connection_lock();
    if (event->pins) {
        atomic_store_explicit(&event->object.mark, POOL_HELD, memory_order_relaxed);
    } else {
        if (mark == POOL_LIVE)
            event_end(event);
        pool_give(&events, &event->object);
    }
    connection_unlock();
    return XPURT_SUCCESS;
}

void event_pin(xpurt_event *event)
{
    event->pins++;
    pinned++;
}

void event_unpin(xpurt_event *event)
{
    pinned--;
    if (--event->pins == 0 && event_destroyed(event)) {
        event_end(event);
        pool_give(&events, &event->object);
    }
}

/* ---- recording -------------------------------------------------------------------------------------- */

HOT xpurt_result event_bind(xpurt_event *event, uint32_t device)
{
    uint32_t flags = atomic_load_explicit(&event->cell->flags, memory_order_relaxed);
    uint32_t wanted = (device + 1) << CELL_DEVICE_SHIFT;

    while (!(flags & CELL_DEVICE_MASK))
        if (atomic_compare_exchange_weak(&event->cell->flags, &flags, flags | wanted))
            return XPURT_SUCCESS;

    if ((flags & CELL_DEVICE_MASK) == wanted)
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_DEVICE,
                     "the event was first recorded on device %u, the stream is on device %u",
                     ((flags & CELL_DEVICE_MASK) >> CELL_DEVICE_SHIFT) - 1, device);
}

/* The lock is held. */
HOT static xpurt_result record(xpurt_event *event, xpurt_stream *stream)
{
    uint64_t stamp = 0, point;
    xpurt_result r;

    if (event->flags & CELL_TIMING)
        stamp = stamp_pack(event->slot, event->index);
    if (stream_capture(stream))
        return graph_record(stream_capture(stream), event, stamp);
    r = event_bind(event, stream_device(stream));
    if (r == XPURT_SUCCESS)
        r = stream_record(stream, stamp, &point);
    if (r == XPURT_SUCCESS)
        r = connection_publish(event->cell, point);
    return r;
}

static xpurt_result record_enter(xpurt_event *event, xpurt_stream *stream)
{
    xpurt_result r = event_check(event);

    return r ? r : stream_enter(stream);
}

HOT xpurt_result xpurt_event_record(xpurt_event *event, xpurt_stream *stream)
{
    xpurt_result r;

    r = record_enter(event, stream);
    if (r)
        return r;
    r = record(event, stream);
    session_leave();
    return r;
}

xpurt_result xpurt_event_record_once(xpurt_event *event, xpurt_stream *stream)
{
    xpurt_result r;

    r = record_enter(event, stream);
    if (r)
        return r;
    if (!event_point(event))
        r = record(event, stream);
    session_leave();
    return r;
}

xpurt_result xpurt_stream_record_event(xpurt_stream *stream, xpurt_event **event)
{
    xpurt_event *made = NULL;
    xpurt_result r;

    if (!event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the event");
    if (*event)
        return xpurt_event_record(*event, stream);

    r = stream_check(stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_DEFAULT, &made);
    if (r)
        return r;
    r = xpurt_event_record(made, stream);
    if (r)
        (void)xpurt_event_destroy(made);
    else
        *event = made;
    return r;
}

/* ---- who it is ---------------------------------------------------------------------------------------- */

xpurt_result xpurt_event_move(xpurt_event **source, xpurt_event **ret_event)
{
    xpurt_event *event;
    xpurt_result r;

    if (!source || !ret_event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "there is no event to move, or nowhere to put it");

    event = *source;
    r = event ? event_check(event) : XPURT_SUCCESS;
    if (r)
        return r;
    *source = NULL;                     /* may be where it goes to */
    *ret_event = event;
    return XPURT_SUCCESS;
}

static uint32_t event_device(const xpurt_event *event)
{
    uint32_t flags = atomic_load_explicit(&event->cell->flags, memory_order_relaxed);

    return ((flags & CELL_DEVICE_MASK) >> CELL_DEVICE_SHIFT) - 1;
}

xpurt_result xpurt_event_get_id(xpurt_event *event, uint64_t *ret_id)
{
    xpurt_result r = event_check(event);

    if (r)
        return r;
    if (!ret_id)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the id");
    *ret_id = (int)event_device(event) < 0 ? 0 : stamp_pack(event->slot, event->index);
    return XPURT_SUCCESS;
}

xpurt_result xpurt_event_get_device(xpurt_event *event, int *ret_device)
{
    xpurt_result r = event_check(event);

    if (r)
        return r;
    if (!ret_device)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the device");
    *ret_device = (int)event_device(event);
    return XPURT_SUCCESS;
}

/* ---- looking and waiting ------------------------------------------------------------------------------ */

/* A cell that was never recorded holds point 0, which is reached whatever lies there. */
static inline xpurt_result cell_query(const xpurt_event *event)
{
    uint64_t point = cell_point(event);

    return arena_reached(point) ? XPURT_SUCCESS : point_poll(point);
}

/* Where commands are collected they leave first. Apart: a query without any needs no stack then. */
static __attribute__((noinline)) xpurt_result settle_and_query(const xpurt_event *event)
{
    xpurt_result r = session_settle();

    return r ? r : cell_query(event);
}

xpurt_result xpurt_event_query(xpurt_event *event)
{
    if (pool_mark_of(&events, event) != POOL_LIVE)
        return not_an_event(event);
    if (atomic_load_explicit(&connection_collected, memory_order_relaxed))
        return settle_and_query(event);
    return cell_query(event);
}

xpurt_result xpurt_event_synchronize_for(xpurt_event *event, uint64_t timeout_ns)
{
    uint64_t point;
    xpurt_result r;

    r = event_check(event);
    if (r == XPURT_SUCCESS)
        r = session_settle();
    if (r)
        return r;
    point = cell_point(event);
    return point ? point_wait(point, event->flags & CELL_BLOCKING, timeout_ns) : XPURT_SUCCESS;
}

xpurt_result xpurt_event_synchronize(xpurt_event *event)
{
    return xpurt_event_synchronize_for(event, XPURT_NO_TIMEOUT);
}

/* When the event reached @p point; false when that is not known. */
static bool stamp_read(const xpurt_event *event, uint64_t point, uint64_t *ret_nanoseconds)
{
    const struct board_stamp *stamp = &arena_boards[event->slot].stamps[event->index];

    for (unsigned tries = 0; tries < STAMP_TRIES; tries++) {
        uint64_t nanoseconds;

        if (atomic_load_explicit(&stamp->point, memory_order_acquire) != point)
            continue;
        nanoseconds = atomic_load_explicit(&stamp->nanoseconds, memory_order_acquire);
        if (atomic_load_explicit(&stamp->point, memory_order_relaxed) != point)
            continue;
        *ret_nanoseconds = nanoseconds;
        return true;
    }
    return false;
}

static xpurt_result elapsed(xpurt_event *start, xpurt_event *end, float *ret_milliseconds)
{
    uint64_t start_point = cell_point(start), end_point = cell_point(end), from, to;
    xpurt_result r;

    if (!start_point || !end_point)
        return error_set(XPURT_ERROR_NOT_RECORDED, "the %s event was never recorded",
                         start_point ? "second" : "first");
    r = point_check(start_point);
    if (r == XPURT_SUCCESS)
        r = point_check(end_point);
    if (r)
        return r;
    if (event_device(start) != event_device(end))
        return error_set(XPURT_ERROR_INVALID_DEVICE,
                         "the events were recorded on devices %u and %u: their clocks differ",
                         event_device(start), event_device(end));
    if (!stamp_read(start, start_point, &from) || !stamp_read(end, end_point, &to))
        return XPURT_NOT_READY;         /* recorded again just now */

    *ret_milliseconds = (float)((double)(int64_t)(to - from) / 1e6);
    return XPURT_SUCCESS;
}

xpurt_result xpurt_event_elapsed_time(xpurt_event *start, xpurt_event *end, float *ret_milliseconds)
{
    xpurt_result r;

    r = event_check(start);
    if (r == XPURT_SUCCESS)
        r = event_check(end);
    if (r)
        return r;
    if (!ret_milliseconds)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the time");
    if (!(start->flags & end->flags & CELL_TIMING))
        return error_set(XPURT_ERROR_NO_TIMING, "the %s event was made without XPURT_EVENT_TIMING",
                         start->flags & CELL_TIMING ? "second" : "first");

    r = session_settle();
    return r ? r : elapsed(start, end, ret_milliseconds);
}

/* ---- sharing ------------------------------------------------------------------------------------------- */

xpurt_result xpurt_event_get_ipc_handle(xpurt_event *event, xpurt_event_handle *ret_handle)
{
    Xpurt__EventExport export = XPURT__EVENT_EXPORT__INIT;
    Xpurt__ToDaemon request = { REQUEST(EVENT_EXPORT), .event_export = &export };
    struct reply reply = REPLY_NULL;
    const ProtobufCBinaryData *handle;
    xpurt_result r;

    r = event_check(event);
    if (r)
        return r;
    if (!ret_handle)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the handle");
    if (!(event->flags & CELL_INTERPROCESS))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "the event was made without XPURT_EVENT_INTERPROCESS");
    if (!event_own(event))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "the event is another process's, %s: only "
                         "its maker can export it",
                         event->opened ? "opened by a handle" : "inherited by fork()");
    r = session_enter();
    if (r)
        return r;
    export.cell = event->index;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_HANDLE, 0, &reply);
    if (r == XPURT_SUCCESS) {
        event->exported = true;
        handle = &reply.message->handle->handle;
        if (handle->len == sizeof(ret_handle->bytes))
            memcpy(ret_handle->bytes, handle->data, sizeof(ret_handle->bytes));
        else
            r = error_set(XPURT_ERROR_PROTOCOL, "a handle of %zu bytes", handle->len);
    }
    session_leave();
    reply_deinit(&reply);
    return r;
}

/* Map what came with EventOpened. */
static int boards_map(uint32_t slot, const struct frame_fds *fds)
{
    bool same;                          /* as what is there, if anything is */

    if (slot >= BOARD_SLOTS)
        return -EPROTO;
    same = slot == session.slot || arena_slots[slot].leased;
    if (slot != session.slot)
        arena_lease(slot);
    return same && arena_slots[slot].events ? 0 : arena_map(slot, fds->fds[0], fds->fds[1], true);
}

static xpurt_result event_opened(const Xpurt__EventOpened *opened, const struct frame_fds *fds,
                                 xpurt_event **ret_event)
{
    Xpurt__EventClose event_close = XPURT__EVENT_CLOSE__INIT;
    xpurt_event *event = NULL;
    xpurt_result r = XPURT_ERROR_QUOTA;
    int e = boards_map(opened->slot, fds);

    if (e == 0 && opened->cell >= BOARD_CELLS)
        e = -EPROTO;
    if (e < 0)
        r = system_error("the boards of another process cannot be mapped", e);
    else
        event = event_new(opened->slot, opened->cell, 0);
    if (!event) {
        event_close.slot = opened->slot;
        event_close.cell = opened->cell;
        (void)connection_command(
            &(Xpurt__Command){ COMMAND(EVENT_CLOSE), .event_close = &event_close });
        return r;
    }

    event->flags = atomic_load_explicit(&event->cell->flags, memory_order_acquire) & CELL_FLAGS;
    event->opened = true;
    arena_slots[opened->slot].opened++;
    *ret_event = event;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_event_open_ipc_handle(const xpurt_event_handle *handle, xpurt_event **ret_event)
{
    Xpurt__EventOpen open = XPURT__EVENT_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(EVENT_OPEN), .event_open = &open };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    if (!handle || !ret_event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no handle, or nowhere to put the "
                                                       "event");

    r = session_enter();
    if (r)
        return r;
    session_release_dead();
    open.handle = (ProtobufCBinaryData){ sizeof(handle->bytes), (uint8_t *)handle->bytes };
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_EVENT_OPENED, 2, &reply);
    if (r == XPURT_SUCCESS)
        r = event_opened(reply.message->event_opened, &reply.fds, ret_event);
    session_leave();
    reply_deinit(&reply);
    return r;
}
