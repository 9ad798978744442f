/* SPDX-License-Identifier: MIT */
/* The policy of the allocator: PyTorch's documented sizes, and a long random run beside a model that
 * knows only bytes and searches all of them. No daemon, no device. */
#include "daemon/allocator.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

static struct allocator allocator;

static void unused(struct resource *resource)
{
    block_free((struct block *)resource);
}

static void begin(void)
{
    allocator = (struct allocator){ .unused = unused };
}

/* The first idle slab, unlinked; NULL: there is none. */
static struct slab *evict(void)
{
    struct slab *slab = allocator.slabs;

    while (slab && !slab_idle(slab))
        slab = slab->next;
    if (slab)
        slab_evict(slab);
    return slab;
}

static void end(void)
{
    struct slab *slab;

    while ((slab = evict()))
        slab_gone(slab);
    cr_assert_null(allocator.slabs);
    cr_assert_null(allocator.free);
    cr_assert_null(allocator.ordered);
    cr_assert_eq(allocator.reserved[0].current, 0);
    cr_assert_eq(allocator.segments[0].current, 0);
    cr_assert_eq(allocator.split[0].current, 0);
    cr_assert_eq(allocator.split_bytes[0].current, 0);
}

TestSuite(allocator, .init = begin, .fini = end);

static struct block *take(uint64_t size)
{
    return allocator_take(&allocator, block_round(size), 0);
}

static void give(struct block *block)
{
    block_let_go(block, 0);
    resource_unref(&block->resource);
}

/* From torch's documentation of its caching allocator. */
Test(allocator, sizes)
{
    static const struct {
        uint64_t asked, rounded, slab;
    } table[] = {
        { 1, 512, 2 * MIB },
        { 511, 512, 2 * MIB },
        { 512, 512, 2 * MIB },
        { 513, 1024, 2 * MIB },
        { MIB - 1, MIB, 2 * MIB },
        { MIB, MIB, 2 * MIB },
        { MIB + 1, MIB + 512, 20 * MIB },
        { 5 * MIB, 5 * MIB, 20 * MIB },
        { 10 * MIB - 512, 10 * MIB - 512, 20 * MIB },
        { 10 * MIB - 1, 10 * MIB, 10 * MIB },
        { 10 * MIB, 10 * MIB, 10 * MIB },
        { 10 * MIB + 1, 10 * MIB + 512, 12 * MIB },
        { 100 * MIB + 1, 100 * MIB + 512, 102 * MIB },
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cr_assert_eq(block_round(table[i].asked), table[i].rounded, "%zu", i);
        cr_assert_eq(slab_size_for(table[i].rounded), table[i].slab, "%zu", i);
    }
}

Test(allocator, splits_small_from_512_large_above_a_mebibyte)
{
    struct slab *small = allocator_add(&allocator, 4 * MIB, 2 * MIB, true);
    struct slab *large = allocator_add(&allocator, 100 * MIB, 20 * MIB, false);
    struct block *a, *b;

    a = take(MIB);
    b = take(MIB - 512);
    cr_assert_eq(a->slab, small);
    cr_assert_eq(b->slab, small);
    cr_assert_eq(b->size, MIB - 512);
    cr_assert_eq(allocator.split_bytes[XPURT_MEMORY_SMALL].current, 512);
    give(a);
    give(b);

    a = slab_take(large, 19 * MIB);
    cr_assert_eq(a->size, 20 * MIB, "a rest of 1 MiB is not split off");
    give(a);
    a = slab_take(large, 19 * MIB - 512);
    cr_assert_eq(a->size, 19 * MIB - 512);
    cr_assert_eq(allocator.split_bytes[XPURT_MEMORY_LARGE].current, MIB + 512);
    give(a);
    cr_assert_eq(allocator.split[0].current, 0);
}

Test(allocator, best_fit_lowest_address)
{
    struct block *blocks[8];

    allocator_add(&allocator, 4 * MIB, 2 * MIB, true);
    for (int i = 0; i < 8; i++)
        blocks[i] = take(i % 2 ? 512 : (uint64_t)(9 - i) * KIB);
    give(blocks[0]);                    /* 9 KiB */
    give(blocks[2]);                    /* 7 KiB */
    give(blocks[6]);                    /* 3 KiB */
    cr_assert_eq(take(6 * KIB), blocks[2]);
    give(blocks[2]);
    cr_assert_eq(take(3 * KIB), blocks[6]);
    give(blocks[6]);
    cr_assert_eq(take(8 * KIB), blocks[0]);
    give(blocks[0]);
    for (int i = 1; i < 8; i += 2)
        give(blocks[i]);
    give(blocks[4]);
}

/* A block that is still in use serves only those in whose order it was freed. */
Test(allocator, order)
{
    struct block *block, *other;

    allocator_add(&allocator, 4 * MIB, 2 * MIB, true);
    block = take(4 * KIB);
    resource_ref(&block->resource);     /* a command */
    block_let_go(block, 7);
    resource_unref(&block->resource);
    other = allocator_take(&allocator, 4 * KIB, 8);
    cr_assert_neq(other, block);
    give(other);
    other = allocator_take(&allocator, 4 * KIB, 0);
    cr_assert_neq(other, block);
    give(other);
    other = allocator_take(&allocator, 2 * KIB, 7);
    cr_assert_neq(other, block, "cut while in use");
    give(other);
    other = allocator_take(&allocator, 4 * KIB, 7);
    cr_assert_eq(other, block);
    cr_assert_eq(block->resource.refs, 2);
    resource_unref(&block->resource);   /* the command is done */
    cr_assert_eq(block->state, BLOCK_USED);
    give(block);
}

/* ---- a model that knows only bytes ----------------------------------------------------------------- */

enum { UNITS = 4096, SLABS = 6, LIVE = 200, STEPS = 200000 };

/* Units of 512 bytes of small slabs, far from each other: whose is each? */
static struct {
    bool there;
    uint16_t owner[UNITS];              /* 0: free */
} model[SLABS];

static uint64_t slab_address(int slab)
{
    return (uint64_t)(slab + 1) * 8 * MIB;
}

/* The smallest hole that is large enough, the lowest of those; false: none. */
static bool model_find(unsigned units, int *ret_slab, unsigned *ret_at)
{
    unsigned best = UINT32_MAX;

    for (int slab = 0; slab < SLABS; slab++)
        for (unsigned at = 0; model[slab].there && at < UNITS;) {
            unsigned begin_at = at, n;

            while (at < UNITS && !model[slab].owner[at])
                at++;
            n = at - begin_at;
            if (n >= units && n < best) {
                best = n;
                *ret_slab = slab;
                *ret_at = begin_at;
            }
            at += n == 0;
        }
    return best != UINT32_MAX;
}

static void model_set(uint64_t address, uint64_t size, uint16_t owner, uint16_t before)
{
    int slab = (int)(address / (8 * MIB)) - 1;
    uint64_t at = (address - slab_address(slab)) / 512;

    for (uint64_t i = at; i < at + size / 512; i++) {
        cr_assert_eq(model[slab].owner[i], before);
        model[slab].owner[i] = owner;
    }
}

static void model_check(uint64_t *ret_split, uint64_t *ret_split_bytes)
{
    *ret_split = *ret_split_bytes = 0;
    for (int slab = 0; slab < SLABS; slab++)
        for (unsigned at = 0; model[slab].there && at < UNITS;) {
            unsigned begin_at = at;

            while (at < UNITS && !model[slab].owner[at])
                at++;
            if (at > begin_at && at - begin_at < UNITS) {
                ++*ret_split;
                *ret_split_bytes += (at - begin_at) * 512u;
            }
            at += at == begin_at;
        }
}

static void model_evict(void)
{
    struct slab *slab = evict();
    int i;

    if (!slab)
        return;
    i = (int)(slab->address / (8 * MIB)) - 1;
    for (unsigned at = 0; at < UNITS; at++)
        cr_assert_eq(model[i].owner[at], 0);
    model[i].there = false;
    slab_gone(slab);
}

static bool model_add(void)
{
    for (int slab = 0; slab < SLABS; slab++)
        if (!model[slab].there) {
            model[slab].there = true;
            cr_assert(allocator_add(&allocator, slab_address(slab), 2 * MIB, true));
            return true;
        }
    return false;
}

Test(allocator, as_a_model_of_bytes)
{
    static struct block *live[LIVE];
    unsigned seed = 12345, misses = 0;

    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand_r(&seed) % LIVE;
        uint64_t split, bytes;

        if (live[i]) {
            model_set(live[i]->address, live[i]->size, 0, (uint16_t)(i + 1));
            give(live[i]);
            live[i] = NULL;
        } else {
            unsigned units = 1 + (unsigned)rand_r(&seed) % (1u << rand_r(&seed) % 11);
            unsigned at = 0;
            int slab = 0;
            bool found = model_find(units, &slab, &at);

            live[i] = take(units * 512u);
            cr_assert_eq(live[i] != NULL, found, "step %u", step);
            if (found) {
                cr_assert_eq(live[i]->address, slab_address(slab) + at * 512u, "step %u", step);
                cr_assert_eq(live[i]->size, units * 512u);
                model_set(live[i]->address, live[i]->size, (uint16_t)(i + 1), 0);
            } else if (!model_add()) {
                misses++;
            }
        }
        if (step % 1000 == 999)
            model_evict();
        if (step % 64)
            continue;
        model_check(&split, &bytes);
        cr_assert_eq(allocator.split[XPURT_MEMORY_SMALL].current, split, "step %u", step);
        cr_assert_eq(allocator.split_bytes[XPURT_MEMORY_ALL].current, bytes, "step %u", step);
        cr_assert_geq(allocator.split[0].peak, split);
        cr_assert_eq(allocator.split[0].allocated - allocator.split[0].freed, split);
    }
    cr_assert_lt(misses, STEPS / 10);
    for (unsigned i = 0; i < LIVE; i++)
        if (live[i])
            give(live[i]);
}
