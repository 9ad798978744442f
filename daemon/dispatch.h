/* SPDX-License-Identifier: MIT */
/* daemon/dispatch.h: from the bytes of a frame to the handlers. */
#pragma once

#include "daemon/arena.h"
#include "proto/frame.h"

struct session;

/* Run one frame. A frame that breaks the protocol breaks the connection, after an Error. */
void dispatch_frame(struct session *session, struct arena *arena, const uint8_t *payload,
                    size_t size, unsigned n_fds);
