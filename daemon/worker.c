/* SPDX-License-Identifier: MIT */
/* daemon/worker.c: the process in which compilers run.
 *
 * Guarantees of this file:
 *   - it has the descriptors of its task and no others, and it dies with the daemon;
 *   - memory, time and output of a compiler are limited by the kernel;
 *   - SPIR-V reaches a compiler only if the validator has accepted it.
 */
#include "daemon/worker.h"
#include "daemon/build.h"
#include "daemon/log.h"
#include "daemon/spirv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_LIMITED false            /* sanitizers map terabytes and use little of them */
#else
#define MEMORY_LIMITED true
#endif

static void limit(int resource, uint64_t most)
{
    const struct rlimit limit = { most, most };

    setrlimit(resource, &limit);        /* where a lower one is in force already, that stays */
}

static void confine(const struct build_source *source)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close_range(BUILD_FD_ANSWER + 1, ~0u, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, source->cpu_limit);
    limit(RLIMIT_FSIZE, BUILD_ANSWER_MAX);
    if (MEMORY_LIMITED)
        limit(RLIMIT_DATA, source->memory_limit);
}

static const struct build_source *source_map(void)
{
    struct stat status;
    void *mapping;

    if (fstat(BUILD_FD_SOURCE, &status) < 0 || (size_t)status.st_size < sizeof(struct build_source))
        return NULL;
    mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, BUILD_FD_SOURCE, 0);
    return mapping == MAP_FAILED ? NULL : mapping;
}

/* Takes over the text; NULL or an empty one changes nothing. */
static void log_set(Xpurt__ModuleContents *contents, char *text)
{
    if (text && text[0])
        contents->log = text;
}

/* The device that the daemon means: the drivers of both processes must have found the same ones. */
static xpurt_result device_open(const struct build_source *source, struct gpu_context **ret_context)
{
    const struct config config = { .device = (enum device_choice)source->device_choice };
    struct gpu *gpu;

    if (gpu_open_inherited(&config, &gpu) < 0 || source->device >= gpu_device_count(gpu) ||
        memcmp(gpu_device_properties(gpu, source->device)->uuid, source->uuid,
               sizeof(source->uuid)) != 0) {
        log_error("the devices of the build process are not those of the daemon");
        return XPURT_ERROR_DRIVER;
    }
    return gpu_context_new(gpu, ret_context);
}

static bool write_at(uint64_t offset, const void *bytes, size_t size)
{
    while (size) {
        ssize_t n = pwrite(BUILD_FD_ANSWER, bytes, size, (off_t)offset);

        if (n <= 0 && errno != EINTR)
            return false;
        n = n > 0 ? n : 0;
        bytes = (const char *)bytes + n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool answer(xpurt_result result, const Xpurt__ModuleContents *contents, const void *native,
                   size_t native_size)
{
    struct build_answer head = {
        .magic = BUILD_ANSWER_MAGIC,
        .result = (uint32_t)result,
        .contents_size = xpurt__module_contents__get_packed_size(contents),
        .native_size = native_size,
    };
    uint8_t *packed = malloc(head.contents_size + 1);

    if (!packed || ftruncate(BUILD_FD_ANSWER, 0) < 0)
        return false;                   /* the last one tells */
    xpurt__module_contents__pack(contents, packed);
    return write_at(sizeof(head), packed, head.contents_size) &&
           write_at(sizeof(head) + head.contents_size, native, native_size) &&
           write_at(0, &head, sizeof(head));
}

static xpurt_result compile(const struct build_source *source, Xpurt__ModuleContents *contents,
                            void **ret_native, size_t *ret_size)
{
    struct gpu_build *build = NULL;
    struct gpu_context *context;
    xpurt_result result;

    result = device_open(source, &context);
    if (result)
        return result;
    result = gpu_build(context, source->device, build_spirv(source), source->spirv_size,
                       build_options(source), &build);
    if (result) {
        /* A loader that wraps handles may not wrap the log of a failure, and crash when asked for it
         * (1.8): the daemon has an answer then. */
        log_set(contents, strdup(gpu_error()));
        (void)answer(result, contents, NULL, 0);
    }
    if (build)
        log_set(contents, gpu_build_log(build));
    if (!result) {
        result = gpu_build_native(build, ret_native, ret_size);
        if (result)
            log_set(contents, strdup(gpu_error()));
    }
    return result;
}

void worker_run(void)
{
    const struct build_source *source = source_map();
    Xpurt__ModuleContents *contents;
    void *native = NULL;
    size_t native_size = 0;
    xpurt_result result;

    if (!source)
        _exit(EXIT_FAILURE);
    confine(source);
    log_set_level(LOG_ERR);

    result = spirv_read(build_spirv(source), source->spirv_size / sizeof(uint32_t), &contents);
    if (result == XPURT_ERROR_OUT_OF_HOST_MEMORY)
        _exit(EXIT_FAILURE);
    if (!result)
        result = compile(source, contents, &native, &native_size);

    /* Nothing is freed: the end of the process is quicker, and safe after whatever happened. */
    _exit(answer(result, contents, native, native_size) ? EXIT_SUCCESS : EXIT_FAILURE);
}
