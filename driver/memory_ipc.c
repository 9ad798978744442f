/* SPDX-License-Identifier: MIT */
/* memory_ipc.c: memory of one process in another.
 *
 * Guarantees of this file:
 *   - asking twice for the handle of an allocation gives the same descriptor, which is the
 *     allocation's and goes with it;
 *   - opening never consumes a descriptor; every open is a mapping of its own, counted in nothing
 *     but itself.
 */
#include "ipc.h"
#include "memory.h"

#include <string.h>
#include <unistd.h>

static ze_result_t get_handle(const void *pointer, ze_ipc_mem_handle_t *ret_handle)
{
    const struct allocation *allocation = memory_find(pointer);
    struct ipc_handle handle;
    bool described = allocation && allocation->origin == ORIGIN_ALLOCATED &&
                     ipc_describe(allocation->fd, IPC_MEMORY, allocation->size, &handle);

    if (described)
        handle.detail = allocation->type;
    memory_unlock();
    REQUIRE(described, INVALID_ARGUMENT);
    memcpy(ret_handle->data, &handle, sizeof(handle));
    return ZE_RESULT_SUCCESS;
}

ze_result_t mem_get_ipc_handle(ze_context_handle_t context, const void *pointer,
                               ze_ipc_mem_handle_t *ret_handle)
{
    ENTER(zeMemGetIpcHandle);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer && ret_handle);
    return get_handle(pointer, ret_handle);
}

ze_result_t mem_get_ipc_handle_with_properties(ze_context_handle_t context, const void *pointer,
                                               void *next, ze_ipc_mem_handle_t *ret_handle)
{
    ENTER(zeMemGetIpcHandleWithProperties);
    (void)next;
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer && ret_handle);
    return get_handle(pointer, ret_handle);
}

ze_result_t mem_put_ipc_handle(ze_context_handle_t context, ze_ipc_mem_handle_t ipc_handle)
{
    struct ipc_handle handle;

    ENTER(zeMemPutIpcHandle);
    REQUIRE_HANDLE(context);
    memcpy(&handle, ipc_handle.data, sizeof(handle));
    REQUIRE(handle.kind == IPC_MEMORY, INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

ze_result_t mem_open_ipc_handle(ze_context_handle_t context, ze_device_handle_t device,
                                ze_ipc_mem_handle_t ipc_handle, ze_ipc_memory_flags_t flags,
                                void **ret_pointer)
{
    struct allocation *allocation;
    struct ipc_handle handle;
    bool received;
    int fd;

    ENTER(zeMemOpenIpcHandle);
    REQUIRE_HANDLE(context && device);
    REQUIRE(flags <= 0x3, INVALID_ENUMERATION);
    REQUIRE_POINTER(ret_pointer);
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    memcpy(&handle, ipc_handle.data, sizeof(handle));
    allocation = calloc(1, sizeof(*allocation));
    REQUIRE(allocation, OUT_OF_HOST_MEMORY);
    *allocation = (struct allocation){
        .size = handle.size,
        .type = handle.detail == ZE_MEMORY_TYPE_HOST ? ZE_MEMORY_TYPE_HOST : ZE_MEMORY_TYPE_DEVICE,
        .origin = ORIGIN_OPENED,
        .context = context,
        .device = device,
        .id = memory_next_id(),
        .fd = -1,
    };
    fd = ipc_open(&handle, IPC_MEMORY, &received);
    if (fd >= 0) {
        allocation->base = memory_map(fd, handle.size, SOFT_PAGE);
        close(fd);
    }
    if (!allocation->base || !memory_insert(allocation)) {
        allocation_free(allocation);
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    *ret_pointer = allocation->base;
    return ZE_RESULT_SUCCESS;
}

ze_result_t mem_close_ipc_handle(ze_context_handle_t context, const void *pointer)
{
    struct allocation *allocation;

    ENTER(zeMemCloseIpcHandle);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    allocation = memory_remove(context, pointer, ORIGIN_OPENED);
    REQUIRE(allocation, INVALID_ARGUMENT);
    allocation_free(allocation);
    return ZE_RESULT_SUCCESS;
}
