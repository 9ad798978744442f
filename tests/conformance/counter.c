/* SPDX-License-Identifier: MIT */
/* Counter-based events. All of it is newer than 1.4: the entry points are the driver's own, and
 * neither a loader that wraps handles nor the validation layer of 1.4 has any use for them.
 */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <string.h>

enum { IMMEDIATE = 0x1, NON_IMMEDIATE = 0x2, HOST_VISIBLE = 0x4, IPC = 0x8, DEVICE_STAMPS = 0x10 };

struct counter_desc {
    ze_structure_type_t stype;
    const void *pNext;
    uint32_t flags;
    ze_event_scope_flags_t signal, wait;
};

struct counter_handle {
    char data[64];
};

static ze_result_t (*create)(ze_context_handle_t, ze_device_handle_t, const struct counter_desc *,
                             ze_event_handle_t *);
static ze_result_t (*get_handle)(ze_event_handle_t, struct counter_handle *);
static ze_result_t (*open_handle)(ze_context_handle_t, struct counter_handle, ze_event_handle_t *);
static ze_result_t (*close_handle)(ze_event_handle_t);
static ze_result_t (*get_address)(ze_event_handle_t, uint64_t *, uint64_t *);

static ze_command_list_handle_t list;   /* immediate, in order */
static ze_event_pool_handle_t pool;
static ze_event_handle_t gate;

static void start(void)
{
    const uint32_t in_order = 0x2;

    soft_open();
    create = soft_entry("zeEventCounterBasedCreate");
    get_handle = soft_entry("zeEventCounterBasedGetIpcHandle");
    open_handle = soft_entry("zeEventCounterBasedOpenIpcHandle");
    close_handle = soft_entry("zeEventCounterBasedCloseIpcHandle");
    get_address = soft_entry("zeEventCounterBasedGetDeviceAddress");
    list = soft_immediate_on(soft.device, 0, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                             ZE_COMMAND_QUEUE_PRIORITY_NORMAL, in_order);
    pool = soft_pool(1, 0);
    gate = soft_event(pool, 0);
}

static void stop(void)
{
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_close();
}

TestSuite(counter, .init = start, .fini = stop);

static ze_event_handle_t counter_new(uint32_t flags)
{
    struct counter_desc desc = { .stype = (ze_structure_type_t)0x2003a, .flags = flags };
    ze_event_handle_t event;

    REQUIRE_ZE(create(soft.context, soft.device, &desc, &event));
    return event;
}

Test(counter, is_born_complete)
{
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    REQUIRE_ZE(zeEventQueryStatus(event));
    REQUIRE_ZE(zeEventHostSynchronize(event, 0));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(list, 1, &event));
    soft_finish(list);
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, stands_for_the_last_command_it_was_appended_to)
{
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
    cr_assert_eq(zeEventHostSynchronize(event, SECOND / 100), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventHostReset(gate));
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY, "used again without a reset");
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventDestroy(event));
}

/* A wait means the point the event stood for when the wait was appended. */
Test(counter, waits_keep_their_point)
{
    ze_command_list_handle_t other;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    other = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 0, NULL));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(other, 1, &event));
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    soft_finish(other);
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeCommandListDestroy(other));
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, waits_keep_their_point_when_it_is_still_open)
{
    ze_command_list_handle_t other;
    ze_event_handle_t event, second_gate;
    ze_event_pool_handle_t own;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    own = soft_pool(1, 0);
    second_gate = soft_event(own, 0);
    other = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(other, 1, &event));
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &second_gate));
    REQUIRE_ZE(zeEventHostSignal(gate));
    soft_finish(other);
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(second_gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeCommandListDestroy(other));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventDestroy(second_gate));
    REQUIRE_ZE(zeEventPoolDestroy(own));
}

Test(counter, needs_an_in_order_list_and_no_host)
{
    ze_command_list_handle_t unordered;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    unordered = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    cr_assert_neq(zeCommandListAppendSignalEvent(unordered, event), ZE_RESULT_SUCCESS);
    cr_assert_neq(zeEventHostSignal(event), ZE_RESULT_SUCCESS);
    cr_assert_neq(zeEventHostReset(event), ZE_RESULT_SUCCESS);
    cr_assert_neq(zeCommandListAppendEventReset(list, event), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zeCommandListDestroy(unordered));
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, each_execution_of_a_regular_list_counts)
{
    const uint32_t in_order = 0x8;
    ze_command_queue_handle_t queue;
    ze_command_list_handle_t regular;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | NON_IMMEDIATE | HOST_VISIBLE);
    queue = soft_queue(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    regular = soft_list(in_order);
    REQUIRE_ZE(zeCommandListAppendWaitOnEvents(regular, 1, &gate));
    REQUIRE_ZE(zeCommandListAppendSignalEvent(regular, event));
    REQUIRE_ZE(zeCommandListClose(regular));
    for (int i = 0; i < 3; i++) {
        REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 1, &regular, NULL));
        cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
        REQUIRE_ZE(zeEventHostSignal(gate));
        REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
        REQUIRE_ZE(zeCommandQueueSynchronize(queue, FOREVER));
        REQUIRE_ZE(zeEventHostReset(gate));
    }
    REQUIRE_ZE(zeCommandListDestroy(regular));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, outlives_the_list_it_counts_on)
{
    const uint32_t in_order = 0x2;
    ze_command_list_handle_t own;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    own = soft_immediate_on(soft.device, 0, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                            ZE_COMMAND_QUEUE_PRIORITY_NORMAL, in_order);
    REQUIRE_ZE(zeCommandListAppendBarrier(own, event, 1, &gate));
    REQUIRE_ZE(zeCommandListDestroy(own));
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, time_stamps)
{
    ze_kernel_timestamp_result_t result;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE | DEVICE_STAMPS);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 0, NULL));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventQueryKernelTimestamp(event, &result));
    cr_assert_gt(result.global.kernelStart, 0);
    cr_assert_geq(result.global.kernelEnd, result.global.kernelStart);
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, device_address_reaches_the_value)
{
    uint64_t value = 0, address = 0;
    ze_event_handle_t event;

    event = counter_new(IMMEDIATE | HOST_VISIBLE);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    REQUIRE_ZE(get_address(event, &value, &address));
    cr_assert_neq(address, 0);
    cr_assert_lt(*(volatile uint64_t *)(uintptr_t)address, value);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    cr_assert_geq(*(volatile uint64_t *)(uintptr_t)address, value);
    REQUIRE_ZE(zeEventDestroy(event));
}

Test(counter, pools_make_them_too)
{
    struct {
        ze_structure_type_t stype;
        const void *pNext;
        uint32_t flags;
    } counting = { .stype = (ze_structure_type_t)0x20014, .flags = IMMEDIATE | NON_IMMEDIATE };
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                  .pNext = &counting,
                                  .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
                                  .count = 2 };
    ze_event_pool_handle_t own;
    ze_event_handle_t event;

    REQUIRE_ZE(zeEventPoolCreate(soft.context, &desc, 0, NULL, &own));
    event = soft_event(own, 1);
    REQUIRE_ZE(zeEventQueryStatus(event));
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    cr_assert_eq(zeEventQueryStatus(event), ZE_RESULT_NOT_READY);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolDestroy(own));
}

/* ---- shared ---------------------------------------------------------------------------------- */

static void body_importer(int channel, void *unused)
{
    struct counter_handle handle;
    ze_event_handle_t event;

    (void)unused;
    soft_open();
    open_handle = soft_entry("zeEventCounterBasedOpenIpcHandle");
    close_handle = soft_entry("zeEventCounterBasedCloseIpcHandle");
    soft_receive_handle(channel, &handle);
    REQUIRE_ZE(open_handle(soft.context, handle, &event));
    REQUIRE_CODE(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    test_pass(channel);
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(close_handle(event));
    soft_close();
}

TestSuite(counter_shared);

Test(counter_shared, another_process_sees_the_point_complete)
{
    struct counter_handle handle;
    struct test_peer peer;
    ze_event_handle_t event;

    test_peer_start(&peer, body_importer, NULL);
    start();
    event = counter_new(IMMEDIATE | HOST_VISIBLE | IPC);
    REQUIRE_ZE(zeCommandListAppendBarrier(list, event, 1, &gate));
    REQUIRE_ZE(get_handle(event, &handle));
    soft_send_handle(peer.channel, &handle);
    test_await(peer.channel);
    REQUIRE_ZE(zeEventHostSignal(gate));
    test_peer_join(&peer);
    REQUIRE_ZE(zeEventDestroy(event));
    stop();
}
