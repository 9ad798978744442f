/* SPDX-License-Identifier: MIT */
/* client/host.h: pinned memory as the rest of the library uses it. The lock is held. */
#pragma once

#include "client/ranges.h"
#include "client/session.h"

#include <xpurt/stream.h>

#include <stdint.h>

/* Pinned memory as the daemon gives it: *ret_memory is mapped here, *ret_segment is its name on the
 * wire. Work may still use what is freed: the daemon keeps it until that is done. */
xpurt_result segment_new(uint64_t size, uint32_t *ret_segment, void **ret_memory);
void segment_free(uint32_t segment, void *memory, uint64_t size);

/* A piece of such memory that the user has, valid until he frees it. */
struct host_block;

/* The block around @p address, in a range of pinned memory; NULL when it was freed, or never was. */
struct host_block *host_find(const struct range *range, uint64_t address);
uint32_t host_segment_id(const struct host_segment *segment); /* on the wire */
uint64_t host_start(const struct host_block *block);
uint64_t host_size(const struct host_block *block);

/* Work of @p stream uses the block: nobody else gets it before that is done. */
xpurt_result host_use(struct host_block *block, xpurt_stream *stream);

/* The session ends. After a reset the mappings are gone; a forked child keeps them, as ordinary
 * memory that it shares with its parent. */
void host_end(enum session_end why);
