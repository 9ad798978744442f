/* SPDX-License-Identifier: MIT */
/* bench/child.c: the other processes of a row.
 *
 * Guarantees of this file: a child ends with the process that started it, at the latest; it is
 * stopped by its own process id; who waits for a turn learns of a failed row within a second.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(struct child *child, int (*run)(int socket, void *data), void *data)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return row_fail("socketpair: %s", strerror(errno));
    child->pid = fork();
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        row_pin(1);
        _exit(run(pair[1], data) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    close(pair[1]);
    if (child->pid < 0) {
        close(pair[0]);
        child->pid = 0;
        return row_fail("fork: %s", strerror(errno));
    }
    child->socket = pair[0];
    return 0;
}

static int run_function(int socket, void *data)
{
    int (**run)(int) = data;

    return (*run)(socket);
}

int child_start(struct child *child, int (*run)(int socket))
{
    return start(child, run_function, &run);
}

struct role {
    const char *program, *name;
    char *environment_entry;
};

static int run_role(int socket, void *data)
{
    const struct role *role = data;

    if (role->environment_entry)
        putenv(role->environment_entry);
    dup2(socket, STDIN_FILENO);
    execl(role->program, role->program, role->name ? "--as" : NULL, role->name, NULL);
    return row_fail("%s: %s", role->program, strerror(errno));
}

int child_execute(struct child *child, const char *role, char *environment_entry)
{
    return start(child, run_role, &(struct role){ environment.program, role, environment_entry });
}

int child_execute_program(struct child *child, const char *name, char *environment_entry)
{
    const char *slash = strrchr(environment.program, '/');
    char path[600];

    snprintf(path, sizeof(path), "%.*s/%s", slash ? (int)(slash - environment.program) : 0,
             environment.program, name);
    return start(child, run_role, &(struct role){ path, NULL, environment_entry });
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
    uint64_t end = now_ns() + patience_ns;
    uint32_t seen;

    while ((seen = atomic_load(&turn->number)) != number) {
        if (row_failed())
            return -1;
        if (now_ns() < end) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&turn->sleepers, 1);
        word_sleep(&turn->number, seen);
        atomic_fetch_sub(&turn->sleepers, 1);
    }
    return 0;
}
