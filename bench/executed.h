/* SPDX-License-Identifier: MIT */
/* bench/executed.h: what a program does first that child_execute() or child_execute_program() started. */
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* End with the process that started this one. That made the socket on standard input: when it is not
 * the parent any more, it has ended already. */
static inline void end_with_starter(void)
{
    struct ucred starter;
    socklen_t size = sizeof(starter);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_PEERCRED, &starter, &size) == 0 &&
        starter.pid != getppid())
        _exit(EXIT_FAILURE);
}
