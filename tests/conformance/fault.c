/* SPDX-License-Identifier: MIT */
/* ZE_SOFT_FAULT: failures on request, and nothing but those. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(fault);

static void open_with(const char *faults)
{
    setenv("ZE_SOFT_FAULT", faults, 1);
    soft_open();
}

static ze_result_t try_alloc(size_t size, void **ret_memory)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };

    return zeMemAllocDevice(soft.context, &desc, size, 0, soft.device, ret_memory);
}

/* One bit for each of @p count allocations: did it fail with that code? */
static uint64_t failing_allocations(unsigned count, ze_result_t code)
{
    uint64_t failed = 0;

    for (unsigned i = 0; i < count; i++) {
        void *memory = NULL;
        ze_result_t result = try_alloc(64, &memory);

        if (result == ZE_RESULT_SUCCESS) {
            soft_free(memory);
            continue;
        }
        cr_assert_eq(result, code);
        cr_assert_null(memory);
        failed |= UINT64_C(1) << i;
    }
    return failed;
}

Test(fault, of_the_nth_call)
{
    open_with("call:zeMemAllocDevice:3:OUT_OF_DEVICE_MEMORY");
    cr_assert_eq(failing_allocations(10, ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY), 1u << 2);
    soft_close();
}

Test(fault, of_every_nth_call)
{
    open_with("call:zeMemAllocDevice:/4:OUT_OF_HOST_MEMORY");
    cr_assert_eq(failing_allocations(12, ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY), 0x888);
    soft_close();
}

Test(fault, of_several_rules)
{
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 1 };
    ze_event_pool_handle_t pool;

    open_with("call:zeMemAllocDevice:1:UNKNOWN;call:zeEventPoolCreate:1:OUT_OF_HOST_MEMORY");
    cr_assert_eq(failing_allocations(4, ZE_RESULT_ERROR_UNKNOWN), 1);
    cr_assert_eq(zeEventPoolCreate(soft.context, &desc, 0, NULL, &pool),
                 ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY);
    REQUIRE_ZE(zeEventPoolCreate(soft.context, &desc, 0, NULL, &pool));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_close();
}

static void send_failures(int channel, void *faults)
{
    uint64_t failed;

    open_with(faults);
    failed = failing_allocations(64, ZE_RESULT_ERROR_NOT_AVAILABLE);
    test_send(channel, &failed, sizeof(failed));
    soft_close();
}

static uint64_t failures_of_a_process(const char *faults)
{
    struct test_peer peer;
    uint64_t failed;

    test_peer_start(&peer, send_failures, (void *)(uintptr_t)faults);
    test_receive(peer.channel, &failed, sizeof(failed));
    test_peer_join(&peer);
    return failed;
}

Test(fault, by_chance_is_the_same_for_the_same_seed)
{
    uint64_t first = failures_of_a_process("call:zeMemAllocDevice:p0.5@7:NOT_AVAILABLE");
    uint64_t again = failures_of_a_process("call:zeMemAllocDevice:p0.5@7:NOT_AVAILABLE");
    uint64_t other = failures_of_a_process("call:zeMemAllocDevice:p0.5@8:NOT_AVAILABLE");

    cr_assert_eq(first, again);
    cr_assert_neq(first, other);
    cr_assert(first != 0 && first != UINT64_MAX);
}

Test(fault, what_is_not_understood_is_ignored)
{
    open_with("call:zeMemAllocDevice:never:WORSE;nonsense;:;call:zeMemAllocDevice:2:UNKNOWN");
    cr_assert_eq(failing_allocations(5, ZE_RESULT_ERROR_UNKNOWN), 2);
    soft_close();
}

Test(fault, memory_is_limited)
{
    ze_device_memory_properties_t properties = { .stype =
                                                     ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES };
    uint32_t count = 1;
    void *half, *quarter, *rest = NULL;

    open_with("memory:1M");
    REQUIRE_ZE(zeDeviceGetMemoryProperties(soft.device, &count, &properties));
    cr_assert_eq(properties.totalSize, 1 << 20);
    cr_assert_eq(try_alloc((1 << 20) + 1, &rest), ZE_RESULT_ERROR_UNSUPPORTED_SIZE);
    REQUIRE_ZE(try_alloc(512 << 10, &half));
    REQUIRE_ZE(try_alloc(256 << 10, &quarter));
    cr_assert_eq(try_alloc(512 << 10, &rest), ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY);
    cr_assert_null(rest);
    soft_free(half);
    REQUIRE_ZE(try_alloc(512 << 10, &rest));
    soft_free(rest);
    soft_free(quarter);
    soft_close();
}

Test(fault, a_command_hangs_until_told)
{
    char directory[] = "/tmp/soft-fault-XXXXXX", gate[64], faults[128];
    ze_command_list_handle_t list, other;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;
    uint32_t *memory;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    snprintf(gate, sizeof(gate), "%s/open", directory);
    snprintf(faults, sizeof(faults), "hang:fill:/1:%s", gate);
    open_with(faults);
    pool = soft_pool(1, 0);
    event = soft_event(pool, 0);
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    other = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 64);
    REQUIRE_ZE(zeCommandListAppendMemoryFill(list, memory, "\1", 1, 4, event, 0, NULL));
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(other, memory + 2, memory + 4, 4, NULL, 0, NULL));
    soft_finish(other);                 /* other queues go on */
    cr_assert_eq(zeEventHostSynchronize(event, SECOND / 20), ZE_RESULT_NOT_READY);
    cr_assert_eq(*memory, 0);
    fd = open(gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    cr_assert_eq(*memory, 0x01010101);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandListDestroy(other));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_close();
    close(fd);
    unlink(gate);
    rmdir(directory);
}

Test(fault, a_command_takes_its_time)
{
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t events[2];
    ze_kernel_timestamp_result_t between[2];
    uint32_t *memory;

    open_with("delay:copy:2:30ms");
    pool = soft_pool(2, ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP);
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 64);
    for (uint32_t i = 0; i < 2; i++) {
        events[i] = soft_event(pool, i);
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, memory, memory + 8, 4, events[i], 0, NULL));
    }
    for (uint32_t i = 0; i < 2; i++) {
        REQUIRE_ZE(zeEventHostSynchronize(events[i], FOREVER));
        REQUIRE_ZE(zeEventQueryKernelTimestamp(events[i], &between[i]));
        REQUIRE_ZE(zeEventDestroy(events[i]));
    }
    cr_assert_geq(between[1].global.kernelEnd - between[0].global.kernelEnd, 30 * SECOND / 1000);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_close();
}

/* Nobody waits for ever for a device that is gone, and the other device does not care. */
Test(fault, a_device_is_lost)
{
    ze_command_list_handle_t list, other;
    ze_command_queue_handle_t queue;
    ze_event_pool_handle_t pool;
    ze_event_handle_t events[6];
    uint32_t *memory;

    open_with("lost:0:4");
    pool = soft_pool(COUNT_OF(events), 0);
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    other = soft_immediate_on(soft.devices[1], 0, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                              ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
    queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    memory = soft_alloc(ZE_MEMORY_TYPE_SHARED, 64);
    for (uint32_t i = 0; i < COUNT_OF(events); i++)
        events[i] = soft_event(pool, i);
    REQUIRE_ZE(zeDeviceGetStatus(soft.device));
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, memory, memory + 8, 4, events[i], 0, NULL));
        REQUIRE_ZE(zeEventHostSynchronize(events[i], FOREVER));
    }
    (void)zeCommandListAppendMemoryCopy(list, memory, memory + 8, 4, events[3], 0, NULL);
    cr_assert_eq(zeEventHostSynchronize(events[3], FOREVER), ZE_RESULT_ERROR_DEVICE_LOST);
    cr_assert_eq(zeEventQueryStatus(events[3]), ZE_RESULT_ERROR_DEVICE_LOST);
    cr_assert_eq(zeDeviceGetStatus(soft.device), ZE_RESULT_ERROR_DEVICE_LOST);
    cr_assert_eq(zeContextGetStatus(soft.context), ZE_RESULT_ERROR_DEVICE_LOST);
    cr_assert_eq(zeCommandListAppendBarrier(list, NULL, 0, NULL), ZE_RESULT_ERROR_DEVICE_LOST);
    cr_assert_eq(zeCommandQueueSynchronize(queue, FOREVER), ZE_RESULT_ERROR_DEVICE_LOST);
    REQUIRE_ZE(zeEventQueryStatus(events[0]));

    REQUIRE_ZE(zeDeviceGetStatus(soft.devices[1]));
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(other, memory, memory + 8, 4, events[5], 0, NULL));
    REQUIRE_ZE(zeEventHostSynchronize(events[5], FOREVER));

    soft_free(memory);
    for (uint32_t i = 0; i < COUNT_OF(events); i++)
        REQUIRE_ZE(zeEventDestroy(events[i]));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandListDestroy(other));
    soft_close();
}
