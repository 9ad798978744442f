/* SPDX-License-Identifier: MIT */
/* client/stream.h: streams as the rest of the library uses them. */
#pragma once

#include "client/session.h"

#include <xpurt/graph.h>
#include <xpurt/stream.h>

struct external;

/* Whose a stream is. The library's own streams live as long as the session. */
enum stream_kind {
    STREAM_DEFAULT = 0,                 /* of its device; its id is 0 */
    STREAM_POOL = 1,
    STREAM_OWN = 2,                     /* the user's, and his to destroy */
    STREAM_EXTERNAL = 3,                /* likewise; a command list of his own context */
};

/* An id: serial number, place among the streams, kind; never negative as a signed number. */
static inline uint64_t stream_id_pack(uint64_t serial, uint32_t place, enum stream_kind kind)
{
    return (serial & (UINT64_MAX >> 19)) << 18 | (uint64_t)place << 2 | (uint64_t)kind;
}

static inline uint32_t stream_id_place(uint64_t id)
{
    return (uint32_t)(id >> 2) & 0xffff;
}

static inline enum stream_kind stream_id_kind(uint64_t id)
{
    return (enum stream_kind)(id & 3);
}

/* Whether @p stream can be used. */
xpurt_result stream_check(xpurt_stream *stream);

/* A priority as it is used: -1, 0 or 1. */
int stream_clamp_priority(int priority);

/* Take the lock if @p stream can be used. Without XPURT_SUCCESS the lock is not held. */
xpurt_result stream_enter(xpurt_stream *stream);

/* The same for what cannot be captured: refused while the stream is. */
xpurt_result stream_enter_running(xpurt_stream *stream);

/* Whether that still holds where the lock was free since: it may be captured by now. */
xpurt_result stream_running(const xpurt_stream *stream);

/* ---- with the lock held ----------------------------------------------------------------------- */

/* A stream of a device that exists. The lock is free meanwhile. */
xpurt_result stream_new(uint32_t device, int priority, enum stream_kind kind,
                        xpurt_stream **ret_stream);

/* One that is @p external, which it owns from then on. */
xpurt_result stream_new_external(uint32_t device, struct external *external,
                                 xpurt_stream **ret_stream);

/* The stream of this session with that id, other than a default one; NULL when there is none. */
xpurt_stream *stream_find(uint64_t id);

uint64_t stream_id(const xpurt_stream *stream);
uint32_t stream_index(const xpurt_stream *stream);
uint32_t stream_device(const xpurt_stream *stream);

/* The command list of an external stream; NULL: it is in the daemon. */
void *stream_native(const xpurt_stream *stream);

/* The graph that takes the stream's commands; NULL: they are run. */
xpurt_graph *stream_capture(const xpurt_stream *stream);
void stream_set_capture(xpurt_stream *stream, xpurt_graph *graph);

/* Send a command of the stream that is neither Record nor StreamDestroy. */
xpurt_result stream_command(xpurt_stream *stream, const Xpurt__Command *command);
xpurt_result stream_command_large(xpurt_stream *stream, const Xpurt__Command *command);

/* Record: *ret_point is reached when all that was sent so far is done. */
xpurt_result stream_record(xpurt_stream *stream, uint64_t stamp, uint64_t *ret_point);

/* When the work is done that was sent so far to the stream @p id on timeline @p index, which may have
 * been destroyed since: a point, or 0 when that is so already. Records where it has to. */
xpurt_result stream_point_of(uint32_t index, uint64_t id, uint64_t *ret_point);

/* Nothing up to @p point of an own stream is under way any more, also where the stream failed. */
bool stream_point_over(uint64_t point);

/* Make sure that the stream's point covers all that was sent. */
xpurt_result stream_cover(xpurt_stream *stream, uint64_t *ret_point);

/* Make sure that it has a point which covers all: then it needs no record while it is captured, whoever
 * waits for it or destroys it. */
xpurt_result stream_record_all(xpurt_stream *stream);

/* The point of the stream's next record; and a graph was launched with @p records of them, and maybe
 * more behind. */
uint64_t stream_next_point(const xpurt_stream *stream);
void stream_launched(xpurt_stream *stream, uint32_t records, bool more);

/* Whether waiting for *point makes sense: an error where it cannot be reached. What is reached becomes
 * 0. The lock is free meanwhile where its board has to be mapped. */
xpurt_result stream_wait_check(xpurt_stream *stream, uint64_t *point);

/* Wait for @p point in stream order. */
xpurt_result stream_wait(xpurt_stream *stream, uint64_t point);

/* A stream in the daemon that is no object here: *ret_point is its beginning. The lock is free
 * meanwhile. */
xpurt_result timeline_open(uint32_t device, int priority, bool external, uint64_t *ret_point);

/* Whether the daemon could make it; asks. Closes it when not. The lock is free meanwhile. */
xpurt_result timeline_confirm(uint64_t point, uint32_t device);

/* Its end: @p point is its last record, and there is one, or it has failed. */
void timeline_close(uint64_t point, uint32_t device);

/* The session ends: its streams are of no use any more; after a reset not even live. */
void streams_end(enum session_end why);
