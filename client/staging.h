/* SPDX-License-Identifier: MIT */
/* client/staging.h: copies between what the GPU reaches and ordinary host memory. */
#pragma once

#include "client/connection.h"

#include <xpurt/stream.h>

/* In stream order. Returns when @p from was read. The lock is not held. */
xpurt_result staging_upload(xpurt_stream *stream, const Xpurt__Location *to, const void *from,
                            size_t size);

/* In stream order. Returns when @p to was written. The lock is not held. */
xpurt_result staging_download(xpurt_stream *stream, void *to, const Xpurt__Location *from,
                              size_t size);

/* Whether an upload of @p size bytes fits into the chunks, so that it need not wait for a busy stream. */
bool staging_holds(size_t size);

/* Give back what no copy needs just now. The lock is held. */
void staging_trim(void);

/* The session ends. The lock is held. */
void staging_end(void);
