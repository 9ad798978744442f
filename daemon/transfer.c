/* SPDX-License-Identifier: MIT */
/* daemon/transfer.c: copies and fills are checked here, and nowhere after.
 *
 * Guarantees of this file:
 *   - all bytes of each end lie in one piece of the caller's own memory, which the command holds;
 *   - what is read is not written by the same command; patterns are aligned;
 *   - a command whose addresses were moved is as good as one that came from the client.
 */
#include "daemon/transfer.h"
#include "daemon/session.h"

#include <errno.h>
#include <inttypes.h>

/* ---- what must hold between the parts of a command ------------------------------------------------ */

static bool ranges_apart(uintptr_t a, uint64_t a_size, uintptr_t b, uint64_t b_size)
{
    return a >= b + b_size || b >= a + a_size;
}

/* Bytes from the beginning of the first row to the end of the last one: below 2^64, as no factor has
 * more than 32 bits. */
static uint64_t rows_extent(uint32_t pitch, uint32_t width, uint32_t height)
{
    return (uint64_t)(height - 1) * pitch + width;
}

/* Whether no byte is in both: they are apart, or the rows of one lie in the gaps of the other. */
static bool rows_apart(const struct gpu_rows *to, const struct gpu_rows *from, uint32_t width,
                       uint32_t height)
{
    uintptr_t a = (uintptr_t)to->start, b = (uintptr_t)from->start;
    uint64_t distance = (a > b ? a - b : b - a) % to->pitch;

    if (ranges_apart(a, rows_extent(to->pitch, width, height), b,
                     rows_extent(from->pitch, width, height)))
        return true;
    return to->pitch == from->pitch && distance >= width && to->pitch - distance >= width;
}

static bool pattern_fits(uint32_t width, uint64_t alignment)
{
    return (width == 1 || width == 2 || width == 4) && alignment % width == 0;
}

/* What is wrong with a command whose ends are where they should be; NULL: nothing. */
static const char *fault(const struct work *work)
{
    bool good = true;

    switch (work->kind) {
    case WORK_COPY:
        good = ranges_apart((uintptr_t)work->copy.to, work->copy.size, (uintptr_t)work->copy.from,
                            work->copy.size);
        break;
    case WORK_COPY_ROWS:
        good = rows_apart(&work->copy_rows.to, &work->copy_rows.from, work->copy_rows.width,
                          work->copy_rows.height);
        break;
    case WORK_FILL:
        good = pattern_fits(work->fill.width, (uintptr_t)work->fill.to | work->fill.size);
        break;
    default:
        good = pattern_fits(work->fill_rows.pattern_width, (uintptr_t)work->fill_rows.to.start |
                                                               work->fill_rows.to.pitch |
                                                               work->fill_rows.width);
    }
    if (good)
        return NULL;
    return work->kind == WORK_COPY || work->kind == WORK_COPY_ROWS ?
               "copy: what is read would be written too" :
               "fill: a pattern is 1, 2 or 4 bytes wide and aligned";
}

/* ---- commands -------------------------------------------------------------------------------------- */

/* Find one end; the stream fails when it is not the session's own memory. */
static bool locate(struct session *session, struct stream *stream, const Xpurt__Location *location,
                   uint64_t size, const char *what, void **ret_bytes,
                   struct resource **ret_resource)
{
    if (size && memory_locate(session, location, size, ret_bytes, ret_resource) == XPURT_SUCCESS)
        return true;
    if (!size)
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT, "%s of 0 bytes", what);
    else
        stream_fail(stream, XPURT_ERROR_INVALID_ADDRESS,
                    "%s: %" PRIu64 " bytes at %s%" PRIx64 " are not all in one piece of memory of "
                    "this process",
                    what, size, location && location->segment ? "offset 0x" : "0x",
                    location ? location->offset : 0);
    return false;
}

/* Likewise for rows. */
static bool locate_rows(struct session *session, struct stream *stream,
                        const Xpurt__Location *location, const char *what, uint32_t width,
                        uint32_t height, struct gpu_rows *rows, struct resource **ret_resource)
{
    if (width && height && rows->pitch >= width)
        return locate(session, stream, location, rows_extent(rows->pitch, width, height), what,
                      &rows->start, ret_resource);
    stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                "%s of %u rows of %u bytes, %u bytes after one another", what, height, width,
                rows->pitch);
    return false;
}

/* The references in `holds` are not taken yet. */
static void submit(struct stream *stream, struct work *work)
{
    const char *reason = fault(work);

    if (reason) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT, "%s", reason);
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        if (work->holds[i])
            resource_ref(work->holds[i]);
    stream_submit(stream, work);
}

void copy_submit(struct session *session, struct stream *stream, const Xpurt__Copy *copy)
{
    struct work work = { .kind = WORK_COPY, .copy.size = copy->size };
    void *from;

    if (!locate(session, stream, copy->to, copy->size, "copy to", &work.copy.to, &work.holds[0]) ||
        !locate(session, stream, copy->from, copy->size, "copy from", &from, &work.holds[1]))
        return;
    work.copy.from = from;
    submit(stream, &work);
}

void fill_submit(struct session *session, struct stream *stream, const Xpurt__Fill *fill)
{
    struct work work = {
        .kind = WORK_FILL,
        .fill = { .size = fill->size, .pattern = fill->pattern, .width = fill->width },
    };

    if (locate(session, stream, fill->to, fill->size, "fill", &work.fill.to, &work.holds[0]))
        submit(stream, &work);
}

void copy_rows_submit(struct session *session, struct stream *stream, const Xpurt__CopyRows *copy)
{
    struct work work = {
        .kind = WORK_COPY_ROWS,
        .copy_rows = { .to.pitch = copy->to_pitch,
                       .from.pitch = copy->from_pitch,
                       .width = copy->width,
                       .height = copy->height },
    };

    if (locate_rows(session, stream, copy->to, "copy to", copy->width, copy->height,
                    &work.copy_rows.to, &work.holds[0]) &&
        locate_rows(session, stream, copy->from, "copy from", copy->width, copy->height,
                    &work.copy_rows.from, &work.holds[1]))
        submit(stream, &work);
}

void fill_rows_submit(struct session *session, struct stream *stream, const Xpurt__FillRows *fill)
{
    struct work work = {
        .kind = WORK_FILL_ROWS,
        .fill_rows = { .to.pitch = fill->pitch,
                       .pattern = fill->pattern,
                       .pattern_width = fill->pattern_width,
                       .width = fill->width,
                       .height = fill->height },
    };

    if (locate_rows(session, stream, fill->to, "fill", fill->width, fill->height,
                    &work.fill_rows.to, &work.holds[0]))
        submit(stream, &work);
}

/* ---- moving ------------------------------------------------------------------------------------------ */

int move_use(const struct move *move, uintptr_t *address, uint64_t extent, struct resource **hold)
{
    if (ranges_apart(*address, extent, move->from, move->size))
        return 0;
    if (*address < move->from || extent > move->size || *address - move->from > move->size - extent)
        return -EINVAL;
    *address = move->to + (*address - move->from);
    resource_unref(*hold);
    *hold = resource_ref(move->resource);
    return 1;
}

/* How a command uses memory. */
struct use {
    uintptr_t address;
    uint64_t extent;
};

/* One or two; returns how many. */
static unsigned uses_read(const struct work *work, struct use uses[2])
{
    switch (work->kind) {
    case WORK_COPY:
        uses[0] = (struct use){ (uintptr_t)work->copy.to, work->copy.size };
        uses[1] = (struct use){ (uintptr_t)work->copy.from, work->copy.size };
        return 2;
    case WORK_COPY_ROWS:
        uses[0] = (struct use){ (uintptr_t)work->copy_rows.to.start,
                                rows_extent(work->copy_rows.to.pitch, work->copy_rows.width,
                                            work->copy_rows.height) };
        uses[1] = (struct use){ (uintptr_t)work->copy_rows.from.start,
                                rows_extent(work->copy_rows.from.pitch, work->copy_rows.width,
                                            work->copy_rows.height) };
        return 2;
    case WORK_FILL:
        uses[0] = (struct use){ (uintptr_t)work->fill.to, work->fill.size };
        return 1;
    default:
        uses[0] = (struct use){ (uintptr_t)work->fill_rows.to.start,
                                rows_extent(work->fill_rows.to.pitch, work->fill_rows.width,
                                            work->fill_rows.height) };
        return 1;
    }
}

static void uses_write(struct work *work, const struct use uses[2])
{
    void *to = (void *)uses[0].address;

    switch (work->kind) {
    case WORK_COPY:
        work->copy.to = to;
        work->copy.from = (const void *)uses[1].address;
        break;
    case WORK_COPY_ROWS:
        work->copy_rows.to.start = to;
        work->copy_rows.from.start = (void *)uses[1].address;
        break;
    case WORK_FILL:
        work->fill.to = to;
        break;
    default:
        work->fill_rows.to.start = to;
    }
}

int transfer_move(struct work *work, const struct move *move, const char **ret_reason)
{
    struct use uses[2] = { { 0 } };
    unsigned n = uses_read(work, uses);
    int moved = 0;

    for (unsigned i = 0; i < n; i++) {
        int r = move_use(move, &uses[i].address, uses[i].extent, &work->holds[i]);

        if (r < 0) {
            *ret_reason = "a copy or fill uses more than what is replaced";
            return r;
        }
        moved += r;
    }
    uses_write(work, uses);
    *ret_reason = fault(work);
    return *ret_reason ? -EINVAL : moved;
}
