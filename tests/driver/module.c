/* SPDX-License-Identifier: MIT */
/* Modules and kernels. Without an OpenCL CPU runtime the tests only check that this is said. */
#include "scene.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(module, .timeout = 100);

static unsigned char *read_file(const char *path, size_t *ret_size)
{
    unsigned char *data = malloc(1 << 20);
    FILE *file = fopen(path, "rb");

    CHECK(file && data);
    *ret_size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

/* NULL: there is no runtime; then the test is over. */
static ze_module_handle_t build(ze_module_format_t format, const void *input, size_t size,
                                const ze_module_constants_t *constants)
{
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                              .format = format,
                              .inputSize = size,
                              .pInputModule = input,
                              .pBuildFlags = "-ze-opt-level=2 -cl-mad-enable",
                              .pConstants = constants };
    ze_module_build_log_handle_t log = NULL;
    ze_module_handle_t module = NULL;
    ze_result_t result = zeModuleCreate(soft.context, soft.devices[0], &desc, &module, &log);

    if (result == ZE_RESULT_ERROR_UNSUPPORTED_FEATURE)
        return NULL;
    if (result != ZE_RESULT_SUCCESS) {
        char text[2000] = "";
        size_t text_size = sizeof(text);

        OK(zeModuleBuildLogGetString(log, &text_size, text));
        fprintf(stderr, "%s\n", text);
    }
    OK(result);
    OK(zeModuleBuildLogDestroy(log));
    return module;
}

static ze_module_handle_t open_kernels(void)
{
    size_t size;
    unsigned char *spirv = read_file(KERNELS_SPV, &size);
    ze_module_handle_t module;

    soft_open();
    module = build(ZE_MODULE_FORMAT_IL_SPIRV, spirv, size, NULL);
    free(spirv);
    if (!module)
        cr_skip_test("no OpenCL runtime");
    return module;
}

static ze_kernel_handle_t kernel_of(ze_module_handle_t module, const char *name, uint32_t x,
                                    uint32_t y)
{
    ze_kernel_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = name };
    ze_kernel_handle_t kernel;

    OK(zeKernelCreate(module, &desc, &kernel));
    OK(zeKernelSetGroupSize(kernel, x, y, 1));
    return kernel;
}

static void set_pointer(ze_kernel_handle_t kernel, uint32_t index, void *pointer)
{
    OK(zeKernelSetArgumentValue(kernel, index, sizeof(pointer), &pointer));
}

static bool close_to(float a, float b)
{
    return fabsf(a - b) <= 1e-5f * fabsf(b);
}

Test(module, saxpy)
{
    enum { COUNT = 1 << 16 };
    ze_module_handle_t module = open_kernels();
    ze_kernel_handle_t kernel = kernel_of(module, "saxpy", 64, 1);
    ze_command_list_handle_t list = soft_immediate(0, 0);
    ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP, 1);
    ze_event_handle_t done = soft_event(pool, 0);
    ze_group_count_t groups = { COUNT / 64, 1, 1 };
    ze_kernel_timestamp_result_t stamps;
    float *x = soft_device_memory(COUNT * sizeof(float));
    float *y = soft_host_memory(COUNT * sizeof(float)), a = 2.5f;

    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)i * 0.25f;
        y[i] = (float)(COUNT - i);
    }
    OK(zeKernelSetArgumentValue(kernel, 0, sizeof(a), &a));
    set_pointer(kernel, 1, x);
    set_pointer(kernel, 2, y);
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, done, 0, NULL));
    OK(zeEventHostSynchronize(done, FOREVER));
    for (int i = 0; i < COUNT; i++)
        CHECK(close_to(y[i], 2.5f * ((float)i * 0.25f) + (float)(COUNT - i)));
    OK(zeEventQueryKernelTimestamp(done, &stamps));
    CHECK(stamps.global.kernelStart < stamps.global.kernelEnd);
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(x);
    soft_free(y);
    soft_close();
}

Test(module, reduction_in_local_memory)
{
    enum { COUNT = 10000, GROUP = 128, GROUPS = (COUNT + GROUP - 1) / GROUP };
    ze_module_handle_t module = open_kernels();
    ze_kernel_handle_t kernel = kernel_of(module, "reduce", GROUP, 1);
    ze_command_list_handle_t list = soft_synchronous(0);
    ze_group_count_t groups = { GROUPS, 1, 1 };
    int *values = soft_device_memory(COUNT * sizeof(int)),
        *sums = soft_host_memory(GROUPS * sizeof(int));
    uint32_t count = COUNT;

    for (int i = 0; i < COUNT; i++)
        values[i] = i * 7919 % 10007 - 5000;
    set_pointer(kernel, 0, values);
    OK(zeKernelSetArgumentValue(kernel, 1, sizeof(count), &count));
    set_pointer(kernel, 2, sums);
    ERROR(INVALID_ARGUMENT, zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    OK(zeKernelSetArgumentValue(kernel, 3, GROUP * sizeof(int), NULL));
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    for (int group = 0; group < GROUPS; group++) {
        int expected = 0;

        for (int i = group * GROUP; i < (group + 1) * GROUP && i < COUNT; i++)
            expected += values[i];
        CHECK(sums[group] == expected);
    }
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    soft_free(values);
    soft_free(sums);
    soft_close();
}

Test(module, matrix_product)
{
    enum { SIZE = 96 };
    ze_module_handle_t module = open_kernels();
    ze_kernel_handle_t kernel = kernel_of(module, "multiply", 8, 8);
    ze_command_list_handle_t list = soft_regular(0, 0);
    ze_command_queue_handle_t queue = soft_queue(0);
    ze_group_count_t groups = { SIZE / 8, SIZE / 8, 1 };
    size_t bytes = SIZE * SIZE * sizeof(float);
    float *a = soft_device_memory(bytes), *b = soft_device_memory(bytes),
          *c = soft_host_memory(bytes);
    uint32_t size = SIZE;

    for (int i = 0; i < SIZE * SIZE; i++) {
        a[i] = (float)(i % 17) + 0.5f;
        b[i] = (float)(i % 13) * 0.25f;
    }
    set_pointer(kernel, 0, a);
    set_pointer(kernel, 1, b);
    set_pointer(kernel, 2, c);
    OK(zeKernelSetArgumentValue(kernel, 3, sizeof(size), &size));
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    OK(zeCommandListClose(list));
    OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL));
    OK(zeCommandQueueSynchronize(queue, FOREVER));
    for (int row = 0; row < SIZE; row++) {
        for (int column = 0; column < SIZE; column++) {
            float expected = 0;

            for (int k = 0; k < SIZE; k++)
                expected += a[row * SIZE + k] * b[k * SIZE + column];
            CHECK(close_to(c[row * SIZE + column], expected));
        }
    }
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    OK(zeCommandQueueDestroy(queue));
    soft_free(a);
    soft_free(b);
    soft_free(c);
    soft_close();
}

struct mixed {
    char letter;
    short small;
    float vector[4] __attribute__((aligned(16)));
    uint64_t large;
};

Test(module, arguments_of_every_kind)
{
    ze_module_handle_t module = open_kernels();
    ze_kernel_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = "arguments" };
    ze_kernel_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_KERNEL_PROPERTIES };
    ze_command_list_handle_t list = soft_synchronous(0);
    ze_group_count_t groups = { 2, 3, 4 };
    struct mixed mixed = { 'm', -300, { 1, 2, 3, 4 }, 1ull << 40 };
    float three[4] = { 1, 2, 3, 0 };
    uint8_t byte = 200;
    uint16_t word = 60000;
    uint64_t big = 1ull << 50;
    double real = 0.125, *out = soft_host_memory(10 * sizeof(double));
    ze_kernel_handle_t kernel;
    size_t size = 0;
    char name[32];

    OK(zeKernelCreate(module, &desc, &kernel));
    OK(zeKernelGetProperties(kernel, &properties));
    CHECK(properties.numKernelArgs == 7 && properties.requiredGroupSizeX == 4 &&
          properties.requiredGroupSizeY == 2);
    OK(zeKernelGetName(kernel, &size, NULL));
    CHECK(size == sizeof("arguments"));
    OK(zeKernelGetName(kernel, &size, name));
    CHECK(strcmp(name, "arguments") == 0);
    ERROR(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 2, 2, 1));
    OK(zeKernelSetGroupSize(kernel, 4, 2, 1));
    ERROR(INVALID_KERNEL_ARGUMENT_INDEX, zeKernelSetArgumentValue(kernel, 7, 1, &byte));
    ERROR(INVALID_KERNEL_ARGUMENT_SIZE, zeKernelSetArgumentValue(kernel, 1, 4, &big));
    OK(zeKernelSetArgumentValue(kernel, 0, sizeof(byte), &byte));
    OK(zeKernelSetArgumentValue(kernel, 1, sizeof(word), &word));
    OK(zeKernelSetArgumentValue(kernel, 2, sizeof(big), &big));
    OK(zeKernelSetArgumentValue(kernel, 3, sizeof(real), &real));
    OK(zeKernelSetArgumentValue(kernel, 4, sizeof(three), three));
    OK(zeKernelSetArgumentValue(kernel, 5, sizeof(mixed), &mixed));
    set_pointer(kernel, 6, out);
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    CHECK(out[0] == 200 && out[1] == 60000 && out[2] == (double)big && out[3] == real);
    CHECK(out[4] == 321 && out[5] == 'm' && out[6] == -300 && out[7] == 41);
    CHECK(out[8] == (double)(1ull << 40) && out[9] == 8 * 1000 + 6 * 100 + 4);
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    soft_free(out);
    soft_close();
}

Test(module, launches_keep_their_arguments_and_counts)
{
    ze_module_handle_t module = open_kernels();
    ze_kernel_handle_t kernel = kernel_of(module, "increment", 4, 1);
    ze_kernel_handle_t kernels[2] = { kernel, kernel };
    ze_command_list_handle_t list = soft_immediate(0, 0);
    ze_event_pool_handle_t pool = soft_pool(0, 2);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_group_count_t one = { 1, 1, 1 }, *counts = soft_host_memory(2 * sizeof(*counts));
    uint32_t *a = soft_device_memory(64), *b = soft_device_memory(64);
    uint32_t *limit = soft_host_memory(sizeof(*limit));

    memset(a, 0, 64);
    memset(b, 0, 64);
    set_pointer(kernel, 0, a);
    OK(zeCommandListAppendLaunchKernel(list, kernel, &one, NULL, 1, &gate));
    set_pointer(kernel, 0, b);
    OK(zeCommandListAppendLaunchKernelIndirect(list, kernel, counts, NULL, 0, NULL));
    OK(zeCommandListAppendLaunchMultipleKernelsIndirect(list, 2, kernels, limit, counts, done, 0,
                                                        NULL));
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    counts[0] = (ze_group_count_t){ 2, 1, 1 };
    counts[1] = (ze_group_count_t){ 9, 9, 9 };
    *limit = 1;
    OK(zeEventHostSignal(gate));
    OK(zeEventHostSynchronize(done, FOREVER));
    CHECK(a[0] == 1 && a[3] == 1 && a[4] == 0);
    CHECK(b[0] == 2 && b[7] == 2 && b[8] == 0);
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(a);
    soft_free(b);
    soft_free(counts);
    soft_free(limit);
    soft_close();
}

Test(module, offsets_suggestions_and_cooperation)
{
    ze_module_handle_t module = open_kernels();
    ze_kernel_handle_t kernel = kernel_of(module, "identify", 4, 1);
    ze_command_list_handle_t list = soft_synchronous(0);
    uint32_t *out = soft_host_memory(64), x, y, z, most;
    ze_group_count_t groups = { 2, 1, 1 };

    set_pointer(kernel, 0, out);
    OK(zeKernelSetGlobalOffsetExp(kernel, 100, 0, 0));
    OK(zeCommandListAppendLaunchCooperativeKernel(list, kernel, &(ze_group_count_t){ 1, 1, 1 },
                                                  NULL, 0, NULL));
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    for (uint32_t i = 0; i < 8; i++)
        CHECK(out[i] == 100 + i);
    OK(zeKernelSuggestGroupSize(kernel, 1000, 30, 7, &x, &y, &z));
    CHECK(1000 % x == 0 && 30 % y == 0 && 7 % z == 0 && x * y * z <= 4096);
    ERROR(INVALID_GLOBAL_WIDTH_DIMENSION, zeKernelSuggestGroupSize(kernel, 0, 1, 1, &x, &y, &z));
    OK(zeKernelSuggestMaxCooperativeGroupCount(kernel, &most));
    CHECK(most >= 1);
    groups.groupCountX = most + 1;
    ERROR(INVALID_ARGUMENT,
          zeCommandListAppendLaunchCooperativeKernel(list, kernel, &groups, NULL, 0, NULL));
    ERROR(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 4096, 2, 1));
    ERROR(INVALID_GROUP_SIZE_DIMENSION, zeKernelSetGroupSize(kernel, 0, 1, 1));
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    soft_free(out);
    soft_close();
}

Test(module, native_binaries_are_reloaded)
{
    ze_module_handle_t module = open_kernels(), again;
    ze_command_list_handle_t list = soft_synchronous(0);
    ze_group_count_t groups = { 4, 1, 1 };
    uint32_t count = 0, *values = soft_host_memory(64);
    const char *names[8];
    ze_kernel_handle_t kernel;
    size_t size = 0;
    uint8_t *native;

    OK(zeModuleGetNativeBinary(module, &size, NULL));
    native = malloc(size);
    OK(zeModuleGetNativeBinary(module, &size, native));
    again = build(ZE_MODULE_FORMAT_NATIVE, native, size, NULL);
    CHECK(again);
    OK(zeModuleGetKernelNames(again, &count, NULL));
    CHECK(count == 6);
    OK(zeModuleGetKernelNames(again, &count, names));
    CHECK(strcmp(names[0], "saxpy") == 0 && strcmp(names[5], "increment") == 0);
    kernel = kernel_of(again, "increment", 4, 1);
    memset(values, 0, 64);
    set_pointer(kernel, 0, values);
    OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, NULL, 0, NULL));
    CHECK(values[0] == 1 && values[15] == 1);
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeModuleDestroy(again));
    OK(zeCommandListDestroy(list));
    free(native);
    soft_free(values);
    soft_close();
}

Test(module, what_is_wrong_is_refused)
{
    ze_module_handle_t module = open_kernels(), broken;
    ze_kernel_desc_t kernel_desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC,
                                     .pKernelName = "nothing" };
    ze_module_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_MODULE_PROPERTIES };
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                              .inputSize = 8,
                              .pInputModule = (const uint8_t *)"no spirv" };
    ze_module_build_log_handle_t log;
    ze_kernel_handle_t kernel;
    void *pointer;
    size_t size = 0;
    char text[100];

    ERROR(INVALID_KERNEL_NAME, zeKernelCreate(module, &kernel_desc, &kernel));
    ERROR(INVALID_GLOBAL_NAME, zeModuleGetGlobalPointer(module, "global", &size, &pointer));
    ERROR(INVALID_FUNCTION_NAME, zeModuleGetFunctionPointer(module, "saxpy", &pointer));
    OK(zeModuleGetProperties(module, &properties));
    CHECK(properties.flags == 0);
    if (!soft_handles_are_wrapped()) {  /* the wrapping loader of 1.8 fails at both of these */
        OK(zeModuleDynamicLink(1, &module, NULL));
        ERROR(MODULE_BUILD_FAILURE,
              zeModuleCreate(soft.context, soft.devices[0], &desc, &broken, &log));
        OK(zeModuleBuildLogGetString(log, &size, NULL));
        CHECK(size > 1 && size < sizeof(text));
        OK(zeModuleBuildLogGetString(log, &size, text));
        CHECK(strlen(text) + 1 == size);
        OK(zeModuleBuildLogDestroy(log));
    }
    desc.format = ZE_MODULE_FORMAT_NATIVE;
    ERROR(INVALID_NATIVE_BINARY,
          zeModuleCreate(soft.context, soft.devices[0], &desc, &broken, NULL));
    desc.inputSize = 0;
    ERROR(INVALID_SIZE, zeModuleCreate(soft.context, soft.devices[0], &desc, &broken, NULL));
    OK(zeModuleDestroy(module));
    soft_close();
}

/* Any damage to a module must end in an error or in a module, never in a crash while it is read. */
Test(module, damaged_spirv_never_crashes_the_reader)
{
    size_t size;
    unsigned char *spirv = read_file(KERNELS_SPV, &size);
    ze_module_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .pInputModule = spirv };
    ze_module_handle_t module;

    soft_open();
    for (size_t cut = 4; cut < size; cut += size / 40) {
        desc.inputSize = cut | 1;       /* never whole words: refused after reading, not compiled */
        CHECK(zeModuleCreate(soft.context, soft.devices[0], &desc, &module, NULL) !=
              ZE_RESULT_SUCCESS);
    }
    free(spirv);
    soft_close();
}

/* A module made by hand: kernel void get(global int *out) { *out = constant; } */
static const uint32_t constant_module[] = {
    0x07230203,    0x00010000, 0,  12,         0, 2 << 16 | 17, 4, /* OpCapability Addresses */
    2 << 16 | 17,  6,                                              /* OpCapability Kernel */
    3 << 16 | 14,  2,          2,                 /* OpMemoryModel Physical64 OpenCL */
    4 << 16 | 15,  6,          9,  0x00746567,    /* OpEntryPoint Kernel %9 "get" */
    4 << 16 | 71,  5,          1,  33,            /* OpDecorate %5 SpecId 33 */
    2 << 16 | 19,  1,                             /* %1 = void */
    4 << 16 | 21,  2,          32, 0,             /* %2 = int */
    4 << 16 | 32,  3,          5,  2,             /* %3 = global int * */
    4 << 16 | 33,  4,          1,  3,             /* %4 = void (global int *) */
    4 << 16 | 50,  2,          5,  7,             /* %5 = specialization constant 7 */
    5 << 16 | 54,  1,          9,  0,          4, /* %9 = function */
    3 << 16 | 55,  3,          10,                /* %10 = parameter */
    2 << 16 | 248, 11,                            /* %11 = label */
    5 << 16 | 62,  10,         5,  2,          4, /* store %5 to %10, aligned 4 */
    1 << 16 | 253,                                /* return */
    1 << 16 | 56,                                 /* end of function */
};

static int run_constant(const ze_module_constants_t *constants)
{
    ze_module_handle_t module =
        build(ZE_MODULE_FORMAT_IL_SPIRV, constant_module, sizeof(constant_module), constants);
    ze_command_list_handle_t list = soft_synchronous(0);
    ze_group_count_t one = { 1, 1, 1 };
    ze_kernel_handle_t kernel;
    int *out = soft_host_memory(sizeof(*out)), value;

    if (!module)
        cr_skip_test("no OpenCL runtime");
    kernel = kernel_of(module, "get", 1, 1);
    set_pointer(kernel, 0, out);
    OK(zeCommandListAppendLaunchKernel(list, kernel, &one, NULL, 0, NULL));
    value = *out;
    OK(zeKernelDestroy(kernel));
    OK(zeModuleDestroy(module));
    OK(zeCommandListDestroy(list));
    soft_free(out);
    return value;
}

Test(module, constants_are_specialized)
{
    const uint32_t id = 33;
    const int value = 1234;
    const void *values[] = { &value };
    ze_module_constants_t constants = { 1, &id, values };

    soft_open();
    CHECK(run_constant(NULL) == 7);
    CHECK(run_constant(&constants) == 1234);
    soft_close();
}

/* Two processes take turns with a kernel on shared memory, ordered by shared events. */
enum { TURNS = 10, SHARED = 1024 };

static void take_turns(ze_module_handle_t module, uint32_t *values, ze_event_pool_handle_t pool,
                       uint32_t first)
{
    ze_kernel_handle_t kernel = kernel_of(module, "increment", 64, 1);
    ze_command_list_handle_t list = soft_immediate(first % 2, 0);
    ze_group_count_t groups = { SHARED / 64, 1, 1 };
    ze_event_handle_t events[2 * TURNS + 1];

    for (uint32_t i = 0; i <= 2 * TURNS; i++)
        events[i] = soft_event(pool, i);
    set_pointer(kernel, 0, values);
    for (uint32_t i = first; i < 2 * TURNS; i += 2)
        OK(zeCommandListAppendLaunchKernel(list, kernel, &groups, events[i + 1], 1, &events[i]));
    if (first == 0)
        OK(zeEventHostSignal(events[0]));
    OK(zeEventHostSynchronize(events[2 * TURNS], FOREVER));
    for (uint32_t i = 0; i < SHARED; i++)
        CHECK(values[i] == 2 * TURNS);
    for (uint32_t i = 0; i <= 2 * TURNS; i++)
        OK(zeEventDestroy(events[i]));
    OK(zeCommandListDestroy(list));
    OK(zeKernelDestroy(kernel));
}

static void turn_child(int socket)
{
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    ze_event_pool_handle_t pool;
    ze_module_handle_t module;
    uint32_t *values;
    size_t size;
    unsigned char *spirv = read_file(KERNELS_SPV, &size);
    int fds[2];

    soft_open();
    fds[0] = soft_receive(socket, &memory_handle, sizeof(memory_handle));
    fds[1] = soft_receive(socket, &pool_handle, sizeof(pool_handle));
    fds[1] = fcntl(fds[1], F_DUPFD_CLOEXEC, 100);
    memcpy(&memory_handle, &fds[0], sizeof(int));
    memcpy(&pool_handle, &fds[1], sizeof(int));
    OK(zeMemOpenIpcHandle(soft.context, soft.devices[0], memory_handle, 0, (void **)&values));
    OK(zeEventPoolOpenIpcHandle(soft.context, pool_handle, &pool));
    module = build(ZE_MODULE_FORMAT_IL_SPIRV, spirv, size, NULL);
    take_turns(module, values, pool, 1);
    OK(zeModuleDestroy(module));
    OK(zeEventPoolCloseIpcHandle(pool));
    OK(zeMemCloseIpcHandle(soft.context, values));
    free(spirv);
    soft_close();
}

Test(module, two_processes_on_shared_memory)
{
    struct soft_child child = soft_fork(turn_child);
    ze_module_handle_t module = open_kernels();
    ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_IPC, 2 * TURNS + 1);
    uint32_t *values = soft_device_memory(SHARED * sizeof(*values));
    ze_ipc_event_pool_handle_t pool_handle;
    ze_ipc_mem_handle_t memory_handle;
    int fd;

    memset(values, 0, SHARED * sizeof(*values));
    OK(zeMemGetIpcHandle(soft.context, values, &memory_handle));
    memcpy(&fd, &memory_handle, sizeof(fd));
    soft_send(child.socket, &memory_handle, sizeof(memory_handle), fd);
    OK(zeEventPoolGetIpcHandle(pool, &pool_handle));
    memcpy(&fd, &pool_handle, sizeof(fd));
    soft_send(child.socket, &pool_handle, sizeof(pool_handle), fd);
    take_turns(module, values, pool, 0);
    soft_join(&child);
    OK(zeModuleDestroy(module));
    OK(zeEventPoolDestroy(pool));
    soft_free(values);
    soft_close();
}
