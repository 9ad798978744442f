/* SPDX-License-Identifier: MIT */
/* client/memory.h: memory as staging uses it. The lock is held. */
#pragma once

#include "client/session.h"

#include <stdint.h>

/* Pinned memory: *ret_memory is mapped here, *ret_segment is its name on the wire. */
xpurt_result segment_new(uint64_t size, uint32_t *ret_segment, void **ret_memory);
void segment_free(uint32_t segment, void *memory, uint64_t size);

/* The session ends: its memory is not ours any more. A forked child keeps the mappings of pinned
 * memory, as ordinary memory. */
void memory_end(enum session_end why);
