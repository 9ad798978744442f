/* SPDX-License-Identifier: MIT */
/* bench/samples.c: see samples.h. */
#include "bench/samples.h"

#include <stdlib.h>

void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->size) {
        size_t size = samples->size ? 2 * samples->size : 1024;
        double *values = realloc(samples->values, size * sizeof(*values));

        if (!values)
            return;
        samples->values = values;
        samples->size = size;
    }
    samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double samples_quantile(struct samples *samples, double share)
{
    if (!samples->count)
        return 0;
    qsort(samples->values, samples->count, sizeof(double), compare);
    return samples->values[(size_t)(share * (double)(samples->count - 1) + 0.5)];
}

void samples_deinit(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples)SAMPLES_NULL;
}
