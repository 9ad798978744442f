/* SPDX-License-Identifier: MIT */
/* client/pool.c: see pool.h.
 *
 * Guarantees of this file: pool_mark_of() is right for any pointer at any time; memory is used
 * only for as many objects as were ever alive at once. Callers hold the connection's lock.
 */
#include "client/pool.h"

#include <stddef.h>
#include <sys/mman.h>

static struct pool_object *pool_at(const struct pool *pool, uint32_t index)
{
    char *base = atomic_load_explicit(&pool->base, memory_order_relaxed);

    return (struct pool_object *)(base + (size_t)index * POOL_OBJECT_SIZE);
}

static int pool_reserve(struct pool *pool)
{
    size_t span = (size_t)pool->capacity * POOL_OBJECT_SIZE;
    void *base;

    if (atomic_load_explicit(&pool->places, memory_order_relaxed))
        return 0;

    base = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
    if (base == MAP_FAILED)
        return -1;
    atomic_store_explicit(&pool->base, base, memory_order_relaxed);
    atomic_store_explicit(&pool->places, pool->capacity,
                          memory_order_release); /* who sees it sees the base */
    return 0;
}

void *pool_take(struct pool *pool)
{
    struct pool_object *object;

    if (pool->free) {
        object = pool_at(pool, pool->free - 1);
        pool->free = object->next;
    } else {
        if (pool_reserve(pool) < 0 || pool->used == pool->capacity)
            return NULL;
        object = pool_at(pool, pool->used++);
    }
    atomic_store_explicit(&object->mark, POOL_LIVE, memory_order_relaxed);
    return object;
}

void pool_give(struct pool *pool, struct pool_object *object)
{
    atomic_store_explicit(&object->mark, POOL_FREE, memory_order_relaxed);
    object->next = pool->free;
    pool->free = pool_place(pool, object) + 1;
}

uint32_t pool_place(const struct pool *pool, const struct pool_object *object)
{
    const char *base = atomic_load_explicit(&pool->base, memory_order_relaxed);

    return (uint32_t)(((const char *)object - base) / POOL_OBJECT_SIZE);
}

struct pool_object *pool_object(const struct pool *pool, uint32_t place)
{
    return place < pool->used ? pool_at(pool, place) : NULL;
}

void pool_outdate(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->used; i++) {
        struct pool_object *object = pool_at(pool, i);

        if (atomic_load_explicit(&object->mark, memory_order_relaxed) == POOL_LIVE)
            atomic_store_explicit(&object->mark, POOL_STALE, memory_order_relaxed);
    }
}
