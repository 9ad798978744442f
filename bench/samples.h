/* SPDX-License-Identifier: MIT */
/* bench/samples.h: many values, and what lies in the middle of them. */
#pragma once

#include <stddef.h>

struct samples {
    double *values;
    size_t count, size;
};

#define SAMPLES_NULL { 0 }

/* Values that find no memory are left out. */
void samples_add(struct samples *samples, double value);

/* The value below which @p share of them lie: 0 is the least, 0.5 the median, 1 the greatest. Sorts.
 * 0 when there are none. */
double samples_quantile(struct samples *samples, double share);

void samples_deinit(struct samples *samples);
