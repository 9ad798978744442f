/* SPDX-License-Identifier: MIT */
/* bench/figures.c: see figures.h. */
#include "bench/figures.h"
#include "bench/samples.h"

struct figures side_figures(const struct outcome *outcome, unsigned side)
{
    struct samples samples = SAMPLES_NULL;
    struct figures figures;

    for (unsigned run = 0; run < outcome->runs; run++)
        samples_add(&samples, outcome->sides[side].values[run]);
    figures.least = samples_quantile(&samples, 0);
    figures.median = samples_quantile(&samples, 0.5);
    figures.greatest = samples_quantile(&samples, 1);
    samples_deinit(&samples);
    return figures;
}

double side_ratio(const struct outcome *outcome, unsigned side)
{
    struct samples samples = SAMPLES_NULL;
    double ratio;

    for (unsigned run = 0; run < outcome->runs; run++)
        if (outcome->sides[side].values[run] > 0)
            samples_add(&samples, outcome->sides[0].values[run] / outcome->sides[side].values[run]);
    ratio = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return ratio;
}

bool goal_met(const struct goal *goal, bool more, double value)
{
    return more ? value >= goal->bound : value <= goal->bound;
}
