/* SPDX-License-Identifier: MIT */
/* client/address.c: what the addresses of this process are.
 *
 * Guarantees of this file:
 *   - an address has one meaning: segments of device memory that this process has a part of are
 *     reserved here, so that no host memory can ever lie where a device address points;
 *   - a mapping of a segment stays only as long as it is certain that the segment is the same: while
 *     one range in it, in use or in the magazine, is still ours.
 */
#include "client/address.h"

#include "client/host.h"
#include "client/magazine.h"
#include "client/mapping.h"
#include "client/result.h"
#include "client/statistics.h"

#include <xpurt/memory.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000    /* older C libraries lack the name */
#endif

#define USER_ADDRESS_END (UINT64_C(1) << 47)

struct ranges addresses;
static struct ranges segments;          /* of the driver's; `opens` counts ranges in it */

/* ---- address space ------------------------------------------------------------------------------ */

/* Keep the segment free of host memory. -EEXIST: it is not. Pages that a neighbour in the table
 * shares are reserved already. */
static int pages_reserve(uint64_t start, uint64_t size)
{
    uint64_t first, end;
    void *wanted, *got;

    if (start + size > USER_ADDRESS_END)
        return 0;                       /* where no host memory can be */
    if (!ranges_lone_pages(&segments, start, size, (uint64_t)getpagesize(), &first, &end))
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

/* The segment is not in the table any more. */
static void pages_release(uint64_t start, uint64_t size)
{
    uint64_t first, end;

    if (start + size <= USER_ADDRESS_END &&
        ranges_lone_pages(&segments, start, size, (uint64_t)getpagesize(), &first, &end))
        munmap((void *)(uintptr_t)first, end - first);
}

/* One more range is in the segment. 0 or -errno. */
static int segment_hold(uint64_t start, uint64_t size)
{
    struct range *segment = ranges_find(&segments, start);
    int e;

    if (segment && segment->mapping) {
        /* Is it still the one that was mapped? Not if the daemon has taken back all that was in it. */
        magazine_sweep();
        segment = ranges_find(&segments, start);
    }
    if (segment && segment->start == start && segment->size == size) {
        segment->opens++;
        return 0;
    }
    /* What overlaps it is gone: the daemon has taken it back from the magazine. */
    magazine_forget(start, size);
    e = pages_reserve(start, size);
    if (e == 0 &&
        !ranges_insert(&segments, &(struct range){ .start = start, .size = size, .opens = 1 })) {
        pages_release(start, size);
        e = -ENOMEM;
    }
    return e;
}

static void segment_drop(uint64_t address)
{
    struct range *segment = ranges_find(&segments, address);
    const struct range former = *segment;

    if (--segment->opens)
        return;
    ranges_remove(&segments, segment);
    mapping_detach(former.mapping);
    pages_release(former.start, former.size);
}

struct range *segment_find(uint64_t address)
{
    return ranges_find(&segments, address);
}

xpurt_result range_add(const struct range *range, uint64_t segment, uint64_t segment_size)
{
    int e;

    magazine_forget(range->start, range->rounded);
    e = segment_hold(segment, segment_size);
    if (e == 0 && !ranges_insert(&addresses, range)) {
        segment_drop(range->start);
        e = -ENOMEM;
    }
    if (e == -EEXIST)
        return error_set(XPURT_ERROR_SYSTEM,
                         "the device addresses from 0x%llx to 0x%llx are in "
                         "use by host memory of this process",
                         (unsigned long long)segment, (unsigned long long)(segment + segment_size));
    return e < 0 ? system_error("device addresses cannot be reserved", e) : XPURT_SUCCESS;
}

void range_drop(struct range *range)
{
    const struct range former = *range;

    ranges_remove(&addresses, range);
    if (former.kind == RANGE_DEVICE)
        segment_drop(former.start);
}

bool addresses_touch(uint64_t start, uint64_t size)
{
    return ranges_touch(&addresses, start, size) || ranges_touch(&segments, start, size);
}

void addresses_end(void)
{
    while (addresses.count)
        range_drop(&addresses.list[addresses.count - 1]);
    magazine_end();
    statistics_end();
}

/* ---- what a pointer is ------------------------------------------------------------------------------- */

xpurt_result not_ours(const void *ptr, const char *what)
{
    return error_set(XPURT_ERROR_INVALID_ADDRESS, "%p is not %s of this process", ptr, what);
}

static xpurt_pointer_attributes attributes_of(uint64_t address)
{
    const struct range *range = ranges_find(&addresses, address);
    const struct host_block *block =
        range && range->kind == RANGE_HOST ? host_find(range, address) : NULL;

    if (block)
        return (xpurt_pointer_attributes){
            .kind = XPURT_POINTER_HOST,
            .device = -1,
            .base = (void *)(uintptr_t)host_start(block),
            .size = host_size(block),
            .owner = (int32_t)getpid(),
        };
    if (range && range->kind == RANGE_DEVICE)
        return (xpurt_pointer_attributes){
            .kind = XPURT_POINTER_DEVICE,
            .device = (int)range->device,
            .base = (void *)(uintptr_t)range->start,
            .size = range->size,
            .opened = !range->own,
            .owner = range->owner,
        };
    return (xpurt_pointer_attributes){ .kind = XPURT_POINTER_UNKNOWN, .device = -1 };
}

xpurt_result xpurt_pointer_get_attributes(const void *ptr, xpurt_pointer_attributes *ret_attributes)
{
    if (!ret_attributes)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the attributes");

    connection_lock();
    *ret_attributes = attributes_of((uintptr_t)ptr);
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
