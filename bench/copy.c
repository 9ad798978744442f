/* SPDX-License-Identifier: MIT */
/* bench/copy.c: rows about copies.
 *
 * A copy counts when the host has seen it complete. Before anything is timed, bytes are sent around
 * through all kinds of memory and compared: fast and wrong would be easy.
 */
#include "bench/clock.h"
#include "bench/peers.h"
#include "bench/row.h"
#include "bench/samples.h"

#include <stdlib.h>
#include <string.h>

#define LARGE (16u << 20)
#define HUGE (256u << 20)
#define SMALL 1024u
#define SMALL_COPIES 64

static xpurt_stream *stream;
static void *device[2], *pinned, *pageable;
static size_t length;                   /* of each of them */

static int round_through(void)
{
    char *bytes = pinned, *back = pageable;

    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    memset(back, 0, length);
    TRY(xpurt_memcpy_async(device[0], pinned, length, stream));
    TRY(xpurt_memcpy_async(device[1], device[0], length, stream));
    TRY(xpurt_memcpy_async(pageable, device[1], length, stream));
    TRY(xpurt_memcpy_async(device[0], pageable, length, stream));
    TRY(xpurt_stream_synchronize(stream));
    return memcmp(bytes, back, length) == 0 ? 0 : row_fail("the copied bytes differ");
}

static int open_size(size_t size)
{
    length = size;
    pageable = malloc(size);
    if (!pageable)
        return row_fail("no memory");
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_host_malloc(&pinned, size));
    for (unsigned i = 0; i < 2; i++)
        TRY(xpurt_malloc(&device[i], size));
    return round_through();
}

static int open_copy(void)
{
    return open_size(LARGE);
}

static int open_huge(void)
{
    return open_size(HUGE);
}

static void *to;
static const void *from;

static int copy_once(void)
{
    TRY(xpurt_memcpy_async(to, from, length, stream));
    TRY(xpurt_stream_synchronize(stream));
    return 0;
}

static int copy_small(void)
{
    TRY(xpurt_batch_begin());
    for (unsigned i = 0; i < SMALL_COPIES; i++)
        TRY(xpurt_memcpy_async(device[1], device[0], SMALL, stream));
    TRY(xpurt_batch_end());
    TRY(xpurt_stream_synchronize(stream));
    return 0;
}

/* The median of many; @p copy copies @p size bytes. */
static int measure(int (*copy)(void), size_t size, double seconds, double *ret_gb_per_second)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin;
    int r;

    do {
        begin = now_ns();
        r = copy();
        samples_add(&samples, (double)(now_ns() - begin));
    } while (r == 0 && begin < end);
    *ret_gb_per_second = (double)size / samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_whole(void *destination, const void *source, double seconds,
                         double *ret_gb_per_second)
{
    to = destination;
    from = source;
    return measure(copy_once, length, seconds, ret_gb_per_second);
}

static int measure_device(double seconds, double *ret_gb_per_second)
{
    return measure_whole(device[1], device[0], seconds, ret_gb_per_second);
}

static int measure_pinned(double seconds, double *ret_gb_per_second)
{
    return measure_whole(device[0], pinned, seconds, ret_gb_per_second);
}

static int measure_pinned_back(double seconds, double *ret_gb_per_second)
{
    return measure_whole(pinned, device[0], seconds, ret_gb_per_second);
}

static int measure_pageable(double seconds, double *ret_gb_per_second)
{
    return measure_whole(device[0], pageable, seconds, ret_gb_per_second);
}

static int measure_pageable_back(double seconds, double *ret_gb_per_second)
{
    return measure_whole(pageable, device[0], seconds, ret_gb_per_second);
}

static int measure_small(double seconds, double *ret_gb_per_second)
{
    return measure(copy_small, SMALL_COPIES * SMALL, seconds, ret_gb_per_second);
}

const struct row copy_rows[] = {
    {
        .name = "copy-16m-device",
        .what = "16 MiB from device memory to device memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_copy,
        .sides = { { "xpurt", measure_device }, { "memcpy", peer_memcpy_16m, GOAL(0.85) } },
    },
    {
        .name = "copy-16m-pinned",
        .what = "16 MiB from pinned host memory to device memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_copy,
        .sides = { { "xpurt", measure_pinned }, { "memcpy", peer_memcpy_16m, GOAL(0.85) } },
    },
    {
        .name = "copy-16m-pageable",
        .what = "16 MiB from ordinary host memory to device memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_copy,
        .sides = { { "xpurt", measure_pageable }, { "memcpy", peer_memcpy_16m } },
    },
    {
        .name = "copy-256m-pinned",
        .what = "256 MiB from pinned host memory to device memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_huge,
        .sides = { { "xpurt", measure_pinned },
                   { "memcpy", peer_memcpy_256m, GOAL(0.9) },
                   { "memcpy-2-threads", peer_memcpy_256m_2 } },
    },
    {
        .name = "copy-256m-pinned-back",
        .what = "256 MiB from device memory to pinned host memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_huge,
        .sides = { { "xpurt", measure_pinned_back },
                   { "memcpy", peer_memcpy_256m, GOAL(0.9) },
                   { "memcpy-2-threads", peer_memcpy_256m_2 } },
    },
    {
        .name = "copy-256m-pageable",
        .what = "256 MiB from ordinary host memory to device memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_huge,
        .sides = { { "xpurt", measure_pageable },
                   { "xpurt, pinned", measure_pinned, GOAL(0.8) },
                   { "memcpy", peer_memcpy_256m } },
    },
    {
        .name = "copy-256m-pageable-back",
        .what = "256 MiB from device memory to ordinary host memory, one copy at a time",
        .unit = "GB/s",
        .more = true,
        .open = open_huge,
        .sides = { { "xpurt", measure_pageable_back },
                   { "xpurt, pinned", measure_pinned_back, GOAL(0.8) },
                   { "memcpy", peer_memcpy_256m } },
    },
    {
        .name = "copy-1k-device",
        .what = "1 KiB from device memory to device memory, 64 copies to a frame",
        .unit = "GB/s",
        .more = true,
        .open = open_copy,
        .sides = { { "xpurt", measure_small }, { "memcpy", peer_memcpy_1k } },
    },
    { 0 },
};
