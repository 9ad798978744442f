/* SPDX-License-Identifier: MIT */
/* event.c: events.
 *
 * Guarantees of this file:
 *   - everything here may be called from any thread at any time;
 *   - an event that somebody still refers to (a command, a signal under way) outlives its handle;
 *   - creating an event in an imported pool does not change it, in an own pool it starts anew.
 */
#include "event.h"

#include "counter.h"
#include "ddi.h"

static ze_result_t event_create(ze_event_pool_handle_t pool, const ze_event_desc_t *desc,
                                ze_event_handle_t *ret_event)
{
    ze_event_handle_t event;

    ENTER(zeEventCreate);
    REQUIRE_HANDLE(pool);
    REQUIRE_POINTER(desc && ret_event);
    REQUIRE(desc->signal <= 0x7 && desc->wait <= 0x7, INVALID_ENUMERATION);
    REQUIRE(desc->index < pool->count, INVALID_ARGUMENT);
    if (pool->counter_based)
        return counter_create_in_pool(pool, desc, ret_event);

    event = malloc(sizeof(*event));
    REQUIRE(event, OUT_OF_HOST_MEMORY);
    *event = (struct _ze_event_handle_t){
        .refs = 1,
        .pool = pool,
        .slot = pool_slot(pool, desc->index),
        .bell = pool->mapped ? &pool->header->bell : NULL,
        .signal_scope = desc->signal,
        .wait_scope = desc->wait,
        .timestamps = pool->flags & (ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP |
                                     NEWER_EVENT_POOL_FLAG_KERNEL_MAPPED_TIMESTAMP),
    };
    event->cell = &event->slot->cell;
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
    if (!pool->imported)
        event_reset(event);
    *ret_event = event;
    return ZE_RESULT_SUCCESS;
}

void event_unref(ze_event_handle_t event)
{
    if (!event || atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) != 1)
        return;
    counter_free(event->counter);
    pool_unref(event->pool);
    free(event);
}

static ze_result_t event_destroy(ze_event_handle_t event)
{
    ENTER(zeEventDestroy);
    REQUIRE_HANDLE(event);
    event_unref(event);
    return ZE_RESULT_SUCCESS;
}

void event_capture(ze_event_handle_t event, struct wait *ret_wait)
{
    if (UNLIKELY(event->counter))
        counter_capture(event, ret_wait);
    else
        *ret_wait = (struct wait){ event->cell, 1, event->bell, event, NULL };
    event_ref(event);
}

bool event_is_complete(ze_event_handle_t event)
{
    struct wait wait;
    bool complete;

    if (LIKELY(!event->counter))
        return cell_reached(event->cell, 1);
    event_capture(event, &wait);
    complete = cell_reached(wait.cell, wait.target);
    timeline_unref(wait.timeline);
    event_unref(event);
    return complete;
}

void event_signal(ze_event_handle_t event, uint64_t start)
{
    if (event->timestamps) {
        uint64_t end = clock_ticks();

        atomic_store_explicit(&event->slot->start, start ? start : end, memory_order_relaxed);
        atomic_store_explicit(&event->slot->end, end, memory_order_relaxed);
    }
    cell_store(event->cell, 1, event->bell);
}

void event_reset(ze_event_handle_t event)
{
    atomic_store_explicit(&event->cell->value, 0, memory_order_release);
}

static ze_result_t event_host_signal(ze_event_handle_t event)
{
    ENTER(zeEventHostSignal);
    REQUIRE_HANDLE(event);
    REQUIRE(!event->counter, INVALID_ARGUMENT);
    event_ref(event);                   /* whoever sees it signalled may destroy it */
    event_signal(event, 0);
    event_unref(event);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t event_host_reset(ze_event_handle_t event)
{
    ENTER(zeEventHostReset);
    REQUIRE_HANDLE(event);
    REQUIRE(!event->counter, INVALID_ARGUMENT);
    event_reset(event);
    return ZE_RESULT_SUCCESS;
}

static const _Atomic bool *event_lost(ze_event_handle_t event)
{
    ze_device_handle_t device = atomic_load_explicit(&event->device, memory_order_relaxed);

    return device ? &device->lost : NULL;
}

static ze_result_t event_query_status(ze_event_handle_t event)
{
    const _Atomic bool *lost;

    ENTER(zeEventQueryStatus);
    REQUIRE_HANDLE(event);
    if (event_is_complete(event))
        return ZE_RESULT_SUCCESS;
    lost = event_lost(event);
    return lost && atomic_load(lost) ? ZE_RESULT_ERROR_DEVICE_LOST : ZE_RESULT_NOT_READY;
}

static ze_result_t event_host_synchronize(ze_event_handle_t event, uint64_t timeout)
{
    struct wait wait;
    ze_result_t result;

    ENTER(zeEventHostSynchronize);
    REQUIRE_HANDLE(event);
    event_capture(event, &wait);
    result = cell_wait(wait.cell, wait.target, wait.bell, timeout, event_lost(event));
    timeline_unref(wait.timeline);
    event_unref(event);
    return result;
}

/* A device signals nothing; what it did is complete already or in front of the caller's command. */
static ze_result_t event_timestamps(ze_event_handle_t event, uint64_t *ret_start, uint64_t *ret_end)
{
    REQUIRE(event->timestamps, INVALID_ARGUMENT);
    if (!event_is_complete(event))
        return ZE_RESULT_NOT_READY;
    if (event->counter) {
        counter_timestamps(event, ret_start, ret_end);
    } else {
        *ret_start = atomic_load_explicit(&event->slot->start, memory_order_relaxed);
        *ret_end = atomic_load_explicit(&event->slot->end, memory_order_relaxed);
    }
    return ZE_RESULT_SUCCESS;
}

ze_result_t event_timestamp_result(ze_event_handle_t event,
                                   ze_kernel_timestamp_result_t *ret_result)
{
    uint64_t start, end;
    ze_result_t result = event_timestamps(event, &start, &end);

    if (result == ZE_RESULT_SUCCESS)
        *ret_result = (ze_kernel_timestamp_result_t){ { start, end }, { start, end } };
    return result;
}

static ze_result_t event_query_kernel_timestamp(ze_event_handle_t event,
                                                ze_kernel_timestamp_result_t *result)
{
    ENTER(zeEventQueryKernelTimestamp);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(result);
    return event_timestamp_result(event, result);
}

static ze_result_t event_query_timestamps_exp(ze_event_handle_t event, ze_device_handle_t device,
                                              uint32_t *count,
                                              ze_kernel_timestamp_result_t *results)
{
    ENTER(zeEventQueryTimestampsExp);
    REQUIRE_HANDLE(event && device);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > 1 || !results) {
        bool only_count = *count == 0 || !results;

        *count = 1;
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    return event_timestamp_result(event, results);
}

static ze_result_t event_query_kernel_timestamps_ext(
    ze_event_handle_t event, ze_device_handle_t device, uint32_t *count,
    newer_event_query_kernel_timestamps_results_ext_properties_t *results)
{
    ze_kernel_timestamp_result_t stamps;
    ze_result_t result;
    bool only_count;

    ENTER(zeEventQueryKernelTimestampsExt);
    REQUIRE_HANDLE(event && device);
    REQUIRE_POINTER(count);
    only_count = *count == 0 || !results;
    *count = 1;
    if (only_count)
        return ZE_RESULT_SUCCESS;
    result = event_timestamp_result(event, &stamps);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    if (results->pKernelTimestampsBuffer)
        *results->pKernelTimestampsBuffer = stamps;
    if (results->pSynchronizedTimestampsBuffer) /* the device's clock is the host's */
        *results->pSynchronizedTimestampsBuffer = (newer_synchronized_timestamp_result_ext_t){
            { stamps.global.kernelStart, stamps.global.kernelEnd },
            { stamps.context.kernelStart, stamps.context.kernelEnd }
        };
    return ZE_RESULT_SUCCESS;
}

static ze_result_t event_get_event_pool(ze_event_handle_t event, ze_event_pool_handle_t *ret_pool)
{
    ENTER(zeEventGetEventPool);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(ret_pool);
    REQUIRE(event->pool, INVALID_ARGUMENT);
    *ret_pool = event->pool;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t event_get_signal_scope(ze_event_handle_t event,
                                          ze_event_scope_flags_t *ret_scope)
{
    ENTER(zeEventGetSignalScope);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(ret_scope);
    *ret_scope = event->signal_scope;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t event_get_wait_scope(ze_event_handle_t event, ze_event_scope_flags_t *ret_scope)
{
    ENTER(zeEventGetWaitScope);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(ret_scope);
    *ret_scope = event->wait_scope;
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table event_table =
    DDI_TABLE(DDI(ze_event_dditable_t, pfnCreate, 0, event_create),
              DDI(ze_event_dditable_t, pfnDestroy, 0, event_destroy),
              DDI(ze_event_dditable_t, pfnHostSignal, 0, event_host_signal),
              DDI(ze_event_dditable_t, pfnHostSynchronize, 0, event_host_synchronize),
              DDI(ze_event_dditable_t, pfnQueryStatus, 0, event_query_status),
              DDI(ze_event_dditable_t, pfnHostReset, 0, event_host_reset),
              DDI(ze_event_dditable_t, pfnQueryKernelTimestamp, 0, event_query_kernel_timestamp),
              DDI_NEWER("zeEventQueryKernelTimestampsExt", 7, 6, event_query_kernel_timestamps_ext),
              DDI_NEWER("zeEventGetEventPool", 8, 9, event_get_event_pool),
              DDI_NEWER("zeEventGetSignalScope", 9, 9, event_get_signal_scope),
              DDI_NEWER("zeEventGetWaitScope", 10, 9, event_get_wait_scope),
              DDI_NEWER("zeEventCounterBasedCreate", 11, 15, counter_create),
              DDI_NEWER("zeEventCounterBasedGetIpcHandle", 12, 15, counter_get_ipc_handle),
              DDI_NEWER("zeEventCounterBasedOpenIpcHandle", 13, 15, counter_open_ipc_handle),
              DDI_NEWER("zeEventCounterBasedCloseIpcHandle", 14, 15, counter_close_ipc_handle),
              DDI_NEWER("zeEventCounterBasedGetDeviceAddress", 15, 15, counter_get_device_address));

const struct ddi_table event_exp_table =
    DDI_TABLE(DDI(ze_event_exp_dditable_t, pfnQueryTimestampsExp, 2, event_query_timestamps_exp));
