/* SPDX-License-Identifier: MIT */
/* examples/ddp/report.h: what is shown while it trains, and at the end. */
#pragma once

#include "team.h"

/* One line for each epoch that was not shown yet; *shown counts them. */
void epochs_show(const struct team *team, unsigned *shown);

/* Why it failed: one line for each rank that says so, or one for all. */
void failures_print(const struct team *team);

void report_print(const struct team *team);
