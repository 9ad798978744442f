/* SPDX-License-Identifier: MIT */
/* client/event.h: events as the rest of the library uses them. */
#pragma once

#include "client/session.h"

#include <xpurt/event.h>

#include <stdint.h>

/* Whether @p event can be used. */
xpurt_result event_check(xpurt_event *event);

/* What the event captured last, also in an open batch; 0: nothing. The lock is held. */
uint64_t event_point(xpurt_event *event);

/* The session ends. After a reset its events are stale; after a fork the child goes on with them,
 * but the cells are the parent's. */
void events_end(enum session_end why);
