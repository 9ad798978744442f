/* SPDX-License-Identifier: MIT */
/* daemon/connection.h: one client's socket: frames in, frames out. */
#pragma once

#include "proto/frame.h"

#include <stdbool.h>
#include <uv.h>

struct connection;

struct connection_events {
    /* A whole frame; the receiver may take descriptors, the rest is closed. */
    void (*frame)(struct connection *connection, const uint8_t *payload, size_t size,
                  struct frame_fds *fds);
    /* A batch of frames was handed over. */
    void (*settled)(struct connection *connection);
    /* The peer broke a rule of framing; it may be told, `lost` follows. */
    void (*refused)(struct connection *connection, const char *reason);
    /* The peer is gone or broke the protocol (`reason`, NULL: it hung up). Once. */
    void (*lost)(struct connection *connection, const char *reason);
    /* After connection_close(): the memory may be freed. */
    void (*closed)(struct connection *connection);
};

struct connection_output;

struct connection {
    uv_poll_t poll;
    int fd;
    int events_watched;
    const struct connection_events *events; /* borrowed: static */
    size_t out_limit;
    bool broken;                        /* nothing is read or written any more */
    bool told;                          /* `lost` was called */
    bool paused;                        /* nothing is read: the GPU is behind */
    bool kick;                          /* come back at once, not only for new bytes */
    bool closing;
    const char *reason;                 /* why it is broken; NULL: the peer hung up */

    uint8_t *partial;                   /* bytes of frames not handed over yet */
    size_t partial_size;
    struct frame_fds fds;               /* came with those */

    struct connection_output *out, **out_tail;
    size_t out_size;                    /* of what the kernel has not taken yet, and a weight for
                                           each descriptor */
};

/* Serve @p fd (non-blocking; owned from now on, also on failure) on the loop. */
int connection_open(struct connection *connection, uv_loop_t *loop, int fd,
                    const struct connection_events *events, size_t out_limit);

/* Queue a frame; its descriptors are duplicated. More than the limit unread: the peer is given
 * up. */
void connection_send(struct connection *connection, const uint8_t *payload, size_t size,
                     const int *fds, unsigned n_fds);

/* Read no more until resumed. Frames already received wait. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/* Give the peer up; `lost` follows from the loop. */
void connection_break(struct connection *connection, const char *reason);

void connection_close(struct connection *connection);
