/* SPDX-License-Identifier: MIT */
/* client/ranges.h: which addresses are device memory or pinned memory of this process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_segment;
struct mapping;

enum range_kind {
    RANGE_DEVICE,
    RANGE_HOST,
};

struct range {
    uint64_t start;
    uint64_t size;
    enum range_kind kind;
    uint32_t device;                    /* RANGE_DEVICE */
    struct host_segment *host;          /* RANGE_HOST */
    uint32_t opens;                     /* RANGE_DEVICE: by a handle, each closed once */
    bool own;                           /* allocated here, and not freed */
    bool cached;                        /* freed, but in the magazine: not in use */
    bool exported;                      /* others may open it: not for the magazine */
    bool recorded;                      /* other streams use it: likewise */
    int32_t owner;                      /* process that allocated it; 0: gone */
    uint32_t entry;                     /* 1 + that in the magazine; 0: none */
    uint64_t rounded;                   /* bytes of the block */
    uint32_t copies;                    /* of this process's threads, under way: not to be freed */
    struct mapping *mapping;            /* a segment's; NULL: it was not asked for */
};

/* Sorted; ranges never overlap. */
struct ranges {
    struct range *list;
    size_t count;
    size_t room;
};

/* The range in use that holds @p address, or NULL. Valid until the next change. */
struct range *ranges_find(const struct ranges *ranges, uint64_t address);

/* The same, in use or not. */
struct range *ranges_find_any(const struct ranges *ranges, uint64_t address);

/* Whether any byte of [start, start + size) belongs to a range; @p size > 0. */
bool ranges_touch(const struct ranges *ranges, uint64_t start, uint64_t size);

/* The whole pages of [start, start + size) that no range in the table touches. False: none. */
bool ranges_lone_pages(const struct ranges *ranges, uint64_t start, uint64_t size, uint64_t page,
                       uint64_t *ret_start, uint64_t *ret_end);

/* False: out of memory, or the range overlaps another. */
bool ranges_insert(struct ranges *ranges, const struct range *range);

void ranges_remove(struct ranges *ranges, struct range *range);
