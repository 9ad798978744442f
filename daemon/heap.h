/* SPDX-License-Identifier: MIT */
/* daemon/heap.h: what waits for values of a counter, lowest first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Part of what waits, whatever that is; one heap at a time. */
struct heap_node {
    uint64_t value;
    struct heap_node *child;            /* first of those that are not lower */
    struct heap_node *next;             /* sibling */
    struct heap_node *previous;         /* sibling, or the parent of the first one */
};

/* What @p node is part of. */
#define HEAP_ENTRY(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

/* A heap is a pointer to its lowest node, NULL when it is empty. */
void heap_add(struct heap_node **heap, struct heap_node *node, uint64_t value);
void heap_remove(struct heap_node **heap, struct heap_node *node);
