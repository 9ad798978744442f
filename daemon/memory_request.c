/* SPDX-License-Identifier: MIT */
/* daemon/memory_request.c: allocations of device memory that are under way.
 *
 * Guarantees of this file:
 *   - an allocation fails only after everything was tried: work that is done, free blocks, the
 *     driver, the driver again when cached memory has come back to it, a segment of just the size;
 *   - what may take long runs in libuv's pool or waits its turn: the loop goes on;
 *   - whatever becomes of it, a request is answered once, unless its session died, and leaves nothing
 *     charged but what it got.
 */
#include "daemon/account.h"
#include "daemon/cache.h"
#include "daemon/gpu.h"
#include "daemon/magazine.h"
#include "daemon/memory_internal.h"
#include "daemon/report.h"
#include "daemon/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

/* ---- the answer ------------------------------------------------------------------------------------ */

/* @p block is what was asked for. */
static void request_answer(struct request *request, struct block *block)
{
    struct session *session = request->session;
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryAllocated allocated = XPURT__MEMORY_ALLOCATED__INIT;

    /* It may be a little larger; the limit is that of requests. */
    user_charge_always(session->user, CHARGE_MEMORY, block->size - request->size);
    if (!block_own(session, block, request->requested, request->stream)) {
        session_error(session, request->serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    allocated.address = block->address;
    allocated.size = block->size;
    allocated.segment = block->slab->address;
    allocated.segment_size = block->slab->size;
    allocated.entry = memory_lease_of(session, block)->entry;
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

/* ---- steps ----------------------------------------------------------------------------------------- */

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

static void request_run(uv_work_t *work)
{
    struct request *request = work->data;

    request->result = gpu_memory_new(request->context, request->device, request->slab_size,
                                     &request->slab_address);
    if (request->result)
        snprintf(request->error, sizeof(request->error), "%s", gpu_error());
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

/* ---- one after the other --------------------------------------------------------------------------- */

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

/* ---- what is allowed ------------------------------------------------------------------------------- */

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
