/* SPDX-License-Identifier: MIT */
/* bench/device.c: rows about the software device alone, through the Level Zero loader, without
 * xpurt: what a program gets that uses libze_soft.so by itself.
 */
#include "bench/clock.h"
#include "bench/peers.h"
#include "bench/row.h"
#include "bench/samples.h"
#include "bench/saxpy.h"

#include <level_zero/ze_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LARGE (16u << 20)
#define SHORT 64u
#define FLOATS (16u << 20)

static ze_context_handle_t context;
static ze_device_handle_t device;
static ze_command_list_handle_t list, waiting;
static ze_event_pool_handle_t pool;
static ze_event_handle_t done, gate;
static void *memory[2];

#define ZE(call) \
    do { \
        ze_result_t ze_result_ = (call); \
        if (ze_result_ != ZE_RESULT_SUCCESS) \
            return row_fail("%s gives 0x%x", #call, (unsigned)ze_result_); \
    } while (0)

static int make_list(ze_command_list_handle_t *ret_list)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS };

    ZE(zeCommandListCreateImmediate(context, device, &desc, ret_list));
    return 0;
}

static int make_event(uint32_t index, ze_event_handle_t *ret_event)
{
    ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .index = index };

    ZE(zeEventCreate(pool, &desc, ret_event));
    return 0;
}

static int make_memory(size_t size, void **ret_memory)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };

    ZE(zeMemAllocDevice(context, &desc, size, SHORT, device, ret_memory));
    return 0;
}

static int open_device(void)
{
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                  .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
                                  .count = 8 };
    ze_context_desc_t context_desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_driver_handle_t driver;
    uint32_t one = 1;

    if (!environment.soft_driver[0])
        return row_skip("libze_soft.so does not lie beside this program");
    setenv("ZE_ENABLE_ALT_DRIVERS", environment.soft_driver, 1);
    ZE(zeInit(0));
    ZE(zeDriverGet(&one, &driver));
    ZE(zeDeviceGet(driver, &one, &device));
    ZE(zeContextCreate(driver, &context_desc, &context));
    ZE(zeEventPoolCreate(context, &desc, 1, &device, &pool));
    if (make_list(&list) || make_list(&waiting) || make_event(0, &done) || make_event(1, &gate) ||
        make_memory(LARGE, &memory[0]) || make_memory(LARGE, &memory[1]))
        return -1;
    return 0;
}

/* ---- one command at a time ----------------------------------------------------------------------- */

static int append_and_complete(void)
{
    ZE(zeCommandListAppendMemoryCopy(list, memory[1], memory[0], SHORT, done, 0, NULL));
    ZE(zeEventHostSynchronize(done, UINT64_MAX));
    ZE(zeEventHostReset(done));
    return 0;
}

static int measure_append(double seconds, double *ret_ns)
{
    return time_calls(append_and_complete, seconds, ret_ns);
}

static int create_and_destroy(void)
{
    ze_event_handle_t event;

    if (make_event(2, &event))
        return -1;
    ZE(zeEventDestroy(event));
    return 0;
}

static int measure_event(double seconds, double *ret_ns)
{
    return time_calls(create_and_destroy, seconds, ret_ns);
}

/* A queue that waits for `gate`, and what it does then is seen. */
static int signal_and_see(void)
{
    ZE(zeCommandListAppendBarrier(waiting, done, 1, &gate));
    ZE(zeEventHostSignal(gate));
    ZE(zeEventHostSynchronize(done, UINT64_MAX));
    ZE(zeEventHostReset(gate));
    ZE(zeEventHostReset(done));
    return 0;
}

static int measure_signal(double seconds, double *ret_ns)
{
    return time_calls(signal_and_see, seconds, ret_ns);
}

static int open_signal(void)
{
    int r = open_device();

    return r ? r : peer_echo_open();
}

/* ---- copies ---------------------------------------------------------------------------------------- */

static int copy(size_t size)
{
    ZE(zeCommandListAppendMemoryCopy(list, memory[1], memory[0], size, done, 0, NULL));
    ZE(zeEventHostSynchronize(done, UINT64_MAX));
    ZE(zeEventHostReset(done));
    return 0;
}

static int measure_copy(size_t size, double seconds, double *ret_gb_per_second)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin;
    unsigned times = size < LARGE ? CALLS_PER_LOOK : 1;
    int r = 0;

    do {
        begin = now_ns();
        for (unsigned i = 0; i < times && r == 0; i++)
            r = copy(size);
        samples_add(&samples, (double)(now_ns() - begin) / times);
    } while (r == 0 && begin < end);
    *ret_gb_per_second = (double)size / samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_copy_large(double seconds, double *ret_gb_per_second)
{
    return measure_copy(LARGE, seconds, ret_gb_per_second);
}

static int measure_copy_small(double seconds, double *ret_gb_per_second)
{
    return measure_copy(1024, seconds, ret_gb_per_second);
}

/* ---- a kernel ---------------------------------------------------------------------------------------- */

static ze_kernel_handle_t kernel;
static float *x, *y, *y_in_c;
static const float a = 1.0f / 3;

static int read_file(const char *path, uint8_t **ret_bytes, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1u << 20);

    *ret_size = file && bytes ? fread(bytes, 1, 1u << 20, file) : 0;
    if (file)
        fclose(file);
    *ret_bytes = bytes;
    return *ret_size ? 0 : row_skip("no compiler for kernels when this was built: %s", path);
}

static int make_kernel(void)
{
    ze_kernel_desc_t kernel_desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC,
                                     .pKernelName = "saxpy" };
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                              .format = ZE_MODULE_FORMAT_IL_SPIRV };
    ze_module_handle_t module;
    uint8_t *bytes;
    ze_result_t result;
    int r;

    r = read_file(SAXPY_SPV, &bytes, &desc.inputSize);
    if (r) {
        free(bytes);
        return r;
    }
    desc.pInputModule = bytes;
    result = zeModuleCreate(context, device, &desc, &module, NULL);
    free(bytes);
    if (result == ZE_RESULT_ERROR_UNSUPPORTED_FEATURE)
        return row_skip("no OpenCL runtime for CPUs is installed");
    ZE(result);
    ZE(zeKernelCreate(module, &kernel_desc, &kernel));
    ZE(zeKernelSetGroupSize(kernel, 256, 1, 1));
    ZE(zeKernelSetArgumentValue(kernel, 0, sizeof(a), &a));
    ZE(zeKernelSetArgumentValue(kernel, 1, sizeof(x), &x));
    ZE(zeKernelSetArgumentValue(kernel, 2, sizeof(y), &y));
    return 0;
}

static int saxpy_by_kernel(void)
{
    ze_group_count_t groups = { FLOATS / 256, 1, 1 };

    ZE(zeCommandListAppendLaunchKernel(list, kernel, &groups, done, 0, NULL));
    ZE(zeEventHostSynchronize(done, UINT64_MAX));
    ZE(zeEventHostReset(done));
    return 0;
}

static int saxpy_by_loop(void)
{
    return saxpy_in_c(a, x, y_in_c, FLOATS) ? row_fail("no thread can be started") : 0;
}

/* Both once, compared: fast and wrong would be easy. */
static int open_saxpy(void)
{
    int r = open_device();

    if (r)
        return r;
    if (make_memory(FLOATS * sizeof(float), (void **)&x) ||
        make_memory(FLOATS * sizeof(float), (void **)&y))
        return -1;
    y_in_c = malloc(FLOATS * sizeof(float));
    if (!y_in_c)
        return row_fail("no memory");
    for (size_t i = 0; i < FLOATS; i++) {
        x[i] = (float)(i % 1000);
        y[i] = y_in_c[i] = (float)(i % 7);
    }
    r = make_kernel();
    if (r)
        return r;
    if (saxpy_by_kernel() || saxpy_by_loop())
        return -1;
    for (size_t i = 0; i < FLOATS; i++)
        if (fabsf(y[i] - y_in_c[i]) > 1e-5f * fabsf(y_in_c[i]))
            return row_fail("the kernel computes %f instead of %f", (double)y[i],
                            (double)y_in_c[i]);
    return 0;
}

static int measure_saxpy(int (*saxpy)(void), double seconds, double *ret_ms)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin;
    int r;

    do {
        begin = now_ns();
        r = saxpy();
        samples_add(&samples, (double)(now_ns() - begin) / 1e6);
    } while (r == 0 && begin < end);
    *ret_ms = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_saxpy_kernel(double seconds, double *ret_ms)
{
    return measure_saxpy(saxpy_by_kernel, seconds, ret_ms);
}

static int measure_saxpy_loop(double seconds, double *ret_ms)
{
    return measure_saxpy(saxpy_by_loop, seconds, ret_ms);
}

const struct row device_rows[] = {
    {
        .name = "device-append",
        .what = "software device: append a 64-byte copy to an idle list, see it complete",
        .unit = "ns",
        .goal = GOAL(1000),
        .open = open_device,
        .sides = { { "libze_soft", measure_append }, { "malloc + free", peer_malloc } },
    },
    {
        .name = "device-event",
        .what = "software device: create an event and destroy it",
        .unit = "ns",
        .goal = GOAL(200),
        .open = open_device,
        .sides = { { "libze_soft", measure_event }, { "malloc + free", peer_malloc } },
    },
    {
        .name = "device-signal",
        .what = "software device: signal a queue that waits, until its next command is seen done",
        .unit = "ns",
        .open = open_signal,
        .close = peer_echo_close,
        .sides = { { "libze_soft", measure_signal }, { "futex, round trip", peer_futex } },
    },
    {
        .name = "device-copy-16m",
        .what = "software device: 16 MiB from device memory to device memory",
        .unit = "GB/s",
        .more = true,
        .open = open_device,
        .sides = { { "libze_soft", measure_copy_large }, { "memcpy", peer_memcpy_16m, GOAL(0.9) } },
    },
    {
        .name = "device-copy-1k",
        .what = "software device: 1 KiB from device memory to device memory, one at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_device,
        .sides = { { "libze_soft", measure_copy_small }, { "memcpy", peer_memcpy_1k } },
    },
    {
        .name = "device-saxpy",
        .what = "software device: a SPIR-V kernel, saxpy of 16 Mi floats",
        .unit = "ms",
        .open = open_saxpy,
        .sides = { { "libze_soft", measure_saxpy_kernel },
                   { "loop in C on all CPUs", measure_saxpy_loop, GOAL(1 / 0.7) } },
    },
    { 0 },
};
