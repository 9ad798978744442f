/* SPDX-License-Identifier: MIT */
/* Command lists and queues: what runs, when, in which order. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define LONG_BYTES (1 << 20)            /* more than a caller does itself */

static ze_event_pool_handle_t pool;
static ze_event_handle_t gate,
    done;                   /* what tests hold commands back with, and see them finish by */
static uint32_t *from, *to; /* LONG_BYTES each, zero */

static void start(void)
{
    soft_open();
    pool = soft_pool(8, 0);
    gate = soft_event(pool, 0);
    done = soft_event(pool, 1);
    from = soft_alloc(ZE_MEMORY_TYPE_HOST, LONG_BYTES);
    to = soft_alloc(ZE_MEMORY_TYPE_DEVICE, LONG_BYTES);
}

static void stop(void)
{
    soft_free(from);
    soft_free(to);
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventDestroy(done));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_close();
}

TestSuite(regular, .init = start, .fini = stop);
TestSuite(immediate, .init = start, .fini = stop);
TestSuite(fence, .init = start, .fini = stop);
TestSuite(newer, .init = start, .fini = stop);

static void copy(ze_command_list_handle_t list, uint32_t *destination, const uint32_t *source)
{
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, destination, source, 4, NULL, 0, NULL));
}

static void execute(ze_command_queue_handle_t queue, ze_command_list_handle_t list,
                    ze_fence_handle_t fence)
{
    REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 1, &list, fence));
}

static void *open_gate_later(void *unused)
{
    (void)unused;
    nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
    REQUIRE_ZE(zeEventHostSignal(gate));
    return NULL;
}

/* ---- regular lists --------------------------------------------------------------------------- */

Test(regular, runs_when_executed_and_again)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);

    copy(list, to, from);
    REQUIRE_ZE(zeCommandListClose(list));
    for (uint32_t i = 1; i <= 3; i++) {
        *from = i;
        cr_assert_eq(*to, i - 1);
        execute(queue, list, NULL);
        REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
        cr_assert_eq(*to, i);
    }
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(regular, synchronous_queue_returns_when_done)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);

    memset(from, 0x5a, LONG_BYTES);
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, LONG_BYTES, NULL, 0, NULL));
    REQUIRE_ZE(zeCommandListClose(list));
    execute(queue, list, NULL);
    cr_assert_eq(memcmp(to, from, LONG_BYTES), 0);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

/* Each list hands a value one place on, so that any other order leaves another result. */
Test(regular, several_lists_run_in_the_order_given)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t lists[8], reversed[8];

    for (uint32_t i = 0; i < 8; i++) {
        lists[i] = reversed[7 - i] = soft_list(0);
        copy(lists[i], &to[i + 1], &to[i]);
        REQUIRE_ZE(zeCommandListClose(lists[i]));
    }
    to[0] = 77;
    REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 8, lists, NULL));
    REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
    for (uint32_t i = 1; i <= 8; i++)
        cr_assert_eq(to[i], 77);
    for (uint32_t i = 0; i <= 8; i++)
        to[i] = i;
    REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 8, reversed, NULL));
    REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
    for (uint32_t i = 1; i <= 8; i++)
        cr_assert_eq(to[i], i - 1);
    for (uint32_t i = 0; i < 8; i++)
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(regular, executions_of_one_queue_run_in_order)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t blocked = soft_list(0), lists[4];

    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(blocked, 1, &gate));
    REQUIRE_ZE(zeCommandListClose(blocked));
    execute(queue, blocked, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        lists[i] = soft_list(0);
        copy(lists[i], &to[i + 1], &to[i]);
        REQUIRE_ZE(zeCommandListClose(lists[i]));
        execute(queue, lists[i], NULL);
    }
    cr_assert_eq(zeCommandQueueSynchronize(queue, 0), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeCommandQueueSynchronize(queue, SECOND / 100), ZE_RESULT_NOT_READY);
    cr_assert_eq(to[1], 0);
    to[0] = 5;
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeCommandQueueSynchronize(queue, UINT64_MAX));
    cr_assert_eq(to[4], 5);
    REQUIRE_ZE(zeCommandListDestroy(blocked));
    for (uint32_t i = 0; i < 4; i++)
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(regular, runs_on_several_queues_at_once)
{
    ze_command_queue_handle_t queues[4];
    ze_command_list_handle_t list = soft_list(0);

    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    copy(list, to, from);
    REQUIRE_ZE(zeCommandListClose(list));
    *from = 9;
    for (uint32_t i = 0; i < 4; i++) {
        queues[i] = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
        execute(queues[i], list, NULL);
    }
    REQUIRE_ZE(zeEventHostSignal(gate));
    for (uint32_t i = 0; i < 4; i++) {
        REQUIRE_ZE(zeCommandQueueSynchronize(queues[i], FOREVER));
        REQUIRE_ZE(zeCommandQueueDestroy(queues[i]));
    }
    cr_assert_eq(*to, 9);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(regular, reset_empties_the_list)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);

    from[0] = 1;
    copy(list, &to[0], &from[0]);
    REQUIRE_ZE(zeCommandListClose(list));
    REQUIRE_ZE(zeCommandListReset(list));
    copy(list, &to[1], &from[0]);
    REQUIRE_ZE(zeCommandListClose(list));
    execute(queue, list, NULL);
    REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
    cr_assert_eq(to[0], 0);
    cr_assert_eq(to[1], 1);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(regular, an_empty_list_can_be_executed)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_fence_handle_t fence = soft_fence(queue, 0);
    ze_command_list_handle_t list = soft_list(0);

    REQUIRE_ZE(zeCommandListClose(list));
    execute(queue, list, fence);
    REQUIRE_ZE(zeFenceHostSynchronize(fence, FOREVER));
    REQUIRE_ZE(zeFenceDestroy(fence));
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

/* The specification leaves this to the application; here it does no harm. */
Test(regular, what_is_let_go_of_while_it_waits_still_runs)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);

    *from = 3;
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, 4, done, 0, NULL));
    REQUIRE_ZE(zeCommandListClose(list));
    execute(queue, list, NULL);
    REQUIRE_ZE(zeCommandListReset(list));
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*to, 3);
}

Test(regular, events_inside_a_list_are_seen_while_it_runs)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);

    REQUIRE_ZE(zeCommandListAppendSignalEvent(list, done));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    copy(list, to, from);
    REQUIRE_ZE(zeCommandListClose(list));
    *from = 8;
    execute(queue, list, NULL);
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*to, 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
    cr_assert_eq(*to, 8);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(regular, every_flag_gives_a_list_that_runs)
{
    const uint32_t in_order = 0x8;
    const uint32_t flags[] = { ZE_COMMAND_LIST_FLAG_RELAXED_ORDERING,
                               ZE_COMMAND_LIST_FLAG_MAXIMIZE_THROUGHPUT,
                               ZE_COMMAND_LIST_FLAG_EXPLICIT_ONLY, in_order };
    size_t count = soft_validated() ? 3 : 4;

    for (size_t i = 0; i < count; i++) {
        ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
        ze_command_list_handle_t list = soft_list(flags[i]);

        from[i] = 1;
        copy(list, &to[i], &from[i]);
        REQUIRE_ZE(zeCommandListClose(list));
        execute(queue, list, NULL);
        cr_assert_eq(to[i], 1);
        REQUIRE_ZE(zeCommandListDestroy(list));
        REQUIRE_ZE(zeCommandQueueDestroy(queue));
    }
}

/* ---- immediate lists ------------------------------------------------------------------------- */

Test(immediate, synchronous_append_returns_when_done)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);

    memset(from, 0x31, LONG_BYTES);
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, LONG_BYTES, done, 0, NULL));
    cr_assert_eq(memcmp(to, from, LONG_BYTES), 0);
    REQUIRE_ZE(zeEventQueryStatus(done));
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(immediate, synchronous_append_sits_through_its_waits)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    pthread_t thread;

    *from = 6;
    cr_assert_eq(pthread_create(&thread, NULL, open_gate_later, NULL), 0);
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, 4, NULL, 1, &gate));
    REQUIRE_ZE(zeEventQueryStatus(gate));
    cr_assert_eq(*to, 6);
    pthread_join(thread, NULL);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

static void asynchronous_append_does_not_wait(ze_command_queue_mode_t mode)
{
    ze_command_list_handle_t list = soft_immediate(mode);

    *from = 4;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, 4, done, 1, &gate));
    cr_assert_eq(zeEventQueryStatus(done), ZE_RESULT_NOT_READY);
    cr_assert_eq(*to, 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*to, 4);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(immediate, asynchronous_append_does_not_wait)
{
    asynchronous_append_does_not_wait(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
}

Test(immediate, default_append_does_not_wait)
{
    asynchronous_append_does_not_wait(ZE_COMMAND_QUEUE_MODE_DEFAULT);
}

/* Short and long commands alternate, so that callers and workers take turns. */
Test(immediate, runs_in_order)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    const uint32_t steps = 200, longs = LONG_BYTES / 2 / 4;

    to[0] = 1;
    for (uint32_t i = 0; i < steps; i++) {
        copy(list, &to[i + 1], &to[i]);
        if (i % 16 == 0)
            REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to + longs, from, LONG_BYTES / 2, NULL,
                                                     0, NULL));
    }
    soft_finish(list);
    cr_assert_eq(to[steps], 1);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(immediate, later_commands_stay_behind_a_wait)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);

    *from = 2;
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, 1, &gate));
    copy(list, to, from);
    REQUIRE_ZE(zeCommandListAppendSignalEvent(list, done));
    cr_assert_eq(zeEventHostSynchronize(done, SECOND / 100), ZE_RESULT_NOT_READY);
    cr_assert_eq(*to, 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*to, 2);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(immediate, destroyed_with_work_it_finishes_that)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);

    *from = 12;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, 4, done, 1, &gate));
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*to, 12);
}

Test(immediate, all_groups_indices_priorities_and_devices)
{
    const ze_command_queue_priority_t priorities[] = { ZE_COMMAND_QUEUE_PRIORITY_NORMAL,
                                                       ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_LOW,
                                                       ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_HIGH };
    uint32_t runs = 0;

    for (uint32_t d = 0; d < soft.device_count; d++) {
        uint32_t groups = 0;

        REQUIRE_ZE(zeDeviceGetCommandQueueGroupProperties(soft.devices[d], &groups, NULL));
        for (uint32_t g = 0; g < groups; g++) {
            for (size_t p = 0; p < COUNT_OF(priorities); p++) {
                ze_command_list_handle_t list =
                    soft_immediate_on(soft.devices[d], g, ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS,
                                      priorities[p], ZE_COMMAND_QUEUE_FLAG_EXPLICIT_ONLY);

                *from = ++runs;
                copy(list, to, from);
                cr_assert_eq(*to, runs);
                REQUIRE_ZE(zeCommandListDestroy(list));
            }
        }
    }
    cr_assert_geq(runs, 12);
}

/* While both workers are kept busy, work of all priorities waits; none is forgotten. */
Test(immediate, no_priority_starves)
{
    enum { LISTS = 30 };
    ze_command_list_handle_t lists[LISTS];
    ze_event_pool_handle_t many = soft_pool(LISTS, 0);
    ze_event_handle_t events[LISTS];

    for (uint32_t i = 0; i < LISTS; i++) {
        events[i] = soft_event(many, i);
        lists[i] = soft_immediate_on(soft.device, 0, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                                     (ze_command_queue_priority_t)(i % 3), 0);
        REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[i], 1, &gate));
        for (uint32_t j = 0; j < 4; j++)
            REQUIRE_ZE(zeCommandListAppendMemoryFill(lists[i], (char *)to + i * 32768, &i, 4, 32768,
                                                     NULL, 0, NULL));
        REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[i], events[i]));
    }
    REQUIRE_ZE(zeEventHostSignal(gate));
    for (uint32_t i = 0; i < LISTS; i++) {
        REQUIRE_ZE(zeEventHostSynchronize(events[i], FOREVER));
        cr_assert_eq(to[i * 8192], i);
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
        REQUIRE_ZE(zeEventDestroy(events[i]));
    }
    REQUIRE_ZE(zeEventPoolDestroy(many));
}

Test(immediate, barriers_wait_and_signal)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_event_handle_t ranges = soft_event(pool, 2);
    const void *range[] = { from, to };
    const size_t sizes[] = { LONG_BYTES, LONG_BYTES };

    *from = 15;
    copy(list, to, from);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, NULL, 0, NULL));
    copy(list, to + 1, to);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, done, 1, &gate));
    REQUIRE_ZE(zeCommandListAppendMemoryRangesBarrier(list, 2, sizes, range, ranges, 1, &done));
    cr_assert_eq(zeEventQueryStatus(done), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeEventQueryStatus(ranges), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(ranges, FOREVER));
    REQUIRE_ZE(zeEventQueryStatus(done));
    cr_assert_eq(to[1], 15);
    REQUIRE_ZE(zeEventDestroy(ranges));
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(immediate, global_time_stamps_are_written_in_order)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    uint64_t *stamps = soft_alloc(ZE_MEMORY_TYPE_SHARED, 64 * sizeof(uint64_t));
    uint64_t host, before, after;

    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &before));
    for (uint32_t i = 0; i < 64; i++)
        REQUIRE_ZE(zeCommandListAppendWriteGlobalTimestamp(list, &stamps[i], NULL, i == 32, &gate));
    cr_assert_eq(stamps[32], 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    soft_finish(list);
    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &after));
    for (uint32_t i = 0; i < 64; i++) {
        cr_assert(stamps[i] >= before && stamps[i] <= after);
        before = stamps[i];
    }
    soft_free(stamps);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

/* ---- fences ---------------------------------------------------------------------------------- */

Test(fence, follows_its_execution)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_fence_handle_t first = soft_fence(queue, 0), second = soft_fence(queue, 0);
    ze_command_list_handle_t list = soft_list(0), blocked = soft_list(0);

    copy(list, to, from);
    REQUIRE_ZE(zeCommandListClose(list));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(blocked, 1, &gate));
    REQUIRE_ZE(zeCommandListClose(blocked));
    cr_assert_eq(zeFenceQueryStatus(first), ZE_RESULT_NOT_READY);
    execute(queue, list, first);
    execute(queue, blocked, second);
    REQUIRE_ZE(zeFenceHostSynchronize(first, UINT64_MAX));
    cr_assert_eq(zeFenceQueryStatus(second), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeFenceHostSynchronize(second, 0), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeFenceHostSynchronize(second, SECOND / 100), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeFenceHostSynchronize(second, FOREVER));
    REQUIRE_ZE(zeFenceQueryStatus(first));
    REQUIRE_ZE(zeFenceReset(first));
    cr_assert_eq(zeFenceQueryStatus(first), ZE_RESULT_NOT_READY);
    execute(queue, list, first);
    REQUIRE_ZE(zeFenceHostSynchronize(first, FOREVER));
    REQUIRE_ZE(zeFenceDestroy(first));
    REQUIRE_ZE(zeFenceDestroy(second));
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandListDestroy(blocked));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(fence, can_be_born_signalled)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_fence_handle_t fence = soft_fence(queue, ZE_FENCE_FLAG_SIGNALED);

    REQUIRE_ZE(zeFenceQueryStatus(fence));
    REQUIRE_ZE(zeFenceHostSynchronize(fence, 0));
    REQUIRE_ZE(zeFenceReset(fence));
    cr_assert_eq(zeFenceQueryStatus(fence), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeFenceDestroy(fence));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

/* ---- newer than 1.4 -------------------------------------------------------------------------- */

Test(newer, host_synchronize_of_an_immediate_list)
{
    ze_command_list_handle_t list;
    ze_result_t (*synchronize)(ze_command_list_handle_t, uint64_t);

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    synchronize = soft_entry("zeCommandListHostSynchronize");
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    REQUIRE_ZE(synchronize(list, 0));
    *from = 1;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to, from, 4, NULL, 1, &gate));
    cr_assert_eq(synchronize(list, 0), ZE_RESULT_NOT_READY);
    cr_assert_eq(synchronize(list, SECOND / 100), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(synchronize(list, UINT64_MAX));
    cr_assert_eq(*to, 1);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(newer, a_list_tells_what_it_was_made_for)
{
    ze_result_t (*get_device)(ze_command_list_handle_t, ze_device_handle_t *);
    ze_result_t (*get_context)(ze_command_list_handle_t, ze_context_handle_t *);
    ze_result_t (*get_ordinal)(ze_command_list_handle_t, uint32_t *);
    ze_result_t (*get_index)(ze_command_list_handle_t, uint32_t *);
    ze_result_t (*is_immediate)(ze_command_list_handle_t, ze_bool_t *);
    ze_command_list_handle_t immediate, regular;
    ze_device_handle_t device = NULL;
    ze_context_handle_t context = NULL;
    uint32_t ordinal = 9, index = 9;
    ze_bool_t yes = false, no = true;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    get_device = soft_entry("zeCommandListGetDeviceHandle");
    get_context = soft_entry("zeCommandListGetContextHandle");
    get_ordinal = soft_entry("zeCommandListGetOrdinal");
    get_index = soft_entry("zeCommandListImmediateGetIndex");
    is_immediate = soft_entry("zeCommandListIsImmediate");
    immediate = soft_immediate_on(soft.devices[1], 1, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                                  ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
    regular = soft_list(0);
    REQUIRE_ZE(get_device(immediate, &device));
    REQUIRE_ZE(get_context(immediate, &context));
    REQUIRE_ZE(get_ordinal(immediate, &ordinal));
    REQUIRE_ZE(get_index(immediate, &index));
    REQUIRE_ZE(is_immediate(immediate, &yes));
    REQUIRE_ZE(is_immediate(regular, &no));
    cr_assert_eq(device, soft.devices[1]);
    cr_assert_eq(context, soft.context);
    cr_assert_eq(ordinal, 1);
    cr_assert_eq(index, 0);
    cr_assert(yes && !no);
    cr_assert_neq(get_index(regular, &index), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zeCommandListDestroy(immediate));
    REQUIRE_ZE(zeCommandListDestroy(regular));
}

typedef ze_result_t append_lists_function(ze_command_list_handle_t, uint32_t,
                                          ze_command_list_handle_t *, ze_event_handle_t, uint32_t,
                                          ze_event_handle_t *);

Test(newer, regular_lists_are_appended_to_an_immediate_one)
{
    append_lists_function *append;
    ze_command_list_handle_t immediate, lists[2];

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    append = soft_entry("zeCommandListImmediateAppendCommandListsExp");
    immediate = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    for (uint32_t i = 0; i < 2; i++) {
        lists[i] = soft_list(0);
        copy(lists[i], &to[i + 1], &to[i]);
        REQUIRE_ZE(zeCommandListClose(lists[i]));
    }
    REQUIRE_ZE(append(immediate, 2, lists, done, 1, &gate));
    to[0] = 21;
    cr_assert_eq(zeEventQueryStatus(done), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(to[2], 21);
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
    REQUIRE_ZE(zeCommandListDestroy(immediate));
}

Test(newer, a_clone_outlives_its_original)
{
    const uint32_t cloneable = 0x10;
    ze_result_t (*clone)(ze_command_list_handle_t, ze_command_list_handle_t *);
    ze_command_queue_handle_t queue;
    ze_command_list_handle_t list, copied;

    if (soft_intercepted() || soft_validated())
        cr_skip_test("a newer flag, wrapped handles");
    clone = soft_entry("zeCommandListCreateCloneExp");
    queue = soft_queue(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    list = soft_list(cloneable);
    copy(list, to, from);
    REQUIRE_ZE(zeCommandListClose(list));
    REQUIRE_ZE(clone(list, &copied));
    REQUIRE_ZE(zeCommandListDestroy(list));
    *from = 30;
    execute(queue, copied, NULL);
    cr_assert_eq(*to, 30);
    REQUIRE_ZE(zeCommandListDestroy(copied));
    list = soft_list(0);
    REQUIRE_ZE(zeCommandListClose(list));
    cr_assert_neq(clone(list, &copied), ZE_RESULT_SUCCESS, "made without the flag");
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(newer, in_order_immediate_list)
{
    const uint32_t in_order = 0x2;
    ze_command_list_handle_t list;

    if (soft_validated())
        cr_skip_test("a newer flag");
    list = soft_immediate_on(soft.device, 0, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                             ZE_COMMAND_QUEUE_PRIORITY_NORMAL, in_order);
    to[0] = 40;
    for (uint32_t i = 0; i < 100; i++)
        copy(list, &to[i + 1], &to[i]);
    soft_finish(list);
    cr_assert_eq(to[100], 40);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(newer, a_queue_tells_what_it_was_made_for)
{
    ze_result_t (*get_ordinal)(ze_command_queue_handle_t, uint32_t *);
    ze_result_t (*get_index)(ze_command_queue_handle_t, uint32_t *);
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .ordinal = 1,
                                     .flags = ZE_COMMAND_QUEUE_FLAG_EXPLICIT_ONLY,
                                     .index = 2 };
    ze_command_queue_handle_t queue;
    uint32_t ordinal = 0, index = 0;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    get_ordinal = soft_entry("zeCommandQueueGetOrdinal");
    get_index = soft_entry("zeCommandQueueGetIndex");
    REQUIRE_ZE(zeCommandQueueCreate(soft.context, soft.device, &desc, &queue));
    REQUIRE_ZE(get_ordinal(queue, &ordinal));
    REQUIRE_ZE(get_index(queue, &index));
    cr_assert_eq(ordinal, 1);
    cr_assert_eq(index, 2);
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}
