/* SPDX-License-Identifier: MIT */
/* daemon/allocator.c: best fit, splitting and joining.
 *
 * Guarantees of this file:
 *   - the blocks of a slab cover it without gap or overlap; no two FREE ones are neighbours;
 *   - allocator_take() gives the smallest block that is large enough, the lowest address among
 *     equals;
 *   - statistics follow each change.
 *
 * Sizes and limits are those of PyTorch's caching allocator, so that what people know of its
 * fragmentation holds here.
 */
#include "daemon/allocator.h"
#include "proto/gauge.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <utlist.h>

uint64_t block_round(uint64_t size)
{
    return (size + BLOCK_ROUNDING - 1) / BLOCK_ROUNDING * BLOCK_ROUNDING;
}

uint64_t slab_size_for(uint64_t size)
{
    if (block_is_small(size))
        return SMALL_SLAB;
    if (size < LARGE_BLOCK)
        return LARGE_SLAB;
    return (size + LARGE_ROUNDING - 1) / LARGE_ROUNDING * LARGE_ROUNDING;
}

/* Whether what is left of a block that serves @p size bytes is worth a block of its own. */
static bool splits(const struct block *block, uint64_t size)
{
    uint64_t rest = block->size - size;

    return block->slab->small ? rest >= BLOCK_ROUNDING : rest > SMALL_BLOCK;
}

/* ---- finding ------------------------------------------------------------------------------------- */

/* By order, pool, size, address. */
static int block_compare(const void *left, const void *right)
{
    const struct block *a = left, *b = right;

    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    if (a->slab->small != b->slab->small)
        return a->slab->small ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* A search that notes the least block not below the key: it lies on the way down. */
struct search {
    struct block key;                   /* first: what is compared */
    struct block *best;
};

static int search_compare(const void *left, const void *right)
{
    struct search *search = (struct search *)left;

    if (block_compare(&search->key, right) > 0)
        return 1;
    search->best = (struct block *)right;
    return -1;
}

static struct block *best_fit(void *const *tree, uint64_t size, uint64_t order)
{
    struct slab pool = { .small = block_is_small(size) };
    struct search search = { .key = { .slab = &pool, .order = order, .size = size } };

    tfind(&search, tree, search_compare);
    if (!search.best || search.best->order != order || search.best->slab->small != pool.small)
        return NULL;
    return search.best;
}

/* ---- states ---------------------------------------------------------------------------------------- */

static bool inactive(const struct block *block)
{
    return block->state == BLOCK_FREE || (block->state == BLOCK_PENDING && block->order);
}

/* Into its tree and the statistics, when it is inactive. Where memory for the tree is lacking the
 * block is not found until a neighbour joins it. */
static void block_enter(struct block *block)
{
    struct allocator *allocator = block->slab->allocator;

    if (!inactive(block))
        return;
    (void)!tsearch(block, block->state == BLOCK_FREE ? &allocator->free : &allocator->ordered,
                   block_compare);
    if (!block->prev && !block->next)
        return;
    gauge_add(allocator->split, slab_pool(block->slab), 1);
    gauge_add(allocator->split_bytes, slab_pool(block->slab), block->size);
}

/* Out of them: before anything changes. */
static void block_leave(struct block *block)
{
    struct allocator *allocator = block->slab->allocator;

    if (!inactive(block))
        return;
    tdelete(block, block->state == BLOCK_FREE ? &allocator->free : &allocator->ordered,
            block_compare);
    if (!block->prev && !block->next)
        return;
    gauge_sub(allocator->split, slab_pool(block->slab), 1);
    gauge_sub(allocator->split_bytes, slab_pool(block->slab), block->size);
}

static struct block *block_new(struct slab *slab, uint64_t address, uint64_t size)
{
    struct block *block = calloc(1, sizeof(*block));

    if (!block)
        return NULL;
    block->resource.destroy = slab->allocator->unused;
    block->slab = slab;
    block->address = address;
    block->size = size;
    return block;
}

/* Make a block that is in no tree @p size bytes long; what is left over becomes FREE. */
static void block_split(struct block *block, uint64_t size)
{
    struct block *rest;

    if (!splits(block, size))
        return;
    rest = block_new(block->slab, block->address + size, block->size - size);
    if (!rest)
        return;                         /* whole, then */
    rest->prev = block;
    rest->next = block->next;
    if (rest->next)
        rest->next->prev = rest;
    block->next = rest;
    block->size = size;
    block_enter(rest);
}

/* Append @p next to @p block; neither is in a tree. */
static void block_join(struct block *block, struct block *next)
{
    block->size += next->size;
    block->next = next->next;
    if (block->next)
        block->next->prev = block;
    free(next);
}

static struct block *block_use(struct block *block, uint64_t size)
{
    block_leave(block);
    if (block->state == BLOCK_FREE)
        block_split(block, size);
    block->state = BLOCK_USED;
    block->order = 0;
    block->resource.refs++;
    return block;
}

struct block *allocator_take(struct allocator *allocator, uint64_t size, uint64_t order)
{
    struct block *ordered = order ? best_fit(&allocator->ordered, size, order) : NULL;
    struct block *block = best_fit(&allocator->free, size, 0);

    /* One that is still in use cannot be cut: its uses would hold both parts. */
    if (ordered && !splits(ordered, size) && (!block || ordered->size <= block->size))
        block = ordered;
    return block ? block_use(block, size) : NULL;
}

void block_let_go(struct block *block, uint64_t order)
{
    assert(block->state == BLOCK_USED);
    block->state = BLOCK_PENDING;
    block->order = order;
    block_enter(block);
}

void block_free(struct block *block)
{
    assert(block->state == BLOCK_PENDING && block->resource.refs == 0);
    block_leave(block);
    block->state = BLOCK_FREE;
    block->order = 0;
    block->requested = 0;
    block->shared = false;
    if (block->next && block->next->state == BLOCK_FREE) {
        block_leave(block->next);
        block_join(block, block->next);
    }
    if (block->prev && block->prev->state == BLOCK_FREE) {
        block = block->prev;
        block_leave(block);
        block_join(block, block->next);
    }
    block_enter(block);
}

/* ---- slabs --------------------------------------------------------------------------------------------- */

static int slab_compare(const struct slab *a, const struct slab *b)
{
    return a->address < b->address ? -1 : a->address > b->address;
}

struct slab *allocator_add(struct allocator *allocator, uint64_t address, uint64_t size, bool small)
{
    struct slab *slab = calloc(1, sizeof(*slab));

    if (!slab)
        return NULL;
    slab->allocator = allocator;
    slab->address = address;
    slab->size = size;
    slab->small = small;
    slab->first = block_new(slab, address, size);
    if (!slab->first) {
        free(slab);
        return NULL;
    }
    DL_INSERT_INORDER(allocator->slabs, slab, slab_compare);
    gauge_add(allocator->segments, slab_pool(slab), 1);
    gauge_add(allocator->reserved, slab_pool(slab), size);
    block_enter(slab->first);
    return slab;
}

struct block *slab_take(struct slab *slab, uint64_t size)
{
    assert(slab_idle(slab) && slab->size >= size);
    return block_use(slab->first, size);
}

bool slab_idle(const struct slab *slab)
{
    return slab->first->state == BLOCK_FREE && !slab->first->next;
}

void slab_evict(struct slab *slab)
{
    assert(slab_idle(slab));
    block_leave(slab->first);
    free(slab->first);
    slab->first = NULL;
    DL_DELETE(slab->allocator->slabs, slab);
}

void slab_gone(struct slab *slab)
{
    gauge_sub(slab->allocator->segments, slab_pool(slab), 1);
    gauge_sub(slab->allocator->reserved, slab_pool(slab), slab->size);
    free(slab);
}
