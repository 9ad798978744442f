/* SPDX-License-Identifier: MIT */
/* daemon/native.c: slots that processes signal and wait for in contexts of their own.
 *
 * Guarantees of this file:
 *   - a slot is reset and given back only when nobody holds it and no live session's pin names it;
 *   - what a client writes on a native board can hurt sessions of its own user only, and no index read
 *     there is used for anything but comparing;
 *   - when the owner dies, every slot it may have promised is signalled, so that nobody's queue hangs;
 *   - slots are charged to the user from the making of their pool to its end.
 */
#include "daemon/native.h"
#include "daemon/session.h"
#include "daemon/watch.h"
#include "proto/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

/* ---- reclaiming --------------------------------------------------------------------------------- */

static void dirty(struct native *native)
{
    native->user->natives_dirty = true;
    native->runtime->natives_dirty = true;
}

/* Nobody looks at the slot: the owner may claim it again. Careful: *native may be gone afterwards. */
static void slot_free(struct native *native, uint32_t slot)
{
    struct native_pool *pool = &native->pools[slot / NATIVE_POOL_SLOTS];

    native->known[slot] = false;
    /* One that cannot be reset would read "done" at once: it is not used again. */
    if (native->session && gpu_pool_reset(pool->gpu, slot - pool->first))
        atomic_store_explicit(&native->board->slots[slot].state, NATIVE_FREE, memory_order_release);
    resource_unref(&native->resource);
}

/* The last reference to a slot is gone. */
static void on_idle(void *owner, unsigned index)
{
    struct native_pool *pool = owner;
    struct native *native = pool->native;
    uint32_t slot = pool->first + index;

    /* Held for those who wait for it only, before its owner's record came: it is the owner's still. */
    if (!native->known[slot]) {
        resource_unref(&native->resource);
        return;
    }

    /* First the zero, then the look at the pins: who pins does it the other way round. */
    atomic_store(&native->board->slots[slot].point, 0);
    native->retired[slot] = true;
    native->n_retired++;
    dirty(native);
}

static void pin_mark(const struct native *native, uint64_t pin)
{
    uint32_t owner = (uint32_t)(pin >> 32) & INT32_MAX, slot = (uint32_t)pin;
    const struct board *board = owner < BOARD_SLOTS ? native->runtime->boards.boards[owner] : NULL;

    if (pin == native_pin(owner, slot) && slot < NATIVE_SLOTS && board && board->session &&
        board->user == native->user && board->session->native)
        board->session->native->pinned[slot] = true;
}

/* Once for all slots that wait for that: there may be many of both. */
static void pins_mark(const struct user *user)
{
    struct native *native;
    bool any = false;

    DL_FOREACH(user->natives, native)
        if (native->n_retired) {
            memset(native->pinned, 0, sizeof(native->pinned));
            any = true;
        }
    DL_FOREACH(user->natives, native)
        for (unsigned i = 0; any && i < NATIVE_PINS && native->session; i++)
            pin_mark(native, atomic_load(&native->board->pins[i]));
}

static void retired_free(struct native *native, uint32_t slot)
{
    native->retired[slot] = false;
    native->n_retired--;
    slot_free(native, slot);
}

static void natives_settle(struct user *user)
{
    struct native *native, *next;

    user->natives_dirty = false;
    pins_mark(user);
    DL_FOREACH_SAFE(user->natives, native, next) {
        struct native *kept = resource_ref(&native->resource);

        for (uint32_t slot = 0; slot < NATIVE_SLOTS && kept->n_retired; slot++)
            if (kept->retired[slot] && !(kept->session && kept->pinned[slot]))
                retired_free(kept, slot);
        resource_unref(&kept->resource);
    }
}

HOT void native_settle(struct runtime *runtime)
{
    struct user *user, *next;

    if (!runtime->natives_dirty)
        return;
    runtime->natives_dirty = false;
    HASH_ITER(hh, runtime->users, user, next)
        if (user->natives_dirty)
            natives_settle(user);
}

/* ---- holding ------------------------------------------------------------------------------------- */

static struct gpu_slot *slot_take(struct native *native, uint32_t slot)
{
    struct native_pool *pool = &native->pools[slot / NATIVE_POOL_SLOTS];

    if (native->retired[slot]) {        /* with the reference it has kept */
        native->retired[slot] = false;
        native->n_retired--;
    } else if (gpu_pool_idle(pool->gpu, slot - pool->first)) {
        resource_ref(&native->resource);
    }
    return gpu_pool_take(pool->gpu, slot - pool->first);
}

struct gpu_slot *native_claim(struct session *session, uint32_t slot)
{
    struct native *native = session->native;

    if (!native || slot / NATIVE_POOL_SLOTS >= native->n_pools || native->known[slot])
        return NULL;
    native->known[slot] = true;
    dirty(native);
    return slot_take(native, slot);
}

static struct native *native_find(struct session *session, uint32_t owner)
{
    struct native_lease *lease;

    if (owner == session->board->slot)
        return session->native;
    HASH_FIND(hh, session->natives, &owner, sizeof(owner), lease);
    return lease ? lease->native : NULL;
}

struct gpu_slot *native_take(struct session *session, uint32_t owner, uint32_t slot, uint32_t pin)
{
    struct native *native = native_find(session, owner);
    uint64_t value = native_pin(owner, slot);
    struct gpu_slot *taken;

    if (!native || slot / NATIVE_POOL_SLOTS >= native->n_pools)
        return NULL;
    taken = slot_take(native, slot);
    if (session->native && pin < NATIVE_PINS) {
        atomic_compare_exchange_strong(&session->native->board->pins[pin], &value, 0);
        dirty(native);
    }
    return taken;
}

/* ---- promises: native events of points ------------------------------------------------------------- */

struct promise {
    UT_hash_handle hh;
    uint32_t slot;
    struct gpu_slot *gpu;               /* a reference */
    struct watch *watch;                /* NULL: it was signalled */
};

/* Also when the point will never be reached: nobody's queue is to hang, and a query tells. */
static void promise_fire(void *data, xpurt_result result)
{
    struct promise *promise = data;

    (void)result;
    promise->watch = NULL;
    gpu_slot_release(promise->gpu);
}

static void promise_free(struct native *native, struct promise *promise)
{
    HASH_DEL(native->promises, promise);
    watch_free(promise->watch);
    resource_unref(gpu_slot_resource(promise->gpu));
    free(promise);
}

void native_signal(struct session *session, const Xpurt__NativeSignal *command)
{
    struct gpu_slot *gpu = native_claim(session, command->slot);
    struct promise *promise;

    if (!gpu) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                      "native slot %u is none that can be claimed", command->slot);
        return;
    }
    promise = calloc(1, sizeof(*promise));
    if (promise) {
        promise->slot = command->slot;
        HASH_ADD(hh, session->native->promises, slot, sizeof(promise->slot), promise);
    }
    if (!promise || !HASH_ADDED(hh, promise)) {
        free(promise);
        gpu_slot_release(gpu);
        resource_unref(gpu_slot_resource(gpu));
        session_error(session, 0, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    promise->gpu = gpu;
    if (!command->point ||
        !watch_new(session, 0, command->point, promise_fire, promise, &promise->watch))
        gpu_slot_release(gpu);
}

void native_release(struct session *session, const Xpurt__NativeRelease *command)
{
    struct promise *promise = NULL;

    if (session->native)
        HASH_FIND(hh, session->native->promises, &command->slot, sizeof(command->slot), promise);
    if (promise)
        promise_free(session->native, promise);
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                      "native slot %u does not stand for an event", command->slot);
}

/* ---- making --------------------------------------------------------------------------------------- */

static void native_destroy(struct resource *resource)
{
    struct native *native = (struct native *)resource;

    DL_DELETE(native->user->natives, native);
    for (unsigned i = 0; i < native->n_pools; i++)
        gpu_pool_free(native->pools[i].gpu);
    user_discharge(native->user, CHARGE_NATIVE_SLOTS, native->n_pools * NATIVE_POOL_SLOTS);
    if (native->board)
        munmap(native->board, sizeof(*native->board));
    if (native->fd >= 0)
        close(native->fd);
    resource_unref(&native->origin->resource);
    user_unref(native->user);
    free(native);
}

static int board_make(struct native *native, pid_t pid)
{
    void *map;
    int r;

    r = board_file("xpurt-native", sizeof(*native->board), sizeof(*native->board), 0, &native->fd,
                   &map);
    if (r < 0)
        return r;
    native->board = map;
    board_header_fill(&native->board->header, native->session->board, pid);
    return 0;
}

static int native_new(struct session *session, struct native **ret_native)
{
    struct native *native;
    int r;

    native = calloc(1, sizeof(*native));
    if (!native)
        return -ENOMEM;
    native->resource.refs = 1;
    native->resource.destroy = native_destroy;
    native->user = user_ref(session->user);
    native->session = session;
    native->origin = resource_ref(&session->board->resource);
    native->runtime = session->runtime;
    native->owner = session->board->slot;
    native->fd = -1;
    DL_APPEND(session->user->natives, native);

    r = board_make(native, session->pid);
    if (r < 0) {
        resource_unref(&native->resource);
        return r;
    }
    *ret_native = native;
    return 0;
}

static xpurt_result pool_add(struct native *native)
{
    struct native_pool *pool = &native->pools[native->n_pools];
    struct gpu_context *context;
    xpurt_result result;

    pool->native = native;
    pool->first = native->n_pools * NATIVE_POOL_SLOTS;
    result = user_context(native->user, &context);
    if (!result)
        result = gpu_pool_new(context, NATIVE_POOL_SLOTS, on_idle, pool, &pool->gpu);
    if (result)
        return result;
    native->n_pools++;
    for (unsigned i = 0; i < NATIVE_POOL_SLOTS; i++)
        atomic_store_explicit(&native->board->slots[pool->first + i].state, NATIVE_FREE,
                              memory_order_release);
    return XPURT_SUCCESS;
}

/* ---- requests --------------------------------------------------------------------------------------- */

/* What @p owner has; NULL: the client was told why not. */
static struct native *owner_find(struct session *session, uint32_t serial, uint32_t owner)
{
    struct board *board = owner < BOARD_SLOTS ? session->runtime->boards.boards[owner] : NULL;

    if (!board || !board->session || !board->session->native) {
        session_error(session, serial, 0, XPURT_ERROR_STALE_HANDLE,
                      "session %u is gone or has no native events", owner);
        return NULL;
    }
    if (board->user != session->user) {
        session_error(session, serial, 0, XPURT_ERROR_PERMISSION,
                      "session %u belongs to another user", owner);
        return NULL;
    }
    return board->session->native;
}

/* Idempotent. False: the client was told why not. */
static bool lease_take(struct session *session, uint32_t serial, struct native *native)
{
    struct native_lease *lease;

    HASH_FIND(hh, session->natives, &native->owner, sizeof(native->owner), lease);
    if (lease && lease->native == native)
        return true;
    if (lease) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "the native board of an earlier session %u is still open", native->owner);
        return false;
    }
    if (!session_charge(session, serial, CHARGE_LEASES, 1))
        return false;
    lease = calloc(1, sizeof(*lease));
    if (lease) {
        lease->owner = native->owner;
        HASH_ADD(hh, session->natives, owner, sizeof(lease->owner), lease);
    }
    if (!lease || !HASH_ADDED(hh, lease)) {
        free(lease);
        user_discharge(session->user, CHARGE_LEASES, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return false;
    }
    lease->native = resource_ref(&native->resource);
    return true;
}

static void lease_free(struct session *session, struct native_lease *lease)
{
    HASH_DEL(session->natives, lease);
    user_discharge(session->user, CHARGE_LEASES, 1);
    resource_unref(&lease->native->resource);
    free(lease);
}

void native_open(struct session *session, uint32_t serial, const Xpurt__NativeOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__NativeOpened opened = XPURT__NATIVE_OPENED__INIT;
    struct native *native;

    if (request->owner == session->board->slot) {
        if (!session->native && native_new(session, &session->native) < 0) {
            session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                          "the daemon cannot make a native board");
            return;
        }
        native = session->native;
    } else {
        native = owner_find(session, serial, request->owner);
        if (!native || !lease_take(session, serial, native))
            return;
    }
    opened.owner = native->owner;
    opened.pools = native->n_pools;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_NATIVE_OPENED;
    reply.native_opened = &opened;
    session_reply(session, serial, &reply, &native->fd, 1);
}

/* Nobody is told when external streams go on: their slots come back when they are wanted. */
static void slots_reclaim(struct session *session)
{
    struct stream *stream;

    DL_FOREACH2(session->runtime->streams, stream, next_stream)
        if (stream->external && stream->session->user == session->user)
            stream_reclaim(stream);
    native_settle(session->runtime);
}

/* False: the client was told why not. */
static bool own_pool_add(struct session *session, uint32_t serial)
{
    xpurt_result result;

    slots_reclaim(session);
    if (session->native->n_pools == NATIVE_POOLS) {
        session_error(session, serial, 0, XPURT_ERROR_QUOTA,
                      "a process has at most %u native slots", NATIVE_SLOTS);
        return false;
    }
    if (!session_charge(session, serial, CHARGE_NATIVE_SLOTS, NATIVE_POOL_SLOTS))
        return false;
    result = pool_add(session->native);
    if (result) {
        user_discharge(session->user, CHARGE_NATIVE_SLOTS, NATIVE_POOL_SLOTS);
        session_error(session, serial, 0, result, "no native events: %s", gpu_error());
        return false;
    }
    return true;
}

void native_pool_open(struct session *session, uint32_t serial,
                      const Xpurt__NativePoolOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__NativePool answer = XPURT__NATIVE_POOL__INIT;
    struct native *native = native_find(session, request->owner);
    const void *bytes;
    int fd;

    if (native && native == session->native && request->pool == native->n_pools &&
        !own_pool_add(session, serial))
        return;
    if (!native || request->pool >= native->n_pools) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "there is no native pool %u of session %u, or it was not opened",
                      request->pool, request->owner);
        return;
    }
    fd = gpu_pool_handle(native->pools[request->pool].gpu, &bytes);
    answer.handle = (ProtobufCBinaryData){ 64, (uint8_t *)bytes };
    reply.reply_case = XPURT__TO_CLIENT__REPLY_NATIVE_POOL;
    reply.native_pool = &answer;
    session_reply(session, serial, &reply, &fd, 1);
}

void native_close(struct session *session, const Xpurt__NativeClose *command)
{
    struct native_lease *lease;

    HASH_FIND(hh, session->natives, &command->owner, sizeof(command->owner), lease);
    if (lease)
        lease_free(session, lease);
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                      "the native board of session %u was not opened", command->owner);
}

/* ---- end ----------------------------------------------------------------------------------------------- */

static void own_end(struct native *native)
{
    struct promise *promise, *next;

    HASH_ITER(hh, native->promises, promise, next)
        promise_free(native, promise);
    native->session = NULL;
    dirty(native);                      /* its pins do not count any more */
    for (uint32_t slot = 0; slot < native->n_pools * NATIVE_POOL_SLOTS; slot++) {
        struct native_pool *pool = &native->pools[slot / NATIVE_POOL_SLOTS];

        if (atomic_load(&native->board->slots[slot].state) != NATIVE_FREE || native->known[slot])
            gpu_pool_signal(pool->gpu, slot - pool->first);
    }
    resource_unref(&native->resource);
}

void native_end(struct session *session)
{
    struct native_lease *lease, *next;

    HASH_ITER(hh, session->natives, lease, next)
        lease_free(session, lease);
    if (session->native)
        own_end(session->native);
    session->native = NULL;
}
