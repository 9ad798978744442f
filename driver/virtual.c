/* SPDX-License-Identifier: MIT */
/* virtual.c: address ranges and the physical memory mapped into them.
 *
 * Guarantees of this file:
 *   - a reservation is a range of the process's own addresses, of which nothing is accessible until
 *     it is mapped, and nothing again when it is unmapped;
 *   - pieces may be mapped, protected and unmapped in any pattern of whole pages;
 *   - physical memory lives until its handle and all its mappings are gone.
 */
#include "ddi.h"
#include "ipc.h"
#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

struct _ze_physical_mem_handle_t {
    _Atomic uint32_t refs;
    uint64_t id;
    size_t size;
    int fd;
};

/* A mapped piece of a reservation; sorted by address, never overlapping. */
struct range {
    char *base;
    size_t size;
    ze_memory_access_attribute_t access;
    ze_physical_mem_handle_t physical;  /* a reference */
    struct range *next;
};

/* In the tree of all allocations, whose lock guards the ranges too. */
struct reservation {
    struct allocation allocation;       /* first: freed as one */
    struct range *ranges;
};

static bool is_page_aligned(size_t value)
{
    return value % SOFT_PAGE == 0;
}

static int protection(ze_memory_access_attribute_t access)
{
    return access == ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE ? PROT_READ | PROT_WRITE :
           access == ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY  ? PROT_READ :
                                                            PROT_NONE;
}

static void physical_unref(ze_physical_mem_handle_t physical)
{
    if (!physical || atomic_fetch_sub(&physical->refs, 1) != 1)
        return;
    if (physical->fd >= 0)
        close(physical->fd);
    free(physical);
}

/* The reservation that holds the whole range; takes the lock even when there is none. */
static struct reservation *reservation_lock(ze_context_handle_t context, const void *pointer,
                                            size_t size)
{
    struct allocation *allocation = memory_find(pointer);

    if (!allocation || allocation->origin != ORIGIN_RESERVED || allocation->context != context ||
        size > allocation->size - (size_t)((const char *)pointer - allocation->base))
        return NULL;
    return (struct reservation *)allocation;
}

/* Makes @p at a border between two ranges, if it is inside one. */
static bool split_at(struct reservation *reservation, const char *at)
{
    struct range *upper;

    for (struct range *range = reservation->ranges; range; range = range->next) {
        if (at <= range->base || at >= range->base + range->size)
            continue;
        upper = malloc(sizeof(*upper));
        if (!upper)
            return false;
        *upper = *range;
        atomic_fetch_add(&range->physical->refs, 1);
        range->size = (size_t)(at - range->base);
        range->next = upper;
        upper->base += range->size;
        upper->size -= range->size;
        return true;
    }
    return true;
}

static bool inside(const struct range *range, const char *base, size_t size)
{
    return range->base >= base && range->base + range->size <= base + size;
}

static ze_result_t virtual_reserve(ze_context_handle_t context, const void *start, size_t size,
                                   void **ret_pointer)
{
    struct reservation *reservation;
    void *memory;

    ENTER(zeVirtualMemReserve);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(ret_pointer);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    REQUIRE(is_page_aligned((uintptr_t)start), UNSUPPORTED_ALIGNMENT);
    reservation = calloc(1, sizeof(*reservation));
    REQUIRE(reservation, OUT_OF_HOST_MEMORY);
    memory = mmap((void *)(uintptr_t)start, size, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    reservation->allocation = (struct allocation){
        .base = memory == MAP_FAILED ? NULL : memory,
        .size = size,
        .type = ZE_MEMORY_TYPE_DEVICE,
        .origin = ORIGIN_RESERVED,
        .context = context,
        .id = memory_next_id(),
        .fd = -1,
    };
    if (memory == MAP_FAILED || !memory_insert(&reservation->allocation)) {
        allocation_free(&reservation->allocation);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *ret_pointer = memory;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t virtual_free(ze_context_handle_t context, const void *pointer, size_t size)
{
    struct reservation *reservation;
    struct range *next;
    bool whole;

    ENTER(zeVirtualMemFree);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    REQUIRE(is_page_aligned((uintptr_t)pointer), UNSUPPORTED_ALIGNMENT);
    reservation = reservation_lock(context, pointer, size);
    whole = reservation && reservation->allocation.base == pointer &&
            reservation->allocation.size == size;
    memory_unlock();
    REQUIRE(whole, INVALID_ARGUMENT);
    reservation = (struct reservation *)memory_remove(context, pointer, ORIGIN_RESERVED);
    REQUIRE(reservation, INVALID_ARGUMENT);
    for (struct range *range = reservation->ranges; range; range = next) {
        next = range->next;
        physical_unref(range->physical);
        free(range);
    }
    allocation_free(&reservation->allocation);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t virtual_query_page_size(ze_context_handle_t context, ze_device_handle_t device,
                                           size_t size, size_t *ret_size)
{
    ENTER(zeVirtualMemQueryPageSize);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(ret_size);
    REQUIRE(size > 0, UNSUPPORTED_SIZE);
    *ret_size = SOFT_PAGE;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t physical_create(ze_context_handle_t context, ze_device_handle_t device,
                                   ze_physical_mem_desc_t *desc,
                                   ze_physical_mem_handle_t *ret_physical)
{
    const uint32_t on_host = 2;         /* since 1.8; then there is no device */
    ze_physical_mem_handle_t physical;

    ENTER(zePhysicalMemCreate);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(desc && ret_physical);
    REQUIRE(desc->flags <= 0x3, INVALID_ENUMERATION);
    REQUIRE_HANDLE(device || desc->flags & on_host);
    REQUIRE(!device || context_has(context, device), INVALID_ARGUMENT);
    REQUIRE(desc->size > 0 && is_page_aligned(desc->size), UNSUPPORTED_SIZE);
    REQUIRE(desc->size <= soft_driver.memory_total, OUT_OF_DEVICE_MEMORY);
    physical = calloc(1, sizeof(*physical));
    REQUIRE(physical, OUT_OF_HOST_MEMORY);
    atomic_init(&physical->refs, 1);
    physical->id = memory_next_id();
    physical->size = desc->size;
    physical->fd = memory_file("ze_soft-physical", desc->size);
    if (physical->fd < 0) {
        physical_unref(physical);
        return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    *ret_physical = physical;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t physical_destroy(ze_context_handle_t context, ze_physical_mem_handle_t physical)
{
    ENTER(zePhysicalMemDestroy);
    REQUIRE_HANDLE(context && physical);
    physical_unref(physical);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t physical_get_properties(ze_context_handle_t context,
                                           ze_physical_mem_handle_t physical,
                                           newer_physical_mem_properties_t *properties)
{
    ENTER(zePhysicalMemGetProperties);
    REQUIRE_HANDLE(context && physical);
    REQUIRE_POINTER(properties);
    properties->id = physical->id;
    properties->size = physical->size;
    return ZE_RESULT_SUCCESS;
}

static bool is_free(const struct reservation *reservation, const char *base, size_t size)
{
    for (const struct range *range = reservation->ranges; range; range = range->next)
        if (base < range->base + range->size && range->base < base + size)
            return false;
    return true;
}

static ze_result_t map_range(struct reservation *reservation, char *base, size_t size,
                             ze_physical_mem_handle_t physical, size_t offset,
                             ze_memory_access_attribute_t access)
{
    struct range **link = &reservation->ranges, *range;

    REQUIRE(is_free(reservation, base, size), INVALID_ARGUMENT);
    range = malloc(sizeof(*range));
    REQUIRE(range, OUT_OF_HOST_MEMORY);
    if (mmap(base, size, protection(access), MAP_SHARED | MAP_FIXED, physical->fd, (off_t)offset) ==
        MAP_FAILED) {
        free(range);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    while (*link && (*link)->base < base)
        link = &(*link)->next;
    atomic_fetch_add(&physical->refs, 1);
    *range = (struct range){ base, size, access, physical, *link };
    *link = range;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t virtual_map(ze_context_handle_t context, const void *pointer, size_t size,
                               ze_physical_mem_handle_t physical, size_t offset,
                               ze_memory_access_attribute_t access)
{
    struct reservation *reservation;
    ze_result_t result;

    ENTER(zeVirtualMemMap);
    REQUIRE_HANDLE(context && physical);
    REQUIRE_POINTER(pointer);
    REQUIRE((unsigned)access <= ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY, INVALID_ENUMERATION);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    REQUIRE(is_page_aligned((uintptr_t)pointer) && is_page_aligned(offset), UNSUPPORTED_ALIGNMENT);
    REQUIRE(offset <= physical->size && size <= physical->size - offset, INVALID_ARGUMENT);
    reservation = reservation_lock(context, pointer, size);
    result = reservation ? map_range(reservation, (char *)(uintptr_t)pointer, size, physical,
                                     offset, access) :
                           ZE_RESULT_ERROR_INVALID_ARGUMENT;
    memory_unlock();
    return result;
}

/* Checks what unmapping and protecting have in common, and cuts the ranges at both ends. */
static ze_result_t cut(ze_context_handle_t context, const void *pointer, size_t size,
                       struct reservation **ret_locked)
{
    *ret_locked = reservation_lock(context, pointer, size);
    REQUIRE(*ret_locked, INVALID_ARGUMENT);
    REQUIRE(split_at(*ret_locked, pointer) && split_at(*ret_locked, (const char *)pointer + size),
            OUT_OF_HOST_MEMORY);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t unmap_ranges(struct reservation *reservation, const char *base, size_t size)
{
    struct range **link = &reservation->ranges, *range;

    while ((range = *link)) {
        if (!inside(range, base, size)) {
            link = &range->next;
            continue;
        }
        if (mmap(range->base, range->size, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
            return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
        *link = range->next;
        physical_unref(range->physical);
        free(range);
    }
    return ZE_RESULT_SUCCESS;
}

static ze_result_t virtual_unmap(ze_context_handle_t context, const void *pointer, size_t size)
{
    struct reservation *reservation;
    ze_result_t result;

    ENTER(zeVirtualMemUnmap);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    REQUIRE(is_page_aligned((uintptr_t)pointer), UNSUPPORTED_ALIGNMENT);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    result = cut(context, pointer, size, &reservation);
    if (result == ZE_RESULT_SUCCESS)
        result = unmap_ranges(reservation, pointer, size);
    memory_unlock();
    return result;
}

static ze_result_t virtual_set_access(ze_context_handle_t context, const void *pointer, size_t size,
                                      ze_memory_access_attribute_t access)
{
    struct reservation *reservation;
    ze_result_t result;

    ENTER(zeVirtualMemSetAccessAttribute);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    REQUIRE((unsigned)access <= ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY, INVALID_ENUMERATION);
    REQUIRE(is_page_aligned((uintptr_t)pointer), UNSUPPORTED_ALIGNMENT);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    result = cut(context, pointer, size, &reservation);
    for (struct range *range = result == ZE_RESULT_SUCCESS ? reservation->ranges : NULL; range;
         range = range->next) {
        if (!inside(range, pointer, size))
            continue;
        if (mprotect(range->base, range->size, protection(access)) == 0)
            range->access = access;
        else
            result = ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    memory_unlock();
    return result;
}

/* The access at @p at, and how far it reaches; what is not mapped has none. */
static ze_memory_access_attribute_t access_at(const struct reservation *reservation, const char *at,
                                              const char **ret_end)
{
    const char *end = reservation->allocation.base + reservation->allocation.size;

    for (const struct range *range = reservation->ranges; range; range = range->next) {
        if (at >= range->base && at < range->base + range->size) {
            *ret_end = range->base + range->size;
            return range->access;
        }
        if (range->base > at && range->base < end)
            end = range->base;
    }
    *ret_end = end;
    return ZE_MEMORY_ACCESS_ATTRIBUTE_NONE;
}

static ze_result_t virtual_get_access(ze_context_handle_t context, const void *pointer, size_t size,
                                      ze_memory_access_attribute_t *ret_access, size_t *ret_size)
{
    const char *at = pointer, *end;
    struct reservation *reservation;

    ENTER(zeVirtualMemGetAccessAttribute);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer && ret_access && ret_size);
    REQUIRE(is_page_aligned((uintptr_t)pointer), UNSUPPORTED_ALIGNMENT);
    REQUIRE(size > 0 && is_page_aligned(size), UNSUPPORTED_SIZE);
    reservation = reservation_lock(context, pointer, size);
    if (reservation) {
        const char *limit = at + size, *next;

        *ret_access = access_at(reservation, at, &end);
        while (end < limit && access_at(reservation, end, &next) == *ret_access)
            end = next;
        *ret_size = (size_t)((end < limit ? end : limit) - at);
    }
    memory_unlock();
    REQUIRE(reservation, INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table physical_mem_table =
    DDI_TABLE(DDI(ze_physical_mem_dditable_t, pfnCreate, 0, physical_create),
              DDI(ze_physical_mem_dditable_t, pfnDestroy, 0, physical_destroy),
              DDI_NEWER("zePhysicalMemGetProperties", 2, 15, physical_get_properties));

const struct ddi_table virtual_mem_table =
    DDI_TABLE(DDI(ze_virtual_mem_dditable_t, pfnReserve, 0, virtual_reserve),
              DDI(ze_virtual_mem_dditable_t, pfnFree, 0, virtual_free),
              DDI(ze_virtual_mem_dditable_t, pfnQueryPageSize, 0, virtual_query_page_size),
              DDI(ze_virtual_mem_dditable_t, pfnMap, 0, virtual_map),
              DDI(ze_virtual_mem_dditable_t, pfnUnmap, 0, virtual_unmap),
              DDI(ze_virtual_mem_dditable_t, pfnSetAccessAttribute, 0, virtual_set_access),
              DDI(ze_virtual_mem_dditable_t, pfnGetAccessAttribute, 0, virtual_get_access));
