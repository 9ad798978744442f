/* SPDX-License-Identifier: MIT */
/* daemon/allocator.h: which bytes of which segment are whose. Bookkeeping only: the caller gets
 * segments from the driver and gives them back.
 *
 * A slab is a segment from the driver, cut into blocks; there is one allocator for each user and
 * device. Host segments (segment.h) are another matter, hence the name.
 *
 *      FREE  -- allocator_take -->  USED  -- block_let_go -->  PENDING  -- block_free -->  FREE
 *                                    ^------ allocator_take, same order ------'
 */
#pragma once

#include "daemon/resource.h"

#include <xpurt/allocator.h>

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_ROUNDING 512u             /* sizes are whole multiples */
#define SMALL_BLOCK (UINT64_C(1) << 20) /* at most: cut from small slabs */
#define SMALL_SLAB (UINT64_C(2) << 20)
#define LARGE_SLAB (UINT64_C(20) << 20)
#define LARGE_BLOCK (UINT64_C(10) << 20)   /* at least: a slab of its own ... */
#define LARGE_ROUNDING (UINT64_C(2) << 20) /* ... of a multiple of this */

struct account;
struct allocator;

struct slab {
    struct slab *prev, *next;           /* in the allocator, by address */
    struct allocator *allocator;        /* borrowed: outlives us */
    struct block *first;
    uint64_t address;
    uint64_t size;
    bool small;

    /* Of cache.c, on its way back: */
    uint64_t eviction;                  /* its number */
    bool scrubbed;                      /* filled with zeros */
};

enum block_state {
    BLOCK_FREE,
    BLOCK_USED,
    BLOCK_PENDING,                      /* freed, but commands still use it */
};

/* References: one for each lease, one for each unfinished use; none when FREE. */
struct block {
    struct resource resource;           /* first; destroy: the owner's of the allocator */
    struct slab *slab;
    struct block *prev, *next;          /* in the slab, by address, without gaps */
    uint64_t address;
    uint64_t size;
    uint64_t requested;                 /* bytes asked for */
    enum block_state state;
    uint64_t order; /* PENDING: whose allocations may have it at once; 0: none */

    /* Of memory.c: */
    unsigned leases;
    bool shared;                        /* another session has opened it */
    struct account *account;            /* a reference: who allocated it; NULL: it let go */
};

struct allocator {
    void *owner;                        /* of memory.c: the user */
    uint32_t device;
    void (*unused)(struct resource *resource); /* no reference to a block is left */
    struct slab *slabs;
    void *free;                         /* search tree: FREE blocks by pool and size */
    void *ordered;                      /* search tree: PENDING ones with an order */

    xpurt_memory_stat segments[XPURT_MEMORY_POOLS];
    xpurt_memory_stat reserved[XPURT_MEMORY_POOLS];
    xpurt_memory_stat split[XPURT_MEMORY_POOLS]; /* inactive blocks that are not a whole slab */
    xpurt_memory_stat split_bytes[XPURT_MEMORY_POOLS];
};

/* Bytes that a request takes; @p size is not within BLOCK_ROUNDING of 2^64. */
uint64_t block_round(uint64_t size);

/* Bytes of the slab that should be taken for a block of @p size, rounded, bytes. */
uint64_t slab_size_for(uint64_t size);

static inline bool block_is_small(uint64_t size)
{
    return size <= SMALL_BLOCK;
}

static inline xpurt_memory_pool slab_pool(const struct slab *slab)
{
    return slab->small ? XPURT_MEMORY_SMALL : XPURT_MEMORY_LARGE;
}

/* The best block for @p size, rounded, bytes: cut to size, USED, with one reference more. NULL:
 * there is none. A PENDING one serves when it was let go in the same @p order (0: none). */
struct block *allocator_take(struct allocator *allocator, uint64_t size, uint64_t order);

/* The same from a wholly free slab. */
struct block *slab_take(struct slab *slab, uint64_t size);

/* Memory from the driver; NULL: the host is out of memory. */
struct slab *allocator_add(struct allocator *allocator, uint64_t address, uint64_t size,
                           bool small);

/* USED to PENDING; the reference stays. */
void block_let_go(struct block *block, uint64_t order);

/* PENDING to FREE, joined with free neighbours: nobody refers to it. Careful: *block may be gone. */
void block_free(struct block *block);

/* Whether it is wholly free. */
bool slab_idle(const struct slab *slab);

/* Unlink an idle one: it is the caller's, who says slab_gone() when it is the driver's again. */
void slab_evict(struct slab *slab);
void slab_gone(struct slab *slab);
