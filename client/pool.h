/* SPDX-License-Identifier: MIT */
/* client/pool.h: objects that users hold pointers to.
 *
 * A pool is one range of addresses, so that any pointer a user passes in can be judged without
 * being followed into the unknown; an object that was given back is never returned to the system.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum pool_mark {
    POOL_FREE = 0,
    POOL_LIVE = 0x4556494cu,
    POOL_STALE = 0x454c4154u,           /* from before a reset: may only be destroyed */
    POOL_HELD = 0x444c4548u,            /* destroyed, but the library itself still needs it */
};

/* The first member of each object. */
struct pool_object {
    _Atomic uint32_t mark;              /* enum pool_mark */
    uint32_t next;                      /* 1 + the next free object, 0: none */
};

#define POOL_OBJECT_SHIFT 6
#define POOL_OBJECT_SIZE (1u << POOL_OBJECT_SHIFT) /* of each: a cache line */

struct pool {
    uint32_t capacity;
    _Atomic(char *) base;               /* NULL before the first object ... */
    _Atomic uintptr_t places;           /* ... and 0: the capacity */
    uint32_t used;                      /* objects ever taken */
    uint32_t free;                      /* 1 + the first free object */
};

/* A live object; its other members hold what they held. NULL when there is no room. */
void *pool_take(struct pool *pool);

void pool_give(struct pool *pool, struct pool_object *object);

/* Where an object lies, < capacity, and what lies there: maybe free, NULL if nothing ever did. */
uint32_t pool_place(const struct pool *pool, const struct pool_object *object);
struct pool_object *pool_object(const struct pool *pool, uint32_t place);

/* Every live object becomes stale. */
void pool_outdate(struct pool *pool);

/* What @p pointer is: POOL_FREE also when it never came from the pool. Any thread, any pointer. */
static inline uint32_t pool_mark_of(struct pool *pool, const void *pointer)
{
    uintptr_t places = atomic_load_explicit(&pool->places, memory_order_acquire);
    uintptr_t base = (uintptr_t)atomic_load_explicit(&pool->base, memory_order_relaxed);
    uintptr_t offset = (uintptr_t)pointer - base;
    unsigned high = 8 * sizeof(offset) - POOL_OBJECT_SHIFT;

    /* Rotated, so that what lies between two objects is beyond all of them. */
    if ((offset >> POOL_OBJECT_SHIFT | offset << high) >= places)
        return POOL_FREE;
    return atomic_load_explicit(&((struct pool_object *)pointer)->mark, memory_order_relaxed);
}
