/* SPDX-License-Identifier: MIT */
/* Counter-based events: the entry points of Level Zero 1.15 and those of Intel's driver. */
#include "scene.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

TestSuite(counter, .timeout = 60);

typedef ze_result_t (*create_t)(ze_context_handle_t, ze_device_handle_t,
                                const newer_event_counter_based_desc_t *, ze_event_handle_t *);
typedef ze_result_t (*get_t)(ze_event_handle_t, newer_ipc_event_counter_based_handle_t *);
typedef ze_result_t (*open_t)(ze_context_handle_t, newer_ipc_event_counter_based_handle_t,
                              ze_event_handle_t *);
typedef ze_result_t (*close_t)(ze_event_handle_t);
typedef ze_result_t (*address_t)(ze_event_handle_t, uint64_t *, uint64_t *);

static bool cannot(void)
{
    return soft_handles_are_wrapped() || soft_validates();
}

static ze_event_handle_t create(uint32_t flags)
{
    create_t create_event = (create_t)soft_extension("zeEventCounterBasedCreate");
    newer_event_counter_based_desc_t desc = {
        .stype = (ze_structure_type_t)NEWER_STRUCTURE_TYPE_EVENT_COUNTER_BASED_DESC, .flags = flags
    };
    ze_event_handle_t event;

    OK(create_event(soft.context, soft.devices[0], &desc, &event));
    return event;
}

Test(counter, born_complete_and_never_signalled_by_the_host, .init = soft_open, .fini = soft_close)
{
    ze_event_handle_t event;

    if (cannot())
        cr_skip_test("needs what the old loader has not");
    event = create(NEWER_EVENT_COUNTER_BASED_FLAG_HOST_VISIBLE);
    OK(zeEventQueryStatus(event));
    OK(zeEventHostSynchronize(event, 0));
    ERROR(INVALID_ARGUMENT, zeEventHostSignal(event));
    ERROR(INVALID_ARGUMENT, zeEventHostReset(event));
    OK(zeEventDestroy(event));
}

Test(counter, waits_keep_the_value_they_were_appended_with, .init = soft_open, .fini = soft_close)
{
    ze_command_list_handle_t first, second, waiter, unordered;
    ze_event_pool_handle_t pool = soft_pool(0, 3);
    ze_event_handle_t one = soft_event(pool, 0), two = soft_event(pool, 1),
                      done = soft_event(pool, 2), event;

    if (cannot())
        cr_skip_test("needs what the old loader has not");
    event = create(NEWER_EVENT_COUNTER_BASED_FLAG_HOST_VISIBLE);
    first = soft_immediate(0, IN_ORDER);
    second = soft_immediate(1, IN_ORDER);
    waiter = soft_immediate(0, IN_ORDER);
    unordered = soft_immediate(0, 0);
    ERROR(INVALID_ARGUMENT, zeCommandListAppendSignalEvent(unordered, event));
    OK(zeCommandListAppendBarrier(first, event, 1, &one));
    OK(zeCommandListAppendBarrier(waiter, done, 1, &event));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    OK(zeCommandListAppendBarrier(second, event, 1, &two)); /* stands for that from now on */
    OK(zeEventHostSignal(two));
    OK(zeEventHostSynchronize(event, FOREVER));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(done)); /* waits for the first still */
    OK(zeEventHostSignal(one));
    OK(zeEventHostSynchronize(done, FOREVER));
    OK(zeEventDestroy(event));
    OK(zeEventDestroy(one));
    OK(zeEventDestroy(two));
    OK(zeEventDestroy(done));
    OK(zeCommandListDestroy(first));
    OK(zeCommandListDestroy(second));
    OK(zeCommandListDestroy(waiter));
    OK(zeCommandListDestroy(unordered));
    OK(zeEventPoolDestroy(pool));
}

Test(counter, regular_lists_count_on, .init = soft_open, .fini = soft_close)
{
    address_t address;
    ze_command_list_handle_t list;
    ze_command_queue_handle_t queue = soft_queue(0);
    ze_event_handle_t event;
    uint64_t value[2], where;

    if (cannot())
        cr_skip_test("needs what the old loader has not");
    address = (address_t)soft_extension("zeEventCounterBasedGetDeviceAddress");
    event = create(NEWER_EVENT_COUNTER_BASED_FLAG_NON_IMMEDIATE |
                   NEWER_EVENT_COUNTER_BASED_FLAG_HOST_TIMESTAMP);
    list = soft_regular(0, NEWER_COMMAND_LIST_FLAG_IN_ORDER);
    OK(zeCommandListAppendSignalEvent(list, event));
    OK(zeCommandListClose(list));
    for (int i = 0; i < 2; i++) {
        ze_kernel_timestamp_result_t stamps;

        OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL));
        OK(zeEventHostSynchronize(event, FOREVER));
        OK(zeEventQueryKernelTimestamp(event, &stamps));
        CHECK(stamps.global.kernelEnd >= stamps.global.kernelStart && stamps.global.kernelEnd > 0);
        OK(address(event, &value[i], &where));
        CHECK(*(uint64_t *)(uintptr_t)where >= value[i]);
    }
    CHECK(value[1] > value[0]);
    OK(zeEventDestroy(event));
    OK(zeCommandListDestroy(list));
    OK(zeCommandQueueDestroy(queue));
}

Test(counter, pools_can_be_counter_based, .init = soft_open, .fini = soft_close)
{
    newer_event_pool_counter_based_exp_desc_t counter = {
        .stype = (ze_structure_type_t)NEWER_STRUCTURE_TYPE_COUNTER_BASED_EVENT_POOL_EXP_DESC
    };
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                  .pNext = &counter,
                                  .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
                                  .count = 1 };
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;

    if (cannot())
        cr_skip_test("needs what the old loader has not");
    OK(zeEventPoolCreate(soft.context, &desc, 0, NULL, &pool));
    event = soft_event(pool, 0);
    OK(zeEventQueryStatus(event));
    list = soft_immediate(0, IN_ORDER);
    OK(zeCommandListAppendSignalEvent(list, event));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(zeEventDestroy(event));
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolDestroy(pool));
}

static void open_counter(int socket)
{
    newer_ipc_event_counter_based_handle_t handle;
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event, done;
    int original, fd;
    open_t open_event;
    close_t close_event;

    soft_open();
    open_event = (open_t)soft_extension("zexCounterBasedEventOpenIpcHandle");
    close_event = (close_t)soft_extension("zeEventCounterBasedCloseIpcHandle");
    fd = soft_receive(socket, &handle, sizeof(handle));
    memcpy(&original, &handle, sizeof(original));
    fd = fcntl(fd, F_DUPFD_CLOEXEC, original + 1);
    memcpy(&handle, &fd, sizeof(fd));
    OK(open_event(soft.context, handle, &event));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    pool = soft_pool(0, 1);
    done = soft_event(pool, 0);
    list = soft_immediate(0, 0);
    OK(zeCommandListAppendBarrier(list, done, 1, &event));
    soft_send(socket, "", 1, -1);
    OK(zeEventHostSynchronize(done, FOREVER));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(close_event(event));
    OK(zeEventDestroy(done));
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

Test(counter, a_shared_event_is_a_snapshot)
{
    newer_ipc_event_counter_based_handle_t handle;
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event, gate, never;
    struct soft_child child;
    get_t get;
    int fd;

    if (cannot())
        cr_skip_test("needs what the old loader has not");
    child = soft_fork(open_counter);
    soft_open();
    get = (get_t)soft_extension("zexCounterBasedEventGetIpcHandle");
    event =
        create(NEWER_EVENT_COUNTER_BASED_FLAG_IPC | NEWER_EVENT_COUNTER_BASED_FLAG_HOST_VISIBLE);
    OK(get(event, &handle));            /* may be shared before its first signal */
    pool = soft_pool(0, 2);
    gate = soft_event(pool, 0);
    never = soft_event(pool, 1);
    list = soft_immediate(0, IN_ORDER);
    OK(zeCommandListAppendBarrier(list, event, 1, &gate));
    OK(get(event, &handle));
    OK(zeCommandListAppendBarrier(list, event, 1, &never)); /* not in the snapshot */
    memcpy(&fd, &handle, sizeof(fd));
    soft_send(child.socket, &handle, sizeof(handle), fd);
    soft_receive(child.socket, &(char){ 0 }, 1);
    OK(zeEventHostSignal(gate));
    soft_join(&child);
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    OK(zeEventHostSignal(never));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(zeEventDestroy(event));
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(never));
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}
