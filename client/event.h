/* SPDX-License-Identifier: MIT */
/* client/event.h: events as the rest of the library uses them. */
#pragma once

#include "client/session.h"

#include <xpurt/event.h>

#include <stdbool.h>
#include <stdint.h>

/* Whether @p event can be used. */
xpurt_result event_check(xpurt_event *event);

/* Whether an event can be made with @p flags. */
xpurt_result event_flags_check(unsigned flags);

/* What the event captured last, also in an open batch; 0: nothing. The lock is held. */
uint64_t event_point(xpurt_event *event);

/* Where an event is. The cell stays mapped and the event's as long as it lives or is pinned. */
struct event_place {
    struct board_cell *cell;
    uint32_t slot;
    uint32_t index;                     /* of the cell */
    bool blocking;
};

struct event_place event_place(const xpurt_event *event);

/* The first record gives the event its device, in whichever process that is; later ones must be on the
 * same. */
xpurt_result event_bind(xpurt_event *event, uint32_t device);

/* ---- with the lock held ----------------------------------------------------------------------- */

/* Whether a record of it waits in a batch. */
bool event_pending(const xpurt_event *event);

/* Keep the event after its destruction, until unpinned as often. */
void event_pin(xpurt_event *event);
void event_unpin(xpurt_event *event);

/* Whether another process may record the event, or get to: it was opened by a handle, has one, or
 * came by fork(). */
bool event_shared(const xpurt_event *event);

/* Whether the user has destroyed it. */
bool event_destroyed(xpurt_event *event);

/* The session ends. After a reset its events are stale; after a fork the child goes on with them,
 * but the cells are the parent's. */
void events_end(enum session_end why);
