/* SPDX-License-Identifier: MIT */
/* bench/clock.h: taking time. CLOCK_MONOTONIC is one clock for all processes; reading it costs some
 * 20 ns and no system call, so that short calls are timed many at a time. */
#pragma once

#include "bench/samples.h"

#include <stdint.h>
#include <time.h>

#define CALLS_PER_LOOK 1000             /* at the clock */

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void sleep_ns(uint64_t duration)
{
    struct timespec time = { (time_t)(duration / 1000000000u), (long)(duration % 1000000000u) };

    nanosleep(&time, NULL);
}

static inline uint64_t deadline_ns(double seconds)
{
    return now_ns() + (uint64_t)(seconds * 1e9);
}

/* The time of @p call in nanoseconds: the median of many times a thousand calls, so that being
 * preempted does not count. Inlined: the loop holds nothing but the call. */
__attribute__((always_inline)) static inline int time_calls(int (*call)(void), double seconds,
                                                            double *ret_ns)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin;
    int r = 0;

    do {
        begin = now_ns();
        for (unsigned i = 0; i < CALLS_PER_LOOK && __builtin_expect(!r, 1); i++)
            r = call();
        samples_add(&samples, (double)(now_ns() - begin));
    } while (!r && begin < end);
    *ret_ns = samples_quantile(&samples, 0.5) / CALLS_PER_LOOK;
    samples_deinit(&samples);
    return r;
}
