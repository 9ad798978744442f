/* SPDX-License-Identifier: MIT */
/* fence.c: fences. A fence is a cell, set by its queue when all lists of an execution are done. */
#include "fence.h"

#include "ddi.h"

void fence_unref(ze_fence_handle_t fence)
{
    if (!fence || atomic_fetch_sub_explicit(&fence->refs, 1, memory_order_acq_rel) != 1)
        return;
    queue_unref(fence->queue);
    free(fence);
}

static ze_result_t fence_create(ze_command_queue_handle_t queue, const ze_fence_desc_t *desc,
                                ze_fence_handle_t *ret_fence)
{
    ze_fence_handle_t fence;

    ENTER(zeFenceCreate);
    REQUIRE_HANDLE(queue);
    REQUIRE_POINTER(desc && ret_fence);
    REQUIRE(desc->flags <= ZE_FENCE_FLAG_SIGNALED, INVALID_ENUMERATION);
    fence = calloc(1, sizeof(*fence));
    REQUIRE(fence, OUT_OF_HOST_MEMORY);
    atomic_init(&fence->refs, 1);
    atomic_init(&fence->cell.value, desc->flags & ZE_FENCE_FLAG_SIGNALED);
    fence->queue = queue->queue;
    atomic_fetch_add(&queue->queue->refs, 1);
    *ret_fence = fence;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t fence_destroy(ze_fence_handle_t fence)
{
    ENTER(zeFenceDestroy);
    REQUIRE_HANDLE(fence);
    fence_unref(fence);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t fence_host_synchronize(ze_fence_handle_t fence, uint64_t timeout)
{
    ENTER(zeFenceHostSynchronize);
    REQUIRE_HANDLE(fence);
    return cell_wait(&fence->cell, 1, NULL, timeout, &fence->queue->device->lost);
}

static ze_result_t fence_query_status(ze_fence_handle_t fence)
{
    ENTER(zeFenceQueryStatus);
    REQUIRE_HANDLE(fence);
    return cell_wait(&fence->cell, 1, NULL, 0, &fence->queue->device->lost);
}

static ze_result_t fence_reset(ze_fence_handle_t fence)
{
    ENTER(zeFenceReset);
    REQUIRE_HANDLE(fence);
    atomic_store(&fence->cell.value, 0);
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table fence_table =
    DDI_TABLE(DDI(ze_fence_dditable_t, pfnCreate, 0, fence_create),
              DDI(ze_fence_dditable_t, pfnDestroy, 0, fence_destroy),
              DDI(ze_fence_dditable_t, pfnHostSynchronize, 0, fence_host_synchronize),
              DDI(ze_fence_dditable_t, pfnQueryStatus, 0, fence_query_status),
              DDI(ze_fence_dditable_t, pfnReset, 0, fence_reset));
