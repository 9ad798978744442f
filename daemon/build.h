/* SPDX-License-Identifier: MIT */
/* daemon/build.h: compiling in a process of its own, and the two files by which it is talked to.
 *
 * A build worker is this program again, see worker.h. It reads the source from descriptor 3, writes
 * the answer to descriptor 4, and is forgotten.
 */
#pragma once

#include "daemon/gpu.h"
#include "proto/xpurt.pb-c.h"

#include <uv.h>

#define BUILD_WORKER_OPTION "--build-worker"
#define BUILD_FD_SOURCE 3
#define BUILD_FD_ANSWER 4

/* What is built. Behind it: the options, padded with zeros to words, at least one; the SPIR-V. */
struct build_source {
    uint64_t memory_limit;  /* bytes that the worker may use */
    uint64_t cpu_limit;     /* seconds, likewise */
    uint32_t device_choice; /* enum device_choice: from here on it tells what is built */
    uint32_t device;
    uint8_t uuid[16];                   /* of the device: the worker's must be the same */
    uint64_t options_size;
    uint64_t spirv_size;
};

/* What comes back. Behind it: packed Xpurt__ModuleContents; the native code. */
struct build_answer {
    uint32_t magic;                     /* written last: without it there is no answer */
    uint32_t result;
    uint64_t contents_size;
    uint64_t native_size;
};

#define BUILD_ANSWER_MAGIC 0x414e5358u
#define BUILD_ANSWER_MAX (UINT64_C(256) << 20)

static inline const char *build_options(const struct build_source *source)
{
    return (const char *)(source + 1);
}

static inline const uint32_t *build_spirv(const struct build_source *source)
{
    return (const uint32_t *)(build_options(source) + source->options_size);
}

struct build;

/* How a worker ended; what it left is read by build_read(). */
struct build_end {
    int answer_fd, said_fd;             /* the second: its standard output and error */
    int signal;                         /* that ended it; 0: none */
    bool timed_out;
};

typedef void (*build_done)(void *data, struct build_end *end);

/* Start a worker on the sealed file @p source_fd, which stays the caller's. @p done is called once,
 * also after build_cancel(), and owns the descriptors of the end then. -errno. */
int build_start(uv_loop_t *loop, int source_fd, uint64_t timeout_ms, build_done done, void *data,
                struct build **ret_build);

/* Kill it. */
void build_cancel(struct build *build);

/* What a build gave. */
struct build_result {
    xpurt_result result;
    char text[400];                     /* a sentence, unless XPURT_SUCCESS */
    Xpurt__ModuleContents *contents;    /* never NULL, unless memory ran out */
    const void *native;
    size_t native_size;
    void *mapping;
    size_t mapping_size;
};

/* Read what the worker left, and close it. Any thread. */
void build_read(struct build_end *end, struct build_result *ret_result);
void build_result_deinit(struct build_result *result);
