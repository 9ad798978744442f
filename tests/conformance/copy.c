/* SPDX-License-Identifier: MIT */
/* Copies and fills, against a reference written here. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(copy, .init = soft_open, .fini = soft_close);
TestSuite(fill, .init = soft_open, .fini = soft_close);

static const ze_memory_type_t kinds[] = { ZE_MEMORY_TYPE_DEVICE, ZE_MEMORY_TYPE_HOST,
                                          ZE_MEMORY_TYPE_SHARED, ZE_MEMORY_TYPE_UNKNOWN };

/* Unknown: plain memory of the process. */
static unsigned char *alloc(ze_memory_type_t kind, size_t size)
{
    unsigned char *memory = kind == ZE_MEMORY_TYPE_UNKNOWN ? malloc(size) : soft_alloc(kind, size);

    cr_assert_not_null(memory);
    return memory;
}

static void release(ze_memory_type_t kind, void *memory)
{
    if (kind == ZE_MEMORY_TYPE_UNKNOWN)
        free(memory);
    else
        soft_free(memory);
}

static void randomise(uint64_t *random, void *memory, size_t size)
{
    unsigned char *bytes = memory;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)soft_random(random);
}

Test(copy, between_all_kinds_of_memory_at_odd_offsets)
{
    enum { SIZE = 200000 };
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    unsigned char *expected = malloc(SIZE);
    uint64_t random = soft_seed();

    for (size_t i = 0; i < COUNT_OF(kinds) * COUNT_OF(kinds); i++) {
        ze_memory_type_t to_kind = kinds[i / COUNT_OF(kinds)],
                         from_kind = kinds[i % COUNT_OF(kinds)];
        unsigned char *to = alloc(to_kind, SIZE), *from = alloc(from_kind, SIZE);

        randomise(&random, from, SIZE);
        memset(to, 0xcc, SIZE);
        memset(expected, 0xcc, SIZE);
        for (int j = 0; j < 8; j++) {
            size_t size = soft_random(&random) % (SIZE / 2);
            size_t to_at = soft_random(&random) % (SIZE / 2);
            size_t from_at = soft_random(&random) % (SIZE / 2);

            REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, to + to_at, from + from_at, size, NULL,
                                                     0, NULL));
            memcpy(expected + to_at, from + from_at, size);
        }
        soft_finish(list);
        cr_assert_eq(memcmp(to, expected, SIZE), 0);
        release(to_kind, to);
        release(from_kind, from);
    }
    free(expected);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(copy, from_another_context)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_device_mem_alloc_desc_t memory_desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    ze_context_handle_t other;
    void *from;
    uint32_t *to = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 64);

    REQUIRE_ZE(zeContextCreate(soft.driver, &desc, &other));
    REQUIRE_ZE(zeMemAllocDevice(other, &memory_desc, 64, 0, soft.devices[1], &from));
    memset(from, 0x77, 64);
    REQUIRE_ZE(zeCommandListAppendMemoryCopyFromContext(list, to, other, from, 64, NULL, 0, NULL));
    cr_assert_eq(memcmp(to, from, 64), 0);
    REQUIRE_ZE(zeMemFree(other, from));
    REQUIRE_ZE(zeContextDestroy(other));
    soft_free(to);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(copy, of_nothing)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    uint32_t *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 64);

    *memory = 3;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, memory, memory + 8, 0, NULL, 0, NULL));
    REQUIRE_ZE(zeCommandListAppendMemoryFill(list, memory, "\1", 1, 0, NULL, 0, NULL));
    cr_assert_eq(*memory, 3);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

/* ---- regions --------------------------------------------------------------------------------- */

struct image {
    unsigned char *bytes;
    uint32_t pitch, rows, slices;
};

static size_t image_bytes(const struct image *image)
{
    return (size_t)image->pitch * image->rows * image->slices;
}

static struct image image_new(uint64_t *random, uint32_t width, uint32_t height, uint32_t depth)
{
    struct image image = { .pitch = width + (uint32_t)(soft_random(random) % 50),
                           .rows = height + (uint32_t)(soft_random(random) % 10),
                           .slices = depth + (uint32_t)(soft_random(random) % 5) };

    image.bytes = soft_alloc(ZE_MEMORY_TYPE_DEVICE, image_bytes(&image));
    randomise(random, image.bytes, image_bytes(&image));
    return image;
}

static ze_copy_region_t region_in(uint64_t *random, const struct image *image, uint32_t width,
                                  uint32_t height, uint32_t depth)
{
    return (
        ze_copy_region_t){ .originX = (uint32_t)(soft_random(random) % (image->pitch - width + 1)),
                           .originY = (uint32_t)(soft_random(random) % (image->rows - height + 1)),
                           .originZ = (uint32_t)(soft_random(random) % (image->slices - depth + 1)),
                           .width = width,
                           .height = height,
                           .depth = depth };
}

static size_t at(const struct image *image, const ze_copy_region_t *region, uint32_t x, uint32_t y,
                 uint32_t z)
{
    return ((size_t)(region->originZ + z) * image->rows + region->originY + y) * image->pitch +
           region->originX + x;
}

static void copy_one_region(ze_command_list_handle_t list, uint64_t *random, bool flat)
{
    uint32_t width = 1 + (uint32_t)(soft_random(random) % 100);
    uint32_t height = 1 + (uint32_t)(soft_random(random) % 20);
    uint32_t depth = flat ? 1 : 1 + (uint32_t)(soft_random(random) % 8);
    struct image to = image_new(random, width, height, depth);
    struct image from = image_new(random, width, height, depth);
    ze_copy_region_t to_region, from_region;
    unsigned char *expected = malloc(image_bytes(&to));

    if (flat)
        to.slices = from.slices = 1;
    to_region = region_in(random, &to, width, height, depth);
    from_region = region_in(random, &from, width, height, depth);
    memcpy(expected, to.bytes, image_bytes(&to));
    for (uint32_t z = 0; z < depth; z++)
        for (uint32_t y = 0; y < height; y++)
            for (uint32_t x = 0; x < width; x++)
                expected[at(&to, &to_region, x, y, z)] =
                    from.bytes[at(&from, &from_region, x, y, z)];
    if (flat)
        to_region.depth = from_region.depth = (uint32_t)(soft_random(random) % 2); /* 0 means 1 */
    REQUIRE_ZE(zeCommandListAppendMemoryCopyRegion(
        list, to.bytes, &to_region, to.pitch, flat ? 0 : to.pitch * to.rows, from.bytes,
        &from_region, from.pitch, flat ? 0 : from.pitch * from.rows, NULL, 0, NULL));
    memset(&to_region, 0xff, sizeof(to_region)); /* read when appended, not later */
    memset(&from_region, 0xff, sizeof(from_region));
    soft_finish(list);
    cr_assert_eq(memcmp(to.bytes, expected, image_bytes(&to)), 0);
    free(expected);
    soft_free(to.bytes);
    soft_free(from.bytes);
}

Test(copy, regions_of_two_dimensions)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    uint64_t random = soft_seed();

    for (int i = 0; i < 100; i++)
        copy_one_region(list, &random, true);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(copy, regions_of_three_dimensions)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    uint64_t random = soft_seed();

    for (int i = 0; i < 100; i++)
        copy_one_region(list, &random, false);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(copy, overlapping_regions_are_refused_and_adjacent_ones_are_not)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    unsigned char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 100 * 100);
    ze_copy_region_t to = { .width = 10, .height = 10, .depth = 1 };
    ze_copy_region_t from = { .originX = 9, .originY = 9, .width = 10, .height = 10, .depth = 1 };

    cr_assert_eq(zeCommandListAppendMemoryCopyRegion(list, memory, &to, 100, 0, memory, &from, 100,
                                                     0, NULL, 0, NULL),
                 ZE_RESULT_ERROR_OVERLAPPING_REGIONS);
    from.originX = 10;
    memset(memory, 0, 100 * 100);
    memory[9 * 100 + 10] = 5;
    REQUIRE_ZE(zeCommandListAppendMemoryCopyRegion(list, memory, &to, 100, 0, memory, &from, 100, 0,
                                                   NULL, 0, NULL));
    cr_assert_eq(memory[0], 5);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

/* ---- fills ----------------------------------------------------------------------------------- */

static size_t largest_pattern(void)
{
    ze_command_queue_group_properties_t group = {
        .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES
    };
    uint32_t count = 1;

    REQUIRE_ZE(zeDeviceGetCommandQueueGroupProperties(soft.device, &count, &group));
    return group.maxMemoryFillPatternSize;
}

Test(fill, every_pattern_size)
{
    enum { SIZE = 300000 };
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    unsigned char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, SIZE), pattern[4096];
    const size_t largest = largest_pattern();
    uint64_t random = soft_seed();

    cr_assert_leq(largest, sizeof(pattern));
    for (size_t size = 1; size <= largest; size *= 2) {
        for (int i = 0; i < 6; i++) {
            size_t count = 1 + soft_random(&random) % (i < 3 ? 100 : SIZE / size - 2);
            size_t offset = soft_random(&random) % 2 * size;
            size_t length = count * size - soft_random(&random) % size; /* the last may be cut */

            memset(memory, 0xcc, SIZE);
            randomise(&random, pattern, size);
            REQUIRE_ZE(zeCommandListAppendMemoryFill(list, memory + offset, pattern, size, length,
                                                     NULL, 0, NULL));
            soft_finish(list);
            for (size_t j = 0; j < length; j++)
                cr_assert_eq(memory[offset + j], pattern[j % size]);
            if (offset)
                cr_assert_eq(memory[offset - 1], 0xcc);
            cr_assert_eq(memory[offset + length], 0xcc);
        }
    }
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(fill, every_short_length)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    unsigned char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 256);
    static const unsigned char pattern[] = "0123456789abcdef";

    for (size_t size = 1; size <= 16; size *= 2) {
        for (size_t length = 0; length < 150; length++) {
            memset(memory, 0xcc, 256);
            REQUIRE_ZE(
                zeCommandListAppendMemoryFill(list, memory, pattern, size, length, NULL, 0, NULL));
            for (size_t i = 0; i < 256; i++)
                cr_assert_eq(memory[i], i < length ? pattern[i % size] : 0xcc);
        }
    }
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(fill, the_pattern_is_read_when_appended)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_event_pool_handle_t pool = soft_pool(1, 0);
    ze_event_handle_t gate = soft_event(pool, 0);
    uint32_t *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4096), pattern = 0x11223344;

    REQUIRE_ZE(zeCommandListAppendMemoryFill(list, memory, &pattern, 4, 4096, NULL, 1, &gate));
    pattern = 0;
    REQUIRE_ZE(zeEventHostSignal(gate));
    soft_finish(list);
    for (size_t i = 0; i < 1024; i++)
        cr_assert_eq(memory[i], 0x11223344);
    soft_free(memory);
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(fill, other_pattern_sizes_are_refused)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    static const unsigned char pattern[8192];
    unsigned char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 8192);
    const size_t wrong[] = { 0, 3, 12, 2 * largest_pattern() };

    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        cr_assert_eq(
            zeCommandListAppendMemoryFill(list, memory, pattern, wrong[i], 8160, NULL, 0, NULL),
            ZE_RESULT_ERROR_INVALID_SIZE);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}
