/* SPDX-License-Identifier: MIT */
/* bench/promise.h: the table of what xpurt promises, made of the goals of rows. */
#pragma once

#include "bench/row.h"

#define PROMISE_FIGURES_MAX 8

/* A goal of a row, and what came out. */
struct promise_figure {
    const char *row;
    const char *unit;                   /* of a value; "x" for a ratio */
    const char *peer;                   /* that the ratio is to; NULL: the value itself */
    double bound, value;
    bool more;                          /* more is better */
    bool met;
};

/* A line of the table. */
struct promise_line {
    const char *what;
    unsigned rows;                      /* that prove it */
    unsigned run;                       /* of those */
    unsigned measured;                  /* of those, with all that their goals take */
    struct promise_figure figures[PROMISE_FIGURES_MAX];
    unsigned n_figures;
};

/* That there is such a row, measured or not. */
void promise_expect(const struct row *row);

/* What came out of it. A goal against a peer that was left out is not met and not missed: the line
 * stays open. */
void promise_add(const struct row *row, const struct outcome *outcome);

const struct promise_line *promise_line(enum promise promise);

/* "met", "MISSED", or "open": part of what it takes was not measured. */
const char *promise_verdict(const struct promise_line *line);
