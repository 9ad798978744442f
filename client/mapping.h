/* SPDX-License-Identifier: MIT */
/* client/mapping.h: device memory that is host memory, mapped into this process. The lock is held. */
#pragma once

#include "client/session.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping;

/* Whether it is worth asking for a mapping of the live device memory at @p address: not where that was
 * refused before. */
bool mapping_possible(uint64_t address);

/* The mapping of the segment around live device memory, for one more use. NULL: there is none. The lock
 * is free meanwhile. */
struct mapping *mapping_take(uint64_t address);

/* That use is over. */
void mapping_give(struct mapping *mapping);

/* Where @p size bytes at a device address inside the mapped segment lie in this process. Needs no lock. */
void *mapping_at(struct mapping *mapping, uint64_t address, size_t size);

/* The CPU begins, or has ended, to read (or else write) the memory. Needs no lock, and may wait for the
 * device. */
xpurt_result mapping_access(const struct mapping *mapping, bool begins, bool reads);

/* The segment is not ours any more; NULL: it was never mapped. */
void mapping_detach(struct mapping *mapping);

/* The session ends, before its addresses do. */
void mappings_end(enum session_end why);
