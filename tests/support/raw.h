/* SPDX-License-Identifier: MIT */
/* tests/support/raw.h: a client that says exactly what a test wants said, right or wrong.
 *
 * Nothing is checked on the way out and everything on the way in. Functions end the test process
 * (peer.h) when the daemon does something that no test expects.
 */
#pragma once

#include "proto/board.h"
#include "proto/frame.h"
#include "proto/handle.h"
#include "proto/ring.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>

struct raw {
    int fd;
    uint32_t serial;                    /* of the last request */
    unsigned errors;                    /* Error frames that came */
    xpurt_result error;                 /* the code of the last one */
    char text[512];                     /* and its sentence */

    Xpurt__ToClient *reply;             /* the last frame that came, until the next one */
    struct frame_fds fds;               /* its descriptors */
    uint8_t bytes[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    size_t have;

    /* After raw_open(). */
    uint32_t slot;
    uint8_t instance[16];
    struct board_progress *progress;    /* read-only, as for every client */
    struct board_events *events;
    int progress_fd, events_fd;
    uint64_t values[BOARD_TIMELINES];   /* the last one recorded on each stream */

    /* After raw_open_rings(). */
    struct rings rings;                 /* base NULL: none */
    int bell;
    bool by_socket;                     /* send frames by that all the same */
};

/* The start of an initialiser: { RAW_COMMAND(RECORD), .record = &record } */
#define RAW_COMMAND(name) \
    PROTOBUF_C_MESSAGE_INIT(&xpurt__command__descriptor), XPURT__COMMAND__BODY_##name
#define RAW_REQUEST(name) \
    PROTOBUF_C_MESSAGE_INIT(&xpurt__to_daemon__descriptor), 0, NULL, 0, \
        XPURT__TO_DAEMON__REQUEST_##name

/* ---- the connection -------------------------------------------------------------------------- */

/* Connect, and no more. */
void raw_connect(struct raw *raw, const char *socket);

/* Connect, say Hello, map the boards. */
void raw_open(struct raw *raw, const char *socket);
void raw_close(struct raw *raw);

/* Ask for rings of these sizes (0: as the daemon likes), and send all frames by them from now on. */
xpurt_result raw_open_rings(struct raw *raw, uint32_t to_daemon, uint32_t to_client);

/* ---- out: 0, or -errno when the daemon has hung up ------------------------------------------- */

int raw_send(struct raw *raw, const void *bytes, size_t size);

/* One sendmsg() with any number of descriptors. */
int raw_send_fds(struct raw *raw, const void *bytes, size_t size, const int *fds, unsigned n_fds);

/* Put bytes into the ring, frames or not, and ring the bell if need be. -EAGAIN: there is no room. */
int raw_put(struct raw *raw, const void *bytes, size_t size);

/* A frame around @p payload. */
int raw_send_frame(struct raw *raw, const void *payload, size_t size);
int raw_send_message(struct raw *raw, const Xpurt__ToDaemon *message);
int raw_send_command(struct raw *raw, const Xpurt__Command *command);

/* ---- in -------------------------------------------------------------------------------------- */

enum raw_came { RAW_FRAME, RAW_END, RAW_SILENCE };

/* The next frame, in raw->reply. */
enum raw_came raw_receive(struct raw *raw, int timeout_ms);

/* The reply to a request; errors without serial that come before it are only counted. NULL: the
 * daemon has hung up. */
const Xpurt__ToClient *raw_ask(struct raw *raw, Xpurt__ToDaemon *request);

/* Its code: XPURT_SUCCESS unless the reply is an Error. Ends the process when there is none. */
xpurt_result raw_result(struct raw *raw, Xpurt__ToDaemon *request);

/* Commands sent so far are done with, and what they said was received. */
void raw_settle(struct raw *raw);

/* Whether the daemon closes this connection now, within a generous time. */
bool raw_closed(struct raw *raw);

/* ---- what clients do ------------------------------------------------------------------------- */

void raw_stream_create(struct raw *raw, uint32_t stream, uint32_t device);
void raw_stream_destroy(struct raw *raw, uint32_t stream);

/* The point recorded. */
uint64_t raw_record(struct raw *raw, uint32_t stream);
void raw_wait(struct raw *raw, uint32_t stream, uint64_t point);

/* Segment 0: device memory. */
void raw_copy(struct raw *raw, uint32_t stream, uint32_t to_segment, uint64_t to,
              uint32_t from_segment, uint64_t from, uint64_t size);
void raw_fill(struct raw *raw, uint32_t stream, uint32_t segment, uint64_t to, uint64_t size,
              uint32_t pattern, uint32_t width);

xpurt_result raw_memory_alloc(struct raw *raw, uint64_t size, uint64_t *ret_address);
void raw_memory_free(struct raw *raw, uint64_t address);
xpurt_result raw_memory_export(struct raw *raw, uint64_t address, struct handle *ret_handle);
xpurt_result raw_memory_open(struct raw *raw, const struct handle *handle, uint64_t *ret_address);

/* @p ret_bytes: where it is mapped; NULL: not mapped. */
xpurt_result raw_host_alloc(struct raw *raw, uint64_t size, uint32_t *ret_segment,
                            void **ret_bytes);
void raw_host_free(struct raw *raw, uint32_t segment);

xpurt_result raw_event_export(struct raw *raw, uint32_t cell, struct handle *ret_handle);
xpurt_result raw_event_open(struct raw *raw, const struct handle *handle, uint32_t *ret_slot,
                            uint32_t *ret_cell);
void raw_event_close(struct raw *raw, uint32_t slot, uint32_t cell);
void raw_event_drop(struct raw *raw, uint32_t cell);
xpurt_result raw_event_sharers(struct raw *raw, uint32_t slot, uint32_t cell, uint32_t *ret_others,
                               bool *ret_lost);
void raw_stream_fail(struct raw *raw, uint32_t stream, uint32_t code);

/* @p ret_fd: the caller's from then on. */
xpurt_result raw_point_poll(struct raw *raw, uint64_t point, int *ret_fd);
xpurt_result raw_board_open(struct raw *raw, uint32_t slot, const uint8_t instance[16]);

/* The status of a stream's timeline, waited for if it is still 0. XPURT_TIMEOUT. */
xpurt_result raw_status(struct raw *raw, uint32_t stream);

/* Until the stream has reached what was recorded last: XPURT_SUCCESS, the status, or
 * XPURT_TIMEOUT. */
xpurt_result raw_finish(struct raw *raw, uint32_t stream);

/* One of the daemon's counters. */
uint64_t raw_counter(struct raw *raw, const char *name);
