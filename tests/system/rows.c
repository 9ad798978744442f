/* SPDX-License-Identifier: MIT */
/* tests/system/rows.c: copies and fills of rows, fills with elements, beside the same in plain C. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM ((size_t)6 << 20)

enum kind { DEVICE, PINNED, PAGEABLE, KINDS };

static struct test_daemon xpurtd;
static xpurt_stream *stream;
static unsigned seed;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
    test_ok(xpurt_stream_create(&stream));
    seed = 12345;
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(rows, .init = start, .fini = stop, .timeout = 300);

static size_t below(size_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (size_t)((uint64_t)(seed >> 1) * n >> 31);
}

static unsigned char *memory_new(enum kind kind)
{
    void *memory = NULL;

    if (kind == DEVICE)
        test_ok(xpurt_malloc(&memory, ROOM));
    else if (kind == PINNED)
        test_ok(xpurt_host_malloc(&memory, ROOM));
    else
        memory = malloc(ROOM);
    cr_assert_not_null(memory);
    return memory;
}

static void memory_free(enum kind kind, void *memory)
{
    if (kind == DEVICE)
        test_ok(xpurt_free(memory));
    else if (kind == PINNED)
        test_ok(xpurt_host_free(memory));
    else
        free(memory);
}

static void scribble(unsigned char *bytes)
{
    for (size_t i = 0; i < ROOM; i++)
        bytes[i] = (unsigned char)below(256);
}

/* All of @p memory is what @p expected holds. */
static void expect_bytes(const void *memory, const unsigned char *expected)
{
    unsigned char *got = malloc(ROOM);

    cr_assert_not_null(got);
    test_ok(xpurt_memcpy_async(got, memory, ROOM, stream));
    test_ok(xpurt_stream_synchronize(stream));
    for (size_t i = 0; i < ROOM; i++)
        test_require(got[i] == expected[i], "byte %zu is %u, not %u", i, got[i], expected[i]);
    free(got);
}

struct shape {
    size_t width, height, to_pitch, from_pitch, to, from;
};

static size_t extent(size_t pitch, const struct shape *shape)
{
    return (shape->height - 1) * pitch + shape->width;
}

static struct shape shape_make(size_t width, size_t height)
{
    struct shape shape = { .width = width, .height = height };

    shape.to_pitch = width + below(100);
    shape.from_pitch = width + below(3) * below(100);
    shape.to = below(ROOM - extent(shape.to_pitch, &shape) + 1);
    shape.from = below(ROOM - extent(shape.from_pitch, &shape) + 1);
    return shape;
}

/* One copy, here and there. */
static void copy(enum kind to_kind, enum kind from_kind, const struct shape *shape)
{
    static unsigned char expected[ROOM], source[ROOM];
    unsigned char *to = memory_new(to_kind), *from = memory_new(from_kind);

    scribble(source);
    memset(expected, 0xa5, ROOM);
    test_ok(xpurt_memcpy_async(from, source, ROOM, stream));
    test_ok(xpurt_memcpy_async(to, expected, ROOM, stream));
    for (size_t i = 0; i < shape->height; i++)
        memcpy(expected + shape->to + i * shape->to_pitch,
               source + shape->from + i * shape->from_pitch, shape->width);
    test_ok(xpurt_memcpy_2d_async(to + shape->to, shape->to_pitch, from + shape->from,
                                  shape->from_pitch, shape->width, shape->height, stream));
    expect_bytes(to, expected);
    memory_free(to_kind, to);
    memory_free(from_kind, from);
}

Test(rows, every_pair_of_kinds)
{
    for (enum kind to = DEVICE; to < KINDS; to++)
        for (enum kind from = DEVICE; from < KINDS; from++) {
            const struct shape shapes[] = {
                shape_make(1, 1),
                shape_make(1, 1000),
                shape_make(1 + below(3000), 1 + below(400)), /* a slab or two */
                shape_make(1111, 4000),                      /* several slabs */
                shape_make((1 << 20) + 1 + below(1000), 4),  /* wider than a slab */
            };

            for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
                copy(to, from, &shapes[i]);
        }
}

Test(rows, without_gaps_and_of_nothing)
{
    struct shape shape = shape_make(1000, 1000);
    unsigned char *memory = memory_new(DEVICE);

    shape.to_pitch = shape.from_pitch = shape.width;
    shape.to = shape.from = 17;
    copy(DEVICE, PAGEABLE, &shape);
    copy(DEVICE, DEVICE, &shape);
    test_ok(xpurt_memcpy_2d_async(memory, 10, memory, 10, 0, 5, stream));
    test_ok(xpurt_memcpy_2d_async(memory, 10, memory, 10, 5, 0, stream));
    test_ok(xpurt_memset_2d_d32_async(NULL, 0, 1, 0, 9, stream));
    test_ok(xpurt_memset_d16_async(NULL, 1, 0, stream));
    memory_free(DEVICE, memory);
}

/* Rows of one piece of memory, one set in the gaps of the other. */
Test(rows, interleaved_in_one_piece)
{
    static unsigned char expected[ROOM];
    unsigned char *memory = memory_new(DEVICE);

    scribble(expected);
    test_ok(xpurt_memcpy_async(memory, expected, ROOM, stream));
    for (size_t i = 0; i < 1000; i++)
        memcpy(expected + i * 256 + 128, expected + i * 256, 128);
    test_ok(xpurt_memcpy_2d_async(memory + 128, 256, memory, 256, 128, 1000, stream));
    expect_bytes(memory, expected);

    test_ok(xpurt_memcpy_2d_async(memory + 127, 256, memory, 256, 128, 1000, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_synchronize(stream));
    memory_free(DEVICE, memory);
}

Test(rows, wrong_numbers_are_refused_and_the_stream_goes_on)
{
    unsigned char *memory = memory_new(DEVICE), *other = memory_new(DEVICE);

    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memcpy_2d_async(memory, 9, other, 10, 10, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memcpy_2d_async(memory, 10, other, 9, 10, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memcpy_2d_async(NULL, 10, other, 10, 10, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memcpy_2d_async(memory, (size_t)1 << 32, other, 10, 10, 2, stream));
    test_expect(
        XPURT_ERROR_INVALID_ARGUMENT,
        xpurt_memcpy_2d_async(memory, SIZE_MAX, other, SIZE_MAX, SIZE_MAX, SIZE_MAX, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_memcpy_2d_async(memory, ROOM, other, 10, 10, 2, stream));
    test_expect(
        XPURT_ERROR_INVALID_ADDRESS,
        xpurt_memcpy_2d_async(memory, UINT32_MAX, other, UINT32_MAX, 10, UINT32_MAX, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_memset_2d_d8_async(memory, 1000, 1, 1000, ROOM / 1000 + 1, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memset_2d_d16_async(memory, 10, 1, 6, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memset_2d_d32_async(memory, 11, 1, 2, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memset_d16_async(memory + 1, 1, 2, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_memset_d32_async(memory, 1, SIZE_MAX / 2, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS,
                xpurt_memset_d32_async(memory, 1, ROOM / 4 + 1, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_d8_async(&seed, 1, 1, stream));
    test_ok(xpurt_stream_synchronize(stream));
    memory_free(DEVICE, memory);
    memory_free(DEVICE, other);
}

/* ---- fills ----------------------------------------------------------------------------------- */

static void fill_here(unsigned char *bytes, size_t pitch, uint32_t value, unsigned size,
                      size_t width, size_t height)
{
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy(bytes + y * pitch + x * size, &value, size);
}

static void fill_there(void *to, size_t pitch, uint32_t value, unsigned size, size_t width,
                       size_t height)
{
    if (height == 1 && size == 1)
        test_ok(xpurt_memset_d8_async(to, (uint8_t)value, width, stream));
    else if (height == 1 && size == 2)
        test_ok(xpurt_memset_d16_async(to, (uint16_t)value, width, stream));
    else if (height == 1)
        test_ok(xpurt_memset_d32_async(to, value, width, stream));
    else if (size == 1)
        test_ok(xpurt_memset_2d_d8_async(to, pitch, (uint8_t)value, width, height, stream));
    else if (size == 2)
        test_ok(xpurt_memset_2d_d16_async(to, pitch, (uint16_t)value, width, height, stream));
    else
        test_ok(xpurt_memset_2d_d32_async(to, pitch, value, width, height, stream));
}

static void fills(enum kind kind)
{
    static const size_t heights[] = { 1, 2, 3, 64, 1001 };
    static unsigned char expected[ROOM];
    unsigned char *memory = memory_new(kind);

    memset(expected, 0, ROOM);
    test_ok(xpurt_memset_async(memory, 0, ROOM, stream));
    for (unsigned size = 1; size <= 4; size *= 2)
        for (size_t i = 0; i < sizeof(heights) / sizeof(heights[0]); i++) {
            size_t width = 1 + below(500), pitch = (width + below(2) * below(100)) * size;
            size_t start = below(10000) * size;
            uint32_t value = 0x01020304u * (uint32_t)(1 + below(50));

            fill_here(expected + start, pitch, value, size, width, heights[i]);
            fill_there(memory + start, pitch, value, size, width, heights[i]);
        }
    expect_bytes(memory, expected);
    memory_free(kind, memory);
}

Test(rows, fills_of_every_element_and_height)
{
    fills(DEVICE);
    fills(PINNED);
}
