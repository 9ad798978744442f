/* SPDX-License-Identifier: MIT */
/* Processes with several threads copy from and to ordinary and pinned memory, at sizes and alignments
 * about the edges of what copies are cut into, and free pinned memory as soon as the call is back.
 *
 * Checked: every byte, and those around; that nobody who gets pinned memory again is in the way of a
 * copy; that in the end, a kill included, the daemon holds no more than before. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, PROCESSES = 2, GUARD = 64, SIZE_MAX_USED = 9 << 20 };

struct worker {
    unsigned seed;
    unsigned rounds;
    xpurt_stream *stream;
    unsigned char *device, *from, *to;  /* device: with room for a GUARD of offset */
};

static unsigned draw(struct worker *worker, unsigned bound)
{
    worker->seed = worker->seed * 1664525u + 1013904223u;
    return (unsigned)((unsigned long long)worker->seed * bound >> 32);
}

static void fill(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24);
    }
}

static size_t draw_size(struct worker *worker)
{
    static const size_t edges[] = { 1,         64,      512,     4096,    16384,
                                    512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20 };
    size_t edge = edges[draw(worker, sizeof(edges) / sizeof(edges[0]))];

    switch (draw(worker, 4)) {
    case 0:
        return edge - 1 ? edge - 1 : 1;
    case 1:
        return edge + 1;
    case 2:
        return 1 + draw(worker, (unsigned)edge);
    default:
        return edge;
    }
}

static void expect_bytes(const unsigned char *got, const unsigned char *wanted, size_t size,
                         const char *what)
{
    if (memcmp(got, wanted, size) == 0)
        return;
    for (size_t i = 0; i < size; i++)
        test_require(got[i] == wanted[i], "%s: byte %zu of %zu differs", what, i, size);
}

/* Bring back what is on the device, somewhere between guards, and compare. */
static void expect_device(struct worker *worker, size_t offset, const unsigned char *wanted,
                          size_t size, const char *what)
{
    size_t at = GUARD + draw(worker, GUARD);

    memset(worker->to, 0xa5, at);
    memset(worker->to + at + size, 0xa5, GUARD);
    test_ok(xpurt_memcpy_async(worker->to + at, worker->device + offset, size, worker->stream));
    expect_bytes(worker->to + at, wanted, size, what);
    for (size_t i = 0; i < GUARD; i++)
        test_require(worker->to[at - 1 - i] == 0xa5 && worker->to[at + size + i] == 0xa5,
                     "%s: written beside the %zu bytes", what, size);
}

static void copy_pageable(struct worker *worker)
{
    size_t size = draw_size(worker), offset = draw(worker, GUARD), at = draw(worker, GUARD);

    fill(worker->from + at, size, worker->seed);
    test_ok(xpurt_memcpy_async(worker->device + offset, worker->from + at, size, worker->stream));
    expect_device(worker, offset, worker->from + at, size, "ordinary memory");
}

static unsigned char *pinned_of(size_t size)
{
    void *memory;

    test_ok(xpurt_host_malloc(&memory, size));
    return memory;
}

/* Freed while the copy may not have begun; whoever gets the memory next scribbles on it at once. */
static void copy_pinned(struct worker *worker)
{
    size_t size = draw_size(worker), offset = draw(worker, GUARD);
    unsigned char *memory = pinned_of(size);

    fill(memory, size, worker->seed);
    memcpy(worker->from, memory, size);
    test_ok(xpurt_memcpy_async(worker->device + offset, memory, size, worker->stream));
    test_ok(xpurt_host_free(memory));
    for (unsigned i = 0; i < 3; i++) {
        memory = pinned_of(size);
        memset(memory, (int)i, size);
        test_ok(xpurt_host_free(memory));
    }
    expect_device(worker, offset, worker->from, size, "pinned memory");
}

/* Both ways between ordinary and pinned memory, and a copy of ordinary memory onto itself. */
static void copy_host(struct worker *worker)
{
    size_t size = draw_size(worker), at = draw(worker, GUARD), by = 1 + draw(worker, GUARD);
    unsigned char *memory = pinned_of(size);

    fill(worker->from + at, size, worker->seed);
    test_ok(xpurt_memcpy_async(memory, worker->from + at, size, worker->stream));
    test_ok(xpurt_memcpy_async(worker->to, memory, size, worker->stream));
    expect_bytes(worker->to, worker->from + at, size, "pinned and back");
    test_ok(xpurt_host_free(memory));
    test_ok(xpurt_memcpy_async(worker->to + by, worker->to, size, worker->stream));
    expect_bytes(worker->to + by, worker->from + at, size, "overlapping memory");
}

static void *work(void *data)
{
    struct worker *worker = data;
    void *device;

    worker->from = malloc(SIZE_MAX_USED);
    worker->to = malloc(SIZE_MAX_USED);
    test_require(worker->from && worker->to, "out of memory");
    test_ok(xpurt_stream_create(&worker->stream));
    test_ok(xpurt_malloc(&device, SIZE_MAX_USED));
    worker->device = device;
    for (unsigned round = 0; round < worker->rounds; round++) {
        switch (draw(worker, 3)) {
        case 0:
            copy_pageable(worker);
            break;
        case 1:
            copy_pinned(worker);
            break;
        default:
            copy_host(worker);
        }
        if (draw(worker, 16) == 0)
            test_ok(xpurt_empty_host_cache());
    }
    test_ok(xpurt_stream_synchronize(worker->stream));
    test_ok(xpurt_free(device));
    free(worker->from);
    free(worker->to);
    return NULL;
}

static pid_t process_start(unsigned seed, unsigned rounds)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    pid_t pid = fork();

    test_require(pid >= 0, "fork");
    if (pid)
        return pid;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .seed = seed * 31 + i, .rounds = rounds };
        test_require(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

static unsigned descriptors(pid_t pid)
{
    char path[64];
    unsigned count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    folder = opendir(path);
    test_require(folder, "%s", path);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void run(unsigned seed, unsigned rounds, bool with_kill)
{
    pid_t pids[PROCESSES];
    int status;

    for (unsigned i = 0; i < PROCESSES; i++)
        pids[i] = process_start(seed + i, rounds);
    if (with_kill) {
        usleep(1000 * (seed % 97));
        kill(pids[0], SIGKILL);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        waitpid(pids[i], &status, 0);
        test_require(status == 0 || (with_kill && i == 0), "process %u ended with 0x%x", i,
                     (unsigned)status);
    }
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("user-segments", 0);
    test_daemon_await_counter("user-host-memory", 0);
    test_daemon_await_counter("user-allocations", 0);
    test_daemon_await_counter("user-streams", 0);
}

/* copies ROUNDS [FAULT [KILLS]] */
int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 100;
    unsigned kills = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0, before;
    struct test_daemon daemon;

    if (argc > 2 && argv[2][0])
        setenv("ZE_SOFT_FAULT", argv[2], 1);
    test_daemon_start(&daemon, NULL);
    unsetenv("ZE_SOFT_FAULT");
    test_daemon_await_counter("sessions", 1);
    run(1, rounds, false);              /* what the user's context takes, it keeps: we are there */
    before = descriptors(daemon.pid);
    run(2, rounds, false);
    for (unsigned i = 0; i < kills; i++)
        run(1000 + 7 * i, rounds, true);
    test_require(descriptors(daemon.pid) == before, "%u descriptors instead of %u",
                 descriptors(daemon.pid), before);
    return test_daemon_stop(&daemon) == 0 ? 0 : 1;
}
