/* SPDX-License-Identifier: MIT */
/* daemon/memory.c: leases of device memory, and where an address is.
 *
 * Guarantees of this file:
 *   - an address is accepted only inside a live block that the session allocated or opened, with all
 *     bytes of the range;
 *   - a block is free for others when its last lease and its last unfinished use are over; commands
 *     of the stream in whose order it was freed may have it when the last lease is.
 */
#include "daemon/account.h"
#include "daemon/cache.h"
#include "daemon/magazine.h"
#include "daemon/memory_internal.h"
#include "daemon/segment.h"
#include "daemon/session.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>

/* ---- the tree of what a user's sessions have ------------------------------------------------------- */

/* Ranges that overlap compare equal: a one-byte range finds the block around it. */
static int range_compare(const void *left, const void *right)
{
    const struct block *a = left, *b = right;

    if (a->address + a->size <= b->address)
        return -1;
    return a->address >= b->address + b->size;
}

static struct block *block_find(struct user *user, uint64_t address)
{
    struct block wanted = { .address = address, .size = 1 };
    struct block **found = tfind(&wanted, &user->blocks, range_compare);

    return found ? *found : NULL;
}

/* ---- leases ---------------------------------------------------------------------------------------- */

struct memory_lease *memory_lease_of(struct session *session, const struct block *block)
{
    struct memory_lease *lease;

    HASH_FIND(hh, session->memory, &block->address, sizeof(block->address), lease);
    return lease;
}

/* The session's lease of the block around @p address. */
struct memory_lease *memory_lease_find(struct session *session, uint64_t address)
{
    struct block *block = block_find(session->user, address);

    return block ? memory_lease_of(session, block) : NULL;
}

bool memory_lease_add(struct session *session, struct block *block)
{
    struct memory_lease *lease = memory_lease_of(session, block);

    if (!lease) {
        lease = calloc(1, sizeof(*lease));
        if (!lease)
            return false;
        lease->address = block->address;
        HASH_ADD(hh, session->memory, address, sizeof(lease->address), lease);
        if (!HASH_ADDED(hh, lease)) {
            free(lease);
            return false;
        }
        lease->block = resource_ref(&block->resource);
        block->leases++;
    }
    lease->count++;
    return true;
}

/* The block becomes the session's. False: no memory, it is free again. */
bool block_own(struct session *session, struct block *block, uint64_t requested, uint32_t stream)
{
    struct memory_lease *lease;

    account_charge(session->account, block);
    block->requested = requested;
    if (!tsearch(block, &session->user->blocks, range_compare) ||
        !memory_lease_add(session, block)) {
        tdelete(block, &session->user->blocks, range_compare);
        block_let_go(block, 0);
        resource_unref(&block->resource);
        return false;
    }
    lease = memory_lease_of(session, block);
    lease->own = true;
    lease->stream = stream;
    if (stream)
        magazine_enter(session, lease, requested);
    resource_unref(&block->resource);
    return true;
}

/* ---- giving back ----------------------------------------------------------------------------------- */

static struct user *block_user(const struct block *block)
{
    return block->slab->allocator->owner;
}

/* Nobody has to wait for the block any more: it counts as free. */
static void block_finish(struct block *block)
{
    struct user *user = block_user(block);

    account_finish(block);
    user_discharge(user, CHARGE_ALLOCATIONS, 1);
    user_discharge(user, CHARGE_MEMORY, block->size);
}

void memory_unused(struct resource *resource)
{
    struct block *block = (struct block *)resource;
    struct user *user = block_user(block);
    struct slab *slab = block->slab;

    if (!block->order)
        block_finish(block);
    block_free(block);
    if (!user->n_sessions)
        cache_unused(user, slab);
}

static void tokens_revoke(struct session *session, struct memory_lease *lease)
{
    struct token *token, *next;

    HASH_ITER(by_offset, lease->tokens, token, next) {
        HASH_DELETE(by_offset, lease->tokens, token);
        broker_revoke(&session->runtime->broker, token);
    }
}

/* The last lease is gone. Commands of @p stream (NULL: none) may have the block at once, unless
 * others used it too. */
static void block_release(struct block *block, struct stream *stream, bool recorded)
{
    uint64_t order = stream && !block->shared && !recorded ? stream_order(stream) : 0;

    tdelete(block, &block_user(block)->blocks, range_compare);
    if (order)
        block_finish(block);
    block_let_go(block, order);
}

/* Streams that were named by MemoryRecord hold the block until they get here. */
static void recorded_hold(struct session *session, const struct memory_lease *lease)
{
    for (uint32_t i = 0; lease->recorded && i < BOARD_TIMELINES; i++)
        if (lease->recorded[i / 64] >> i % 64 & 1 && session->places[i].stream)
            stream_hold(session->places[i].stream, &lease->block->resource);
}

/* @p stream: in whose order the memory is freed; NULL: whenever it is not used. */
static void lease_free(struct session *session, struct memory_lease *lease, struct stream *stream)
{
    struct block *block = lease->block;

    recorded_hold(session, lease);
    if (stream)
        stream_hold(stream, &block->resource);
    tokens_revoke(session, lease);
    magazine_leave(session, lease);
    HASH_DEL(session->memory, lease);
    if (lease->charged)
        user_discharge(session->user, CHARGE_LEASES, 1);
    if (--block->leases == 0)
        block_release(block, stream, lease->recorded);
    else if (lease->own)
        account_finish(block);          /* it is the others' from now on */
    resource_unref(&block->resource);
    free(lease->recorded);
    free(lease);
}

/* The session's stream of that number, on the device of @p block. NULL: none. */
static struct stream *stream_for(struct session *session, uint32_t index, const struct block *block)
{
    struct stream *stream = index < BOARD_TIMELINES ? session->places[index].stream : NULL;

    return stream && stream->device == block->slab->allocator->device ? stream : NULL;
}

void memory_take_back(struct session *session, struct memory_lease *lease)
{
    account_drop(lease->block);
    lease_free(session, lease, stream_for(session, lease->stream - 1, lease->block));
}

void memory_free(struct session *session, const Xpurt__MemoryFree *command)
{
    struct stream *stream = NULL;
    struct memory_lease *lease;

    HASH_FIND(hh, session->memory, &command->address, sizeof(command->address), lease);
    if (!lease) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not the start of memory of this process", command->address);
        return;
    }
    if (command->stream) {
        stream = stream_for(session, command->stream - 1, lease->block);
        if (!stream)
            session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                          "memory is freed for stream %u, which is not on its device",
                          command->stream - 1);
    }
    if (magazine_counted(session, lease))
        account_drop(lease->block);
    if (--lease->count == 0)
        lease_free(session, lease, stream);
    else if (stream)
        stream_hold(stream, &lease->block->resource);
}

/* ---- using ----------------------------------------------------------------------------------------- */

void memory_record(struct session *session, const Xpurt__MemoryRecord *command)
{
    struct block *block = block_find(session->user, command->address);
    struct memory_lease *lease = block ? memory_lease_of(session, block) : NULL;

    if (!lease || command->stream >= BOARD_TIMELINES || !session->places[command->stream].stream) {
        session_error(session, 0, 0,
                      lease ? XPURT_ERROR_INVALID_HANDLE : XPURT_ERROR_INVALID_ADDRESS,
                      "there is no stream %u, or 0x%" PRIx64 " is not in memory of this process",
                      command->stream, command->address);
        return;
    }
    if (!lease->recorded)
        lease->recorded = calloc(BOARD_TIMELINES / 64, sizeof(uint64_t));
    if (lease->recorded)
        lease->recorded[command->stream / 64] |= UINT64_C(1) << command->stream % 64;
    else
        session_error(session, 0, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
}

static bool range_inside(uint64_t begin, uint64_t size, uint64_t inner, uint64_t inner_size)
{
    return inner >= begin && inner - begin <= size && inner_size <= size - (inner - begin);
}

xpurt_result memory_locate(struct session *session, const Xpurt__Location *location, uint64_t size,
                           void **ret_bytes, struct resource **ret_resource)
{
    struct memory_lease *lease;
    struct segment *segment;

    if (!location)
        return XPURT_ERROR_INVALID_ADDRESS;

    if (location->segment) {
        HASH_FIND(hh, session->segments, &location->segment, sizeof(location->segment), segment);
        if (!segment || !range_inside(0, segment->size, location->offset, size))
            return XPURT_ERROR_INVALID_ADDRESS;
        *ret_bytes = (char *)segment->bytes + location->offset;
        *ret_resource = &segment->resource;
        return XPURT_SUCCESS;
    }

    lease = memory_lease_find(session, location->offset);
    if (!lease || !range_inside(lease->address, lease->block->size, location->offset, size))
        return XPURT_ERROR_INVALID_ADDRESS;
    *ret_bytes = (void *)(uintptr_t)location->offset;
    *ret_resource = &lease->block->resource;
    return XPURT_SUCCESS;
}

/* ---- the end --------------------------------------------------------------------------------------- */

/* The memory of a session that is gone: what its streams still do may reach all of it, by addresses
 * in memory too, which nobody has looked at. */
struct estate {
    struct resource resource;           /* references: one for each stream that is not done */
    unsigned n;
    struct block *blocks[];
};

static void estate_destroy(struct resource *resource)
{
    struct estate *estate = (struct estate *)resource;

    while (estate->n)
        resource_unref(&estate->blocks[--estate->n]->resource);
    free(estate);
}

static void estate_make(struct session *session)
{
    struct memory_lease *lease, *next;
    struct estate *estate;

    estate = malloc(sizeof(*estate) + HASH_COUNT(session->memory) * sizeof(estate->blocks[0]));
    if (!estate)
        return;
    estate->resource = (struct resource){ .refs = 1, .destroy = estate_destroy };
    estate->n = 0;
    HASH_ITER(hh, session->memory, lease, next)
        estate->blocks[estate->n++] = resource_ref(&lease->block->resource);
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++)
        if (session->places[i].stream)
            stream_hold(session->places[i].stream, &estate->resource);
    resource_unref(&estate->resource);
}

void memory_end(struct session *session)
{
    struct memory_lease *lease, *next_lease;
    struct segment *segment, *next_segment;

    if (session->memory && session->n_streams)
        estate_make(session);
    HASH_ITER(hh, session->memory, lease, next_lease)
        lease_free(session, lease, NULL);
    account_orphan(session->account);
    session->account = NULL;
    magazine_free(session);
    if (!session->user->n_sessions)
        cache_trim(session->user);
    HASH_ITER(hh, session->segments, segment, next_segment) {
        HASH_DEL(session->segments, segment);
        resource_unref(&segment->resource);
    }
}
