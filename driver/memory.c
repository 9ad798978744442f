/* SPDX-License-Identifier: MIT */
/* memory.c: device, host and shared memory. On a CPU they are the same memory; what differs is what
 * they are charged to and what they are reported as.
 *
 * Guarantees of this file:
 *   - every allocation is a memory file of its own, so that it can be shared, alone, and outlives
 *     its owner in whoever opened it;
 *   - every allocation is found by any address inside it, from any thread;
 *   - device and shared memory is charged to its device and given back when it is freed.
 */
#include "memory.h"

#include "ddi.h"
#include "ipc.h"
#include "queue.h"

#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *tree;                      /* of struct allocation, by address range; under the lock */
static _Atomic uint64_t last_id;

void memory_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void memory_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

uint64_t memory_next_id(void)
{
    return atomic_fetch_add(&last_id, 1) + 1;
}

/* Overlapping ranges count as equal: a search for one byte finds what contains it. */
static int compare_ranges(const void *a, const void *b)
{
    const struct allocation *x = a, *y = b;

    if (x->base + x->size <= y->base)
        return -1;
    return y->base + y->size <= x->base;
}

struct allocation *memory_find(const void *pointer)
{
    struct allocation key = { .base = (char *)(uintptr_t)pointer, .size = 1 };
    struct allocation **found;

    pthread_mutex_lock(&lock);
    found = tfind(&key, &tree, compare_ranges);
    return found ? *found : NULL;
}

void memory_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

bool memory_covers(const void *pointer, size_t size)
{
    const struct allocation *allocation = memory_find(pointer);
    bool covers =
        allocation && size <= allocation->size - (size_t)((const char *)pointer - allocation->base);

    memory_unlock();
    return covers;
}

bool memory_insert(struct allocation *allocation)
{
    struct allocation **found;
    bool inserted;

    pthread_mutex_lock(&lock);
    found = tsearch(allocation, &tree, compare_ranges);
    inserted = found && *found == allocation;
    pthread_mutex_unlock(&lock);
    return inserted;
}

struct allocation *memory_remove(ze_context_handle_t context, const void *pointer,
                                 enum allocation_origin origin)
{
    struct allocation key = { .base = (char *)(uintptr_t)pointer, .size = 1 };
    struct allocation **found, *allocation = NULL;

    pthread_mutex_lock(&lock);
    found = tfind(&key, &tree, compare_ranges);
    if (found && (*found)->base == pointer && (*found)->origin == origin &&
        (*found)->context == context) {
        allocation = *found;
        tdelete(allocation, &tree, compare_ranges);
    }
    pthread_mutex_unlock(&lock);
    return allocation;
}

/* Device addresses are passed from process to process, and are not to mean something else there:
 * memory goes where no kernel places a mapping by itself, below the highest place where it begins.
 * Two processes with this driver begin at different places; addresses come round again late. */
#if UINTPTR_MAX > UINT32_MAX
#define WINDOW_BEGIN UINT64_C(0x7e9000000000)
#define WINDOW_SIZE UINT64_C(0x6000000000)
#else
#define WINDOW_BEGIN 0u
#define WINDOW_SIZE 0u
#endif

/* Where to try; NULL: anywhere. */
static void *window_next(size_t length)
{
    static _Atomic uint64_t used;
    uint64_t start = (uint64_t)getpid() % 4096 << 26;

    if (length > WINDOW_SIZE / 8)
        return NULL;
    start += atomic_fetch_add(&used, length + SOFT_PAGE);
    start %= WINDOW_SIZE;
    return start + length > WINDOW_SIZE ? NULL : (void *)(uintptr_t)(WINDOW_BEGIN + start);
}

void *memory_map(int fd, size_t size, size_t alignment)
{
    size_t length = ALIGN_UP(size, SOFT_PAGE);
    char *reserved, *aligned;

    if (alignment <= SOFT_PAGE) {
        void *memory = mmap(window_next(length), length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        return memory == MAP_FAILED ? NULL : memory;
    }
    if (length > SIZE_MAX - alignment)
        return NULL;
    reserved = mmap(window_next(length + alignment), length + alignment, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED)
        return NULL;
    aligned = (char *)ALIGN_UP((uintptr_t)reserved, alignment);
    if (mmap(aligned, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
        MAP_FAILED) {
        munmap(reserved, length + alignment);
        return NULL;
    }
    if (aligned > reserved)
        munmap(reserved, (size_t)(aligned - reserved));
    munmap(aligned + length, alignment - (size_t)(aligned - reserved));
    return aligned;
}

static bool charge(ze_device_handle_t device, size_t size)
{
    uint64_t used;

    if (!device)
        return size <= soft_driver.memory_total;
    used = atomic_load(&device->memory_used);
    do {
        if (size > soft_driver.memory_total || used > soft_driver.memory_total - size)
            return false;
    } while (!atomic_compare_exchange_weak(&device->memory_used, &used, used + size));
    return true;
}

void allocation_free(struct allocation *allocation)
{
    if (!allocation)
        return;
    if (allocation->origin != ORIGIN_HOST_POINTER && allocation->base)
        munmap(allocation->base, ALIGN_UP(allocation->size, SOFT_PAGE));
    if (allocation->fd >= 0)
        close(allocation->fd);
    if (allocation->device && allocation->origin == ORIGIN_ALLOCATED)
        atomic_fetch_sub(&allocation->device->memory_used, allocation->size);
    free(allocation);
}

/* A descriptor the application wants mapped instead of fresh memory; -1: none, or unusable. */
static int import_fd(const void *chain, bool *ret_asked)
{
    const ze_external_memory_import_fd_t *import =
        chain_find(chain, ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD);

    *ret_asked = import;
    if (!import || import->flags != ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD)
        return -1;
    return fcntl(import->fd, F_DUPFD_CLOEXEC, 0);
}

static ze_result_t allocate(struct allocation *allocation, size_t alignment, const void *chain)
{
    bool import;

    allocation->fd = import_fd(chain, &import);
    allocation->origin = import ? ORIGIN_IMPORTED : ORIGIN_ALLOCATED;
    if (import) {
        struct ipc_handle handle;

        REQUIRE(ipc_describe(allocation->fd, IPC_MEMORY, allocation->size, &handle),
                INVALID_ARGUMENT);
        REQUIRE(lseek(allocation->fd, 0, SEEK_END) >= (off_t)allocation->size, INVALID_SIZE);
    } else {
        if (!charge(allocation->device, allocation->size)) {
            allocation->device = NULL;  /* nothing to give back */
            return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
        }
        allocation->fd = memory_file("ze_soft-memory", ALIGN_UP(allocation->size, SOFT_PAGE));
        REQUIRE(allocation->fd >= 0, OUT_OF_HOST_MEMORY);
    }
    allocation->base = memory_map(allocation->fd, allocation->size, alignment);
    REQUIRE(allocation->base, OUT_OF_HOST_MEMORY);
    return ZE_RESULT_SUCCESS;
}

/* The application's own pages, to be known as host memory. */
static bool adopt_system_memory(struct allocation *allocation, const void *chain)
{
    const newer_external_memmap_sysmem_ext_desc_t *system =
        chain_find(chain, NEWER_STRUCTURE_TYPE_EXTERNAL_MEMMAP_SYSMEM_EXT_DESC);

    if (!system)
        return false;
    allocation->base = system->pSystemMemory;
    allocation->size = system->size;
    allocation->origin = ORIGIN_HOST_POINTER;
    return true;
}

static ze_result_t mem_alloc(ze_context_handle_t context, ze_memory_type_t type, size_t size,
                             size_t alignment, ze_device_handle_t device, const void *chain,
                             void **ret_pointer)
{
    const ze_relaxed_allocation_limits_exp_desc_t *relaxed =
        chain_find(chain, ZE_STRUCTURE_TYPE_RELAXED_ALLOCATION_LIMITS_EXP_DESC);
    struct allocation *allocation;
    ze_result_t result;

    REQUIRE(size > 0, UNSUPPORTED_SIZE);
    REQUIRE(alignment == 0 || is_power_of_two(alignment), UNSUPPORTED_ALIGNMENT);
    REQUIRE(!device || context_has(context, device), INVALID_ARGUMENT);
    REQUIRE(size <= soft_driver.memory_total || (relaxed && size <= SIZE_MAX / 2),
            UNSUPPORTED_SIZE);
    REQUIRE(!device || !atomic_load(&device->lost), DEVICE_LOST);
    allocation = calloc(1, sizeof(*allocation));
    REQUIRE(allocation, OUT_OF_HOST_MEMORY);
    *allocation = (struct allocation){
        .size = size,
        .type = type,
        .context = context,
        .device = device,
        .id = memory_next_id(),
        .fd = -1,
    };
    result = adopt_system_memory(allocation, chain) ? ZE_RESULT_SUCCESS :
                                                      allocate(allocation, alignment, chain);
    if (result == ZE_RESULT_SUCCESS && !memory_insert(allocation))
        result = ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    if (result != ZE_RESULT_SUCCESS) {
        allocation_free(allocation);
        return result;
    }
    *ret_pointer = allocation->base;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t mem_alloc_shared(ze_context_handle_t context,
                                    const ze_device_mem_alloc_desc_t *device_desc,
                                    const ze_host_mem_alloc_desc_t *host_desc, size_t size,
                                    size_t alignment, ze_device_handle_t device, void **ret_pointer)
{
    ENTER(zeMemAllocShared);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(device_desc && host_desc && ret_pointer);
    REQUIRE(device_desc->flags <= 0x7 && host_desc->flags <= 0xf, INVALID_ENUMERATION);
    return mem_alloc(context, ZE_MEMORY_TYPE_SHARED, size, alignment, device, device_desc->pNext,
                     ret_pointer);
}

static ze_result_t mem_alloc_device(ze_context_handle_t context,
                                    const ze_device_mem_alloc_desc_t *desc, size_t size,
                                    size_t alignment, ze_device_handle_t device, void **ret_pointer)
{
    ENTER(zeMemAllocDevice);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_pointer);
    REQUIRE(desc->flags <= 0x7, INVALID_ENUMERATION);
    return mem_alloc(context, ZE_MEMORY_TYPE_DEVICE, size, alignment, device, desc->pNext,
                     ret_pointer);
}

static ze_result_t mem_alloc_host(ze_context_handle_t context, const ze_host_mem_alloc_desc_t *desc,
                                  size_t size, size_t alignment, void **ret_pointer)
{
    ENTER(zeMemAllocHost);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(desc && ret_pointer);
    REQUIRE(desc->flags <= 0xf, INVALID_ENUMERATION);
    return mem_alloc(context, ZE_MEMORY_TYPE_HOST, size, alignment, NULL, desc->pNext, ret_pointer);
}

/* Memory the application asked for by any way but an IPC handle. */
static struct allocation *remove_owned(ze_context_handle_t context, const void *pointer)
{
    struct allocation *allocation = memory_remove(context, pointer, ORIGIN_ALLOCATED);

    if (!allocation)
        allocation = memory_remove(context, pointer, ORIGIN_IMPORTED);
    if (!allocation)
        allocation = memory_remove(context, pointer, ORIGIN_HOST_POINTER);
    return allocation;
}

static ze_result_t mem_free(ze_context_handle_t context, void *pointer)
{
    struct allocation *allocation;

    ENTER(zeMemFree);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    allocation = remove_owned(context, pointer);
    REQUIRE(allocation, INVALID_ARGUMENT);
    allocation_free(allocation);
    return ZE_RESULT_SUCCESS;
}

static void allocation_drop(void *allocation)
{
    if (atomic_fetch_sub(&((struct allocation *)allocation)->holds, 1) == 1)
        allocation_free(allocation);
}

static void allocation_hold(void *allocation)
{
    atomic_fetch_add(&((struct allocation *)allocation)->holds, 1);
}

static ze_result_t mem_free_ext(ze_context_handle_t context, const ze_memory_free_ext_desc_t *desc,
                                void *pointer)
{
    struct allocation *allocation;

    ENTER(zeMemFreeExt);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(desc && pointer);
    REQUIRE(desc->freePolicy <= 0x3, INVALID_ENUMERATION);
    allocation = remove_owned(context, pointer);
    REQUIRE(allocation, INVALID_ARGUMENT);
    if (desc->freePolicy & ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE)
        queues_wait_all(NULL);
    allocation_hold(allocation);
    if (desc->freePolicy & ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_DEFER_FREE)
        queues_after_all(allocation_hold, allocation_drop, allocation);
    allocation_drop(allocation);
    return ZE_RESULT_SUCCESS;
}

static void export_fd(const struct allocation *allocation, const void *chain)
{
    ze_external_memory_export_fd_t *export =
        chain_find(chain, ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_EXPORT_FD);

    if (export)
        export->fd =
            allocation && allocation->fd >= 0 ? fcntl(allocation->fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static ze_result_t mem_get_alloc_properties(ze_context_handle_t context, const void *pointer,
                                            ze_memory_allocation_properties_t *properties,
                                            ze_device_handle_t *ret_device)
{
    const struct allocation *allocation;

    ENTER(zeMemGetAllocProperties);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer && properties);
    allocation = memory_find(pointer);
    properties->type = allocation ? allocation->type : ZE_MEMORY_TYPE_UNKNOWN;
    properties->id = allocation ? allocation->id : 0;
    properties->pageSize = allocation ? SOFT_PAGE : 0;
    export_fd(allocation, properties->pNext);
    if (ret_device)
        *ret_device = allocation ? allocation->device : NULL;
    memory_unlock();
    return ZE_RESULT_SUCCESS;
}

static ze_result_t mem_get_address_range(ze_context_handle_t context, const void *pointer,
                                         void **ret_base, size_t *ret_size)
{
    const struct allocation *allocation;

    ENTER(zeMemGetAddressRange);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(pointer);
    allocation = memory_find(pointer);
    if (allocation && ret_base)
        *ret_base = allocation->base;
    if (allocation && ret_size)
        *ret_size = allocation->size;
    memory_unlock();
    REQUIRE(allocation, INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table mem_table = DDI_TABLE(
    DDI(ze_mem_dditable_t, pfnAllocShared, 0, mem_alloc_shared),
    DDI(ze_mem_dditable_t, pfnAllocDevice, 0, mem_alloc_device),
    DDI(ze_mem_dditable_t, pfnAllocHost, 0, mem_alloc_host),
    DDI(ze_mem_dditable_t, pfnFree, 0, mem_free),
    DDI(ze_mem_dditable_t, pfnGetAllocProperties, 0, mem_get_alloc_properties),
    DDI(ze_mem_dditable_t, pfnGetAddressRange, 0, mem_get_address_range),
    DDI(ze_mem_dditable_t, pfnGetIpcHandle, 0, mem_get_ipc_handle),
    DDI(ze_mem_dditable_t, pfnOpenIpcHandle, 0, mem_open_ipc_handle),
    DDI(ze_mem_dditable_t, pfnCloseIpcHandle, 0, mem_close_ipc_handle),
    DDI(ze_mem_dditable_t, pfnFreeExt, 3, mem_free_ext),
    DDI_NEWER("zeMemPutIpcHandle", 10, 6, mem_put_ipc_handle),
    DDI_UNSUPPORTED(11, 9),             /* image pitch */
    DDI_NEWER("zeMemGetIpcHandleWithProperties", 12, 15, mem_get_ipc_handle_with_properties));
