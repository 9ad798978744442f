/* SPDX-License-Identifier: MIT */
/* tests/support/native.c: see native.h.
 *
 * Guarantees of this file: whatever fails ends the test process with a message. Lists keep their order
 * by barriers, because the loader's validation layer does not know the flag of newer versions.
 */
#include "tests/support/native.h"

#include "tests/support/peer.h"

#include <stdlib.h>
#include <string.h>

void test_native_open(struct test_native *native)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    uint32_t count = 1;

    memset(native, 0, sizeof(*native));
    setenv("ZE_ENABLE_ALT_DRIVERS", ZE_SOFT_PATH, 1);
    test_ze(zeInit(0));
    test_ze(zeDriverGet(&count, &native->context.driver));
    native->device_count = 16;
    test_ze(zeDeviceGet(native->context.driver, &native->device_count, native->devices));
    test_ze(zeContextCreate(native->context.driver, &desc, &native->context.context));
}

xpurt_ze_list test_native_list(const struct test_native *native, unsigned device)
{
    static const ze_command_queue_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
        .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
    };
    xpurt_ze_list list = {
        .context = native->context,
        .device = native->devices[device],
        .desc = &desc,
        .ordered = 1,
    };

    test_ze(zeCommandListCreateImmediate(native->context.context, list.device, &desc, &list.list));
    return list;
}

void test_native_copy(const xpurt_ze_list *list, void *to, const void *from, size_t size)
{
    test_ze(zeCommandListAppendMemoryCopy(list->list, to, from, size, NULL, 0, NULL));
    test_ze(zeCommandListAppendBarrier(list->list, NULL, 0, NULL));
}

static ze_event_handle_t event_make(const struct test_native *native)
{
    ze_event_pool_desc_t pool_desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
        .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
        .count = 1,
    };
    ze_event_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
        .signal = ZE_EVENT_SCOPE_FLAG_HOST,
        .wait = ZE_EVENT_SCOPE_FLAG_DEVICE,
    };
    static ze_event_handle_t made[16];  /* they stay for as long as the process lives */
    static unsigned n_made;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;

    test_ze(zeEventPoolCreate(native->context.context, &pool_desc, 0, NULL, &pool));
    test_ze(zeEventCreate(pool, &desc, &event));
    test_require(n_made < sizeof(made) / sizeof(made[0]), "too many gates");
    made[n_made++] = event;
    return event;
}

ze_event_handle_t test_native_hold(const struct test_native *native, const xpurt_ze_list *list)
{
    ze_event_handle_t gate = event_make(native);

    test_ze(zeCommandListAppendBarrier(list->list, NULL, 1, &gate));
    return gate;
}

void test_native_let_go(ze_event_handle_t gate)
{
    test_ze(zeEventHostSignal(gate));
}

bool test_native_synchronize(const struct test_native *native, const xpurt_ze_list *list,
                             uint64_t timeout_ns)
{
    ze_event_handle_t event = event_make(native);
    ze_result_t result;

    test_ze(zeCommandListAppendBarrier(list->list, event, 0, NULL));
    result = zeEventHostSynchronize(event, timeout_ns);
    test_require(result == ZE_RESULT_SUCCESS || result == ZE_RESULT_NOT_READY, "0x%x",
                 (unsigned)result);
    return result == ZE_RESULT_SUCCESS;
}
