/* SPDX-License-Identifier: MIT */
/* daemon/ring.h: the rings of one client, as the daemon uses them. */
#pragma once

#include "proto/ring.h"
#include "daemon/bells.h"
#include "proto/frame.h"

#define RING_TO_DAEMON 131072u          /* what clients get that do not say what they want */
#define RING_TO_CLIENT 16384u

struct client_rings {
    struct rings rings;
    struct bell bell;
    uint64_t after;                     /* what the socket gave comes after this position */
    uint8_t *rest;                      /* of a frame that takes more than one turn */
    size_t rest_begin, rest_end;
};

/* Make rings of these sizes. ret_fds: their memory, which the caller closes, and the bell, which
 * stays ours. -EINVAL for sizes that are not good; -errno. */
int client_rings_new(uint32_t to_daemon, uint32_t to_client, struct client_rings **ret_rings,
                     int ret_fds[2]);

/* The bell is closed, or was never added. */
void client_rings_free(struct client_rings *rings);

/* Put a frame into the ring to the client: 1, 0 when there is no room, -EPROTO for a client that
 * cannot be trusted. *ret_bell: it sleeps. */
int client_rings_send(struct client_rings *rings, const uint8_t *payload, size_t size,
                      bool *ret_bell);

/* Copy frames that lie before @p limit out of the ring, whole ones, as many as are worth it;
 * ring_consume() says which of them are done. 0: there are none. -EPROTO as above. */
ssize_t client_rings_copy(struct client_rings *rings, uint64_t limit,
                          uint8_t out[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX]);

/* Keep the rest of a frame. -ENOMEM. */
int client_rings_keep(struct client_rings *rings, const uint8_t *bytes, size_t size);

/* Let the bell be silent. */
void client_rings_hear(struct client_rings *rings);
