/* SPDX-License-Identifier: MIT */
/* context.c: contexts. All contexts share one address space, for the device is the process itself;
 * a context only says which devices may be named together with it.
 */
#include "ddi.h"
#include "device.h"
#include "memory.h"
#include "queue.h"

bool context_has(ze_context_handle_t context, ze_device_handle_t device)
{
    return device >= context->driver->devices &&
           device < context->driver->devices + context->driver->device_count &&
           context->device_mask >> (device - context->driver->devices) & 1;
}

static ze_result_t context_new(ze_driver_handle_t driver, const ze_context_desc_t *desc,
                               uint32_t count, ze_device_handle_t *devices,
                               ze_context_handle_t *ret_context)
{
    uint32_t mask = (uint32_t)((UINT64_C(1) << driver->device_count) - 1);
    struct _ze_context_handle_t all = { driver, mask };
    ze_context_handle_t context;

    REQUIRE(desc->flags <= 0x1, INVALID_ENUMERATION);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(devices[i]);
        REQUIRE(context_has(&all, devices[i]), INVALID_ARGUMENT);
        if (i == 0)
            mask = 0;
        mask |= 1u << (devices[i] - driver->devices);
    }
    context = malloc(sizeof(*context));
    REQUIRE(context, OUT_OF_HOST_MEMORY);
    *context = (struct _ze_context_handle_t){ driver, mask };
    *ret_context = context;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t context_create(ze_driver_handle_t driver, const ze_context_desc_t *desc,
                                  ze_context_handle_t *ret_context)
{
    ENTER(zeContextCreate);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(desc && ret_context);
    return context_new(driver, desc, 0, NULL, ret_context);
}

static ze_result_t context_create_ex(ze_driver_handle_t driver, const ze_context_desc_t *desc,
                                     uint32_t count, ze_device_handle_t *devices,
                                     ze_context_handle_t *ret_context)
{
    ENTER(zeContextCreateEx);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(desc && ret_context);
    REQUIRE(devices || !count, INVALID_SIZE);
    return context_new(driver, desc, count, devices, ret_context);
}

static ze_result_t context_destroy(ze_context_handle_t context)
{
    ENTER(zeContextDestroy);
    REQUIRE_HANDLE(context);
    free(context);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t context_get_status(ze_context_handle_t context)
{
    ENTER(zeContextGetStatus);
    REQUIRE_HANDLE(context);
    for (uint32_t i = 0; i < context->driver->device_count; i++)
        if (context->device_mask >> i & 1)
            REQUIRE(!atomic_load(&context->driver->devices[i].lost), DEVICE_LOST);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t context_system_barrier(ze_context_handle_t context, ze_device_handle_t device)
{
    ENTER(zeContextSystemBarrier);
    REQUIRE_HANDLE(context && device);
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    atomic_thread_fence(memory_order_seq_cst);
    return ZE_RESULT_SUCCESS;
}

/* Memory is resident as long as it exists. */
static ze_result_t check_resident(ze_context_handle_t context, ze_device_handle_t device,
                                  void *pointer, size_t size)
{
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(pointer);
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    REQUIRE(memory_covers(pointer, size), INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t context_make_resident(ze_context_handle_t context, ze_device_handle_t device,
                                         void *pointer, size_t size)
{
    ENTER(zeContextMakeMemoryResident);
    return check_resident(context, device, pointer, size);
}

static ze_result_t context_evict(ze_context_handle_t context, ze_device_handle_t device,
                                 void *pointer, size_t size)
{
    ENTER(zeContextEvictMemory);
    return check_resident(context, device, pointer, size);
}

const struct ddi_table context_table =
    DDI_TABLE(DDI(ze_context_dditable_t, pfnCreate, 0, context_create),
              DDI(ze_context_dditable_t, pfnDestroy, 0, context_destroy),
              DDI(ze_context_dditable_t, pfnGetStatus, 0, context_get_status),
              DDI(ze_context_dditable_t, pfnSystemBarrier, 0, context_system_barrier),
              DDI(ze_context_dditable_t, pfnMakeMemoryResident, 0, context_make_resident),
              DDI(ze_context_dditable_t, pfnEvictMemory, 0, context_evict), DDI_UNSUPPORTED(6, 0),
              DDI_UNSUPPORTED(7, 0),    /* images */
              DDI(ze_context_dditable_t, pfnCreateEx, 1, context_create_ex));
