/* SPDX-License-Identifier: MIT */
/* client/statistics.c: statistics of device memory, limits, snapshots.
 *
 * Guarantees of this file: what is told of this process is exact at every step, since every
 * allocation and free goes through here, in order. A freed block is active until the daemon says
 * that nothing has to wait for it; peaks are those at allocations, where alone activity grows.
 */
#include "client/statistics.h"

#include "client/device.h"
#include "client/magazine.h"
#include "client/result.h"
#include "client/table.h"
#include "proto/gauge.h"

#include <xpurt/allocator.h>
#include <xpurt/device.h>

#include <string.h>

#define SMALL (UINT64_C(1) << 20)       /* bytes at most */
#define SHARED_STATS 4                  /* MemoryStatistics.stats, XPURT_MEMORY_POOLS each */

/* Blocks or bytes: how many ever, by pool. */
struct totals {
    uint64_t allocated[XPURT_MEMORY_POOLS];
    uint64_t swapped[XPURT_MEMORY_POOLS]; /* freed without the daemon */
    uint64_t peak[XPURT_MEMORY_POOLS];    /* of what is active */
    uint64_t allocated_base[XPURT_MEMORY_POOLS], freed_base[XPURT_MEMORY_POOLS]; /* at the reset */
};

struct statistics {
    xpurt_memory_stat allocation[XPURT_MEMORY_POOLS];
    xpurt_memory_stat allocated_bytes[XPURT_MEMORY_POOLS];
    xpurt_memory_stat requested_bytes[XPURT_MEMORY_POOLS];
    struct totals active, active_bytes;
    uint64_t hits;
    uint64_t limit;                     /* bytes; 0: none */
};

static TABLE struct statistics statistics[XPURT_DEVICES_MAX];

static xpurt_memory_pool pool_of(uint64_t rounded)
{
    return rounded <= SMALL ? XPURT_MEMORY_SMALL : XPURT_MEMORY_LARGE;
}

/* ---- what is active ---------------------------------------------------------------------------------- */

/* How many the daemon has finished, by pool. */
static void finished_read(uint32_t device, bool bytes, uint64_t ret_finished[XPURT_MEMORY_POOLS])
{
    const struct magazine_finished *finished = magazine_finished(device);

    memset(ret_finished, 0, XPURT_MEMORY_POOLS * sizeof(*ret_finished));
    for (unsigned i = 0; finished && i < 2; i++) {
        ret_finished[1 + i] = atomic_load_explicit(
            bytes ? &finished->bytes[i] : &finished->blocks[i], memory_order_acquire);
        ret_finished[0] += ret_finished[1 + i];
    }
}

static void active_allocated(uint32_t device, bool bytes, struct totals *totals,
                             xpurt_memory_pool pool, uint64_t amount)
{
    uint64_t finished[XPURT_MEMORY_POOLS];

    finished_read(device, bytes, finished);
    for (unsigned i = 0; i <= (unsigned)pool; i += (unsigned)pool) {
        uint64_t current;

        totals->allocated[i] += amount;
        current = totals->allocated[i] - totals->swapped[i] - finished[i];
        if (totals->peak[i] < current)
            totals->peak[i] = current;
    }
}

static void active_swapped(struct totals *totals, xpurt_memory_pool pool, uint64_t amount)
{
    totals->swapped[0] += amount;
    totals->swapped[pool] += amount;
}

static void active_read(uint32_t device, bool bytes, const struct totals *totals,
                        xpurt_memory_stat ret_stats[XPURT_MEMORY_POOLS])
{
    uint64_t finished[XPURT_MEMORY_POOLS];

    finished_read(device, bytes, finished);
    for (unsigned i = 0; i < XPURT_MEMORY_POOLS; i++) {
        uint64_t freed = totals->swapped[i] + finished[i];

        ret_stats[i] = (xpurt_memory_stat){
            .current = totals->allocated[i] - freed,
            .peak = totals->peak[i],
            .allocated = totals->allocated[i] - totals->allocated_base[i],
            .freed = freed - totals->freed_base[i],
        };
    }
}

static void active_reset(uint32_t device, bool bytes, struct totals *totals, bool peak)
{
    uint64_t finished[XPURT_MEMORY_POOLS];

    finished_read(device, bytes, finished);
    for (unsigned i = 0; i < XPURT_MEMORY_POOLS; i++) {
        uint64_t freed = totals->swapped[i] + finished[i];

        if (peak) {
            totals->peak[i] = totals->allocated[i] - freed;
        } else {
            totals->allocated_base[i] = totals->allocated[i];
            totals->freed_base[i] = freed;
        }
    }
}

/* ---- counting ---------------------------------------------------------------------------------------- */

void statistics_allocated(uint32_t device, uint64_t rounded, uint64_t requested, bool hit)
{
    struct statistics *stats = &statistics[device];
    xpurt_memory_pool pool = pool_of(requested);

    gauge_add(stats->allocation, pool, 1);
    gauge_add(stats->allocated_bytes, pool, rounded);
    gauge_add(stats->requested_bytes, pool, requested);
    active_allocated(device, false, &stats->active, pool, 1);
    active_allocated(device, true, &stats->active_bytes, pool, rounded);
    stats->hits += hit;
}

void statistics_freed(uint32_t device, uint64_t rounded, uint64_t requested, bool swapped)
{
    struct statistics *stats = &statistics[device];
    xpurt_memory_pool pool = pool_of(requested);

    gauge_sub(stats->allocation, pool, 1);
    gauge_sub(stats->allocated_bytes, pool, rounded);
    gauge_sub(stats->requested_bytes, pool, requested);
    if (!swapped)
        return;
    active_swapped(&stats->active, pool, 1);
    active_swapped(&stats->active_bytes, pool, rounded);
}

bool statistics_allow(uint32_t device, uint64_t rounded)
{
    const struct statistics *stats = &statistics[device];

    return !stats->limit ||
           stats->allocated_bytes[XPURT_MEMORY_ALL].current + rounded <= stats->limit;
}

void statistics_end(void)
{
    memset(statistics, 0, sizeof(statistics));
}

/* ---- asking ------------------------------------------------------------------------------------------ */

static void stats_take(const Xpurt__MemoryStatistics *message, unsigned at,
                       xpurt_memory_stat stats[XPURT_MEMORY_POOLS])
{
    for (unsigned i = 0; i < XPURT_MEMORY_POOLS; i++) {
        const Xpurt__MemoryStat *stat = message->stats[at * XPURT_MEMORY_POOLS + i];

        stats[i] = (xpurt_memory_stat){ stat->current, stat->peak, stat->allocated, stat->freed };
    }
}

static xpurt_result shared_take(const Xpurt__MemoryStatistics *message, xpurt_memory_stats *stats)
{
    if (message->n_stats < (size_t)SHARED_STATS * XPURT_MEMORY_POOLS)
        return error_set(XPURT_ERROR_PROTOCOL, "statistics of %zu numbers", message->n_stats);
    stats_take(message, 0, stats->segment);
    stats_take(message, 1, stats->reserved_bytes);
    stats_take(message, 2, stats->inactive_split);
    stats_take(message, 3, stats->inactive_split_bytes);
    stats->retries = message->retries;
    stats->ooms = message->ooms;
    stats->driver_allocations = message->driver_allocations;
    stats->driver_frees = message->driver_frees;
    stats->scrubbed_bytes = message->scrubbed_bytes;
    return XPURT_SUCCESS;
}

static void own_read(uint32_t device, xpurt_memory_stats *ret_stats)
{
    const struct statistics *stats = &statistics[device];

    memcpy(ret_stats->allocation, stats->allocation, sizeof(stats->allocation));
    memcpy(ret_stats->allocated_bytes, stats->allocated_bytes, sizeof(stats->allocated_bytes));
    memcpy(ret_stats->requested_bytes, stats->requested_bytes, sizeof(stats->requested_bytes));
    active_read(device, false, &stats->active, ret_stats->active);
    active_read(device, true, &stats->active_bytes, ret_stats->active_bytes);
    ret_stats->cached_hits = stats->hits;
}

static void own_reset(uint32_t device, bool peak)
{
    struct statistics *stats = &statistics[device];

    gauge_reset(stats->allocation, peak, !peak);
    gauge_reset(stats->allocated_bytes, peak, !peak);
    gauge_reset(stats->requested_bytes, peak, !peak);
    active_reset(device, false, &stats->active, peak);
    active_reset(device, true, &stats->active_bytes, peak);
    if (!peak)
        stats->hits = 0;
}

/* @p ret_stats: NULL: only reset. */
static xpurt_result ask(int device, bool peak, bool accumulated, xpurt_memory_stats *ret_stats)
{
    Xpurt__MemoryStats message = XPURT__MEMORY_STATS__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_STATS), .memory_stats = &message };
    struct reply reply = REPLY_NULL;
    xpurt_memory_stats stats = { .retries = 0 };
    xpurt_result r;

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    message.device = (uint32_t)device;
    message.reset_peak = peak;
    message.reset_accumulated = accumulated;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_STATISTICS, 0, &reply);
    if (r == XPURT_SUCCESS)
        r = shared_take(reply.message->memory_statistics, &stats);
    if (r == XPURT_SUCCESS && (peak || accumulated))
        own_reset((uint32_t)device, peak);
    if (r == XPURT_SUCCESS)
        own_read((uint32_t)device, &stats);
    session_leave();
    reply_deinit(&reply);
    if (r == XPURT_SUCCESS && ret_stats)
        *ret_stats = stats;
    return r;
}

xpurt_result xpurt_memory_stats_get(int device, xpurt_memory_stats *ret_stats)
{
    if (!ret_stats)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the statistics");
    return ask(device, false, false, ret_stats);
}

xpurt_result xpurt_reset_peak_memory_stats(int device)
{
    return ask(device, true, false, NULL);
}

xpurt_result xpurt_reset_accumulated_memory_stats(int device)
{
    return ask(device, false, true, NULL);
}

xpurt_result xpurt_set_memory_fraction(double fraction, int device)
{
    Xpurt__MemoryLimit message = XPURT__MEMORY_LIMIT__INIT;
    xpurt_device_properties properties;
    xpurt_result r;

    if (!(fraction >= 0 && fraction <= 1))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "a fraction is from 0 to 1, not %g",
                         fraction);
    device = device_choose(device);
    r = xpurt_device_get_properties(device, &properties);
    if (r == XPURT_SUCCESS)
        r = device_enter(device);
    if (r)
        return r;
    message.device = (uint32_t)device;
    message.bytes =
        fraction < 1 ? (uint64_t)(fraction * (double)properties.total_memory) : UINT64_MAX;
    statistics[device].limit = fraction < 1 ? message.bytes + !message.bytes : 0;
    r = connection_command(&(Xpurt__Command){ COMMAND(MEMORY_LIMIT), .memory_limit = &message });
    session_leave();
    return r;
}

/* ---- snapshots --------------------------------------------------------------------------------------- */

static xpurt_memory_block block_read(const Xpurt__MemoryBlock *message)
{
    return (xpurt_memory_block){
        .address = message->address,
        .size = message->size,
        .requested = message->requested,
        .segment = message->segment,
        .segment_size = message->segment_size,
        .state = (xpurt_block_state)message->state,
        .pool = message->small ? XPURT_MEMORY_SMALL : XPURT_MEMORY_LARGE,
        .owner = message->owner,
        .stream = (int32_t)message->stream - 1,
    };
}

xpurt_result xpurt_memory_snapshot(int device, size_t capacity, xpurt_memory_block *ret_blocks,
                                   size_t *ret_count)
{
    Xpurt__MemorySnapshot message = XPURT__MEMORY_SNAPSHOT__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_SNAPSHOT), .memory_snapshot = &message };
    size_t count = 0;
    xpurt_result r;
    bool more;

    if (!ret_count || (capacity && !ret_blocks))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the blocks");
    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    message.device = (uint32_t)device;
    do {
        struct reply reply = REPLY_NULL;
        const Xpurt__MemoryBlocks *page;

        r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_BLOCKS, 0, &reply);
        if (r)
            break;
        page = reply.message->memory_blocks;
        for (size_t i = 0; i < page->n_blocks; i++, count++)
            if (count < capacity)
                ret_blocks[count] = block_read(page->blocks[i]);
        more = page->more && page->n_blocks;
        if (more)
            message.after = page->blocks[page->n_blocks - 1]->address;
        reply_deinit(&reply);
    } while (more);
    session_leave();
    if (r == XPURT_SUCCESS)
        *ret_count = count;
    return r;
}
