/* SPDX-License-Identifier: MIT */
/* tests/system/modules.c: hostile module messages, hostile compilers, deaths during builds, limits. */
#include "tests/system/scene.h"

#include <xpurt/module.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define MEMORY 65536u
#define BOUND_MS 30000

static uint8_t spirv[1 << 20];
static size_t spirv_size;

static void spirv_read(void)
{
    FILE *file = fopen(KERNELS_SPV, "re");

    cr_assert_not_null(file);
    spirv_size = fread(spirv, 1, sizeof(spirv), file);
    fclose(file);
}

TestSuite(modules, .init = spirv_read, .timeout = 300);

/* ---- asking ---------------------------------------------------------------------------------- */

static int file_of(const void *bytes, size_t size, int seals)
{
    int fd = memfd_create("test-spirv", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    test_require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "memfd: %s", strerror(errno));
    test_require(!seals || fcntl(fd, F_ADD_SEALS, seals) == 0, "seals: %s", strerror(errno));
    return fd;
}

/* Ask for a module that is in @p fds. */
static void load_send(struct raw *raw, uint32_t device, const char *options, const int *fds,
                      unsigned n_fds)
{
    Xpurt__ModuleLoad load = XPURT__MODULE_LOAD__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MODULE_LOAD), .module_load = &load };
    uint8_t frame[FRAME_HEADER_SIZE + 8192];
    struct frame_header header = { .fds = (uint16_t)n_fds };

    load.device = device;
    load.options = (char *)options;
    request.serial = ++raw->serial;
    header.length = (uint32_t)xpurt__to_daemon__get_packed_size(&request);
    test_require(header.length <= 8192, "too long");
    frame_header_write(frame, &header);
    xpurt__to_daemon__pack(&request, frame + FRAME_HEADER_SIZE);
    if (n_fds)
        test_require(raw_send_fds(raw, frame, FRAME_HEADER_SIZE + header.length, fds, n_fds) == 0,
                     "the daemon hung up");
    else
        (void)raw_send(raw, frame, FRAME_HEADER_SIZE + header.length);
}

/* The answer: its code. */
static xpurt_result load_result(struct raw *raw, uint32_t *ret_module)
{
    const Xpurt__ModuleLoaded *loaded;

    do
        test_require(raw_receive(raw, BOUND_MS) == RAW_FRAME, "no answer: %s", raw->text);
    while (!raw->reply->serial);
    if (raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR)
        return raw->error;
    test_require(raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_MODULE_LOADED &&
                     raw->fds.count == 1,
                 "another answer");
    loaded = raw->reply->module_loaded;
    if (loaded->code)
        snprintf(raw->text, sizeof(raw->text), "%s", loaded->text);
    else if (ret_module)
        *ret_module = loaded->module;
    return (xpurt_result)loaded->code;
}

static xpurt_result load_file(struct raw *raw, uint32_t device, const char *options, int fd)
{
    load_send(raw, device, options, &fd, 1);
    close(fd);
    return load_result(raw, NULL);
}

/* The module of the tests, in a variant that no cache has. */
static void load_start(struct raw *raw, const char *options)
{
    int fd = file_of(spirv, spirv_size, ALL_SEALS);

    load_send(raw, 0, options, &fd, 1);
    close(fd);
}

static uint32_t load(struct raw *raw)
{
    uint32_t module = 0;

    load_start(raw, "");
    test_require(load_result(raw, &module) == XPURT_SUCCESS, "%s", raw->text);
    return module;
}

/* Whether the software device runs kernels here. */
static bool runs_kernels(void)
{
    static struct scene scene;
    xpurt_result result;

    scene_begin(&scene, NULL);
    load_start(&scene.watcher, "");
    result = load_result(&scene.watcher, NULL);
    scene_end(&scene);
    return result != XPURT_ERROR_UNSUPPORTED;
}

#define REQUIRE_KERNELS() \
    do { \
        if (!runs_kernels()) \
            cr_skip_test("no OpenCL runtime for CPUs"); \
    } while (0)

/* ---- files that are no modules --------------------------------------------------------------- */

static void wrong_files(struct scene *scene)
{
    char long_options[4200];
    struct raw raw;
    int fds[2];

    raw_open(&raw, scene->daemon.socket);
    test_require(load_file(&raw, 0, "", file_of(spirv, spirv_size, 0)) ==
                     XPURT_ERROR_INVALID_ARGUMENT,
                 "a file that the client can still change");
    test_require(load_file(&raw, 0, "", file_of(spirv, spirv_size, F_SEAL_WRITE)) ==
                     XPURT_ERROR_INVALID_ARGUMENT,
                 "a file that the client can still cut");
    test_require(load_file(&raw, 0, "", open("/dev/zero", O_RDONLY)) ==
                     XPURT_ERROR_INVALID_ARGUMENT,
                 "a device");
    test_require(pipe(fds) == 0, "pipe");
    test_require(load_file(&raw, 0, "", fds[0]) == XPURT_ERROR_INVALID_ARGUMENT, "a pipe");
    close(fds[1]);
    test_require(load_file(&raw, 0, "", open("/proc/self/exe", O_RDONLY)) ==
                     XPURT_ERROR_INVALID_ARGUMENT,
                 "a file of somebody");
    test_require(load_file(&raw, 0, "", file_of("", 0, ALL_SEALS)) == XPURT_ERROR_BUILD_FAILED,
                 "an empty file");
    test_require(load_file(&raw, 0, "", file_of("12345", 5, ALL_SEALS)) == XPURT_ERROR_BUILD_FAILED,
                 "five bytes");
    test_require(load_file(&raw, 77, "", file_of(spirv, spirv_size, ALL_SEALS)) ==
                     XPURT_ERROR_INVALID_DEVICE,
                 "no such device");
    memset(long_options, 'x', sizeof(long_options) - 1);
    long_options[sizeof(long_options) - 1] = '\0';
    test_require(load_file(&raw, 0, long_options, file_of(spirv, spirv_size, ALL_SEALS)) ==
                     XPURT_ERROR_INVALID_ARGUMENT,
                 "options without end");
    test_require(load_file(&raw, 0, "", file_of(spirv, 64, ALL_SEALS)) == XPURT_ERROR_BUILD_FAILED,
                 "the beginning of a module");
    raw_close(&raw);
}

Test(modules, wrong_files)
{
    scene_play(wrong_files, 5);
}

/* None, or two: the protocol says one. */
static void wrong_number_of_files(struct scene *scene)
{
    for (unsigned n = 0; n <= 2; n += 2) {
        int fds[2] = { file_of(spirv, spirv_size, ALL_SEALS),
                       file_of(spirv, spirv_size, ALL_SEALS) };
        struct raw raw;

        raw_open(&raw, scene->daemon.socket);
        load_send(&raw, 0, "", fds, n);
        test_require(raw_closed(&raw), "the daemon goes on");
        test_require(raw.error == XPURT_ERROR_PROTOCOL, "%s", raw.text);
        raw_close(&raw);
        close(fds[0]);
        close(fds[1]);
    }
}

Test(modules, wrong_number_of_files)
{
    scene_play(wrong_number_of_files, 5);
}

/* ---- launches -------------------------------------------------------------------------------- */

enum { SAXPY = 0, REDUCE = 2, SCRATCH = 7, IMAGE = 8 };

/* A launch that is right, to be spoilt. */
struct sent {
    Xpurt__Launch launch;
    Xpurt__Extent groups, size;
    Xpurt__Argument arguments[300], *pointers[300];
    float a;
};

static void sent_make(struct sent *sent, uint32_t module, uint64_t memory)
{
    memset(sent, 0, sizeof(*sent));
    xpurt__launch__init(&sent->launch);
    xpurt__extent__init(&sent->groups);
    sent->groups.x = sent->groups.y = sent->groups.z = 1;
    sent->size = sent->groups;
    for (int i = 0; i < 300; i++) {
        xpurt__argument__init(&sent->arguments[i]);
        sent->arguments[i].value_case = XPURT__ARGUMENT__VALUE_ADDRESS;
        sent->arguments[i].address = memory;
        sent->pointers[i] = &sent->arguments[i];
    }
    sent->arguments[0].value_case = XPURT__ARGUMENT__VALUE_BYTES;
    sent->arguments[0].bytes = (ProtobufCBinaryData){ 4, (uint8_t *)&sent->a };
    sent->launch.module = module;
    sent->launch.kernel = SAXPY;
    sent->launch.groups = &sent->groups;
    sent->launch.group_size = &sent->size;
    sent->launch.n_arguments = 3;
    sent->launch.arguments = sent->pointers;
}

static void sent_send(struct raw *raw, struct sent *sent)
{
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(LAUNCH), .launch = &sent->launch });
}

/* Stream 0 again, without the error of the last one. */
static void stream_begin(struct raw *raw)
{
    raw_stream_create(raw, 0, 0);
    raw_settle(raw);
}

static void stream_end(struct raw *raw)
{
    raw_stream_destroy(raw, 0);
    raw_settle(raw);
    while (atomic_load(&raw->progress->timelines[0].state) != 0)
        scene_sleep_ms(1);
}

/* What one spoilt launch gives: the status of its stream. The next stream works. */
static void expect_failed(struct raw *raw, struct sent *sent, xpurt_result expected,
                          const char *what)
{
    stream_begin(raw);
    sent_send(raw, sent);
    raw_record(raw, 0);
    test_require(raw_finish(raw, 0) == expected, "%s: status %d: %s", what, (int)raw_status(raw, 0),
                 raw->text);
    raw_settle(raw);
    test_require(expected == XPURT_SUCCESS || raw->error == expected, "%s: %s", what, raw->text);
    stream_end(raw);
}

static void spoil_sizes(struct raw *raw, uint32_t module, uint64_t memory)
{
    static struct sent sent;
    uint32_t *const parts[] = { &sent.groups.x, &sent.groups.y, &sent.groups.z,
                                &sent.size.x,   &sent.size.y,   &sent.size.z };

    for (int i = 0; i < 6; i++) {
        sent_make(&sent, module, memory);
        *parts[i] = 0;
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "zero");
        *parts[i] = UINT32_MAX;
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "huge");
    }
    sent_make(&sent, module, memory);
    sent.size.x = sent.size.y = sent.size.z = 1024;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "a huge group");
    sent_make(&sent, module, memory);
    sent.groups.x = sent.groups.y = sent.groups.z = INT32_MAX;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "huge groups");
    sent.launch.groups = NULL;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "no groups");
    sent_make(&sent, module, memory);
    sent.launch.group_size = NULL;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "no group size");
}

static void spoil_arguments(struct raw *raw, uint32_t module, uint64_t memory)
{
    static const uint8_t bytes[9000];
    static struct sent sent;

    for (size_t n = 0; n < 300; n = n < 5 ? n + 1 : n + 98) {
        sent_make(&sent, module, memory);
        sent.launch.n_arguments = n;
        if (n != 3)
            expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "another count");
    }
    sent_make(&sent, module, memory);
    sent.arguments[1].value_case = XPURT__ARGUMENT__VALUE__NOT_SET;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "nothing");
    sent.arguments[1].value_case = XPURT__ARGUMENT__VALUE_BYTES; /* an address nobody checks */
    sent.arguments[1].bytes = (ProtobufCBinaryData){ 8, (uint8_t *)&memory };
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "bytes for an address");
    sent.arguments[1].value_case = XPURT__ARGUMENT__VALUE_LOCAL;
    sent.arguments[1].local = 8;
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "local for an address");
    for (size_t size = 0; size <= 8; size += 8) {
        sent_make(&sent, module, memory);
        sent.arguments[0].bytes.len = size;
        sent.arguments[0].bytes.data = (uint8_t *)bytes;
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "another size");
    }
    sent.arguments[0].bytes.len = sizeof(bytes);
    expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "a huge value");

    for (uint64_t local = 0; local != 4; local = local == 0 ? UINT64_MAX : 4) {
        sent_make(&sent, module, memory);
        sent.launch.kernel = SCRATCH;
        sent.arguments[0].value_case = sent.arguments[1].value_case = XPURT__ARGUMENT__VALUE_LOCAL;
        sent.arguments[0].local = 4;
        sent.arguments[1].local = local;
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_ARGUMENT, "local memory");
    }
}

static void spoil_addresses(struct scene *scene, struct raw *raw, uint32_t module, uint64_t memory)
{
    static struct sent sent;
    struct raw other;
    uint64_t foreign, freed;

    raw_open(&other, scene->daemon.socket);
    test_require(raw_memory_alloc(&other, MEMORY, &foreign) == 0, "%s", other.text);
    test_require(raw_memory_alloc(raw, MEMORY, &freed) == 0, "%s", raw->text);
    raw_memory_free(raw, freed);
    for (int i = 0; i < 6; i++) {
        const uint64_t addresses[] = { foreign, freed, memory - 1, memory + MEMORY, 1, UINT64_MAX };

        sent_make(&sent, module, memory);
        sent.arguments[2].address = addresses[i];
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_ADDRESS, "not in own memory");
    }
    raw_close(&other);
}

static void spoil_names(struct raw *raw, uint32_t module, uint64_t memory)
{
    static struct sent sent;
    uint32_t numbers[] = { 9, 1000, UINT32_MAX, IMAGE };

    for (int i = 0; i < 4; i++) {
        sent_make(&sent, module, memory);
        sent.launch.kernel = numbers[i];
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_HANDLE, "no such kernel");
        sent_make(&sent, module + 1 + (uint32_t)i, memory);
        expect_failed(raw, &sent, XPURT_ERROR_INVALID_HANDLE, "no such module");
    }
}

static void spoilt_launches(struct scene *scene)
{
    static struct sent sent;
    uint32_t module;
    uint64_t memory;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    module = load(&raw);
    test_require(raw_memory_alloc(&raw, MEMORY, &memory) == 0, "%s", raw.text);
    sent_make(&sent, module, memory);
    expect_failed(&raw, &sent, XPURT_SUCCESS, "a launch that is right");
    spoil_sizes(&raw, module, memory);
    spoil_arguments(&raw, module, memory);
    spoil_addresses(scene, &raw, module, memory);
    spoil_names(&raw, module, memory);
    raw_stream_create(&raw, 0, 1);
    raw_settle(&raw);
    sent_make(&sent, module, memory);
    sent_send(&raw, &sent);
    test_require(raw_status(&raw, 0) == XPURT_ERROR_INVALID_DEVICE, "%s", raw.text);
    raw_close(&raw);
}

Test(modules, spoilt_launches)
{
    REQUIRE_KERNELS();
    scene_play(spoilt_launches, 3);
}

/* It waits in the daemon for a record that comes later, when nothing of it seems to be left. */
static void waiting_launch(struct scene *scene)
{
    Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;
    static struct sent sent;
    uint64_t memory;
    uint32_t segment, *bytes;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    unload.module = load(&raw);
    test_require(raw_memory_alloc(&raw, MEMORY, &memory) == 0, "%s", raw.text);
    test_require(raw_host_alloc(&raw, 4096, &segment, (void **)&bytes) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&raw, 1, 0);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, raw.values[1] + 1));
    raw_fill(&raw, 0, 0, memory, 4096, 0x3f800000, 4);
    sent_make(&sent, unload.module, memory);
    sent.a = 2;
    sent.groups.x = 1024;
    sent.arguments[1].address = memory;
    sent.arguments[2].address = memory;
    sent_send(&raw, &sent);
    raw_copy(&raw, 0, segment, 0, 0, memory, 4096);
    raw_record(&raw, 0);
    raw_memory_free(&raw, memory);
    raw_send_command(&raw,
                     &(Xpurt__Command){ RAW_COMMAND(MODULE_UNLOAD), .module_unload = &unload });
    raw_settle(&raw);
    test_require(raw_counter(&raw, "queued") > 0, "it does not wait");
    raw_record(&raw, 1);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    test_require(bytes[1023] == 0x40400000, "1 + 2 * 1 is 0x%x", bytes[1023]);
    munmap(bytes, 4096);

    /* Another one never gets there: it goes with its session. */
    test_require(raw_memory_alloc(&raw, MEMORY, &memory) == 0, "%s", raw.text);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, raw.values[1] + 1));
    sent_make(&sent, load(&raw), memory);
    sent_send(&raw, &sent);
    raw_settle(&raw);
    raw_close(&raw);
}

Test(modules, waiting_launch)
{
    REQUIRE_KERNELS();
    scene_play(waiting_launch, 5);
}

/* ---- rows, suggestions, unloading ------------------------------------------------------------ */

static void expect_row_failure(struct raw *raw, const Xpurt__Command *command,
                               xpurt_result expected, const char *what)
{
    stream_begin(raw);
    raw_send_command(raw, command);
    raw_record(raw, 0);
    test_require(raw_finish(raw, 0) == expected, "%s: %d: %s", what, (int)raw_status(raw, 0),
                 raw->text);
    stream_end(raw);
}

static void spoilt_rows(struct scene *scene)
{
    static const struct {
        uint32_t to_pitch, from_pitch, width, height, pattern_width;
        xpurt_result copied, filled;
    } rows[] = {
        { 100, 100, 100, 10, 4, XPURT_SUCCESS, XPURT_SUCCESS },
        { 100, 100, 0, 10, 4, XPURT_ERROR_INVALID_ARGUMENT, XPURT_ERROR_INVALID_ARGUMENT },
        { 100, 100, 10, 0, 2, XPURT_ERROR_INVALID_ARGUMENT, XPURT_ERROR_INVALID_ARGUMENT },
        { 99, 100, 100, 10, 4, XPURT_ERROR_INVALID_ARGUMENT, XPURT_ERROR_INVALID_ARGUMENT },
        { 100, 99, 100, 10, 4, XPURT_ERROR_INVALID_ARGUMENT, XPURT_SUCCESS },
        { 100, 100, 100, MEMORY / 100 + 1, 4, XPURT_ERROR_INVALID_ADDRESS,
          XPURT_ERROR_INVALID_ADDRESS },
        { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, 1, XPURT_ERROR_INVALID_ADDRESS,
          XPURT_ERROR_INVALID_ADDRESS },
        { UINT32_MAX, 1, 1, UINT32_MAX, 1, XPURT_ERROR_INVALID_ADDRESS,
          XPURT_ERROR_INVALID_ADDRESS },
        { 100, 100, 100, 10, 3, XPURT_SUCCESS, XPURT_ERROR_INVALID_ARGUMENT },
        { 102, 102, 100, 10, 4, XPURT_SUCCESS, XPURT_ERROR_INVALID_ARGUMENT },
    };
    Xpurt__Location to = XPURT__LOCATION__INIT, from = XPURT__LOCATION__INIT;
    Xpurt__CopyRows copy = XPURT__COPY_ROWS__INIT;
    Xpurt__FillRows fill = XPURT__FILL_ROWS__INIT;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, MEMORY, &to.offset) == 0, "%s", raw.text);
    test_require(raw_memory_alloc(&raw, MEMORY, &from.offset) == 0, "%s", raw.text);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char what[32];

        snprintf(what, sizeof(what), "rows %zu", i);
        copy.to = fill.to = &to;
        copy.from = &from;
        copy.to_pitch = fill.pitch = rows[i].to_pitch;
        copy.from_pitch = rows[i].from_pitch;
        copy.width = fill.width = rows[i].width;
        copy.height = fill.height = rows[i].height;
        fill.pattern_width = rows[i].pattern_width;
        expect_row_failure(&raw, &(Xpurt__Command){ RAW_COMMAND(COPY_ROWS), .copy_rows = &copy },
                           rows[i].copied, what);
        expect_row_failure(&raw, &(Xpurt__Command){ RAW_COMMAND(FILL_ROWS), .fill_rows = &fill },
                           rows[i].filled, what);
    }
    copy.to = NULL;
    copy.to_pitch = copy.from_pitch = copy.width = copy.height = 1;
    expect_row_failure(&raw, &(Xpurt__Command){ RAW_COMMAND(COPY_ROWS), .copy_rows = &copy },
                       XPURT_ERROR_INVALID_ADDRESS, "nowhere");
    raw_close(&raw);
}

Test(modules, spoilt_rows)
{
    scene_play(spoilt_rows, 3);
}

static void spoilt_questions(struct scene *scene)
{
    Xpurt__KernelSuggest suggest = XPURT__KERNEL_SUGGEST__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(KERNEL_SUGGEST), .kernel_suggest = &suggest };
    Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;
    Xpurt__Extent global = XPURT__EXTENT__INIT;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_result(&raw, &request) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    suggest.module = load(&raw);
    test_require(raw_result(&raw, &request) == XPURT_ERROR_INVALID_ARGUMENT, "%s", raw.text);
    suggest.global = &global;
    test_require(raw_result(&raw, &request) == XPURT_ERROR_INVALID_ARGUMENT, "%s", raw.text);
    global.x = global.y = global.z = UINT32_MAX;
    test_require(raw_result(&raw, &request) == XPURT_SUCCESS, "%s", raw.text);
    suggest.kernel = IMAGE;
    test_require(raw_result(&raw, &request) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);

    unload.module = suggest.module + 1;
    raw.errors = 0;
    raw_send_command(&raw,
                     &(Xpurt__Command){ RAW_COMMAND(MODULE_UNLOAD), .module_unload = &unload });
    raw_settle(&raw);
    test_require(raw.errors == 1 && raw.error == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    for (int i = 0; i < 2; i++) {       /* the second time there is none */
        unload.module = suggest.module;
        raw_send_command(&raw,
                         &(Xpurt__Command){ RAW_COMMAND(MODULE_UNLOAD), .module_unload = &unload });
    }
    raw_settle(&raw);
    test_require(raw.errors == 2, "%u errors", raw.errors);
    raw_close(&raw);
}

Test(modules, spoilt_questions)
{
    REQUIRE_KERNELS();
    scene_play(spoilt_questions, 3);
}

/* ---- hostile compilers ----------------------------------------------------------------------- */

/* The software device has SPIR-V translated by a program: here by one of the test's. */
struct compiler {
    char folder[64];
    char program[96];
    char started[96];                   /* it writes its number there, a line each time */
};

static void compiler_make(struct compiler *compiler, const char *body)
{
    FILE *file;

    strcpy(compiler->folder, "/tmp/xpurt-test-XXXXXX");
    test_require(mkdtemp(compiler->folder), "mkdtemp");
    snprintf(compiler->program, sizeof(compiler->program), "%s/compiler", compiler->folder);
    snprintf(compiler->started, sizeof(compiler->started), "%s/started", compiler->folder);
    file = fopen(compiler->program, "we");
    test_require(file, "%s", compiler->program);
    fprintf(file, "#!/bin/sh\necho $$ >> %s\n%s\n", compiler->started, body);
    fclose(file);
    test_require(chmod(compiler->program, 0700) == 0, "chmod");
    setenv("ZE_SOFT_LLVM_SPIRV", compiler->program, 1);
}

static void compiler_remove(struct compiler *compiler)
{
    unsetenv("ZE_SOFT_LLVM_SPIRV");
    unlink(compiler->started);
    unlink(compiler->program);
    rmdir(compiler->folder);
}

/* The number of the @p n th that was started, waited for. */
static pid_t compiler_await(const struct compiler *compiler, int n)
{
    for (int ms = 0; ms < BOUND_MS; ms += 5) {
        FILE *file = fopen(compiler->started, "re");
        int pid = 0, lines = 0;

        while (file && lines < n && fscanf(file, "%d\n", &pid) == 1)
            lines++;
        if (file)
            fclose(file);
        if (lines == n)
            return pid;
        scene_sleep_ms(5);
    }
    test_require(false, "compiler %d was not started", n);
    return 0;
}

/* It is gone, or waits to be reaped by a parent that does not do it. */
static void await_death(pid_t pid)
{
    for (int ms = 0; ms < BOUND_MS; ms += 5) {
        char path[64], state = 'X';
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        file = fopen(path, "re");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            state = 'X';
        if (file)
            fclose(file);
        if (state == 'X' || state == 'Z')
            return;
        scene_sleep_ms(5);
    }
    test_require(false, "compiler %d lives on", (int)pid);
}

/* The same of all that were started, if any came so far before their time was over. */
static void compilers_await_death(const struct compiler *compiler)
{
    FILE *file = fopen(compiler->started, "re");
    int pid;

    while (file && fscanf(file, "%d\n", &pid) == 1)
        await_death(pid);
    if (file)
        fclose(file);
}

#define ENDLESS "exec sleep 1000"

static struct compiler compiler;

/* Whoever asked is gone: so is the compiler. */
static void death_during_a_build(struct scene *scene)
{
    static int builds;
    struct raw raw;
    pid_t pid;

    raw_open(&raw, scene->daemon.socket);
    load_start(&raw, "");
    pid = compiler_await(&compiler, ++builds);
    raw_close(&raw);
    await_death(pid);
}

Test(modules, death_during_a_build)
{
    REQUIRE_KERNELS();
    compiler_make(&compiler, ENDLESS);
    scene_play(death_during_a_build, 3);
    compiler_remove(&compiler);
}

/* The other one who asked for the same module still gets it. */
Test(modules, death_of_one_of_two)
{
    static struct scene scene;
    struct raw first, second;
    char gate[96];
    int fd;

    REQUIRE_KERNELS();
    compiler_make(&compiler, "while [ ! -e ${0%/*}/go ]; do sleep 0.01; done\n"
                             "exec llvm-spirv-14 \"$@\"");
    snprintf(gate, sizeof(gate), "%s/go", compiler.folder);
    scene_begin(&scene, NULL);
    raw_open(&first, scene.daemon.socket);
    raw_open(&second, scene.daemon.socket);
    load_start(&first, "");
    (void)compiler_await(&compiler, 1);
    load_start(&second, "");
    raw_settle(&scene.watcher);
    raw_close(&first);
    witness_check(&scene);
    fd = open(gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    test_require(fd >= 0, "%s", gate);
    close(fd);
    test_require(load_result(&second, NULL) == XPURT_SUCCESS, "%s", second.text);
    test_require(raw_counter(&second, "builds") == 1, "built twice");
    raw_close(&second);
    scene_end(&scene);
    unlink(gate);
    compiler_remove(&compiler);
}

static void a_compiler_that_crashes(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    load_start(&raw, "");
    test_require(load_result(&raw, NULL) == XPURT_ERROR_BUILD_FAILED, "it was built");
    test_require(strstr(raw.text, "signal 9"), "%s", raw.text);
    raw_close(&raw);
}

Test(modules, a_compiler_that_crashes)
{
    REQUIRE_KERNELS();
    compiler_make(&compiler, "kill -KILL $PPID; " ENDLESS);
    /* The worker is the parent; what it had started is left alone and ends by itself. */
    scene_play(a_compiler_that_crashes, 3);
    for (int i = 1; i <= 3; i++)
        kill(compiler_await(&compiler, i), SIGKILL);
    compiler_remove(&compiler);
}

static void a_compiler_that_fails(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    load_start(&raw, "");
    test_require(load_result(&raw, NULL) == XPURT_ERROR_BUILD_FAILED, "it was built");
    /* A loader of 1.8 that wraps handles loses the log of a failure. */
    test_require(
        strstr(raw.text, getenv("ZE_ENABLE_LOADER_INTERCEPT") ? "zeModuleCreate" : "no such luck"),
        "%s", raw.text);
    raw_close(&raw);
}

Test(modules, a_compiler_that_fails)
{
    REQUIRE_KERNELS();
    compiler_make(&compiler, "echo no such luck >&2; exit 1");
    scene_play(a_compiler_that_fails, 3);
    compiler_remove(&compiler);
}

static void a_compiler_without_end(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    load_start(&raw, "");
    test_require(load_result(&raw, NULL) == XPURT_ERROR_BUILD_FAILED, "it was built");
    test_require(strstr(raw.text, "in time"), "%s", raw.text);
    compilers_await_death(&compiler);
    raw_close(&raw);
}

Test(modules, a_compiler_without_end)
{
    static struct scene scene;

    REQUIRE_KERNELS();
    compiler_make(&compiler, ENDLESS);
    scene_begin(&scene, "build-timeout-ms = 3000");
    scene_attack(&scene, a_compiler_without_end, 2);
    scene_end(&scene);
    compiler_remove(&compiler);
}

/* The daemon does not wait for a compiler when it is to leave. */
Test(modules, shutdown_during_a_build)
{
    static struct scene scene;
    struct raw raw;
    pid_t pid;

    REQUIRE_KERNELS();
    compiler_make(&compiler, ENDLESS);
    scene_begin(&scene, NULL);
    raw_open(&raw, scene.daemon.socket);
    load_start(&raw, "");
    load_start(&raw, "-other");
    load_start(&raw, "-and-one-that-waits");
    pid = compiler_await(&compiler, 2);
    scene_end(&scene);                  /* with status 0 */
    await_death(pid);
    raw_close(&raw);
    compiler_remove(&compiler);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void expect_quota(const struct raw *raw, xpurt_result result, const char *limit)
{
    test_require(result == XPURT_ERROR_QUOTA, "%d instead of QUOTA: %s", (int)result, raw->text);
    test_require(strstr(raw->text, limit), "it does not name %s: %s", limit, raw->text);
}

static void play(const char *limits, void (*attack)(struct scene *scene))
{
    static struct scene scene;

    scene_begin(&scene, limits);
    scene_attack(&scene, attack, 3);
    scene_end(&scene);
}

static void modules_of_a_user(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    (void)load(&raw);
    (void)load(&raw);
    load_start(&raw, "");
    expect_quota(&raw, load_result(&raw, NULL), "user-modules");
    raw_close(&raw);
}

Test(modules, user_modules)
{
    REQUIRE_KERNELS();
    play("user-modules = 2", modules_of_a_user);
}

static void module_memory_of_a_user(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    load_start(&raw, "");
    expect_quota(&raw, load_result(&raw, NULL), "user-module-memory");
    raw_close(&raw);
}

/* Not even the SPIR-V; the SPIR-V, but not what is built of it. */
Test(modules, user_module_memory)
{
    REQUIRE_KERNELS();
    play("user-module-memory = 5K", module_memory_of_a_user);
    play("user-module-memory = 20K", module_memory_of_a_user);
}

static void large_modules(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    expect_quota(&raw, load_file(&raw, 0, "", file_of(spirv, spirv_size, ALL_SEALS)),
                 "module-bytes");
    raw_close(&raw);
}

Test(modules, module_bytes)
{
    play("module-bytes = 1K", large_modules);
}

/* Others wait for their turn, and get it when one is given up. */
static void builds_of_a_user(struct scene *scene)
{
    static int builds;
    struct raw raw[3];
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        raw_open(&raw[i], scene->daemon.socket);
    load_start(&raw[0], "-a");
    pids[0] = compiler_await(&compiler, builds + 1);
    load_start(&raw[1], "-b");
    load_start(&raw[2], "-c");
    raw_settle(&scene->watcher);
    raw_close(&raw[1]);                 /* this one never had its turn */
    raw_close(&raw[0]);
    await_death(pids[0]);
    pids[2] = compiler_await(&compiler, builds + 2);
    raw_close(&raw[2]);
    await_death(pids[2]);
    builds += 2;
}

Test(modules, user_builds)
{
    REQUIRE_KERNELS();
    compiler_make(&compiler, ENDLESS);
    play("user-builds = 1", builds_of_a_user);
    compiler_remove(&compiler);
}

/* What nobody uses is kept up to the limit; here there is none. */
Test(modules, user_module_cache)
{
    static struct scene scene;

    REQUIRE_KERNELS();
    scene_begin(&scene, "user-module-cache = 0");
    for (int i = 1; i <= 2; i++) {
        Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;

        unload.module = load(&scene.watcher);
        raw_send_command(&scene.watcher,
                         &(Xpurt__Command){ RAW_COMMAND(MODULE_UNLOAD), .module_unload = &unload });
        test_require(raw_counter(&scene.watcher, "builds") == (uint64_t)i, "it was kept");
    }
    scene_end(&scene);
}
