/* SPDX-License-Identifier: MIT */
/* daemon/gpu_pool.c: event pools that other processes open in contexts of their own.
 *
 * Guarantees of this file:
 *   - a slot is never reset or handed out here: its user does so, who knows who looks at it;
 *   - the descriptor that names a pool goes with the pool, and is never closed twice;
 *   - no descriptor of memory leaves that names more than the one allocation.
 */
#include "daemon/gpu_internal.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE_PAGE (UINT64_C(2) << 20)  /* drivers round allocations up to that */

struct shared_slot {
    struct gpu_slot slot;               /* first: a resource, and a slot */
    struct gpu_pool *pool;              /* borrowed: we are in it */
};

struct gpu_pool {
    struct gpu_context *context;        /* borrowed: outlives us */
    ze_event_pool_handle_t handle;
    ze_ipc_event_pool_handle_t ipc;
    bool exported;
    void (*idle)(void *owner, unsigned index);
    void *owner;
    unsigned n_slots;
    struct shared_slot slots[];
};

static void shared_slot_destroy(struct resource *resource)
{
    struct shared_slot *shared = (struct shared_slot *)resource;

    shared->pool->idle(shared->pool->owner, (unsigned)(shared - shared->pool->slots));
}

/* With the device's own time of each signal where the driver can share that. */
static ze_result_t pool_create(struct gpu_context *context, unsigned count,
                               ze_event_pool_handle_t *ret_handle)
{
    ze_event_pool_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
        .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE | ZE_EVENT_POOL_FLAG_IPC |
                 ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP,
        .count = count,
    };
    ze_result_t result = zeEventPoolCreate(context->handle, &desc, 0, NULL, ret_handle);

    if (result == ZE_RESULT_SUCCESS)
        return result;
    desc.flags &= ~(ze_event_pool_flags_t)ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP;
    return zeEventPoolCreate(context->handle, &desc, 0, NULL, ret_handle);
}

static ze_result_t pool_fill(struct gpu_pool *pool, unsigned count)
{
    ze_result_t result;

    result = pool_create(pool->context, count, &pool->handle);
    if (!result)
        result = zeEventPoolGetIpcHandle(pool->handle, &pool->ipc);
    if (!result)
        pool->exported = true;
    for (unsigned i = 0; i < count && !result; i++) {
        ze_event_desc_t desc = {
            .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
            .index = i,
            .signal = ZE_EVENT_SCOPE_FLAG_HOST,
            .wait = ZE_EVENT_SCOPE_FLAG_DEVICE,
        };
        struct shared_slot *shared = &pool->slots[i];

        result = zeEventCreate(pool->handle, &desc, &shared->slot.event);
        if (result)
            break;
        pool->n_slots++;
        shared->slot.resource.destroy = shared_slot_destroy;
        shared->slot.context = pool->context;
        shared->pool = pool;
    }
    return result;
}

xpurt_result gpu_pool_new(struct gpu_context *context, unsigned count,
                          void (*idle)(void *owner, unsigned index), void *owner,
                          struct gpu_pool **ret_pool)
{
    struct gpu_pool *pool;
    xpurt_result result;

    pool = calloc(1, sizeof(*pool) + count * sizeof(pool->slots[0]));
    if (!pool)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    pool->context = context;
    pool->idle = idle;
    pool->owner = owner;
    result = gpu_check("making a shared event pool", pool_fill(pool, count));
    if (result) {
        gpu_pool_free(pool);
        return result;
    }
    *ret_pool = pool;
    return XPURT_SUCCESS;
}

static int pool_fd(const struct gpu_pool *pool)
{
    int fd;

    memcpy(&fd, pool->ipc.data, sizeof(fd));
    return fd;
}

/* False: the driver or the loader does not know how, the descriptor is ours to close. */
static bool handle_put(struct gpu_pool *pool)
{
    typedef ze_result_t (*put_function)(ze_context_handle_t, ze_ipc_event_pool_handle_t);
    put_function put = (put_function)dlsym(RTLD_DEFAULT, "zeEventPoolPutIpcHandle");

    return put && put(pool->context->handle, pool->ipc) == ZE_RESULT_SUCCESS;
}

/* Some drivers close the descriptor with the pool, some leave it open: close it if it is still the
 * same file. */
static void pool_destroy(struct gpu_pool *pool)
{
    struct stat before = { 0 }, after = { 0 };
    int fd = pool->exported && !handle_put(pool) ? pool_fd(pool) : -1;

    if (fd >= 0 && fstat(fd, &before) < 0)
        fd = -1;
    zeEventPoolDestroy(pool->handle);
    if (fd >= 0 && fstat(fd, &after) == 0 && before.st_ino == after.st_ino &&
        before.st_dev == after.st_dev)
        close(fd);
}

void gpu_pool_free(struct gpu_pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; i < pool->n_slots; i++) {
        assert(pool->slots[i].slot.resource.refs == 0);
        zeEventDestroy(pool->slots[i].slot.event);
    }
    if (pool->handle)
        pool_destroy(pool);
    free(pool);
}

struct gpu_slot *gpu_pool_take(struct gpu_pool *pool, unsigned index)
{
    struct gpu_slot *slot = &pool->slots[index].slot;

    slot->resource.refs++;
    return slot;
}

bool gpu_pool_idle(struct gpu_pool *pool, unsigned index)
{
    return pool->slots[index].slot.resource.refs == 0;
}

void gpu_pool_signal(struct gpu_pool *pool, unsigned index)
{
    zeEventHostSignal(pool->slots[index].slot.event);
}

bool gpu_pool_reset(struct gpu_pool *pool, unsigned index)
{
    return zeEventHostReset(pool->slots[index].slot.event) == ZE_RESULT_SUCCESS;
}

int gpu_pool_handle(struct gpu_pool *pool, const void **ret_bytes)
{
    *ret_bytes = pool->ipc.data;
    return pool_fd(pool);
}

/* A driver may cut small allocations from larger ones, of several users: whoever has the descriptor can map
 * all of it. The offset in there is told by the handle. */
static bool names_more(const ze_ipc_mem_handle_t *handle, int fd, uint64_t size)
{
    uint64_t offset;
    off_t end = lseek(fd, 0, SEEK_END);

    memcpy(&offset, handle->data + sizeof(uint64_t), sizeof(offset));
    return offset || (end > 0 && ((uint64_t)end - 1) / LARGE_PAGE > (size - 1) / LARGE_PAGE);
}

xpurt_result gpu_memory_handle(struct gpu_context *context, uint64_t address, uint64_t size,
                               uint8_t ret_bytes[64], int *ret_fd)
{
    ze_ipc_mem_handle_t handle;
    xpurt_result result;
    int fd;

    result =
        gpu_check("zeMemGetIpcHandle",
                  zeMemGetIpcHandle(context->handle, (const void *)(uintptr_t)address, &handle));
    if (result)
        return result;
    memcpy(&fd, handle.data, sizeof(fd));
    if (names_more(&handle, fd, size))
        return gpu_check("naming this memory alone", ZE_RESULT_ERROR_UNSUPPORTED_FEATURE);
    memcpy(ret_bytes, handle.data, sizeof(handle.data));
    *ret_fd = fd;
    return XPURT_SUCCESS;
}
