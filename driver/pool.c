/* SPDX-License-Identifier: MIT */
/* pool.c: event pools.
 *
 * Guarantees of this file:
 *   - a pool created for IPC lives in a memory file of its own, any other on the heap;
 *   - importing changes nothing in the pool; a descriptor that was put into the handle for us is
 *     consumed by a successful import, the exporter's own number never is;
 *   - the memory goes when the handle and all events in it are gone.
 */
#include "counter.h"
#include "ddi.h"
#include "event.h"
#include "ipc.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define POOL_MAGIC 0x31304c4f4f50455au  /* changes when the layout does */
#define POOL_EVENTS_MAX (1u << 24)

static size_t pool_bytes(uint32_t count)
{
    return sizeof(struct pool_header) + (size_t)count * sizeof(struct slot);
}

static bool pool_map(ze_event_pool_handle_t pool)
{
    size_t size = ALIGN_UP(pool_bytes(pool->count), SOFT_PAGE);
    void *memory;

    if (!(pool->flags & ZE_EVENT_POOL_FLAG_IPC)) {
        memory = aligned_alloc(sizeof(struct slot), pool_bytes(pool->count));
        if (!memory)
            return false;
        pool->header = memset(memory, 0, pool_bytes(pool->count));
        return true;
    }
    pool->fd = memory_file("ze_soft-events", size);
    if (pool->fd < 0)
        return false;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, pool->fd, 0);
    if (memory == MAP_FAILED)
        return false;
    pool->header = memory;
    pool->mapped = size;
    return true;
}

void pool_unref(ze_event_pool_handle_t pool)
{
    if (!pool || atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (pool->mapped)
        munmap(pool->header, pool->mapped);
    else
        free(pool->header);
    if (pool->fd >= 0)
        close(pool->fd);
    free(pool);
}

static ze_event_pool_handle_t pool_new(ze_context_handle_t context)
{
    ze_event_pool_handle_t pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    atomic_init(&pool->refs, 1);
    pool->context = context;
    pool->fd = -1;
    return pool;
}

static ze_result_t pool_create(ze_context_handle_t context, const ze_event_pool_desc_t *desc,
                               uint32_t device_count, ze_device_handle_t *devices,
                               ze_event_pool_handle_t *ret_pool)
{
    const uint32_t stamps =
        ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP | NEWER_EVENT_POOL_FLAG_KERNEL_MAPPED_TIMESTAMP;
    ze_event_pool_handle_t pool;

    ENTER(zeEventPoolCreate);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(desc && ret_pool);
    REQUIRE(desc->flags <= NEWER_EVENT_POOL_FLAGS, INVALID_ENUMERATION);
    REQUIRE((desc->flags & stamps) != stamps, INVALID_ENUMERATION);
    REQUIRE(desc->count > 0 && (devices || !device_count), INVALID_SIZE);
    REQUIRE(desc->count <= POOL_EVENTS_MAX, OUT_OF_DEVICE_MEMORY);
    for (uint32_t i = 0; i < device_count; i++) {
        REQUIRE_HANDLE(devices[i]);
        REQUIRE(context_has(context, devices[i]), INVALID_ARGUMENT);
    }

    pool = pool_new(context);
    REQUIRE(pool, OUT_OF_HOST_MEMORY);
    pool->flags = desc->flags;
    pool->count = desc->count;
    pool->counter_based =
        chain_find(desc->pNext, NEWER_STRUCTURE_TYPE_COUNTER_BASED_EVENT_POOL_EXP_DESC);
    if (!pool_map(pool)) {
        pool_unref(pool);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    pool->header->magic = POOL_MAGIC;
    pool->header->count = desc->count;
    pool->header->flags = desc->flags;
    *ret_pool = pool;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_destroy(ze_event_pool_handle_t pool)
{
    ENTER(zeEventPoolDestroy);
    REQUIRE_HANDLE(pool);
    pool_unref(pool);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_get_ipc_handle(ze_event_pool_handle_t pool,
                                       ze_ipc_event_pool_handle_t *ret_handle)
{
    struct ipc_handle handle;

    ENTER(zeEventPoolGetIpcHandle);
    REQUIRE_HANDLE(pool);
    REQUIRE_POINTER(ret_handle);
    REQUIRE(pool->flags & ZE_EVENT_POOL_FLAG_IPC && !pool->imported && !pool->counter_based,
            INVALID_ARGUMENT);
    REQUIRE(ipc_describe(pool->fd, IPC_POOL, pool->mapped, &handle), INVALID_ARGUMENT);
    memcpy(ret_handle->data, &handle, sizeof(handle));
    return ZE_RESULT_SUCCESS;
}

/* The descriptor belongs to the pool and goes with it: there is nothing to give back. */
static ze_result_t pool_put_ipc_handle(ze_context_handle_t context,
                                       ze_ipc_event_pool_handle_t ipc_handle)
{
    struct ipc_handle handle;

    ENTER(zeEventPoolPutIpcHandle);
    REQUIRE_HANDLE(context);
    memcpy(&handle, ipc_handle.data, sizeof(handle));
    REQUIRE(handle.kind == IPC_POOL, INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_import(ze_event_pool_handle_t pool, int fd, size_t size)
{
    struct pool_header *header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    REQUIRE(header != MAP_FAILED, OUT_OF_HOST_MEMORY);
    pool->header = header;
    pool->mapped = size;
    pool->count = header->count;        /* a copy: the other side may change it */
    pool->flags = header->flags;
    pool->imported = true;
    REQUIRE(header->magic == POOL_MAGIC && pool->count > 0 && pool->count <= POOL_EVENTS_MAX &&
                pool_bytes(pool->count) <= size,
            INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_open_ipc_handle(ze_context_handle_t context,
                                        ze_ipc_event_pool_handle_t ipc_handle,
                                        ze_event_pool_handle_t *ret_pool)
{
    ze_event_pool_handle_t pool;
    struct ipc_handle handle;
    ze_result_t result;
    bool received;
    int fd;

    ENTER(zeEventPoolOpenIpcHandle);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(ret_pool);
    memcpy(&handle, ipc_handle.data, sizeof(handle));
    pool = pool_new(context);
    REQUIRE(pool, OUT_OF_HOST_MEMORY);
    fd = ipc_open(&handle, IPC_POOL, &received);
    result = fd < 0 ? ZE_RESULT_ERROR_INVALID_ARGUMENT : pool_import(pool, fd, handle.size);
    if (fd >= 0)
        close(fd);
    if (result != ZE_RESULT_SUCCESS) {
        pool_unref(pool);
        return result;
    }
    if (received)
        close(handle.fd);
    *ret_pool = pool;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_close_ipc_handle(ze_event_pool_handle_t pool)
{
    ENTER(zeEventPoolCloseIpcHandle);
    REQUIRE_HANDLE(pool);
    REQUIRE(pool->imported, INVALID_ARGUMENT);
    pool_unref(pool);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_get_context_handle(ze_event_pool_handle_t pool,
                                           ze_context_handle_t *ret_context)
{
    ENTER(zeEventPoolGetContextHandle);
    REQUIRE_HANDLE(pool);
    REQUIRE_POINTER(ret_context);
    *ret_context = pool->context;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_get_flags(ze_event_pool_handle_t pool, ze_event_pool_flags_t *ret_flags)
{
    ENTER(zeEventPoolGetFlags);
    REQUIRE_HANDLE(pool);
    REQUIRE_POINTER(ret_flags);
    *ret_flags = pool->flags;
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table event_pool_table =
    DDI_TABLE(DDI(ze_event_pool_dditable_t, pfnCreate, 0, pool_create),
              DDI(ze_event_pool_dditable_t, pfnDestroy, 0, pool_destroy),
              DDI(ze_event_pool_dditable_t, pfnGetIpcHandle, 0, pool_get_ipc_handle),
              DDI(ze_event_pool_dditable_t, pfnOpenIpcHandle, 0, pool_open_ipc_handle),
              DDI(ze_event_pool_dditable_t, pfnCloseIpcHandle, 0, pool_close_ipc_handle),
              DDI_NEWER("zeEventPoolPutIpcHandle", 5, 6, pool_put_ipc_handle),
              DDI_NEWER("zeEventPoolGetContextHandle", 6, 9, pool_get_context_handle),
              DDI_NEWER("zeEventPoolGetFlags", 7, 9, pool_get_flags));
