/* SPDX-License-Identifier: MIT */
/* ZE_SOFT_FAULT: each test has its own process, and sets the variable before the driver starts. */
#include "scene.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(fault, .timeout = 60);

static void open_with(const char *faults)
{
    setenv("ZE_SOFT_FAULT", faults, 1);
    soft_open();
}

Test(fault, the_nth_call_fails_once)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *pointer;

    open_with("call:zeMemAllocDevice:2:OUT_OF_DEVICE_MEMORY");
    soft_free(soft_device_memory(64));
    ERROR(OUT_OF_DEVICE_MEMORY,
          zeMemAllocDevice(soft.context, &desc, 64, 0, soft.devices[0], &pointer));
    soft_free(soft_device_memory(64));
    soft_close();
}

Test(fault, every_nth_call_fails)
{
    unsigned failed = 0;

    open_with("call:zeDeviceGetStatus:/3:DEVICE_LOST");
    for (int i = 1; i <= 9; i++) {
        ze_result_t result = zeDeviceGetStatus(soft.devices[0]);

        failed += result == ZE_RESULT_ERROR_DEVICE_LOST;
        CHECK((result == ZE_RESULT_ERROR_DEVICE_LOST) == (i % 3 == 0));
    }
    CHECK(failed == 3);
    soft_close();
}

Test(fault, chance_follows_its_seed)
{
    /* of splitmix64 seeded with 7, how many of 1000 draws are below 0.25 */
    unsigned failed = 0, expected = 0;
    uint64_t state = 7;

    open_with("call:zeDeviceGetStatus:p0.25@7:UNKNOWN");
    for (int i = 0; i < 1000; i++) {
        uint64_t z = state += 0x9e3779b97f4a7c15u;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        expected += (double)(z >> 11) * 0x1p-53 < 0.25;
        failed += zeDeviceGetStatus(soft.devices[0]) == ZE_RESULT_ERROR_UNKNOWN;
    }
    CHECK(failed == expected && failed > 150 && failed < 350);
    soft_close();
}

Test(fault, a_device_is_lost_after_n_commands)
{
    ze_command_list_handle_t lost, good;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;
    ze_result_t result = ZE_RESULT_SUCCESS;
    char *memory;

    open_with("lost:0:3");
    pool = soft_pool(0, 1);
    event = soft_event(pool, 0);
    memory = soft_host_memory(64);
    lost = soft_immediate(0, 0);
    good = soft_immediate(1, 0);
    for (int i = 0; i < 2; i++)
        OK(zeCommandListAppendMemoryFill(lost, memory, "a", 1, 64, NULL, 0, NULL));
    result = zeCommandListAppendBarrier(lost, event, 0, NULL);
    CHECK(result == ZE_RESULT_SUCCESS || result == ZE_RESULT_ERROR_DEVICE_LOST);
    ERROR(DEVICE_LOST, zeEventHostSynchronize(event, FOREVER));
    ERROR(DEVICE_LOST, zeEventQueryStatus(event));
    ERROR(DEVICE_LOST, zeCommandListAppendBarrier(lost, NULL, 0, NULL));
    ERROR(DEVICE_LOST, zeDeviceGetStatus(soft.devices[0]));
    ERROR(DEVICE_LOST, zeContextGetStatus(soft.context));
    OK(zeDeviceGetStatus(soft.devices[1]));
    OK(zeEventHostReset(event));
    OK(zeCommandListAppendBarrier(good, event, 0, NULL));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(zeCommandListDestroy(lost));
    OK(zeCommandListDestroy(good));
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
    soft_free(memory);
    soft_close();
}

Test(fault, a_command_hangs_until_told)
{
    char path[64], rule[128];
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;

    snprintf(path, sizeof(path), "/tmp/ze_soft-go-%d", (int)getpid());
    snprintf(rule, sizeof(rule), "hang:barrier:1:%s", path);
    open_with(rule);
    pool = soft_pool(0, 1);
    event = soft_event(pool, 0);
    list = soft_immediate(0, 0);
    OK(zeCommandListAppendBarrier(list, event, 0, NULL));
    RESULT(ZE_RESULT_NOT_READY, zeEventHostSynchronize(event, 20 * MILLISECOND));
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    OK(zeEventHostSynchronize(event, FOREVER));
    unlink(path);
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

Test(fault, commands_take_the_time_they_are_told)
{
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;
    uint64_t host[2], device;

    open_with("delay:barrier:/1:20ms");
    pool = soft_pool(0, 1);
    event = soft_event(pool, 0);
    list = soft_immediate(0, 0);
    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host[0], &device));
    OK(zeCommandListAppendBarrier(list, event, 0, NULL));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host[1], &device));
    CHECK(host[1] - host[0] >= 20 * MILLISECOND);
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

Test(fault, memory_is_limited_and_given_back)
{
    ze_device_memory_properties_t properties = { .stype =
                                                     ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES };
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *first, *second;
    uint32_t one = 1;

    open_with("memory:1M");
    OK(zeDeviceGetMemoryProperties(soft.devices[0], &one, &properties));
    CHECK(properties.totalSize == 1 << 20);
    for (int i = 0; i < 3; i++) {
        first = soft_device_memory(600 << 10);
        ERROR(OUT_OF_DEVICE_MEMORY,
              zeMemAllocDevice(soft.context, &desc, 600 << 10, 0, soft.devices[0], &second));
        OK(zeMemAllocDevice(soft.context, &desc, 600 << 10, 0, soft.devices[1], &second));
        soft_free(first);
        soft_free(second);
    }
    soft_close();
}

Test(fault, nonsense_is_ignored)
{
    open_with("call:zeDeviceGetStatus:0:UNKNOWN;what;hang:x:1;memory:0;call:a:1:NO_SUCH_CODE");
    OK(zeDeviceGetStatus(soft.devices[0]));
    soft_free(soft_device_memory(64));
    soft_close();
}
