/* SPDX-License-Identifier: MIT */
/* client/memory.c: device memory and pinned host memory.
 *
 * Guarantees of this file:
 *   - an address has one meaning: the range of each device allocation is reserved in this process,
 *     so that no host memory can ever lie where a device address points;
 *   - only addresses inside live memory of this process are sent to the daemon, with all bytes of
 *     what was asked.
 */
#include "client/memory.h"

#include "client/device.h"
#include "client/ranges.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/stream.h"
#include "proto/handle.h"

#include <xpurt/memory.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000    /* older C libraries lack the name */
#endif

#define ALLOC_TRIES 8                   /* allocations whose addresses are in use here already */
#define USER_ADDRESS_END (UINT64_C(1) << 47)

_Static_assert(XPURT_IPC_HANDLE_SIZE == HANDLE_SIZE, "one handle");

static struct ranges ranges;

/* ---- address space ------------------------------------------------------------------------------ */

/* Keep [start, start + size) free of host memory. -EEXIST: it is not. Pages that a neighbour in
 * the table shares are reserved already. */
static int range_reserve(uint64_t start, uint64_t size)
{
    uint64_t first, end;
    void *wanted, *got;

    if (start + size > USER_ADDRESS_END)
        return 0;                       /* where no host memory can be */
    if (!ranges_lone_pages(&ranges, start, size, (uint64_t)getpagesize(), &first, &end))
        return 0;

    wanted = (void *)(uintptr_t)first;
    got = mmap(wanted, end - first, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
        return -errno;
    if (got != wanted) {                /* an old kernel took the address as a hint */
        munmap(got, end - first);
        return -EEXIST;
    }
    return 0;
}

/* The range is not in the table any more. */
static void range_release(uint64_t start, uint64_t size)
{
    uint64_t first, end;

    if (start + size <= USER_ADDRESS_END &&
        ranges_lone_pages(&ranges, start, size, (uint64_t)getpagesize(), &first, &end))
        munmap((void *)(uintptr_t)first, end - first);
}

/* Put device memory into the table. */
static xpurt_result range_add(const struct range *range)
{
    int e = range_reserve(range->start, range->size);

    if (e == 0 && !ranges_insert(&ranges, range)) {
        range_release(range->start, range->size);
        e = -ENOMEM;
    }
    if (e == -EEXIST)
        return error_set(XPURT_ERROR_SYSTEM,
                         "the device addresses from 0x%llx to 0x%llx are in "
                         "use by host memory of this process",
                         (unsigned long long)range->start,
                         (unsigned long long)(range->start + range->size));
    return e < 0 ? system_error("device addresses cannot be reserved", e) : XPURT_SUCCESS;
}

static void range_drop(struct range *range)
{
    const struct range former = *range;

    ranges_remove(&ranges, range);
    if (former.kind == RANGE_DEVICE)
        range_release(former.start, former.size);
}

void memory_end(enum session_end why)
{
    while (ranges.count) {
        struct range *last = &ranges.list[ranges.count - 1];

        if (last->kind == RANGE_HOST && why == SESSION_RESET)
            munmap((void *)(uintptr_t)last->start, last->size);
        range_drop(last);
    }
}

/* ---- device memory --------------------------------------------------------------------------------- */

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

static xpurt_result not_ours(const void *ptr, const char *what)
{
    return error_set(XPURT_ERROR_INVALID_ADDRESS, "%p is not %s of this process", ptr, what);
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
    range = ranges_find(&ranges, (uintptr_t)ptr);
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
    range = ranges_find(&ranges, (uintptr_t)ptr);
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
    struct range *range = ranges_find(&ranges, opened->start);
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
    range = ranges_find(&ranges, (uintptr_t)ptr);
    if (range && range->kind == RANGE_DEVICE && range->opens)
        device_release(range, true);
    else
        r = not_ours(ptr, "inside opened device memory");
    session_leave();
    return r;
}

/* ---- pinned memory ----------------------------------------------------------------------------------- */

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
        if (ranges_insert(&ranges, &range)) {
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
    range = ranges_find(&ranges, (uintptr_t)ptr);
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
    range = ranges_find(&ranges, (uintptr_t)ptr);
    pinned = range && range->kind == RANGE_HOST;
    connection_unlock();
    return pinned;
}

/* ---- what a pointer is ------------------------------------------------------------------------------- */

xpurt_result xpurt_pointer_get_attributes(const void *ptr, xpurt_pointer_attributes *ret_attributes)
{
    const struct range *range;

    if (!ret_attributes)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the attributes");

    *ret_attributes = (xpurt_pointer_attributes){ .kind = XPURT_POINTER_UNKNOWN, .device = -1 };
    connection_lock();
    range = ranges_find(&ranges, (uintptr_t)ptr);
    if (range)
        *ret_attributes = (xpurt_pointer_attributes){
            .kind = range->kind == RANGE_DEVICE ? XPURT_POINTER_DEVICE : XPURT_POINTER_HOST,
            .device = range->kind == RANGE_DEVICE ? (int)range->device : -1,
            .base = (void *)(uintptr_t)range->start,
            .size = range->size,
            .opened = range->kind == RANGE_DEVICE && !range->own,
        };
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_pointer_get_device(const void *ptr, int *ret_device)
{
    xpurt_pointer_attributes attributes;

    if (!ret_device)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the device");

    (void)xpurt_pointer_get_attributes(ptr, &attributes);
    if (attributes.kind != XPURT_POINTER_DEVICE)
        return not_ours(ptr, "inside live device memory");
    *ret_device = attributes.device;
    return XPURT_SUCCESS;
}

/* ---- copies -------------------------------------------------------------------------------------------- */

/* Where the bytes of a copy lie. */
struct place {
    enum { PLACE_DEVICE, PLACE_PINNED, PLACE_PAGEABLE } kind;
    Xpurt__Location location;           /* unless pageable */
};

static xpurt_result place_find(const void *ptr, uint64_t size, struct place *ret_place)
{
    uint64_t address = (uintptr_t)ptr, page = (uint64_t)getpagesize();
    uint64_t first = address & ~(page - 1);
    const struct range *range = ranges_find(&ranges, address);
    bool inside = size <= UINT64_MAX - page - address;

    if (range)
        inside = inside && size <= range->start + range->size - address;
    else                                /* ordinary memory never shares a page with ours */
        inside = inside &&
                 !ranges_touch(&ranges, first, ((address + size + page - 1) & ~(page - 1)) - first);
    if (!inside)
        return error_set(XPURT_ERROR_INVALID_ADDRESS, "%llu bytes at %p leave the memory there",
                         (unsigned long long)size, ptr);

    *ret_place = (struct place){ .kind = PLACE_PAGEABLE, .location = XPURT__LOCATION__INIT };
    if (range) {
        ret_place->kind = range->kind == RANGE_DEVICE ? PLACE_DEVICE : PLACE_PINNED;
        ret_place->location.segment = range->kind == RANGE_DEVICE ? 0 : range->segment;
        ret_place->location.offset = range->kind == RANGE_DEVICE ? address : address - range->start;
    }
    return XPURT_SUCCESS;
}

static xpurt_result copy_send(xpurt_stream *stream, struct place *to, struct place *from,
                              uint64_t size)
{
    Xpurt__Copy copy = XPURT__COPY__INIT;

    copy.stream = stream_index(stream);
    copy.to = &to->location;
    copy.from = &from->location;
    copy.size = size;
    return stream_command(stream, &(Xpurt__Command){ COMMAND(COPY), .copy = &copy });
}

/* Both ends are memory of this process: in stream order means now, once the stream is there. */
static xpurt_result copy_here(void *to, const void *from, size_t size, xpurt_stream *stream)
{
    xpurt_result r = xpurt_stream_synchronize(stream);

    if (r == XPURT_SUCCESS)
        memmove(to, from, size);
    return r;
}

xpurt_result xpurt_memcpy_async(void *to, const void *from, size_t size, xpurt_stream *stream)
{
    struct place target = { 0 }, source = { 0 };
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    if (size && (!to || !from))
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "a pointer is null");
    if (size && r == XPURT_SUCCESS)
        r = place_find(to, size, &target);
    if (size && r == XPURT_SUCCESS)
        r = place_find(from, size, &source);
    if (size && r == XPURT_SUCCESS && target.kind != PLACE_PAGEABLE &&
        source.kind != PLACE_PAGEABLE) {
        r = copy_send(stream, &target, &source, size);
        size = 0;
    }
    session_leave();
    if (r || !size)
        return r;

    if (source.kind == PLACE_DEVICE)
        return staging_download(stream, to, &source.location, size);
    if (target.kind == PLACE_PAGEABLE)
        return copy_here(to, from, size, stream);
    return staging_upload(stream, &target.location, from, size);
}

xpurt_result xpurt_memset_async(void *to, int value, size_t size, xpurt_stream *stream)
{
    Xpurt__Fill fill = XPURT__FILL__INIT;
    struct place target = { 0 };
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    if (size) {
        r = to ? place_find(to, size, &target) :
                 error_set(XPURT_ERROR_INVALID_ARGUMENT, "the pointer is null");
        if (r == XPURT_SUCCESS && target.kind == PLACE_PAGEABLE)
            r = not_ours(to, "inside device or pinned memory");
        if (r == XPURT_SUCCESS) {
            fill.stream = stream_index(stream);
            fill.to = &target.location;
            fill.size = size;
            fill.pattern = (uint8_t)value;
            fill.width = 1;
            r = stream_command(stream, &(Xpurt__Command){ COMMAND(FILL), .fill = &fill });
        }
    }
    session_leave();
    return r;
}
