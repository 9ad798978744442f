/* SPDX-License-Identifier: MIT */
/* client/rows.c: copies of rows.
 *
 * Guarantees of this file:
 *   - rows of ordinary host memory go through pinned slabs, packed, many rows at a time; packing one
 *     slab overlaps the transfer of the other;
 *   - a slab is given up only when its commands are done, or the daemon keeps it until they are.
 */
#include "client/place.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/stream.h"
#include "client/wait.h"

#include <xpurt/memory.h>

#include <string.h>

#define SLAB_SIZE ((size_t)1 << 20)
#define SLABS 2

struct rows {
    char *start;
    size_t pitch;
};

struct plane {
    struct rows to, from;
    size_t width, height;
};

/* Pinned memory for some rows without gaps. */
struct slab {
    uint8_t *memory;                    /* NULL: not made yet */
    uint32_t segment;
    size_t first, count;                /* rows in it; 0: none */
    uint64_t point;                     /* when its command is done */
};

struct slabs {
    struct slab slabs[SLABS];
    size_t rows;                        /* that fit into one */
    size_t width;
};

/* ---- slabs; the lock is held ------------------------------------------------------------------------ */

static size_t slab_bytes(const struct slabs *slabs)
{
    return slabs->rows * slabs->width;
}

static struct slabs slabs_for(const struct plane *plane)
{
    size_t rows = SLAB_SIZE / plane->width;

    return (struct slabs){ .rows = rows < plane->height ? rows : plane->height,
                           .width = plane->width };
}

static xpurt_result slab_make(struct slabs *slabs, struct slab *slab)
{
    void *memory = NULL;
    xpurt_result r;

    if (slab->memory)
        return XPURT_SUCCESS;
    r = segment_new(slab_bytes(slabs), &slab->segment, &memory);
    if (r == XPURT_SUCCESS)
        slab->memory = memory;
    return r;
}

static void slabs_free(struct slabs *slabs)
{
    for (unsigned i = 0; i < SLABS; i++)
        if (slabs->slabs[i].memory)
            segment_free(slabs->slabs[i].segment, slabs->slabs[i].memory, slab_bytes(slabs));
}

/* Wait until the slab's command is done, the lock free meanwhile. */
static xpurt_result slab_settle(struct slab *slab)
{
    xpurt_result r;

    r = connection_flush();             /* a batch may hold it */
    if (r)
        return r;
    connection_unlock();
    r = point_wait(slab->point, false, XPURT_NO_TIMEOUT);
    connection_lock();
    return r;
}

static xpurt_result rows_send(xpurt_stream *stream, const Xpurt__Location *to, size_t to_pitch,
                              const Xpurt__Location *from, size_t from_pitch, size_t width,
                              size_t height)
{
    Xpurt__CopyRows copy = XPURT__COPY_ROWS__INIT;

    copy.stream = stream_index(stream);
    copy.to = (Xpurt__Location *)(uintptr_t)to;
    copy.to_pitch = (uint32_t)to_pitch;
    copy.from = (Xpurt__Location *)(uintptr_t)from;
    copy.from_pitch = (uint32_t)from_pitch;
    copy.width = (uint32_t)width;
    copy.height = (uint32_t)height;
    return stream_command(stream, &(Xpurt__Command){ COMMAND(COPY_ROWS), .copy_rows = &copy });
}

/* Copy between the slab and its rows of @p other; its point tells when that is done. */
static xpurt_result slab_send(xpurt_stream *stream, struct slab *slab, size_t width,
                              const Xpurt__Location *other, size_t pitch, bool upload)
{
    Xpurt__Location here = XPURT__LOCATION__INIT, there = *other;
    xpurt_result r;

    r = stream_running(stream);         /* the lock was free */
    if (r)
        return r;
    here.segment = slab->segment;
    there.offset += slab->first * pitch;
    r = upload ? rows_send(stream, &there, pitch, &here, width, width, slab->count) :
                 rows_send(stream, &here, width, &there, pitch, width, slab->count);
    return r ? r : stream_record(stream, 0, &slab->point);
}

static void rows_pack(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                      size_t height)
{
    for (size_t i = 0; i < height; i++)
        memmove((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
}

/* ---- up and down ------------------------------------------------------------------------------------ */

static xpurt_result upload(xpurt_stream *stream, const Xpurt__Location *to,
                           const struct plane *plane)
{
    struct slabs slabs = slabs_for(plane);
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    for (size_t done = 0, turn = 0; done < plane->height && r == XPURT_SUCCESS; turn++) {
        struct slab *slab = &slabs.slabs[turn % SLABS];

        r = slab->count ? slab_settle(slab) : slab_make(&slabs, slab);
        if (r)
            break;
        slab->first = done;
        slab->count = plane->height - done < slabs.rows ? plane->height - done : slabs.rows;
        connection_unlock();
        rows_pack(slab->memory, plane->width, plane->from.start + done * plane->from.pitch,
                  plane->from.pitch, plane->width, slab->count);
        connection_lock();
        r = slab_send(stream, slab, plane->width, to, plane->to.pitch, true);
        done += slab->count;
    }
    slabs_free(&slabs);
    session_leave();
    return r;
}

/* What has arrived goes where it belongs. */
static xpurt_result slab_unpack(struct slab *slab, const struct plane *plane)
{
    xpurt_result r = slab_settle(slab);

    if (r)
        return r;
    connection_unlock();
    rows_pack(plane->to.start + slab->first * plane->to.pitch, plane->to.pitch, slab->memory,
              plane->width, plane->width, slab->count);
    connection_lock();
    slab->count = 0;
    return XPURT_SUCCESS;
}

static xpurt_result download(xpurt_stream *stream, const Xpurt__Location *from,
                             const struct plane *plane)
{
    struct slabs slabs = slabs_for(plane);
    size_t sent = 0, turn = 0;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    /* Each turn sends one slab and unpacks the one before. */
    do {
        struct slab *slab = &slabs.slabs[turn % SLABS], *before = &slabs.slabs[(turn + 1) % SLABS];

        if (sent < plane->height) {
            r = slab_make(&slabs, slab);
            slab->first = sent;
            slab->count = plane->height - sent < slabs.rows ? plane->height - sent : slabs.rows;
            if (r == XPURT_SUCCESS)
                r = slab_send(stream, slab, plane->width, from, plane->from.pitch, false);
            sent += slab->count;
        }
        if (r == XPURT_SUCCESS && before->count)
            r = slab_unpack(before, plane);
        turn++;
    } while (r == XPURT_SUCCESS && (slabs.slabs[0].count || slabs.slabs[1].count));
    slabs_free(&slabs);
    session_leave();
    return r;
}

/* Each fills a pipeline by itself. */
static xpurt_result wide_rows(const struct plane *plane, xpurt_stream *stream)
{
    xpurt_result r = XPURT_SUCCESS;

    for (size_t i = 0; i < plane->height && r == XPURT_SUCCESS; i++)
        r = xpurt_memcpy_async(plane->to.start + i * plane->to.pitch,
                               plane->from.start + i * plane->from.pitch, plane->width, stream);
    return r;
}

/* Both ends are memory of this process. */
static xpurt_result rows_here(const struct plane *plane, xpurt_stream *stream)
{
    xpurt_result r = xpurt_stream_synchronize(stream);

    if (r == XPURT_SUCCESS)
        rows_pack(plane->to.start, plane->to.pitch, plane->from.start, plane->from.pitch,
                  plane->width, plane->height);
    return r;
}

/* ---- public ----------------------------------------------------------------------------------------- */

static xpurt_result plane_check(const struct plane *plane)
{
    if (!plane->to.start || !plane->from.start)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "a pointer is null");
    if (plane->to.pitch < plane->width || plane->from.pitch < plane->width)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "rows of %zu bytes cannot begin %zu and %zu bytes after one another",
                         plane->width, plane->to.pitch, plane->from.pitch);
    if (plane->to.pitch > UINT32_MAX || plane->from.pitch > UINT32_MAX ||
        plane->height > UINT32_MAX)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "pitch and height have to be below 2^32");
    return XPURT_SUCCESS;
}

static uint64_t extent(const struct plane *plane, const struct rows *rows)
{
    return (plane->height - 1) * (uint64_t)rows->pitch + plane->width;
}

xpurt_result xpurt_memcpy_2d_async(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                                   size_t width, size_t height, xpurt_stream *stream)
{
    const struct plane plane = { .to = { to, to_pitch },
                                 .from = { (char *)(uintptr_t)from, from_pitch },
                                 .width = width,
                                 .height = height };
    struct place target = { 0 }, source = { 0 };
    bool sent = !width || !height;
    size_t bytes;
    xpurt_result r;

    if (to_pitch == width && from_pitch == width && !__builtin_mul_overflow(width, height, &bytes))
        return xpurt_memcpy_async(to, from, bytes, stream); /* no gaps */
    r = stream_enter(stream);
    if (r)
        return r;
    if (!sent) {
        r = plane_check(&plane);
        if (r == XPURT_SUCCESS)
            r = place_find(to, extent(&plane, &plane.to), &target);
        if (r == XPURT_SUCCESS)
            r = place_find(from, extent(&plane, &plane.from), &source);
        if (r == XPURT_SUCCESS)
            r = place_use(&target, stream);
        if (r == XPURT_SUCCESS)
            r = place_use(&source, stream);
        if (r == XPURT_SUCCESS && target.kind != PLACE_PAGEABLE && source.kind != PLACE_PAGEABLE) {
            r = rows_send(stream, &target.location, to_pitch, &source.location, from_pitch, width,
                          height);
            sent = true;
        }
    }
    session_leave();
    if (r || sent)
        return r;

    if (target.kind == PLACE_PAGEABLE && source.kind != PLACE_DEVICE)
        return rows_here(&plane, stream);
    if (width > SLAB_SIZE)
        return wide_rows(&plane, stream);
    return source.kind == PLACE_DEVICE ? download(stream, &source.location, &plane) :
                                         upload(stream, &target.location, &plane);
}
