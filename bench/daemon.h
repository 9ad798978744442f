/* SPDX-License-Identifier: MIT */
/* bench/daemon.h: the xpurtd that is measured. Not linked with any of it. */
#pragma once

#include <sys/types.h>

/* Start the xpurtd that lies beside this program, on the software device and a socket in
 * environment.folder, and wait until it serves. 0, or < 0 after saying why on standard error. */
int daemon_start(char ret_socket[108], pid_t *ret_pid);

/* The process that serves @p socket, as the kernel tells. < 0 after saying why. */
int daemon_find(const char *socket, pid_t *ret_pid);

/* Whether it was built with sanitizers: figures of such a daemon mean nothing. */
int daemon_sanitized(pid_t pid);

/* SIGTERM, and wait for the end. */
void daemon_stop(pid_t pid);
