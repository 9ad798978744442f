/* SPDX-License-Identifier: MIT */
/* Command lists, queues, fences, copies and fills. */
#include "scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(list, .init = soft_open, .fini = soft_close, .timeout = 60);

typedef ze_result_t (*host_synchronize_t)(ze_command_list_handle_t, uint64_t);

Test(list, regular_lists_run_again_and_in_order)
{
    ze_command_list_handle_t lists[2] = { soft_regular(0, 0), soft_regular(0, 0) };
    ze_command_queue_handle_t queue = soft_queue(0);
    ze_fence_desc_t fence_desc = { .stype = ZE_STRUCTURE_TYPE_FENCE_DESC };
    uint32_t *a = soft_device_memory(4096), *b = soft_device_memory(4096), one = 1;
    ze_fence_handle_t fence;

    OK(zeFenceCreate(queue, &fence_desc, &fence));
    OK(zeCommandListAppendMemoryCopy(lists[0], b, a, 4096, NULL, 0, NULL));
    OK(zeCommandListAppendBarrier(lists[0], NULL, 0, NULL));
    OK(zeCommandListAppendMemoryFill(lists[1], a, &one, sizeof(one), 4096, NULL, 0, NULL));
    ERROR(INVALID_ARGUMENT, zeCommandQueueExecuteCommandLists(queue, 2, lists, NULL));
    OK(zeCommandListClose(lists[0]));
    OK(zeCommandListClose(lists[1]));

    memset(a, 0, 4096);
    memset(b, 9, 4096);
    RESULT(ZE_RESULT_NOT_READY, zeFenceQueryStatus(fence));
    OK(zeCommandQueueExecuteCommandLists(queue, 2, lists, fence));
    OK(zeFenceHostSynchronize(fence, FOREVER));
    CHECK(b[0] == 0 && b[1023] == 0 && a[0] == 1 && a[1023] == 1);
    OK(zeFenceReset(fence));
    RESULT(ZE_RESULT_NOT_READY, zeFenceHostSynchronize(fence, 0));
    OK(zeCommandQueueExecuteCommandLists(queue, 2, lists, fence));
    OK(zeFenceHostSynchronize(fence, FOREVER));
    CHECK(b[0] == 1 && b[1023] == 1);

    OK(zeCommandListReset(lists[0]));
    OK(zeCommandListAppendMemoryFill(lists[0], b, "\5", 1, 4096, NULL, 0, NULL));
    OK(zeCommandListClose(lists[0]));
    OK(zeCommandQueueExecuteCommandLists(queue, 1, lists, NULL));
    OK(zeCommandQueueSynchronize(queue, FOREVER));
    CHECK(b[0] == 0x05050505 && a[0] == 1);

    OK(zeFenceDestroy(fence));
    OK(zeCommandListDestroy(lists[0]));
    OK(zeCommandListDestroy(lists[1]));
    OK(zeCommandQueueDestroy(queue));
    soft_free(a);
    soft_free(b);
}

Test(list, a_list_destroyed_while_it_runs_runs_on)
{
    ze_event_pool_handle_t pool = soft_pool(0, 2);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_command_list_handle_t list = soft_regular(0, 0);
    ze_command_queue_handle_t queue = soft_queue(0);
    char *memory = soft_device_memory(64);

    memset(memory, 0, 64);
    OK(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    OK(zeCommandListAppendMemoryFill(list, memory, "x", 1, 64, done, 0, NULL));
    OK(zeCommandListClose(list));
    OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL));
    RESULT(ZE_RESULT_NOT_READY, zeCommandQueueSynchronize(queue, MILLISECOND));
    OK(zeCommandListDestroy(list));
    OK(zeCommandQueueDestroy(queue));
    OK(zeEventHostSignal(gate));
    OK(zeEventHostSynchronize(done, FOREVER));
    CHECK(memory[0] == 'x' && memory[63] == 'x');
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(memory);
}

Test(list, one_list_on_two_queues_at_once)
{
    ze_event_pool_handle_t pool = soft_pool(0, 1);
    ze_event_handle_t gate = soft_event(pool, 0);
    ze_command_list_handle_t list = soft_regular(0, 0);
    ze_command_queue_handle_t queues[2] = { soft_queue(0), soft_queue(0) };
    char *memory = soft_device_memory(64);

    OK(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    OK(zeCommandListAppendMemoryFill(list, memory, "y", 1, 64, NULL, 0, NULL));
    OK(zeCommandListClose(list));
    for (int i = 0; i < 2; i++)
        OK(zeCommandQueueExecuteCommandLists(queues[i], 1, &list, NULL));
    OK(zeEventHostSignal(gate));
    for (int i = 0; i < 2; i++) {
        OK(zeCommandQueueSynchronize(queues[i], FOREVER));
        OK(zeCommandQueueDestroy(queues[i]));
    }
    CHECK(memory[63] == 'y');
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(gate));
    OK(zeEventPoolDestroy(pool));
    soft_free(memory);
}

Test(list, synchronous_lists_are_done_on_return)
{
    ze_command_list_handle_t list = soft_synchronous(0);
    size_t size = 4 << 20;
    char *memory = soft_device_memory(size);

    OK(zeCommandListAppendMemoryFill(list, memory, "z", 1, size, NULL, 0, NULL));
    CHECK(memory[0] == 'z' && memory[size - 1] == 'z');
    OK(zeCommandListDestroy(list));
    soft_free(memory);
}

Test(list, host_synchronize_waits_for_all_that_was_appended)
{
    host_synchronize_t synchronize =
        (host_synchronize_t)soft_extension("zeCommandListHostSynchronize");
    ze_command_list_handle_t list = soft_immediate(0, 0), regular = soft_regular(0, 0);
    ze_event_pool_handle_t pool = soft_pool(0, 1);
    ze_event_handle_t gate = soft_event(pool, 0);
    size_t size = 1 << 20;
    char *a = soft_device_memory(size), *b = soft_device_memory(size);

    if (!synchronize)
        cr_skip_test("handles are wrapped");
    OK(synchronize(list, 0));
    memset(a, 3, size);
    OK(zeCommandListAppendMemoryCopy(list, b, a, size, NULL, 1, &gate));
    RESULT(ZE_RESULT_NOT_READY, synchronize(list, 0));
    RESULT(ZE_RESULT_NOT_READY, synchronize(list, MILLISECOND));
    OK(zeEventHostSignal(gate));
    OK(synchronize(list, FOREVER));
    CHECK(memcmp(a, b, size) == 0);
    ERROR(INVALID_ARGUMENT, synchronize(regular, 0));
    OK(zeCommandListDestroy(list));
    OK(zeCommandListDestroy(regular));
    OK(zeEventDestroy(gate));
    OK(zeEventPoolDestroy(pool));
    soft_free(a);
    soft_free(b);
}

Test(list, every_pattern_size_fills)
{
    ze_command_list_handle_t list = soft_synchronous(0);
    unsigned char pattern[128], *memory = soft_device_memory(300000);

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (unsigned char)(i * 7 + 1);
    for (size_t size = 1; size <= sizeof(pattern); size *= 2) {
        for (size_t length = size; length <= 300000; length = length * 37 + size) {
            size_t whole = length / size * size;

            memset(memory, 0, 300000);
            OK(zeCommandListAppendMemoryFill(list, memory, pattern, size, whole, NULL, 0, NULL));
            for (size_t i = 0; i < whole; i++)
                CHECK(memory[i] == pattern[i % size]);
            CHECK(whole == 300000 || memory[whole] == 0);
        }
    }
    ERROR(INVALID_SIZE, zeCommandListAppendMemoryFill(list, memory, pattern, 3, 9, NULL, 0, NULL));
    if (!soft_validates())              /* newer layers divide by it */
        ERROR(INVALID_SIZE,
              zeCommandListAppendMemoryFill(list, memory, pattern, 0, 9, NULL, 0, NULL));
    OK(zeCommandListDestroy(list));
    soft_free(memory);
}

Test(list, regions_are_copied_row_by_row)
{
    enum { PITCH = 40, SLICE = PITCH * 10, SIZE = SLICE * 6 };
    ze_command_list_handle_t list = soft_synchronous(0);
    ze_copy_region_t to = { 3, 2, 1, 11, 5, 3 }, from = { 7, 1, 2, 11, 5, 3 }, same = to;
    unsigned char *a = soft_device_memory(SIZE), *b = soft_device_memory(SIZE);

    for (int i = 0; i < SIZE; i++)
        a[i] = (unsigned char)(i * 31 >> 3);
    memset(b, 0, SIZE);
    OK(zeCommandListAppendMemoryCopyRegion(list, b, &to, PITCH, SLICE, a, &from, PITCH, SLICE, NULL,
                                           0, NULL));
    for (unsigned z = 0; z < 6; z++) {
        for (unsigned y = 0; y < 10; y++) {
            for (unsigned x = 0; x < PITCH; x++) {
                bool copied = x >= 3 && x < 14 && y >= 2 && y < 7 && z >= 1 && z < 4;
                unsigned at = z * SLICE + y * PITCH + x;

                CHECK(b[at] == (copied ? a[at + SLICE - PITCH + 4] : 0));
            }
        }
    }
    same.originX += 2;
    ERROR(OVERLAPPING_REGIONS,
          zeCommandListAppendMemoryCopyRegion(list, b, &to, PITCH, SLICE, b, &same, PITCH, SLICE,
                                              NULL, 0, NULL));
    same.originX = to.originX + to.width;
    OK(zeCommandListAppendMemoryCopyRegion(list, b, &to, PITCH, SLICE, b, &same, PITCH, SLICE, NULL,
                                           0, NULL));
    OK(zeCommandListDestroy(list));
    soft_free(a);
    soft_free(b);
}

Test(list, barriers_advice_and_other_contexts)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_command_list_handle_t list = soft_synchronous(0);
    char *a = soft_device_memory(4096), *b = soft_host_memory(4096), plain[64];
    const void *ranges[2] = { a, b };
    size_t sizes[2] = { 4096, 4096 };
    ze_context_handle_t other;

    OK(zeContextCreate(soft.driver, &desc, &other));
    strcpy(a, "across contexts");
    OK(zeCommandListAppendMemoryCopyFromContext(list, b, other, a, 4096, NULL, 0, NULL));
    CHECK(strcmp(b, "across contexts") == 0);
    OK(zeCommandListAppendMemoryCopy(list, plain, b, sizeof(plain), NULL, 0, NULL));
    CHECK(strcmp(plain, "across contexts") == 0);
    OK(zeCommandListAppendMemoryRangesBarrier(list, 2, sizes, ranges, NULL, 0, NULL));
    OK(zeCommandListAppendMemoryPrefetch(list, a, 4096));
    OK(zeCommandListAppendMemAdvise(list, soft.devices[0], a, 4096,
                                    ZE_MEMORY_ADVICE_SET_READ_MOSTLY));
    ERROR(INVALID_ENUMERATION,
          zeCommandListAppendMemAdvise(list, soft.devices[0], a, 4096, (ze_memory_advice_t)77));
    OK(zeContextDestroy(other));
    OK(zeCommandListDestroy(list));
    soft_free(a);
    soft_free(b);
}

Test(list, types_are_checked)
{
    ze_command_list_handle_t immediate = soft_immediate(0, 0), regular = soft_regular(0, 0), copy;
    ze_command_list_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC,
                                    .commandQueueGroupOrdinal = 1 };
    ze_command_queue_handle_t queue = soft_queue(0), other = soft_queue(0);
    ze_fence_desc_t fence_desc = { .stype = ZE_STRUCTURE_TYPE_FENCE_DESC,
                                   .flags = ZE_FENCE_FLAG_SIGNALED };
    ze_fence_handle_t fence;

    OK(zeCommandListCreate(soft.context, soft.devices[0], &desc, &copy));
    OK(zeCommandListClose(copy));
    OK(zeCommandListClose(regular));
    ERROR(INVALID_COMMAND_LIST_TYPE, zeCommandQueueExecuteCommandLists(queue, 1, &immediate, NULL));
    ERROR(INVALID_COMMAND_LIST_TYPE, zeCommandQueueExecuteCommandLists(queue, 1, &copy, NULL));
    ERROR(INVALID_SIZE, zeCommandQueueExecuteCommandLists(queue, 0, &regular, NULL));
    OK(zeFenceCreate(other, &fence_desc, &fence));
    OK(zeFenceQueryStatus(fence));
    ERROR(INVALID_SYNCHRONIZATION_OBJECT,
          zeCommandQueueExecuteCommandLists(queue, 1, &regular, fence));
    ERROR(INVALID_ARGUMENT, zeCommandListReset(immediate));
    ERROR(INVALID_ARGUMENT, zeCommandListAppendBarrier(regular, NULL, 0, NULL));
    if (!soft_handles_are_wrapped())    /* the wrapping loader reads the array */
        ERROR(INVALID_SIZE, zeCommandListAppendBarrier(immediate, NULL, 1, NULL));
    OK(zeFenceDestroy(fence));
    OK(zeCommandListDestroy(immediate));
    OK(zeCommandListDestroy(regular));
    OK(zeCommandListDestroy(copy));
    OK(zeCommandQueueDestroy(queue));
    OK(zeCommandQueueDestroy(other));
}

Test(list, immediate_append_and_clone)
{
    typedef ze_result_t (*append_lists_t)(ze_command_list_handle_t, uint32_t,
                                          ze_command_list_handle_t *, ze_event_handle_t, uint32_t,
                                          ze_event_handle_t *);
    typedef ze_result_t (*clone_t)(ze_command_list_handle_t, ze_command_list_handle_t *);
    append_lists_t append =
        (append_lists_t)soft_extension("zeCommandListImmediateAppendCommandListsExp");
    clone_t clone_list = (clone_t)soft_extension("zeCommandListCreateCloneExp");
    ze_command_list_handle_t immediate, regular, clone;
    ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP, 2);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_kernel_timestamp_result_t stamps;
    char *memory = soft_device_memory(64);

    if (!append || soft_validates())
        cr_skip_test("needs what the old loader has not");
    immediate = soft_immediate(0, 0);
    regular = soft_regular(0, NEWER_COMMAND_LIST_FLAG_EXP_CLONEABLE);
    memset(memory, 0, 64);
    OK(zeCommandListAppendMemoryFill(regular, memory, "c", 1, 32, NULL, 0, NULL));
    ERROR(INVALID_ARGUMENT, clone_list(regular, &clone));
    OK(zeCommandListClose(regular));
    OK(clone_list(regular, &clone));
    OK(zeCommandListDestroy(regular));
    OK(append(immediate, 1, &clone, done, 1, &gate));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(done));
    OK(zeEventHostSignal(gate));
    OK(zeEventHostSynchronize(done, FOREVER));
    OK(zeEventQueryKernelTimestamp(done, &stamps));
    CHECK(stamps.global.kernelStart <= stamps.global.kernelEnd);
    CHECK(memory[31] == 'c' && memory[32] == 0);
    OK(zeCommandListDestroy(clone));
    OK(zeCommandListDestroy(immediate));
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(memory);
}
