/* SPDX-License-Identifier: MIT */
/* bench/figures.h: from runs to figures. */
#pragma once

#include "bench/row.h"

struct figures {
    double least, median, greatest;
};

struct figures side_figures(const struct outcome *outcome, unsigned side);

/* xpurt's value divided by the peer's: the median of the ratios of each turn, which a machine that
 * gets slower for a while disturbs less than the ratio of two medians. 0: there is none. */
double side_ratio(const struct outcome *outcome, unsigned side);

bool goal_met(const struct goal *goal, bool more, double value);
