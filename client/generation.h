/* SPDX-License-Identifier: MIT */
/* client/generation.h: waiting for a record that is still to come. */
#pragma once

#include "client/event.h"

struct generation_wait {
    xpurt_event *event;
    struct event_place place;
    uint32_t generation;
    uint64_t ask_at;                    /* when to ask the daemon who may still record */
};

void generation_wait_begin(struct generation_wait *wait, xpurt_event *event, uint32_t generation);

/* Sleep until the event may have been recorded so often, for at most @p rest_ns and for a slice.
 * XPURT_SUCCESS: it was; XPURT_NOT_READY: not yet; else why it will not be. The lock is not held. */
xpurt_result generation_step(struct generation_wait *wait, uint64_t rest_ns);

/* Whether a cell was recorded so often: its generation is @p generation, or up to 2^31 - 1 beyond,
 * modulo 2^32. */
bool generation_there(const struct board_cell *cell, uint32_t generation);
