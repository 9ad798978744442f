/* SPDX-License-Identifier: MIT */
/* Kernels, built from kernels.cl with the tests, against a reference on the host; and what modules
 * and kernels must refuse. Skipped only where the system has no OpenCL runtime for CPUs at all.
 */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ze_module_handle_t module;
static ze_command_list_handle_t list;
static uint8_t *spirv;
static size_t spirv_size;

static void spirv_read(void)
{
    FILE *file = fopen(KERNELS_SPV, "rb");

    test_require(file && fseek(file, 0, SEEK_END) == 0, "%s: cannot be read", KERNELS_SPV);
    spirv_size = (size_t)ftell(file);
    rewind(file);
    spirv = malloc(spirv_size);
    test_require(fread(spirv, 1, spirv_size, file) == spirv_size, "%s: is short", KERNELS_SPV);
    fclose(file);
}

static ze_result_t build(ze_module_format_t format, const uint8_t *input, size_t size,
                         ze_module_handle_t *ret_module)
{
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                              .format = format,
                              .inputSize = size,
                              .pInputModule = input };

    return zeModuleCreate(soft.context, soft.device, &desc, ret_module, NULL);
}

static void start(void)
{
    if (!soft_has_opencl()) {
        fprintf(stderr, "no OpenCL runtime for CPUs: install pocl-opencl-icd\n");
        return;
    }
    soft_open();
    spirv_read();
    REQUIRE_ZE(build(ZE_MODULE_FORMAT_IL_SPIRV, spirv, spirv_size, &module));
    list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
}

static void stop(void)
{
    if (!module)
        return;
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeModuleDestroy(module));
    free(spirv);
    soft_close();
}

TestSuite(kernel, .init = start, .fini = stop);
TestSuite(kernel_process);

#define NEEDS_KERNELS() \
    do { \
        if (!module) \
            cr_skip_test("no OpenCL runtime for CPUs"); \
    } while (0)

static ze_kernel_handle_t kernel_new(const char *name, uint32_t width, uint32_t height)
{
    ze_kernel_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = name };
    ze_kernel_handle_t kernel;

    REQUIRE_ZE(zeKernelCreate(module, &desc, &kernel));
    REQUIRE_ZE(zeKernelSetGroupSize(kernel, width, height, 1));
    return kernel;
}

static void set(ze_kernel_handle_t kernel, uint32_t index, const void *value, size_t size)
{
    REQUIRE_ZE(zeKernelSetArgumentValue(kernel, index, size, value));
}

static void set_pointer(ze_kernel_handle_t kernel, uint32_t index, const void *pointer)
{
    set(kernel, index, &pointer, sizeof(pointer));
}

static void launch(ze_kernel_handle_t kernel, uint32_t x, uint32_t y, ze_event_handle_t signal,
                   uint32_t wait_count, ze_event_handle_t *waits)
{
    ze_group_count_t groups = { x, y, 1 };

    REQUIRE_ZE(zeCommandListAppendLaunchKernel(list, kernel, &groups, signal, wait_count, waits));
}

static float random_float(uint64_t *random)
{
    return (float)((double)(soft_random(random) >> 11) * 0x1p-53 * 200 - 100);
}

/* ---- against a reference --------------------------------------------------------------------- */

Test(kernel, saxpy_in_a_list_that_is_executed_twice)
{
    NEEDS_KERNELS();

    enum { COUNT = 4096 };
    ze_command_queue_handle_t queue = soft_queue(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    ze_command_list_handle_t recorded = soft_list(0);
    ze_kernel_handle_t kernel = kernel_new("saxpy", 128, 1);
    float *x = soft_alloc(ZE_MEMORY_TYPE_DEVICE, COUNT * sizeof(float));
    float *y = soft_alloc(ZE_MEMORY_TYPE_SHARED, COUNT * sizeof(float));
    float expected[COUNT], a = 1.75f, other = 1e9f;
    ze_group_count_t groups = { COUNT / 128, 1, 1 };
    uint64_t random = soft_seed();

    for (int i = 0; i < COUNT; i++) {
        x[i] = random_float(&random);
        expected[i] = y[i] = random_float(&random);
    }
    set(kernel, 0, &a, sizeof(a));
    set_pointer(kernel, 1, x);
    set_pointer(kernel, 2, y);
    REQUIRE_ZE(zeCommandListAppendLaunchKernel(recorded, kernel, &groups, NULL, 0, NULL));
    REQUIRE_ZE(zeCommandListClose(recorded));
    set(kernel, 0, &other, sizeof(other)); /* too late for what is recorded */
    for (int run = 0; run < 2; run++) {
        REQUIRE_ZE(zeCommandQueueExecuteCommandLists(queue, 1, &recorded, NULL));
        for (int i = 0; i < COUNT; i++) {
            float exact = a * x[i] + expected[i];

            cr_assert(fabsf(y[i] - exact) <= 1e-5f * (fabsf(a * x[i]) + fabsf(expected[i])));
            expected[i] = y[i];
        }
    }
    REQUIRE_ZE(zeKernelDestroy(kernel));
    REQUIRE_ZE(zeCommandListDestroy(recorded));
    REQUIRE_ZE(zeCommandQueueDestroy(queue));
    soft_free(x);
    soft_free(y);
}

Test(kernel, reduction_of_any_size_is_exact)
{
    NEEDS_KERNELS();

    enum { GROUPS = 20, LARGEST = 256 };
    int *values = soft_alloc(ZE_MEMORY_TYPE_HOST, GROUPS * LARGEST * sizeof(int));
    int *sums = soft_alloc(ZE_MEMORY_TYPE_DEVICE, GROUPS * sizeof(int));
    uint64_t random = soft_seed();

    for (uint32_t size = 1; size <= LARGEST; size *= 4) {
        ze_kernel_handle_t kernel = kernel_new("reduce", size, 1);
        uint32_t count = (GROUPS - 1) * size + 1;

        for (uint32_t i = 0; i < count; i++)
            values[i] = (int)(soft_random(&random) % 2000000) - 1000000;
        set_pointer(kernel, 0, values);
        set(kernel, 1, &count, sizeof(count));
        set_pointer(kernel, 2, sums);
        set(kernel, 3, NULL, size * sizeof(int));
        launch(kernel, GROUPS, 1, NULL, 0, NULL);
        soft_finish(list);
        for (uint32_t group = 0; group < GROUPS; group++) {
            int expected = 0;

            for (uint32_t i = group * size; i < (group + 1) * size && i < count; i++)
                expected += values[i];
            cr_assert_eq(sums[group], expected);
        }
        REQUIRE_ZE(zeKernelDestroy(kernel));
    }
    soft_free(values);
    soft_free(sums);
}

Test(kernel, matrix_product)
{
    NEEDS_KERNELS();

    const uint32_t size = 48, bytes = size * size * sizeof(float);
    ze_kernel_handle_t kernel = kernel_new("multiply", 8, 6);
    float *a = soft_alloc(ZE_MEMORY_TYPE_DEVICE, bytes),
          *b = soft_alloc(ZE_MEMORY_TYPE_HOST, bytes);
    float *c = soft_alloc(ZE_MEMORY_TYPE_SHARED, bytes);
    uint64_t random = soft_seed();

    for (uint32_t i = 0; i < size * size; i++) {
        a[i] = random_float(&random);
        b[i] = random_float(&random);
    }
    set_pointer(kernel, 0, a);
    set_pointer(kernel, 1, b);
    set_pointer(kernel, 2, c);
    set(kernel, 3, &size, sizeof(size));
    launch(kernel, size / 8, size / 6, NULL, 0, NULL);
    soft_finish(list);
    for (uint32_t i = 0; i < size; i++) {
        for (uint32_t j = 0; j < size; j++) {
            double exact = 0, scale = 0;

            for (uint32_t k = 0; k < size; k++) {
                exact += (double)a[i * size + k] * b[k * size + j];
                scale += fabs((double)a[i * size + k] * b[k * size + j]);
            }
            cr_assert(fabs(c[i * size + j] - exact) <= 1e-5 * scale);
        }
    }
    REQUIRE_ZE(zeKernelDestroy(kernel));
    soft_free(a);
    soft_free(b);
    soft_free(c);
}

Test(kernel, waits_and_signals_like_any_command)
{
    NEEDS_KERNELS();

    ze_event_pool_handle_t pool = soft_pool(2, ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_kernel_handle_t kernel = kernel_new("increment", 64, 1);
    uint32_t *values = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 64 * 4);
    ze_kernel_timestamp_result_t stamps;

    set_pointer(kernel, 0, values);
    launch(kernel, 1, 1, done, 1, &gate);
    REQUIRE_ZE(zeKernelDestroy(kernel)); /* the launch keeps what it needs */
    cr_assert_eq(zeEventHostSynchronize(done, SECOND / 100), ZE_RESULT_NOT_READY);
    cr_assert_eq(values[63], 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(values[63], 1);
    REQUIRE_ZE(zeEventQueryKernelTimestamp(done, &stamps));
    cr_assert_geq(stamps.global.kernelEnd, stamps.global.kernelStart);
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventDestroy(done));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_free(values);
}

/* ---- two processes --------------------------------------------------------------------------- */

#define STEPS 20
#define FLOATS 256

/* One side doubles, the other adds one: any other order gives another number. Nobody waits on the
 * host between the steps. */
static void append_steps(float *y, const float *x, float a, ze_event_handle_t *events,
                         uint32_t first)
{
    ze_kernel_handle_t kernel = kernel_new("saxpy", 64, 1);

    set(kernel, 0, &a, sizeof(a));
    set_pointer(kernel, 1, x);
    set_pointer(kernel, 2, y);
    for (uint32_t i = first; i < STEPS; i += 2)
        launch(kernel, FLOATS / 64, 1, events[i + 1], 1, &events[i]);
    REQUIRE_ZE(zeKernelDestroy(kernel));
}

static void body_adds(int channel, void *unused)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_event_handle_t events[STEPS + 1];
    ze_ipc_mem_handle_t memory_handle;
    ze_event_pool_handle_t pool;
    float *ones;
    void *y;

    (void)unused;
    start();
    soft_receive_handle(channel, &pool_handle);
    soft_receive_handle(channel, &memory_handle);
    REQUIRE_ZE(zeEventPoolOpenIpcHandle(soft.context, pool_handle, &pool));
    REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, memory_handle, 0, &y));
    ones = soft_alloc(ZE_MEMORY_TYPE_DEVICE, FLOATS * sizeof(float));
    for (int i = 0; i < FLOATS; i++)
        ones[i] = 1;
    for (uint32_t i = 0; i <= STEPS; i++)
        events[i] = soft_event(pool, i);
    append_steps(y, ones, 1, events, 1);
    REQUIRE_ZE(zeEventHostSynchronize(events[STEPS], FOREVER));
    for (uint32_t i = 0; i <= STEPS; i++)
        REQUIRE_ZE(zeEventDestroy(events[i]));
    REQUIRE_ZE(zeEventPoolCloseIpcHandle(pool));
    REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, y));
    soft_free(ones);
    stop();
}

Test(kernel_process, launches_of_two_processes_take_turns_on_one_memory)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_event_handle_t events[STEPS + 1];
    ze_ipc_mem_handle_t memory_handle;
    ze_event_pool_handle_t pool;
    struct test_peer peer;
    float *y;

    test_peer_start(&peer, body_adds, NULL); /* first: OpenCL runtimes do not survive a fork */
    start();
    if (!module) {
        test_peer_kill(&peer);
        cr_skip_test("no OpenCL runtime for CPUs");
    }
    pool = soft_pool(STEPS + 1, ZE_EVENT_POOL_FLAG_IPC);
    y = soft_alloc(ZE_MEMORY_TYPE_DEVICE, FLOATS * sizeof(float));
    for (uint32_t i = 0; i <= STEPS; i++)
        events[i] = soft_event(pool, i);
    REQUIRE_ZE(zeEventPoolGetIpcHandle(pool, &pool_handle));
    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, y, &memory_handle));
    soft_send_handle(peer.channel, &pool_handle);
    soft_send_handle(peer.channel, &memory_handle);
    append_steps(y, y, 1, events, 0);
    REQUIRE_ZE(zeEventHostSignal(events[0]));
    REQUIRE_ZE(zeEventHostSynchronize(events[STEPS], FOREVER));
    for (int i = 0; i < FLOATS; i++)
        cr_assert_eq(y[i], (float)((1 << STEPS / 2) - 1));
    test_peer_join(&peer);
    for (uint32_t i = 0; i <= STEPS; i++)
        REQUIRE_ZE(zeEventDestroy(events[i]));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_free(y);
    stop();
}

/* ---- what is refused ------------------------------------------------------------------------- */

#define REFUSED(code, call) cr_expect_eq(call, ZE_RESULT_ERROR_##code, "%s", #call)

Test(kernel, null_pointers)
{
    NEEDS_KERNELS();

    ze_kernel_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = "saxpy" };
    ze_kernel_desc_t nameless = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC };
    ze_kernel_handle_t kernel = kernel_new("saxpy", 1, 1), other;
    uint32_t x, y, z;
    void *pointer;

    REFUSED(INVALID_NULL_POINTER, zeKernelCreate(module, NULL, &other));
    REFUSED(INVALID_NULL_POINTER, zeKernelCreate(module, &nameless, &other));
    REFUSED(INVALID_NULL_POINTER, zeKernelCreate(module, &desc, NULL));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetNativeBinary(module, NULL, NULL));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetKernelNames(module, NULL, NULL));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetProperties(module, NULL));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetGlobalPointer(module, NULL, NULL, &pointer));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetFunctionPointer(module, NULL, &pointer));
    REFUSED(INVALID_NULL_POINTER, zeModuleGetFunctionPointer(module, "f", NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelSuggestGroupSize(kernel, 1, 1, 1, NULL, &y, &z));
    REFUSED(INVALID_NULL_POINTER, zeKernelSuggestGroupSize(kernel, 1, 1, 1, &x, NULL, &z));
    REFUSED(INVALID_NULL_POINTER, zeKernelSuggestGroupSize(kernel, 1, 1, 1, &x, &y, NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelSuggestMaxCooperativeGroupCount(kernel, NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelGetIndirectAccess(kernel, NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelGetProperties(kernel, NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelGetName(kernel, NULL, NULL));
    REFUSED(INVALID_NULL_POINTER, zeKernelSchedulingHintExp(kernel, NULL));
    REFUSED(INVALID_NULL_POINTER,
            zeCommandListAppendLaunchKernel(list, kernel, NULL, NULL, 0, NULL));
    REFUSED(INVALID_NULL_POINTER,
            zeCommandListAppendLaunchCooperativeKernel(list, kernel, NULL, NULL, 0, NULL));
    REFUSED(INVALID_NULL_POINTER,
            zeCommandListAppendLaunchKernelIndirect(list, kernel, NULL, NULL, 0, NULL));
    REQUIRE_ZE(zeKernelDestroy(kernel));
}

Test(kernel, wrong_values)
{
    NEEDS_KERNELS();

    ze_kernel_desc_t unknown = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = "saxpyy" };
    ze_kernel_desc_t flags = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC,
                               .pKernelName = "saxpy",
                               .flags = 0x40000000 };
    ze_kernel_handle_t kernel = kernel_new("saxpy", 1, 1), sized = kernel_new("arguments", 4, 2),
                       other;
    ze_group_count_t groups = { 1, 1, 1 };
    float *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4);
    const double wide = 1;
    const float a = 1;
    uint32_t x, y, z;

    set(kernel, 0, &a, sizeof(a));
    set_pointer(kernel, 1, memory);
    set_pointer(kernel, 2, memory);
    REFUSED(INVALID_KERNEL_NAME, zeKernelCreate(module, &unknown, &other));
    REFUSED(INVALID_ENUMERATION, zeKernelCreate(module, &flags, &other));
    REFUSED(INVALID_ENUMERATION, zeKernelSetIndirectAccess(kernel, 0x40000000));
    REFUSED(INVALID_ENUMERATION, zeKernelSetCacheConfig(kernel, 0x40000000));
    REFUSED(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 0, 1, 1));
    REFUSED(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 1u << 31, 2, 1));
    REFUSED(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 65536, 65536, 65536));
    REFUSED(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(sized, 8, 1, 1));
    REFUSED(INVALID_GLOBAL_WIDTH_DIMENSION, zeKernelSuggestGroupSize(kernel, 0, 1, 1, &x, &y, &z));
    REFUSED(INVALID_KERNEL_ARGUMENT_INDEX, zeKernelSetArgumentValue(kernel, 3, 4, &wide));
    REFUSED(INVALID_KERNEL_ARGUMENT_SIZE, zeKernelSetArgumentValue(kernel, 0, 8, &wide));
    if (!soft_intercepted())            /* the loader would read the missing events itself */
        REFUSED(INVALID_SIZE,
                zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 1, NULL));
    REQUIRE_ZE(zeKernelDestroy(kernel));
    REQUIRE_ZE(zeKernelDestroy(sized));
    soft_free(memory);
}

Test(kernel, no_kernels_on_a_queue_for_copies)
{
    NEEDS_KERNELS();

    ze_command_list_handle_t copies = soft_immediate_on(
        soft.device, 1, ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS, ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
    ze_kernel_handle_t kernel = kernel_new("increment", 1, 1);
    uint32_t *value = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4);
    ze_group_count_t groups = { 1, 1, 1 };

    set_pointer(kernel, 0, value);
    REFUSED(INVALID_COMMAND_LIST_TYPE,
            zeCommandListAppendLaunchKernel(copies, kernel, &groups, NULL, 0, NULL));
    REQUIRE_ZE(zeKernelDestroy(kernel));
    REQUIRE_ZE(zeCommandListDestroy(copies));
    soft_free(value);
}

/* No byte of a module is trusted: cut short or altered it is refused or built, and nothing crashes.
 * Most of what is altered is refused by the reader; the few that get further cost a compilation. */
Test(kernel, damaged_modules)
{
    NEEDS_KERNELS();

    uint64_t random = soft_seed();
    uint8_t *damaged = malloc(spirv_size);

    for (int i = 0; i < 8; i++) {
        size_t size = 4 * (size_t)(soft_random(&random) % (spirv_size / 4));
        ze_module_handle_t broken = NULL;

        memcpy(damaged, spirv, spirv_size);
        if (soft_intercepted())
            break;                      /* the wrapping loader of 1.8 fails at failing builds */
        if (i % 2)
            damaged[soft_random(&random) % 20] ^= (uint8_t)(1 + soft_random(&random) % 255);
        else
            memset(damaged + size, 0, spirv_size - size);
        if (build(ZE_MODULE_FORMAT_IL_SPIRV, damaged, spirv_size, &broken) == ZE_RESULT_SUCCESS)
            REQUIRE_ZE(zeModuleDestroy(broken));
    }
    REFUSED(INVALID_NATIVE_BINARY, build(ZE_MODULE_FORMAT_NATIVE, spirv, spirv_size, &module));
    free(damaged);
}
