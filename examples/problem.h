/* SPDX-License-Identifier: MIT */
/* examples/problem.h: why something failed, for failures that are not libxpurt's own. */
#pragma once

#include <xpurt/xpurt.h>

/* Exit status of the program and of each of its processes; the help text lists them. */
enum status {
    STATUS_GOOD = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_PEER_LOST = 3,
    STATUS_DAEMON_LOST = 4,
    STATUS_DIFFERENT = 5,
};

/* Remember the sentence and return @p result, so that one can write "return problem(...)". */
xpurt_result problem(xpurt_result result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A system call failed: @p what, and the reason in @p error (an errno). */
xpurt_result problem_system(const char *what, int error);

/* The sentence behind the failure of this thread: ours, or else the library's. */
const char *problem_text(void);

enum status problem_status(xpurt_result result);
