/* SPDX-License-Identifier: MIT */
/* tests/unit/heap.c: what waits comes out lowest first, whatever was added and removed before. */
#include "daemon/heap.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>

TestSuite(heap, .timeout = 60);

struct thing {
    char before[24];
    struct heap_node node;
    bool in;
};

#define THINGS 300

static uint64_t lowest(const struct thing *things)
{
    uint64_t value = UINT64_MAX;

    for (int i = 0; i < THINGS; i++)
        if (things[i].in && things[i].node.value < value)
            value = things[i].node.value;
    return value;
}

/* Few values, so that there are many equals. */
Test(heap, random)
{
    struct thing *things = calloc(THINGS, sizeof(*things));
    struct heap_node *heap = NULL;

    cr_assert_not_null(things);
    srandom(1);
    for (int i = 0; i < 200000; i++) {
        struct thing *thing = &things[random() % THINGS];

        if (random() % 4 == 0 && heap)
            thing = HEAP_ENTRY(heap, struct thing, node);
        if (thing->in)
            heap_remove(&heap, &thing->node);
        else
            heap_add(&heap, &thing->node, (uint64_t)random() % (random() % 2 ? 50 : 100000));
        thing->in = !thing->in;
        if (heap)
            cr_assert_eq(heap->value, lowest(things));
        else
            cr_assert_eq(lowest(things), UINT64_MAX);
    }
    while (heap) {
        cr_assert_eq(heap->value, lowest(things));
        HEAP_ENTRY(heap, struct thing, node)->in = false;
        heap_remove(&heap, heap);
    }
    cr_assert_eq(lowest(things), UINT64_MAX);
    free(things);
}

/* A million of them in each order: what is quadratic, or recurses, does not end in time. */
static void play(uint64_t (*value)(uint64_t i))
{
    const uint64_t n = 1000000;
    struct heap_node *nodes = calloc(n, sizeof(*nodes)), *heap = NULL;
    uint64_t last = 0;

    cr_assert_not_null(nodes);
    for (uint64_t i = 0; i < n; i++)
        heap_add(&heap, &nodes[i], value(i));
    for (uint64_t i = 0; i < n; i += 2)
        heap_remove(&heap, &nodes[i]);
    for (uint64_t i = 0; i < n / 2; i++) {
        cr_assert_geq(heap->value, last);
        last = heap->value;
        heap_remove(&heap, heap);
    }
    cr_assert_null(heap);
    free(nodes);
}

static uint64_t up(uint64_t i)
{
    return i;
}

static uint64_t down(uint64_t i)
{
    return UINT64_MAX - i;
}

static uint64_t same(uint64_t i)
{
    return i & 0;
}

static uint64_t mixed(uint64_t i)
{
    return i * UINT64_C(0x9e3779b97f4a7c15);
}

Test(heap, many)
{
    play(up);
    play(down);
    play(same);
    play(mixed);
}
