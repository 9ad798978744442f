/* SPDX-License-Identifier: MIT */
/* tests/system/kernels.c: modules, kernels and launches through libxpurt. Without an OpenCL runtime
 * for CPUs the software device runs no kernels, and says so. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT 4096u

static struct test_daemon xpurtd;
static xpurt_stream *stream;
static unsigned char spirv[1 << 20];
static size_t spirv_size;

static void spirv_read(void)
{
    FILE *file = fopen(KERNELS_SPV, "re");

    cr_assert_not_null(file);
    spirv_size = fread(spirv, 1, sizeof(spirv), file);
    fclose(file);
}

static void start(void)
{
    spirv_read();
    test_daemon_start(&xpurtd, NULL);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(kernels, .init = start, .fini = stop, .timeout = 300);

static xpurt_module *module_new(void)
{
    xpurt_module *module;
    xpurt_result result = xpurt_module_load(-1, spirv, spirv_size, NULL, &module);

    if (result == XPURT_ERROR_UNSUPPORTED)
        cr_skip_test("no OpenCL runtime for CPUs");
    test_ok(result);
    if (!stream)
        test_ok(xpurt_stream_create(&stream));
    return module;
}

static xpurt_kernel *kernel_of(xpurt_module *module, const char *name)
{
    xpurt_kernel *kernel;

    test_ok(xpurt_kernel_get(module, name, &kernel));
    return kernel;
}

static void *device_new(size_t size)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, size));
    return memory;
}

static void launch(xpurt_kernel *kernel, uint32_t groups, uint32_t group_size,
                   const xpurt_arg *args, size_t n_args)
{
    test_ok(xpurt_launch_kernel(kernel, (uint32_t[]){ groups, 1, 1 },
                                (uint32_t[]){ group_size, 1, 1 }, args, n_args, stream));
}

/* ---- what kernels compute -------------------------------------------------------------------- */

Test(kernels, saxpy_is_what_c_computes)
{
    xpurt_kernel *kernel = kernel_of(module_new(), "saxpy");
    float x[COUNT], y[COUNT], got[COUNT], a = 2.5f;
    void *device_x = device_new(sizeof(x)), *device_y = device_new(sizeof(y));
    const xpurt_arg args[] = { xpurt_arg_bytes(&a, sizeof(a)), xpurt_arg_pointer(device_x),
                               xpurt_arg_pointer(device_y) };

    for (unsigned i = 0; i < COUNT; i++) {
        x[i] = (float)i * 0.25f;
        y[i] = (float)(COUNT - i);
    }
    test_ok(xpurt_memcpy_async(device_x, x, sizeof(x), stream));
    test_ok(xpurt_memcpy_async(device_y, y, sizeof(y), stream));
    launch(kernel, COUNT / 64, 64, args, 3);
    a = -1;                             /* was copied */
    test_ok(xpurt_memcpy_async(got, device_y, sizeof(got), stream));
    for (unsigned i = 0; i < COUNT; i++) {
        float expected = 2.5f * x[i] + y[i];

        cr_assert(fabsf(got[i] - expected) <= 1e-5f * fabsf(expected), "%u: %g", i, (double)got[i]);
    }
}

static void check_places(const uint64_t *out, const uint32_t groups[3], const uint32_t size[3])
{
    uint32_t width = groups[0] * size[0], height = groups[1] * size[1], depth = groups[2] * size[2];

    for (uint32_t z = 0; z < depth; z++)
        for (uint32_t y = 0; y < height; y++)
            for (uint32_t x = 0; x < width; x++) {
                uint64_t got = *out++ & UINT64_C(0xffffffffffff);
                uint64_t expected = x / size[0] | (uint64_t)(y / size[1]) << 8 |
                                    (uint64_t)(z / size[2]) << 16 | (uint64_t)(x % size[0]) << 24 |
                                    (uint64_t)(y % size[1]) << 32 | (uint64_t)(z % size[2]) << 40;

                cr_assert_eq(got, expected, "(%u, %u, %u): 0x%lx", x, y, z, (unsigned long)got);
            }
}

Test(kernels, one_to_three_dimensions)
{
    static const uint32_t shapes[][2][3] = {
        { { 7, 1, 1 }, { 5, 1, 1 } }, { { 3, 5, 1 }, { 4, 2, 1 } }, { { 2, 3, 4 }, { 3, 2, 2 } },
        { { 1, 1, 1 }, { 1, 1, 1 } }, { { 1, 1, 9 }, { 1, 1, 8 } }, { { 255, 1, 2 }, { 16, 1, 1 } },
    };
    xpurt_kernel *kernel = kernel_of(module_new(), "places");
    static uint64_t out[16384];
    void *memory = device_new(sizeof(out));
    const xpurt_arg args[] = { xpurt_arg_pointer(memory) };

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        test_ok(xpurt_launch_kernel(kernel, shapes[i][0], shapes[i][1], args, 1, stream));
        test_ok(xpurt_memcpy_async(out, memory, sizeof(out), stream));
        check_places(out, shapes[i][0], shapes[i][1]);
    }
}

Test(kernels, local_memory)
{
    xpurt_kernel *kernel = kernel_of(module_new(), "reduce");
    int values[COUNT], sums[COUNT / 128], sum = 0, expected = 0;
    void *device_values = device_new(sizeof(values)), *device_sums = device_new(sizeof(sums));
    uint32_t count = COUNT - 100;
    const xpurt_arg args[] = { xpurt_arg_pointer(device_values),
                               xpurt_arg_bytes(&count, sizeof(count)),
                               xpurt_arg_pointer(device_sums), xpurt_arg_local(128 * sizeof(int)) };

    for (unsigned i = 0; i < COUNT; i++) {
        values[i] = (int)(i * 7919 % 1000) - 500;
        expected += i < count ? values[i] : 0;
    }
    test_ok(xpurt_memcpy_async(device_values, values, sizeof(values), stream));
    launch(kernel, COUNT / 128, 128, args, 4);
    test_ok(xpurt_memcpy_async(sums, device_sums, sizeof(sums), stream));
    for (unsigned i = 0; i < COUNT / 128; i++)
        sum += sums[i];
    cr_assert_eq(sum, expected);
}

struct mixed {
    char letter;
    short small;
    float vector[4] __attribute__((aligned(16)));
    uint64_t large;
} __attribute__((aligned(16)));

struct __attribute__((packed)) tight {
    char letter;
    uint32_t number;
    uint16_t words[3];
};

Test(kernels, values_of_every_kind)
{
    xpurt_kernel *kernel = kernel_of(module_new(), "values");
    static const double expected[] = { 200, 60000, 1e15, -2.5, 321, 105, 71, 99, 70007, 13, -44 };
    const struct mixed mixed = { 5, 100, { 1, 2, 3, 7 }, 99 };
    const struct tight tight = { 7, 70000, { 11, 12, 13 } };
    const float three[4] = { 1, 2, 3, 0 };
    const uint8_t byte = 200;
    const uint16_t word = 60000;
    const uint64_t big = 1000000000000000;
    const double real = -2.5;
    const int table[2] = { 33, -44 };
    void *device_table = device_new(sizeof(table)), *out = device_new(sizeof(expected));
    const xpurt_arg args[] = {
        xpurt_arg_bytes(&byte, sizeof(byte)),
        xpurt_arg_bytes(&word, sizeof(word)),
        xpurt_arg_bytes(&big, sizeof(big)),
        xpurt_arg_bytes(&real, sizeof(real)),
        xpurt_arg_bytes(three, sizeof(three)),
        xpurt_arg_bytes(&mixed, sizeof(mixed)),
        xpurt_arg_bytes(&tight, sizeof(tight)),
        xpurt_arg_pointer(device_table),
        xpurt_arg_pointer(out),
    };
    double got[sizeof(expected) / sizeof(expected[0])];

    test_ok(xpurt_memcpy_async(device_table, table, sizeof(table), stream));
    launch(kernel, 1, 2, args, 9);
    test_ok(xpurt_memcpy_async(got, out, sizeof(got), stream));
    for (size_t i = 0; i < sizeof(got) / sizeof(got[0]); i++)
        cr_assert_eq(got[i], expected[i], "%zu: %g instead of %g", i, got[i], expected[i]);
}

/* An address inside an allocation is one, and null is null. */
Test(kernels, null_and_interior_pointers)
{
    xpurt_module *module = module_new();
    xpurt_kernel *is_null = kernel_of(module, "is_null"), *nothing = kernel_of(module, "nothing");
    int *memory = device_new(4096), got[2];

    launch(is_null, 1, 1, (xpurt_arg[]){ xpurt_arg_pointer(NULL), xpurt_arg_pointer(memory) }, 2);
    launch(is_null, 1, 1,
           (xpurt_arg[]){ xpurt_arg_pointer(memory + 1023), xpurt_arg_pointer(memory + 1) }, 2);
    launch(nothing, 3, 4, NULL, 0);
    test_ok(xpurt_memcpy_async(got, memory, sizeof(got), stream));
    cr_assert_eq(got[0], 1);
    cr_assert_eq(got[1], 0);
}

/* ---- what is said about kernels -------------------------------------------------------------- */

Test(kernels, names_and_attributes)
{
    xpurt_module *module = module_new();
    xpurt_kernel_attributes attributes;
    xpurt_kernel *kernel, *again;
    const char *names[32];
    size_t count = 0, size;
    xpurt_arg_kind kind;

    test_ok(xpurt_module_get_kernel_names(module, 0, NULL, &count));
    cr_assert_eq(count, 9);
    test_ok(xpurt_module_get_kernel_names(module, 32, names, &count));
    cr_assert_str_eq(names[0], "saxpy");

    kernel = kernel_of(module, "values");
    test_ok(xpurt_kernel_get_attributes(kernel, &attributes));
    cr_assert_eq(attributes.argument_count, 9);
    cr_assert_eq(attributes.required_group_size[0], 2);
    cr_assert_eq(attributes.required_group_size[2], 1);
    cr_assert_gt(attributes.max_group_size, 0);
    test_ok(xpurt_kernel_get_argument(kernel, 5, &kind, &size));
    cr_assert(kind == XPURT_ARG_BYTES && size == sizeof(struct mixed), "%zu", size);
    test_ok(xpurt_kernel_get_argument(kernel, 6, &kind, &size));
    cr_assert(kind == XPURT_ARG_BYTES && size == sizeof(struct tight), "%zu", size);
    test_ok(xpurt_kernel_get_argument(kernel, 7, &kind, &size));
    cr_assert(kind == XPURT_ARG_POINTER && size == 8, "%zu", size);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_kernel_get_argument(kernel, 9, &kind, &size));
    test_ok(xpurt_kernel_get(module, "values", &again));
    cr_assert_eq(kernel, again);

    kernel = kernel_of(module, "reduce");
    test_ok(xpurt_kernel_get_argument(kernel, 3, &kind, &size));
    cr_assert(kind == XPURT_ARG_LOCAL && size == 0);

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_kernel_get(module, "sax", &kernel));
    cr_assert(strstr(xpurt_last_error(), "saxpy"), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_UNSUPPORTED, xpurt_kernel_get(module, "image", &kernel));
    cr_assert(strstr(xpurt_last_error(), "image"), "%s", xpurt_last_error());
}

Test(kernels, a_suggested_group_size_divides)
{
    static const uint32_t sizes[][3] = { { 4096, 1, 1 }, { 1000, 30, 1 }, { 7, 11, 13 } };
    xpurt_module *module = module_new();
    xpurt_kernel *kernel = kernel_of(module, "places");
    uint32_t group[3];

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        test_ok(xpurt_kernel_suggest_group_size(kernel, sizes[i], group));
        for (unsigned k = 0; k < 3; k++)
            cr_assert(group[k] && sizes[i][k] % group[k] == 0, "%u in %u", group[k], sizes[i][k]);
    }
    test_ok(xpurt_kernel_suggest_group_size(kernel_of(module, "values"), (uint32_t[]){ 8, 1, 1 },
                                            group));
    cr_assert_eq(group[0], 2, "what it requires");
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_kernel_suggest_group_size(kernel, (uint32_t[]){ 8, 0, 1 }, group));
}

/* ---- mistakes -------------------------------------------------------------------------------- */

static void expect_refused(xpurt_result result, xpurt_kernel *kernel, const uint32_t groups[3],
                           const uint32_t size[3], const xpurt_arg *args, size_t n_args)
{
    test_expect(result, xpurt_launch_kernel(kernel, groups, size, args, n_args, stream));
}

Test(kernels, a_wrong_launch_costs_a_return_code_and_not_the_stream)
{
    static const uint32_t one[3] = { 1, 1, 1 }, two[3] = { 2, 1, 1 };
    xpurt_module *module = module_new();
    xpurt_kernel *saxpy = kernel_of(module, "saxpy"), *values = kernel_of(module, "values"),
                 *scratch = kernel_of(module, "scratch");
    xpurt_device_properties properties;
    xpurt_kernel_attributes attributes;
    char *memory = device_new(4096), *freed = device_new(4096);
    float a = 1;
    xpurt_arg args[] = { xpurt_arg_bytes(&a, 4), xpurt_arg_pointer(memory),
                         xpurt_arg_pointer(memory + 2048), xpurt_arg_pointer(NULL) };
    xpurt_arg wrong[3];
    xpurt_stream *elsewhere;
    void *pinned;

    test_ok(xpurt_device_get_properties(0, &properties));
    test_ok(xpurt_kernel_get_attributes(saxpy, &attributes));
    test_ok(xpurt_host_malloc(&pinned, 4096));
    test_ok(xpurt_free(freed));

    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, args, 2);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, args, 4);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, NULL, 3);
    for (int i = 0; i < 3; i++) {       /* zeros, sizes too large */
        uint32_t none[3] = { 1, 1, 1 }, large[3] = { 1, 1, 1 };

        none[i] = 0;
        large[i] = attributes.max_group_size + 1;
        expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, none, one, args, 3);
        expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, none, args, 3);
        expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, large, args, 3);
        large[i] = UINT32_MAX;
        expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, large, args, 3);
    }
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one,
                   (uint32_t[]){ UINT32_MAX, UINT32_MAX, UINT32_MAX }, args, 3);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, values, one, one, args, 3);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, values, one, two, args, 3);

    memcpy(wrong, args, sizeof(wrong)); /* kinds */
    wrong[0] = args[1];
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);
    wrong[0] = xpurt_arg_local(4);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);
    wrong[0] = args[0];
    wrong[1] = xpurt_arg_bytes(&memory, sizeof(memory)); /* an address that nobody would check */
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);
    wrong[1].kind = (xpurt_arg_kind)77;
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);

    wrong[1] = args[1];                 /* sizes */
    wrong[0] = xpurt_arg_bytes(&a, 8);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);
    wrong[0] = xpurt_arg_bytes(NULL, 4);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, saxpy, one, one, wrong, 3);

    wrong[0] = args[0];                 /* addresses */
    for (int i = 0; i < 4; i++) {
        const void *const addresses[] = { &a, pinned, freed, memory + 4096 };

        wrong[1] = xpurt_arg_pointer(addresses[i]);
        expect_refused(XPURT_ERROR_INVALID_ADDRESS, saxpy, one, one, wrong, 3);
    }

    wrong[0] = wrong[1] = xpurt_arg_local(properties.local_memory / 2 + 1);
    wrong[2] = xpurt_arg_pointer(memory);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, scratch, one, one, wrong, 3);
    wrong[0] = xpurt_arg_local(0);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, scratch, one, one, wrong, 3);
    wrong[0] = xpurt_arg_local(SIZE_MAX);
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, scratch, one, one, wrong, 3);

    test_ok(xpurt_stream_create_with_priority(1, 0, &elsewhere));
    test_expect(XPURT_ERROR_INVALID_DEVICE,
                xpurt_launch_kernel(saxpy, one, one, args, 3, elsewhere));
    expect_refused(XPURT_ERROR_INVALID_ARGUMENT, NULL, one, one, args, 3);
    expect_refused(XPURT_ERROR_INVALID_HANDLE, (xpurt_kernel *)&a, one, one, args, 3);

    launch(saxpy, 1, 1, args, 3);       /* it goes on */
    test_ok(xpurt_stream_synchronize(stream));
}

Test(kernels, ended_objects)
{
    xpurt_module *module = module_new(), *other = module_new();
    xpurt_kernel *kernel = kernel_of(module, "nothing"), *still = kernel_of(other, "nothing");
    static const uint32_t one[3] = { 1, 1, 1 };
    size_t count;

    test_ok(xpurt_module_unload(module));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_launch_kernel(kernel, one, one, NULL, 0, stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_module_unload(module));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_kernel_get(module, "nothing", &kernel));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_module_get_kernel_names(module, 0, NULL, &count));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_module_unload((xpurt_module *)&count));
    test_ok(xpurt_module_unload(NULL));
    launch(still, 1, 1, NULL, 0);
    test_ok(xpurt_stream_synchronize(stream));

    test_ok(xpurt_reset());
    test_ok(xpurt_stream_create(&stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_launch_kernel(still, one, one, NULL, 0, stream));
    test_ok(xpurt_module_unload(other));
}

Test(kernels, a_fork_loads_its_own)
{
    xpurt_module *module = module_new();
    xpurt_kernel *kernel = kernel_of(module, "nothing");
    static const uint32_t one[3] = { 1, 1, 1 };
    int status;
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        xpurt_kernel *inherited = kernel;

        stream = NULL;
        test_ok(xpurt_stream_create(&stream));
        test_expect(XPURT_ERROR_FORKED, xpurt_launch_kernel(inherited, one, one, NULL, 0, stream));
        test_ok(xpurt_module_unload(module));
        launch(kernel_of(module_new(), "nothing"), 1, 1, NULL, 0);
        test_ok(xpurt_stream_synchronize(stream));
        _exit(0);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    launch(kernel, 1, 1, NULL, 0);
    test_ok(xpurt_stream_synchronize(stream));
}

/* ---- modules --------------------------------------------------------------------------------- */

static void expect_build_failure(const void *bytes, size_t size)
{
    xpurt_module *module = NULL;
    char log[2000] = "untouched";
    size_t log_size = 0;

    test_expect(
        XPURT_ERROR_BUILD_FAILED,
        xpurt_module_load_with_log(0, bytes, size, NULL, sizeof(log), log, &log_size, &module));
    cr_assert_null(module);
    cr_assert(xpurt_last_error()[0]);
    cr_assert(size % 4 || log[0], "no log");
}

Test(kernels, what_is_not_spirv_is_refused_with_a_reason)
{
    xpurt_module *module = module_new();
    unsigned char *copy = malloc(spirv_size);

    expect_build_failure("not SPIR-V at all", 16);
    expect_build_failure(spirv, 4);
    expect_build_failure(spirv, 20);
    expect_build_failure(spirv, spirv_size / 2 / 4 * 4);
    expect_build_failure(spirv, spirv_size - 1);
    expect_build_failure(spirv, spirv_size - 4);
    memcpy(copy, spirv, spirv_size);
    memset(copy + spirv_size / 2, 0xff, 64);
    expect_build_failure(copy, spirv_size);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_module_load(0, spirv, 0, NULL, &module));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_module_load(0, NULL, 8, NULL, &module));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_module_load(77, spirv, 8, NULL, &module));
    launch(kernel_of(module, "nothing"), 1, 1, NULL, 0);
    test_ok(xpurt_stream_synchronize(stream));
    free(copy);
}

/* The log is cut to what there is room for, and says how long it is. */
Test(kernels, a_log_that_does_not_fit)
{
    xpurt_module *module = module_new();
    char whole[4000], part[6] = "xxxxx";
    size_t whole_size, part_size;

    test_expect(
        XPURT_ERROR_BUILD_FAILED,
        xpurt_module_load_with_log(0, spirv, 24, NULL, sizeof(whole), whole, &whole_size, &module));
    cr_assert_eq(strlen(whole), whole_size);
    cr_assert_gt(whole_size, sizeof(part));
    test_expect(
        XPURT_ERROR_BUILD_FAILED,
        xpurt_module_load_with_log(0, spirv, 24, NULL, sizeof(part), part, &part_size, &module));
    cr_assert_eq(part_size, whole_size);
    cr_assert(strlen(part) == 5 && strncmp(part, whole, 5) == 0, "%s", part);
}

Test(kernels, the_same_module_is_built_once)
{
    xpurt_module *first = module_new(), *second, *other, *elsewhere, *mixed;
    uint64_t builds = test_daemon_counter("builds");

    cr_assert_eq(builds, 1);
    test_ok(xpurt_module_load(0, spirv, spirv_size, "", &second));
    cr_assert_eq(test_daemon_counter("builds"), 1);
    test_ok(xpurt_module_load(1, spirv, spirv_size, NULL, &elsewhere));
    cr_assert_eq(test_daemon_counter("builds"), 2, "another device");
    test_ok(xpurt_module_load(0, spirv, spirv_size, "-ze-opt-level=2", &other));
    cr_assert_eq(test_daemon_counter("builds"), 3, "other options");

    cr_assert_eq(test_daemon_counter("user-modules"), 4);
    test_ok(xpurt_module_unload(first));
    test_ok(xpurt_module_unload(second));
    test_ok(xpurt_module_unload(other));
    test_ok(xpurt_module_unload(elsewhere));
    cr_assert_eq(test_daemon_counter("user-modules"), 0);
    cr_assert_eq(test_daemon_counter("user-module-memory"), 0);

    test_ok(xpurt_module_load(0, spirv, spirv_size, NULL, &mixed));
    cr_assert_eq(test_daemon_counter("builds"), 3, "it was kept for a while");
    launch(kernel_of(mixed, "nothing"), 1, 1, NULL, 0);
    test_ok(xpurt_stream_synchronize(stream));
}

/* ---- order ----------------------------------------------------------------------------------- */

/* A chain through three streams: each launch sees the one before. */
Test(kernels, streams_ordered_by_events)
{
    xpurt_kernel *kernel = kernel_of(module_new(), "increment");
    uint32_t *memory = device_new(256 * sizeof(uint32_t)), got[256];
    const xpurt_arg args[] = { xpurt_arg_pointer(memory) };
    static const uint32_t groups[3] = { 4, 1, 1 }, size[3] = { 64, 1, 1 };
    xpurt_stream *streams[3];
    xpurt_event *event;

    test_ok(xpurt_event_create(0, &event));
    for (int i = 0; i < 3; i++)
        test_ok(xpurt_stream_create(&streams[i]));
    test_ok(xpurt_memset_d32_async(memory, 1000, 256, streams[0]));
    for (int i = 0; i < 300; i++) {
        test_ok(xpurt_launch_kernel(kernel, groups, size, args, 1, streams[i % 3]));
        test_ok(xpurt_event_record(event, streams[i % 3]));
        test_ok(xpurt_stream_wait_event(streams[(i + 1) % 3], event));
    }
    test_ok(xpurt_memcpy_async(got, memory, sizeof(got), streams[0]));
    for (int i = 0; i < 256; i++)
        cr_assert_eq(got[i], 1300);
}

/* More than fits into one frame, collected. */
Test(kernels, a_batch_of_launches)
{
    xpurt_kernel *kernel = kernel_of(module_new(), "increment");
    uint32_t *memory = device_new(64 * sizeof(uint32_t)), got[64];
    const xpurt_arg args[] = { xpurt_arg_pointer(memory) };

    test_ok(xpurt_memset_d32_async(memory, 0, 64, stream));
    test_ok(xpurt_batch_begin());
    for (int i = 0; i < 2000; i++)
        launch(kernel, 1, 64, args, 1);
    test_ok(xpurt_batch_end());
    test_ok(xpurt_memcpy_async(got, memory, sizeof(got), stream));
    cr_assert_eq(got[63], 2000);
}

/* Kernels that are captured, run again, and given other memory; the module is unloaded before. */
Test(kernels, graphs_of_launches)
{
    xpurt_module *module = module_new();
    xpurt_kernel *kernel = kernel_of(module, "saxpy"), *increment = kernel_of(module, "increment");
    float x[COUNT], y[COUNT], a = 2;
    unsigned char *memory = device_new(4 * sizeof(x)), *other = memory + 2 * sizeof(x);
    unsigned *counts = device_new(64 * sizeof(*counts)), *pinned;
    const xpurt_arg args[] = { xpurt_arg_bytes(&a, sizeof(a)), xpurt_arg_pointer(memory),
                               xpurt_arg_pointer(memory + sizeof(x)) };
    const xpurt_arg count = xpurt_arg_pointer(counts);
    xpurt_graph *graph;
    size_t uses = 0;

    for (unsigned i = 0; i < COUNT; i++)
        x[i] = y[i] = (float)i;
    test_ok(xpurt_host_malloc((void **)&pinned, 64 * sizeof(*pinned)));
    for (unsigned i = 0; i < 2; i++) {
        test_ok(xpurt_memcpy_async(memory + 2 * i * sizeof(x), x, sizeof(x), stream));
        test_ok(xpurt_memcpy_async(memory + (2 * i + 1) * sizeof(x), y, sizeof(y), stream));
    }
    test_ok(xpurt_memset_async(counts, 0, 64 * sizeof(*counts), stream));

    test_ok(xpurt_graph_begin(stream));
    launch(kernel, COUNT / 64, 64, args, 3);
    for (unsigned i = 0; i < 62; i++)
        launch(increment, 1, 64, &count, 1);
    test_ok(xpurt_memcpy_async(pinned, counts, 64 * sizeof(*counts), stream));
    test_ok(xpurt_graph_end(stream, &graph));
    test_ok(xpurt_module_unload(module));
    a = -1;                             /* was copied */
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_graph_replace(graph, memory, other, 2 * sizeof(x), &uses));
    cr_assert_eq(uses, 2);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, /* kernels take device memory only */
                xpurt_graph_replace(graph, counts, pinned, 64 * sizeof(*counts), &uses));
    test_ok(xpurt_graph_launch(graph, stream));
    test_ok(xpurt_memcpy_async(x, memory + sizeof(x), sizeof(x), stream));
    test_ok(xpurt_memcpy_async(y, other + sizeof(x), sizeof(y), stream));
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert(x[i] == 5 * (float)i && y[i] == 3 * (float)i, "%u: %g, %g", i, (double)x[i],
                  (double)y[i]);
    cr_assert(pinned[0] == 3 * 62 && pinned[63] == 3 * 62, "%u", pinned[0]);
    test_ok(xpurt_graph_destroy(graph));
}

/* Launches take more memory in the daemon than other commands, and are charged for it. */
Test(kernels, graphs_of_large_launches)
{
    enum { LAUNCHES = 50, BYTES_LEAST = 9 * 32 };
    xpurt_kernel *kernel = kernel_of(module_new(), "values");
    static const unsigned char bytes[sizeof(struct mixed)];
    static const size_t sizes[] = { 1, 2, 8, 8, 16, sizeof(struct mixed), sizeof(struct tight) };
    void *memory = device_new(4096), *other = device_new(4096);
    const unsigned long long least = 1 + LAUNCHES * (1 + BYTES_LEAST / 256);
    unsigned long long charged;
    xpurt_graph *graph;
    xpurt_arg args[9];

    for (unsigned i = 0; i < 7; i++)
        args[i] = xpurt_arg_bytes(bytes, sizes[i]);
    args[7] = args[8] = xpurt_arg_pointer(memory);
    test_ok(xpurt_graph_begin(stream));
    for (unsigned i = 0; i < LAUNCHES; i++)
        launch(kernel, 1, 2, args, 9);
    test_ok(xpurt_graph_end(stream, &graph));
    charged = test_daemon_counter("user-graph-commands");
    cr_assert_geq(charged, least);
    test_ok(xpurt_graph_replace(graph, memory, other, 4096, NULL));
    test_daemon_await_counter("user-graph-commands", charged);
    test_ok(xpurt_graph_destroy(graph));
    test_daemon_await_counter("user-graph-commands", 0);
}

/* What a launch was given lives until it is done, whatever becomes of it meanwhile. */
Test(kernels, memory_and_module_are_held, .init = spirv_read)
{
    uint32_t *memory, *pinned;
    xpurt_module *module;
    void *other;

    test_daemon_start_gated(&xpurtd);
    module = module_new();
    memory = device_new(4096);
    test_ok(xpurt_host_malloc((void **)&pinned, 4096));
    test_ok(xpurt_memset_d32_async(memory, 41, 1024, stream)); /* not before the gate opens */
    launch(kernel_of(module, "increment"), 16, 64, (xpurt_arg[]){ xpurt_arg_pointer(memory) }, 1);
    test_ok(xpurt_memcpy_async(pinned, memory, 4096, stream));
    test_ok(xpurt_free(memory));
    test_ok(xpurt_module_unload(module));
    cr_assert_gt(test_daemon_counter("user-module-memory"), 0);
    test_ok(xpurt_malloc(&other, 4096));
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(pinned[1023], 42);
    test_daemon_await_counter("user-module-memory", 0);
}

/* ---- processes ------------------------------------------------------------------------------- */

struct handles {
    xpurt_mem_handle memory;
    xpurt_event_handle there, back;
};

/* Doubles what the other process has put there, in stream order, on its own module. */
static void partner(int channel, void *data)
{
    struct handles handles;
    xpurt_event *there, *back;
    void *memory;
    float a = 1;

    (void)data;
    stream = NULL;
    test_receive(channel, &handles, sizeof(handles));
    test_ok(xpurt_mem_open_ipc_handle(&handles.memory, &memory));
    test_ok(xpurt_event_open_ipc_handle(&handles.there, &there));
    test_ok(xpurt_event_open_ipc_handle(&handles.back, &back));
    {
        xpurt_kernel *kernel = kernel_of(module_new(), "saxpy");
        float *x = device_new(COUNT * sizeof(float));

        test_ok(xpurt_stream_wait_event(stream, there));
        test_ok(xpurt_memcpy_async(x, memory, COUNT * sizeof(float), stream));
        launch(kernel, COUNT / 64, 64,
               (xpurt_arg[]){ xpurt_arg_bytes(&a, 4), xpurt_arg_pointer(x),
                              xpurt_arg_pointer(memory) },
               3);
        test_ok(xpurt_event_record(back, stream));
    }
    test_pass(channel);
    test_await(channel);                /* stay until the other side has looked */
}

Test(kernels, two_processes_share_module_and_memory)
{
    float got[COUNT], bits;
    uint32_t pattern;
    struct handles handles;
    struct test_peer peer;
    xpurt_event *there, *back;
    void *memory;

    test_peer_start(&peer, partner, NULL);
    (void)module_new();
    memory = device_new(sizeof(got));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &there));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &back));
    bits = 1.5f;
    memcpy(&pattern, &bits, sizeof(pattern));
    test_ok(xpurt_memset_d32_async(memory, pattern, COUNT, stream));
    test_ok(xpurt_event_record(there, stream));
    test_ok(xpurt_mem_get_ipc_handle(memory, &handles.memory));
    test_ok(xpurt_event_get_ipc_handle(there, &handles.there));
    test_ok(xpurt_event_get_ipc_handle(back, &handles.back));
    test_send(peer.channel, &handles, sizeof(handles));
    test_await(peer.channel);
    test_ok(xpurt_stream_wait_event(stream, back));
    test_ok(xpurt_memcpy_async(got, memory, sizeof(got), stream));
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(got[i], 3.0f);
    cr_assert_eq(test_daemon_counter("builds"), 1, "built once for both");
    cr_assert_eq(test_daemon_counter("user-modules"), 2);
    test_pass(peer.channel);
    test_peer_join(&peer);
    test_daemon_await_counter("user-modules", 1);
}

/* A driver that cannot give out native code. */
Test(kernels, no_native_binary, .init = spirv_read)
{
    xpurt_module *module;
    xpurt_result result;

    setenv("ZE_SOFT_FAULT", "call:zeModuleGetNativeBinary:/1:UNSUPPORTED_FEATURE", 1);
    test_daemon_start(&xpurtd, NULL);
    result = xpurt_module_load(0, spirv, spirv_size, NULL, &module);
    cr_assert_eq(result, XPURT_ERROR_UNSUPPORTED);
    cr_assert(strstr(xpurt_last_error(), "zeModule"), "%s", xpurt_last_error());
}
