/* SPDX-License-Identifier: MIT */
/* examples/meter.h: what a process measures, in memory that its parent can read meanwhile. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define METER_BUCKETS 1920u             /* 32 for each power of two: within 3 % */

struct meter {
    _Atomic uint64_t bytes;             /* read or written so far */
    _Atomic uint64_t blocks;
    _Atomic uint64_t started_ns; /* CLOCK_MONOTONIC, when everything was set up; 0: not yet */
    _Atomic uint64_t ended_ns;
    uint64_t latency[METER_BUCKETS];    /* how many took so long; see meter_latency() */
};

uint64_t now_ns(void);

/* @p n meters shared with the processes forked from here, or NULL. They live until exit. */
struct meter *meters_new(unsigned n);

void meter_block(struct meter *meter, uint64_t bytes);
void meter_latency(struct meter *meter, uint64_t nanoseconds);

/* Add what was measured in @p from: the sums, and the time from the first start to the last end. */
void meter_add(struct meter *meter, const struct meter *from);

/* From the first start to the last end. */
double meter_seconds(const struct meter *meter);

/* The time that @p percent of the samples did not exceed, in nanoseconds; 0: no samples. */
uint64_t meter_percentile(const struct meter *meter, double percent);
