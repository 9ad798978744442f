/* SPDX-License-Identifier: MIT */
/* client/ze/memory.c: xpurt's device memory in contexts of the caller.
 *
 * Guarantees of this file: an allocation is opened once in a context, counted.
 */
#include "client/ze/context.h"

#include <stdlib.h>
#include <unistd.h>

/* Open what @p handle names in the context. The descriptor stays open, the driver does not take it. */
static xpurt_result memory_open(struct context *context, ze_device_handle_t device,
                                const unsigned char handle[64], int fd, void *base, size_t size,
                                struct opened_memory **ret_memory)
{
    struct opened_memory *memory;
    ze_ipc_mem_handle_t ipc;
    xpurt_result r;
    int ours;

    memory = calloc(1, sizeof(*memory));
    ours = handle_patch((unsigned char *)ipc.data, handle, fd);
    if (!memory || ours < 0) {
        free(memory);
        if (ours >= 0)
            close(ours);
        return xpurtp_error(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for native memory");
    }
    r = ze_error("zeMemOpenIpcHandle",
                 zeMemOpenIpcHandle(context->handle, device, ipc, 0, &memory->native));
    close(ours);
    if (r) {
        free(memory);
        return r;
    }
    memory->base = base;
    memory->size = size;
    HASH_ADD_PTR(context->memory, base, memory);
    *ret_memory = memory;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_mem_get_ze_pointer(const void *ptr, const xpurt_ze_context *from,
                                      ze_device_handle_t device, void **ret_native)
{
    struct opened_memory *memory = NULL;
    unsigned char handle[64];
    struct context *context;
    void *base;
    size_t size;
    xpurt_result r;
    int fd, index;

    if (!ptr || !device || !ret_native)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT,
                            "there is no memory, no device, or nowhere to put the address");
    r = context_check(from, device, &index);
    if (r == XPURT_SUCCESS)
        r = xpurtp_memory_native(ptr, handle, &fd, &base, &size);
    if (r)
        return r;

    context_lock();
    context = context_get(from);
    if (context)
        HASH_FIND_PTR(context->memory, &base, memory);
    if (!context)
        r = xpurtp_error(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for native memory");
    else if (!memory)
        r = memory_open(context, device, handle, fd, base, size, &memory);
    if (r == XPURT_SUCCESS) {
        memory->count++;
        *ret_native = (char *)memory->native + ((const char *)ptr - (const char *)base);
    }
    context_unlock();
    close(fd);
    return r;
}

xpurt_result xpurt_mem_put_ze_pointer(const xpurt_ze_context *from, void *native)
{
    struct opened_memory *memory, *next, *found = NULL;
    struct context *context;
    xpurt_result r = XPURT_SUCCESS;

    if (!from || !native)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the context or the address is null");
    context_lock();
    context = context_find(from->context);
    if (context)
        HASH_ITER(hh, context->memory, memory, next)
            if ((char *)native >= (char *)memory->native &&
                (char *)native < (char *)memory->native + memory->size)
                found = memory;
    if (!found) {
        r = xpurtp_error(XPURT_ERROR_INVALID_ADDRESS,
                         "%p is not memory that was opened in this context", native);
    } else if (--found->count == 0) {
        HASH_DEL(context->memory, found);
        r = ze_error("zeMemCloseIpcHandle", zeMemCloseIpcHandle(context->handle, found->native));
        free(found);
    }
    context_unlock();
    return r;
}
