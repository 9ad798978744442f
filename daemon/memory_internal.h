/* SPDX-License-Identifier: MIT */
/* daemon/memory_internal.h: shared by the memory*.c files, by nobody else. */
#pragma once

#include "daemon/memory.h"

/* The session's lease of @p block, or NULL. */
struct memory_lease *memory_lease_of(struct session *session, const struct block *block);

/* The session's lease of the block around @p address, or NULL. */
struct memory_lease *memory_lease_find(struct session *session, uint64_t address);

/* One more time opened (or allocated). False: no memory. */
bool memory_lease_add(struct session *session, struct block *block);

/* The block becomes the session's. @p stream: 1 + that it is for, 0: none. False: no memory, it is
 * free again. */
bool block_own(struct session *session, struct block *block, uint64_t requested, uint32_t stream);
