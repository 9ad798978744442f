/* SPDX-License-Identifier: MIT */
/* What the driver, its devices and contexts say about themselves, and that it fits together. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROPERTIES(type, structure) type properties = { .stype = ZE_STRUCTURE_TYPE_##structure }

TestSuite(driver, .init = soft_open, .fini = soft_close);
TestSuite(device, .init = soft_open, .fini = soft_close);
TestSuite(context, .init = soft_open, .fini = soft_close);
TestSuite(environment);

/* ---- the driver ------------------------------------------------------------------------------ */

Test(driver, initialising_again_is_harmless)
{
    REQUIRE_ZE(zeInit(0));
    REQUIRE_ZE(zeInit(ZE_INIT_FLAG_GPU_ONLY));
}

Test(driver, is_one)
{
    ze_driver_handle_t drivers[4] = { NULL };
    uint32_t count = 0;

    REQUIRE_ZE(zeDriverGet(&count, NULL));
    cr_assert_eq(count, 1);
    count = COUNT_OF(drivers);
    REQUIRE_ZE(zeDriverGet(&count, drivers));
    cr_assert_eq(count, 1);
    cr_assert_eq(drivers[0], soft.driver);
    cr_assert_null(drivers[1]);
}

Test(driver, version)
{
    ze_api_version_t version = 0;

    REQUIRE_ZE(zeDriverGetApiVersion(soft.driver, &version));
    cr_assert_eq(ZE_MAJOR_VERSION(version), 1);
    cr_assert_geq(ZE_MINOR_VERSION(version), 4);
    cr_assert_leq(ZE_MINOR_VERSION(version), 16, "newer loaders expect more of a driver");
}

Test(driver, properties_are_stable)
{
    ze_driver_memory_free_ext_properties_t policies = {
        .stype = ZE_STRUCTURE_TYPE_DRIVER_MEMORY_FREE_EXT_PROPERTIES
    };
    ze_driver_properties_t first = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES,
                                     .pNext = &policies };
    ze_driver_properties_t second = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES };

    REQUIRE_ZE(zeDriverGetProperties(soft.driver, &first));
    REQUIRE_ZE(zeDriverGetProperties(soft.driver, &second));
    cr_assert_eq(memcmp(&first.uuid, &second.uuid, sizeof(first.uuid)), 0);
    cr_assert_eq(first.driverVersion, second.driverVersion);
    cr_assert_neq(first.driverVersion, 0);
    cr_assert_eq(first.pNext, &policies);
    cr_assert_eq(policies.freePolicies, ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE |
                                            ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_DEFER_FREE);
}

Test(driver, shares_memory_and_events)
{
    PROPERTIES(ze_driver_ipc_properties_t, DRIVER_IPC_PROPERTIES);

    REQUIRE_ZE(zeDriverGetIpcProperties(soft.driver, &properties));
    cr_assert_eq(properties.flags, ZE_IPC_PROPERTY_FLAG_MEMORY | ZE_IPC_PROPERTY_FLAG_EVENT_POOL);
}

Test(driver, extensions_are_listed_in_two_calls)
{
    ze_driver_extension_properties_t all[64], some[64];
    uint32_t total = 0, count;

    REQUIRE_ZE(zeDriverGetExtensionProperties(soft.driver, &total, NULL));
    cr_assert(total > 0 && total < COUNT_OF(all));
    count = COUNT_OF(all);
    REQUIRE_ZE(zeDriverGetExtensionProperties(soft.driver, &count, all));
    cr_assert_eq(count, total);
    for (uint32_t i = 0; i < total; i++) {
        cr_assert_neq(all[i].version, 0);
        cr_assert_eq(strncmp(all[i].name, "ZE", 2), 0, "%s", all[i].name);
        for (uint32_t j = 0; j < i; j++)
            cr_assert_str_neq(all[i].name, all[j].name);
    }
    memset(some, 0, sizeof(some));
    count = 1;
    REQUIRE_ZE(zeDriverGetExtensionProperties(soft.driver, &count, some));
    cr_assert_eq(count, 1);
    cr_assert_str_eq(some[0].name, all[0].name);
    cr_assert_eq(some[1].name[0], '\0');
}

Test(driver, unknown_functions_are_not_found)
{
    void *function = NULL;

    cr_assert_neq(zeDriverGetExtensionFunctionAddress(soft.driver, "zeMakeTea", &function),
                  ZE_RESULT_SUCCESS);
    cr_assert_null(function);
}

Test(driver, newer_queries)
{
    ze_result_t (*last_error)(ze_driver_handle_t, const char **);
    ze_context_handle_t (*default_context)(ze_driver_handle_t);
    ze_result_t (*init_drivers)(uint32_t *, ze_driver_handle_t *, void *);
    struct {
        ze_structure_type_t stype;
        const void *pNext;
        uint32_t flags;
    } desc = { .stype = (ze_structure_type_t)0x20021, .flags = 1 };
    ze_driver_handle_t driver = NULL;
    const char *text = NULL;
    uint32_t count = 0;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    last_error = soft_entry("zeDriverGetLastErrorDescription");
    REQUIRE_ZE(last_error(soft.driver, &text));
    cr_assert_not_null(text);
    default_context = soft_entry("zeDriverGetDefaultContext");
    cr_assert_not_null(default_context(soft.driver));
    REQUIRE_ZE(zeContextGetStatus(default_context(soft.driver)));
    init_drivers = soft_entry("zeInitDrivers");
    REQUIRE_ZE(init_drivers(&count, NULL, &desc));
    cr_assert_eq(count, 1);
    REQUIRE_ZE(init_drivers(&count, &driver, &desc));
    cr_assert_eq(driver, soft.driver);
    desc.flags = 2;                     /* NPUs only */
    count = 1;
    REQUIRE_ZE(init_drivers(&count, &driver, &desc));
    cr_assert_eq(count, 0);
}

/* ---- devices --------------------------------------------------------------------------------- */

Test(device, enumeration_in_two_calls)
{
    ze_device_handle_t devices[16] = { NULL };
    uint32_t total = 0, count;

    REQUIRE_ZE(zeDeviceGet(soft.driver, &total, NULL));
    cr_assert_eq(total, soft.device_count);
    count = COUNT_OF(devices);
    REQUIRE_ZE(zeDeviceGet(soft.driver, &count, devices));
    cr_assert_eq(count, total, "the count is cut to what exists");
    memset(devices, 0, sizeof(devices));
    count = 1;
    REQUIRE_ZE(zeDeviceGet(soft.driver, &count, devices));
    cr_assert_eq(count, 1);
    cr_assert_eq(devices[0], soft.devices[0]);
    cr_assert_null(devices[1]);
}

Test(device, has_no_sub_devices)
{
    for (uint32_t i = 0; i < soft.device_count; i++) {
        uint32_t count = 0;

        REQUIRE_ZE(zeDeviceGetSubDevices(soft.devices[i], &count, NULL));
        cr_assert_eq(count, 0);
    }
}

Test(device, properties_are_consistent)
{
    ze_device_properties_t all[16];

    for (uint32_t i = 0; i < soft.device_count; i++) {
        ze_device_properties_t *device = &all[i];

        memset(device, 0xee, sizeof(*device));
        device->stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES;
        device->pNext = NULL;
        REQUIRE_ZE(zeDeviceGetProperties(soft.devices[i], device));
        cr_assert_eq(device->type, ZE_DEVICE_TYPE_CPU);
        cr_assert_eq(device->flags & ZE_DEVICE_PROPERTY_FLAG_SUBDEVICE, 0);
        cr_assert_gt(strlen(device->name), 0);
        cr_assert_lt(strlen(device->name), sizeof(device->name));
        cr_assert_gt(device->maxMemAllocSize, 0);
        cr_assert_gt(device->maxHardwareContexts, 0);
        cr_assert_gt(device->numThreadsPerEU, 0);
        cr_assert_gt(device->physicalEUSimdWidth, 0);
        cr_assert_eq(device->numEUsPerSubslice * device->numSubslicesPerSlice * device->numSlices,
                     (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
        cr_assert_gt(device->timerResolution, 0);
        cr_assert(device->timestampValidBits > 0 && device->timestampValidBits <= 64);
        cr_assert_eq(device->kernelTimestampValidBits, device->timestampValidBits);
        for (uint32_t j = 0; j < i; j++) {
            cr_assert_neq(memcmp(&device->uuid, &all[j].uuid, sizeof(device->uuid)), 0);
            cr_assert_str_neq(device->name, all[j].name);
        }
    }
}

Test(device, timer_resolution_in_both_units)
{
    ze_device_properties_t ns = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };
    ze_device_properties_t hertz = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2 };

    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &ns));
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &hertz));
    cr_assert_eq(ns.timerResolution * hertz.timerResolution, SECOND);
}

Test(device, chained_properties)
{
    struct {
        ze_structure_type_t stype;
        void *pNext;
        uint64_t usable;
    } usable = { .stype = (ze_structure_type_t)0x20041 };
    struct {
        ze_structure_type_t stype;
        const void *pNext;
        uint32_t version;
    } version = { .stype = (ze_structure_type_t)0x1000f, .pNext = &usable };
    ze_eu_count_ext_t units = { .stype = ZE_STRUCTURE_TYPE_EU_COUNT_EXT, .pNext = &version };
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES,
                                          .pNext = &units };
    uint64_t before;
    void *memory;

    if (soft_validated())
        cr_skip_test("newer structures");
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(units.numTotalEUs, properties.numSlices * properties.numSubslicesPerSlice *
                                        properties.numEUsPerSubslice);
    cr_assert_neq(version.version, 0);
    before = usable.usable;
    cr_assert_leq(before, properties.maxMemAllocSize);
    memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 1 << 20);
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(usable.usable, before - (1 << 20));
    soft_free(memory);
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(usable.usable, before);
}

Test(device, compute_properties)
{
    PROPERTIES(ze_device_compute_properties_t, DEVICE_COMPUTE_PROPERTIES);

    REQUIRE_ZE(zeDeviceGetComputeProperties(soft.device, &properties));
    cr_assert_gt(properties.maxTotalGroupSize, 0);
    cr_assert_leq(properties.maxGroupSizeX, properties.maxTotalGroupSize);
    cr_assert_leq(properties.maxGroupSizeY, properties.maxTotalGroupSize);
    cr_assert_leq(properties.maxGroupSizeZ, properties.maxTotalGroupSize);
    cr_assert_gt(properties.maxGroupCountX, 0);
    cr_assert_gt(properties.maxGroupCountY, 0);
    cr_assert_gt(properties.maxGroupCountZ, 0);
    cr_assert_gt(properties.maxSharedLocalMemory, 0);
    cr_assert(properties.numSubGroupSizes > 0 &&
              properties.numSubGroupSizes <= ZE_SUBGROUPSIZE_COUNT);
    for (uint32_t i = 0; i < properties.numSubGroupSizes; i++)
        cr_assert_gt(properties.subGroupSizes[i], 0);
}

Test(device, module_properties)
{
    PROPERTIES(ze_device_module_properties_t, DEVICE_MODULE_PROPERTIES);

    REQUIRE_ZE(zeDeviceGetModuleProperties(soft.device, &properties));
    cr_assert_geq(properties.spirvVersionSupported, ZE_MAKE_VERSION(1, 0));
    cr_assert(properties.flags & ZE_DEVICE_MODULE_FLAG_FP64);
    cr_assert(properties.fp32flags & ZE_DEVICE_FP_FLAG_ROUND_TO_NEAREST);
    cr_assert(properties.fp64flags & ZE_DEVICE_FP_FLAG_ROUND_TO_NEAREST);
    cr_assert_eq(!!(properties.flags & ZE_DEVICE_MODULE_FLAG_FP16), properties.fp16flags != 0);
    cr_assert_geq(properties.maxArgumentsSize, 1024);
}

Test(device, queue_groups)
{
    ze_command_queue_group_properties_t groups[8];
    uint32_t total = 0, count = COUNT_OF(groups), copy_only = 0;
    ze_command_queue_group_property_flags_t all = 0;

    memset(groups, 0, sizeof(groups));
    for (uint32_t i = 0; i < COUNT_OF(groups); i++)
        groups[i].stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES;
    REQUIRE_ZE(zeDeviceGetCommandQueueGroupProperties(soft.device, &total, NULL));
    REQUIRE_ZE(zeDeviceGetCommandQueueGroupProperties(soft.device, &count, groups));
    cr_assert_eq(count, total);
    cr_assert_geq(total, 2);
    for (uint32_t i = 0; i < total; i++) {
        all |= groups[i].flags;
        copy_only += groups[i].flags == ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY;
        cr_assert_gt(groups[i].numQueues, 0);
        cr_assert_geq(groups[i].maxMemoryFillPatternSize, 16);
    }
    cr_assert(all & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE);
    cr_assert(all & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COOPERATIVE_KERNELS);
    cr_assert_eq(copy_only, 1);
    count = 1;
    groups[1].numQueues = 77;
    REQUIRE_ZE(zeDeviceGetCommandQueueGroupProperties(soft.device, &count, groups));
    cr_assert_eq(count, 1);
    cr_assert_eq(groups[1].numQueues, 77, "written beyond the count");
}

Test(device, memory_properties)
{
    ze_device_memory_ext_properties_t extended = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_EXT_PROPERTIES
    };
    ze_device_memory_properties_t memory = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES,
                                             .pNext = &extended };
    PROPERTIES(ze_device_properties_t, DEVICE_PROPERTIES);
    uint32_t count = 0;

    REQUIRE_ZE(zeDeviceGetMemoryProperties(soft.device, &count, NULL));
    cr_assert_eq(count, 1);
    REQUIRE_ZE(zeDeviceGetMemoryProperties(soft.device, &count, &memory));
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_geq(memory.totalSize, properties.maxMemAllocSize);
    cr_assert_gt(strlen(memory.name), 0);
    cr_assert_eq(extended.physicalSize, memory.totalSize);
}

Test(device, every_memory_can_do_everything)
{
    PROPERTIES(ze_device_memory_access_properties_t, DEVICE_MEMORY_ACCESS_PROPERTIES);
    const ze_memory_access_cap_flags_t all =
        ZE_MEMORY_ACCESS_CAP_FLAG_RW | ZE_MEMORY_ACCESS_CAP_FLAG_ATOMIC |
        ZE_MEMORY_ACCESS_CAP_FLAG_CONCURRENT | ZE_MEMORY_ACCESS_CAP_FLAG_CONCURRENT_ATOMIC;

    REQUIRE_ZE(zeDeviceGetMemoryAccessProperties(soft.device, &properties));
    cr_assert_eq(properties.hostAllocCapabilities, all);
    cr_assert_eq(properties.deviceAllocCapabilities, all);
    cr_assert_eq(properties.sharedSingleDeviceAllocCapabilities, all);
    cr_assert_eq(properties.sharedCrossDeviceAllocCapabilities, all);
    cr_assert_eq(properties.sharedSystemAllocCapabilities, all, "plain memory will do");
}

Test(device, caches)
{
    ze_device_cache_properties_t caches[8];
    uint32_t total = 0, count = COUNT_OF(caches);

    memset(caches, 0, sizeof(caches));
    for (uint32_t i = 0; i < COUNT_OF(caches); i++)
        caches[i].stype = ZE_STRUCTURE_TYPE_DEVICE_CACHE_PROPERTIES;
    REQUIRE_ZE(zeDeviceGetCacheProperties(soft.device, &total, NULL));
    REQUIRE_ZE(zeDeviceGetCacheProperties(soft.device, &count, caches));
    cr_assert_eq(count, total);
    for (uint32_t i = 0; i < total; i++)
        cr_assert_gt(caches[i].cacheSize, 0);
}

Test(device, has_no_images)
{
    PROPERTIES(ze_device_image_properties_t, DEVICE_IMAGE_PROPERTIES);

    REQUIRE_ZE(zeDeviceGetImageProperties(soft.device, &properties));
    cr_assert_eq(properties.maxImageDims1D, 0);
    cr_assert_eq(properties.maxImageDims2D, 0);
    cr_assert_eq(properties.maxImageDims3D, 0);
    cr_assert_eq(properties.maxSamplers, 0);
    cr_assert_eq(properties.maxReadImageArgs, 0);
    cr_assert_eq(properties.maxWriteImageArgs, 0);
}

Test(device, external_memory_is_a_descriptor)
{
    PROPERTIES(ze_device_external_memory_properties_t, DEVICE_EXTERNAL_MEMORY_PROPERTIES);

    REQUIRE_ZE(zeDeviceGetExternalMemoryProperties(soft.device, &properties));
    cr_assert(properties.memoryAllocationExportTypes & ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD);
    cr_assert(properties.memoryAllocationImportTypes & ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD);
    cr_assert_eq(properties.imageImportTypes, 0);
    cr_assert_eq(properties.imageExportTypes, 0);
}

Test(device, peers_reach_each_other)
{
    for (uint32_t i = 0; i < soft.device_count; i++) {
        for (uint32_t j = 0; j < soft.device_count; j++) {
            PROPERTIES(ze_device_p2p_properties_t, DEVICE_P2P_PROPERTIES);
            ze_bool_t access = false;

            REQUIRE_ZE(zeDeviceGetP2PProperties(soft.devices[i], soft.devices[j], &properties));
            REQUIRE_ZE(zeDeviceCanAccessPeer(soft.devices[i], soft.devices[j], &access));
            cr_assert(access);
            cr_assert(properties.flags & ZE_DEVICE_P2P_PROPERTY_FLAG_ACCESS);
        }
    }
}

Test(device, is_healthy)
{
    for (uint32_t i = 0; i < soft.device_count; i++)
        REQUIRE_ZE(zeDeviceGetStatus(soft.devices[i]));
}

static uint64_t host_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

Test(device, clocks_go_on_and_agree)
{
    uint64_t before = host_clock(), host = 0, device = 0, last = 0, after;

    for (int i = 0; i < 1000; i++) {
        REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &device));
        cr_assert_geq(device, last);
        last = device;
    }
    after = host_clock();
    cr_assert(host >= before && host <= after, "host stamps are CLOCK_MONOTONIC in ns");
}

Test(device, newer_queries)
{
    ze_result_t (*root)(ze_device_handle_t, ze_device_handle_t *);
    ze_result_t (*synchronize)(ze_device_handle_t);
    ze_result_t (*widths)(ze_device_handle_t, uint32_t *, void *);
    struct {
        ze_structure_type_t stype;
        void *pNext;
        uint32_t width, preferred[7], native[7];
    } vector = { .width = 0 };
    ze_device_handle_t device = soft.device;
    uint32_t count = 0;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    root = soft_entry("zeDeviceGetRootDevice");
    REQUIRE_ZE(root(soft.device, &device));
    cr_assert_null(device, "a root device has no root");
    synchronize = soft_entry("zeDeviceSynchronize");
    REQUIRE_ZE(synchronize(soft.device));
    widths = soft_entry("zeDeviceGetVectorWidthPropertiesExt");
    REQUIRE_ZE(widths(soft.device, &count, NULL));
    cr_assert_gt(count, 0);
    count = 1;
    REQUIRE_ZE(widths(soft.device, &count, &vector));
    for (size_t i = 0; i < 7; i++)
        cr_assert_gt(vector.native[i], 0);
}

/* ---- contexts -------------------------------------------------------------------------------- */

Test(context, of_chosen_devices)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_device_mem_alloc_desc_t memory_desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_context_handle_t context;
    void *memory;

    cr_assert_geq(soft.device_count, 2);
    REQUIRE_ZE(zeContextCreateEx(soft.driver, &desc, 1, &soft.devices[1], &context));
    REQUIRE_ZE(zeContextGetStatus(context));
    REQUIRE_ZE(zeMemAllocDevice(context, &memory_desc, 64, 0, soft.devices[1], &memory));
    REQUIRE_ZE(zeMemFree(context, memory));
    cr_assert_neq(zeMemAllocDevice(context, &memory_desc, 64, 0, soft.devices[0], &memory),
                  ZE_RESULT_SUCCESS, "a device that is not in the context");
    REQUIRE_ZE(zeContextDestroy(context));
    REQUIRE_ZE(zeContextCreateEx(soft.driver, &desc, 0, NULL, &context));
    REQUIRE_ZE(zeMemAllocDevice(context, &memory_desc, 64, 0, soft.devices[0], &memory));
    REQUIRE_ZE(zeMemFree(context, memory));
    REQUIRE_ZE(zeContextDestroy(context));
}

Test(context, residency_and_barrier)
{
    void *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 10000);

    REQUIRE_ZE(zeContextMakeMemoryResident(soft.context, soft.device, memory, 10000));
    REQUIRE_ZE(zeContextEvictMemory(soft.context, soft.device, memory, 10000));
    REQUIRE_ZE(zeContextSystemBarrier(soft.context, soft.device));
    soft_free(memory);
}

/* ---- the environment ------------------------------------------------------------------------- */

static uint32_t first_number(ze_device_handle_t device)
{
    PROPERTIES(ze_device_properties_t, DEVICE_PROPERTIES);

    REQUIRE_ZE(zeDeviceGetProperties(device, &properties));
    return properties.deviceId;
}

Test(environment, number_of_devices)
{
    setenv("ZE_SOFT_DEVICES", "5", 1);
    soft_open();
    cr_assert_eq(soft.device_count, 5);
    soft_close();
}

Test(environment, a_wrong_number_of_devices_is_ignored)
{
    setenv("ZE_SOFT_DEVICES", "many", 1);
    soft_open();
    cr_assert_eq(soft.device_count, 2);
    soft_close();
}

Test(environment, affinity_mask_keeps_the_order_of_the_devices)
{
    setenv("ZE_SOFT_DEVICES", "4", 1);
    setenv("ZE_AFFINITY_MASK", "3,1.0", 1);
    soft_open();
    cr_assert_eq(soft.device_count, 2);
    cr_assert_eq(first_number(soft.devices[0]), 1);
    cr_assert_eq(first_number(soft.devices[1]), 3);
    soft_close();
}

Test(environment, affinity_mask_of_nothing_hides_the_driver)
{
    setenv("ZE_AFFINITY_MASK", "9", 1);
    cr_assert_neq(zeInit(0), ZE_RESULT_SUCCESS);
}

Test(environment, can_pretend_to_be_a_gpu)
{
    PROPERTIES(ze_device_properties_t, DEVICE_PROPERTIES);

    setenv("ZE_SOFT_DEVICE_TYPE", "gpu", 1);
    soft_open();
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(properties.type, ZE_DEVICE_TYPE_GPU);
    soft_close();
}

Test(environment, time_stamps_wrap_at_their_valid_bits)
{
    PROPERTIES(ze_device_properties_t, DEVICE_PROPERTIES);
    uint64_t host, device;

    setenv("ZE_SOFT_TIMESTAMP_BITS", "20", 1);
    soft_open();
    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(properties.timestampValidBits, 20);
    cr_assert_eq(properties.kernelTimestampValidBits, 20);
    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &device));
    cr_assert_lt(device, 1 << 20);
    soft_close();
}
