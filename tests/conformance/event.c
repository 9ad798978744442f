/* SPDX-License-Identifier: MIT */
/* Events: who signals, who waits, when it happened. Counter-based events: counter.c. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVENTS 16
#define STAMPS ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP

static ze_event_pool_handle_t pool;
static ze_event_handle_t events[EVENTS];
static ze_command_list_handle_t lists[4];
static uint64_t *memory;                /* a page of shared memory */

static void start_with(ze_event_pool_flags_t flags)
{
    soft_open();
    pool = soft_pool(EVENTS, flags);
    for (uint32_t i = 0; i < EVENTS; i++)
        events[i] = soft_event(pool, i);
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        lists[i] = soft_immediate_on(soft.devices[i % soft.device_count], 0,
                                     ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                                     ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
    memory = soft_alloc(ZE_MEMORY_TYPE_SHARED, 4096);
}

static void start(void)
{
    start_with(0);
}

static void start_shared(void)
{
    start_with(ZE_EVENT_POOL_FLAG_IPC);
}

static void start_timed(void)
{
    start_with(STAMPS);
}

static void stop(void)
{
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
    for (uint32_t i = 0; i < EVENTS; i++)
        REQUIRE_ZE(zeEventDestroy(events[i]));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_free(memory);
    soft_close();
}

TestSuite(event, .init = start, .fini = stop);
TestSuite(shared_event, .init = start_shared, .fini = stop);
TestSuite(timing, .init = start_timed, .fini = stop);

static void expect_open(ze_event_handle_t event)
{
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeEventHostSynchronize(event, 0), ZE_RESULT_NOT_READY);
}

static void expect_signalled(ze_event_handle_t event)
{
    REQUIRE_ZE(zeEventQueryStatus(event));
    REQUIRE_ZE(zeEventHostSynchronize(event, 0));
}

/* ---- the host -------------------------------------------------------------------------------- */

Test(event, signal_and_reset_from_the_host)
{
    expect_open(events[0]);
    for (int i = 0; i < 3; i++) {
        REQUIRE_ZE(zeEventHostSignal(events[0]));
        REQUIRE_ZE(zeEventHostSignal(events[0]));
        expect_signalled(events[0]);
        expect_open(events[1]);
        REQUIRE_ZE(zeEventHostReset(events[0]));
        REQUIRE_ZE(zeEventHostReset(events[0]));
        expect_open(events[0]);
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

Test(event, synchronize_gives_up_after_its_time_and_not_before)
{
    uint64_t before = now_ns();

    cr_assert_eq(zeEventHostSynchronize(events[0], SECOND / 20), ZE_RESULT_NOT_READY);
    cr_assert_geq(now_ns() - before, SECOND / 20);
}

static void *signal_later(void *event)
{
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    REQUIRE_ZE(zeEventHostSignal(event));
    return NULL;
}

static void *wait_forever(void *event)
{
    REQUIRE_ZE(zeEventHostSynchronize(event, UINT64_MAX));
    return NULL;
}

static void one_signal_wakes_all_threads(void)
{
    pthread_t threads[6];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, i ? wait_forever : signal_later, events[3]),
                     0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

Test(event, one_signal_wakes_all_threads)
{
    one_signal_wakes_all_threads();
}

Test(shared_event, one_signal_wakes_all_threads)
{
    one_signal_wakes_all_threads();
}

/* ---- the device ------------------------------------------------------------------------------ */

Test(event, signal_and_reset_from_the_device)
{
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(zeCommandListAppendEventReset(lists[0], events[0]));
    soft_finish(lists[0]);
    expect_open(events[0]);
    REQUIRE_ZE(zeCommandListAppendBarrier(lists[0], events[0], 0, NULL));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
}

static void a_wait_may_come_before_the_signal_exists(void)
{
    memory[0] = 5;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(lists[0], &memory[2], &memory[1], 8, events[2], 1,
                                             &events[1]));
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(lists[1], &memory[1], &memory[0], 8, events[1], 1,
                                             &events[0]));
    expect_open(events[2]);
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[2], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[2], FOREVER));
    cr_assert_eq(memory[2], 5);
}

Test(event, a_wait_may_come_before_the_signal_exists)
{
    cr_assert_geq(soft.device_count, 2, "the lists are on different devices");
    a_wait_may_come_before_the_signal_exists();
}

Test(shared_event, a_wait_may_come_before_the_signal_exists)
{
    a_wait_may_come_before_the_signal_exists();
}

Test(event, a_command_waits_for_all_its_events)
{
    const uint32_t order[] = { 3, 0, 2, 1 };

    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[0], 4, events));
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[8]));
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(zeEventHostSynchronize(events[8], SECOND / 500), ZE_RESULT_NOT_READY);
        REQUIRE_ZE(zeEventHostSignal(events[order[i]]));
    }
    REQUIRE_ZE(zeEventHostSynchronize(events[8], FOREVER));
}

Test(event, one_event_releases_many_queues)
{
    enum { QUEUES = 200 };
    ze_command_list_handle_t queues[QUEUES];
    uint8_t *bytes = (uint8_t *)memory, one = 1;

    for (uint32_t i = 0; i < QUEUES; i++) {
        queues[i] = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
        REQUIRE_ZE(
            zeCommandListAppendMemoryFill(queues[i], &bytes[i], &one, 1, 1, NULL, 1, events));
    }
    for (uint32_t i = 0; i < QUEUES; i++)
        cr_assert_eq(bytes[i], 0);
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[1], events[0]));
    for (uint32_t i = 0; i < QUEUES; i++) {
        soft_finish(queues[i]);
        cr_assert_eq(bytes[i], 1);
        REQUIRE_ZE(zeCommandListDestroy(queues[i]));
    }
}

/* Queue i waits for queue i - 1; they are appended to in a random order. */
static void chain(ze_event_pool_flags_t flags)
{
    enum { QUEUES = 1000 };
    static ze_command_list_handle_t queues[QUEUES];
    static ze_event_handle_t links[QUEUES + 1];
    static uint32_t order[QUEUES];
    ze_event_pool_handle_t many = soft_pool(QUEUES + 1, flags);
    uint32_t *values = soft_alloc(ZE_MEMORY_TYPE_SHARED, (QUEUES + 1) * 4);
    uint64_t random = soft_seed();

    for (uint32_t i = 0; i <= QUEUES; i++)
        links[i] = soft_event(many, i);
    for (uint32_t i = 0; i < QUEUES; i++) {
        uint32_t j = (uint32_t)(soft_random(&random) % (i + 1));

        order[i] = order[j];
        order[j] = i;
        queues[i] = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        uint32_t q = order[i];

        REQUIRE_ZE(zeCommandListAppendMemoryCopy(queues[q], &values[q + 1], &values[q], 4,
                                                 links[q + 1], 1, &links[q]));
    }
    values[0] = 12345;
    REQUIRE_ZE(zeEventHostSignal(links[0]));
    REQUIRE_ZE(zeEventHostSynchronize(links[QUEUES], FOREVER));
    cr_assert_eq(values[QUEUES], 12345);
    for (uint32_t i = 0; i < QUEUES; i++)
        REQUIRE_ZE(zeCommandListDestroy(queues[i]));
    for (uint32_t i = 0; i <= QUEUES; i++)
        REQUIRE_ZE(zeEventDestroy(links[i]));
    REQUIRE_ZE(zeEventPoolDestroy(many));
    soft_free(values);
}

Test(event, a_chain_of_1000_queues)
{
    chain(0);
}

Test(shared_event, a_chain_of_1000_queues)
{
    chain(ZE_EVENT_POOL_FLAG_IPC);
}

/* Two queues hand two events back and forth, each resetting what it received. */
Test(event, ping_pong_with_resets_on_the_device)
{
    enum { ROUNDS = 500 };

    for (uint32_t i = 0; i < ROUNDS; i++) {
        REQUIRE_ZE(
            zeCommandListAppendMemoryCopy(lists[0], &memory[1], &memory[0], 8, NULL, 0, NULL));
        REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
        REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[0], 1, &events[1]));
        REQUIRE_ZE(zeCommandListAppendEventReset(lists[0], events[1]));

        REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[1], 1, &events[0]));
        REQUIRE_ZE(zeCommandListAppendEventReset(lists[1], events[0]));
        REQUIRE_ZE(
            zeCommandListAppendMemoryCopy(lists[1], &memory[0], &memory[1], 8, NULL, 0, NULL));
        REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[1], events[1]));
    }
    soft_finish(lists[0]);
    soft_finish(lists[1]);
    expect_open(events[0]);
    expect_open(events[1]);
}

/* A queue that waits already when the signal comes is released, however soon it is taken back. */
Test(event, a_short_signal_is_enough_for_who_waits)
{
    for (uint32_t i = 0; i < 200; i++) {
        REQUIRE_ZE(zeCommandListAppendBarrier(lists[0], events[1], 1, &events[0]));
        expect_open(events[1]);
        REQUIRE_ZE(zeEventHostSignal(events[0]));
        REQUIRE_ZE(zeEventHostReset(events[0]));
        REQUIRE_ZE(zeEventHostSynchronize(events[1], FOREVER));
        REQUIRE_ZE(zeEventHostReset(events[1]));
    }
}

/* The specification leaves this to the application; here the command keeps what it needs. */
Test(event, destroyed_with_waiters)
{
    ze_event_pool_handle_t own = soft_pool(2, 0);
    ze_event_handle_t gate = soft_event(own, 0), late = soft_event(own, 1);

    REQUIRE_ZE(zeCommandListAppendBarrier(lists[1], gate, 1, &events[0]));
    REQUIRE_ZE(zeCommandListAppendBarrier(lists[0], late, 1, &gate));
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[1]));
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventDestroy(late));
    REQUIRE_ZE(zeEventPoolDestroy(own));
    REQUIRE_ZE(zeEventHostSignal(events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[1], FOREVER));
}

Test(event, all_scopes)
{
    for (uint32_t scope = 0; scope <= 7; scope++) {
        ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
                                 .signal = scope,
                                 .wait = 7 - scope };
        ze_event_pool_handle_t own = soft_pool(1, 0);
        ze_event_handle_t event;

        REQUIRE_ZE(zeEventCreate(own, &desc, &event));
        REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], event));
        REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
        REQUIRE_ZE(zeEventDestroy(event));
        REQUIRE_ZE(zeEventPoolDestroy(own));
    }
}

Test(event, a_new_event_starts_open)
{
    REQUIRE_ZE(zeEventHostSignal(events[0]));
    REQUIRE_ZE(zeEventDestroy(events[0]));
    events[0] = soft_event(pool, 0);
    expect_open(events[0]);
}

Test(event, of_a_pool_for_named_devices)
{
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .count = 100 };
    ze_event_pool_handle_t own;
    ze_event_handle_t event;

    REQUIRE_ZE(zeEventPoolCreate(soft.context, &desc, soft.device_count, soft.devices, &own));
    event = soft_event(own, 99);
    REQUIRE_ZE(zeEventHostSignal(event));
    expect_signalled(event);
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolDestroy(own));
}

/* ---- time stamps ----------------------------------------------------------------------------- */

Test(timing, stamps_are_ordered_as_the_commands)
{
    ze_kernel_timestamp_result_t result = { 0 };
    uint64_t host, before, after;

    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &before));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[0], 1, &events[EVENTS - 1]));
    for (uint32_t i = 0; i < 8; i++)
        REQUIRE_ZE(
            zeCommandListAppendMemoryCopy(lists[0], memory, memory + 64, 512, events[i], 0, NULL));
    cr_assert_eq(zeEventQueryKernelTimestamp(events[0], &result), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(events[EVENTS - 1]));
    REQUIRE_ZE(zeEventHostSynchronize(events[7], FOREVER));
    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &after));
    for (uint32_t i = 0; i < 8; i++) {
        REQUIRE_ZE(zeEventQueryKernelTimestamp(events[i], &result));
        cr_assert_geq(result.global.kernelStart, before);
        cr_assert_geq(result.global.kernelEnd, result.global.kernelStart);
        cr_assert_leq(result.global.kernelEnd, after);
        cr_assert_geq(result.context.kernelEnd, result.context.kernelStart);
        before = result.global.kernelEnd;
    }
}

Test(timing, waiting_is_not_part_of_the_command)
{
    ze_kernel_timestamp_result_t result = { 0 };
    uint64_t host, signalled;

    REQUIRE_ZE(
        zeCommandListAppendMemoryCopy(lists[0], memory, memory + 64, 8, events[1], 1, events));
    cr_assert_eq(zeEventHostSynchronize(events[1], SECOND / 50), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeDeviceGetGlobalTimestamps(soft.device, &host, &signalled));
    REQUIRE_ZE(zeEventHostSignal(events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[1], FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[1], &result));
    cr_assert_geq(result.global.kernelStart, signalled);
}

Test(timing, stamps_of_a_reset_event_are_not_ready)
{
    ze_kernel_timestamp_result_t first, second;

    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &first));
    REQUIRE_ZE(zeEventHostReset(events[0]));
    cr_assert_eq(zeEventQueryKernelTimestamp(events[0], &second), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &second));
    cr_assert_geq(second.global.kernelStart, first.global.kernelEnd);
}

Test(timing, appended_queries_read_what_is_there_when_they_run)
{
    ze_kernel_timestamp_result_t *results = (ze_kernel_timestamp_result_t *)memory, direct;
    const size_t offsets[] = { 2 * sizeof(*results), 0, sizeof(*results) };

    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(lists[0], 1, &events[EVENTS - 1]));
    for (uint32_t i = 0; i < 3; i++)
        REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[i]));
    REQUIRE_ZE(zeCommandListAppendQueryKernelTimestamps(lists[1], 3, events, results, offsets,
                                                        events[4], 3, events));
    REQUIRE_ZE(zeCommandListAppendQueryKernelTimestamps(lists[1], 3, events, results + 3, NULL,
                                                        events[5], 1, &events[4]));
    cr_assert_eq(results[0].global.kernelEnd, 0);
    REQUIRE_ZE(zeEventHostSignal(events[EVENTS - 1]));
    REQUIRE_ZE(zeEventHostSynchronize(events[5], FOREVER));
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE_ZE(zeEventQueryKernelTimestamp(events[i], &direct));
        cr_assert_eq(memcmp((char *)results + offsets[i], &direct, sizeof(direct)), 0);
        cr_assert_eq(memcmp(&results[3 + i], &direct, sizeof(direct)), 0);
    }
}

Test(timing, experimental_query)
{
    ze_kernel_timestamp_result_t direct, result[2];
    uint32_t count = 0;

    memset(result, 0, sizeof(result));
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &direct));
    REQUIRE_ZE(zeEventQueryTimestampsExp(events[0], soft.device, &count, NULL));
    cr_assert_eq(count, 1);
    count = 2;
    REQUIRE_ZE(zeEventQueryTimestampsExp(events[0], soft.device, &count, result));
    cr_assert_eq(count, 1);
    cr_assert_eq(memcmp(&result[0], &direct, sizeof(direct)), 0);
}

Test(timing, executed_lists_have_stamps_too)
{
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    ze_command_list_handle_t list = soft_list(0);
    ze_kernel_timestamp_result_t first, second;

    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, memory, memory + 64, 64, events[0], 0, NULL));
    REQUIRE_ZE(zeCommandListClose(list));
    REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &first));
    REQUIRE_ZE(zeEventHostReset(events[0]));
    REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &second));
    cr_assert_geq(second.global.kernelStart, first.global.kernelEnd);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
}

Test(event, without_time_stamps_there_is_nothing_to_query)
{
    ze_kernel_timestamp_result_t result;

    REQUIRE_ZE(zeEventHostSignal(events[0]));
    cr_assert_neq(zeEventQueryKernelTimestamp(events[0], &result), ZE_RESULT_SUCCESS);
    cr_assert_neq(
        zeCommandListAppendQueryKernelTimestamps(lists[0], 1, events, memory, NULL, NULL, 0, NULL),
        ZE_RESULT_SUCCESS);
}

/* ---- newer than 1.4 -------------------------------------------------------------------------- */

Test(event, tells_what_it_was_made_for)
{
    ze_result_t (*get_pool)(ze_event_handle_t, ze_event_pool_handle_t *);
    ze_result_t (*get_signal)(ze_event_handle_t, ze_event_scope_flags_t *);
    ze_result_t (*get_wait)(ze_event_handle_t, ze_event_scope_flags_t *);
    ze_result_t (*get_context)(ze_event_pool_handle_t, ze_context_handle_t *);
    ze_result_t (*get_flags)(ze_event_pool_handle_t, ze_event_pool_flags_t *);
    ze_event_pool_handle_t its_pool = NULL;
    ze_event_scope_flags_t signal = 0, wait = 0;
    ze_context_handle_t context = NULL;
    ze_event_pool_flags_t flags = 0;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    get_pool = soft_entry("zeEventGetEventPool");
    get_signal = soft_entry("zeEventGetSignalScope");
    get_wait = soft_entry("zeEventGetWaitScope");
    get_context = soft_entry("zeEventPoolGetContextHandle");
    get_flags = soft_entry("zeEventPoolGetFlags");
    REQUIRE_ZE(get_pool(events[0], &its_pool));
    REQUIRE_ZE(get_signal(events[0], &signal));
    REQUIRE_ZE(get_wait(events[0], &wait));
    REQUIRE_ZE(get_context(pool, &context));
    REQUIRE_ZE(get_flags(pool, &flags));
    cr_assert_eq(its_pool, pool);
    cr_assert_eq(signal, ZE_EVENT_SCOPE_FLAG_HOST);
    cr_assert_eq(wait, ZE_EVENT_SCOPE_FLAG_HOST);
    cr_assert_eq(context, soft.context);
    cr_assert_eq(flags, ZE_EVENT_POOL_FLAG_HOST_VISIBLE);
}

Test(timing, of_several_kinds_in_one_query)
{
    struct interval {
        uint64_t start, end;
    };
    struct synchronized {
        struct interval global, context;
    } host_clock = { { 0, 0 }, { 0, 0 } };
    ze_kernel_timestamp_result_t kernel = { { 0, 0 }, { 0, 0 } };
    struct {
        ze_structure_type_t stype;
        void *pNext;
        ze_kernel_timestamp_result_t *kernel;
        struct synchronized *synchronized;
    } results = { .kernel = &kernel, .synchronized = &host_clock };
    ze_result_t (*query)(ze_event_handle_t, ze_device_handle_t, uint32_t *, void *);
    uint64_t before = now_ns();
    uint32_t count = 0;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    query = soft_entry("zeEventQueryKernelTimestampsExt");
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(query(events[0], soft.device, &count, NULL));
    cr_assert_eq(count, 1);
    REQUIRE_ZE(query(events[0], soft.device, &count, &results));
    cr_assert(host_clock.global.start >= before && host_clock.global.end <= now_ns());
    cr_assert_geq(host_clock.global.end, host_clock.global.start);
    cr_assert_geq(kernel.global.kernelEnd, kernel.global.kernelStart);
}

static void start_mapped(void)
{
    const uint32_t mapped = 0x8;

    start_with(soft_validated() ? STAMPS : mapped);
}

TestSuite(mapped_timing, .init = start_mapped, .fini = stop);

Test(mapped_timing, stamps_can_be_queried)
{
    ze_kernel_timestamp_result_t result;

    if (soft_validated())
        cr_skip_test("a newer flag");
    REQUIRE_ZE(zeCommandListAppendSignalEvent(lists[0], events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[0], FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(events[0], &result));
    cr_assert_geq(result.global.kernelEnd, result.global.kernelStart);
    cr_assert_gt(result.global.kernelStart, 0);
}
