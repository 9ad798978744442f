/* SPDX-License-Identifier: MIT */
/* daemon/dispatch.h: from the bytes of a frame to the handlers. */
#pragma once

#include "daemon/arena.h"
#include "proto/frame.h"

struct session;

/* Run a frame, or so many of its commands as the budget is good for: what they cost is taken from
 * it. Descriptors that a request takes are taken out of @p fds. Returns the bytes that are done; the rest is a frame like any other. A frame that breaks the
 * protocol breaks the connection, after an Error. */
size_t dispatch_frame(struct session *session, struct arena *arena, const uint8_t *payload,
                      size_t size, struct frame_fds *fds, int *budget);
