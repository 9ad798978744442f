/* SPDX-License-Identifier: MIT */
/* proto/gauge.h: counting what there is, what there was at most, and what came and went.
 *
 * Gauges come in threes, in the order of enum xpurt_memory_pool: all, small, large.
 */
#pragma once

#include <xpurt/allocator.h>

static inline void gauge_add(xpurt_memory_stat *stats, xpurt_memory_pool pool, uint64_t amount)
{
    for (unsigned i = 0; i <= (unsigned)pool; i += (unsigned)pool) {
        stats[i].current += amount;
        stats[i].allocated += amount;
        if (stats[i].peak < stats[i].current)
            stats[i].peak = stats[i].current;
    }
}

static inline void gauge_sub(xpurt_memory_stat *stats, xpurt_memory_pool pool, uint64_t amount)
{
    for (unsigned i = 0; i <= (unsigned)pool; i += (unsigned)pool) {
        stats[i].current -= amount;
        stats[i].freed += amount;
    }
}

static inline void gauge_reset(xpurt_memory_stat *stats, int peak, int accumulated)
{
    for (unsigned i = 0; i < XPURT_MEMORY_POOLS; i++) {
        if (peak)
            stats[i].peak = stats[i].current;
        if (accumulated)
            stats[i].allocated = stats[i].freed = 0;
    }
}
