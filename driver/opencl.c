/* SPDX-License-Identifier: MIT */
/* opencl.c: the OpenCL CPU runtime (PoCL, or any other with a CPU device).
 *
 * Guarantees of this file:
 *   - the library is loaded at the first module and not before; without it all else works;
 *   - SPIR-V is handed over as it is where the runtime takes it, else llvm-spirv turns it into the
 *     LLVM bitcode that PoCL takes; no file is written;
 *   - after a fork the runtime's threads are gone, so a child gets the runtime only if its parent
 *     had not loaded it.
 */
#include "opencl.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CL_PLATFORM_VERSION_ = 0x0901,
    CL_DEVICE_IL_VERSION_ = 0x105b,
    CL_PROGRAM_BUILD_LOG_ = 0x1183,
    CL_PROGRAM_BINARY_SIZES_ = 0x1165,
    CL_PROGRAM_BINARIES_ = 0x1166,
};
#define DEVICE_TYPE_CPU 2u
#define PLATFORMS_MAX 16u
#define LLVM_OLDEST 11u /* the first llvm-spirv that distributions package by version */

extern char **environ;

static struct opencl opencl;
static bool loaded, forked;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t queue_key;

void opencl_after_fork(void)
{
    forked = true;
}

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define FUNCTION(name) { #name, offsetof(struct opencl, name) }
    FUNCTION(clGetPlatformIDs),         FUNCTION(clGetPlatformInfo),
    FUNCTION(clGetDeviceIDs),           FUNCTION(clGetDeviceInfo),
    FUNCTION(clCreateContext),          FUNCTION(clCreateCommandQueue),
    FUNCTION(clReleaseCommandQueue),    FUNCTION(clCreateProgramWithBinary),
    FUNCTION(clCreateProgramWithIL),    FUNCTION(clBuildProgram),
    FUNCTION(clGetProgramBuildInfo),    FUNCTION(clGetProgramInfo),
    FUNCTION(clReleaseProgram),         FUNCTION(clCreateKernel),
    FUNCTION(clGetKernelWorkGroupInfo), FUNCTION(clReleaseKernel),
    FUNCTION(clSetKernelArg),           FUNCTION(clSetKernelArgSVMPointer),
    FUNCTION(clEnqueueNDRangeKernel),   FUNCTION(clFinish),
#undef FUNCTION
};

static bool load_functions(void)
{
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);

    for (size_t i = 0; library && i < ARRAY_SIZE(functions); i++) {
        void *symbol = dlsym(library, functions[i].name);

        if (!symbol)
            return false;
        memcpy((char *)&opencl + functions[i].offset, &symbol, sizeof(symbol));
    }
    return library;
}

/* PoCL's version says "... LLVM 14.0.6 ...". */
static unsigned llvm_version(opencl_handle platform)
{
    char version[512] = "";
    const char *llvm;

    opencl.clGetPlatformInfo(platform, CL_PLATFORM_VERSION_, sizeof(version) - 1, version, NULL);
    llvm = strstr(version, "LLVM ");
    return llvm ? (unsigned)strtoul(llvm + 5, NULL, 10) : 0;
}

static bool find_cpu(void)
{
    opencl_handle platforms[PLATFORMS_MAX];
    uint32_t count = 0, devices;
    char il[256] = "";

    if (opencl.clGetPlatformIDs(PLATFORMS_MAX, platforms, &count) != OPENCL_SUCCESS)
        return false;
    for (uint32_t i = 0; i < count && i < PLATFORMS_MAX; i++) {
        devices = 0;
        if (opencl.clGetDeviceIDs(platforms[i], DEVICE_TYPE_CPU, 1, &opencl.device, &devices) !=
                OPENCL_SUCCESS ||
            devices == 0)
            continue;
        opencl.clGetDeviceInfo(opencl.device, CL_DEVICE_IL_VERSION_, sizeof(il) - 1, il, NULL);
        opencl.takes_spirv = strstr(il, "SPIR-V");
        opencl.llvm = llvm_version(platforms[i]);
        if (opencl.takes_spirv || opencl.llvm)
            return true;
    }
    return false;
}

static void release_queue(void *queue)
{
    opencl.clReleaseCommandQueue(queue);
}

static void load(void)
{
    int32_t error = OPENCL_SUCCESS;

    if (load_functions() && find_cpu())
        opencl.context = opencl.clCreateContext(NULL, 1, &opencl.device, NULL, NULL, &error);
    loaded = opencl.context && error == OPENCL_SUCCESS &&
             pthread_key_create(&queue_key, release_queue) == 0;
    if (!loaded)
        fprintf(stderr, "ze_soft: kernels need an OpenCL runtime for CPUs: install "
                        "pocl-opencl-icd, ocl-icd-libopencl1 and llvm-spirv-14\n");
}

const struct opencl *opencl_get(void)
{
    if (forked && loaded)
        return NULL;
    pthread_once(&once, load);
    return loaded ? &opencl : NULL;
}

opencl_handle opencl_thread_queue(const struct opencl *runtime)
{
    opencl_handle queue = pthread_getspecific(queue_key);
    int32_t error;

    if (queue)
        return queue;
    queue = runtime->clCreateCommandQueue(runtime->context, runtime->device, 0, &error);
    if (queue)
        pthread_setspecific(queue_key, queue);
    return queue;
}

static void log_set(char **log, const char *text)
{
    free(*log);
    *log = strdup(text);
}

/* What a child process wrote into a memory file, with a zero behind it. */
static char *read_back(int fd, size_t *ret_size)
{
    struct stat status;
    char *data;

    if (fstat(fd, &status) < 0)
        return NULL;
    data = malloc((size_t)status.st_size + 1);
    if (!data || pread(fd, data, (size_t)status.st_size, 0) != status.st_size) {
        free(data);
        return NULL;
    }
    data[status.st_size] = '\0';
    *ret_size = (size_t)status.st_size;
    return data;
}

static bool write_all(int fd, const void *data, size_t size)
{
    const char *rest = data;
    ssize_t n;

    for (; size > 0; rest += n, size -= (size_t)n) {
        n = write(fd, rest, size);
        if (n <= 0)
            return false;
    }
    return lseek(fd, 0, SEEK_SET) == 0;
}

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static bool run_translator(const char *program, int in, int out, int errors)
{
    char *arguments[] = {
        (char *)(uintptr_t)program, "-r", "/dev/stdin", "-o", "/dev/stdout", NULL
    };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t child;
    int r, status = 0;

    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    r = posix_spawnp(&child, program, &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (r != 0)
        return false;
    while ((r = waitpid(child, &status, 0)) < 0 && errno == EINTR)
        ;
    /* An application that reaps every child may have taken ours; then its output decides. */
    return r < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Any translator of the runtime's LLVM or of one before will do: LLVM reads older bitcode. */
static bool run_some_translator(unsigned llvm, int in, int out, int errors)
{
    const char *chosen = getenv("ZE_SOFT_LLVM_SPIRV");
    char program[32];

    if (chosen)
        return run_translator(chosen, in, out, errors);
    for (unsigned version = llvm; version >= LLVM_OLDEST; version--) {
        snprintf(program, sizeof(program), "llvm-spirv-%u", version);
        if (lseek(in, 0, SEEK_SET) == 0 && run_translator(program, in, out, errors))
            return true;
    }
    return lseek(in, 0, SEEK_SET) == 0 && run_translator("llvm-spirv", in, out, errors);
}

/* SPIR-V to LLVM bitcode. */
static char *translate(const struct opencl *runtime, const struct spirv *spirv, size_t *ret_size,
                       char **ret_log)
{
    _cleanup_(closep) int in = memfd_create("spirv", MFD_CLOEXEC);
    _cleanup_(closep) int out = memfd_create("bitcode", MFD_CLOEXEC);
    _cleanup_(closep) int errors = memfd_create("errors", MFD_CLOEXEC);
    size_t size;
    bool good;

    if (in < 0 || out < 0 || errors < 0 ||
        !write_all(in, spirv->words, spirv->word_count * sizeof(uint32_t)))
        return NULL;
    good = run_some_translator(runtime->llvm, in, out, errors);
    if (good) {
        char *bitcode = read_back(out, ret_size);

        if (bitcode && *ret_size > 0)
            return bitcode;
        free(bitcode);
    }
    free(*ret_log);
    *ret_log = read_back(errors, &size);
    if (!*ret_log || size == 0)
        log_set(ret_log, "no llvm-spirv found for the OpenCL runtime's LLVM: not installed?");
    return NULL;
}

static opencl_handle build(const struct opencl *runtime, opencl_handle program, const char *flags,
                           char **ret_log)
{
    size_t size = 0;
    int32_t error;
    char *log;

    if (!program) {
        log_set(ret_log, "the OpenCL runtime does not take this program");
        return NULL;
    }
    error = runtime->clBuildProgram(program, 1, &runtime->device, flags, NULL, NULL);
    runtime->clGetProgramBuildInfo(program, runtime->device, CL_PROGRAM_BUILD_LOG_, 0, NULL, &size);
    log = calloc(size + 1, 1);
    if (log)
        runtime->clGetProgramBuildInfo(program, runtime->device, CL_PROGRAM_BUILD_LOG_, size, log,
                                       NULL);
    free(*ret_log);
    *ret_log = log;
    if (error == OPENCL_SUCCESS)
        return program;
    runtime->clReleaseProgram(program);
    return NULL;
}

static opencl_handle from_binary(const struct opencl *runtime, const void *binary, size_t size)
{
    const unsigned char *binaries[] = { binary };
    int32_t status, error;

    return runtime->clCreateProgramWithBinary(runtime->context, 1, &runtime->device, &size,
                                              binaries, &status, &error);
}

opencl_handle opencl_build_spirv(const struct opencl *runtime, const struct spirv *spirv,
                                 const char *flags, char **ret_log)
{
    opencl_handle program;
    int32_t error;
    size_t size;
    char *bitcode;

    if (runtime->takes_spirv) {
        program = runtime->clCreateProgramWithIL(runtime->context, spirv->words,
                                                 spirv->word_count * sizeof(uint32_t), &error);
    } else {
        bitcode = translate(runtime, spirv, &size, ret_log);
        if (!bitcode)
            return NULL;
        program = from_binary(runtime, bitcode, size);
        free(bitcode);
    }
    return build(runtime, program, flags, ret_log);
}

opencl_handle opencl_build_native(const struct opencl *runtime, const void *binary, size_t size,
                                  char **ret_log)
{
    return build(runtime, from_binary(runtime, binary, size), "", ret_log);
}

bool opencl_native(const struct opencl *runtime, opencl_handle program, void **ret_binary,
                   size_t *ret_size)
{
    unsigned char *binary;
    size_t size = 0;

    if (runtime->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES_, sizeof(size), &size, NULL) !=
            OPENCL_SUCCESS ||
        size == 0)
        return false;
    binary = malloc(size);
    if (!binary || runtime->clGetProgramInfo(program, CL_PROGRAM_BINARIES_, sizeof(binary), &binary,
                                             NULL) != OPENCL_SUCCESS) {
        free(binary);
        return false;
    }
    *ret_binary = binary;
    *ret_size = size;
    return true;
}
