/* SPDX-License-Identifier: MIT */
/* examples/ddp/clock.h: how long a stream waits for others, measured by the device. */
#pragma once

#include "team.h"

struct clock {
    unsigned steps;
    xpurt_event *begin, *end;                          /* of an epoch */
    xpurt_event *before[STEPS_MAX], *after[STEPS_MAX]; /* the waits of a step */
};

xpurt_result clock_create(struct clock *clock, unsigned steps);

/* Also after a failure. */
void clock_close(struct clock *clock);

/* Add up an epoch that is over. */
xpurt_result clock_read(struct clock *clock, double *waited_ms, double *streamed_ms);
