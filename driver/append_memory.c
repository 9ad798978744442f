/* SPDX-License-Identifier: MIT */
/* append_memory.c: appending copies and fills.
 *
 * Guarantees of this file:
 *   - any address the process can touch will do: memory of any context and kind, or plain memory;
 *   - patterns and regions are copied into the command when it is appended;
 *   - of overlapping regions those that share base and pitches are refused, as the specification
 *     asks; a plain copy of overlapping memory is as undefined as memcpy.
 */
#include "list.h"
#include "worker.h"

#include "copy/stream_copy.h"

#include <string.h>

#define SHARED_COPY STREAM_COPY_MIN     /* below, waking another worker costs more than it saves */

struct copy {
    struct command head;
    void *destination;
    const void *source;
    size_t size;
};

static void copy_piece(void *what, size_t from, size_t to)
{
    struct copy *copy = what;

    stream_copy((char *)copy->destination + from, (const char *)copy->source + from, to - from);
}

/* One core does not use all of the memory's bandwidth. */
static void copy_run(struct command *command)
{
    struct copy *copy = (struct copy *)command;

    if (copy->size >= SHARED_COPY)
        worker_share(copy->size, copy_piece, copy);
    else
        memcpy(copy->destination, copy->source, copy->size);
}

static ze_result_t append_copy(ze_command_list_handle_t list, void *destination, const void *source,
                               size_t size, ze_event_handle_t signal, uint32_t wait_count,
                               ze_event_handle_t *waits)
{
    static const struct operation operation = {
        .name = "copy",
        .size = sizeof(struct copy),
        .run = copy_run,
    };
    struct copy command = {
        .head = { .operation = &operation, .weight = size },
        .destination = destination,
        .source = source,
        .size = size,
    };

    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(destination && source);
    return list_append(list, &command.head, signal, wait_count, waits);
}

ze_result_t append_memory_copy(ze_command_list_handle_t list, void *destination, const void *source,
                               size_t size, ze_event_handle_t signal, uint32_t wait_count,
                               ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendMemoryCopy);
    return append_copy(list, destination, source, size, signal, wait_count, waits);
}

ze_result_t append_memory_copy_with_parameters(ze_command_list_handle_t list, void *destination,
                                               const void *source, size_t size, const void *next,
                                               ze_event_handle_t signal, uint32_t wait_count,
                                               ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendMemoryCopyWithParameters);
    (void)next;
    return append_copy(list, destination, source, size, signal, wait_count, waits);
}

ze_result_t append_memory_copy_from_context(ze_command_list_handle_t list, void *destination,
                                            ze_context_handle_t source_context, const void *source,
                                            size_t size, ze_event_handle_t signal,
                                            uint32_t wait_count, ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendMemoryCopyFromContext);
    REQUIRE_HANDLE(source_context);
    return append_copy(list, destination, source, size, signal, wait_count, waits);
}

struct fill {
    struct command head;
    char *destination;
    size_t size;
    uint32_t pattern_size;
    char pattern[FILL_PATTERN_MAX];
};

/* One block is built by doubling, then copied on: memcpy moves whole cache lines. */
static void fill_run(struct command *command)
{
    struct fill *fill = (struct fill *)command;
    size_t filled = fill->pattern_size, block;

    if (fill->pattern_size == 1) {
        memset(fill->destination, fill->pattern[0], fill->size);
        return;
    }
    if (filled > fill->size)
        filled = fill->size;
    memcpy(fill->destination, fill->pattern, filled);
    for (; filled < fill->size; filled += block) {
        block = filled < SOFT_SHORT_BYTES ? filled : SOFT_SHORT_BYTES;
        if (block > fill->size - filled)
            block = fill->size - filled;
        memcpy(fill->destination + filled, fill->destination, block);
    }
}

static ze_result_t append_fill(ze_command_list_handle_t list, void *pointer, const void *pattern,
                               size_t pattern_size, size_t size, ze_event_handle_t signal,
                               uint32_t wait_count, ze_event_handle_t *waits)
{
    static const struct operation operation = {
        .name = "fill",
        .size = sizeof(struct fill),
        .run = fill_run,
    };
    struct fill command;

    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(pointer && pattern);
    REQUIRE(is_power_of_two(pattern_size) && pattern_size <= FILL_PATTERN_MAX, INVALID_SIZE);
    command.head = (struct command){ .operation = &operation, .weight = size };
    command.destination = pointer;
    command.size = size;
    command.pattern_size = (uint32_t)pattern_size;
    memcpy(command.pattern, pattern, pattern_size);
    return list_append(list, &command.head, signal, wait_count, waits);
}

ze_result_t append_memory_fill(ze_command_list_handle_t list, void *pointer, const void *pattern,
                               size_t pattern_size, size_t size, ze_event_handle_t signal,
                               uint32_t wait_count, ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendMemoryFill);
    return append_fill(list, pointer, pattern, pattern_size, size, signal, wait_count, waits);
}

ze_result_t append_memory_fill_with_parameters(ze_command_list_handle_t list, void *pointer,
                                               const void *pattern, size_t pattern_size,
                                               size_t size, const void *next,
                                               ze_event_handle_t signal, uint32_t wait_count,
                                               ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendMemoryFillWithParameters);
    (void)next;
    return append_fill(list, pointer, pattern, pattern_size, size, signal, wait_count, waits);
}

/* One side of a region copy. */
struct box {
    char *base;
    ze_copy_region_t region;
    size_t pitch, slice;
};

struct region {
    struct command head;
    struct box destination, source;
};

static char *box_row(const struct box *box, uint32_t y, uint32_t z)
{
    return box->base + box->region.originX + (box->region.originY + (size_t)y) * box->pitch +
           (box->region.originZ + (size_t)z) * box->slice;
}

static void region_run(struct command *command)
{
    struct region *region = (struct region *)command;
    const ze_copy_region_t *extent = &region->destination.region;

    for (uint32_t z = 0; z < extent->depth; z++)
        for (uint32_t y = 0; y < extent->height; y++)
            memcpy(box_row(&region->destination, y, z), box_row(&region->source, y, z),
                   extent->width);
}

/* A height or depth of 0 means 1, a pitch of 0 means rows (slices) without gaps. */
static struct box box_of(const void *base, const ze_copy_region_t *region, uint32_t pitch,
                         uint32_t slice)
{
    struct box box = { .base = (char *)(uintptr_t)base, .region = *region };

    if (box.region.height == 0)
        box.region.height = 1;
    if (box.region.depth == 0)
        box.region.depth = 1;
    box.pitch = pitch ? pitch : box.region.width;
    box.slice = slice ? slice : box.pitch * box.region.height;
    return box;
}

static bool apart(uint32_t a, uint32_t b, uint32_t extent)
{
    return a > b ? a - b >= extent : b - a >= extent;
}

static bool boxes_overlap(const struct box *a, const struct box *b)
{
    return a->base == b->base && a->pitch == b->pitch && a->slice == b->slice &&
           !apart(a->region.originX, b->region.originX, a->region.width) &&
           !apart(a->region.originY, b->region.originY, a->region.height) &&
           !apart(a->region.originZ, b->region.originZ, a->region.depth);
}

ze_result_t append_memory_copy_region(ze_command_list_handle_t list, void *destination,
                                      const ze_copy_region_t *destination_region,
                                      uint32_t destination_pitch, uint32_t destination_slice_pitch,
                                      const void *source, const ze_copy_region_t *source_region,
                                      uint32_t source_pitch, uint32_t source_slice_pitch,
                                      ze_event_handle_t signal, uint32_t wait_count,
                                      ze_event_handle_t *waits)
{
    static const struct operation operation = {
        .name = "region",
        .size = sizeof(struct region),
        .run = region_run,
    };
    struct region command = { .head = { .operation = &operation } };
    const ze_copy_region_t *to = &command.destination.region, *from = &command.source.region;

    ENTER(zeCommandListAppendMemoryCopyRegion);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(destination && destination_region && source && source_region);
    command.destination =
        box_of(destination, destination_region, destination_pitch, destination_slice_pitch);
    command.source = box_of(source, source_region, source_pitch, source_slice_pitch);
    REQUIRE(to->width == from->width && to->height == from->height && to->depth == from->depth,
            INVALID_SIZE);
    REQUIRE(command.destination.pitch >= to->width && command.source.pitch >= from->width,
            INVALID_SIZE);
    REQUIRE(!boxes_overlap(&command.destination, &command.source), OVERLAPPING_REGIONS);
    command.head.weight = (uint64_t)to->width * to->height * to->depth;
    return list_append(list, &command.head, signal, wait_count, waits);
}
