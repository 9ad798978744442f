/* SPDX-License-Identifier: MIT */
/* client/place.h: where the memory lies that a command touches. The lock is held. */
#pragma once

#include "client/host.h"

#include <stdbool.h>

struct place {
    enum { PLACE_DEVICE, PLACE_PINNED, PLACE_PAGEABLE } kind;
    struct host_block *block;           /* pinned */
    Xpurt__Location location;           /* unless pageable */
};

/* XPURT_ERROR_INVALID_ADDRESS: the @p size bytes are not all in one place. */
xpurt_result place_find(const void *ptr, uint64_t size, struct place *ret_place);

/* What a command of @p stream touches is not given to anybody else before it is done. */
xpurt_result place_use(const struct place *place, xpurt_stream *stream);

/* Whether @p ptr lies in device memory. */
bool memory_on_device(const void *ptr);
