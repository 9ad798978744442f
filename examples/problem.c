/* SPDX-License-Identifier: MIT */
/* examples/problem.c: why something failed.
 *
 * Guarantees of this file: the first problem of a thread is the one that is told; what fails while
 * cleaning up behind it does not hide it.
 */
#include "problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[512];

xpurt_result problem(xpurt_result result, const char *format, ...)
{
    va_list args;

    if (!text[0]) {
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
    }
    return result;
}

xpurt_result problem_system(const char *what, int error)
{
    return problem(XPURT_ERROR_SYSTEM, "%s: %s", what, strerror(error));
}

const char *problem_text(void)
{
    return text[0] ? text : xpurt_last_error();
}

enum status problem_status(xpurt_result result)
{
    switch (result) {
    case XPURT_SUCCESS:
        return STATUS_GOOD;
    case XPURT_ERROR_PEER_LOST:
        return STATUS_PEER_LOST;
    case XPURT_ERROR_DAEMON_LOST:
        return STATUS_DAEMON_LOST;
    default:
        return STATUS_FAILED;
    }
}
