/* SPDX-License-Identifier: MIT */
/* daemon/stream_internal.h: shared by the stream*.c files, by nobody else. */
#pragma once

#include "daemon/stream.h"

#define SPARE_WORKS_MAX 1024u           /* 100 KiB */

static inline uint64_t markers_left(struct stream *stream)
{
    return STREAM_MARKERS -
           (atomic_load_explicit(&stream->head, memory_order_relaxed) - stream->freed);
}

static inline bool markers_full(struct stream *stream)
{
    /* A command may need one place, the fence behind it another. */
    return markers_left(stream) < 2;
}

static inline bool markers_running(struct stream *stream)
{
    return stream->freed != atomic_load_explicit(&stream->head, memory_order_relaxed);
}

/* ---- stream.c ---- */

/* Room for what one command and its markers hold at most, and @p more. */
bool holds_reserve(struct stream *stream, uint64_t more);

/* Takes over the reference. */
void holds_add(struct stream *stream, struct resource *resource);

/* Give back what was held before position @p end. */
void holds_release(struct stream *stream, uint64_t end);

/* False: no memory. */
bool markers_make(struct stream *stream);

/* Give back what belongs to markers that are done, or whose device is lost. */
void markers_reclaim(struct stream *stream);

/* Takes over the reference to the slot, if there is one. */
void marker_push(struct stream *stream, const struct marker *marker);

/* The marker is behind the work on the GPU. Takes what it holds from @p work, if any. */
void marker_take(struct stream *stream, struct marker *marker, struct work *work);

/* @p waiter will wait for @p point, which is on its way on the GPU. NULL: no memory. */
struct dependence *stream_depend(struct stream *waiter, uint64_t point);

/* It takes part in the next runtime_settle(). */
void stream_touch(struct stream *stream);

/* It will not run @p work, or has run it: let go of what that still holds. */
void stream_drop(struct stream *stream, struct work *work);

/* ---- stream_queue.c ---- */

/* What runs next waits until that record is submitted, or until there is room for markers. */
void stream_block_on_point(struct stream *stream, uint64_t point);
void stream_block_full(struct stream *stream);

/* It waits for neither. */
void stream_unblock(struct stream *stream);

/* Those who wait for a value up to @p value of that timeline go on: they look at it again. */
void stream_waiters_resume(struct session *session, uint32_t index, uint64_t value);

/* The first of a queue that is not empty; the caller gives it back to `spare_works`. */
struct work *queue_pop(struct stream *stream);

/* It could not run: it is the next one again. */
void queue_unpop(struct stream *stream, struct work *work);

/* A copy of @p work waits; where that may not be, the stream fails and @p work is dropped. */
void queue_push(struct stream *stream, const struct work *work);

/* Drop all that waits. */
void queue_drop(struct stream *stream);

/* ---- stream_external.c ---- */

/* The client has put a record on its list, or a wait for a point that is on its way on the GPU. */
xpurt_result external_record(struct stream *stream, struct work *work);
xpurt_result external_wait_push(struct stream *stream, struct work *work);

/* There is nothing to wait for: let the list go on. Work that was run holds nothing any more. */
void external_go_on(struct stream *stream, struct work *work);

/* It goes on by itself. No later record of it counts; nothing it waits for is to hold it up. */
void external_fail(struct stream *stream);

/* What its list has done counts, the rest will not come: it died with the client. */
void external_close(struct stream *stream);

/* ---- stream_life.c ---- */

/* Some of what is on the GPU will not come, or does not count. */
void stream_lose(struct stream *stream);

/* Everything is done and nobody looks at it. */
bool stream_drained(struct stream *stream);

/* It is drained. Careful: its session may be gone afterwards, too. */
void stream_free(struct stream *stream);
