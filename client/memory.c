/* SPDX-License-Identifier: MIT */
/* client/memory.c: device memory.
 *
 * Guarantees of this file: memory is freed or closed only as often as it was allocated or opened;
 * its range stays reserved until the last of these; a free in stream order that the magazine takes,
 * and the allocation that gets it back, ask nobody.
 */
#include "client/memory.h"
#include "client/address.h"
#include "client/device.h"
#include "client/magazine.h"
#include "client/result.h"
#include "client/statistics.h"
#include "client/stream.h"
#include "proto/handle.h"

#include <xpurt/allocator.h>

#include <string.h>
#include <unistd.h>

#define ALLOC_TRIES 8                   /* allocations whose addresses are in use here already */
#define ROUNDING 512u                   /* the daemon's, of sizes */

_Static_assert(XPURT_IPC_HANDLE_SIZE == HANDLE_SIZE, "one handle");

void memory_free_send(uint64_t address, uint32_t stream)
{
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;

    memory_free.address = address;
    memory_free.stream = stream;
    (void)connection_command(
        &(Xpurt__Command){ COMMAND(MEMORY_FREE), .memory_free = &memory_free });
}

/* ---- allocating ------------------------------------------------------------------------------------ */

struct wish {
    uint32_t device;
    uint64_t size;
    uint64_t rounded;
    uint32_t stream;                    /* 1 + its index; 0: none */
};

static xpurt_result allocate(const struct wish *wish, bool fresh, Xpurt__MemoryAllocated *ret_told)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    alloc.device = wish->device;
    alloc.size = wish->size;
    alloc.stream = wish->stream;
    alloc.fresh = fresh;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_ALLOCATED, 0, &reply);
    if (r)
        return r;
    *ret_told = *reply.message->memory_allocated;
    if (!ret_told->segment_size) {      /* an older daemon says only where */
        ret_told->segment = ret_told->address;
        ret_told->segment_size = ret_told->size = wish->rounded;
    }
    reply_deinit(&reply);
    return XPURT_SUCCESS;
}

static xpurt_result allocated_add(const struct wish *wish, const Xpurt__MemoryAllocated *told)
{
    struct range range = {
        .start = told->address,
        .size = wish->size,
        .kind = RANGE_DEVICE,
        .device = wish->device,
        .own = true,
        .owner = (int32_t)getpid(),
        .entry = told->entry,
        .rounded = told->size,
    };
    xpurt_result r;

    if (told->entry > MAGAZINE_ENTRIES || told->size < wish->size ||
        told->address < told->segment || told->segment_size < told->size ||
        told->address - told->segment > told->segment_size - told->size)
        return error_set(XPURT_ERROR_PROTOCOL, "xpurtd gave a block that lies outside its segment");
    r = range_add(&range, told->segment, told->segment_size);
    if (r)
        return r;
    if (range.entry)
        magazine_enter(&range, wish->stream - 1, wish->rounded);
    else if (wish->stream && range.rounded <= MAGAZINE_BLOCK_MAX)
        magazine_flush_all();           /* it is full: of sizes that were not wanted */
    statistics_allocated(wish->device, range.rounded, wish->size, false);
    return XPURT_SUCCESS;
}

/* Allocate until the addresses are free in this process; only then give back the others. */
static xpurt_result allocate_unique(const struct wish *wish, uint64_t *ret_address)
{
    Xpurt__MemoryAllocated told = XPURT__MEMORY_ALLOCATED__INIT;
    uint64_t taken[ALLOC_TRIES];
    unsigned n_taken = 0;
    xpurt_result r;

    do {
        r = allocate(wish, n_taken > 0, &told);
        if (r)
            break;
        r = allocated_add(wish, &told);
        if (r)
            taken[n_taken++] = told.address;
    } while (r == XPURT_ERROR_SYSTEM && n_taken < ALLOC_TRIES);

    while (n_taken)
        memory_free_send(taken[--n_taken], 0);
    if (r == XPURT_SUCCESS)
        *ret_address = told.address;
    return r;
}

/* From the magazine or the daemon. The lock is held, and may be free meanwhile. */
static xpurt_result wish_grant(const struct wish *wish, void **ret_ptr)
{
    const struct range *range = NULL;
    uint64_t address = 0;
    xpurt_result r;

    if (wish->stream && statistics_allow(wish->device, wish->rounded))
        range = magazine_take(wish->stream - 1, wish->rounded, wish->size);
    if (range) {
        statistics_allocated(wish->device, range->rounded, wish->size, true);
        *ret_ptr = (void *)(uintptr_t)range->start;
        return XPURT_SUCCESS;
    }
    r = magazine_begin();
    if (r == XPURT_SUCCESS)
        r = allocate_unique(wish, &address);
    if (r)
        return r;
    device_use(wish->device);
    *ret_ptr = (void *)(uintptr_t)address;
    return XPURT_SUCCESS;
}

/* The daemon refuses sizes that cannot be rounded. */
static uint64_t round_up(uint64_t size)
{
    return size > UINT64_MAX - ROUNDING ? size : (size + ROUNDING - 1) / ROUNDING * ROUNDING;
}

static xpurt_result nowhere(void)
{
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the address");
}

xpurt_result xpurt_malloc(void **ret_ptr, size_t size)
{
    int device = device_choose(-1);
    struct wish wish = { .size = size, .rounded = round_up(size) };
    xpurt_result r;

    if (!ret_ptr)
        return nowhere();
    if (!size) {
        *ret_ptr = NULL;
        return XPURT_SUCCESS;
    }
    r = device_enter(device);
    if (r)
        return r;
    wish.device = (uint32_t)device;
    r = wish_grant(&wish, ret_ptr);
    session_leave();
    return r;
}

xpurt_result xpurt_malloc_async(void **ret_ptr, size_t size, xpurt_stream *stream)
{
    struct wish wish = { .size = size, .rounded = round_up(size) };
    xpurt_result r;

    if (!ret_ptr)
        return nowhere();
    if (!size) {
        r = stream_check(stream);
        if (r == XPURT_SUCCESS)
            *ret_ptr = NULL;
        return r;
    }
    r = stream_enter_running(stream);
    if (r)
        return r;
    wish.device = stream_device(stream);
    wish.stream = 1 + stream_index(stream);
    r = wish_grant(&wish, ret_ptr);
    session_leave();
    return r;
}

/* ---- freeing --------------------------------------------------------------------------------------- */

/* Undo an allocation or an opening. The range goes with the last of them. @p stream: as in
 * memory_free_send(). */
static void device_release(struct range *range, bool opening, uint32_t stream)
{
    if (!opening) {
        bool swapped = stream && magazine_put(range, stream - 1);

        statistics_freed(range->device, range->rounded, range->size, swapped);
        if (swapped)
            return;
    }
    memory_free_send(range->start, stream);
    if (opening)
        range->opens--;
    else
        range->own = false;
    if (!range->own && !range->opens)
        range_drop(range);
}

/* The device memory in use around @p ptr, when no thread of this process copies from or to it: one that
 * does has to be over soon, and nobody may get the memory before. NULL: there is none. The lock is held,
 * and free meanwhile. */
static struct range *range_at_rest(const void *ptr)
{
    struct range *range;

    while ((range = ranges_find(&addresses, (uintptr_t)ptr)) && range->copies)
        connection_await_change();
    return range;
}

/* The device memory in use that starts at @p ptr. The lock is held, and free meanwhile. */
static xpurt_result range_starting(const void *ptr, struct range **ret_range)
{
    struct range *range = range_at_rest(ptr);

    if (!range || range->kind != RANGE_DEVICE || range->start != (uintptr_t)ptr)
        return not_ours(ptr, "the start of live device memory");
    *ret_range = range;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_free(void *ptr)
{
    struct range *range = NULL;
    xpurt_result r;

    if (!ptr)
        return XPURT_SUCCESS;
    r = session_enter();
    if (r)
        return r;
    r = range_starting(ptr, &range);
    if (r == XPURT_SUCCESS)
        device_release(range, !range->own, 0);
    session_leave();
    return r;
}

static xpurt_result same_device(const struct range *range, xpurt_stream *stream)
{
    if (range->device == stream_device(stream))
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_DEVICE,
                     "the memory is on device %u, the stream on device %u", range->device,
                     stream_device(stream));
}

xpurt_result xpurt_free_async(void *ptr, xpurt_stream *stream)
{
    struct range *range = NULL;
    xpurt_result r;

    r = ptr ? stream_enter_running(stream) : stream_check(stream);
    if (r || !ptr)
        return r;
    r = range_starting(ptr, &range);
    if (r == XPURT_SUCCESS) {
        magazine_make_room(range->rounded);
        r = range_starting(ptr, &range);
    }
    if (r == XPURT_SUCCESS)
        r = same_device(range, stream);
    if (r == XPURT_SUCCESS)
        device_release(range, !range->own, 1 + stream_index(stream));
    session_leave();
    return r;
}

xpurt_result xpurt_record_stream(void *ptr, xpurt_stream *stream)
{
    Xpurt__MemoryRecord record = XPURT__MEMORY_RECORD__INIT;
    struct range *range;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE) {
        range->recorded = true;
        record.address = range->start;
        record.stream = stream_index(stream);
        r = connection_command(
            &(Xpurt__Command){ COMMAND(MEMORY_RECORD), .memory_record = &record });
    } else {
        r = not_ours(ptr, "inside live device memory");
    }
    session_leave();
    return r;
}

xpurt_result xpurt_empty_cache(void)
{
    Xpurt__MemoryTrim trim = XPURT__MEMORY_TRIM__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_TRIM), .memory_trim = &trim };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_TRIMMED, 0, &reply);
    magazine_sweep();
    session_leave();
    reply_deinit(&reply);
    return r;
}

/* ---- sharing --------------------------------------------------------------------------------------- */

xpurt_result xpurt_mem_get_ipc_handle(const void *ptr, xpurt_mem_handle *ret_handle)
{
    Xpurt__MemoryExport export = XPURT__MEMORY_EXPORT__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_EXPORT), .memory_export = &export };
    struct reply reply = REPLY_NULL;
    const ProtobufCBinaryData *handle;
    struct range *range;
    xpurt_result r;

    if (!ptr || !ret_handle)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no memory, or nowhere to put the "
                                                       "handle");
    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE) {
        range->exported = true;
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
    bool whole = opened->segment_size != 0; /* else an older daemon says nothing of it */
    xpurt_result r = XPURT_SUCCESS;

    if (range && range->kind == RANGE_DEVICE && range->start == opened->start)
        range->opens++;
    else
        r = range_add(&(struct range){ .start = opened->start,
                                       .size = opened->size,
                                       .kind = RANGE_DEVICE,
                                       .device = opened->device,
                                       .opens = 1,
                                       .owner = opened->owner,
                                       .rounded = opened->size },
                      whole ? opened->segment : opened->start,
                      whole ? opened->segment_size : opened->size);
    if (r)
        memory_free_send(opened->start, 0);
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
    range = range_at_rest(ptr);
    if (range && range->kind == RANGE_DEVICE && range->opens)
        device_release(range, true, 0);
    else
        r = not_ours(ptr, "inside opened device memory");
    session_leave();
    return r;
}
