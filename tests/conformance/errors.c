/* SPDX-License-Identifier: MIT */
/* What must be refused, with the codes that the specification names. Each call has one thing wrong
 * with it. Not for a loader that wraps handles: that one looks into handles, counts and arrays
 * itself before the driver does. Modules and kernels that exist: kernel.c.
 */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <string.h>

struct refusal {
    const char *call;
    ze_result_t expected, got;
};

#define REFUSED(code, call) { #call, ZE_RESULT_ERROR_##code, call }
#define HANDLE(call) REFUSED(INVALID_NULL_HANDLE, call)
#define POINTER(call) REFUSED(INVALID_NULL_POINTER, call)
#define ENUMERATION(call) REFUSED(INVALID_ENUMERATION, call)

#define DESC(type, name, structure) type name = { .stype = ZE_STRUCTURE_TYPE_##structure }
#define BAD_FLAGS(type, name, structure) \
    type name = { .stype = ZE_STRUCTURE_TYPE_##structure, .flags = 0x40000000 }

static void check(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(refusals[i].got, refusals[i].expected, "%s gives 0x%x instead of 0x%x",
                     refusals[i].call, (unsigned)refusals[i].got, (unsigned)refusals[i].expected);
}

#define CHECK(refusals) check(refusals, COUNT_OF(refusals))

/* One valid object of each kind. */
static ze_command_list_handle_t list, recorded;
static ze_command_queue_handle_t queue;
static ze_event_pool_handle_t pool;
static ze_event_handle_t event;
static ze_fence_handle_t fence;
static char *memory;

static void start(void)
{
    soft_open();
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    recorded = soft_list(0);
    queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    pool = soft_pool(2, ZE_EVENT_POOL_FLAG_IPC);
    event = soft_event(pool, 0);
    fence = soft_fence(queue, 0);
    memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 8192);
}

static void stop(void)
{
    soft_free(memory);
    REQUIRE_ZE(zeFenceDestroy(fence));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
    REQUIRE_ZE(zeCommandListDestroy(recorded));
    REQUIRE_ZE(zeCommandListDestroy(list));
    soft_close();
}

TestSuite(null_handles, .init = start, .fini = stop);
TestSuite(null_pointers, .init = start, .fini = stop);
TestSuite(wrong_values, .init = start, .fini = stop);
TestSuite(images, .init = start, .fini = stop);

/* ---- null handles ---------------------------------------------------------------------------- */

Test(null_handles, driver_and_device)
{
    ze_bool_t yes;
    uint32_t count = 0;
    uint64_t host, stamp;
    ze_api_version_t version;
    void *function;
    DESC(ze_driver_properties_t, driver, DRIVER_PROPERTIES);
    DESC(ze_driver_ipc_properties_t, ipc, DRIVER_IPC_PROPERTIES);
    DESC(ze_device_properties_t, device, DEVICE_PROPERTIES);
    DESC(ze_device_compute_properties_t, compute, DEVICE_COMPUTE_PROPERTIES);
    DESC(ze_device_module_properties_t, module, DEVICE_MODULE_PROPERTIES);
    DESC(ze_device_memory_access_properties_t, access, DEVICE_MEMORY_ACCESS_PROPERTIES);
    DESC(ze_device_image_properties_t, image, DEVICE_IMAGE_PROPERTIES);
    DESC(ze_device_external_memory_properties_t, external, DEVICE_EXTERNAL_MEMORY_PROPERTIES);
    DESC(ze_device_p2p_properties_t, p2p, DEVICE_P2P_PROPERTIES);
    const struct refusal refusals[] = {
        HANDLE(zeDriverGetApiVersion(NULL, &version)),
        HANDLE(zeDriverGetProperties(NULL, &driver)),
        HANDLE(zeDriverGetIpcProperties(NULL, &ipc)),
        HANDLE(zeDriverGetExtensionProperties(NULL, &count, NULL)),
        HANDLE(zeDriverGetExtensionFunctionAddress(NULL, "zeInit", &function)),
        HANDLE(zeDeviceGet(NULL, &count, NULL)),
        HANDLE(zeDeviceGetSubDevices(NULL, &count, NULL)),
        HANDLE(zeDeviceGetProperties(NULL, &device)),
        HANDLE(zeDeviceGetComputeProperties(NULL, &compute)),
        HANDLE(zeDeviceGetModuleProperties(NULL, &module)),
        HANDLE(zeDeviceGetCommandQueueGroupProperties(NULL, &count, NULL)),
        HANDLE(zeDeviceGetMemoryProperties(NULL, &count, NULL)),
        HANDLE(zeDeviceGetMemoryAccessProperties(NULL, &access)),
        HANDLE(zeDeviceGetCacheProperties(NULL, &count, NULL)),
        HANDLE(zeDeviceGetImageProperties(NULL, &image)),
        HANDLE(zeDeviceGetExternalMemoryProperties(NULL, &external)),
        HANDLE(zeDeviceGetP2PProperties(NULL, soft.device, &p2p)),
        HANDLE(zeDeviceGetP2PProperties(soft.device, NULL, &p2p)),
        HANDLE(zeDeviceCanAccessPeer(NULL, soft.device, &yes)),
        HANDLE(zeDeviceCanAccessPeer(soft.device, NULL, &yes)),
        HANDLE(zeDeviceGetStatus(NULL)),
        HANDLE(zeDeviceGetGlobalTimestamps(NULL, &host, &stamp)),
    };

    CHECK(refusals);
}

Test(null_handles, context_and_memory)
{
    size_t size = 0;
    void *pointer;
    ze_context_handle_t context;
    ze_physical_mem_handle_t physical;
    ze_ipc_mem_handle_t handle = { { 0 } };
    ze_memory_access_attribute_t access;
    DESC(ze_context_desc_t, desc, CONTEXT_DESC);
    DESC(ze_device_mem_alloc_desc_t, device_desc, DEVICE_MEM_ALLOC_DESC);
    DESC(ze_host_mem_alloc_desc_t, host_desc, HOST_MEM_ALLOC_DESC);
    DESC(ze_memory_allocation_properties_t, properties, MEMORY_ALLOCATION_PROPERTIES);
    DESC(ze_memory_free_ext_desc_t, free_desc, MEMORY_FREE_EXT_DESC);
    ze_physical_mem_desc_t physical_desc = { .stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC,
                                             .size = 4096 };
    const struct refusal refusals[] = {
        HANDLE(zeContextCreate(NULL, &desc, &context)),
        HANDLE(zeContextCreateEx(NULL, &desc, 0, NULL, &context)),
        HANDLE(zeContextDestroy(NULL)),
        HANDLE(zeContextGetStatus(NULL)),
        HANDLE(zeContextSystemBarrier(NULL, soft.device)),
        HANDLE(zeContextSystemBarrier(soft.context, NULL)),
        HANDLE(zeContextMakeMemoryResident(NULL, soft.device, memory, 64)),
        HANDLE(zeContextMakeMemoryResident(soft.context, NULL, memory, 64)),
        HANDLE(zeContextEvictMemory(NULL, soft.device, memory, 64)),
        HANDLE(zeContextEvictMemory(soft.context, NULL, memory, 64)),
        HANDLE(zeMemAllocShared(NULL, &device_desc, &host_desc, 64, 0, NULL, &pointer)),
        HANDLE(zeMemAllocDevice(NULL, &device_desc, 64, 0, soft.device, &pointer)),
        HANDLE(zeMemAllocDevice(soft.context, &device_desc, 64, 0, NULL, &pointer)),
        HANDLE(zeMemAllocHost(NULL, &host_desc, 64, 0, &pointer)),
        HANDLE(zeMemFree(NULL, memory)),
        HANDLE(zeMemFreeExt(NULL, &free_desc, memory)),
        HANDLE(zeMemGetAllocProperties(NULL, memory, &properties, NULL)),
        HANDLE(zeMemGetAddressRange(NULL, memory, &pointer, &size)),
        HANDLE(zeMemGetIpcHandle(NULL, memory, &handle)),
        HANDLE(zeMemOpenIpcHandle(NULL, soft.device, handle, 0, &pointer)),
        HANDLE(zeMemOpenIpcHandle(soft.context, NULL, handle, 0, &pointer)),
        HANDLE(zeMemCloseIpcHandle(NULL, memory)),
        HANDLE(zeVirtualMemReserve(NULL, memory, 4096, &pointer)),
        HANDLE(zeVirtualMemFree(NULL, memory, 4096)),
        HANDLE(zeVirtualMemQueryPageSize(NULL, soft.device, 4096, &size)),
        HANDLE(zeVirtualMemQueryPageSize(soft.context, NULL, 4096, &size)),
        HANDLE(zePhysicalMemCreate(NULL, soft.device, &physical_desc, &physical)),
        HANDLE(zePhysicalMemCreate(soft.context, NULL, &physical_desc, &physical)),
        HANDLE(zePhysicalMemDestroy(soft.context, NULL)),
        HANDLE(zeVirtualMemMap(soft.context, memory, 4096, NULL, 0,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE)),
        HANDLE(zeVirtualMemUnmap(NULL, memory, 4096)),
        HANDLE(zeVirtualMemSetAccessAttribute(NULL, memory, 4096,
                                              ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY)),
        HANDLE(zeVirtualMemGetAccessAttribute(NULL, memory, 4096, &access, &size)),
    };

    CHECK(refusals);
}

Test(null_handles, queues_and_lists)
{
    uint64_t stamp;
    const size_t sizes[] = { 64 };
    const void *ranges[] = { memory };
    const ze_copy_region_t region = { .width = 8, .height = 1, .depth = 1 };
    ze_command_list_handle_t new_list, none = NULL;
    ze_command_queue_handle_t new_queue;
    ze_event_handle_t no_event = NULL;
    ze_group_count_t groups = { 1, 1, 1 };
    ze_fence_handle_t new_fence;
    DESC(ze_command_queue_desc_t, queue_desc, COMMAND_QUEUE_DESC);
    DESC(ze_command_list_desc_t, list_desc, COMMAND_LIST_DESC);
    DESC(ze_fence_desc_t, fence_desc, FENCE_DESC);
    const struct refusal refusals[] = {
        HANDLE(zeCommandQueueCreate(NULL, soft.device, &queue_desc, &new_queue)),
        HANDLE(zeCommandQueueCreate(soft.context, NULL, &queue_desc, &new_queue)),
        HANDLE(zeCommandQueueDestroy(NULL)),
        HANDLE(zeCommandQueueExecuteCommandLists(NULL, 1, &recorded, NULL)),
        HANDLE(zeCommandQueueExecuteCommandLists(queue, 1, &none, NULL)),
        HANDLE(zeCommandQueueSynchronize(NULL, 0)),
        HANDLE(zeFenceCreate(NULL, &fence_desc, &new_fence)),
        HANDLE(zeFenceDestroy(NULL)),
        HANDLE(zeFenceHostSynchronize(NULL, 0)),
        HANDLE(zeFenceQueryStatus(NULL)),
        HANDLE(zeFenceReset(NULL)),
        HANDLE(zeCommandListCreate(NULL, soft.device, &list_desc, &new_list)),
        HANDLE(zeCommandListCreate(soft.context, NULL, &list_desc, &new_list)),
        HANDLE(zeCommandListCreateImmediate(NULL, soft.device, &queue_desc, &new_list)),
        HANDLE(zeCommandListCreateImmediate(soft.context, NULL, &queue_desc, &new_list)),
        HANDLE(zeCommandListDestroy(NULL)),
        HANDLE(zeCommandListClose(NULL)),
        HANDLE(zeCommandListReset(NULL)),
        HANDLE(zeCommandListAppendWriteGlobalTimestamp(NULL, &stamp, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendBarrier(NULL, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendBarrier(list, NULL, 1, &no_event)),
        HANDLE(zeCommandListAppendMemoryRangesBarrier(NULL, 1, sizes, ranges, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendMemoryCopy(NULL, memory, memory + 64, 64, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendMemoryCopyFromContext(NULL, memory, soft.context, memory + 64, 64,
                                                        NULL, 0, NULL)),
        HANDLE(zeCommandListAppendMemoryCopyFromContext(list, memory, NULL, memory + 64, 64, NULL,
                                                        0, NULL)),
        HANDLE(zeCommandListAppendMemoryFill(NULL, memory, "a", 1, 64, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendMemoryCopyRegion(NULL, memory, &region, 0, 0, memory + 64,
                                                   &region, 0, 0, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendMemoryPrefetch(NULL, memory, 64)),
        HANDLE(zeCommandListAppendMemAdvise(NULL, soft.device, memory, 64, 0)),
        HANDLE(zeCommandListAppendMemAdvise(list, NULL, memory, 64, 0)),
        HANDLE(zeCommandListAppendLaunchKernel(NULL, NULL, &groups, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendLaunchKernel(list, NULL, &groups, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendLaunchCooperativeKernel(list, NULL, &groups, NULL, 0, NULL)),
        HANDLE(zeCommandListAppendLaunchKernelIndirect(list, NULL, &groups, NULL, 0, NULL)),
    };

    CHECK(refusals);
}

Test(null_handles, events)
{
    ze_kernel_timestamp_result_t stamps;
    ze_event_pool_handle_t new_pool;
    ze_event_handle_t new_event, none = NULL;
    ze_ipc_event_pool_handle_t handle = { { 0 } };
    uint32_t count = 0;
    DESC(ze_event_desc_t, event_desc, EVENT_DESC);
    ze_event_pool_desc_t pool_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 1 };
    ze_device_handle_t no_device = NULL;
    const struct refusal refusals[] = {
        HANDLE(zeEventPoolCreate(NULL, &pool_desc, 0, NULL, &new_pool)),
        HANDLE(zeEventPoolCreate(soft.context, &pool_desc, 1, &no_device, &new_pool)),
        HANDLE(zeEventPoolDestroy(NULL)),
        HANDLE(zeEventPoolGetIpcHandle(NULL, &handle)),
        HANDLE(zeEventPoolOpenIpcHandle(NULL, handle, &new_pool)),
        HANDLE(zeEventPoolCloseIpcHandle(NULL)),
        HANDLE(zeEventCreate(NULL, &event_desc, &new_event)),
        HANDLE(zeEventDestroy(NULL)),
        HANDLE(zeEventHostSignal(NULL)),
        HANDLE(zeEventHostSynchronize(NULL, 0)),
        HANDLE(zeEventQueryStatus(NULL)),
        HANDLE(zeEventHostReset(NULL)),
        HANDLE(zeEventQueryKernelTimestamp(NULL, &stamps)),
        HANDLE(zeEventQueryTimestampsExp(NULL, soft.device, &count, NULL)),
        HANDLE(zeEventQueryTimestampsExp(event, NULL, &count, NULL)),
        HANDLE(zeCommandListAppendSignalEvent(NULL, event)),
        HANDLE(zeCommandListAppendSignalEvent(list, NULL)),
        HANDLE(zeCommandListAppendWaitOnEvents(NULL, 1, &event)),
        HANDLE(zeCommandListAppendWaitOnEvents(list, 1, &none)),
        HANDLE(zeCommandListAppendEventReset(NULL, event)),
        HANDLE(zeCommandListAppendEventReset(list, NULL)),
        HANDLE(zeCommandListAppendQueryKernelTimestamps(NULL, 1, &event, &stamps, NULL, NULL, 0,
                                                        NULL)),
    };

    CHECK(refusals);
}

Test(null_handles, modules_and_kernels)
{
    uint32_t x, y, z, count = 0;
    size_t size = 0;
    void *pointer;
    ze_module_handle_t module;
    ze_kernel_handle_t kernel;
    ze_kernel_indirect_access_flags_t flags;
    const uint8_t input[64] = { 0 };
    ze_module_desc_t module_desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                                     .format = ZE_MODULE_FORMAT_IL_SPIRV,
                                     .inputSize = sizeof(input),
                                     .pInputModule = input };
    ze_kernel_desc_t kernel_desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = "k" };
    DESC(ze_module_properties_t, module_properties, MODULE_PROPERTIES);
    DESC(ze_kernel_properties_t, kernel_properties, KERNEL_PROPERTIES);
    const struct refusal refusals[] = {
        HANDLE(zeModuleCreate(NULL, soft.device, &module_desc, &module, NULL)),
        HANDLE(zeModuleCreate(soft.context, NULL, &module_desc, &module, NULL)),
        HANDLE(zeModuleDestroy(NULL)),
        HANDLE(zeModuleBuildLogDestroy(NULL)),
        HANDLE(zeModuleBuildLogGetString(NULL, &size, NULL)),
        HANDLE(zeModuleGetNativeBinary(NULL, &size, NULL)),
        HANDLE(zeModuleGetGlobalPointer(NULL, "g", NULL, &pointer)),
        HANDLE(zeModuleGetKernelNames(NULL, &count, NULL)),
        HANDLE(zeModuleGetProperties(NULL, &module_properties)),
        HANDLE(zeModuleGetFunctionPointer(NULL, "f", &pointer)),
        HANDLE(zeKernelCreate(NULL, &kernel_desc, &kernel)),
        HANDLE(zeKernelDestroy(NULL)),
        HANDLE(zeKernelSetCacheConfig(NULL, 0)),
        HANDLE(zeKernelSetGroupSize(NULL, 1, 1, 1)),
        HANDLE(zeKernelSuggestGroupSize(NULL, 1, 1, 1, &x, &y, &z)),
        HANDLE(zeKernelSuggestMaxCooperativeGroupCount(NULL, &count)),
        HANDLE(zeKernelSetArgumentValue(NULL, 0, 4, input)),
        HANDLE(zeKernelSetIndirectAccess(NULL, 0)),
        HANDLE(zeKernelGetIndirectAccess(NULL, &flags)),
        HANDLE(zeKernelGetProperties(NULL, &kernel_properties)),
        HANDLE(zeKernelGetName(NULL, &size, NULL)),
        HANDLE(zeKernelSetGlobalOffsetExp(NULL, 0, 0, 0)),
    };

    CHECK(refusals);
}

/* ---- null pointers --------------------------------------------------------------------------- */

Test(null_pointers, driver_and_device)
{
    uint64_t stamp;
    void *function;
    const struct refusal refusals[] = {
        POINTER(zeDriverGet(NULL, NULL)),
        POINTER(zeDriverGetApiVersion(soft.driver, NULL)),
        POINTER(zeDriverGetProperties(soft.driver, NULL)),
        POINTER(zeDriverGetIpcProperties(soft.driver, NULL)),
        POINTER(zeDriverGetExtensionProperties(soft.driver, NULL, NULL)),
        POINTER(zeDriverGetExtensionFunctionAddress(soft.driver, NULL, &function)),
        POINTER(zeDriverGetExtensionFunctionAddress(soft.driver, "zeInit", NULL)),
        POINTER(zeDeviceGet(soft.driver, NULL, NULL)),
        POINTER(zeDeviceGetSubDevices(soft.device, NULL, NULL)),
        POINTER(zeDeviceGetProperties(soft.device, NULL)),
        POINTER(zeDeviceGetComputeProperties(soft.device, NULL)),
        POINTER(zeDeviceGetModuleProperties(soft.device, NULL)),
        POINTER(zeDeviceGetCommandQueueGroupProperties(soft.device, NULL, NULL)),
        POINTER(zeDeviceGetMemoryProperties(soft.device, NULL, NULL)),
        POINTER(zeDeviceGetMemoryAccessProperties(soft.device, NULL)),
        POINTER(zeDeviceGetCacheProperties(soft.device, NULL, NULL)),
        POINTER(zeDeviceGetImageProperties(soft.device, NULL)),
        POINTER(zeDeviceGetExternalMemoryProperties(soft.device, NULL)),
        POINTER(zeDeviceGetP2PProperties(soft.device, soft.device, NULL)),
        POINTER(zeDeviceCanAccessPeer(soft.device, soft.device, NULL)),
        POINTER(zeDeviceGetGlobalTimestamps(soft.device, NULL, &stamp)),
        POINTER(zeDeviceGetGlobalTimestamps(soft.device, &stamp, NULL)),
    };

    CHECK(refusals);
}

Test(null_pointers, context_and_memory)
{
    size_t size;
    void *pointer;
    ze_context_handle_t context;
    ze_physical_mem_handle_t physical;
    ze_ipc_mem_handle_t handle;
    ze_memory_access_attribute_t access;
    DESC(ze_context_desc_t, desc, CONTEXT_DESC);
    DESC(ze_device_mem_alloc_desc_t, device_desc, DEVICE_MEM_ALLOC_DESC);
    DESC(ze_host_mem_alloc_desc_t, host_desc, HOST_MEM_ALLOC_DESC);
    DESC(ze_memory_allocation_properties_t, properties, MEMORY_ALLOCATION_PROPERTIES);
    DESC(ze_memory_free_ext_desc_t, free_desc, MEMORY_FREE_EXT_DESC);
    ze_physical_mem_desc_t physical_desc = { .stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC,
                                             .size = 4096 };
    const struct refusal refusals[] = {
        POINTER(zeContextCreate(soft.driver, NULL, &context)),
        POINTER(zeContextCreate(soft.driver, &desc, NULL)),
        POINTER(zeContextCreateEx(soft.driver, NULL, 0, NULL, &context)),
        POINTER(zeContextCreateEx(soft.driver, &desc, 0, NULL, NULL)),
        REFUSED(INVALID_SIZE, zeContextCreateEx(soft.driver, &desc, 1, NULL, &context)),
        POINTER(zeContextMakeMemoryResident(soft.context, soft.device, NULL, 64)),
        POINTER(zeContextEvictMemory(soft.context, soft.device, NULL, 64)),
        POINTER(zeMemAllocShared(soft.context, NULL, &host_desc, 64, 0, NULL, &pointer)),
        POINTER(zeMemAllocShared(soft.context, &device_desc, NULL, 64, 0, NULL, &pointer)),
        POINTER(zeMemAllocShared(soft.context, &device_desc, &host_desc, 64, 0, NULL, NULL)),
        POINTER(zeMemAllocDevice(soft.context, NULL, 64, 0, soft.device, &pointer)),
        POINTER(zeMemAllocDevice(soft.context, &device_desc, 64, 0, soft.device, NULL)),
        POINTER(zeMemAllocHost(soft.context, NULL, 64, 0, &pointer)),
        POINTER(zeMemAllocHost(soft.context, &host_desc, 64, 0, NULL)),
        POINTER(zeMemFree(soft.context, NULL)),
        POINTER(zeMemFreeExt(soft.context, NULL, memory)),
        POINTER(zeMemFreeExt(soft.context, &free_desc, NULL)),
        POINTER(zeMemGetAllocProperties(soft.context, NULL, &properties, NULL)),
        POINTER(zeMemGetAllocProperties(soft.context, memory, NULL, NULL)),
        POINTER(zeMemGetAddressRange(soft.context, NULL, &pointer, &size)),
        POINTER(zeMemGetIpcHandle(soft.context, NULL, &handle)),
        POINTER(zeMemGetIpcHandle(soft.context, memory, NULL)),
        POINTER(zeMemCloseIpcHandle(soft.context, NULL)),
        POINTER(zeVirtualMemReserve(soft.context, memory, 4096, NULL)),
        POINTER(zeVirtualMemFree(soft.context, NULL, 4096)),
        POINTER(zeVirtualMemQueryPageSize(soft.context, soft.device, 4096, NULL)),
        POINTER(zePhysicalMemCreate(soft.context, soft.device, NULL, &physical)),
        POINTER(zePhysicalMemCreate(soft.context, soft.device, &physical_desc, NULL)),
        POINTER(zeVirtualMemUnmap(soft.context, NULL, 4096)),
        POINTER(zeVirtualMemSetAccessAttribute(soft.context, NULL, 4096,
                                               ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY)),
        POINTER(zeVirtualMemGetAccessAttribute(soft.context, NULL, 4096, &access, &size)),
        POINTER(zeVirtualMemGetAccessAttribute(soft.context, memory, 4096, NULL, &size)),
        POINTER(zeVirtualMemGetAccessAttribute(soft.context, memory, 4096, &access, NULL)),
    };

    CHECK(refusals);
}

Test(null_pointers, opening_handles)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t handle;

    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &handle));
    REQUIRE_ZE(zeEventPoolGetIpcHandle(pool, &pool_handle));

    const struct refusal refusals[] = {
        POINTER(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, NULL)),
        POINTER(zeEventPoolOpenIpcHandle(soft.context, pool_handle, NULL)),
        POINTER(zeEventPoolGetIpcHandle(pool, NULL)),
    };

    CHECK(refusals);
}

Test(null_pointers, queues_lists_and_events)
{
    const size_t sizes[] = { 64 };
    const void *ranges[] = { memory };
    const ze_copy_region_t region = { .width = 8, .height = 1, .depth = 1 };
    ze_kernel_timestamp_result_t stamps;
    ze_command_list_handle_t new_list;
    ze_command_queue_handle_t new_queue;
    ze_event_pool_handle_t new_pool;
    ze_event_handle_t new_event;
    ze_fence_handle_t new_fence;
    DESC(ze_command_queue_desc_t, queue_desc, COMMAND_QUEUE_DESC);
    DESC(ze_command_list_desc_t, list_desc, COMMAND_LIST_DESC);
    DESC(ze_event_desc_t, event_desc, EVENT_DESC);
    DESC(ze_fence_desc_t, fence_desc, FENCE_DESC);
    ze_event_pool_desc_t pool_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 1 };
    const struct refusal refusals[] = {
        POINTER(zeCommandQueueCreate(soft.context, soft.device, NULL, &new_queue)),
        POINTER(zeCommandQueueCreate(soft.context, soft.device, &queue_desc, NULL)),
        POINTER(zeCommandQueueExecuteCommandLists(queue, 1, NULL, NULL)),
        POINTER(zeFenceCreate(queue, NULL, &new_fence)),
        POINTER(zeFenceCreate(queue, &fence_desc, NULL)),
        POINTER(zeCommandListCreate(soft.context, soft.device, NULL, &new_list)),
        POINTER(zeCommandListCreate(soft.context, soft.device, &list_desc, NULL)),
        POINTER(zeCommandListCreateImmediate(soft.context, soft.device, NULL, &new_list)),
        POINTER(zeCommandListCreateImmediate(soft.context, soft.device, &queue_desc, NULL)),
        POINTER(zeCommandListAppendWriteGlobalTimestamp(list, NULL, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryRangesBarrier(list, 1, NULL, ranges, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryRangesBarrier(list, 1, sizes, NULL, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopy(list, NULL, memory, 64, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopy(list, memory, NULL, 64, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyFromContext(list, NULL, soft.context, memory, 64, NULL,
                                                         0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyFromContext(list, memory, soft.context, NULL, 64, NULL,
                                                         0, NULL)),
        POINTER(zeCommandListAppendMemoryFill(list, NULL, "a", 1, 64, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryFill(list, memory, NULL, 1, 64, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyRegion(list, NULL, &region, 0, 0, memory, &region, 0,
                                                    0, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyRegion(list, memory, NULL, 0, 0, memory + 64, &region,
                                                    0, 0, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyRegion(list, memory, &region, 0, 0, NULL, &region, 0,
                                                    0, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryCopyRegion(list, memory, &region, 0, 0, memory + 64, NULL,
                                                    0, 0, NULL, 0, NULL)),
        POINTER(zeCommandListAppendMemoryPrefetch(list, NULL, 64)),
        POINTER(zeCommandListAppendMemAdvise(list, soft.device, NULL, 64, 0)),
        POINTER(zeCommandListAppendWaitOnEvents(list, 1, NULL)),
        POINTER(
            zeCommandListAppendQueryKernelTimestamps(list, 1, NULL, &stamps, NULL, NULL, 0, NULL)),
        POINTER(
            zeCommandListAppendQueryKernelTimestamps(list, 1, &event, NULL, NULL, NULL, 0, NULL)),
        POINTER(zeEventPoolCreate(soft.context, NULL, 0, NULL, &new_pool)),
        POINTER(zeEventPoolCreate(soft.context, &pool_desc, 0, NULL, NULL)),
        POINTER(zeEventCreate(pool, NULL, &new_event)),
        POINTER(zeEventCreate(pool, &event_desc, NULL)),
        POINTER(zeEventQueryKernelTimestamp(event, NULL)),
        POINTER(zeEventQueryTimestampsExp(event, soft.device, NULL, NULL)),
    };

    CHECK(refusals);
}

Test(null_pointers, modules)
{
    ze_module_handle_t module;
    const uint8_t input[64] = { 0 };
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                              .format = ZE_MODULE_FORMAT_IL_SPIRV,
                              .inputSize = sizeof(input),
                              .pInputModule = input };
    ze_module_desc_t no_input = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .inputSize = 64 };
    ze_module_desc_t no_size = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .pInputModule = input };
    ze_module_desc_t no_format = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                                   .pInputModule = input,
                                   .inputSize = 64,
                                   .format = (ze_module_format_t)7 };
    const struct refusal refusals[] = {
        POINTER(zeModuleCreate(soft.context, soft.device, NULL, &module, NULL)),
        POINTER(zeModuleCreate(soft.context, soft.device, &desc, NULL, NULL)),
        POINTER(zeModuleCreate(soft.context, soft.device, &no_input, &module, NULL)),
        REFUSED(INVALID_SIZE, zeModuleCreate(soft.context, soft.device, &no_size, &module, NULL)),
        ENUMERATION(zeModuleCreate(soft.context, soft.device, &no_format, &module, NULL)),
        POINTER(zeModuleDynamicLink(1, NULL, NULL)),
    };

    CHECK(refusals);
}

/* ---- wrong values ---------------------------------------------------------------------------- */

Test(wrong_values, flags_and_enumerations)
{
    void *pointer;
    ze_context_handle_t context;
    ze_command_list_handle_t new_list;
    ze_command_queue_handle_t new_queue;
    ze_event_pool_handle_t new_pool;
    ze_event_handle_t new_event;
    ze_fence_handle_t new_fence;
    ze_physical_mem_handle_t physical;
    ze_ipc_mem_handle_t handle = { { 0 } };
    BAD_FLAGS(ze_context_desc_t, context_flags, CONTEXT_DESC);
    BAD_FLAGS(ze_command_queue_desc_t, queue_flags, COMMAND_QUEUE_DESC);
    BAD_FLAGS(ze_command_list_desc_t, list_flags, COMMAND_LIST_DESC);
    BAD_FLAGS(ze_fence_desc_t, fence_flags, FENCE_DESC);
    BAD_FLAGS(ze_device_mem_alloc_desc_t, device_flags, DEVICE_MEM_ALLOC_DESC);
    BAD_FLAGS(ze_host_mem_alloc_desc_t, host_flags, HOST_MEM_ALLOC_DESC);
    DESC(ze_device_mem_alloc_desc_t, device_desc, DEVICE_MEM_ALLOC_DESC);
    DESC(ze_host_mem_alloc_desc_t, host_desc, HOST_MEM_ALLOC_DESC);
    ze_event_pool_desc_t pool_flags = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                        .count = 1,
                                        .flags = 0x40000000 };
    ze_physical_mem_desc_t physical_flags = { .stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC,
                                              .flags = 0x40000000,
                                              .size = 4096 };
    ze_memory_free_ext_desc_t policy = { .stype = ZE_STRUCTURE_TYPE_MEMORY_FREE_EXT_DESC,
                                         .freePolicy = 0x40000000 };
    ze_event_desc_t signal = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .signal = 0x40000000 };
    ze_event_desc_t wait = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .wait = 0x40000000 };
    ze_command_queue_desc_t mode = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .mode = (ze_command_queue_mode_t)9 };
    ze_command_queue_desc_t priority = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                         .priority = (ze_command_queue_priority_t)9 };
    const struct refusal refusals[] = {
        ENUMERATION(zeInit(0x40000000)),
        ENUMERATION(zeContextCreate(soft.driver, &context_flags, &context)),
        ENUMERATION(zeContextCreateEx(soft.driver, &context_flags, 0, NULL, &context)),
        ENUMERATION(zeCommandQueueCreate(soft.context, soft.device, &queue_flags, &new_queue)),
        ENUMERATION(zeCommandQueueCreate(soft.context, soft.device, &mode, &new_queue)),
        ENUMERATION(zeCommandQueueCreate(soft.context, soft.device, &priority, &new_queue)),
        ENUMERATION(zeCommandListCreate(soft.context, soft.device, &list_flags, &new_list)),
        ENUMERATION(
            zeCommandListCreateImmediate(soft.context, soft.device, &queue_flags, &new_list)),
        ENUMERATION(zeCommandListCreateImmediate(soft.context, soft.device, &mode, &new_list)),
        ENUMERATION(zeCommandListCreateImmediate(soft.context, soft.device, &priority, &new_list)),
        ENUMERATION(zeFenceCreate(queue, &fence_flags, &new_fence)),
        ENUMERATION(zeEventPoolCreate(soft.context, &pool_flags, 0, NULL, &new_pool)),
        ENUMERATION(zeEventCreate(pool, &signal, &new_event)),
        ENUMERATION(zeEventCreate(pool, &wait, &new_event)),
        ENUMERATION(zeMemAllocDevice(soft.context, &device_flags, 64, 0, soft.device, &pointer)),
        ENUMERATION(zeMemAllocHost(soft.context, &host_flags, 64, 0, &pointer)),
        ENUMERATION(
            zeMemAllocShared(soft.context, &device_flags, &host_desc, 64, 0, NULL, &pointer)),
        ENUMERATION(
            zeMemAllocShared(soft.context, &device_desc, &host_flags, 64, 0, NULL, &pointer)),
        ENUMERATION(zeMemFreeExt(soft.context, &policy, memory)),
        ENUMERATION(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0x40000000, &pointer)),
        ENUMERATION(zePhysicalMemCreate(soft.context, soft.device, &physical_flags, &physical)),
        ENUMERATION(
            zeCommandListAppendMemAdvise(list, soft.device, memory, 64, (ze_memory_advice_t)99)),
        ENUMERATION(zeVirtualMemSetAccessAttribute(soft.context, memory, 4096,
                                                   (ze_memory_access_attribute_t)9)),
    };

    CHECK(refusals);
}

Test(wrong_values, sizes_and_alignments)
{
    void *pointer;
    size_t size;
    ze_event_pool_handle_t new_pool;
    ze_physical_mem_handle_t physical;
    ze_memory_access_attribute_t access;
    DESC(ze_device_mem_alloc_desc_t, device_desc, DEVICE_MEM_ALLOC_DESC);
    DESC(ze_host_mem_alloc_desc_t, host_desc, HOST_MEM_ALLOC_DESC);
    DESC(ze_physical_mem_desc_t, no_pages, PHYSICAL_MEM_DESC);
    DESC(ze_event_pool_desc_t, no_events, EVENT_POOL_DESC);
    ze_event_pool_desc_t one_event = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 1 };
    const ze_copy_region_t eight = { .width = 8, .height = 1, .depth = 1 };
    const ze_copy_region_t nine = { .width = 9, .height = 1, .depth = 1 };
    const struct refusal refusals[] = {
        REFUSED(UNSUPPORTED_SIZE,
                zeMemAllocDevice(soft.context, &device_desc, 0, 0, soft.device, &pointer)),
        REFUSED(UNSUPPORTED_SIZE, zeMemAllocHost(soft.context, &host_desc, 0, 0, &pointer)),
        REFUSED(UNSUPPORTED_SIZE,
                zeMemAllocShared(soft.context, &device_desc, &host_desc, 0, 0, NULL, &pointer)),
        REFUSED(UNSUPPORTED_ALIGNMENT,
                zeMemAllocDevice(soft.context, &device_desc, 64, 3, soft.device, &pointer)),
        REFUSED(UNSUPPORTED_ALIGNMENT, zeMemAllocHost(soft.context, &host_desc, 64, 48, &pointer)),
        REFUSED(UNSUPPORTED_ALIGNMENT,
                zeMemAllocShared(soft.context, &device_desc, &host_desc, 64, 6, NULL, &pointer)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemReserve(soft.context, memory, 0, &pointer)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemReserve(soft.context, memory, 100, &pointer)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemFree(soft.context, memory, 0)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemQueryPageSize(soft.context, soft.device, 0, &size)),
        REFUSED(UNSUPPORTED_SIZE,
                zePhysicalMemCreate(soft.context, soft.device, &no_pages, &physical)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemUnmap(soft.context, memory, 0)),
        REFUSED(UNSUPPORTED_ALIGNMENT, zeVirtualMemUnmap(soft.context, memory + 1, 4096)),
        REFUSED(UNSUPPORTED_SIZE, zeVirtualMemSetAccessAttribute(soft.context, memory, 0, 0)),
        REFUSED(UNSUPPORTED_ALIGNMENT,
                zeVirtualMemSetAccessAttribute(soft.context, memory + 1, 4096, 0)),
        REFUSED(UNSUPPORTED_SIZE,
                zeVirtualMemGetAccessAttribute(soft.context, memory, 0, &access, &size)),
        REFUSED(UNSUPPORTED_ALIGNMENT,
                zeVirtualMemGetAccessAttribute(soft.context, memory + 1, 4096, &access, &size)),
        REFUSED(INVALID_SIZE, zeEventPoolCreate(soft.context, &no_events, 0, NULL, &new_pool)),
        REFUSED(INVALID_SIZE, zeEventPoolCreate(soft.context, &one_event, 1, NULL, &new_pool)),
        REFUSED(INVALID_SIZE,
                zeCommandListAppendMemoryCopyRegion(list, memory, &eight, 0, 0, memory + 64, &nine,
                                                    0, 0, NULL, 0, NULL)),
    };

    CHECK(refusals);
}

Test(wrong_values, waits_without_events)
{
    uint64_t stamp;
    const size_t sizes[] = { 64 };
    const void *ranges[] = { memory };
    const ze_copy_region_t region = { .width = 8, .height = 1, .depth = 1 };
    const struct refusal refusals[] = {
        REFUSED(INVALID_SIZE, zeCommandListAppendWriteGlobalTimestamp(list, &stamp, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE, zeCommandListAppendBarrier(list, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE,
                zeCommandListAppendMemoryRangesBarrier(list, 1, sizes, ranges, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE,
                zeCommandListAppendMemoryCopy(list, memory, memory + 64, 64, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE,
                zeCommandListAppendMemoryFill(list, memory, "a", 1, 64, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE,
                zeCommandListAppendMemoryCopyRegion(list, memory, &region, 0, 0, memory + 64,
                                                    &region, 0, 0, NULL, 1, NULL)),
        REFUSED(INVALID_SIZE, zeCommandListAppendMemoryCopyFromContext(
                                  list, memory, soft.context, memory + 64, 64, NULL, 1, NULL)),
    };

    CHECK(refusals);
}

Test(wrong_values, places_that_do_not_exist)
{
    ze_command_list_handle_t new_list;
    ze_command_queue_handle_t new_queue;
    ze_event_handle_t new_event;
    ze_event_desc_t third = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .index = 2 };
    ze_command_queue_desc_t group = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                      .ordinal = 77 };
    ze_command_queue_desc_t index = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                      .flags = ZE_COMMAND_QUEUE_FLAG_EXPLICIT_ONLY,
                                      .index = 77 };
    ze_command_list_desc_t list_group = { .stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC,
                                          .commandQueueGroupOrdinal = 77 };
    const struct refusal refusals[] = {
        REFUSED(INVALID_ARGUMENT, zeEventCreate(pool, &third, &new_event)),
        REFUSED(INVALID_ARGUMENT,
                zeCommandQueueCreate(soft.context, soft.device, &group, &new_queue)),
        REFUSED(INVALID_ARGUMENT,
                zeCommandQueueCreate(soft.context, soft.device, &index, &new_queue)),
        REFUSED(INVALID_ARGUMENT,
                zeCommandListCreate(soft.context, soft.device, &list_group, &new_list)),
        REFUSED(INVALID_ARGUMENT,
                zeCommandListCreateImmediate(soft.context, soft.device, &group, &new_list)),
        REFUSED(INVALID_ARGUMENT,
                zeContextMakeMemoryResident(soft.context, soft.device, memory, 1 << 20)),
    };

    CHECK(refusals);
}

Test(wrong_values, lists_that_cannot_be_executed)
{
    ze_command_list_desc_t copies = { .stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC,
                                      .commandQueueGroupOrdinal = 1 };
    ze_command_queue_handle_t other = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t copy_list, closed = soft_list(0);
    ze_fence_handle_t strange = soft_fence(other, 0);

    REQUIRE_ZE(zeCommandListCreate(soft.context, soft.device, &copies, &copy_list));
    REQUIRE_ZE(zeCommandListClose(copy_list));
    REQUIRE_ZE(zeCommandListClose(closed));

    const struct refusal refusals[] = {
        REFUSED(INVALID_SIZE, zeCommandQueueExecuteCommandLists(queue, 0, &closed, NULL)),
        REFUSED(INVALID_COMMAND_LIST_TYPE,
                zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL)),
        REFUSED(INVALID_COMMAND_LIST_TYPE,
                zeCommandQueueExecuteCommandLists(queue, 1, &copy_list, NULL)),
        REFUSED(INVALID_ARGUMENT, zeCommandQueueExecuteCommandLists(queue, 1, &recorded, NULL)),
        REFUSED(INVALID_SYNCHRONIZATION_OBJECT,
                zeCommandQueueExecuteCommandLists(queue, 1, &closed, strange)),
        REFUSED(INVALID_ARGUMENT, zeCommandListAppendBarrier(closed, NULL, 0, NULL)),
    };

    CHECK(refusals);
    REQUIRE_ZE(zeFenceDestroy(strange));
    REQUIRE_ZE(zeCommandListDestroy(copy_list));
    REQUIRE_ZE(zeCommandListDestroy(closed));
    REQUIRE_ZE(zeCommandQueueDestroy(other));
}

Test(wrong_values, pools_that_cannot_be_shared)
{
    ze_event_pool_handle_t private = soft_pool(1, 0), opened;
    ze_ipc_event_pool_handle_t handle;
    ze_ipc_mem_handle_t memory_handle;

    cr_expect_neq(zeEventPoolGetIpcHandle(private, &handle), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zeEventPoolGetIpcHandle(pool, &handle));
    memset(handle.data + 4, 0x55, sizeof(handle.data) - 4);
    cr_expect_neq(zeEventPoolOpenIpcHandle(soft.context, handle, &opened), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &memory_handle));
    memcpy(&handle, &memory_handle, sizeof(handle));
    cr_expect_neq(zeEventPoolOpenIpcHandle(soft.context, handle, &opened), ZE_RESULT_SUCCESS,
                  "a handle of memory");
    cr_expect_neq(zeEventPoolCloseIpcHandle(pool), ZE_RESULT_SUCCESS, "it was never opened");
    REQUIRE_ZE(zeEventPoolDestroy(private));
}

/* ---- images and samplers --------------------------------------------------------------------- */

Test(images, are_refused)
{
    ze_image_handle_t image = NULL;
    ze_sampler_handle_t sampler = NULL;
    DESC(ze_image_properties_t, properties, IMAGE_PROPERTIES);
    DESC(ze_sampler_desc_t, sampler_desc, SAMPLER_DESC);
    ze_image_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_IMAGE_DESC,
                             .type = ZE_IMAGE_TYPE_2D,
                             .width = 8,
                             .height = 8,
                             .depth = 1 };
    const struct refusal refusals[] = {
        REFUSED(UNSUPPORTED_FEATURE, zeImageGetProperties(soft.device, &desc, &properties)),
        REFUSED(UNSUPPORTED_FEATURE, zeImageCreate(soft.context, soft.device, &desc, &image)),
        REFUSED(UNSUPPORTED_FEATURE,
                zeSamplerCreate(soft.context, soft.device, &sampler_desc, &sampler)),
    };

    CHECK(refusals);
    cr_assert_null(image);
    cr_assert_null(sampler);
}

Test(images, what_a_cpu_does_not_have)
{
    size_t size = 1;
    DESC(ze_pci_ext_properties_t, pci, PCI_EXT_PROPERTIES);
    const struct refusal refusals[] = {
        REFUSED(UNSUPPORTED_FEATURE, zeDeviceReserveCacheExt(soft.device, 2, size)),
        REFUSED(UNSUPPORTED_FEATURE, zeDevicePciGetPropertiesExt(soft.device, &pci)),
    };

    CHECK(refusals);
}

Test(images, there_is_no_fabric)
{
    ze_fabric_vertex_handle_t vertex;
    uint32_t count = 5;

    REQUIRE_ZE(zeFabricVertexGetExp(soft.driver, &count, NULL));
    cr_assert_eq(count, 0);
    cr_assert_eq(zeDeviceGetFabricVertexExp(soft.device, &vertex),
                 ZE_RESULT_EXP_ERROR_DEVICE_IS_NOT_VERTEX);
}
