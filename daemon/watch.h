/* SPDX-License-Identifier: MIT */
/* daemon/watch.h: being told, on the loop thread, when a point is reached or can no longer be. */
#pragma once

#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <stdint.h>

struct session;
struct watch;

/* XPURT_SUCCESS: the point was reached; else why it will not be, or (PEER_LOST) that the client who
 * asked is gone. Must not call into this file. */
typedef void watch_fire(void *data, xpurt_result result);

/* Call @p fire once, unless watch_free() comes first; from inside this call when the point is over
 * already. False: it will not be called, and the client was told why not. *ret_watch (may be NULL
 * where nobody wants to free it) is gone once it fired, NULL when it did at once. */
bool watch_new(struct session *asker, uint32_t serial, uint64_t point, watch_fire *fire, void *data,
               struct watch **ret_watch);

/* NULL is a no-op. */
void watch_free(struct watch *watch);

/* A stream of @p session went on or failed: fire the watches of its points that are over. */
void watches_look(struct session *session, uint32_t stream);

/* The session is gone: fire what watches it, and what it watches. */
void watch_end(struct session *session);

/* Give the client a descriptor that becomes readable when the point is over. */
void point_poll(struct session *session, uint32_t serial, const Xpurt__PointPoll *request);
