/* SPDX-License-Identifier: MIT */
/* tests/support/rest.c: forks under address sanitizer, part of each test program there that forks.
 *
 * The sanitizer's allocator does not know of fork(): where another thread is in it just then its locks stay
 * locked in the child, which hangs sooner or later. So a fork waits until the other threads sleep. This
 * is registered before main(), and thus called last: who then wants a lock of a library that holds its own
 * ones over the fork does sleep.
 *
 * Guarantees of this file: it waits for a bounded time, and then lets the fork happen.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BOUND_MS 2000

/* A thread that has ended does, too. */
static bool sleeps(const char *task)
{
    char path[64], stat[128];
    const char *state;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%.16s/stat", task);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    n = read(fd, stat, sizeof(stat) - 1);
    close(fd);
    stat[n > 0 ? n : 0] = '\0';
    state = strrchr(stat, ')');         /* behind the name */
    return !state || strncmp(state, ") S", 3) == 0;
}

static bool others_sleep(void)
{
    const struct dirent *task;
    bool sleep = true;
    DIR *tasks = opendir("/proc/self/task");

    while (tasks && sleep && (task = readdir(tasks)))
        sleep = task->d_name[0] == '.' || atoi(task->d_name) == gettid() || sleeps(task->d_name);
    if (tasks)
        closedir(tasks);
    return sleep;
}

static void rest(void)
{
    for (int ms = 0; ms < BOUND_MS && !others_sleep(); ms++)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

__attribute__((constructor)) static void rest_before_forks(void)
{
    pthread_atfork(rest, NULL, NULL);
}
