/* SPDX-License-Identifier: MIT */
/* bench/figures.h: from runs to figures. */
#pragma once

#include "bench/row.h"

struct figures {
    double least, median, greatest;
};

struct figures side_figures(const struct outcome *outcome, unsigned side);

/* What a goal of that side is about: xpurt's own value, or its ratio to the peer's. */
double side_value(const struct outcome *outcome, unsigned side);
const struct goal *side_goal(const struct row *row, unsigned side);

/* xpurt's value divided by the peer's: the median of the ratios of each turn, which a machine that
 * gets slower for a while disturbs less than the ratio of two medians. 0: there is none. */
double side_ratio(const struct outcome *outcome, unsigned side);

#define NUMBER_SIZE 24

/* In three digits that count: "5.34M". Returns @p text. */
const char *number_text(char text[NUMBER_SIZE], double value);

bool goal_met(const struct goal *goal, bool more, double value);
