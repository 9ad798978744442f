/* SPDX-License-Identifier: MIT */
/* client/stream.h: streams as the rest of the library uses them. */
#pragma once

#include "client/session.h"

#include <xpurt/stream.h>

/* Take the lock if @p stream can be used. Without XPURT_SUCCESS the lock is not held. */
xpurt_result stream_enter(xpurt_stream *stream);

/* ---- with the lock held ----------------------------------------------------------------------- */

uint32_t stream_index(const xpurt_stream *stream);
uint32_t stream_device(const xpurt_stream *stream);

/* Send a command of the stream that is neither Record nor StreamDestroy. */
xpurt_result stream_command(xpurt_stream *stream, const Xpurt__Command *command);

/* Record: *ret_point is reached when all that was sent so far is done. */
xpurt_result stream_record(xpurt_stream *stream, uint64_t stamp, uint64_t *ret_point);

/* The session ends: its streams are of no use any more; after a reset not even live. */
void streams_end(enum session_end why);
