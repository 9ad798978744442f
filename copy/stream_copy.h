/* SPDX-License-Identifier: MIT */
/* copy/stream_copy.h: memcpy for large memory that nobody is about to read. */
#ifndef XPURT_STREAM_COPY_H
#define XPURT_STREAM_COPY_H

#include <stddef.h>

#define STREAM_COPY_MIN ((size_t)1 << 20) /* below, the copy is better off in the caches */

void stream_copy(void *destination, const void *source, size_t size);

#endif
