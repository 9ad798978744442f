/* SPDX-License-Identifier: MIT */
/* daemon/memory.c: leases of device memory, and host segments.
 *
 * Guarantees of this file:
 *   - an address is accepted only inside a live block that the session allocated or opened, with all
 *     bytes of the range;
 *   - a block is free for others when its last lease and its last unfinished use are over; commands
 *     of the stream in whose order it was freed may have it when the last lease is;
 *   - an allocation fails only after everything was tried: work that is done, free blocks, the
 *     driver, the driver again when cached memory has come back to it, a segment of just the size;
 *   - what may take long runs in libuv's pool or waits its turn: the loop goes on.
 */
#include "daemon/memory.h"
#include "daemon/account.h"
#include "daemon/cache.h"
#include "daemon/gpu.h"
#include "daemon/magazine.h"
#include "daemon/report.h"
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_LARGE (UINT64_C(64) << 20) /* slower than a hundred commands: off the loop */
#define SEGMENT_ROUNDING 4096u
#define TRIMS_MAX 256u                  /* of a session: each of its threads may wait for one */

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

static struct memory_lease *lease_of(struct session *session, const struct block *block)
{
    struct memory_lease *lease;

    HASH_FIND(hh, session->memory, &block->address, sizeof(block->address), lease);
    return lease;
}

static bool lease_add(struct session *session, struct block *block)
{
    struct memory_lease *lease = lease_of(session, block);

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

/* ---- allocating ------------------------------------------------------------------------------------ */

/* How far a request has got. */
enum stage {
    STAGE_CACHE,                        /* free block, else a segment of the usual size */
    STAGE_RELEASED,                     /* the same after cached memory was released */
    STAGE_EXACT,                        /* a segment of just the size */
};

/* One allocation under way, maybe in libuv's pool, maybe waiting. */
struct request {
    struct cache_waiter waiter;         /* first */
    uv_work_t work;
    struct session *session;            /* counted in n_requests while we are on the heap */
    struct gpu_context *context;        /* borrowed: of the session's user */
    struct allocator *allocator;        /* borrowed: likewise */
    uint32_t serial;
    uint32_t device;
    uint64_t requested;
    uint64_t size;                      /* rounded */
    uint32_t stream;                    /* 1 + the stream; 0: none */
    bool fresh;
    bool kept;                          /* on the heap */
    enum stage stage;
    uint64_t slab_size;                 /* charged */
    uint64_t slab_address;
    xpurt_result result;
    char error[160];
};

static void request_run(uv_work_t *work)
{
    struct request *request = work->data;

    request->result = gpu_memory_new(request->context, request->device, request->slab_size,
                                     &request->slab_address);
    if (request->result)
        snprintf(request->error, sizeof(request->error), "%s", gpu_error());
}

/* The block becomes the session's. False: no memory, it is free again. */
static bool block_own(struct request *request, struct block *block)
{
    struct session *session = request->session;
    struct memory_lease *lease;

    account_charge(session->account, block);
    block->requested = request->requested;
    if (!tsearch(block, &session->user->blocks, range_compare) || !lease_add(session, block)) {
        tdelete(block, &session->user->blocks, range_compare);
        block_let_go(block, 0);
        resource_unref(&block->resource);
        return false;
    }
    lease = lease_of(session, block);
    lease->own = true;
    lease->stream = request->stream;
    if (request->stream)
        magazine_enter(session, lease, request->requested);
    resource_unref(&block->resource);
    return true;
}

/* @p block is what was asked for. */
static void request_answer(struct request *request, struct block *block)
{
    struct session *session = request->session;
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryAllocated allocated = XPURT__MEMORY_ALLOCATED__INIT;

    /* It may be a little larger; the limit is that of requests. */
    user_charge_always(session->user, CHARGE_MEMORY, block->size - request->size);
    if (!block_own(request, block)) {
        session_error(session, request->serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    allocated.address = block->address;
    allocated.size = block->size;
    allocated.segment = block->slab->address;
    allocated.segment_size = block->slab->size;
    allocated.entry = lease_of(session, block)->entry;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_ALLOCATED;
    reply.memory_allocated = &allocated;
    session_reply(session, request->serial, &reply, NULL, 0);
}

static void request_uncharge(struct request *request)
{
    user_discharge(request->session->user, CHARGE_ALLOCATIONS, 1);
    user_discharge(request->session->user, CHARGE_MEMORY, request->size);
}

static void request_fail(struct request *request)
{
    struct session *session = request->session;

    request_uncharge(request);
    if (session->state != SESSION_READY)
        return;
    session->account->devices[request->device].ooms++;
    memory_refuse(session, request->serial, request->device, request->requested, request->result,
                  request->error);
}

/* The best free block; else with work that is done, and with what clients keep. NULL: none. */
static struct block *request_take(struct request *request)
{
    struct session *session = request->session;
    struct stream *stream = request->stream ? session->places[request->stream - 1].stream : NULL;
    uint64_t order = stream ? stream_order(stream) : 0;
    struct block *block;

    if (request->fresh)
        return NULL;
    block = allocator_take(request->allocator, request->size, order);
    if (block)
        return block;
    cache_observe(session->user);
    block = allocator_take(request->allocator, request->size, order);
    if (block)
        return block;
    cache_reclaim_user(session->user);
    return allocator_take(request->allocator, request->size, order);
}

/* Charge for a segment of this stage's size. */
static bool request_reserve(struct request *request)
{
    struct user *user = request->session->user;

    request->slab_size =
        request->stage == STAGE_EXACT ? request->size : slab_size_for(request->size);
    if (user_charge(user, CHARGE_RESERVED, request->slab_size))
        return true;
    request->result = XPURT_ERROR_QUOTA;
    snprintf(request->error, sizeof(request->error), "limit user-memory: %" PRIu64 " are allowed",
             charge_limit(user->limits, CHARGE_RESERVED));
    return false;
}

/* The driver has answered: a slab of ours, with the block in it. NULL: request->result tells. */
static struct block *request_add_slab(struct request *request)
{
    struct user *user = request->session->user;
    struct slab *slab = NULL;

    if (!request->result) {
        slab = allocator_add(request->allocator, request->slab_address, request->slab_size,
                             block_is_small(request->size));
        if (!slab) {
            gpu_memory_free(request->context, request->device, request->slab_address,
                            request->slab_size);
            request->result = XPURT_ERROR_OUT_OF_HOST_MEMORY;
            snprintf(request->error, sizeof(request->error), "the daemon is out of memory");
        }
    }
    if (!slab) {
        user_discharge(user, CHARGE_RESERVED, request->slab_size);
        return NULL;
    }
    user_ref(user);                     /* until the slab is gone */
    user->driver_allocations++;
    user->runtime->counters.driver_allocations++;
    return slab_take(slab, request->size);
}

/* On the heap, and its session stays, until request_free(). */
static struct request *request_keep(struct request *request)
{
    struct request *kept = request;

    if (request->kept)
        return request;
    kept = malloc(sizeof(*kept));
    if (!kept)
        return NULL;
    *kept = *request;
    kept->kept = true;
    kept->session->n_requests++;
    return kept;
}

static void request_free(struct request *request)
{
    struct session *session = request->session;

    if (!request->kept)
        return;
    free(request);
    session->n_requests--;
    session_settle(session);
}

static void request_end(struct request *request, struct block *block)
{
    if (!block) {
        request_fail(request);
    } else if (request->session->state == SESSION_READY) {
        request_answer(request, block);
    } else {                            /* it died meanwhile */
        user_charge_always(request->session->user, CHARGE_MEMORY, block->size - request->size);
        block_let_go(block, 0);
        resource_unref(&block->resource);
    }
    request_free(request);
}

static void request_go(struct request *request);
static void request_done(uv_work_t *work, int status);

static void request_go_on(struct cache_waiter *waiter)
{
    request_go((struct request *)waiter);
}

/* Give back to the driver what is cached, and wait for it. False: there is nothing to wait for. */
static bool request_press(struct request *request)
{
    struct runtime *runtime = request->session->runtime;
    struct user *user = request->session->user;
    struct request *kept;

    if (request->session->account)
        request->session->account->devices[request->device].retries++;
    cache_trim(user);
    if (request->result == XPURT_ERROR_OUT_OF_MEMORY)
        cache_press(runtime, request->device);

    request->waiter.go = request_go_on;
    request->waiter.eviction = runtime->evictions;
    request->waiter.user = request->result == XPURT_ERROR_QUOTA ? user : NULL;
    if (!cache_busy(runtime, &request->waiter))
        return false;
    kept = request_keep(request);
    if (kept)
        cache_wait(runtime, &kept->waiter);
    return kept;
}

/* What comes after a segment could not be had. */
enum advance { ADVANCE_FAIL, ADVANCE_TRY, ADVANCE_WAIT };

static enum advance request_advance(struct request *request)
{
    if (request->result != XPURT_ERROR_OUT_OF_MEMORY && request->result != XPURT_ERROR_QUOTA)
        return ADVANCE_FAIL;
    switch (request->stage) {
    case STAGE_CACHE:
        request->stage = STAGE_RELEASED;
        return request_press(request) ? ADVANCE_WAIT : ADVANCE_TRY;
    case STAGE_RELEASED:
        request->stage = STAGE_EXACT;
        return request->size < request->slab_size ? ADVANCE_TRY : ADVANCE_FAIL;
    case STAGE_EXACT:
        break;
    }
    return ADVANCE_FAIL;
}

/* In the pool or here; false: later. */
static bool request_ask_driver(struct request *request)
{
    struct request *kept = request->slab_size >= MEMORY_LARGE ? request_keep(request) : NULL;

    if (kept) {
        kept->work.data = kept;
        uv_queue_work(kept->session->runtime->loop, &kept->work, request_run, request_done);
        return false;
    }
    request->work.data = request;
    request_run(&request->work);
    return true;
}

/* Until there is a block, nothing left to try, or something to wait for. */
static void request_go(struct request *request)
{
    enum advance advance = ADVANCE_FAIL;
    struct block *block;

    do {
        block = request->session->state == SESSION_READY ? request_take(request) : NULL;
        if (block || request->session->state != SESSION_READY)
            break;
        if (request_reserve(request)) {
            if (!request_ask_driver(request))
                return;
            block = request_add_slab(request);
        }
        advance = block ? ADVANCE_FAIL : request_advance(request);
    } while (advance == ADVANCE_TRY);
    if (advance != ADVANCE_WAIT)
        request_end(request, block);
}

static void request_done(uv_work_t *work, int status)
{
    struct request *request = work->data;
    struct runtime *runtime = request->session->runtime;
    struct block *block = request_add_slab(request);
    enum advance advance = block ? ADVANCE_FAIL : request_advance(request);

    (void)status;
    if (advance == ADVANCE_TRY)
        request_go(request);
    else if (advance == ADVANCE_FAIL)
        request_end(request, block);
    runtime_settle(runtime);
}

/* Charge for a block; takes back what clients cache where that is in the way. */
static bool request_charge(struct request *request)
{
    struct session *session = request->session;

    if (!session_charge(session, request->serial, CHARGE_ALLOCATIONS, 1))
        return false;
    if (user_charge(session->user, CHARGE_MEMORY, request->size))
        return true;
    cache_reclaim_user(session->user);
    cache_observe(session->user);
    if (session_charge(session, request->serial, CHARGE_MEMORY, request->size))
        return true;
    user_discharge(session->user, CHARGE_ALLOCATIONS, 1);
    return false;
}

static bool fits(const struct account_device *device, uint64_t size)
{
    return device->bytes <= device->limit && size <= device->limit - device->bytes;
}

/* Whether the process's own limit allows it. */
static bool request_allowed(struct request *request)
{
    struct session *session = request->session;
    const struct account_device *device = &session->account->devices[request->device];

    if (!fits(device, request->size)) {
        cache_reclaim(session);
        cache_observe(session->user);
    }
    if (fits(device, request->size))
        return true;
    request->result = XPURT_ERROR_OUT_OF_MEMORY;
    snprintf(request->error, sizeof(request->error),
             "the memory fraction of this process allows %" PRIu64 " bytes", device->limit);
    return false;
}

/* What is wrong with the message; false: the client was told. */
static bool alloc_check(struct session *session, uint32_t serial, const Xpurt__MemoryAlloc *message)
{
    struct gpu *gpu = session->runtime->gpu;
    const struct stream *stream;

    if (message->device >= gpu_device_count(gpu)) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_DEVICE, "there is no device %u",
                      message->device);
        return false;
    }
    if (message->size == 0 ||
        message->size > gpu_device_properties(gpu, message->device)->max_allocation) {
        session_error(session, serial, 0,
                      message->size ? XPURT_ERROR_OUT_OF_MEMORY : XPURT_ERROR_INVALID_ARGUMENT,
                      "cannot allocate %" PRIu64
                      " bytes in one piece; device %u allows 1 to %" PRIu64,
                      message->size, message->device,
                      gpu_device_properties(gpu, message->device)->max_allocation);
        return false;
    }
    stream = message->stream && message->stream <= BOARD_TIMELINES ?
                 session->places[message->stream - 1].stream :
                 NULL;
    if (message->stream && (!stream || stream->device != message->device)) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "device %u has no stream %u of this process", message->device,
                      message->stream - 1);
        return false;
    }
    return true;
}

void memory_alloc(struct session *session, uint32_t serial, const Xpurt__MemoryAlloc *message)
{
    struct request request = {
        .session = session,
        .serial = serial,
        .device = message->device,
        .requested = message->size,
        .stream = message->stream,
        .fresh = message->fresh,
        .error = "no GPU context could be made",
    };

    if (!alloc_check(session, serial, message))
        return;
    request.size = block_round(message->size);
    request.allocator = cache_allocator(session->user, message->device);
    if (!request.allocator || !account_get(session)) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    if (!request_charge(&request))
        return;
    request.result = user_context(session->user, &request.context);
    if (request.result || !request_allowed(&request))
        request_fail(&request);
    else
        request_go(&request);
}

void memory_record(struct session *session, const Xpurt__MemoryRecord *command)
{
    struct block *block = block_find(session->user, command->address);
    struct memory_lease *lease = block ? lease_of(session, block) : NULL;

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

void memory_limit(struct session *session, const Xpurt__MemoryLimit *command)
{
    struct account *account = account_get(session);

    if (account && command->device < gpu_device_count(session->runtime->gpu))
        account->devices[command->device].limit = command->bytes;
    else
        session_error(session, 0, 0,
                      account ? XPURT_ERROR_INVALID_DEVICE : XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the memory of device %u cannot be limited", command->device);
}

/* ---- trimming -------------------------------------------------------------------------------------- */

struct trim {
    struct cache_waiter waiter;         /* first */
    struct session *session;            /* counted in n_requests */
    uint32_t serial;
    uint64_t freed;                     /* bytes that were scrubbed before it began */
};

static void trim_answer(struct session *session, uint32_t serial, uint64_t bytes)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryTrimmed trimmed = XPURT__MEMORY_TRIMMED__INIT;

    trimmed.bytes = bytes;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_TRIMMED;
    reply.memory_trimmed = &trimmed;
    session_reply(session, serial, &reply, NULL, 0);
}

static void trim_done(struct cache_waiter *waiter)
{
    struct trim *trim = (struct trim *)waiter;
    struct session *session = trim->session;

    trim_answer(session, trim->serial, session->user->scrubbed_bytes - trim->freed);
    free(trim);
    session->n_trims--;
    session->n_requests--;
    session_settle(session);
}

void memory_trim(struct session *session, uint32_t serial)
{
    struct user *user = session->user;
    struct trim *trim = malloc(sizeof(*trim));

    if (!trim) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    *trim = (struct trim){
        .waiter = { .user = user, .go = trim_done },
        .session = session,
        .serial = serial,
        .freed = user->scrubbed_bytes,
    };
    cache_reclaim_user(user);
    cache_observe(user);
    cache_trim(user);
    trim->waiter.eviction = session->runtime->evictions;
    if (!cache_busy(session->runtime, &trim->waiter)) {
        trim_answer(session, serial, 0);
        free(trim);
        return;
    }
    if (session->n_trims == TRIMS_MAX) {
        free(trim);
        session_error(session, serial, 0, XPURT_ERROR_QUOTA,
                      "%u requests of this process to give back memory are under way", TRIMS_MAX);
        return;
    }
    session->n_trims++;
    session->n_requests++;
    cache_wait(session->runtime, &trim->waiter);
}

/* ---- sharing --------------------------------------------------------------------------------------- */

/* The session's lease of the block around @p address. */
static struct memory_lease *lease_find(struct session *session, uint64_t address)
{
    struct block *block = block_find(session->user, address);

    return block ? lease_of(session, block) : NULL;
}

/* The handle for @p offset: the one made before, or a new one. NULL: the client was told. */
static struct token *token_get(struct session *session, uint32_t serial, struct memory_lease *lease,
                               uint64_t offset)
{
    struct token *token;

    HASH_FIND(by_offset, lease->tokens, &offset, sizeof(offset), token);
    if (token)
        return token;

    if (!session_charge(session, serial, CHARGE_EXPORTS, 1))
        return NULL;
    if (broker_export(&session->runtime->broker, session->user, HANDLE_MEMORY, lease, offset,
                      &token) < 0) {
        user_discharge(session->user, CHARGE_EXPORTS, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon cannot make a handle");
        return NULL;
    }
    HASH_ADD(by_offset, lease->tokens, offset, sizeof(token->offset), token);
    if (!HASH_ADDED(by_offset, token)) {
        broker_revoke(&session->runtime->broker, token);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon cannot make a handle");
        return NULL;
    }
    return token;
}

void memory_export(struct session *session, uint32_t serial, const Xpurt__MemoryExport *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Handle handle = XPURT__HANDLE__INIT;
    struct memory_lease *lease = lease_find(session, request->address);
    struct token *token;

    if (!lease) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not in memory of this process", request->address);
        return;
    }
    token = token_get(session, serial, lease, request->address - lease->address);
    if (!token)
        return;
    handle.handle.data = (uint8_t *)&token->handle;
    handle.handle.len = sizeof(token->handle);
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HANDLE;
    reply.handle = &handle;
    session_reply(session, serial, &reply, NULL, 0);
}

void memory_open(struct session *session, uint32_t serial, const Xpurt__MemoryOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryOpened opened = XPURT__MEMORY_OPENED__INIT;
    struct block *block;
    struct token *token;
    const char *reason;
    xpurt_result result;
    bool is_new;

    result = broker_find(&session->runtime->broker, session->user, HANDLE_MEMORY,
                         request->handle.data, request->handle.len, &token, &reason);
    if (result) {
        session_error(session, serial, 0, result, "%s", reason);
        return;
    }
    block = ((struct memory_lease *)token->object)->block;
    is_new = !lease_of(session, block);
    if (!account_get(session)) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    if (is_new && !session_charge(session, serial, CHARGE_LEASES, 1))
        return;
    if (!lease_add(session, block)) {
        user_discharge(session->user, CHARGE_LEASES, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    if (is_new) {
        lease_of(session, block)->charged = true;
        block->shared = true;
    }
    opened.address = block->address + token->offset;
    opened.start = block->address;
    opened.size = block->size;
    opened.device = block->slab->allocator->device;
    opened.segment = block->slab->address;
    opened.segment_size = block->slab->size;
    opened.owner = block->account ? (int32_t)block->account->pid : 0;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_OPENED;
    reply.memory_opened = &opened;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- host segments ----------------------------------------------------------------------------------------- */

/* Its own little object, because the segment's account is closed only when it is done. */
struct release {
    uv_work_t work;
    struct user *user;
    void *bytes;
    uint64_t size;
};

static void release_run(uv_work_t *work)
{
    struct release *release = work->data;

    munmap(release->bytes, release->size);
}

static void release_account(const struct release *release)
{
    user_discharge(release->user, CHARGE_SEGMENTS, 1);
    user_discharge(release->user, CHARGE_HOST_MEMORY, release->size);
    user_unref(release->user);
}

static void release_done(uv_work_t *work, int status)
{
    (void)status;
    release_account(work->data);
    free(work->data);
}

/* Takes over the reference to the user. */
static void release_start(struct release *release)
{
    struct release *later;

    if (release->size >= MEMORY_LARGE && (later = malloc(sizeof(*later)))) {
        *later = *release;
        later->work.data = later;
        if (uv_queue_work(release->user->loop, &later->work, release_run, release_done) == 0)
            return;
        free(later);
    }
    release->work.data = release;
    release_run(&release->work);
    release_account(release);
}

static void segment_destroy(struct resource *resource)
{
    struct segment *segment = (struct segment *)resource;
    struct release release = {
        .user = segment->user,
        .size = segment->size,
        .bytes = segment->bytes,
    };

    free(segment);
    release_start(&release);
}

static int segment_map(struct segment *segment)
{
    int fd, r;

    fd = memfd_create("xpurt-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    r = ftruncate(fd, (off_t)segment->size);
    if (r == 0)
        r = fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (r == 0) {
        segment->bytes = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (segment->bytes == MAP_FAILED)
            r = -1;
    }
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static bool segment_charge(struct session *session, uint32_t serial, uint64_t size)
{
    if (!session_charge(session, serial, CHARGE_SEGMENTS, 1))
        return false;
    if (session_charge(session, serial, CHARGE_HOST_MEMORY, size))
        return true;
    user_discharge(session->user, CHARGE_SEGMENTS, 1);
    return false;
}

/* Not 0, which means device memory, and not in use. */
static uint32_t segment_id(struct session *session)
{
    struct segment *segment;

    do {
        session->last_segment++;
        HASH_FIND(hh, session->segments, &session->last_segment, sizeof(session->last_segment),
                  segment);
    } while (!session->last_segment || segment);
    return session->last_segment;
}

/* The segment's descriptor for the client, or -errno. */
static int segment_new(struct session *session, uint64_t size, struct segment **ret_segment)
{
    struct segment *segment;
    int fd;

    segment = calloc(1, sizeof(*segment));
    if (!segment)
        return -ENOMEM;
    segment->size = size;
    segment->id = segment_id(session);
    HASH_ADD(hh, session->segments, id, sizeof(segment->id), segment);
    if (!HASH_ADDED(hh, segment)) {
        free(segment);
        return -ENOMEM;
    }
    fd = segment_map(segment);
    if (fd < 0) {
        HASH_DEL(session->segments, segment);
        free(segment);
        return fd;
    }
    segment->resource.refs = 1;
    segment->resource.destroy = segment_destroy;
    segment->user = user_ref(session->user);
    *ret_segment = segment;
    return fd;
}

void host_alloc(struct session *session, uint32_t serial, const Xpurt__HostAlloc *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__HostAllocated allocated = XPURT__HOST_ALLOCATED__INIT;
    struct segment *segment;
    uint64_t size;
    int fd;

    if (request->size == 0 || request->size > INT64_MAX - SEGMENT_ROUNDING) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "cannot allocate %" PRIu64 " bytes of host memory", request->size);
        return;
    }
    size = (request->size + SEGMENT_ROUNDING - 1) / SEGMENT_ROUNDING * SEGMENT_ROUNDING;
    if (!segment_charge(session, serial, size))
        return;

    fd = segment_new(session, size, &segment);
    if (fd < 0) {
        user_discharge(session->user, CHARGE_SEGMENTS, 1);
        user_discharge(session->user, CHARGE_HOST_MEMORY, size);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "cannot allocate %" PRIu64 " bytes of host memory: %s", request->size,
                      strerror(-fd));
        return;
    }
    allocated.segment = segment->id;
    allocated.size = segment->size;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HOST_ALLOCATED;
    reply.host_allocated = &allocated;
    session_reply(session, serial, &reply, &fd, 1);
    close(fd);
}

void host_free(struct session *session, const Xpurt__HostFree *command)
{
    struct segment *segment;

    HASH_FIND(hh, session->segments, &command->segment, sizeof(command->segment), segment);
    if (!segment) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_ADDRESS, "there is no segment %u",
                      command->segment);
        return;
    }
    HASH_DEL(session->segments, segment);
    resource_unref(&segment->resource);
}

/* ---- for Level Zero contexts of clients -------------------------------------------------------------------- */

void memory_native(struct session *session, uint32_t serial, const Xpurt__MemoryNative *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__NativeMemory native = XPURT__NATIVE_MEMORY__INIT;
    struct memory_lease *lease = lease_find(session, request->address);
    uint8_t bytes[64];
    xpurt_result result;
    int fd;

    if (!lease || request->address - lease->address >= lease->block->size) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not inside device memory of this process",
                      request->address);
        return;
    }
    result = gpu_memory_handle(session->user->context, lease->block->slab->address,
                               lease->block->slab->size, bytes, &fd);
    if (result) {
        session_error(session, serial, 0, result, "no native handle: %s", gpu_error());
        return;
    }
    native.handle = (ProtobufCBinaryData){ sizeof(bytes), bytes };
    native.start = lease->block->slab->address;
    native.size = lease->block->slab->size;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_NATIVE_MEMORY;
    reply.native_memory = &native;
    session_reply(session, serial, &reply, &fd, 1);
}

/* ---- using --------------------------------------------------------------------------------------------------- */

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

    lease = lease_find(session, location->offset);
    if (!lease || !range_inside(lease->address, lease->block->size, location->offset, size))
        return XPURT_ERROR_INVALID_ADDRESS;
    *ret_bytes = (void *)(uintptr_t)location->offset;
    *ret_resource = &lease->block->resource;
    return XPURT_SUCCESS;
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

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
