/* SPDX-License-Identifier: MIT */
/* client/staging.c: chunks of pinned memory that pageable copies go through.
 *
 * Guarantees of this file:
 *   - a chunk is reused only when the commands that use it are done; one whose stream has failed
 *     is not reused at all;
 *   - host and device sides of a large copy overlap;
 *   - threads may copy at once: each waits for a chunk only while it holds none.
 */
#include "client/staging.h"

#include "client/arena.h"
#include "client/host.h"
#include "client/session.h"
#include "client/stream.h"
#include "client/wait.h"
#include "copy/stream_copy.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNKS 4                        /* two on each side of the pipeline */
#define PIECES 8u                       /* of a copy: so little of it does not overlap */
#define PIECE_MIN ((size_t)512 << 10)   /* handing over less costs more than copying it */
#define PIECE_MAX ((size_t)4 << 20)     /* more only costs memory */

struct chunk {
    uint8_t *memory;                    /* NULL: not made yet */
    size_t size;
    uint32_t segment;
    bool taken;                         /* by a thread */
    uint64_t point;                     /* when the last command that uses it is done; 0: none */
    uint64_t turn;                      /* of its last use: the oldest is done first */
};

static struct chunk chunks[CHUNKS];
static uint64_t turns;

void staging_end(void)
{
    for (unsigned i = 0; i < CHUNKS; i++) {
        if (chunks[i].memory)
            munmap(chunks[i].memory, chunks[i].size);
        chunks[i] = (struct chunk){ 0 };
    }
}

/* ---- chunks; the lock is held --------------------------------------------------------------------- */

/* Best first: one that is idle, one that can be made, made larger, will be idle first. */
static struct chunk *chunk_choose(size_t size, bool idle_only)
{
    struct chunk *unmade = NULL, *small = NULL, *oldest = NULL;

    for (unsigned i = 0; i < CHUNKS; i++) {
        struct chunk *chunk = &chunks[i];

        if (chunk->taken)
            continue;
        if (!chunk->memory)
            unmade = chunk;
        else if ((!chunk->point || arena_reached(chunk->point)) && chunk->size >= size)
            return chunk;
        else if (!chunk->point || arena_reached(chunk->point))
            small = chunk;
        else if (!oldest || chunk->turn < oldest->turn)
            oldest = chunk;
    }
    return unmade ? unmade : small || idle_only ? small : oldest;
}

static void chunk_give(struct chunk *chunk)
{
    chunk->taken = false;
    connection_changed();
}

static xpurt_result chunk_make(struct chunk *chunk, size_t size)
{
    void *memory = NULL;
    xpurt_result r;

    chunk->point = 0;
    r = segment_new(size, &chunk->segment, &memory);
    if (r == XPURT_SUCCESS) {
        chunk->memory = memory;
        chunk->size = size;
    }
    return r;
}

/* The daemon keeps the memory until what may still use it is done. */
static void chunk_retire(struct chunk *chunk)
{
    segment_free(chunk->segment, chunk->memory, chunk->size);
    chunk->memory = NULL;
}

/* Wait until the commands that use @p chunk are done. The lock is free meanwhile. */
static xpurt_result chunk_settle(struct chunk *chunk)
{
    xpurt_result r;

    r = connection_flush();             /* a batch may hold them */
    if (r)
        return r;
    connection_unlock();
    r = point_wait(chunk->point, false, XPURT_NO_TIMEOUT);
    connection_lock();
    if (r == XPURT_ERROR_DAEMON_LOST)
        return r;
    if (r)
        chunk_retire(chunk);
    return XPURT_SUCCESS;
}

/* An idle chunk of at least @p size for the caller alone; NULL, where @p idle_only, when it would
 * have to wait. */
static xpurt_result chunk_take(size_t size, bool idle_only, struct chunk **ret_chunk)
{
    struct chunk *chunk;
    xpurt_result r = XPURT_SUCCESS;

    while (!(chunk = chunk_choose(size, idle_only)) && !idle_only) {
        connection_await_change();
        if (connection_state() != CONNECTION_READY)
            return connection_lost_error();
    }
    *ret_chunk = chunk;
    if (!chunk)
        return XPURT_SUCCESS;

    chunk->taken = true;
    chunk->turn = ++turns;
    if (chunk->memory && chunk->point && !arena_reached(chunk->point))
        r = chunk_settle(chunk);
    if (r == XPURT_SUCCESS && chunk->memory && chunk->size < size)
        chunk_retire(chunk);
    if (r == XPURT_SUCCESS && !chunk->memory)
        r = chunk_make(chunk, size);
    if (r)
        chunk_give(chunk);
    return r;
}

/* Copy between @p chunk and @p other in stream order; the chunk's point tells when that is done. */
static xpurt_result chunk_copy(xpurt_stream *stream, struct chunk *chunk,
                               const Xpurt__Location *other, size_t offset, size_t size,
                               bool upload)
{
    Xpurt__Location there = *other, here = XPURT__LOCATION__INIT;
    Xpurt__Copy copy = XPURT__COPY__INIT;
    xpurt_result r;

    there.offset += offset;
    here.segment = chunk->segment;
    copy.stream = stream_index(stream);
    copy.to = upload ? &there : &here;
    copy.from = upload ? &here : &there;
    copy.size = size;
    r = stream_running(stream);         /* the lock was free */
    if (r)
        return r;
    connection_batch_begin();           /* one frame: each may wake the daemon */
    r = stream_command(stream, &(Xpurt__Command){ COMMAND(COPY), .copy = &copy });
    if (r == XPURT_SUCCESS)
        r = stream_record(stream, 0, &chunk->point);
    connection_batch_end();
    if (r == XPURT_SUCCESS && !connection_batching())
        r = connection_flush();
    return r;
}

void staging_trim(void)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        if (chunks[i].memory && !chunks[i].taken)
            chunk_retire(&chunks[i]);
}

/* How much of a copy goes through one chunk. */
static size_t piece_of(size_t copy)
{
    size_t size = PIECE_MIN;

    while (size < PIECE_MAX && size < copy / PIECES)
        size *= 2;
    return size;
}

bool staging_holds(size_t size)
{
    return size <= CHUNKS * piece_of(size);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What is as large as this nobody reads again before it has left the caches. */
static void bytes_copy(void *to, const void *from, size_t size)
{
    if (size < STREAM_COPY_MIN)
        memcpy(to, from, size);
    else
        stream_copy(to, from, size);
}

/* ---- up ----------------------------------------------------------------------------------------------- */

xpurt_result staging_upload(xpurt_stream *stream, const Xpurt__Location *to, const void *from,
                            size_t size)
{
    const size_t piece = piece_of(size);
    struct chunk *chunk;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    for (size_t done = 0, n; done < size && r == XPURT_SUCCESS; done += n) {
        n = least(piece, size - done);
        r = chunk_take(piece, false, &chunk);
        if (r)
            break;
        connection_unlock();
        bytes_copy(chunk->memory, (const uint8_t *)from + done, n);
        connection_lock();
        r = chunk_copy(stream, chunk, to, done, n, true);
        chunk_give(chunk);
    }
    session_leave();
    return r;
}

/* ---- down --------------------------------------------------------------------------------------------- */

/* Pieces under way, oldest first. */
struct flight {
    struct chunk *chunks[CHUNKS];
    unsigned first, count;
    size_t piece;                       /* bytes of one of them */
    size_t sent;                        /* bytes, of all pieces so far */
};

/* Send as many pieces as there are idle chunks; wait for one only when none is under way. */
static xpurt_result flight_fill(struct flight *flight, xpurt_stream *stream,
                                const Xpurt__Location *from, size_t size)
{
    while (flight->sent < size && flight->count < CHUNKS) {
        size_t n = least(flight->piece, size - flight->sent);
        struct chunk *chunk;
        xpurt_result r;

        r = chunk_take(flight->piece, flight->count != 0, &chunk);
        if (r)
            return r;
        if (!chunk)
            break;
        r = chunk_copy(stream, chunk, from, flight->sent, n, false);
        if (r) {
            chunk_give(chunk);
            return r;
        }
        flight->chunks[(flight->first + flight->count++) % CHUNKS] = chunk;
        flight->sent += n;
    }
    return connection_flush();          /* a batch would keep what we are about to wait for */
}

xpurt_result staging_download(xpurt_stream *stream, void *to, const Xpurt__Location *from,
                              size_t size)
{
    struct flight flight = { .piece = piece_of(size) };
    size_t done = 0, n;
    xpurt_result r;

    r = stream_enter_running(stream);
    if (r)
        return r;
    while (done < size) {
        struct chunk *oldest;

        r = flight_fill(&flight, stream, from, size);
        if (r)
            break;
        oldest = flight.chunks[flight.first];
        n = least(flight.piece, size - done);
        connection_unlock();
        r = point_wait(oldest->point, false, XPURT_NO_TIMEOUT);
        if (r == XPURT_SUCCESS)
            bytes_copy((uint8_t *)to + done, oldest->memory, n);
        connection_lock();
        if (r)
            break;
        chunk_give(oldest);
        flight.first = (flight.first + 1) % CHUNKS;
        flight.count--;
        done += n;
    }
    for (; flight.count; flight.count--, flight.first = (flight.first + 1) % CHUNKS)
        chunk_give(flight.chunks[flight.first]);
    session_leave();
    return r;
}
