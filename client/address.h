/* SPDX-License-Identifier: MIT */
/* client/address.h: what the addresses of this process are. The lock is held. */
#pragma once

#include "client/ranges.h"
#include "client/session.h"

/* All device memory and pinned memory of this process. */
extern struct ranges addresses;

/* Put device memory into the table: part of the driver's segment of @p segment_size bytes at
 * @p segment. XPURT_ERROR_SYSTEM: host memory lies there. */
xpurt_result range_add(const struct range *range, uint64_t segment, uint64_t segment_size);

/* The driver's segment around @p address, which lies in device memory of this process. NULL: none. Valid
 * until the next change. */
struct range *segment_find(uint64_t address);

/* Whether any byte of [start, start + size) is device memory or pinned memory, in use or not. */
bool addresses_touch(uint64_t start, uint64_t size);

/* Take memory of either kind out of it. */
void range_drop(struct range *range);

/* XPURT_ERROR_INVALID_ADDRESS: "@p ptr is not @p what of this process". Needs no lock. */
xpurt_result not_ours(const void *ptr, const char *what);

/* The session ends: its memory is not ours any more. */
void addresses_end(void);
