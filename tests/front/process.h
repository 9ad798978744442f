/* SPDX-License-Identifier: MIT */
/* tests/front/process.h: an xpurtd under test, watched like a service manager would. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct process {
    pid_t pid;                          /* 0: ended */
    int pidfd;
    int notify;                         /* what it tells its service manager arrives here */
    char log[128];                      /* its stdout and stderr: a file */
    int listen_fd;                      /* before the start: passed as by systemd; 0: none */
    const char *environment[8];         /* before the start: NAME=VALUE, NULL-terminated */
};

/* A folder for the running test. */
extern char test_folder[];
void test_folder_make(void);
void test_folder_remove(void);

/* "<folder>/<name>", static storage that a few later calls overwrite. */
const char *in_folder(const char *name);

/* Run $XPURTD with NULL-terminated arguments and an empty configuration, unless --config is
 * given. */
void process_start(struct process *process, ...) __attribute__((sentinel));

/* Wait until the process tells @p line; false when it ended before or takes too long. */
bool process_tells(struct process *process, const char *line);

/* Wait for the end: the exit status; -signal; -1000 when it takes too long (it is killed then). */
int process_end(struct process *process);

/* What it has written so far; static storage. */
const char *process_log(const struct process *process);

/* Whether somebody accepts connections on @p path. */
bool socket_answers(const char *path);
