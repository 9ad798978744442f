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
#define SMALL 1024u
#define SMALL_COPIES 64

static xpurt_stream *stream;
static void *device[2], *pinned, *pageable;

static int round_through(void)
{
    char *bytes = pinned, *back = pageable;

    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    memset(back, 0, LARGE);
    TRY(xpurt_memcpy_async(device[0], pinned, LARGE, stream));
    TRY(xpurt_memcpy_async(device[1], device[0], LARGE, stream));
    TRY(xpurt_memcpy_async(pageable, device[1], LARGE, stream));
    TRY(xpurt_stream_synchronize(stream));
    return memcmp(bytes, back, LARGE) == 0 ? 0 : row_fail("the copied bytes differ");
}

static int open_copy(void)
{
    pageable = malloc(LARGE);
    if (!pageable)
        return row_fail("no memory");
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_host_malloc(&pinned, LARGE));
    for (unsigned i = 0; i < 2; i++)
        TRY(xpurt_malloc(&device[i], LARGE));
    return round_through();
}

static void *to;
static const void *from;

static int copy_large(void)
{
    TRY(xpurt_memcpy_async(to, from, LARGE, stream));
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

static int measure_large(void *destination, const void *source, double seconds,
                         double *ret_gb_per_second)
{
    to = destination;
    from = source;
    return measure(copy_large, LARGE, seconds, ret_gb_per_second);
}

static int measure_device(double seconds, double *ret_gb_per_second)
{
    return measure_large(device[1], device[0], seconds, ret_gb_per_second);
}

static int measure_pinned(double seconds, double *ret_gb_per_second)
{
    return measure_large(device[0], pinned, seconds, ret_gb_per_second);
}

static int measure_pageable(double seconds, double *ret_gb_per_second)
{
    return measure_large(device[0], pageable, seconds, ret_gb_per_second);
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
        .name = "copy-1k-device",
        .what = "1 KiB from device memory to device memory, 64 copies to a frame",
        .unit = "GB/s",
        .more = true,
        .open = open_copy,
        .sides = { { "xpurt", measure_small }, { "memcpy", peer_memcpy_1k } },
    },
    { 0 },
};
