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

#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE (UINT64_C(1) << 20)
#define CHUNKS 4                        /* two on each side of the pipeline */

struct chunk {
    uint8_t *memory;                    /* NULL: not made yet */
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
            munmap(chunks[i].memory, CHUNK_SIZE);
        chunks[i] = (struct chunk){ 0 };
    }
}

/* ---- chunks; the lock is held --------------------------------------------------------------------- */

/* Best first: one that is idle, one that can be made, the one that will be idle first. */
static struct chunk *chunk_choose(bool idle_only)
{
    struct chunk *unmade = NULL, *oldest = NULL;

    for (unsigned i = 0; i < CHUNKS; i++) {
        struct chunk *chunk = &chunks[i];

        if (chunk->taken)
            continue;
        if (!chunk->memory)
            unmade = chunk;
        else if (!chunk->point || arena_reached(chunk->point))
            return chunk;
        else if (!oldest || chunk->turn < oldest->turn)
            oldest = chunk;
    }
    return unmade || idle_only ? unmade : oldest;
}

static void chunk_give(struct chunk *chunk)
{
    chunk->taken = false;
    connection_changed();
}

static xpurt_result chunk_make(struct chunk *chunk)
{
    void *memory = NULL;
    xpurt_result r;

    chunk->point = 0;
    r = segment_new(CHUNK_SIZE, &chunk->segment, &memory);
    if (r == XPURT_SUCCESS)
        chunk->memory = memory;
    return r;
}

/* The daemon keeps the memory until what may still use it is done. */
static void chunk_retire(struct chunk *chunk)
{
    segment_free(chunk->segment, chunk->memory, CHUNK_SIZE);
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

/* An idle chunk for the caller alone; NULL, where @p idle_only, when it would have to wait. */
static xpurt_result chunk_take(bool idle_only, struct chunk **ret_chunk)
{
    struct chunk *chunk;
    xpurt_result r = XPURT_SUCCESS;

    while (!(chunk = chunk_choose(idle_only)) && !idle_only) {
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
    if (r == XPURT_SUCCESS && !chunk->memory)
        r = chunk_make(chunk);
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
    r = stream_command(stream, &(Xpurt__Command){ COMMAND(COPY), .copy = &copy });
    return r ? r : stream_record(stream, 0, &chunk->point);
}

void staging_trim(void)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        if (chunks[i].memory && !chunks[i].taken)
            chunk_retire(&chunks[i]);
}

static size_t piece(size_t rest)
{
    return rest < CHUNK_SIZE ? rest : CHUNK_SIZE;
}

/* ---- up ----------------------------------------------------------------------------------------------- */

xpurt_result staging_upload(xpurt_stream *stream, const Xpurt__Location *to, const void *from,
                            size_t size)
{
    struct chunk *chunk;
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    for (size_t done = 0; done < size && r == XPURT_SUCCESS; done += piece(size - done)) {
        r = chunk_take(false, &chunk);
        if (r)
            break;
        connection_unlock();
        memcpy(chunk->memory, (const uint8_t *)from + done, piece(size - done));
        connection_lock();
        r = chunk_copy(stream, chunk, to, done, piece(size - done), true);
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
    size_t sent;                        /* bytes, of all pieces so far */
};

/* Send as many pieces as there are idle chunks; wait for one only when none is under way. */
static xpurt_result flight_fill(struct flight *flight, xpurt_stream *stream,
                                const Xpurt__Location *from, size_t size)
{
    while (flight->sent < size && flight->count < CHUNKS) {
        size_t n = piece(size - flight->sent);
        struct chunk *chunk;
        xpurt_result r;

        r = chunk_take(flight->count != 0, &chunk);
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
    struct flight flight = { .count = 0 };
    size_t done = 0;
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    while (done < size) {
        struct chunk *oldest;

        r = flight_fill(&flight, stream, from, size);
        if (r)
            break;
        oldest = flight.chunks[flight.first];
        connection_unlock();
        r = point_wait(oldest->point, false, XPURT_NO_TIMEOUT);
        if (r == XPURT_SUCCESS)
            memcpy((uint8_t *)to + done, oldest->memory, piece(size - done));
        connection_lock();
        if (r)
            break;
        chunk_give(oldest);
        flight.first = (flight.first + 1) % CHUNKS;
        flight.count--;
        done += piece(size - done);
    }
    for (; flight.count; flight.count--, flight.first = (flight.first + 1) % CHUNKS)
        chunk_give(flight.chunks[flight.first]);
    session_leave();
    return r;
}
