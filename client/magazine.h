/* SPDX-License-Identifier: MIT */
/* client/magazine.h: blocks this process has freed in stream order and may have again, see
 * proto/magazine.h. The lock is held. */
#pragma once

#include "proto/magazine.h"
#include "client/ranges.h"
#include "client/session.h"

/* Have a magazine; asks the daemon the first time, the lock is free meanwhile. */
xpurt_result magazine_begin(void);
void magazine_end(void);

/* The daemon gave @p range, of @p stream, its entry: what the entry named before is gone. It is
 * known by @p rounded bytes, maybe less than the block has. */
void magazine_enter(const struct range *range, uint32_t stream, uint64_t rounded);

/* Before magazine_put(): gives all to the daemon when @p size bytes more would be too many. */
void magazine_make_room(uint64_t size);

/* Free @p range in the order of @p stream. False: that is for the daemon to do. */
bool magazine_put(struct range *range, uint32_t stream);

/* A block that @p stream has freed, of just @p rounded bytes, now in use; NULL: there is none. */
struct range *magazine_take(uint32_t stream, uint64_t rounded, uint64_t requested);

/* The daemon gets what @p stream has freed; what all have freed. */
void magazine_flush(uint32_t stream);
void magazine_flush_all(void);

/* Forget what is cached of [start, start + size): it is somebody else's by now. */
void magazine_forget(uint64_t start, uint64_t size);

/* Forget what the daemon has taken back. */
void magazine_sweep(void);

/* What the daemon has finished on @p device; NULL: it does not tell. */
const struct magazine_finished *magazine_finished(uint32_t device);
