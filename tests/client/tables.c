/* SPDX-License-Identifier: MIT */
/* The library's tables, without a daemon. */
#include "client/deferred.h"
#include "client/pool.h"
#include "client/ranges.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define PAGE 4096u

static struct range range(uint64_t start, uint64_t size)
{
    return (struct range){ .start = start, .size = size, .kind = RANGE_DEVICE, .own = true };
}

Test(ranges, finds_what_holds_an_address)
{
    struct ranges ranges = { 0 };
    struct range middle = range(0x2000, 0x100), first = range(0x1000, 1), last = range(0x9000, 8);

    cr_assert(ranges_insert(&ranges, &middle));
    cr_assert(ranges_insert(&ranges, &last));
    cr_assert(ranges_insert(&ranges, &first));
    cr_assert_eq(ranges.count, 3);

    cr_assert_null(ranges_find(&ranges, 0xfff));
    cr_assert_eq(ranges_find(&ranges, 0x1000)->start, 0x1000);
    cr_assert_null(ranges_find(&ranges, 0x1001));
    cr_assert_null(ranges_find(&ranges, 0x1fff));
    cr_assert_eq(ranges_find(&ranges, 0x2000)->start, 0x2000);
    cr_assert_eq(ranges_find(&ranges, 0x20ff)->start, 0x2000);
    cr_assert_null(ranges_find(&ranges, 0x2100));
    cr_assert_null(ranges_find(&ranges, UINT64_MAX));

    ranges_remove(&ranges, ranges_find(&ranges, 0x2000));
    cr_assert_null(ranges_find(&ranges, 0x2000));
    cr_assert_eq(ranges_find(&ranges, 0x9007)->start, 0x9000);
    free(ranges.list);
}

Test(ranges, knows_what_touches)
{
    struct ranges ranges = { 0 };
    struct range one = range(0x2000, 0x100);

    cr_assert(ranges_insert(&ranges, &one));
    cr_assert_not(ranges_touch(&ranges, 0x1000, 0x1000));
    cr_assert(ranges_touch(&ranges, 0x1000, 0x1001));
    cr_assert(ranges_touch(&ranges, 0x20ff, 1));
    cr_assert_not(ranges_touch(&ranges, 0x2100, UINT64_MAX - 0x2100));
    cr_assert(ranges_touch(&ranges, 1, UINT64_MAX - 1));

    one.start = 0x20ff;
    cr_assert_not(ranges_insert(&ranges, &one));
    cr_assert_eq(ranges.count, 1);
    free(ranges.list);
}

Test(ranges, lone_pages_leave_out_those_of_neighbours)
{
    struct ranges ranges = { 0 };
    struct range left = range(0x10000, PAGE + 0x200), right = range(0x15f00, 0x100);
    uint64_t start, end;

    cr_assert(ranges_lone_pages(&ranges, 0x11200, 0x100, PAGE, &start, &end));
    cr_assert_eq(start, 0x11000);
    cr_assert_eq(end, 0x12000);

    cr_assert(ranges_insert(&ranges, &left));
    cr_assert(ranges_insert(&ranges, &right));
    cr_assert_not(ranges_lone_pages(&ranges, 0x11200, 0x100, PAGE, &start, &end));
    cr_assert(ranges_lone_pages(&ranges, 0x11200, 0x4d00, PAGE, &start, &end));
    cr_assert_eq(start, 0x12000);
    cr_assert_eq(end, 0x15000);
    free(ranges.list);
}

/* Many ranges in random order against the obvious way to look them up. */
Test(ranges, agrees_with_a_plain_map)
{
    enum { UNITS = 512, ROUNDS = 20000 };
    struct ranges ranges = { 0 };
    uint16_t owner[UNITS] = { 0 };      /* 1 + the unit where the range around it begins */
    unsigned seed = 1;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t unit = (uint32_t)rand_r(&seed) % UNITS, length = 1 + (uint32_t)rand_r(&seed) % 8;
        struct range *found = ranges_find(&ranges, unit * 16u + 7);

        cr_assert_eq(found ? found->start / 16 + 1 : 0, owner[unit]);
        if (found) {
            for (uint64_t i = 0; i < found->size / 16; i++)
                owner[found->start / 16 + i] = 0;
            ranges_remove(&ranges, found);
        } else if (unit + length <= UNITS) {
            struct range fresh = range(unit * 16u, length * 16u);
            bool room = true;

            for (uint32_t i = unit; i < unit + length; i++)
                room = room && !owner[i];
            cr_assert_eq(ranges_insert(&ranges, &fresh), room);
            for (uint32_t i = unit; room && i < unit + length; i++)
                owner[i] = (uint16_t)(unit + 1);
        }
    }
    free(ranges.list);
}

static struct board_cell cells[8192];

Test(deferred, stores_the_last_point_of_each_cell)
{
    cr_assert_eq(deferred_find(&cells[0]), 0);
    cr_assert(deferred_add(&cells[0], 5));
    cr_assert(deferred_add(&cells[1], 6));
    cr_assert(deferred_add(&cells[0], 7));
    cr_assert_eq(deferred_find(&cells[0]), 7);
    cr_assert_eq(atomic_load(&cells[0].point), 0);

    deferred_publish();
    cr_assert_eq(atomic_load(&cells[0].point), 7);
    cr_assert_eq(atomic_load(&cells[0].generation), 2);
    cr_assert_eq(atomic_load(&cells[1].point), 6);
    cr_assert_eq(deferred_find(&cells[0]), 0);
}

Test(deferred, forgets)
{
    for (unsigned i = 0; i < 100; i++)
        cr_assert(deferred_add(&cells[i], i + 1));
    deferred_forget(&cells[50]);
    cr_assert_eq(deferred_find(&cells[50]), 0);
    cr_assert(deferred_add(&cells[50], 1000));
    deferred_forget(&cells[51]);
    for (unsigned i = 52; i < 100; i++)
        cr_assert_eq(deferred_find(&cells[i]), i + 1);

    deferred_publish();
    cr_assert_eq(atomic_load(&cells[50].point), 1000);
    cr_assert_eq(atomic_load(&cells[51].point), 0);
    cr_assert_eq(atomic_load(&cells[99].point), 100);
}

Test(deferred, says_when_it_is_full)
{
    unsigned added = 0;

    while (added < 8192 && deferred_add(&cells[added], 1))
        added++;
    cr_assert_eq(added, 4096);
    deferred_drop();
    cr_assert(deferred_add(&cells[5000], 2));
    deferred_publish();
    cr_assert_eq(atomic_load(&cells[0].point), 0);
    cr_assert_eq(atomic_load(&cells[5000].point), 2);
}

Test(pool, judges_any_pointer)
{
    struct pool pool = { .capacity = 100 };
    struct pool_object *first, *second;
    int here = 0;

    cr_assert_eq(pool_mark_of(&pool, &here), POOL_FREE);
    first = pool_take(&pool);
    second = pool_take(&pool);
    cr_assert_eq(pool_mark_of(&pool, first), POOL_LIVE);
    cr_assert_eq(pool_mark_of(&pool, second), POOL_LIVE);
    for (size_t within = 1; within < POOL_OBJECT_SIZE; within++)
        cr_assert_eq(pool_mark_of(&pool, (char *)first + within), POOL_FREE);
    cr_assert_eq(pool_mark_of(&pool, (char *)first + POOL_OBJECT_SIZE * 100), POOL_FREE);
    cr_assert_eq(pool_mark_of(&pool, (char *)first - POOL_OBJECT_SIZE), POOL_FREE);
    cr_assert_eq(pool_mark_of(&pool, &here), POOL_FREE);
    cr_assert_eq(pool_mark_of(&pool, NULL), POOL_FREE);
    cr_assert_eq(pool_mark_of(&pool, (void *)UINTPTR_MAX), POOL_FREE);

    pool_give(&pool, first);
    cr_assert_eq(pool_mark_of(&pool, first), POOL_FREE);
    pool_outdate(&pool);
    cr_assert_eq(pool_mark_of(&pool, second), POOL_STALE);
    cr_assert_eq(pool_mark_of(&pool, first), POOL_FREE);
}

Test(pool, ends_at_its_capacity)
{
    struct pool pool = { .capacity = 3 };
    void *objects[3];

    for (int i = 0; i < 3; i++)
        cr_assert(objects[i] = pool_take(&pool));
    cr_assert_null(pool_take(&pool));
    pool_give(&pool, objects[1]);
    cr_assert_eq(pool_take(&pool), objects[1]);
}
