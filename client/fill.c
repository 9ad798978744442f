/* SPDX-License-Identifier: MIT */
/* client/fill.c: memory set to a pattern, in one piece or in rows.
 *
 * Guarantees of this file: only ranges inside live device or pinned memory of this process are sent
 * to the daemon, with sizes and addresses that are multiples of the pattern's.
 */
#include "client/address.h"
#include "client/place.h"
#include "client/result.h"
#include "client/stream.h"

#include <xpurt/memory.h>

/* Rows of @p width bytes; one row is any number of bytes. */
struct fill {
    void *to;
    size_t pitch;
    size_t width, height;
    uint32_t pattern;
    uint32_t pattern_width;
};

static xpurt_result fill_check(const struct fill *fill)
{
    if (!fill->to)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the pointer is null");
    if (((uintptr_t)fill->to | fill->width | (fill->height > 1 ? fill->pitch : 0)) %
        fill->pattern_width)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "address and pitch are no multiples of the %u bytes of an element",
                         fill->pattern_width);
    if (fill->height > 1 &&
        (fill->pitch < fill->width || fill->pitch > UINT32_MAX || fill->height > UINT32_MAX))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "%zu rows of %zu bytes, %zu bytes after one another", fill->height,
                         fill->width, fill->pitch);
    return XPURT_SUCCESS;
}

/* The lock is held. */
static xpurt_result fill_send(const struct fill *fill, struct place *target, xpurt_stream *stream)
{
    Xpurt__FillRows rows = XPURT__FILL_ROWS__INIT;
    Xpurt__Fill bytes = XPURT__FILL__INIT;

    if (fill->height == 1) {
        bytes.stream = stream_index(stream);
        bytes.to = &target->location;
        bytes.size = fill->width;
        bytes.pattern = fill->pattern;
        bytes.width = fill->pattern_width;
        return stream_command(stream, &(Xpurt__Command){ COMMAND(FILL), .fill = &bytes });
    }
    rows.stream = stream_index(stream);
    rows.to = &target->location;
    rows.pitch = (uint32_t)fill->pitch;
    rows.width = (uint32_t)fill->width;
    rows.height = (uint32_t)fill->height;
    rows.pattern = fill->pattern;
    rows.pattern_width = fill->pattern_width;
    return stream_command(stream, &(Xpurt__Command){ COMMAND(FILL_ROWS), .fill_rows = &rows });
}

static xpurt_result fill_async(const struct fill *fill, xpurt_stream *stream)
{
    struct place target = { 0 };
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    if (fill->width && fill->height) {
        r = fill_check(fill);
        if (r == XPURT_SUCCESS)
            r = place_find(fill->to, (fill->height - 1) * (uint64_t)fill->pitch + fill->width,
                           &target);
        if (r == XPURT_SUCCESS && target.kind == PLACE_PAGEABLE)
            r = not_ours(fill->to, "inside device or pinned memory");
        if (r == XPURT_SUCCESS)
            r = place_use(&target, stream);
        if (r == XPURT_SUCCESS)
            r = fill_send(fill, &target, stream);
    }
    session_leave();
    return r;
}

/* Elements of 1, 2 or 4 bytes. */
static xpurt_result fill_elements(void *to, size_t pitch, uint32_t pattern, uint32_t size,
                                  size_t width, size_t height, xpurt_stream *stream)
{
    struct fill fill = {
        .to = to,
        .pitch = pitch,
        .height = height,
        .pattern = pattern,
        .pattern_width = size,
    };
    size_t whole;

    if (__builtin_mul_overflow(width, size, &fill.width))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "%zu elements of %u bytes", width, size);
    if (pitch == fill.width && !__builtin_mul_overflow(fill.width, height, &whole)) {
        fill.width = whole;             /* no gaps */
        fill.height = 1;
    }
    return fill_async(&fill, stream);
}

xpurt_result xpurt_memset_async(void *to, int value, size_t size, xpurt_stream *stream)
{
    return fill_elements(to, 0, (uint8_t)value, 1, size, 1, stream);
}

xpurt_result xpurt_memset_d8_async(void *to, uint8_t value, size_t count, xpurt_stream *stream)
{
    return fill_elements(to, 0, value, sizeof(value), count, 1, stream);
}

xpurt_result xpurt_memset_d16_async(void *to, uint16_t value, size_t count, xpurt_stream *stream)
{
    return fill_elements(to, 0, value, sizeof(value), count, 1, stream);
}

xpurt_result xpurt_memset_d32_async(void *to, uint32_t value, size_t count, xpurt_stream *stream)
{
    return fill_elements(to, 0, value, sizeof(value), count, 1, stream);
}

xpurt_result xpurt_memset_2d_d8_async(void *to, size_t pitch, uint8_t value, size_t width,
                                      size_t height, xpurt_stream *stream)
{
    return fill_elements(to, pitch, value, sizeof(value), width, height, stream);
}

xpurt_result xpurt_memset_2d_d16_async(void *to, size_t pitch, uint16_t value, size_t width,
                                       size_t height, xpurt_stream *stream)
{
    return fill_elements(to, pitch, value, sizeof(value), width, height, stream);
}

xpurt_result xpurt_memset_2d_d32_async(void *to, size_t pitch, uint32_t value, size_t width,
                                       size_t height, xpurt_stream *stream)
{
    return fill_elements(to, pitch, value, sizeof(value), width, height, stream);
}
