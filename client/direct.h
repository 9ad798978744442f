/* SPDX-License-Identifier: MIT */
/* client/direct.h: copies between ordinary memory and device memory that this process can map. */
#pragma once

#include <xpurt/stream.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether that may be the way for this copy. The lock is held. */
bool direct_possible(xpurt_stream *stream, uint64_t address, size_t size);

/* In stream order: when it returns, the bytes are there. *ret_done false, with XPURT_SUCCESS: nothing was
 * copied, it is for staging to do. The lock is not held. */
xpurt_result direct_upload(xpurt_stream *stream, uint64_t to, const void *from, size_t size,
                           bool *ret_done);
xpurt_result direct_download(xpurt_stream *stream, void *to, uint64_t from, size_t size,
                             bool *ret_done);
