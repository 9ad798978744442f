/* SPDX-License-Identifier: MIT */
/* client/native.c: slots of native boards: claiming own ones, pinning others'.
 *
 * Guarantees of this file:
 *   - a slot is claimed once at a time, and only when the daemon says that nobody looks at it;
 *   - a slot of another session is used only while it tells of the point that was asked for, and it
 *     is pinned before that is looked at: it cannot be reused between the look and the use;
 *   - nobody is left waiting when the daemon is gone.
 */
#include "client/native.h"

#include "client/arena.h"
#include "client/result.h"
#include "client/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CLAIM_TRIES 10000u              /* of this slice, when every slot is in use */
#define CLAIM_SLICE_NS 500000

/* A session with a native board, the own one included. */
struct owner {
    struct board_native *board;
    struct xpurtp_pool *pools[NATIVE_POOLS];
};

static TABLE struct owner *owners[BOARD_SLOTS];
static TABLE uint32_t free_slots[NATIVE_SLOTS]; /* own ones that were seen FREE */
static uint32_t n_free;
static uint32_t next_pin;
static uint64_t pool_ids;

/* Of all external streams of the process; there is one library that can be it. */
static const struct xpurtp_backend *backend;

/* ---- boards and pools --------------------------------------------------------------------------- */

static int board_map(int fd, struct board_native **ret_board)
{
    void *map = mmap(NULL, sizeof(struct board_native), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        return -errno;
    (void)madvise(map, sizeof(struct board_native), MADV_DONTDUMP);
    *ret_board = map;
    return 0;
}

static void close_send(uint32_t slot)
{
    Xpurt__NativeClose native_close = XPURT__NATIVE_CLOSE__INIT;

    native_close.owner = slot;
    if (slot != session.slot && connection_state() == CONNECTION_READY)
        (void)connection_command(
            &(Xpurt__Command){ COMMAND(NATIVE_CLOSE), .native_close = &native_close });
}

static xpurt_result owner_open(uint32_t slot)
{
    Xpurt__NativeOpen open = XPURT__NATIVE_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(NATIVE_OPEN), .native_open = &open };
    struct reply reply = REPLY_NULL;
    struct board_native *board = NULL;
    struct owner *owner;
    xpurt_result r;
    int e;

    open.owner = slot;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_NATIVE_OPENED, 1, &reply);
    if (r || owners[slot]) {            /* another thread was faster */
        reply_deinit(&reply);
        return r;
    }
    owner = calloc(1, sizeof(*owner));
    e = owner ? board_map(reply.fds.fds[0], &board) : -ENOMEM;
    reply_deinit(&reply);
    if (e < 0) {
        free(owner);
        close_send(slot);
        return system_error("a native board cannot be mapped", e);
    }
    owner->board = board;
    owners[slot] = owner;
    return XPURT_SUCCESS;
}

/* The pool @p index of @p slot; of the own session, the next one is made by that. */
static xpurt_result pool_open(uint32_t slot, uint32_t index)
{
    Xpurt__NativePoolOpen open = XPURT__NATIVE_POOL_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(NATIVE_POOL_OPEN), .native_pool_open = &open };
    struct reply reply = REPLY_NULL;
    const ProtobufCBinaryData *handle;
    struct xpurtp_pool *pool;
    xpurt_result r;

    open.owner = slot;
    open.pool = index;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_NATIVE_POOL, 1, &reply);
    if (r)
        return r;
    handle = &reply.message->native_pool->handle;
    if (!owners[slot] || index >= NATIVE_POOLS || owners[slot]->pools[index]) {
        reply_deinit(&reply);           /* another thread was faster, or closed it all */
        return owners[slot] ? XPURT_SUCCESS : XPURT_ERROR_STALE_HANDLE;
    }
    pool = handle->len == sizeof(pool->handle) ? calloc(1, sizeof(*pool)) : NULL;
    if (!pool) {
        reply_deinit(&reply);
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for a native pool");
    }
    pool->id = ++pool_ids;
    pool->count = NATIVE_POOL_SLOTS;
    memcpy(pool->handle, handle->data, sizeof(pool->handle));
    pool->fd = reply.fds.fds[0];
    reply.fds.count = 0;
    reply_deinit(&reply);
    owners[slot]->pools[index] = pool;
    return XPURT_SUCCESS;
}

static void owner_close(uint32_t slot)
{
    struct owner *owner = owners[slot];

    for (unsigned i = 0; i < NATIVE_POOLS; i++)
        if (owner->pools[i]) {
            close(owner->pools[i]->fd);
            free(owner->pools[i]);
        }
    munmap(owner->board, sizeof(*owner->board));
    free(owner);
    owners[slot] = NULL;
}

/* ---- own slots ------------------------------------------------------------------------------------ */

static uint32_t own_pools(void)
{
    uint32_t n = 0;

    while (n < NATIVE_POOLS && owners[session.slot]->pools[n])
        n++;
    return n;
}

static void collect(void)
{
    struct board_native *board = owners[session.slot]->board;

    for (uint32_t i = own_pools() * NATIVE_POOL_SLOTS; i-- > 0;)
        if (atomic_load_explicit(&board->slots[i].state, memory_order_acquire) == NATIVE_FREE)
            free_slots[n_free++] = i;
}

static void on_lost(void)
{
    if (backend)
        backend->abandon();
}

xpurt_result native_begin(const struct xpurtp_backend *used)
{
    xpurt_result r = XPURT_SUCCESS;

    backend = used;
    connection_on_lost(on_lost);
    if (!owners[session.slot])
        r = owner_open(session.slot);
    if (r == XPURT_SUCCESS && !owners[session.slot]->pools[0])
        r = pool_open(session.slot, 0);
    return r;
}

/* Every own slot is in use. The daemon looks which are not any more when it is asked for the next pool,
 * also where it refuses that. */
static xpurt_result more_slots(unsigned try)
{
    const struct timespec slice = { .tv_nsec = CLAIM_SLICE_NS };
    uint32_t pools = own_pools();
    xpurt_result r;

    collect();
    if (n_free)
        return XPURT_SUCCESS;
    r = pool_open(session.slot, pools);
    if (r != XPURT_ERROR_QUOTA)
        return r;
    if (try == CLAIM_TRIES)
        return error_set(XPURT_ERROR_QUOTA,
                         "all %u native slots of this process are in use by work "
                         "that is not done",
                         pools * NATIVE_POOL_SLOTS);
    if (!n_free)                        /* else another thread has seen them */
        collect();
    if (n_free)
        return XPURT_SUCCESS;
    connection_unlock();
    nanosleep(&slice, NULL);
    connection_lock();
    return XPURT_SUCCESS;
}

xpurt_result native_claim(struct native_use *ret_use)
{
    uint32_t slot;
    xpurt_result r;

    for (unsigned try = 0; !n_free; try++) {
        r = more_slots(try);
        if (r == XPURT_SUCCESS && connection_state() != CONNECTION_READY)
            r = connection_lost_error();
        if (r)
            return r;
    }
    slot = free_slots[--n_free];
    atomic_store_explicit(&owners[session.slot]->board->slots[slot].state, NATIVE_CLAIMED,
                          memory_order_relaxed);
    ret_use->owner = session.slot;
    ret_use->slot = slot;
    ret_use->pool = owners[session.slot]->pools[slot / NATIVE_POOL_SLOTS];
    return XPURT_SUCCESS;
}

void native_unclaim(const struct native_use *use)
{
    atomic_store_explicit(&owners[use->owner]->board->slots[use->slot].state, NATIVE_FREE,
                          memory_order_relaxed);
    free_slots[n_free++] = use->slot;
}

void native_tell(const struct native_use *use, uint64_t point)
{
    struct board_native *board = owners[use->owner]->board;

    atomic_store_explicit(&board->slots[use->slot].point, point, memory_order_release);
    atomic_store_explicit(&board->hints[point_stream(point)][point_value(point) % NATIVE_HINTS],
                          (uint16_t)(use->slot + 1), memory_order_release);
}

bool native_pool_find(uint64_t id, unsigned index, uint32_t *ret_slot)
{
    struct owner *owner = session.slot == SESSION_NO_SLOT ? NULL : owners[session.slot];

    for (unsigned i = 0; owner && index < NATIVE_POOL_SLOTS && i < NATIVE_POOLS; i++)
        if (owner->pools[i] && owner->pools[i]->id == id) {
            *ret_slot = i * NATIVE_POOL_SLOTS + index;
            return true;
        }
    return false;
}

/* ---- others' slots ---------------------------------------------------------------------------------- */

static bool pin_take(uint32_t *ret_pin)
{
    struct board_native *board = owners[session.slot]->board;

    for (unsigned i = 0; i < NATIVE_PINS; i++) {
        uint32_t pin = next_pin++ % NATIVE_PINS;

        if (!atomic_load_explicit(&board->pins[pin], memory_order_acquire)) {
            *ret_pin = pin;
            return true;
        }
    }
    return false;
}

bool native_pin_point(uint64_t point, struct native_use *ret_use, uint32_t *ret_pin)
{
    uint32_t slot = point_slot(point), found, pin;
    const struct board_native *board;

    if (!atomic_load_explicit(&arena_timeline(point)->external, memory_order_relaxed) ||
        (!owners[slot] && owner_open(slot)) || !pin_take(&pin))
        return false;

    board = owners[slot]->board;
    found =
        atomic_load_explicit(&board->hints[point_stream(point)][point_value(point) % NATIVE_HINTS],
                             memory_order_acquire);
    if (!found || found > NATIVE_SLOTS)
        return false;
    found--;

    /* First the pin, then the look: who reclaims does it the other way round. */
    atomic_store(&owners[session.slot]->board->pins[pin], native_pin(slot, found));
    if (atomic_load(&board->slots[found].point) != point ||
        (!owners[slot]->pools[found / NATIVE_POOL_SLOTS] &&
         pool_open(slot, found / NATIVE_POOL_SLOTS)) ||
        !owners[slot]) {
        native_unpin(pin);
        return false;
    }
    ret_use->pool = owners[slot]->pools[found / NATIVE_POOL_SLOTS];
    ret_use->owner = slot;
    ret_use->slot = found;
    *ret_pin = pin;
    return true;
}

void native_unpin(uint32_t pin)
{
    if (session.slot != SESSION_NO_SLOT && owners[session.slot])
        atomic_store(&owners[session.slot]->board->pins[pin], 0);
}

/* ---- end ---------------------------------------------------------------------------------------------- */

void native_release_dead(void)
{
    for (uint32_t slot = 0; slot < BOARD_SLOTS; slot++)
        if (owners[slot] && slot != session.slot && arena_dead(slot)) {
            close_send(slot);
            owner_close(slot);
        }
}

void native_end(enum session_end why)
{
    if (why == SESSION_FORKED)
        backend = NULL;                 /* a child has no Level Zero */
    for (uint32_t slot = 0; slot < BOARD_SLOTS; slot++)
        if (owners[slot])
            owner_close(slot);
    n_free = 0;
}
