/* SPDX-License-Identifier: MIT */
/* daemon/build.c: the daemon's side of a build.
 *
 * Guarantees of this file:
 *   - whatever a compiler does, it does not do it to the daemon: it can crash, loop or lie, and the
 *     build fails;
 *   - a worker ends by itself, by the time limit, or by build_cancel(), together with the programs
 *     it has started; it is ended before it is reaped, so that the number is surely its own;
 *   - what a worker wrote cannot change while it is read, and is not believed.
 */
#include "daemon/build.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAID_BYTES_MAX 16384            /* of what a worker said that has crashed */

struct build {
    uv_process_t process;
    uv_timer_t timer;
    unsigned n_handles;                 /* not closed yet */
    struct build_end end;
    build_done done;
    void *data;
};

/* ---- the process ---------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct build *build = handle->data;

    if (--build->n_handles == 0)
        free(build);
}

static void build_close(struct build *build)
{
    uv_close((uv_handle_t *)&build->process, on_closed);
    uv_close((uv_handle_t *)&build->timer, on_closed);
}

static void on_ended(uv_process_t *process, int64_t status, int signal_number)
{
    struct build *build = process->data;

    (void)status;                       /* without an answer it failed, whatever it says */
    build->end.signal = signal_number;
    build->done(build->data, &build->end);
    build_close(build);
}

void build_cancel(struct build *build)
{
    kill(-build->process.pid, SIGKILL);
}

static void on_timer(uv_timer_t *timer)
{
    struct build *build = timer->data;

    build->end.timed_out = true;
    build_cancel(build);
}

static int spawn(uv_loop_t *loop, struct build *build, int source_fd)
{
    char *args[] = { "xpurtd", BUILD_WORKER_OPTION, NULL };
    uv_stdio_container_t stdio[] = {
        [STDIN_FILENO] = { .flags = UV_IGNORE },
        [STDOUT_FILENO] = { .flags = UV_INHERIT_FD, .data.fd = build->end.said_fd },
        [STDERR_FILENO] = { .flags = UV_INHERIT_FD, .data.fd = build->end.said_fd },
        [BUILD_FD_SOURCE] = { .flags = UV_INHERIT_FD, .data.fd = source_fd },
        [BUILD_FD_ANSWER] = { .flags = UV_INHERIT_FD, .data.fd = build->end.answer_fd },
    };
    const uv_process_options_t options = {
        .exit_cb = on_ended,
        .file = "/proc/self/exe",
        .args = args,
        .flags = UV_PROCESS_DETACHED,   /* a group of its own, with what it starts */
        .stdio_count = sizeof(stdio) / sizeof(stdio[0]),
        .stdio = stdio,
    };

    return uv_spawn(loop, &build->process, &options);
}

int build_start(uv_loop_t *loop, int source_fd, uint64_t timeout_ms, build_done done, void *data,
                struct build **ret_build)
{
    struct build *build;
    int r;

    build = calloc(1, sizeof(*build));
    if (!build)
        return -ENOMEM;
    build->done = done;
    build->data = data;
    build->end.answer_fd = memfd_create("xpurt-answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    build->end.said_fd = memfd_create("xpurt-said", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    build->process.data = build->timer.data = build;
    build->n_handles = 2;

    uv_timer_init(loop, &build->timer);
    r = build->end.answer_fd < 0 || build->end.said_fd < 0 ? -errno : 0;
    if (r == 0) {
        r = spawn(loop, build, source_fd);
        if (r < 0) {
            build_close(build);
        } else {
            uv_update_time(loop);       /* it stands while bells are told */
            uv_timer_start(&build->timer, on_timer, timeout_ms, 0);
            *ret_build = build;
            return 0;
        }
    } else {
        build->n_handles = 1;
        uv_close((uv_handle_t *)&build->timer, on_closed);
    }
    if (build->end.answer_fd >= 0)
        close(build->end.answer_fd);
    if (build->end.said_fd >= 0)
        close(build->end.said_fd);
    return r;
}

/* ---- what it left ------------------------------------------------------------------------------------ */

/* Nobody may write to it any more; a worker's child that still has it mapped cannot exist by now. */
static bool seal(int fd, uint64_t *ret_size)
{
    struct stat status;

    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ||
        fstat(fd, &status) < 0)
        return false;
    *ret_size = (uint64_t)status.st_size;
    return true;
}

/* The last words of a worker, as text; NULL: none. */
static char *said_read(int fd)
{
    char *text;
    uint64_t size;
    ssize_t n;

    if (!seal(fd, &size) || !size || !(text = malloc(SAID_BYTES_MAX + 1)))
        return NULL;
    n = pread(fd, text, SAID_BYTES_MAX, size > SAID_BYTES_MAX ? (off_t)(size - SAID_BYTES_MAX) : 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* The mapped answer, when it is one. */
static const struct build_answer *answer_map(int fd, struct build_result *result)
{
    const struct build_answer *answer;
    uint64_t size, rest;
    void *mapping;

    if (!seal(fd, &size) || size < sizeof(*answer) || size > BUILD_ANSWER_MAX)
        return NULL;
    mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    result->mapping = mapping;
    result->mapping_size = size;

    answer = mapping;
    rest = size - sizeof(*answer);
    return answer->magic == BUILD_ANSWER_MAGIC && answer->contents_size <= rest &&
                   answer->native_size == rest - answer->contents_size ?
               answer :
               NULL;
}

/* Why there is no answer. */
static void explain(const struct build_end *end, struct build_result *result)
{
    result->result = XPURT_ERROR_BUILD_FAILED;
    if (end->timed_out)
        snprintf(result->text, sizeof(result->text), "the compiler did not end in time");
    else if (end->signal)
        snprintf(result->text, sizeof(result->text), "the compiler was ended by signal %d (%s)",
                 end->signal, strsignal(end->signal));
    else
        snprintf(result->text, sizeof(result->text), "the compiler ended without an answer");
}

/* A build that failed without a log: what the worker said stands for it. */
static void log_fill(struct build_result *result, int said_fd)
{
    Xpurt__ModuleContents *contents = result->contents;

    if (!result->result)
        return;
    if (!contents->log[0] && !(contents->log = said_read(said_fd)))
        contents->log = (char *)protobuf_c_empty_string;
    if (!result->text[0])
        snprintf(result->text, sizeof(result->text), "%s",
                 contents->log[0] ? contents->log : "the compiler gave no reason");
}

static void answer_read(const struct build_answer *answer, struct build_result *result)
{
    const uint8_t *bytes = (const uint8_t *)(answer + 1);

    result->contents = xpurt__module_contents__unpack(NULL, answer->contents_size, bytes);
    result->native = bytes + answer->contents_size;
    result->native_size = answer->native_size;
    if (!result->contents)
        return;
    result->result = (xpurt_result)answer->result;
    if (!result->result && !result->native_size)
        result->result = XPURT_ERROR_DRIVER;
}

void build_read(struct build_end *end, struct build_result *ret_result)
{
    struct build_result result = { .result = XPURT_SUCCESS };
    const struct build_answer *answer;

    answer = end->timed_out ? NULL : answer_map(end->answer_fd, &result);
    if (answer)
        answer_read(answer, &result);
    if (!result.contents) {
        explain(end, &result);
        result.contents = malloc(sizeof(*result.contents));
        if (result.contents)
            xpurt__module_contents__init(result.contents);
    }
    if (result.contents)
        log_fill(&result, end->said_fd);
    close(end->answer_fd);
    close(end->said_fd);
    *ret_result = result;
}

void build_result_deinit(struct build_result *result)
{
    if (result->contents)
        xpurt__module_contents__free_unpacked(result->contents, NULL);
    if (result->mapping)
        munmap(result->mapping, result->mapping_size);
}
