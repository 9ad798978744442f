/* SPDX-License-Identifier: MIT */
/* daemon/dependence.h: which streams the GPU makes wait for which. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct runtime;
struct stream;

/* Of @p waiter, from its marker at @p position on, on @p value of @p source. */
struct dependence {
    struct dependence *prev, *next;     /* in the list of the source */
    struct stream *source;              /* borrowed; NULL: it is gone, all was done */
    struct stream *waiter;              /* borrowed: frees us before it goes */
    uint64_t position;
    uint64_t value;
};

/* NULL: no memory. */
struct dependence *dependence_new(struct stream *waiter, uint64_t position, struct stream *source,
                                  uint64_t value);
void dependence_free(struct dependence *dependence);

/* @p source goes; nobody depends on it any more. */
void dependences_end(struct stream *source);
