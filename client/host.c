/* SPDX-License-Identifier: MIT */
/* client/host.c: the caching allocator of pinned host memory.
 *
 * Guarantees of this file:
 *   - a block is given out again only when the work is done that used it: copies, fills, and what
 *     xpurt_host_record_stream() told of;
 *   - a freed block costs the next one of its size neither a round trip nor page faults;
 *   - a segment is all of one size class: blocks are found by a division, and never overlap;
 *   - nothing here waits for the GPU.
 */
#include "client/host.h"

#include "client/address.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/stream.h"

#include <xpurt/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <utlist.h>

#define CLASSES 64u                     /* a size class is a power of two */
#define BLOCK_MIN UINT64_C(512)         /* as device memory */
#define SHARED_MAX (UINT64_C(1) << 20)  /* larger blocks have a segment each */
#define SEGMENT_BLOCKS 64u              /* a shared segment has room for so many, within bounds */
#define SEGMENT_MIN (UINT64_C(64) << 10)
#define SEGMENT_MAX (UINT64_C(2) << 20)
#define LOOKS 64u                       /* at blocks still in use, for each allocation */

/* A stream that uses a block. */
struct use {
    uint64_t id;                        /* of the stream: the timeline may have another one since */
    uint64_t point;                     /* of a freed block: when the stream is done with it */
    uint32_t timeline;
};

struct host_block {
    struct host_block *prev, *next;     /* among the free ones of its class, or the pending ones */
    struct host_segment *segment;
    enum { BLOCK_FREE, BLOCK_LIVE, BLOCK_PENDING } state; /* pending: freed, but still in use */
    uint64_t requested;
    struct use *uses;
    uint32_t n_uses, uses_size;
};

struct host_segment {
    struct host_segment *prev, *next;
    uint32_t id;                        /* on the wire */
    unsigned class;
    void *memory;
    uint64_t size;
    uint32_t n_blocks, n_live;
    struct host_block blocks[];
};

static struct host_segment *segments;
static struct {
    struct host_block *free, *pending;
} classes[CLASSES];

static xpurt_host_memory_stats stats;

/* ---- segments ----------------------------------------------------------------------------------- */

static void host_free_send(uint32_t segment)
{
    Xpurt__HostFree host_free = XPURT__HOST_FREE__INIT;

    host_free.segment = segment;
    (void)connection_command(&(Xpurt__Command){ COMMAND(HOST_FREE), .host_free = &host_free });
}

xpurt_result segment_new(uint64_t size, uint32_t *ret_segment, void **ret_memory)
{
    Xpurt__HostAlloc alloc = XPURT__HOST_ALLOC__INIT;
    Xpurt__ToDaemon request = { REQUEST(HOST_ALLOC), .host_alloc = &alloc };
    struct reply reply = REPLY_NULL;
    uint32_t segment;
    void *memory;
    xpurt_result r;

    alloc.size = size;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_HOST_ALLOCATED, 1, &reply);
    if (r)
        return r;

    segment = reply.message->host_allocated->segment;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds.fds[0], 0);
    if (memory == MAP_FAILED) {
        r = system_error("pinned memory cannot be mapped", -errno);
        host_free_send(segment);
    } else {
        *ret_segment = segment;
        *ret_memory = memory;
    }
    reply_deinit(&reply);
    return r;
}

void segment_free(uint32_t segment, void *memory, uint64_t size)
{
    host_free_send(segment);
    munmap(memory, size);
}

/* ---- statistics ---------------------------------------------------------------------------------- */

static void stat_add(xpurt_memory_stat *stat, uint64_t amount)
{
    stat->current += amount;
    stat->allocated += amount;
    if (stat->peak < stat->current)
        stat->peak = stat->current;
}

static void stat_sub(xpurt_memory_stat *stat, uint64_t amount)
{
    stat->current -= amount;
    stat->freed += amount;
}

/* ---- blocks --------------------------------------------------------------------------------------- */

static uint64_t class_size(unsigned class)
{
    return UINT64_C(1) << class;
}

/* The smallest class that holds @p size; CLASSES: there is none. */
static unsigned class_of(uint64_t size)
{
    if (size < BLOCK_MIN)
        size = BLOCK_MIN;
    return size > class_size(CLASSES - 1) ? CLASSES : 64u - (unsigned)__builtin_clzll(size - 1);
}

static uint64_t class_segment(unsigned class)
{
    uint64_t size = class_size(class);

    if (size > SHARED_MAX)
        return size;
    size *= SEGMENT_BLOCKS;
    return size < SEGMENT_MIN ? SEGMENT_MIN : size > SEGMENT_MAX ? SEGMENT_MAX : size;
}

uint32_t host_segment_id(const struct host_segment *segment)
{
    return segment->id;
}

uint64_t host_start(const struct host_block *block)
{
    const struct host_segment *segment = block->segment;

    return (uintptr_t)segment->memory +
           (uint64_t)(block - segment->blocks) * class_size(segment->class);
}

uint64_t host_size(const struct host_block *block)
{
    return block->requested;
}

static struct host_block *block_at(const struct range *range, uint64_t address)
{
    return &range->host->blocks[(address - range->start) >> range->host->class];
}

struct host_block *host_find(const struct range *range, uint64_t address)
{
    struct host_block *block = block_at(range, address);

    return block->state == BLOCK_LIVE && address - host_start(block) < block->requested ? block :
                                                                                          NULL;
}

/* Ready for the next user. */
static void block_settle(struct host_block *block)
{
    unsigned class = block->segment->class;

    block->state = BLOCK_FREE;
    block->n_uses = 0;
    DL_PREPEND(classes[class].free, block); /* the last one freed may still be in the caches */
    stat_sub(&stats.active, 1);
    stat_sub(&stats.active_bytes, class_size(class));
}

/* Whether the streams that used a freed block are done with it. */
static bool block_over(struct host_block *block)
{
    while (block->n_uses && stream_point_over(block->uses[block->n_uses - 1].point))
        block->n_uses--;
    return !block->n_uses;
}

/* Look at up to @p looks pending blocks of a class, those not looked at for longest first. */
static void pending_settle(unsigned class, uint64_t looks)
{
    struct host_block **pending = &classes[class].pending, *first = NULL;

    while (looks-- && *pending && *pending != first) {
        struct host_block *block = *pending;

        DL_DELETE(*pending, block);
        if (block_over(block)) {
            block_settle(block);
            continue;
        }
        DL_APPEND(*pending, block);
        if (!first)
            first = block;
    }
}

/* ---- segments of blocks --------------------------------------------------------------------------- */

static void segment_forget(struct host_segment *segment)
{
    for (uint32_t i = 0; i < segment->n_blocks; i++)
        free(segment->blocks[i].uses);
    free(segment);
}

/* No block of it is live; pending ones the daemon looks after. */
static void segment_drop(struct host_segment *segment)
{
    for (uint32_t i = 0; i < segment->n_blocks; i++) {
        struct host_block *block = &segment->blocks[i];

        if (block->state == BLOCK_PENDING) {
            DL_DELETE(classes[segment->class].pending, block);
            block_settle(block);
        }
        DL_DELETE(classes[segment->class].free, block);
    }
    DL_DELETE(segments, segment);
    range_drop(ranges_find(&addresses, (uintptr_t)segment->memory));
    segment_free(segment->id, segment->memory, segment->size);
    stat_sub(&stats.segment, 1);
    stat_sub(&stats.reserved_bytes, segment->size);
    segment_forget(segment);
}

/* Give back all that nobody has. */
static void cache_drop(void)
{
    struct host_segment *segment, *next;

    DL_FOREACH_SAFE(segments, segment, next)
        if (!segment->n_live)
            segment_drop(segment);
    staging_trim();
}

/* Into the tables; its blocks are free. */
static bool segment_enter(struct host_segment *segment)
{
    struct range range = { .start = (uintptr_t)segment->memory,
                           .size = segment->size,
                           .kind = RANGE_HOST,
                           .own = true,
                           .host = segment };

    if (!ranges_insert(&addresses, &range))
        return false;
    for (uint32_t i = segment->n_blocks; i-- > 0;) {
        segment->blocks[i].segment = segment;
        DL_PREPEND(classes[segment->class].free, &segment->blocks[i]);
    }
    DL_APPEND(segments, segment);
    stat_add(&stats.segment, 1);
    stat_add(&stats.reserved_bytes, segment->size);
    return true;
}

/* Make free blocks of @p class. The lock is free meanwhile. */
static xpurt_result class_grow(unsigned class)
{
    uint64_t size = class_segment(class);
    uint32_t n_blocks = (uint32_t)(size >> class);
    struct host_segment *segment;
    xpurt_result r;

    segment = calloc(1, sizeof(*segment) + n_blocks * sizeof(segment->blocks[0]));
    if (!segment)
        return system_error("pinned memory", -ENOMEM);
    segment->class = class;
    segment->size = size;
    segment->n_blocks = n_blocks;

    r = segment_new(size, &segment->id, &segment->memory);
    if (r == XPURT_ERROR_QUOTA || r == XPURT_ERROR_OUT_OF_HOST_MEMORY) {
        cache_drop();
        r = segment_new(size, &segment->id, &segment->memory);
    }
    if (r == XPURT_SUCCESS && !segment_enter(segment)) {
        segment_free(segment->id, segment->memory, size);
        r = system_error("pinned memory", -ENOMEM);
    }
    if (r)
        free(segment);
    return r;
}

void host_end(enum session_end why)
{
    struct host_segment *segment, *next;

    DL_FOREACH_SAFE(segments, segment, next) {
        range_drop(ranges_find(&addresses, (uintptr_t)segment->memory));
        if (why == SESSION_RESET)
            munmap(segment->memory, segment->size);
        segment_forget(segment);
    }
    segments = NULL;
    for (unsigned i = 0; i < CLASSES; i++)
        classes[i].free = classes[i].pending = NULL;
    stats = (xpurt_host_memory_stats){ 0 };
}

/* ---- allocating and freeing ------------------------------------------------------------------------ */

static xpurt_result block_take(unsigned class, uint64_t size, struct host_block **ret_block)
{
    struct host_block *block;
    xpurt_result r;

    pending_settle(class, LOOKS);
    while (!(block = classes[class].free)) {
        r = class_grow(class);          /* another thread may be faster than us to take it */
        if (r)
            return r;
    }
    DL_DELETE(classes[class].free, block);
    block->state = BLOCK_LIVE;
    block->requested = size;
    block->segment->n_live++;
    stat_add(&stats.allocation, 1);
    stat_add(&stats.allocated_bytes, class_size(class));
    stat_add(&stats.active, 1);
    stat_add(&stats.active_bytes, class_size(class));
    *ret_block = block;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_host_malloc(void **ret_ptr, size_t size)
{
    struct host_block *block = NULL;
    unsigned class = class_of(size);
    xpurt_result r;

    if (!ret_ptr)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the address");
    if (!size) {
        *ret_ptr = NULL;
        return XPURT_SUCCESS;
    }

    r = session_enter();
    if (r)
        return r;
    if (class == CLASSES)
        r = error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "%zu bytes of pinned memory are more than there are addresses", size);
    else
        r = block_take(class, size, &block);
    if (r == XPURT_SUCCESS)
        *ret_ptr = (void *)(uintptr_t)host_start(block);
    session_leave();
    return r;
}

xpurt_result host_use(struct host_block *block, xpurt_stream *stream)
{
    uint32_t timeline = stream_index(stream);
    uint64_t id = stream_id(stream);

    for (uint32_t i = 0; i < block->n_uses; i++)
        if (block->uses[i].timeline == timeline && block->uses[i].id == id)
            return XPURT_SUCCESS;
    if (block->n_uses == block->uses_size) {
        uint32_t size = block->uses_size ? 2 * block->uses_size : 2;
        struct use *uses = realloc(block->uses, size * sizeof(*uses));

        if (!uses)
            return system_error("a stream that uses pinned memory", -ENOMEM);
        block->uses = uses;
        block->uses_size = size;
    }
    block->uses[block->n_uses++] = (struct use){ .id = id, .timeline = timeline };
    return XPURT_SUCCESS;
}

/* The user is done with it; the streams may not be. */
static xpurt_result block_free(struct host_block *block)
{
    unsigned class = block->segment->class;
    xpurt_result r;

    for (uint32_t i = 0; i < block->n_uses; i++) {
        struct use *use = &block->uses[i];

        r = stream_point_of(use->timeline, use->id, &use->point);
        if (r)
            return r;                   /* the connection is lost, and all of its memory with it */
    }
    block->state = BLOCK_PENDING;
    block->segment->n_live--;
    stat_sub(&stats.allocation, 1);
    stat_sub(&stats.allocated_bytes, class_size(class));
    if (block_over(block))
        block_settle(block);
    else
        DL_APPEND(classes[class].pending, block);
    return XPURT_SUCCESS;
}

static xpurt_result not_freeable(const struct range *range, const void *ptr)
{
    const struct host_block *block;

    if (!range || range->kind != RANGE_HOST)
        return not_ours(ptr, "pinned memory");
    block = block_at(range, (uintptr_t)ptr);
    if (block->state != BLOCK_LIVE)
        return error_set(XPURT_ERROR_INVALID_ADDRESS,
                         "%p is in pinned memory that was freed already, or never allocated", ptr);
    return error_set(XPURT_ERROR_INVALID_ADDRESS,
                     "%p lies inside pinned memory that begins at 0x%llx", ptr,
                     (unsigned long long)host_start(block));
}

xpurt_result xpurt_host_free(void *ptr)
{
    const struct range *range;
    struct host_block *block;
    xpurt_result r;

    if (!ptr)
        return XPURT_SUCCESS;

    r = session_enter();
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    block = range && range->kind == RANGE_HOST ? host_find(range, (uintptr_t)ptr) : NULL;
    if (block && host_start(block) == (uintptr_t)ptr)
        r = block_free(block);
    else
        r = not_freeable(range, ptr);
    session_leave();
    return r;
}

xpurt_result xpurt_host_record_stream(void *ptr, xpurt_stream *stream)
{
    const struct range *range;
    struct host_block *block;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    range = ranges_find(&addresses, (uintptr_t)ptr);
    block = range && range->kind == RANGE_HOST ? host_find(range, (uintptr_t)ptr) : NULL;
    r = block ? host_use(block, stream) : not_ours(ptr, "inside live pinned memory");
    session_leave();
    return r;
}

int xpurt_host_is_pinned(const void *ptr)
{
    const struct range *range;
    int pinned;

    connection_lock();
    range = ranges_find(&addresses, (uintptr_t)ptr);
    pinned = range && range->kind == RANGE_HOST && host_find(range, (uintptr_t)ptr);
    connection_unlock();
    return pinned;
}

/* ---- the cache --------------------------------------------------------------------------------------- */

xpurt_result xpurt_empty_host_cache(void)
{
    connection_lock();
    if (connection_state() == CONNECTION_READY)
        cache_drop();
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_host_memory_stats_get(xpurt_host_memory_stats *ret_stats)
{
    if (!ret_stats)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the statistics");

    connection_lock();
    for (unsigned i = 0; i < CLASSES; i++)
        pending_settle(i, UINT64_MAX);
    *ret_stats = stats;
    connection_unlock();
    return XPURT_SUCCESS;
}

static xpurt_memory_stat *const all_stats[] = {
    &stats.allocation,      &stats.active,       &stats.segment,
    &stats.allocated_bytes, &stats.active_bytes, &stats.reserved_bytes,
};

#define STATS (sizeof(all_stats) / sizeof(all_stats[0]))

xpurt_result xpurt_reset_peak_host_memory_stats(void)
{
    connection_lock();
    for (size_t i = 0; i < STATS; i++)
        all_stats[i]->peak = all_stats[i]->current;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_reset_accumulated_host_memory_stats(void)
{
    connection_lock();
    for (size_t i = 0; i < STATS; i++)
        all_stats[i]->allocated = all_stats[i]->freed = 0;
    connection_unlock();
    return XPURT_SUCCESS;
}
