/* SPDX-License-Identifier: MIT */
/* examples/report.h: what is shown while it runs, and at the end. */
#pragma once

#include "meter.h"
#include "options.h"

/* The line on a terminal; nothing when stderr is none. @p total may be 0: not known. */
void progress_show(const char *what, uint64_t bytes, uint64_t total, double seconds);
void progress_clear(void);

/* The result; @p old is NULL when there was no run the old way. @p verified: outputs that were
 * found equal to the input, after each run. */
void report_print(const struct options *options, const struct meter *events,
                  const struct meter *old, unsigned verified);
