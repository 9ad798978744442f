/* SPDX-License-Identifier: MIT */
/* client/guard_table.c: the API in the order and shape that frameworks bind to.
 *
 * Guarantees of this file: each entry is the public call of that meaning; what is here besides only
 * translates arguments.
 */
#include "client/device.h"
#include "client/event.h"
#include "client/result.h"
#include "client/stream.h"

#include <xpurt/allocator.h>
#include <xpurt/guard.h>
#include <xpurt/memory.h>

static void unchecked_set_device(int device)
{
    if (device >= 0 && device < XPURT_DEVICES_MAX)
        device_restore(device);
}

static xpurt_result get_stream_from_global_pool(int device, int high_priority,
                                                xpurt_stream **ret_stream)
{
    return xpurt_stream_get_from_pool(device, high_priority ? -1 : 0, ret_stream);
}

static void destroy_event(xpurt_event *event, int device)
{
    (void)device;
    (void)xpurt_event_destroy(event);
}

static xpurt_result device_agrees(int asked, int found)
{
    if (asked < 0 || asked == found)
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_DEVICE, "device %d was asked for, but it is device %d",
                     asked, found);
}

static xpurt_result record(xpurt_event **event, xpurt_stream *stream, int device, unsigned flags)
{
    xpurt_event *made = NULL;
    xpurt_result r;

    if (!event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the event");

    r = event_flags_check(flags);
    if (r == XPURT_SUCCESS)
        r = stream_check(stream);
    if (r == XPURT_SUCCESS)
        r = device_agrees(device, (int)stream_device(stream));
    if (r == XPURT_SUCCESS && !*event)
        r = xpurt_event_create(flags, &made);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(made ? made : *event, stream);
    if (r)
        (void)xpurt_event_destroy(made);
    else if (made)
        *event = made;
    return r;
}

static xpurt_result block(xpurt_event *event, xpurt_stream *stream)
{
    return xpurt_stream_wait_event(stream, event);
}

static xpurt_result record_data_pointer_on_stream(const void *ptr, xpurt_stream *stream)
{
    xpurt_pointer_attributes attributes;
    xpurt_result r;

    r = stream_check(stream);
    if (r == XPURT_SUCCESS && ptr)
        r = xpurt_pointer_get_attributes(ptr, &attributes);
    if (r || !ptr)
        return r;
    if (attributes.kind == XPURT_POINTER_UNKNOWN)
        return error_set(XPURT_ERROR_INVALID_ADDRESS, "%p is not memory of xpurt", ptr);
    if (attributes.kind == XPURT_POINTER_DEVICE)
        return xpurt_record_stream((void *)(uintptr_t)ptr, stream);
    return XPURT_SUCCESS;
}

static xpurt_result elapsed_time(xpurt_event *start, xpurt_event *end, int device,
                                 double *ret_milliseconds)
{
    float milliseconds = 0;
    int recorded = -1;
    xpurt_result r;

    if (!ret_milliseconds)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the time");

    r = xpurt_event_elapsed_time(start, end, &milliseconds);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_get_device(start, &recorded);
    if (r == XPURT_SUCCESS)
        r = device_agrees(device, recorded);
    if (r == XPURT_SUCCESS)
        *ret_milliseconds = milliseconds;
    return r;
}

/* An event that was not recorded yet is good for any device that exists. */
static xpurt_result event_from_ipc_handle(const xpurt_event_handle *handle, int device,
                                          xpurt_event **ret_event)
{
    xpurt_event *event = NULL;
    int recorded = -1;
    xpurt_result r;

    if (!ret_event)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the event");
    r = device_enter(device_choose(device));
    if (r)
        return r;
    session_leave();

    r = xpurt_event_open_ipc_handle(handle, &event);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_get_device(event, &recorded);
    if (r == XPURT_SUCCESS && recorded >= 0)
        r = device_agrees(device, recorded);
    if (r)
        (void)xpurt_event_destroy(event);
    else
        *ret_event = event;
    return r;
}

static const xpurt_guard_table table = {
    .size = sizeof(table),
    .type = "xpu",
    .exchange_device = xpurt_exchange_device,
    .get_device = xpurt_get_device,
    .set_device = xpurt_set_device,
    .unchecked_set_device = unchecked_set_device,
    .get_stream = xpurt_stream_get_current,
    .get_default_stream = xpurt_stream_get_default,
    .get_stream_from_global_pool = get_stream_from_global_pool,
    .get_new_stream = xpurt_stream_create_with_priority,
    .exchange_stream = xpurt_stream_exchange_current,
    .get_stream_native_handle = xpurt_stream_get_native_handle,
    .destroy_event = destroy_event,
    .record = record,
    .block = block,
    .query_event = xpurt_event_query,
    .device_count = xpurt_device_count,
    .get_device_capability = xpurt_device_get_capability,
    .query_stream = xpurt_stream_query,
    .synchronize_stream = xpurt_stream_synchronize,
    .is_stream_capturing = xpurt_stream_is_capturing,
    .record_data_pointer_on_stream = record_data_pointer_on_stream,
    .synchronize_event = xpurt_event_synchronize,
    .synchronize_device = xpurt_device_synchronize,
    .elapsed_time = elapsed_time,
    .get_event_ipc_handle = xpurt_event_get_ipc_handle,
    .event_from_ipc_handle = event_from_ipc_handle,
};

const xpurt_guard_table *xpurt_guard_table_get(void)
{
    return &table;
}
