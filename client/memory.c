/* SPDX-License-Identifier: MIT */
/* client/memory.c: device memory.
 *
 * Guarantees of this file: memory is freed or closed only as often as it was allocated or opened;
 * its range stays reserved until the last of these.
 */
#include "client/address.h"
#include "client/device.h"
#include "client/result.h"
#include "proto/handle.h"

#include <xpurt/memory.h>

#include <string.h>

#define ALLOC_TRIES 8                   /* allocations whose addresses are in use here already */

_Static_assert(XPURT_IPC_HANDLE_SIZE == HANDLE_SIZE, "one handle");

static void memory_free_send(uint64_t address)
{
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;

    memory_free.address = address;
    (void)connection_command(
        &(Xpurt__Command){ COMMAND(MEMORY_FREE), .memory_free = &memory_free });
}

static xpurt_result allocate(uint32_t device, uint64_t size, uint64_t *ret_address)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    alloc.device = device;
    alloc.size = size;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_ALLOCATED, 0, &reply);
    if (r)
        return r;
    *ret_address = reply.message->memory_allocated->address;
    reply_deinit(&reply);
    return XPURT_SUCCESS;
}

/* Allocate until the addresses are free in this process; only then give back the others. */
static xpurt_result allocate_unique(uint32_t device, uint64_t size, uint64_t *ret_address)
{
    uint64_t taken[ALLOC_TRIES], address = 0;
    unsigned n_taken = 0;
    xpurt_result r;

    do {
        r = allocate(device, size, &address);
        if (r)
            break;
        r = range_add(&(struct range){
            .start = address, .size = size, .kind = RANGE_DEVICE, .device = device, .own = true });
        if (r)
            taken[n_taken++] = address;
    } while (r == XPURT_ERROR_SYSTEM && n_taken < ALLOC_TRIES);

    while (n_taken)
        memory_free_send(taken[--n_taken]);
    if (r == XPURT_SUCCESS)
        *ret_address = address;
    return r;
}

xpurt_result xpurt_malloc(void **ret_ptr, size_t size)
{
    int device = device_choose(-1);
    uint64_t address = 0;
    xpurt_result r;

    if (!ret_ptr)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the address");
    if (!size) {
        *ret_ptr = NULL;
        return XPURT_SUCCESS;
    }

    r = device_enter(device);
    if (r)
        return r;
    r = allocate_unique((uint32_t)device, size, &address);
    if (r == XPURT_SUCCESS)
        device_use((uint32_t)device);
    session_leave();
    if (r == XPURT_SUCCESS)
        *ret_ptr = (void *)(uintptr_t)address;
    return r;
}

/* Undo an allocation or an opening. The range goes with the last of them. */
static void device_release(struct range *range, bool opening)
{
    memory_free_send(range->start);
    if (opening)
        range->opens--;
    else
        range->own = false;
    if (!range->own && !range->opens)
        range_drop(range);
}

xpurt_result xpurt_free(void *ptr)
{
    struct range *range;
    xpurt_result r;

    if (!ptr)
        return XPURT_SUCCESS;

    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE && range->start == (uintptr_t)ptr)
        device_release(range, !range->own);
    else
        r = not_ours(ptr, "the start of live device memory");
    session_leave();
    return r;
}

xpurt_result xpurt_mem_get_ipc_handle(const void *ptr, xpurt_mem_handle *ret_handle)
{
    Xpurt__MemoryExport export = XPURT__MEMORY_EXPORT__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_EXPORT), .memory_export = &export };
    struct reply reply = REPLY_NULL;
    const ProtobufCBinaryData *handle;
    const struct range *range;
    xpurt_result r;

    if (!ptr || !ret_handle)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no memory, or nowhere to put the "
                                                       "handle");
    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE) {
        export.address = (uintptr_t)ptr;
        r = connection_request(&request, XPURT__TO_CLIENT__REPLY_HANDLE, 0, &reply);
    } else {
        r = not_ours(ptr, "inside live device memory");
    }
    session_leave();
    if (r)
        return r;

    handle = &reply.message->handle->handle;
    if (handle->len == sizeof(ret_handle->bytes))
        memcpy(ret_handle->bytes, handle->data, sizeof(ret_handle->bytes));
    else
        r = error_set(XPURT_ERROR_PROTOCOL, "a handle of %zu bytes", handle->len);
    reply_deinit(&reply);
    return r;
}

static xpurt_result memory_opened(const Xpurt__MemoryOpened *opened)
{
    struct range *range = ranges_find(&addresses, opened->start);
    xpurt_result r = XPURT_SUCCESS;

    if (range && range->kind == RANGE_DEVICE && range->start == opened->start)
        range->opens++;
    else
        r = range_add(&(struct range){ .start = opened->start,
                                       .size = opened->size,
                                       .kind = RANGE_DEVICE,
                                       .device = opened->device,
                                       .opens = 1 });
    if (r)
        memory_free_send(opened->start);
    else
        device_use(opened->device);
    return r;
}

xpurt_result xpurt_mem_open_ipc_handle(const xpurt_mem_handle *handle, void **ret_ptr)
{
    Xpurt__MemoryOpen open = XPURT__MEMORY_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_OPEN), .memory_open = &open };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    if (!handle || !ret_ptr)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no handle, or nowhere to put the "
                                                       "address");
    r = session_enter();
    if (r)
        return r;
    open.handle = (ProtobufCBinaryData){ sizeof(handle->bytes), (uint8_t *)handle->bytes };
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_OPENED, 0, &reply);
    if (r == XPURT_SUCCESS)
        r = memory_opened(reply.message->memory_opened);
    session_leave();
    if (r == XPURT_SUCCESS)
        *ret_ptr = (void *)(uintptr_t)reply.message->memory_opened->address;
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_mem_close_ipc_handle(void *ptr)
{
    struct range *range;
    xpurt_result r;

    if (!ptr)
        return XPURT_SUCCESS;

    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE && range->opens)
        device_release(range, true);
    else
        r = not_ours(ptr, "inside opened device memory");
    session_leave();
    return r;
}
