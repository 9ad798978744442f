/* SPDX-License-Identifier: MIT */
/* client/connection.h: the one connection of a process: its lock, its frames, its replies.
 *
 * The lock guards all that the library knows. It is never held while a thread sleeps for the GPU
 * or for a reply; a thread may hold it while the daemon does not read (back-pressure), because
 * nobody else could send then either.
 */
#pragma once

#include "proto/board.h"
#include "proto/frame.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <pthread.h>

enum connection_state {
    CONNECTION_NONE,                    /* not yet, or not any more after a reset or a fork */
    CONNECTION_READY,
    CONNECTION_LOST,
};

/* The start of an initialiser: &(Xpurt__Command){ COMMAND(RECORD), .record = &record } */
#define COMMAND(name) \
    PROTOBUF_C_MESSAGE_INIT(&xpurt__command__descriptor), XPURT__COMMAND__BODY_##name
#define REQUEST(name) \
    PROTOBUF_C_MESSAGE_INIT(&xpurt__to_daemon__descriptor), 0, NULL, 0, \
        XPURT__TO_DAEMON__REQUEST_##name

/* What the daemon answered. */
struct reply {
    Xpurt__ToClient *message;
    struct frame_fds fds;
};

#define REPLY_NULL { .message = NULL }

void reply_deinit(struct reply *reply);

/* ---- the lock ------------------------------------------------------------------------------- */

void connection_lock(void);
void connection_unlock(void);

/* Wait until something changed: a reply came, the connection was lost, connection_changed(). */
void connection_await_change(void);
void connection_changed(void);

/* Wait for a condition of one's own. */
void connection_await(pthread_cond_t *condition);

/* Call @p lost when the connection is lost; with the lock held. */
void connection_on_lost(void (*lost)(void));

/* ---- the state; any thread ------------------------------------------------------------------- */

enum connection_state connection_state(void);

/* Not 0: commands are collected that were not sent. In the way of each query, hence no call; hidden as
 * arena_boards is. */
extern __attribute__((visibility("hidden"))) _Atomic uint32_t connection_collected;

/* Look whether the daemon lives, and take in what it sent. Not with the lock held. */
bool connection_alive(void);

/* ---- with the lock held ----------------------------------------------------------------------- */

/* Use @p socket from now on (owned), or stop using any. */
void connection_open(int socket);
void connection_close(void);

/* After fork(), in the child, which holds the lock as its parent did: as connection_close(). */
void connection_reinit(void);

/* Ask for rings and use them from now on; or as soon as they are worth it. */
xpurt_result connection_open_rings(void);
void connection_want_rings(void);

/* Whether a few commands more can be sent without waiting for the daemon. */
bool connection_has_room(void);

/* XPURT_ERROR_DAEMON_LOST and its sentence. */
xpurt_result connection_lost_error(void);

/* The same for a connection that ended before the welcome: why the daemon turned us away. */
xpurt_result connection_refusal(void);

/* Send a command, or collect it while a batch is open. */
xpurt_result connection_command(const Xpurt__Command *command);

/* Collect it in any case: it leaves with what comes next, and before anybody looks. For what only our own
 * commands depend on. */
xpurt_result connection_command_later(const Xpurt__Command *command);

/* As connection_command(), for one that may have more than 100 bytes, up to a frame. */
xpurt_result connection_command_large(const Xpurt__Command *command);

/* The same for the two commands that nearly all are. */
xpurt_result connection_record(uint32_t stream, uint64_t value, uint64_t stamp);
xpurt_result connection_wait(uint32_t stream, uint64_t point);

/* The Record of @p point was given to connection_record(): store the point in the cell as soon
 * as the order rules allow. */
xpurt_result connection_publish(struct board_cell *cell, uint64_t point);

/* Send what was collected. */
xpurt_result connection_flush(void);

/* Bytes of all commands so far, those collected included. */
uint64_t connection_position(void);

/* Send a request and wait for its reply; the lock is free meanwhile. An Error becomes the calling
 * thread's error; so does a reply other than @p expected or with another number of descriptors. */
xpurt_result connection_request(Xpurt__ToDaemon *request, Xpurt__ToClient__ReplyCase expected,
                                unsigned n_fds, struct reply *ret_reply);

/* The same for a request that takes a descriptor, which stays the caller's, and that may take long:
 * the daemon bounds that itself. */
xpurt_result connection_request_long(Xpurt__ToDaemon *request, int fd,
                                     Xpurt__ToClient__ReplyCase expected, unsigned n_fds,
                                     struct reply *ret_reply);

/* Take in what the daemon sent so far. */
void connection_receive(void);

/* The latest asynchronous error of an own stream; NULL: none came. Forgotten with "forget". */
const char *connection_stream_text(uint32_t stream);
void connection_forget_stream_text(uint32_t stream);

void connection_batch_begin(void);
/* False when no batch is open. */
bool connection_batch_end(void);
bool connection_batching(void);
