/* SPDX-License-Identifier: MIT */
/* bench/level_zero.c: what a fresh process does that opens the device itself, as everybody had to
 * before: initialise, context, immediate list, first signal. The loader is loaded before the clock
 * starts, as libxpurt is; and not linked, so that nobody else pays for it. */
#include "bench/child.h"
#include "bench/clock.h"

#include <dlfcn.h>
#include <level_zero/ze_api.h>
#include <stdio.h>
#include <unistd.h>

#define FUNCTIONS(X) \
    X(zeInit) \
    X(zeDriverGet) \
    X(zeDeviceGet) \
    X(zeContextCreate) \
    X(zeCommandListCreateImmediate) \
    X(zeEventPoolCreate) \
    X(zeEventCreate) \
    X(zeCommandListAppendSignalEvent) \
    X(zeEventHostSynchronize)

static struct {
#define X(name) __typeof__(name) *name;
    FUNCTIONS(X)
#undef X
} ze;

static int load(void)
{
    void *loader = dlopen("libze_loader.so.1", RTLD_NOW);

    if (!loader) {
        fprintf(stderr, "xpurt-bench level-zero: %s\n", dlerror());
        return -1;
    }
#define X(name) \
    ze.name = (__typeof__(ze.name))dlsym(loader, #name); \
    if (!ze.name) \
        return -1;
    FUNCTIONS(X)
#undef X
    return 0;
}

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

    r = ze.zeInit(0);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeDriverGet(&one, &driver);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeDeviceGet(driver, &one, &device);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeContextCreate(driver, &context_desc, &context);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeCommandListCreateImmediate(context, device, &queue, &list);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeEventPoolCreate(context, &pool_desc, 1, &device, &pool);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeEventCreate(pool, &event_desc, &event);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeCommandListAppendSignalEvent(list, event);
    if (r == ZE_RESULT_SUCCESS)
        r = ze.zeEventHostSynchronize(event, UINT64_MAX);
    return r;
}

int role_level_zero(void)
{
    uint64_t begin;
    ze_result_t r;
    double us;

    if (load() < 0)
        return -1;
    begin = now_ns();
    r = first_signal();
    if (r != ZE_RESULT_SUCCESS) {
        fprintf(stderr, "xpurt-bench level-zero: 0x%x\n", (unsigned)r);
        return -1;
    }
    us = (double)(now_ns() - begin) / 1e3;
    return write(STDIN_FILENO, &us, sizeof(us)) == sizeof(us) ? 0 : -1;
}
