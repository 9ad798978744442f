/* SPDX-License-Identifier: MIT */
/* examples/ddp/clock.c: how long a stream waits for others, measured by the device.
 *
 * Guarantees of this file: measuring makes nobody wait; the events are read when the epoch is over.
 */
#include "clock.h"

xpurt_result clock_create(struct clock *clock, unsigned steps)
{
    xpurt_result r;

    *clock = (struct clock){ .steps = steps };
    r = xpurt_event_create(XPURT_EVENT_TIMING, &clock->begin);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_TIMING, &clock->end);
    for (unsigned step = 0; step < steps && r == XPURT_SUCCESS; step++) {
        r = xpurt_event_create(XPURT_EVENT_TIMING, &clock->before[step]);
        if (r == XPURT_SUCCESS)
            r = xpurt_event_create(XPURT_EVENT_TIMING, &clock->after[step]);
    }
    return r;
}

void clock_close(struct clock *clock)
{
    for (unsigned step = 0; step < clock->steps; step++) {
        xpurt_event_destroy(clock->before[step]);
        xpurt_event_destroy(clock->after[step]);
    }
    xpurt_event_destroy(clock->begin);
    xpurt_event_destroy(clock->end);
    *clock = (struct clock){ 0 };
}

static xpurt_result add(xpurt_event *from, xpurt_event *to, double *sum_ms)
{
    float ms;
    xpurt_result r = xpurt_event_elapsed_time(from, to, &ms);

    if (r == XPURT_SUCCESS)
        *sum_ms += (double)ms;
    return r;
}

xpurt_result clock_read(struct clock *clock, double *waited_ms, double *streamed_ms)
{
    xpurt_result r = add(clock->begin, clock->end, streamed_ms);

    for (unsigned step = 0; step < clock->steps && r == XPURT_SUCCESS; step++)
        r = add(clock->before[step], clock->after[step], waited_ms);
    return r;
}
