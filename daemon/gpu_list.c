/* SPDX-License-Identifier: MIT */
/* daemon/gpu_list.c: in-order command lists and the slots their markers signal.
 *
 * Guarantees of this file:
 *   - commands of a list run in the order of the calls, with a driver that knows in-order lists
 *     and (by barriers) with one that does not;
 *   - a slot is handed out again only when nobody refers to it, and then reads "not done".
 */
#include "daemon/gpu_internal.h"

#include <stdlib.h>

#define POOL_SLOTS 128                  /* markers of one event pool; drivers round to 64 KiB */

#ifndef ZE_COMMAND_QUEUE_FLAG_IN_ORDER
#define ZE_COMMAND_QUEUE_FLAG_IN_ORDER ZE_BIT(1) /* since 1.6; older headers lack the name */
#endif

/* ---- slots ------------------------------------------------------------------------------------ */

struct slot_pool {
    struct slot_pool *next;
    ze_event_pool_handle_t handle;
    uint64_t *ticks;                    /* host memory: one stamp a slot */
    unsigned n_slots;
    struct gpu_slot slots[POOL_SLOTS];
};

static void slot_destroy(struct resource *resource)
{
    struct gpu_slot *slot = (struct gpu_slot *)resource;

    /* One that cannot be reset would read "done" at once: it is not used again. */
    if (zeEventHostReset(slot->event) != ZE_RESULT_SUCCESS)
        return;
    slot->next_free = slot->context->free_slots;
    slot->context->free_slots = slot;
}

static void pool_free(struct gpu_context *context, struct slot_pool *pool)
{
    for (unsigned i = 0; i < pool->n_slots; i++)
        zeEventDestroy(pool->slots[i].event);
    if (pool->handle)
        zeEventPoolDestroy(pool->handle);
    if (pool->ticks)
        zeMemFree(context->handle, pool->ticks);
    free(pool);
}

static ze_result_t pool_fill(struct gpu_context *context, struct slot_pool *pool)
{
    ze_event_pool_desc_t pool_desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
        .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
        .count = POOL_SLOTS,
    };
    ze_host_mem_alloc_desc_t host_desc = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC };
    ze_result_t result;

    result = zeEventPoolCreate(context->handle, &pool_desc, 0, NULL, &pool->handle);
    if (!result)
        result = zeMemAllocHost(context->handle, &host_desc, POOL_SLOTS * sizeof(uint64_t),
                                sizeof(uint64_t), (void **)&pool->ticks);

    for (unsigned i = 0; i < POOL_SLOTS && !result; i++) {
        ze_event_desc_t desc = {
            .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
            .index = i,
            .signal = ZE_EVENT_SCOPE_FLAG_HOST,
            .wait = ZE_EVENT_SCOPE_FLAG_DEVICE,
        };
        struct gpu_slot *slot = &pool->slots[i];

        result = zeEventCreate(pool->handle, &desc, &slot->event);
        if (result)
            break;
        pool->n_slots++;
        slot->resource.destroy = slot_destroy;
        slot->context = context;
        slot->ticks = &pool->ticks[i];
    }
    return result;
}

static xpurt_result pool_add(struct gpu_context *context)
{
    struct slot_pool *pool;
    xpurt_result result;

    pool = calloc(1, sizeof(*pool));
    if (!pool)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;

    result = gpu_check("making an event pool", pool_fill(context, pool));
    if (result) {
        pool_free(context, pool);
        return result;
    }

    for (unsigned i = 0; i < POOL_SLOTS; i++) {
        pool->slots[i].next_free = context->free_slots;
        context->free_slots = &pool->slots[i];
    }
    pool->next = context->pools;
    context->pools = pool;
    return XPURT_SUCCESS;
}

void gpu_slots_free(struct gpu_context *context)
{
    while (context->pools) {
        struct slot_pool *pool = context->pools;

        context->pools = pool->next;
        pool_free(context, pool);
    }
    context->free_slots = NULL;
}

xpurt_result gpu_slot_new(struct gpu_context *context, struct gpu_slot **ret_slot)
{
    struct gpu_slot *slot;

    if (!context->free_slots) {
        xpurt_result result = pool_add(context);

        if (result)
            return result;
    }
    slot = context->free_slots;
    context->free_slots = slot->next_free;
    slot->resource.refs = 1;
    *ret_slot = slot;
    return XPURT_SUCCESS;
}

struct resource *gpu_slot_resource(struct gpu_slot *slot)
{
    return &slot->resource;
}

xpurt_result gpu_slot_done(struct gpu_slot *slot)
{
    switch (zeEventQueryStatus(slot->event)) {
    case ZE_RESULT_SUCCESS:
        return XPURT_SUCCESS;
    case ZE_RESULT_ERROR_DEVICE_LOST:
        return XPURT_ERROR_DEVICE_LOST;
    default:                            /* whatever else went wrong, the work may still run */
        return XPURT_NOT_READY;
    }
}

void gpu_slot_await(struct gpu_slot *slot, uint64_t timeout_ns)
{
    (void)zeEventHostSynchronize(slot->event, timeout_ns);
}

void gpu_slot_release(struct gpu_slot *slot)
{
    zeEventHostSignal(slot->event);
}

/* ---- lists -------------------------------------------------------------------------------------- */

struct gpu_list {
    ze_command_list_handle_t handle;    /* NULL: in another process */
    struct gpu_device *device;          /* borrowed: outlives us */
    bool in_order;                      /* the driver keeps the order */
    bool barrier_needed;                /* else: there is a command without a barrier behind it */
};

/* From the ticks of the device, which wrap, to nanoseconds, which do not. */
static uint64_t clock_nanoseconds(struct gpu_clock *clock, uint64_t ticks)
{
    unsigned unused = 64 - clock->bits;
    uint64_t continued;

    pthread_mutex_lock(&clock->lock);
    /* The signed distance to the last stamp, modulo 2^bits: stamps may come a little out of order. */
    continued = clock->last + (uint64_t)((int64_t)((ticks - clock->last) << unused) >> unused);
    if (continued > clock->last)
        clock->last = continued;
    pthread_mutex_unlock(&clock->lock);

    return (uint64_t)((unsigned __int128)continued * 1000000000u / clock->ticks_per_second);
}

/* Slots of shared pools are signalled by lists of others, who write no ticks for us. */
static uint64_t shared_ticks(struct gpu_slot *slot, struct gpu_list *list)
{
    ze_kernel_timestamp_result_t stamp;

    if (zeEventQueryKernelTimestamp(slot->event, &stamp) != ZE_RESULT_SUCCESS)
        return list->device->clock.last;
    return stamp.global.kernelEnd;
}

uint64_t gpu_slot_nanoseconds(struct gpu_slot *slot, struct gpu_list *list)
{
    uint64_t ticks = slot->ticks ? *(volatile uint64_t *)slot->ticks : shared_ticks(slot, list);

    return clock_nanoseconds(&list->device->clock, ticks);
}

xpurt_result gpu_list_new(struct gpu_context *context, unsigned device, int priority,
                          struct gpu_list **ret_list)
{
    struct gpu *gpu = context->gpu;
    struct gpu_device *gpu_device = &gpu->devices[device];
    ze_command_queue_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
        .ordinal = gpu_device->ordinal,
        .index = gpu_device->next_queue,
        .flags = gpu->in_order ? (ze_command_queue_flags_t)ZE_COMMAND_QUEUE_FLAG_IN_ORDER : 0,
        .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
        .priority = priority < 0 ? ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_HIGH :
                    priority > 0 ? ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_LOW :
                                   ZE_COMMAND_QUEUE_PRIORITY_NORMAL,
    };
    struct gpu_list *list;
    xpurt_result result;

    list = calloc(1, sizeof(*list));
    if (!list)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;

    list->device = gpu_device;
    list->in_order = gpu->in_order;
    result = gpu_check(
        "zeCommandListCreateImmediate",
        zeCommandListCreateImmediate(context->handle, gpu_device->handle, &desc, &list->handle));
    if (result) {
        free(list);
        return result;
    }
    gpu_device->next_queue = (gpu_device->next_queue + 1) % gpu_device->queues;
    *ret_list = list;
    return XPURT_SUCCESS;
}

xpurt_result gpu_list_new_external(struct gpu_context *context, unsigned device,
                                   struct gpu_list **ret_list)
{
    struct gpu_list *list = calloc(1, sizeof(*list));

    if (!list)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    list->device = &context->gpu->devices[device];
    *ret_list = list;
    return XPURT_SUCCESS;
}

void gpu_list_free(struct gpu_list *list)
{
    if (!list)
        return;
    if (list->handle)
        zeCommandListDestroy(list->handle);
    free(list);
}

/* Order the next command behind the earlier ones. */
static ze_result_t order(struct gpu_list *list)
{
    if (list->in_order || !list->barrier_needed)
        return ZE_RESULT_SUCCESS;
    list->barrier_needed = false;
    return zeCommandListAppendBarrier(list->handle, NULL, 0, NULL);
}

xpurt_result gpu_list_copy(struct gpu_list *list, void *to, const void *from, uint64_t size)
{
    ze_result_t result = order(list);

    if (!result)
        result = zeCommandListAppendMemoryCopy(list->handle, to, from, size, NULL, 0, NULL);
    list->barrier_needed = true;
    return gpu_check("zeCommandListAppendMemoryCopy", result);
}

xpurt_result gpu_list_fill(struct gpu_list *list, void *to, uint32_t pattern, unsigned width,
                           uint64_t size)
{
    ze_result_t result = order(list);

    if (!result)
        result =
            zeCommandListAppendMemoryFill(list->handle, to, &pattern, width, size, NULL, 0, NULL);
    list->barrier_needed = true;
    return gpu_check("zeCommandListAppendMemoryFill", result);
}

xpurt_result gpu_list_copy_rows(struct gpu_list *list, const struct gpu_rows *to,
                                const struct gpu_rows *from, uint32_t width, uint32_t height)
{
    const ze_copy_region_t rows = { .width = width, .height = height, .depth = 1 };
    ze_result_t result = order(list);

    if (!result)
        result =
            zeCommandListAppendMemoryCopyRegion(list->handle, to->start, &rows, to->pitch, 0,
                                                from->start, &rows, from->pitch, 0, NULL, 0, NULL);
    list->barrier_needed = true;
    return gpu_check("zeCommandListAppendMemoryCopyRegion", result);
}

/* The first row by a fill; each copy doubles the rows that are done, so that one command of a client
 * never becomes more than a few dozen. */
xpurt_result gpu_list_fill_rows(struct gpu_list *list, const struct gpu_rows *to, uint32_t pattern,
                                unsigned pattern_width, uint32_t width, uint32_t height)
{
    xpurt_result result = gpu_list_fill(list, to->start, pattern, pattern_width, width);

    for (uint32_t done = 1, more; done < height && !result; done += more) {
        const struct gpu_rows rest = { (char *)to->start + (uint64_t)done * to->pitch, to->pitch };

        more = done < height - done ? done : height - done;
        result = gpu_list_copy_rows(list, &rest, to, width, more);
    }
    return result;
}

static ze_result_t launch(struct gpu_list *list, struct gpu_kernel *kernel,
                          const uint32_t groups[3], const uint32_t group_size[3],
                          const struct gpu_argument *arguments, unsigned n_arguments)
{
    const ze_group_count_t count = { groups[0], groups[1], groups[2] };
    ze_result_t result;

    result = zeKernelSetGroupSize(kernel->handle, group_size[0], group_size[1], group_size[2]);
    for (unsigned i = 0; i < n_arguments && !result; i++)
        result = zeKernelSetArgumentValue(kernel->handle, i, arguments[i].size, arguments[i].value);
    if (!result)
        result = order(list);
    if (!result)
        result =
            zeCommandListAppendLaunchKernel(list->handle, kernel->handle, &count, NULL, 0, NULL);
    return result;
}

xpurt_result gpu_list_launch(struct gpu_list *list, struct gpu_kernel *kernel,
                             const uint32_t groups[3], const uint32_t group_size[3],
                             const struct gpu_argument *arguments, unsigned n_arguments)
{
    ze_result_t result = launch(list, kernel, groups, group_size, arguments, n_arguments);

    list->barrier_needed = true;
    return gpu_check("launching a kernel", result);
}

xpurt_result gpu_list_wait(struct gpu_list *list, struct gpu_slot *slot)
{
    ze_result_t result;

    /* A barrier that waits holds back all later commands, in order or not. */
    result = zeCommandListAppendBarrier(list->handle, NULL, 1, &slot->event);
    list->barrier_needed = false;
    return gpu_check("zeCommandListAppendBarrier", result);
}

xpurt_result gpu_list_mark(struct gpu_list *list, struct gpu_slot *slot, bool timing)
{
    ze_result_t result;

    if (timing) {
        result = order(list);
        if (!result)
            result = zeCommandListAppendWriteGlobalTimestamp(list->handle, slot->ticks, slot->event,
                                                             0, NULL);
        list->barrier_needed = true;
    } else {
        result = zeCommandListAppendBarrier(list->handle, slot->event, 0, NULL);
        list->barrier_needed = false;
    }
    return gpu_check("appending a marker", result);
}

/* ---- clearing ------------------------------------------------------------------------------------- */

#define CLEAR_TRIES 3

/* On a list of its own: lists belong to the loop thread. */
static ze_result_t clear(struct gpu_context *context, struct gpu_device *device, void *memory,
                         uint64_t size)
{
    ze_command_queue_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
        .ordinal = device->ordinal,
        .mode = ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS,
        .priority = ZE_COMMAND_QUEUE_PRIORITY_NORMAL,
    };
    ze_command_list_handle_t list;
    const uint8_t zero = 0;
    ze_result_t result;

    result = zeCommandListCreateImmediate(context->handle, device->handle, &desc, &list);
    if (result)
        return result;
    result = zeCommandListAppendMemoryFill(list, memory, &zero, 1, size, NULL, 0, NULL);
    zeCommandListDestroy(list);
    return result;
}

xpurt_result gpu_memory_clear(struct gpu_context *context, unsigned device, uint64_t address,
                              uint64_t size)
{
    ze_result_t result = ZE_RESULT_SUCCESS;

    for (unsigned tries = 0; tries < CLEAR_TRIES; tries++) {
        result = clear(context, &context->gpu->devices[device], (void *)(uintptr_t)address, size);
        if (result == ZE_RESULT_SUCCESS || result == ZE_RESULT_ERROR_DEVICE_LOST)
            break;
    }
    return gpu_check("clearing memory", result);
}
