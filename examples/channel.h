/* SPDX-License-Identifier: MIT */
/* examples/channel.h: the socket between the two sides of a pair. Messages arrive whole. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHANNEL_PATIENCE_S 60           /* how long the sides look for each other */
#define CHANNEL_TIMEOUT_MS 30000        /* how long an answer to a first message may take */

/* Two connected ends for two processes forked from here. 0 or -errno. */
int channel_pair(int ret_ends[2]);

/* For two shells: one side listens on @p path, the other connects; either may be started first.
 * The connected socket, or -errno: -ETIMEDOUT when the other side does not come. */
int channel_listen(const char *path);
int channel_connect(const char *path);

/* Send a message, with a descriptor unless @p fd is -1. 0 or -errno. */
int channel_send(int channel, const void *data, size_t size, int fd);

/* Receive a message; @p timeout_ms may be -1. Its size; 0: the other side has hung up; or -errno.
 * ret_fd may be NULL; it is set to -1 when no descriptor came. */
ssize_t channel_receive(int channel, void *data, size_t size, int timeout_ms, int *ret_fd);

/* Is the other process gone? The kernel hangs up for it, however it died. */
bool channel_hung_up(int channel);
