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

/* Free @p range in the order of @p stream. False: that is for the daemon to do. */
bool magazine_put(struct range *range, uint32_t stream);

/* A block that @p stream has freed, of just @p rounded bytes, now in use; NULL: there is none. */
struct range *magazine_take(uint32_t stream, uint64_t rounded, uint64_t requested);

/* @p stream is destroyed: the daemon gets what it has freed. */
void magazine_flush(uint32_t stream);

/* Forget what is cached of [start, start + size): it is somebody else's by now. */
void magazine_forget(uint64_t start, uint64_t size);

/* Forget what the daemon has taken back. */
void magazine_sweep(void);

/* What the daemon has finished on @p device; NULL: it does not tell. */
const struct magazine_finished *magazine_finished(uint32_t device);
