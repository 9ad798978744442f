/* SPDX-License-Identifier: MIT */
/* device.c: what a device says about itself.
 *
 * Guarantees of this file:
 *   - every value is true of the CPU the process runs on, or of this driver; nothing is taken over
 *     from some graphics card;
 *   - all devices share the CPU and its memory; they differ in index, name, uuid and what is
 *     charged to them.
 */
#include "device.h"

#include "cpu.h"
#include "ddi.h"
#include "queue.h"

#include <stdio.h>
#include <string.h>

#define GROUP_SIZE_MAX 4096u            /* work items; what the CPU runtime can run as one group */
#define GROUP_COUNT_MAX INT32_MAX
#define LOCAL_MEMORY_BYTES (64u << 10)  /* stays in a first or second level cache */
#define ARGUMENT_BYTES 1024u
#define PRINTF_BYTES (1u << 20)

ze_result_t device_get(ze_driver_handle_t driver, uint32_t *count, ze_device_handle_t *devices)
{
    ENTER(zeDeviceGet);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > driver->device_count) {
        bool only_count = *count == 0;

        *count = driver->device_count;
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    for (uint32_t i = 0; devices && i < *count; i++)
        devices[i] = &driver->devices[i];
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_sub_devices(ze_device_handle_t device, uint32_t *count,
                                          ze_device_handle_t *devices)
{
    ENTER(zeDeviceGetSubDevices);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(count);
    (void)devices;
    *count = 0;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_root_device(ze_device_handle_t device, ze_device_handle_t *ret_root)
{
    ENTER(zeDeviceGetRootDevice);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(ret_root);
    *ret_root = NULL;                   /* it is one */
    return ZE_RESULT_SUCCESS;
}

/* Some programs look at nothing but GPUs; they can be told that this is one. */
static ze_device_type_t device_type(void)
{
    const char *type = getenv("ZE_SOFT_DEVICE_TYPE");

    return type && strcmp(type, "gpu") == 0 ? ZE_DEVICE_TYPE_GPU : ZE_DEVICE_TYPE_CPU;
}

/* They can also be told that the memory is a card's own, and do then what they do on such. */
static ze_device_property_flags_t device_flags(void)
{
    const char *memory = getenv("ZE_SOFT_DEVICE_MEMORY");

    return ZE_DEVICE_PROPERTY_FLAG_ONDEMANDPAGING |
           (memory && strcmp(memory, "discrete") == 0 ? 0 : ZE_DEVICE_PROPERTY_FLAG_INTEGRATED);
}

static void device_chain(ze_device_handle_t device, void *chain)
{
    for (struct chained *link = chain; link; link = link->pNext) {
        switch ((uint32_t)link->stype) {
        case ZE_STRUCTURE_TYPE_EU_COUNT_EXT:
            ((ze_eu_count_ext_t *)(void *)link)->numTotalEUs = cpu_count();
            break;
        case NEWER_STRUCTURE_TYPE_DEVICE_IP_VERSION_EXT:
            ((newer_device_ip_version_ext_t *)(void *)link)->ipVersion = DRIVER_VERSION;
            break;
        case NEWER_STRUCTURE_TYPE_DEVICE_USABLEMEM_SIZE_EXT_PROPERTIES:
            ((newer_device_usablemem_size_ext_properties_t *)(void *)link)->currUsableMemSize =
                soft_driver.memory_total - atomic_load(&device->memory_used);
            break;
        default:
            break;
        }
    }
}

static ze_result_t device_get_properties(ze_device_handle_t device,
                                         ze_device_properties_t *properties)
{
    bool hertz;

    ENTER(zeDeviceGetProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    hertz = properties->stype == ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2;
    *properties = (ze_device_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
        .type = device_type(),
        .vendorId = cpu_vendor_id(),
        .deviceId = device->index,
        .flags = device_flags(),
        .coreClockRate = cpu_clock_mhz(),
        .maxMemAllocSize = soft_driver.memory_total,
        .maxHardwareContexts = UINT16_MAX,
        .maxCommandQueuePriority = QUEUE_PRIORITIES - 1,
        .numThreadsPerEU = 1,
        .physicalEUSimdWidth = cpu_simd_width(),
        .numEUsPerSubslice = cpu_count(),
        .numSubslicesPerSlice = 1,
        .numSlices = 1,
        .timerResolution = hertz ? 1000000000u : 1,
        .timestampValidBits = clock_bits(),
        .kernelTimestampValidBits = clock_bits(),
    };
    snprintf((char *)properties->uuid.id, sizeof(properties->uuid.id), "ze-soft-%u", device->index);
    snprintf(properties->name, sizeof(properties->name), "Software device %u on %s", device->index,
             cpu_name());
    device_chain(device, properties->pNext);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_compute_properties(ze_device_handle_t device,
                                                 ze_device_compute_properties_t *properties)
{
    ENTER(zeDeviceGetComputeProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    *properties = (ze_device_compute_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
        .maxTotalGroupSize = GROUP_SIZE_MAX,
        .maxGroupSizeX = GROUP_SIZE_MAX,
        .maxGroupSizeY = GROUP_SIZE_MAX,
        .maxGroupSizeZ = GROUP_SIZE_MAX,
        .maxGroupCountX = GROUP_COUNT_MAX,
        .maxGroupCountY = GROUP_COUNT_MAX,
        .maxGroupCountZ = GROUP_COUNT_MAX,
        .maxSharedLocalMemory = LOCAL_MEMORY_BYTES,
        .numSubGroupSizes = 1,
        .subGroupSizes = { 1 },
    };
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_module_properties(ze_device_handle_t device,
                                                ze_device_module_properties_t *properties)
{
    const ze_device_fp_flags_t ieee =
        ZE_DEVICE_FP_FLAG_DENORM | ZE_DEVICE_FP_FLAG_INF_NAN | ZE_DEVICE_FP_FLAG_ROUND_TO_NEAREST |
        ZE_DEVICE_FP_FLAG_ROUND_TO_ZERO | ZE_DEVICE_FP_FLAG_ROUND_TO_INF | ZE_DEVICE_FP_FLAG_FMA;

    ENTER(zeDeviceGetModuleProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    *properties = (ze_device_module_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
        .spirvVersionSupported = ZE_MAKE_VERSION(1, 2),
        .flags = ZE_DEVICE_MODULE_FLAG_FP64 | ZE_DEVICE_MODULE_FLAG_INT64_ATOMICS,
        .fp32flags = ieee | ZE_DEVICE_FP_FLAG_ROUNDED_DIVIDE_SQRT,
        .fp64flags = ieee,
        .maxArgumentsSize = ARGUMENT_BYTES,
        .printfBufferSize = PRINTF_BYTES,
        .nativeKernelSupported = { .id = "ze-soft-native" },
    };
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_queue_groups(ze_device_handle_t device, uint32_t *count,
                                           ze_command_queue_group_properties_t *properties)
{
    static const ze_command_queue_group_property_flags_t flags[GROUP_COUNT] = {
        [GROUP_COMPUTE] = ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE |
                          ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY |
                          ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COOPERATIVE_KERNELS,
        [GROUP_COPY] = ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY,
    };

    ENTER(zeDeviceGetCommandQueueGroupProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > GROUP_COUNT) {
        bool only_count = *count == 0;

        *count = GROUP_COUNT;
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    for (uint32_t i = 0; properties && i < *count; i++) {
        properties[i].flags = flags[i];
        properties[i].maxMemoryFillPatternSize = FILL_PATTERN_MAX;
        properties[i].numQueues = GROUP_QUEUES;
    }
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_memory_properties(ze_device_handle_t device, uint32_t *count,
                                                ze_device_memory_properties_t *properties)
{
    ze_device_memory_ext_properties_t *extended;
    bool only_count;

    ENTER(zeDeviceGetMemoryProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(count);
    only_count = *count == 0;
    *count = 1;
    if (only_count || !properties)
        return ZE_RESULT_SUCCESS;
    *properties = (ze_device_memory_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
        .maxBusWidth = 64,
        .totalSize = soft_driver.memory_total,
        .name = "system memory",
    };
    extended = chain_find(properties->pNext, ZE_STRUCTURE_TYPE_DEVICE_MEMORY_EXT_PROPERTIES);
    if (extended) {
        extended->type = ZE_DEVICE_MEMORY_EXT_TYPE_DDR;
        extended->physicalSize = soft_driver.memory_total;
        extended->readBandwidth = extended->writeBandwidth = 0;
        extended->bandwidthUnit = ZE_BANDWIDTH_UNIT_UNKNOWN;
    }
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_memory_access(ze_device_handle_t device,
                                            ze_device_memory_access_properties_t *properties)
{
    const ze_memory_access_cap_flags_t all =
        ZE_MEMORY_ACCESS_CAP_FLAG_RW | ZE_MEMORY_ACCESS_CAP_FLAG_ATOMIC |
        ZE_MEMORY_ACCESS_CAP_FLAG_CONCURRENT | ZE_MEMORY_ACCESS_CAP_FLAG_CONCURRENT_ATOMIC;

    ENTER(zeDeviceGetMemoryAccessProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    properties->hostAllocCapabilities = all;
    properties->deviceAllocCapabilities = all;
    properties->sharedSingleDeviceAllocCapabilities = all;
    properties->sharedCrossDeviceAllocCapabilities = all;
    properties->sharedSystemAllocCapabilities = all;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_cache_properties(ze_device_handle_t device, uint32_t *count,
                                               ze_device_cache_properties_t *properties)
{
    size_t sizes[CPU_CACHES];
    uint32_t caches = cpu_caches(sizes);

    ENTER(zeDeviceGetCacheProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > caches) {
        bool only_count = *count == 0;

        *count = caches;
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    for (uint32_t i = 0; properties && i < *count; i++) {
        newer_device_cache_line_size_ext_t *line =
            chain_find(properties[i].pNext, NEWER_STRUCTURE_TYPE_DEVICE_CACHELINE_SIZE_EXT);

        properties[i].flags = 0;
        properties[i].cacheSize = sizes[i];
        if (line)
            line->cacheLineSize = cpu_cache_line();
    }
    return ZE_RESULT_SUCCESS;
}

/* All zero: no images, no samplers. */
static ze_result_t device_get_image_properties(ze_device_handle_t device,
                                               ze_device_image_properties_t *properties)
{
    ENTER(zeDeviceGetImageProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    *properties = (ze_device_image_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
    };
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_external_memory(ze_device_handle_t device,
                                              ze_device_external_memory_properties_t *properties)
{
    ENTER(zeDeviceGetExternalMemoryProperties);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(properties);
    properties->memoryAllocationImportTypes = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD;
    properties->memoryAllocationExportTypes = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD;
    properties->imageImportTypes = 0;
    properties->imageExportTypes = 0;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_p2p(ze_device_handle_t device, ze_device_handle_t peer,
                                  ze_device_p2p_properties_t *properties)
{
    ENTER(zeDeviceGetP2PProperties);
    REQUIRE_HANDLE(device && peer);
    REQUIRE_POINTER(properties);
    properties->flags = ZE_DEVICE_P2P_PROPERTY_FLAG_ACCESS | ZE_DEVICE_P2P_PROPERTY_FLAG_ATOMICS;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_can_access_peer(ze_device_handle_t device, ze_device_handle_t peer,
                                          ze_bool_t *ret_access)
{
    ENTER(zeDeviceCanAccessPeer);
    REQUIRE_HANDLE(device && peer);
    REQUIRE_POINTER(ret_access);
    *ret_access = true;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_status(ze_device_handle_t device)
{
    ENTER(zeDeviceGetStatus);
    REQUIRE_HANDLE(device);
    REQUIRE(!atomic_load(&device->lost), DEVICE_LOST);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_global_timestamps(ze_device_handle_t device, uint64_t *ret_host,
                                                uint64_t *ret_device)
{
    ENTER(zeDeviceGetGlobalTimestamps);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(ret_host && ret_device);
    *ret_host = clock_ns();
    *ret_device = clock_ticks();
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_vector_widths(ze_device_handle_t device, uint32_t *count,
                                            newer_device_vector_width_properties_ext_t *properties)
{
    static const uint32_t bytes[7] = {
        1, 2, 4, 8, 4, 8, 2
    };                                  /* char short int long float double half */
    uint32_t width = cpu_simd_width() * 4;
    bool only_count;

    ENTER(zeDeviceGetVectorWidthPropertiesExt);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(count);
    only_count = *count == 0;
    *count = 1;
    if (only_count || !properties)
        return ZE_RESULT_SUCCESS;
    properties->vector_width_size = width;
    for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
        properties->preferred[i] = properties->native[i] = width / bytes[i];
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_synchronize(ze_device_handle_t device)
{
    ENTER(zeDeviceSynchronize);
    REQUIRE_HANDLE(device);
    return queues_wait_all(device);
}

static ze_result_t device_get_fabric_vertex(ze_device_handle_t device,
                                            ze_fabric_vertex_handle_t *ret_vertex)
{
    ENTER(zeDeviceGetFabricVertexExp);
    REQUIRE_HANDLE(device);
    REQUIRE_POINTER(ret_vertex);
    return ZE_RESULT_EXP_ERROR_DEVICE_IS_NOT_VERTEX;
}

#define DEVICE(member, since, entry) DDI(ze_device_dditable_t, member, since, entry)

const struct ddi_table device_table = DDI_TABLE(
    DEVICE(pfnGet, 0, device_get), DEVICE(pfnGetSubDevices, 0, device_get_sub_devices),
    DEVICE(pfnGetProperties, 0, device_get_properties),
    DEVICE(pfnGetComputeProperties, 0, device_get_compute_properties),
    DEVICE(pfnGetModuleProperties, 0, device_get_module_properties),
    DEVICE(pfnGetCommandQueueGroupProperties, 0, device_get_queue_groups),
    DEVICE(pfnGetMemoryProperties, 0, device_get_memory_properties),
    DEVICE(pfnGetMemoryAccessProperties, 0, device_get_memory_access),
    DEVICE(pfnGetCacheProperties, 0, device_get_cache_properties),
    DEVICE(pfnGetImageProperties, 0, device_get_image_properties),
    DEVICE(pfnGetExternalMemoryProperties, 0, device_get_external_memory),
    DEVICE(pfnGetP2PProperties, 0, device_get_p2p),
    DEVICE(pfnCanAccessPeer, 0, device_can_access_peer), DEVICE(pfnGetStatus, 0, device_get_status),
    DEVICE(pfnGetGlobalTimestamps, 1, device_get_global_timestamps), DDI_UNSUPPORTED(15, 2),
    DDI_UNSUPPORTED(16, 2),             /* cache reservation and advice */
    DDI_UNSUPPORTED(17, 3),             /* it is on no PCI bus */
    DDI_NEWER("zeDeviceGetRootDevice", 18, 7, device_get_root_device), DDI_UNSUPPORTED(19, 12),
    DDI_UNSUPPORTED(20, 12),            /* external semaphores */
    DDI_NEWER("zeDeviceGetVectorWidthPropertiesExt", 21, 13, device_get_vector_widths),
    DDI_NEWER("zeDeviceSynchronize", 22, 14, device_synchronize),
    DDI_UNSUPPORTED(23, 15),                                                    /* copy offload */
    DDI_UNSUPPORTED(24, 16), DDI_UNSUPPORTED(25, 16), DDI_UNSUPPORTED(26, 16)); /* requirements */

const struct ddi_table device_exp_table =
    DDI_TABLE(DDI(ze_device_exp_dditable_t, pfnGetFabricVertexExp, 4, device_get_fabric_vertex));
