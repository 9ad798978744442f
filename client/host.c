/* SPDX-License-Identifier: MIT */
/* client/host.c: pinned host memory. */
#include "client/host.h"

#include "client/address.h"
#include "client/result.h"

#include <xpurt/memory.h>

#include <errno.h>
#include <sys/mman.h>

static void host_free_send(uint32_t segment)
{
    Xpurt__HostFree host_free = XPURT__HOST_FREE__INIT;

    host_free.segment = segment;
    (void)connection_command(&(Xpurt__Command){ COMMAND(HOST_FREE), .host_free = &host_free });
}

xpurt_result segment_new(uint64_t size, uint32_t *ret_segment, void **ret_memory)
{
    Xpurt__HostAlloc alloc = XPURT__HOST_ALLOC__INIT;
    Xpurt__ToDaemon request = { REQUEST(HOST_ALLOC), .host_alloc = &alloc };
    struct reply reply = REPLY_NULL;
    uint32_t segment;
    void *memory;
    xpurt_result r;

    alloc.size = size;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_HOST_ALLOCATED, 1, &reply);
    if (r)
        return r;

    segment = reply.message->host_allocated->segment;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds.fds[0], 0);
    if (memory == MAP_FAILED) {
        r = system_error("pinned memory cannot be mapped", -errno);
        host_free_send(segment);
    } else {
        *ret_segment = segment;
        *ret_memory = memory;
    }
    reply_deinit(&reply);
    return r;
}

void segment_free(uint32_t segment, void *memory, uint64_t size)
{
    host_free_send(segment);
    munmap(memory, size);
}

xpurt_result xpurt_host_malloc(void **ret_ptr, size_t size)
{
    struct range range = { .size = size, .kind = RANGE_HOST, .own = true };
    void *memory = NULL;
    xpurt_result r;

    if (!ret_ptr)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the address");
    if (!size) {
        *ret_ptr = NULL;
        return XPURT_SUCCESS;
    }

    r = session_enter();
    if (r)
        return r;
    r = segment_new(size, &range.segment, &memory);
    if (r == XPURT_SUCCESS) {
        range.start = (uintptr_t)memory;
        if (ranges_insert(&addresses, &range)) {
            *ret_ptr = memory;
        } else {
            segment_free(range.segment, memory, size);
            r = system_error("pinned memory", -ENOMEM);
        }
    }
    session_leave();
    return r;
}

xpurt_result xpurt_host_free(void *ptr)
{
    struct range *range;
    xpurt_result r;

    if (!ptr)
        return XPURT_SUCCESS;

    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_HOST && range->start == (uintptr_t)ptr) {
        segment_free(range->segment, ptr, range->size);
        range_drop(range);
    } else {
        r = not_ours(ptr, "the start of live pinned memory");
    }
    session_leave();
    return r;
}

int xpurt_host_is_pinned(const void *ptr)
{
    const struct range *range;
    int pinned;

    connection_lock();
    range = ranges_find(&addresses, (uintptr_t)ptr);
    pinned = range && range->kind == RANGE_HOST;
    connection_unlock();
    return pinned;
}
