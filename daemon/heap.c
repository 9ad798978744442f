/* SPDX-License-Identifier: MIT */
/* daemon/heap.c: a pairing heap.
 *
 * Guarantees of this file: whatever the order in which clients add and take away, adding takes a
 * constant time, removing one of n nodes log n steps on average over all of them; nothing is
 * allocated and nothing recurses.
 */
#include "daemon/heap.h"

/* One tree of two; neither is a sibling of others. */
static struct heap_node *join(struct heap_node *a, struct heap_node *b)
{
    struct heap_node *low = a, *high = b;

    if (!a || !b)
        return a ? a : b;
    if (b->value < a->value) {
        low = b;
        high = a;
    }
    high->next = low->child;
    high->previous = low;
    if (low->child)
        low->child->previous = high;
    low->child = high;
    return low;
}

static struct heap_node *cut(struct heap_node *node)
{
    if (node)
        node->next = node->previous = NULL;
    return node;
}

/* One tree of siblings: in pairs from the first to the last, then these from the last to the first. */
static struct heap_node *join_all(struct heap_node *first)
{
    struct heap_node *pairs = NULL, *tree = NULL;

    while (first) {
        struct heap_node *second = first->next;
        struct heap_node *rest = second ? second->next : NULL;
        struct heap_node *pair = join(cut(first), cut(second));

        pair->next = pairs;
        pairs = pair;
        first = rest;
    }
    while (pairs) {
        struct heap_node *pair = pairs;

        pairs = pair->next;
        tree = join(tree, cut(pair));
    }
    return tree;
}

void heap_add(struct heap_node **heap, struct heap_node *node, uint64_t value)
{
    *node = (struct heap_node){ .value = value };
    *heap = join(*heap, node);
}

void heap_remove(struct heap_node **heap, struct heap_node *node)
{
    struct heap_node *children = join_all(node->child);

    node->child = NULL;
    if (*heap == node) {
        *heap = children;
        return;
    }
    if (node->previous->child == node)
        node->previous->child = node->next;
    else
        node->previous->next = node->next;
    if (node->next)
        node->next->previous = node->previous;
    (void)cut(node);
    *heap = join(*heap, children);
}
