/* SPDX-License-Identifier: MIT */
/* client/ranges.c: see ranges.h.
 *
 * Guarantees of this file: a look-up is a binary search in one array; ranges in the table are
 * disjoint, so that an address has one meaning.
 */
#include "client/ranges.h"

#include <stdlib.h>
#include <string.h>

/* The first range that ends behind @p address. */
static size_t ranges_after(const struct ranges *ranges, uint64_t address)
{
    size_t low = 0, high = ranges->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct range *range = &ranges->list[middle];

        if (range->start + range->size <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct range *ranges_find_any(const struct ranges *ranges, uint64_t address)
{
    size_t i = ranges_after(ranges, address);

    return i < ranges->count && ranges->list[i].start <= address ? &ranges->list[i] : NULL;
}

struct range *ranges_find(const struct ranges *ranges, uint64_t address)
{
    struct range *range = ranges_find_any(ranges, address);

    return range && !range->cached ? range : NULL;
}

bool ranges_touch(const struct ranges *ranges, uint64_t start, uint64_t size)
{
    size_t i = ranges_after(ranges, start);

    /* It ends behind `start`: what is left to ask is whether it begins before the end. */
    return i < ranges->count &&
           (ranges->list[i].start <= start || ranges->list[i].start - start < size);
}

bool ranges_lone_pages(const struct ranges *ranges, uint64_t start, uint64_t size, uint64_t page,
                       uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t first = start & ~(page - 1), end = (start + size + page - 1) & ~(page - 1);

    while (first < end && ranges_touch(ranges, first, page))
        first += page;
    while (first < end && ranges_touch(ranges, end - page, page))
        end -= page;
    *ret_start = first;
    *ret_end = end;
    return first < end;
}

bool ranges_insert(struct ranges *ranges, const struct range *range)
{
    size_t i;

    if (ranges_touch(ranges, range->start, range->size))
        return false;
    if (ranges->count == ranges->room) {
        size_t room = ranges->room ? 2 * ranges->room : 16;
        struct range *list = realloc(ranges->list, room * sizeof(*list));

        if (!list)
            return false;
        ranges->list = list;
        ranges->room = room;
    }
    i = ranges_after(ranges, range->start);
    memmove(&ranges->list[i + 1], &ranges->list[i], (ranges->count - i) * sizeof(*ranges->list));
    ranges->list[i] = *range;
    ranges->count++;
    return true;
}

void ranges_remove(struct ranges *ranges, struct range *range)
{
    size_t i = (size_t)(range - ranges->list);

    ranges->count--;
    memmove(range, range + 1, (ranges->count - i) * sizeof(*range));
}
