/* SPDX-License-Identifier: MIT */
/* daemon/server.h: listening sockets and the sessions that come through them. */
#pragma once

#include "daemon/config.h"

#include <uv.h>

struct gpu;
struct server;

/* Borrows loop, gpu and config: they outlive the server. Starts the reaper. */
int server_new(uv_loop_t *loop, struct gpu *gpu, const struct config *config,
               struct server **ret_server);

/* Accept clients from a listening, non-blocking socket. Owns @p fd from now on, also on failure. */
int server_listen(struct server *server, int fd);

/* Serve, and run the loop, until nothing is left in it: in place of uv_run(). */
void server_run(struct server *server);

/* Close every listening socket and every session; streams drain. When all is gone @p done is
 * called from the loop. */
void server_close(struct server *server, void (*done)(void *data), void *data);

/* After server_close() is done. NULL is a no-op. */
void server_free(struct server *server);
