/* SPDX-License-Identifier: MIT */
/* client/wait.h: looking at points and waiting for them on the host. The lock is not held. */
#pragma once

#include <xpurt/base.h>

#include <stdbool.h>
#include <stdint.h>

#define WAIT_SLICE_NS UINT64_C(50000000) /* between looks whether the daemon lives */

uint64_t now_ns(void);

/* When @p timeout_ns from now will have passed; UINT64_MAX: never. */
uint64_t deadline_in(uint64_t timeout_ns);

/* The rest of the time until @p deadline, 0 when it has passed. */
uint64_t deadline_rest(uint64_t deadline);

/* XPURT_SUCCESS: reached; XPURT_NOT_READY; else why it will not be, with a sentence. Opens the
 * board of the process that recorded it where that was not done yet. */
xpurt_result point_check(uint64_t point);

/* point_check() for callers that poll: finds out, once in a while, that the daemon is gone. */
xpurt_result point_poll(uint64_t point);

/* Wait until reached. XPURT_TIMEOUT after @p timeout_ns. @p blocking: do not spin first. */
xpurt_result point_wait(uint64_t point, bool blocking, uint64_t timeout_ns);

/* While the calling thread runs a host function: the point of its stream before that. Waiting there
 * for what comes behind it is refused. NULL: it runs none. */
void wait_hold(const uint64_t *point);
bool wait_holds(void);

/* The sentence for a point that will not be reached; returns @p status. The lock is held. */
xpurt_result point_error(uint64_t point, xpurt_result status);
