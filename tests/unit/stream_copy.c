/* SPDX-License-Identifier: MIT */
/* tests/unit/stream_copy.c: the same bytes as memcpy, and none beside them. */
#include "copy/stream_copy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16384, GUARD = 64, ROOM = 4 * BLOCK };

Test(stream_copy, every_size_and_alignment)
{
    static unsigned char from[ROOM], to[ROOM], wanted[ROOM];
    static const size_t sizes[] = { 0, 1, 63, 64, 4096, BLOCK, BLOCK + 64, 2 * BLOCK, 3 * BLOCK };

    for (size_t i = 0; i < ROOM; i++)
        from[i] = (unsigned char)rand();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t more = 0; more < 3; more++)
            for (size_t begin = 0; begin < GUARD; begin += 7)
                for (size_t end = 0; end < GUARD; end += 5) {
                    size_t size = sizes[i] + more ? sizes[i] + more - 1 : 0;

                    memset(to, 0xa5, sizeof(to));
                    memset(wanted, 0xa5, sizeof(wanted));
                    memcpy(wanted + GUARD + end, from + begin, size);
                    stream_copy(to + GUARD + end, from + begin, size);
                    cr_assert(memcmp(to, wanted, sizeof(to)) == 0, "%zu bytes from %zu to %zu",
                              size, begin, end);
                }
}
