/* SPDX-License-Identifier: MIT */
/* client/standing.h: the library's own streams, and the current ones of each thread. */
#pragma once

#include <xpurt/stream.h>

#include <stdint.h>

/* The id of the thread's current stream of @p device; 0: its default stream, also where nothing
 * was chosen. What it names may be gone by now. */
uint64_t current_id(uint32_t device);
void current_set(uint32_t device, uint64_t id);

/* The session ends: the next one has streams of its own. The lock is held. */
void standing_end(void);
