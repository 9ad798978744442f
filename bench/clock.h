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

/* Nanoseconds in a tick of the processor's counter; 0: that is not to be trusted here. */
extern double clock_rate;

/* Learn it, before there are other processes. */
void clock_init(void);

static inline uint64_t clock_counter(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return now_ns();
#endif
}

/* A moment, on one clock for all processes, told without the pages of the kernel's clock: who has just
 * woken up waits half a microsecond for those, which is not the time of what it was woken for. */
static inline double moment_ns(void)
{
    return clock_rate > 0 ? (double)clock_counter() * clock_rate : (double)now_ns();
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
