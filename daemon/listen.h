/* SPDX-License-Identifier: MIT */
/* daemon/listen.h: where clients come in: sockets passed by systemd, or one of our own. */
#pragma once

#include "daemon/config.h"

#define LISTEN_MAX 4u                   /* sockets passed by systemd: .socket units are short */

struct listener {
    unsigned count;
    int fds[LISTEN_MAX];                /* non-blocking, close-on-exec; see listener_take() */
    char *path;                         /* of a socket of our own; NULL: passed by systemd */
    int lock;                           /* on <path>.lock while we serve; -1 */
    dev_t device;                       /* of the socket file we made; inode 0: none */
    ino_t inode;
};

#define LISTENER_NULL { .lock = -1 }

/* Listen. -EADDRINUSE when another daemon does already. -errno; the reason is logged. */
int listener_open(struct listener *listener, const struct config *config);

/* The next socket, now the caller's; -1 when there is none left. */
int listener_take(struct listener *listener);

/* Remove the socket if it is still the one we made, so that clients go elsewhere from now on.
 * Closes what was not taken. May be called twice. */
void listener_close(struct listener *listener);
