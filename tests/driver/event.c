/* SPDX-License-Identifier: MIT */
/* Events and pools within one process. */
#include "scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

TestSuite(event, .init = soft_open, .fini = soft_close, .timeout = 60);

Test(event, host_signal_query_reset)
{
    ze_event_pool_handle_t pool = soft_pool(0, 4);
    ze_event_handle_t event = soft_event(pool, 3);

    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    RESULT(ZE_RESULT_NOT_READY, zeEventHostSynchronize(event, 0));
    RESULT(ZE_RESULT_NOT_READY, zeEventHostSynchronize(event, MILLISECOND));
    OK(zeEventHostSignal(event));
    OK(zeEventQueryStatus(event));
    OK(zeEventHostSynchronize(event, 0));
    OK(zeEventHostSynchronize(event, FOREVER));
    OK(zeEventHostReset(event));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    OK(zeEventHostSignal(event));
    OK(zeEventDestroy(event));
    event = soft_event(pool, 3);        /* a slot that is used again starts anew */
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(event));
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
}

static void *signal_later(void *event)
{
    nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    OK(zeEventHostSignal(event));
    return NULL;
}

Test(event, synchronize_sleeps_until_signalled)
{
    ze_event_pool_handle_t pool = soft_pool(0, 1);
    ze_event_handle_t event = soft_event(pool, 0);
    pthread_t thread;

    pthread_create(&thread, NULL, signal_later, event);
    OK(zeEventHostSynchronize(event, FOREVER));
    pthread_join(thread, NULL);
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
}

Test(event, wait_appended_before_the_signal_exists)
{
    ze_event_pool_handle_t pool = soft_pool(0, 2);
    ze_event_handle_t first = soft_event(pool, 0), second = soft_event(pool, 1);
    ze_command_list_handle_t waiter = soft_immediate(0, 0), signaller = soft_immediate(1, 0);
    char *from = soft_host_memory(64), *to = soft_device_memory(64);

    memset(to, 0, 64);
    memset(from, 7, 64);
    OK(zeCommandListAppendMemoryCopy(waiter, to, from, 64, second, 1, &first));
    RESULT(ZE_RESULT_NOT_READY, zeEventHostSynchronize(second, MILLISECOND));
    CHECK(to[0] == 0);
    OK(zeCommandListAppendSignalEvent(signaller, first));
    OK(zeEventHostSynchronize(second, FOREVER));
    CHECK(memcmp(from, to, 64) == 0);
    OK(zeCommandListAppendEventReset(signaller, first));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(first));
    OK(zeCommandListDestroy(waiter));
    OK(zeCommandListDestroy(signaller));
    OK(zeEventDestroy(first));
    OK(zeEventDestroy(second));
    OK(zeEventPoolDestroy(pool));
    soft_free(from);
    soft_free(to);
}

Test(event, a_pulse_releases_who_waits)
{
    ze_event_pool_handle_t pool = soft_pool(0, 2);
    ze_event_handle_t pulse = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_command_list_handle_t list = soft_immediate(0, 0);

    for (int i = 0; i < 1000; i++) {
        OK(zeEventHostReset(done));
        OK(zeCommandListAppendBarrier(list, done, 1, &pulse));
        OK(zeEventHostSignal(pulse));
        OK(zeEventHostReset(pulse));
        OK(zeEventHostSynchronize(done, FOREVER));
    }
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(pulse));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
}

/* A thousand queues, each waiting for the one before: one signal runs through all of them. */
Test(event, a_long_chain_of_queues)
{
    enum { LINKS = 1000 };
    ze_event_pool_handle_t pool = soft_pool(0, LINKS + 1);
    ze_command_list_handle_t lists[LINKS];
    ze_event_handle_t events[LINKS + 1];

    for (int i = 0; i <= LINKS; i++)
        events[i] = soft_event(pool, (uint32_t)i);
    for (int i = LINKS - 1; i >= 0; i--) {
        lists[i] = soft_immediate((uint32_t)i % soft.device_count, 0);
        OK(zeCommandListAppendBarrier(lists[i], events[i + 1], 1, &events[i]));
    }
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryStatus(events[LINKS]));
    OK(zeEventHostSignal(events[0]));
    OK(zeEventHostSynchronize(events[LINKS], FOREVER));
    for (int i = 0; i <= LINKS; i++)
        OK(zeEventDestroy(events[i]));
    for (int i = 0; i < LINKS; i++)
        OK(zeCommandListDestroy(lists[i]));
    OK(zeEventPoolDestroy(pool));
}

Test(event, timestamps_enclose_the_command)
{
    ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP, 3);
    ze_event_handle_t first = soft_event(pool, 0), second = soft_event(pool, 1), both[2];
    ze_event_handle_t done = soft_event(pool, 2);
    ze_command_list_handle_t list = soft_immediate(0, 0);
    size_t size = 1 << 20, offsets[2] = { sizeof(ze_kernel_timestamp_result_t), 0 };
    void *from = soft_device_memory(size), *to = soft_device_memory(size);
    ze_kernel_timestamp_result_t a, b, *queried = soft_host_memory(2 * sizeof(*queried));
    uint64_t *global = soft_host_memory(sizeof(*global)), host, before, after;

    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host, &before));
    RESULT(ZE_RESULT_NOT_READY, zeEventQueryKernelTimestamp(first, &a));
    OK(zeCommandListAppendMemoryCopy(list, to, from, size, first, 0, NULL));
    OK(zeCommandListAppendMemoryCopy(list, to, from, size, second, 1, &first));
    OK(zeEventHostSynchronize(second, FOREVER));
    OK(zeEventQueryKernelTimestamp(first, &a));
    OK(zeEventQueryKernelTimestamp(second, &b));
    OK(zeDeviceGetGlobalTimestamps(soft.devices[0], &host, &after));
    CHECK(before <= a.global.kernelStart && a.global.kernelStart < a.global.kernelEnd);
    CHECK(a.global.kernelEnd <= b.global.kernelStart && b.global.kernelStart < b.global.kernelEnd);
    CHECK(b.global.kernelEnd <= after);

    both[0] = first;
    both[1] = second;
    OK(zeEventHostReset(first));
    OK(zeEventHostSignal(first));
    OK(zeEventQueryKernelTimestamp(first, &a));
    OK(zeCommandListAppendQueryKernelTimestamps(list, 2, both, queried, offsets, NULL, 0, NULL));
    OK(zeCommandListAppendWriteGlobalTimestamp(list, global, done, 0, NULL));
    OK(zeEventHostSynchronize(done, FOREVER));
    CHECK(queried[1].global.kernelEnd == a.global.kernelEnd);
    CHECK(queried[0].context.kernelEnd == b.context.kernelEnd);
    CHECK(*global >= a.global.kernelEnd);

    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(first));
    OK(zeEventDestroy(second));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(from);
    soft_free(to);
    soft_free(queried);
    soft_free(global);
}

Test(event, timestamps_need_a_pool_that_has_them)
{
    ze_event_pool_handle_t pool = soft_pool(0, 1);
    ze_event_handle_t event = soft_event(pool, 0);
    ze_kernel_timestamp_result_t result;

    OK(zeEventHostSignal(event));
    ERROR(INVALID_ARGUMENT, zeEventQueryKernelTimestamp(event, &result));
    OK(zeEventDestroy(event));
    OK(zeEventPoolDestroy(pool));
}

Test(event, destroying_with_work_pending_is_safe)
{
    ze_event_pool_handle_t pool = soft_pool(0, 3);
    ze_event_handle_t gate = soft_event(pool, 0), lost = soft_event(pool, 1),
                      done = soft_event(pool, 2);
    ze_command_list_handle_t list = soft_immediate(0, 0);

    OK(zeCommandListAppendBarrier(list, lost, 1, &gate));
    OK(zeCommandListAppendBarrier(list, done, 1, &lost));
    OK(zeEventDestroy(lost));
    OK(zeCommandListDestroy(list));
    OK(zeEventHostSignal(gate));
    OK(zeEventHostSynchronize(done, FOREVER));
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
}

Test(event, errors)
{
    ze_event_pool_desc_t pool_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC };
    ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .index = 4 };
    ze_event_pool_handle_t pool, good = soft_pool(0, 4);
    ze_ipc_event_pool_handle_t ipc;
    ze_event_handle_t event;

    ERROR(INVALID_SIZE, zeEventPoolCreate(soft.context, &pool_desc, 0, NULL, &pool));
    pool_desc.count = 1;
    pool_desc.flags = 0x100;
    ERROR(INVALID_ENUMERATION, zeEventPoolCreate(soft.context, &pool_desc, 0, NULL, &pool));
    pool_desc.flags = 0;
    if (!soft_handles_are_wrapped())    /* the wrapping loader reads the array */
        ERROR(INVALID_SIZE, zeEventPoolCreate(soft.context, &pool_desc, 2, NULL, &pool));
    ERROR(INVALID_ARGUMENT, zeEventCreate(good, &desc, &event));
    desc.index = 0;
    desc.signal = 0x80;
    ERROR(INVALID_ENUMERATION, zeEventCreate(good, &desc, &event));
    ERROR(INVALID_ARGUMENT, zeEventPoolGetIpcHandle(good, &ipc));
    memset(&ipc, 0, sizeof(ipc));
    ERROR(INVALID_ARGUMENT, zeEventPoolOpenIpcHandle(soft.context, ipc, &pool));
    OK(zeEventPoolDestroy(good));
}
