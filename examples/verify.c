/* SPDX-License-Identifier: MIT */
/* examples/verify.c: is a copy equal to the original?
 *
 * Guarantees of this file: "equal" means every byte and the length.
 */
#include "verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20)

static int streams_equal(FILE *a, FILE *b, char *pieces)
{
    size_t n;

    do {
        n = fread(pieces, 1, PIECE, a);
        if (fread(pieces + PIECE, 1, PIECE, b) != n || memcmp(pieces, pieces + PIECE, n) != 0)
            return ferror(a) || ferror(b) ? -EIO : 0;
    } while (n == PIECE);
    return ferror(a) || ferror(b) ? -EIO : 1;
}

int files_equal(const char *a, const char *b)
{
    FILE *file_a = fopen(a, "re");
    FILE *file_b = file_a ? fopen(b, "re") : NULL;
    char *pieces = file_b ? malloc(2 * PIECE) : NULL;
    int r = pieces ? streams_equal(file_a, file_b, pieces) : -errno;

    free(pieces);
    if (file_b)
        fclose(file_b);
    if (file_a)
        fclose(file_a);
    return r;
}
