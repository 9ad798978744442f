/* SPDX-License-Identifier: MIT */
/* client/guard.c: see include/xpurt/guard.h.
 *
 * Guarantees of this file:
 *   - a guard whose result is an error has changed nothing;
 *   - ending a guard needs neither a connection nor the objects that were current.
 */
#include "client/device.h"
#include "client/result.h"
#include "client/standing.h"
#include "client/stream.h"

#include <xpurt/guard.h>

static xpurt_result no_guard(void)
{
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the guard is null");
}

/* ---- device ----------------------------------------------------------------------------------------- */

xpurt_result xpurt_device_guard_set(xpurt_device_guard *guard, int device)
{
    int before = xpurt_get_device();

    if (!guard)
        return no_guard();

    guard->result = xpurt_set_device(device);
    if (guard->result || device < 0)
        return guard->result;

    if (!guard->active)
        guard->original = before;
    guard->active = 1;
    guard->current = device;
    return XPURT_SUCCESS;
}

xpurt_device_guard xpurt_optional_device_guard_begin(int device)
{
    xpurt_device_guard guard = { .original = xpurt_get_device(), .current = xpurt_get_device() };

    (void)xpurt_device_guard_set(&guard, device);
    return guard;
}

xpurt_device_guard xpurt_device_guard_begin(int device)
{
    xpurt_device_guard guard = xpurt_optional_device_guard_begin(device);

    guard.active = guard.result == XPURT_SUCCESS;
    return guard;
}

void xpurt_device_guard_end(xpurt_device_guard *guard)
{
    if (!guard)
        return;
    if (guard->active)
        device_restore(guard->original);
    guard->active = 0;
}

/* ---- stream ------------------------------------------------------------------------------------------- */

/* The stream was checked: nothing here fails. */
static void stream_guard_take(xpurt_stream_guard *guard, xpurt_stream *stream)
{
    guard->device = (int)stream_device(stream);
    guard->stream = current_id(stream_device(stream));
    current_set(stream_device(stream), stream_id(stream));
    device_restore(guard->device);
}

xpurt_stream_guard xpurt_stream_guard_begin(xpurt_stream *stream)
{
    xpurt_stream_guard guard = { .original_device = xpurt_get_device(), .device = -1 };

    guard.result = stream_check(stream);
    if (guard.result)
        return guard;
    guard.active = 1;
    guard.original_stream = current_id((uint32_t)guard.original_device);
    stream_guard_take(&guard, stream);
    return guard;
}

xpurt_result xpurt_stream_guard_set(xpurt_stream_guard *guard, xpurt_stream *stream)
{
    if (!guard)
        return no_guard();
    if (!guard->active) {
        *guard = xpurt_stream_guard_begin(stream);
        return guard->result;
    }
    guard->result = stream_check(stream);
    if (guard->result)
        return guard->result;
    current_set((uint32_t)guard->device, guard->stream);
    stream_guard_take(guard, stream);
    return XPURT_SUCCESS;
}

void xpurt_stream_guard_end(xpurt_stream_guard *guard)
{
    if (!guard || !guard->active)
        return;
    current_set((uint32_t)guard->device, guard->stream);
    current_set((uint32_t)guard->original_device, guard->original_stream);
    device_restore(guard->original_device);
    guard->active = 0;
}

/* ---- several streams ------------------------------------------------------------------------------------ */

xpurt_multi_stream_guard xpurt_multi_stream_guard_begin(xpurt_stream *const *streams, size_t count)
{
    xpurt_multi_stream_guard guard = { .devices = 0 };

    if (count && !streams)
        guard.result = error_set(XPURT_ERROR_INVALID_ARGUMENT, "the streams are null");
    for (size_t i = 0; i < count && guard.result == XPURT_SUCCESS; i++)
        guard.result = stream_check(streams[i]);
    if (guard.result)
        return guard;

    for (size_t i = 0; i < count; i++) {
        uint32_t device = stream_device(streams[i]);

        if (!(guard.devices >> device & 1))
            guard.streams[device] = current_id(device);
        guard.devices |= UINT64_C(1) << device;
        current_set(device, stream_id(streams[i]));
    }
    return guard;
}

void xpurt_multi_stream_guard_end(xpurt_multi_stream_guard *guard)
{
    if (!guard)
        return;
    for (uint32_t device = 0; device < XPURT_DEVICES_MAX; device++)
        if (guard->devices >> device & 1)
            current_set(device, guard->streams[device]);
    guard->devices = 0;
}
