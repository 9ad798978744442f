/* SPDX-License-Identifier: MIT */
/* client/standing.c: default streams, pools of streams, and the current streams of each thread.
 *
 * Guarantees of this file:
 *   - each place has one stream per session, made by the first request, whichever threads ask;
 *   - a thread's current streams are remembered by id, so that one that was destroyed, or belongs
 *     to a session of before, is never used: the default stream takes its place.
 */
#include "client/standing.h"

#include "client/device.h"
#include "client/result.h"
#include "client/stream.h"
#include "client/table.h"

#include <xpurt/device.h>

#include <string.h>

#define PRIORITIES 3

struct stream_pool {
    xpurt_stream *streams[XPURT_POOL_STREAMS];
    uint32_t requests;
};

static TABLE struct {
    xpurt_stream *normal;               /* the default stream */
    struct stream_pool pools[PRIORITIES];
} standing[XPURT_DEVICES_MAX];

/* In a place whose stream a thread is making; never followed. */
static char making_mark;
#define MAKING ((xpurt_stream *)(void *)&making_mark)

static _Thread_local uint64_t current[XPURT_DEVICES_MAX];

void standing_end(void)
{
    memset(standing, 0, sizeof(standing));
}

uint64_t current_id(uint32_t device)
{
    return current[device];
}

void current_set(uint32_t device, uint64_t id)
{
    current[device] = id;
}

/* ---- one stream for each place -------------------------------------------------------------------- */

/* The stream of @p place. The lock is held, and free meanwhile. */
static xpurt_result place_fill(xpurt_stream **place, uint32_t device, int priority,
                               enum stream_kind kind, xpurt_stream **ret_stream)
{
    xpurt_result r = XPURT_SUCCESS;

    while (*place == MAKING)
        connection_await_change();
    if (!*place) {
        xpurt_stream *stream = NULL;

        *place = MAKING;
        r = stream_new(device, priority, kind, &stream);
        *place = stream;
        connection_changed();
    }
    if (r == XPURT_SUCCESS)
        *ret_stream = *place;
    return r;
}

static xpurt_result default_find(uint32_t device, xpurt_stream **ret_stream)
{
    return place_fill(&standing[device].normal, device, 0, STREAM_DEFAULT, ret_stream);
}

static xpurt_result current_find(uint32_t device, xpurt_stream **ret_stream)
{
    xpurt_stream *chosen = current[device] ? stream_find(current[device]) : NULL;

    if (!chosen)
        return default_find(device, ret_stream);
    *ret_stream = chosen;
    return XPURT_SUCCESS;
}

static xpurt_result nowhere(void)
{
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the stream");
}

xpurt_result xpurt_stream_get_from_pool(int device, int priority, xpurt_stream **ret_stream)
{
    struct stream_pool *pool;
    xpurt_result r;

    if (!ret_stream)
        return nowhere();

    device = device_choose(device);
    priority = stream_clamp_priority(priority);
    r = device_enter(device);
    if (r)
        return r;
    pool = &standing[device].pools[priority + 1];
    r = place_fill(&pool->streams[pool->requests++ % XPURT_POOL_STREAMS], (uint32_t)device,
                   priority, STREAM_POOL, ret_stream);
    session_leave();
    return r;
}

xpurt_result xpurt_stream_get_default(int device, xpurt_stream **ret_stream)
{
    xpurt_result r;

    if (!ret_stream)
        return nowhere();

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    r = default_find((uint32_t)device, ret_stream);
    session_leave();
    return r;
}

/* ---- the current stream of a thread ------------------------------------------------------------------ */

xpurt_result xpurt_stream_get_current(int device, xpurt_stream **ret_stream)
{
    xpurt_result r;

    if (!ret_stream)
        return nowhere();

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    r = current_find((uint32_t)device, ret_stream);
    session_leave();
    return r;
}

xpurt_result xpurt_stream_set_current(xpurt_stream *stream)
{
    xpurt_result r = stream_check(stream);

    if (r == XPURT_SUCCESS)
        current_set(stream_device(stream), stream_id(stream));
    return r;
}

xpurt_result xpurt_stream_exchange_current(xpurt_stream *stream, xpurt_stream **ret_previous)
{
    xpurt_stream *previous = NULL;
    xpurt_result r;

    if (!ret_previous)
        return nowhere();

    r = stream_enter(stream);
    if (r)
        return r;
    r = current_find(stream_device(stream), &previous);
    session_leave();
    if (r)
        return r;

    current_set(stream_device(stream), stream_id(stream));
    *ret_previous = previous;
    return XPURT_SUCCESS;
}

/* ---- ids ------------------------------------------------------------------------------------------------ */

xpurt_result xpurt_stream_get_id(xpurt_stream *stream, uint64_t *ret_id)
{
    xpurt_result r = stream_check(stream);

    if (r)
        return r;
    if (!ret_id)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the id");
    *ret_id = stream_id(stream);
    return XPURT_SUCCESS;
}

/* The lock is held. */
static xpurt_result id_find(uint64_t id, int device, xpurt_stream **ret_stream)
{
    xpurt_stream *stream = stream_find(id);

    if (!stream)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "there is no stream with the id 0x%llx",
                         (unsigned long long)id);
    if (stream_device(stream) != (uint32_t)device)
        return error_set(XPURT_ERROR_INVALID_DEVICE,
                         "the stream with the id 0x%llx is on device %u, not %d",
                         (unsigned long long)id, stream_device(stream), device);
    *ret_stream = stream;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_stream_from_id(uint64_t id, int device, xpurt_stream **ret_stream)
{
    xpurt_result r;

    if (!ret_stream)
        return nowhere();

    r = device_enter(device);
    if (r)
        return r;
    r = id ? id_find(id, device, ret_stream) : default_find((uint32_t)device, ret_stream);
    session_leave();
    return r;
}

/* ---- what daemon streams do not have -------------------------------------------------------------------- */

xpurt_result xpurt_stream_get_native_handle(xpurt_stream *stream, void **ret_handle)
{
    xpurt_result r = stream_check(stream);
    void *native;

    if (r)
        return r;
    if (!ret_handle)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the handle");
    native = stream_native(stream);
    if (native) {
        *ret_handle = native;
        return XPURT_SUCCESS;
    }
    return error_set(XPURT_ERROR_UNSUPPORTED,
                     "the stream's command list is in xpurtd: this process has no handle of it");
}

/* The calling thread's current stream, if it was made. The lock is held. */
static xpurt_stream *current_made(void)
{
    uint32_t device = (uint32_t)device_choose(-1);
    xpurt_stream *chosen = current[device] ? stream_find(current[device]) : NULL;
    xpurt_stream *normal = standing[device].normal;

    return chosen ? chosen : normal == MAKING ? NULL : normal;
}

xpurt_result xpurt_stream_is_capturing(xpurt_stream *stream, int *ret_capturing)
{
    xpurt_result r = stream ? stream_check(stream) : XPURT_SUCCESS;

    if (r)
        return r;
    if (!ret_capturing)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the answer");
    connection_lock();
    if (!stream)
        stream = current_made();
    *ret_capturing = stream && stream_capture(stream);
    connection_unlock();
    return XPURT_SUCCESS;
}
