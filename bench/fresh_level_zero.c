/* SPDX-License-Identifier: MIT */
/* bench/fresh_level_zero.c: a program that links the loader only and opens the device itself, as
 * everybody had to before: initialise, context, immediate list, first signal. */
#include "bench/fresh.h"

#include <level_zero/ze_api.h>

static ze_result_t first_signal(void)
{
    ze_command_queue_desc_t queue = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                      .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS };
    ze_event_pool_desc_t pool_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                       .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
                                       .count = 1 };
    ze_event_desc_t event_desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC };
    ze_context_desc_t context_desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_context_handle_t context;
    ze_driver_handle_t driver;
    ze_device_handle_t device;
    ze_event_handle_t event;
    uint32_t one = 1;
    ze_result_t r;

    r = zeInit(0);
    if (r == ZE_RESULT_SUCCESS)
        r = zeDriverGet(&one, &driver);
    if (r == ZE_RESULT_SUCCESS)
        r = zeDeviceGet(driver, &one, &device);
    if (r == ZE_RESULT_SUCCESS)
        r = zeContextCreate(driver, &context_desc, &context);
    if (r == ZE_RESULT_SUCCESS)
        r = zeCommandListCreateImmediate(context, device, &queue, &list);
    if (r == ZE_RESULT_SUCCESS)
        r = zeEventPoolCreate(context, &pool_desc, 1, &device, &pool);
    if (r == ZE_RESULT_SUCCESS)
        r = zeEventCreate(pool, &event_desc, &event);
    if (r == ZE_RESULT_SUCCESS)
        r = zeCommandListAppendSignalEvent(list, event);
    if (r == ZE_RESULT_SUCCESS)
        r = zeEventHostSynchronize(event, UINT64_MAX);
    return r;
}

int main(void)
{
    uint64_t begin = fresh_begin();
    ze_result_t r = first_signal();
    char code[16];

    snprintf(code, sizeof(code), "0x%x", (unsigned)r);
    return r ? fresh_fail("level-zero", code) : fresh_tell(begin);
}
