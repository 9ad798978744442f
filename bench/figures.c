/* SPDX-License-Identifier: MIT */
/* bench/figures.c: see figures.h. */
#include "bench/figures.h"
#include "bench/samples.h"

#include <math.h>
#include <stdio.h>

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

double side_value(const struct outcome *outcome, unsigned side)
{
    return side ? side_ratio(outcome, side) : side_figures(outcome, 0).median;
}

const struct goal *side_goal(const struct row *row, unsigned side)
{
    return side ? &row->sides[side].ratio : &row->goal;
}

const char *number_text(char text[NUMBER_SIZE], double value)
{
    static const struct {
        double from;
        const char *unit;
    } units[] = { { 1e9, "G" }, { 1e6, "M" }, { 1e4, "k" } };
    const char *unit = "";
    int decimals;

    for (unsigned i = 0; i < 3; i++)
        if (value >= units[i].from) {
            value /= units[i].from == 1e4 ? 1e3 : units[i].from;
            unit = units[i].unit;
            break;
        }
    decimals = value >= 100 || value == floor(value) ? 0 : value >= 10 ? 1 : 2;
    if (value < 0.1 && value > 0)
        decimals = 4;
    snprintf(text, NUMBER_SIZE, "%.*f%s", decimals, value, unit);
    return text;
}

bool goal_met(const struct goal *goal, bool more, double value)
{
    return more ? value >= goal->bound : value <= goal->bound;
}
