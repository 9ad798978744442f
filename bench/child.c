/* SPDX-License-Identifier: MIT */
/* bench/child.c: the other processes of a row.
 *
 * Guarantees of this file: a child ends with the process that started it, at the latest (a program
 * that was executed does so by executed.h); it is stopped by its own process id; who waits for a turn
 * learns of a failed row within a second.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_pair(int pair[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return row_fail("socketpair: %s", strerror(errno));
    return 0;
}

/* After an attempt to start the child, which gave @p error. */
static int started(struct child *child, const int pair[2], const char *what, int error)
{
    close(pair[1]);
    if (error) {
        close(pair[0]);
        child->pid = 0;
        return row_fail("%s: %s", what, strerror(error));
    }
    child->socket = pair[0];
    return 0;
}

int child_start(struct child *child, int (*run)(int socket))
{
    int pair[2];

    if (make_pair(pair) < 0)
        return -1;
    child->pid = fork();
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        row_pin(1);
        _exit(run(pair[1]) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    return started(child, pair, "fork", child->pid < 0 ? errno : 0);
}

/* Without a fork(): it would copy the page tables of this process, which is large, and rows that time
 * how a program starts would time that. */
static int execute(struct child *child, char *const *arguments)
{
    posix_spawn_file_actions_t actions;
    int pair[2], r;

    if (make_pair(pair) < 0)
        return -1;
    posix_spawn_file_actions_init(&actions);
    r = posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
    row_pin(1);                         /* it inherits that */
    if (r == 0)
        r = posix_spawn(&child->pid, arguments[0], &actions, NULL, arguments, environ);
    row_pin(0);
    posix_spawn_file_actions_destroy(&actions);
    return started(child, pair, arguments[0], r);
}

int child_execute(struct child *child, char *role)
{
    return execute(child, (char *[]){ environment.program, "--as", role, NULL });
}

int child_execute_program(struct child *child, const char *name)
{
    const char *slash = strrchr(environment.program, '/');
    char path[600];

    snprintf(path, sizeof(path), "%.*s/%s", slash ? (int)(slash - environment.program) : 0,
             environment.program, name);
    return execute(child, (char *[]){ path, NULL });
}

void child_stop(struct child *child)
{
    if (!child->pid)
        return;
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    close(child->socket);
    *child = (struct child)CHILD_NULL;
}

int tell_bytes(int socket, const void *bytes, size_t size)
{
    while (size) {
        ssize_t n = send(socket, bytes, size, MSG_NOSIGNAL);

        if (n <= 0)
            return row_fail("a process of the row is gone");
        bytes = (const char *)bytes + n;
        size -= (size_t)n;
    }
    return 0;
}

int hear_bytes(int socket, void *bytes, size_t size)
{
    while (size) {
        ssize_t n = recv(socket, bytes, size, 0);

        if (n <= 0)
            return row_fail("a process of the row is gone");
        bytes = (char *)bytes + n;
        size -= (size_t)n;
    }
    return 0;
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        row_fail("mmap: %s", strerror(errno));
        return NULL;
    }
    return memory;
}

void word_sleep(_Atomic uint32_t *word, uint32_t seen)
{
    static const struct timespec slice = { .tv_sec = 1 };

    syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, NULL, 0);
}

void word_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void turn_set(struct turn *turn, uint32_t number)
{
    atomic_store(&turn->number, number);
    if (atomic_load(&turn->sleepers))
        word_wake(&turn->number);
}

int turn_await(struct turn *turn, uint32_t number, uint64_t patience_ns)
{
    uint64_t end = patience_ns ? now_ns() + patience_ns : 0;
    uint32_t seen;

    while ((seen = atomic_load(&turn->number)) != number) {
        if (row_failed())
            return -1;
        if (patience_ns && now_ns() < end) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&turn->sleepers, 1);
        word_sleep(&turn->number, seen);
        atomic_fetch_sub(&turn->sleepers, 1);
    }
    return 0;
}
