/* SPDX-License-Identifier: MIT */
/* What driver, device and context say about themselves, and the errors they return. */
#include "scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(device, .init = soft_open, .fini = soft_close, .timeout = 60);

Test(device, driver_is_one_and_stable)
{
    ze_driver_properties_t a = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES }, b = a;
    ze_driver_ipc_properties_t ipc = { .stype = ZE_STRUCTURE_TYPE_DRIVER_IPC_PROPERTIES };
    ze_api_version_t version;

    OK(zeDriverGetProperties(soft.driver, &a));
    OK(zeDriverGetProperties(soft.driver, &b));
    CHECK(memcmp(a.uuid.id, b.uuid.id, sizeof(a.uuid.id)) == 0 && a.driverVersion != 0);
    OK(zeDriverGetApiVersion(soft.driver, &version));
    CHECK(ZE_MAJOR_VERSION(version) == 1 && ZE_MINOR_VERSION(version) <= 16);
    OK(zeDriverGetIpcProperties(soft.driver, &ipc));
    CHECK(ipc.flags & ZE_IPC_PROPERTY_FLAG_MEMORY && ipc.flags & ZE_IPC_PROPERTY_FLAG_EVENT_POOL);
}

Test(device, extensions_are_listed_and_found)
{
    ze_driver_extension_properties_t properties[64];
    uint32_t count = 0, two = 2;
    void *function = NULL;

    OK(zeDriverGetExtensionProperties(soft.driver, &count, NULL));
    CHECK(count > 2 && count < 64);
    OK(zeDriverGetExtensionProperties(soft.driver, &count, properties));
    for (uint32_t i = 0; i < count; i++)
        CHECK(strncmp(properties[i].name, "ZE_", 3) == 0 && properties[i].version != 0);
    OK(zeDriverGetExtensionProperties(soft.driver, &two, properties));
    CHECK(two == 2);
    OK(zeDriverGetExtensionFunctionAddress(soft.driver, "zexDriverImportExternalPointer",
                                           &function));
    CHECK(function);
    ERROR(INVALID_ARGUMENT,
          zeDriverGetExtensionFunctionAddress(soft.driver, "zexNoSuchThing", &function));
}

Test(device, properties_are_consistent)
{
    for (uint32_t i = 0; i < soft.device_count; i++) {
        ze_device_properties_t ns = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };
        ze_device_properties_t hz = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2 };

        OK(zeDeviceGetProperties(soft.devices[i], &ns));
        OK(zeDeviceGetProperties(soft.devices[i], &hz));
        CHECK(ns.timerResolution == 1 && hz.timerResolution == 1000000000u);
        CHECK(ns.numSlices * ns.numSubslicesPerSlice * ns.numEUsPerSubslice >= 1);
        CHECK(ns.maxMemAllocSize > 0 && strlen(ns.name) > 0);
        CHECK(ns.kernelTimestampValidBits >= 16 && ns.kernelTimestampValidBits <= 64);
        CHECK(!(ns.flags & ZE_DEVICE_PROPERTY_FLAG_SUBDEVICE));
        for (uint32_t k = 0; k < i; k++) {
            ze_device_properties_t other = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };

            OK(zeDeviceGetProperties(soft.devices[k], &other));
            CHECK(memcmp(other.uuid.id, ns.uuid.id, sizeof(ns.uuid.id)) != 0);
        }
    }
}

Test(device, groups_have_compute_and_copy)
{
    ze_command_queue_group_properties_t groups[4] = {
        { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES },
        { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES },
        { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES },
        { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES }
    };
    uint32_t count = 0;

    OK(zeDeviceGetCommandQueueGroupProperties(soft.devices[0], &count, NULL));
    CHECK(count == 2);
    OK(zeDeviceGetCommandQueueGroupProperties(soft.devices[0], &count, groups));
    CHECK(groups[0].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE);
    CHECK(groups[0].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COOPERATIVE_KERNELS);
    CHECK(groups[1].flags == ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY);
    CHECK(groups[0].numQueues > 0 && groups[1].maxMemoryFillPatternSize >= 16);
}

Test(device, other_queries_answer)
{
    ze_device_compute_properties_t compute = { .stype =
                                                   ZE_STRUCTURE_TYPE_DEVICE_COMPUTE_PROPERTIES };
    ze_device_module_properties_t module = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MODULE_PROPERTIES };
    ze_device_memory_properties_t memory = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES };
    ze_device_memory_access_properties_t access = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_ACCESS_PROPERTIES
    };
    ze_device_image_properties_t image = { .stype = ZE_STRUCTURE_TYPE_DEVICE_IMAGE_PROPERTIES };
    ze_device_external_memory_properties_t external = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_EXTERNAL_MEMORY_PROPERTIES
    };
    ze_device_p2p_properties_t p2p = { .stype = ZE_STRUCTURE_TYPE_DEVICE_P2P_PROPERTIES };
    ze_device_handle_t device = soft.devices[0], peer = soft.devices[soft.device_count - 1];
    uint32_t count = 0;
    ze_bool_t can;

    OK(zeDeviceGetComputeProperties(device, &compute));
    CHECK(compute.maxTotalGroupSize >= compute.maxGroupSizeX && compute.numSubGroupSizes > 0);
    OK(zeDeviceGetModuleProperties(device, &module));
    CHECK(module.flags & ZE_DEVICE_MODULE_FLAG_FP64);
    OK(zeDeviceGetMemoryProperties(device, &count, NULL));
    CHECK(count == 1);
    OK(zeDeviceGetMemoryProperties(device, &count, &memory));
    CHECK(memory.totalSize > 0);
    OK(zeDeviceGetMemoryAccessProperties(device, &access));
    CHECK(access.sharedSystemAllocCapabilities & ZE_MEMORY_ACCESS_CAP_FLAG_RW);
    OK(zeDeviceGetImageProperties(device, &image));
    CHECK(image.maxImageDims2D == 0 && image.maxSamplers == 0);
    OK(zeDeviceGetExternalMemoryProperties(device, &external));
    CHECK(external.memoryAllocationExportTypes & ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD);
    OK(zeDeviceGetP2PProperties(device, peer, &p2p));
    CHECK(p2p.flags & ZE_DEVICE_P2P_PROPERTY_FLAG_ACCESS);
    OK(zeDeviceCanAccessPeer(device, peer, &can));
    CHECK(can);
    OK(zeDeviceCanAccessPeer(peer, device, &can));
    CHECK(can);
    count = 0;
    OK(zeDeviceGetSubDevices(device, &count, NULL));
    CHECK(count == 0);
    count = 0;
    OK(zeDeviceGetCacheProperties(device, &count, NULL));
    OK(zeDeviceGetStatus(device));
}

Test(device, global_timestamps_advance_together)
{
    uint64_t host[2], device[2];

    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host[0], &device[0]));
    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host[1], &device[1]));
    CHECK(host[1] >= host[0] && device[1] >= device[0]);
}

Test(device, context_checks_its_devices)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_event_pool_desc_t pool_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 1 };
    ze_command_queue_desc_t queue_desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC };
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_context_handle_t context;

    cr_assert_geq(soft.device_count, 2);
    OK(zeContextCreateEx(soft.driver, &desc, 1, &soft.devices[1], &context));
    OK(zeContextGetStatus(context));
    OK(zeContextSystemBarrier(context, soft.devices[1]));
    ERROR(INVALID_ARGUMENT,
          zeCommandListCreateImmediate(context, soft.devices[0], &queue_desc, &list));
    ERROR(INVALID_ARGUMENT, zeEventPoolCreate(context, &pool_desc, 1, &soft.devices[0], &pool));
    OK(zeContextDestroy(context));
}

Test(device, errors_are_those_of_the_specification)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC, .flags = 0x10 };
    ze_command_queue_desc_t queue_desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC };
    ze_command_queue_handle_t queue;
    ze_context_handle_t context;

    ERROR(INVALID_NULL_POINTER, zeDeviceGet(soft.driver, NULL, NULL));
    ERROR(INVALID_NULL_POINTER, zeDeviceGetProperties(soft.devices[0], NULL));
    ERROR(INVALID_ENUMERATION, zeContextCreate(soft.driver, &desc, &context));
    ERROR(INVALID_NULL_POINTER, zeContextCreate(soft.driver, NULL, &context));
    queue_desc.ordinal = 99;
    ERROR(INVALID_ARGUMENT,
          zeCommandQueueCreate(soft.context, soft.devices[0], &queue_desc, &queue));
    queue_desc.ordinal = 0;
    queue_desc.mode = (ze_command_queue_mode_t)7;
    ERROR(INVALID_ENUMERATION,
          zeCommandQueueCreate(soft.context, soft.devices[0], &queue_desc, &queue));
    if (!soft_handles_are_wrapped() || soft_validates())
        ERROR(INVALID_NULL_HANDLE, zeContextGetStatus(NULL));
}

Test(device, images_and_samplers_are_refused)
{
    ze_image_desc_t image_desc = { .stype = ZE_STRUCTURE_TYPE_IMAGE_DESC, .width = 4, .height = 4 };
    ze_sampler_desc_t sampler_desc = { .stype = ZE_STRUCTURE_TYPE_SAMPLER_DESC };
    ze_sampler_handle_t sampler;
    ze_image_handle_t image;

    ERROR(UNSUPPORTED_FEATURE, zeImageCreate(soft.context, soft.devices[0], &image_desc, &image));
    ERROR(UNSUPPORTED_FEATURE,
          zeSamplerCreate(soft.context, soft.devices[0], &sampler_desc, &sampler));
}

Test(device, init_drivers_answers_like_driver_get)
{
    ze_result_t (*init_drivers)(uint32_t *, ze_driver_handle_t *, newer_init_driver_type_desc_t *) =
        (__typeof__(init_drivers))soft_extension("zeInitDrivers");
    newer_init_driver_type_desc_t desc = {
        .stype = (ze_structure_type_t)NEWER_STRUCTURE_TYPE_INIT_DRIVER_TYPE_DESC,
        .flags = NEWER_INIT_DRIVER_TYPE_FLAG_GPU
    };
    ze_driver_handle_t driver = NULL;
    uint32_t count = 0;

    if (!init_drivers)
        cr_skip_test("handles are wrapped");
    OK(init_drivers(&count, NULL, &desc));
    CHECK(count == 1);
    OK(init_drivers(&count, &driver, &desc));
    CHECK(driver == soft.driver);
    desc.flags = 2;
    OK(init_drivers(&count, &driver, &desc));
    CHECK(count == 0);
}

/* The environment is read when the driver is initialised, so these come without soft_open. */
Test(device_environment, affinity_mask_selects)
{
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };

    setenv("ZE_SOFT_DEVICES", "4", 1);
    setenv("ZE_AFFINITY_MASK", "1,3", 1);
    soft_open();
    CHECK(soft.device_count == 2);
    OK(zeDeviceGetProperties(soft.devices[1], &properties));
    CHECK(properties.deviceId == 3);
    soft_close();
}

Test(device_environment, count_and_clock_can_be_set)
{
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };
    uint64_t host, device;

    setenv("ZE_SOFT_DEVICES", "5", 1);
    setenv("ZE_SOFT_TIMESTAMP_BITS", "20", 1);
    setenv("ZE_SOFT_DEVICE_TYPE", "gpu", 1);
    soft_open();
    CHECK(soft.device_count == 5);
    OK(zeDeviceGetProperties(soft.devices[4], &properties));
    CHECK(properties.kernelTimestampValidBits == 20 && properties.type == ZE_DEVICE_TYPE_GPU);
    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host, &device));
    CHECK(device < 1u << 20);
    CHECK(properties.flags & ZE_DEVICE_PROPERTY_FLAG_INTEGRATED);
    soft_close();
}

Test(device_environment, memory_can_be_called_discrete)
{
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };

    setenv("ZE_SOFT_DEVICE_MEMORY", "discrete", 1);
    soft_open();
    OK(zeDeviceGetProperties(soft.devices[0], &properties));
    CHECK(!(properties.flags & ZE_DEVICE_PROPERTY_FLAG_INTEGRATED));
    soft_close();
}
