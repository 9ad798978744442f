/* SPDX-License-Identifier: MIT */
/* daemon/connection.h: one client's socket, and its rings: frames in, frames out. */
#pragma once

#include "daemon/rota.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <uv.h>

struct connection;

struct connection_events {
    /* A whole frame. The receiver takes from the budget what it costs, and may stop between two
     * commands once that is used up; it returns how many bytes are done. The others come again, as
     * a frame of their own with the same descriptors. Of a frame that is done it may have taken
     * descriptors, the rest is closed. */
    size_t (*frame)(struct connection *connection, const uint8_t *payload, size_t size,
                    struct frame_fds *fds, int *budget);
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
struct client_rings;

struct connection {
    uv_poll_t poll;
    struct rota *rota;                  /* borrowed: outlives us */
    struct rota_member member;
    int fd;
    int events_watched;
    const struct connection_events *events; /* borrowed: static */
    size_t out_limit;
    bool broken;                        /* nothing is read or written any more */
    bool refusing;                      /* it broke a rule: last words go by the socket */
    bool told;                          /* `lost` was called */
    bool paused;                        /* nothing is read: the GPU is behind */
    bool ready;                         /* what the socket gave waits for a turn */
    bool ended;                         /* the last thing it gave was its end */
    bool closing;
    unsigned n_handles;                 /* of libuv, not closed yet */
    const char *reason;                 /* why it is broken; NULL: the peer hung up */

    uint8_t *kept;                      /* bytes of the socket not handed over yet */
    size_t kept_begin, kept_end;
    struct frame_fds fds;               /* came with those */
    struct client_rings *rings;         /* NULL: none were asked for */

    struct connection_output *out, **out_tail;
    size_t out_size;                    /* of what the kernel has not taken yet, and a weight for
                                           each descriptor */
};

/* Serve @p fd (non-blocking; owned from now on, also on failure) on the rota's loop. */
int connection_open(struct connection *connection, struct rota *rota, int fd,
                    const struct connection_events *events, size_t out_limit);

/* Make rings of these sizes and use them from now on. ret_fds: their memory, which the caller
 * closes, and the bell, which stays ours; both are for the peer. -EEXIST, -EINVAL, -errno. */
int connection_open_rings(struct connection *connection, uint32_t to_daemon, uint32_t to_client,
                          int ret_fds[2]);

/* Send a frame: by the ring, where there is one with room and the frame has no descriptors, else by
 * the socket. Descriptors stay the caller's. More than the limit unread: the peer is given up. */
void connection_send(struct connection *connection, const uint8_t *payload, size_t size,
                     const int *fds, unsigned n_fds);

/* Who sends is awake again: let it run before others are served, if it needs our CPU. */
void connection_yield(struct connection *connection);

/* Read no more until resumed. Frames already received wait. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/* Give the peer up; `lost` follows from the loop. */
void connection_break(struct connection *connection, const char *reason) __attribute__((cold));

void connection_close(struct connection *connection);
