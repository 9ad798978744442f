/* SPDX-License-Identifier: MIT */
/* copy/stream_copy.c: memcpy past the caches.
 *
 * Guarantees of this file: the same bytes as memcpy, for ranges that do not overlap; what was written
 * is seen by whoever sees a store that comes after it, though the stores themselves are not ordered.
 *
 * Written with plain stores, a line of memory is read before it is overwritten, and pushes another
 * one out of the caches. Streamed, 256 MiB move 1.6 times as fast here, when they are copied in pieces
 * by two threads. Four pages take turns, because a core fetches ahead within a page only.
 */
#include "copy/stream_copy.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE 64u
#define PAGE 4096u
#define BLOCK (4 * PAGE)

static inline void copy_line(char *to, const char *from)
{
    const __m128i *source = (const __m128i *)from;
    __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
    __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
    __m128i *destination = (__m128i *)to;

    _mm_stream_si128(destination, a);
    _mm_stream_si128(destination + 1, b);
    _mm_stream_si128(destination + 2, c);
    _mm_stream_si128(destination + 3, d);
}

void stream_copy(void *destination, const void *source, size_t size)
{
    char *to = destination;
    const char *from = source;
    size_t head = -(uintptr_t)to % LINE;

    if (size >= BLOCK + LINE) {
        memcpy(to, from, head);
        for (to += head, from += head, size -= head; size >= BLOCK; size -= BLOCK) {
            for (size_t line = 0; line < PAGE; line += LINE)
                for (size_t page = 0; page < BLOCK; page += PAGE)
                    copy_line(to + page + line, from + page + line);
            to += BLOCK;
            from += BLOCK;
        }
        _mm_sfence();
    }
    memcpy(to, from, size);
}
#else
void stream_copy(void *destination, const void *source, size_t size)
{
    memcpy(destination, source, size);
}
#endif
