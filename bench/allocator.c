/* SPDX-License-Identifier: MIT */
/* bench/allocator.c: rows about device memory that is allocated and freed again and again, beside the
 * driver by itself.
 */
#include "bench/clock.h"
#include "bench/row.h"

#include <level_zero/ze_api.h>
#include <stdlib.h>

#define SIZE (64u << 10)
#define ALIGNMENT 512u                  /* what the daemon asks for */

static xpurt_stream *stream;
static ze_context_handle_t context;
static ze_device_handle_t device;

#define ZE(call) \
    do { \
        ze_result_t ze_result_ = (call); \
        if (ze_result_ != ZE_RESULT_SUCCESS) \
            return row_fail("%s gives 0x%x", #call, (unsigned)ze_result_); \
    } while (0)

static int open_driver(void)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_driver_handle_t driver;
    uint32_t one = 1;

    if (!environment.soft_driver[0])
        return row_skip("libze_soft.so does not lie beside this program");
    setenv("ZE_ENABLE_ALT_DRIVERS", environment.soft_driver, 1);
    ZE(zeInit(0));
    ZE(zeDriverGet(&one, &driver));
    ZE(zeDeviceGet(driver, &one, &device));
    ZE(zeContextCreate(driver, &desc, &context));
    return 0;
}

static int open_both(void)
{
    TRY(xpurt_stream_create(&stream));
    return open_driver();
}

static int in_stream_order(void)
{
    void *memory;

    TRY(xpurt_malloc_async(&memory, SIZE, stream));
    TRY(xpurt_free_async(memory, stream));
    return 0;
}

static int by_the_daemon(void)
{
    void *memory;

    TRY(xpurt_malloc(&memory, SIZE));
    TRY(xpurt_free(memory));
    return 0;
}

static int by_the_driver(void)
{
    const ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *memory;

    ZE(zeMemAllocDevice(context, &desc, SIZE, ALIGNMENT, device, &memory));
    ZE(zeMemFree(context, memory));
    return 0;
}

static int measure_stream_order(double seconds, double *ret_ns)
{
    return time_calls(in_stream_order, seconds, ret_ns);
}

static int measure_daemon(double seconds, double *ret_ns)
{
    return time_calls(by_the_daemon, seconds, ret_ns);
}

static int measure_driver(double seconds, double *ret_ns)
{
    return time_calls(by_the_driver, seconds, ret_ns);
}

const struct row allocator_rows[] = {
    {
        .name = "malloc-async",
        .what = "xpurt_malloc_async of 64 KiB and xpurt_free_async",
        .unit = "ns",
        .open = open_both,
        .sides = { { "xpurt", measure_stream_order },
                   { "zeMemAllocDevice, zeMemFree", measure_driver, GOAL(1.0 / 20) } },
    },
    {
        .name = "malloc-daemon",
        .what = "xpurt_malloc of 64 KiB and xpurt_free, by way of the daemon",
        .unit = "ns",
        .open = open_both,
        .sides = { { "xpurt", measure_daemon }, { "zeMemAllocDevice, zeMemFree", measure_driver } },
    },
    { 0 },
};
