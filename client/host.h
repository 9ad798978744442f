/* SPDX-License-Identifier: MIT */
/* client/host.h: pinned memory as staging uses it. The lock is held. */
#pragma once

#include "client/session.h"

#include <stdint.h>

/* Pinned memory: *ret_memory is mapped here, *ret_segment is its name on the wire. */
xpurt_result segment_new(uint64_t size, uint32_t *ret_segment, void **ret_memory);
void segment_free(uint32_t segment, void *memory, uint64_t size);
