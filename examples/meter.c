/* SPDX-License-Identifier: MIT */
/* examples/meter.c: what a process measures.
 *
 * Guarantees of this file: measuring allocates nothing and takes no lock; a percentile is never
 * better than what was measured.
 */
#include "meter.h"

#include <stddef.h>
#include <sys/mman.h>
#include <time.h>

#define SUB_BITS 5                      /* buckets for each power of two: 1 << SUB_BITS */
#define SUB (1u << SUB_BITS)

_Static_assert((64 - SUB_BITS + 1) * SUB == METER_BUCKETS, "every number has its bucket");

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct meter *meters_new(unsigned n)
{
    void *meters = mmap(NULL, n * sizeof(struct meter), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return meters == MAP_FAILED ? NULL : meters;
}

void meter_block(struct meter *meter, uint64_t bytes)
{
    atomic_fetch_add_explicit(&meter->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&meter->blocks, 1, memory_order_relaxed);
}

static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < SUB)
        return (unsigned)value;
    shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((value >> shift) & (SUB - 1));
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    unsigned shift = bucket / SUB - 1;

    if (bucket < SUB)
        return bucket;
    return ((uint64_t)(SUB + bucket % SUB) << shift) + ((UINT64_C(1) << shift) - 1);
}

void meter_latency(struct meter *meter, uint64_t nanoseconds)
{
    meter->latency[bucket_of(nanoseconds)]++;
}

void meter_add(struct meter *meter, const struct meter *from)
{
    if (from->started_ns && (!meter->started_ns || from->started_ns < meter->started_ns))
        meter->started_ns = from->started_ns;
    if (from->ended_ns > meter->ended_ns)
        meter->ended_ns = from->ended_ns;
    meter->bytes += from->bytes;
    meter->blocks += from->blocks;
    for (unsigned i = 0; i < METER_BUCKETS; i++)
        meter->latency[i] += from->latency[i];
}

double meter_seconds(const struct meter *meter)
{
    return meter->ended_ns > meter->started_ns ?
               (double)(meter->ended_ns - meter->started_ns) / 1e9 :
               0;
}

uint64_t meter_percentile(const struct meter *meter, double percent)
{
    uint64_t count = 0, seen = 0;

    for (unsigned i = 0; i < METER_BUCKETS; i++)
        count += meter->latency[i];
    for (unsigned i = 0; i < METER_BUCKETS; i++) {
        seen += meter->latency[i];
        if (count && (double)seen >= (double)count * percent / 100)
            return bucket_end(i);
    }
    return 0;
}
