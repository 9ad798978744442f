/* SPDX-License-Identifier: MIT */
/* daemon/cache.c: see cache.h.
 *
 * Guarantees of this file:
 *   - memory that goes back to the driver was filled with zeros by the device before, or the device
 *     is lost; where neither is so it stays ours for good. When the daemon ends the kernel clears,
 *     as it does for every process;
 *   - neither the filling nor the driver's part of it holds up the loop: one job for each user at a
 *     time, in libuv's pool;
 *   - a waiter goes on exactly once, and from the loop; it does not wait for what others start to
 *     give back after it came.
 */
#include "daemon/cache.h"
#include "daemon/account.h"
#include "daemon/gpu.h"
#include "daemon/log.h"
#include "daemon/magazine.h"
#include "daemon/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

#define TRIMS_MAX 256u                  /* of a session: each of its threads may wait for one */

/* ---- to the driver --------------------------------------------------------------------------------- */

static void slab_release(const struct user *user, struct slab *slab)
{
    uint32_t device = slab->allocator->device;
    xpurt_result result = XPURT_SUCCESS;

    if (!atomic_load(&user->runtime->ending)) {
        result = gpu_memory_clear(user->context, device, slab->address, slab->size);
        slab->scrubbed = result == XPURT_SUCCESS;
    }
    if (result && result != XPURT_ERROR_DEVICE_LOST) {
        log_error("%" PRIu64 " bytes of device %u are not used any more, they cannot be cleared: "
                  "%s",
                  slab->size, device, gpu_error());
        gpu_context_keep(user->context);
        return;
    }
    if (gpu_memory_free(user->context, device, slab->address, slab->size))
        log_error("cannot free device memory: %s", gpu_error());
}

static void release_run(uv_work_t *work)
{
    const struct user *user = work->data;
    struct slab *slab;

    DL_FOREACH(user->releasing, slab)
        slab_release(user, slab);
}

static void waiters_go(struct runtime *runtime)
{
    struct cache_waiter *waiter, *next, *ready = NULL;

    DL_FOREACH_SAFE(runtime->waiters, waiter, next) {
        if (cache_busy(runtime, waiter))
            continue;
        DL_DELETE(runtime->waiters, waiter);
        DL_APPEND(ready, waiter);
    }
    while ((waiter = ready)) {
        DL_DELETE(ready, waiter);
        waiter->go(waiter);
    }
}

static void release_start(struct user *user);

static void release_done(uv_work_t *work, int status)
{
    struct user *user = work->data;
    struct runtime *runtime = user->runtime;

    (void)status;
    while (user->releasing) {
        struct slab *slab = user->releasing;

        DL_DELETE(user->releasing, slab);
        runtime->counters.scrubbed_bytes += slab->scrubbed ? slab->size : 0;
        user->scrubbed_bytes += slab->scrubbed ? slab->size : 0;
        runtime->counters.driver_frees++;
        user->driver_frees++;
        user->n_releasing--;
        user_discharge(user, CHARGE_RESERVED, slab->size);
        slab_gone(slab);
        user_unref(user);               /* not the last one: the job has one, too */
    }
    release_start(user);
    waiters_go(runtime);
    user_unref(user);
    runtime_settle(runtime);
}

static void release_start(struct user *user)
{
    if (user->releasing || !user->evicted)
        return;
    user->releasing = user->evicted;
    user->evicted = NULL;
    user->release.data = user_ref(user);
    uv_queue_work(user->runtime->loop, &user->release, release_run, release_done);
}

static void evict_if_idle(struct user *user, struct slab *slab)
{
    if (!slab_idle(slab))
        return;
    slab_evict(slab);
    slab->eviction = ++user->runtime->evictions;
    DL_APPEND(user->evicted, slab);
    user->n_releasing++;
}

static void allocator_trim(struct user *user, struct allocator *allocator)
{
    struct slab *slab, *next;

    DL_FOREACH_SAFE(allocator->slabs, slab, next)
        evict_if_idle(user, slab);
}

void cache_unused(struct user *user, struct slab *slab)
{
    evict_if_idle(user, slab);
    release_start(user);
}

void cache_trim(struct user *user)
{
    for (unsigned i = 0; user->allocators && i < gpu_device_count(user->gpu); i++)
        allocator_trim(user, &user->allocators[i]);
    release_start(user);
}

void cache_press(struct runtime *runtime, uint32_t device)
{
    struct user *user, *next;

    HASH_ITER(hh, runtime->users, user, next) {
        if (!user->allocators)
            continue;
        cache_observe(user);
        cache_reclaim_user(user);
        allocator_trim(user, &user->allocators[device]);
        release_start(user);
    }
}

/* Whether something of the user's that was evicted no later than @p eviction is still on its way. */
static bool user_busy(const struct user *user, uint64_t eviction)
{
    const struct slab *oldest = user->releasing ? user->releasing : user->evicted;

    return oldest && oldest->eviction <= eviction;
}

bool cache_busy(const struct runtime *runtime, const struct cache_waiter *waiter)
{
    const struct user *user, *next;

    if (waiter->user)
        return user_busy(waiter->user, waiter->eviction);
    HASH_ITER(hh, runtime->users, user, next)
        if (user_busy(user, waiter->eviction))
            return true;
    return false;
}

void cache_wait(struct runtime *runtime, struct cache_waiter *waiter)
{
    DL_APPEND(runtime->waiters, waiter);
}

/* ---- from clients ---------------------------------------------------------------------------------- */

void cache_reclaim(struct session *session)
{
    struct memory_lease *lease;
    unsigned at = 0;

    while ((lease = magazine_reclaim(session, &at)))
        memory_take_back(session, lease);
}

void cache_reclaim_user(const struct user *user)
{
    const struct account *account;

    /* Careful: one that is orphaned goes with its last block, the next one as well as any; that of
     * a session stays. */
    DL_FOREACH(user->accounts, account)
        if (account->session)
            cache_reclaim(account->session);
}

void cache_observe(const struct user *user)
{
    const struct account *account;

    DL_FOREACH(user->accounts, account) {
        const struct session *session = account->session;

        for (uint32_t i = 0; session && session->n_unfinished && i < BOARD_TIMELINES; i++)
            if (session->places[i].stream)
                stream_reclaim(session->places[i].stream);
    }
}

/* ---- allocators ------------------------------------------------------------------------------------ */

struct allocator *cache_allocator(struct user *user, uint32_t device)
{
    unsigned n = gpu_device_count(user->gpu);

    if (user->allocators)
        return &user->allocators[device];
    user->allocators = calloc(n, sizeof(*user->allocators));
    for (unsigned i = 0; user->allocators && i < n; i++) {
        user->allocators[i].owner = user;
        user->allocators[i].device = i;
        user->allocators[i].unused = memory_unused;
    }
    return user->allocators ? &user->allocators[device] : NULL;
}

/* ---- for clients ----------------------------------------------------------------------------------- */

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
