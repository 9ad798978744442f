/* SPDX-License-Identifier: MIT */
/* client/copy.c: copies.
 *
 * Guarantees of this file: only addresses inside live memory of this process are sent to the daemon,
 * with all bytes of what was asked.
 */
#include "client/direct.h"
#include "client/place.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/stream.h"

#include <xpurt/memory.h>

#include <string.h>

static xpurt_result copy_send(xpurt_stream *stream, struct place *to, struct place *from,
                              uint64_t size)
{
    Xpurt__Copy copy = XPURT__COPY__INIT;

    copy.stream = stream_index(stream);
    copy.to = &to->location;
    copy.from = &from->location;
    copy.size = size;
    return stream_command(stream, &(Xpurt__Command){ COMMAND(COPY), .copy = &copy });
}

/* Both ends are memory of this process: in stream order means now, once the stream is there. */
static xpurt_result copy_here(void *to, const void *from, size_t size, xpurt_stream *stream)
{
    xpurt_result r = xpurt_stream_synchronize(stream);

    if (r == XPURT_SUCCESS)
        memmove(to, from, size);
    return r;
}

/* One end is ordinary memory. @p direct: the other is device memory that may be mapped. */
static xpurt_result copy_pageable(void *to, const struct place *target, const void *from,
                                  const struct place *source, size_t size, bool direct,
                                  xpurt_stream *stream)
{
    xpurt_result r = XPURT_SUCCESS;
    bool done = false;

    if (source->kind == PLACE_DEVICE) {
        if (direct)
            r = direct_download(stream, to, source->location.offset, size, &done);
        return r || done ? r : staging_download(stream, to, &source->location, size);
    }
    if (target->kind == PLACE_PAGEABLE)
        return copy_here(to, from, size, stream);
    if (direct)
        r = direct_upload(stream, target->location.offset, from, size, &done);
    return r || done ? r : staging_upload(stream, &target->location, from, size);
}

xpurt_result xpurt_memcpy_async(void *to, const void *from, size_t size, xpurt_stream *stream)
{
    struct place target = { 0 }, source = { 0 };
    bool direct = false;
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    if (size && (!to || !from))
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "a pointer is null");
    if (size && r == XPURT_SUCCESS)
        r = place_find(to, size, &target);
    if (size && r == XPURT_SUCCESS)
        r = place_find(from, size, &source);
    if (size && r == XPURT_SUCCESS)
        r = place_use(&target, stream);
    if (size && r == XPURT_SUCCESS)
        r = place_use(&source, stream);
    if (size && r == XPURT_SUCCESS && target.kind != PLACE_PAGEABLE &&
        source.kind != PLACE_PAGEABLE) {
        r = copy_send(stream, &target, &source, size);
        size = 0;
    }
    if (size && r == XPURT_SUCCESS)
        direct =
            direct_possible(stream, (uintptr_t)(source.kind == PLACE_DEVICE ? from : to), size);
    session_leave();
    return r || !size ? r : copy_pageable(to, &target, from, &source, size, direct, stream);
}
