/* SPDX-License-Identifier: MIT */
/* extension.c: entry points of Intel's driver that no header of Level Zero declares, found by
 * zeDriverGetExtensionFunctionAddress.
 */
#include "counter.h"
#include "ddi.h"
#include "memory.h"

/* Makes memory of the application known as host memory. A CPU could use it anyway. */
static ze_result_t import_external_pointer(ze_driver_handle_t driver, void *pointer, size_t size)
{
    struct allocation *allocation;

    ENTER(zexDriverImportExternalPointer);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(pointer);
    REQUIRE(size > 0, INVALID_SIZE);
    allocation = calloc(1, sizeof(*allocation));
    REQUIRE(allocation, OUT_OF_HOST_MEMORY);
    *allocation = (struct allocation){
        .base = pointer,
        .size = size,
        .type = ZE_MEMORY_TYPE_HOST,
        .origin = ORIGIN_HOST_POINTER,
        .id = memory_next_id(),
        .fd = -1,
    };
    if (!memory_insert(allocation)) {
        allocation_free(allocation);
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    return ZE_RESULT_SUCCESS;
}

static ze_result_t release_imported_pointer(ze_driver_handle_t driver, void *pointer)
{
    struct allocation *allocation;

    ENTER(zexDriverReleaseImportedPointer);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(pointer);
    allocation = memory_remove(NULL, pointer, ORIGIN_HOST_POINTER);
    REQUIRE(allocation, INVALID_ARGUMENT);
    allocation_free(allocation);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t get_host_pointer_base(ze_driver_handle_t driver, void *pointer, void **ret_base)
{
    const struct allocation *allocation;

    ENTER(zexDriverGetHostPointerBaseAddress);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(pointer && ret_base);
    allocation = memory_find(pointer);
    if (allocation && allocation->origin != ORIGIN_HOST_POINTER)
        allocation = NULL;
    if (allocation)
        *ret_base = allocation->base;
    memory_unlock();
    REQUIRE(allocation, INVALID_ARGUMENT);
    return ZE_RESULT_SUCCESS;
}

/* Intel's counter-based events came before Level Zero's; structures and flags are the same. */
const struct ddi_table extension_table =
    DDI_TABLE(DDI_NEWER("zexDriverImportExternalPointer", 0, 0, import_external_pointer),
              DDI_NEWER("zexDriverReleaseImportedPointer", 1, 0, release_imported_pointer),
              DDI_NEWER("zexDriverGetHostPointerBaseAddress", 2, 0, get_host_pointer_base),
              DDI_NEWER("zexCounterBasedEventCreate2", 3, 0, counter_create),
              DDI_NEWER("zexCounterBasedEventGetIpcHandle", 4, 0, counter_get_ipc_handle),
              DDI_NEWER("zexCounterBasedEventOpenIpcHandle", 5, 0, counter_open_ipc_handle),
              DDI_NEWER("zexCounterBasedEventCloseIpcHandle", 6, 0, counter_close_ipc_handle),
              DDI_NEWER("zexEventGetDeviceAddress", 7, 0, counter_get_device_address));
