/* SPDX-License-Identifier: MIT */
/* client/deferred.c: see deferred.h.
 *
 * Guarantees of this file: finding a cell takes the same time however many wait; nothing is
 * allocated. Callers hold the connection's lock.
 */
#include "client/deferred.h"

#include "client/table.h"
#include "proto/hot.h"

#define DEFERRED_MAX 4096u              /* about as many records as one frame holds */
#define BUCKETS (4 * DEFERRED_MAX)      /* open addressing, never more than a quarter full */

struct deferred {
    struct board_cell *cell;            /* NULL: forgotten */
    uint64_t point;
    uint32_t records;
    uint32_t bucket;
};

static TABLE struct deferred list[DEFERRED_MAX];
static uint32_t used;
static TABLE uint16_t buckets[BUCKETS]; /* 1 + index in the list; 0: empty */

/* The bucket that names @p cell, or the empty one where it belongs. */
static uint32_t bucket_of(const struct board_cell *cell)
{
    uint32_t bucket = (uint32_t)(((uintptr_t)cell / sizeof(*cell)) * 0x9e3779b1u) % BUCKETS;

    while (buckets[bucket] && list[buckets[bucket] - 1].cell != cell)
        bucket = (bucket + 1) % BUCKETS;
    return bucket;
}

bool deferred_add(struct board_cell *cell, uint64_t point)
{
    uint32_t bucket = bucket_of(cell);
    struct deferred *entry;

    if (buckets[bucket]) {
        entry = &list[buckets[bucket] - 1];
        entry->point = point;
        entry->records++;
        return true;
    }
    if (used == DEFERRED_MAX)
        return false;

    list[used++] =
        (struct deferred){ .cell = cell, .point = point, .records = 1, .bucket = bucket };
    buckets[bucket] = (uint16_t)used;
    return true;
}

uint64_t deferred_find(const struct board_cell *cell)
{
    uint32_t bucket;

    if (!used)
        return 0;
    bucket = bucket_of(cell);
    return buckets[bucket] ? list[buckets[bucket] - 1].point : 0;
}

void deferred_forget(const struct board_cell *cell)
{
    uint32_t bucket;

    if (!used)
        return;
    bucket = bucket_of(cell);
    if (buckets[bucket])
        list[buckets[bucket] - 1].cell = NULL; /* the bucket stays: others may lie behind it */
}

HOT void deferred_publish(void)
{
    for (uint32_t i = 0; i < used; i++)
        if (list[i].cell)
            cell_store(list[i].cell, list[i].point, list[i].records);
    deferred_drop();
}

void deferred_drop(void)
{
    for (uint32_t i = 0; i < used; i++)
        buckets[list[i].bucket] = 0;
    used = 0;
}

/* Order rule 4, for those who sleep on `generation` until a record comes. All lies in one cache line, and
 * the bump is a full barrier already: without waiters the mark costs nothing. */
HOT void cell_store(struct board_cell *cell, uint64_t point, uint32_t records)
{
    bool waited = mark_take(&cell->flags, CELL_WAITED);

    atomic_store_explicit(&cell->point, point, memory_order_release);
    atomic_fetch_add(&cell->generation, records);
    if (waited || mark_there(&cell->flags, CELL_WAITED))
        (void)board_wake(&cell->generation);
}
