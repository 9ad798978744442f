/* SPDX-License-Identifier: MIT */
/* daemon/native.h: native boards and the event pools behind them, see proto/native.h. */
#pragma once

#include "proto/native.h"
#include "daemon/gpu.h"
#include "daemon/hash.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>

struct runtime;
struct session;

struct native_pool {
    struct native *native;              /* borrowed: we are in it */
    unsigned first;                     /* its slot 0 is this one of the board */
    struct gpu_pool *gpu;
};

/* References: the owner's, one of each session that opened it, one for each slot in use. */
struct native {
    struct resource resource;
    struct native *prev, *next;         /* of the same user */
    struct user *user;                  /* a reference */
    struct session *session;            /* NULL: gone */
    struct board *origin;               /* a reference: the slot stays the session's */
    struct runtime *runtime;            /* borrowed: outlives us */
    uint32_t owner;                     /* the session's slot */
    struct board_native *board;
    int fd;
    unsigned n_pools;
    struct native_pool pools[NATIVE_POOLS];
    struct promise *promises;           /* hash by slot: see native_signal() */
    unsigned n_retired;
    bool known[NATIVE_SLOTS];   /* the owner uses it and told us: it comes back through us */
    bool retired[NATIVE_SLOTS]; /* nobody holds it, but a pin may name it */
    bool pinned[NATIVE_SLOTS];  /* of native_settle() */
};

/* Another session's native board that this one has opened. */
struct native_lease {
    UT_hash_handle hh;
    uint32_t owner;
    struct native *native;              /* a reference */
};

void native_open(struct session *session, uint32_t serial, const Xpurt__NativeOpen *request);
void native_pool_open(struct session *session, uint32_t serial,
                      const Xpurt__NativePoolOpen *request);
void native_close(struct session *session, const Xpurt__NativeClose *command);

/* The session's own slot @p slot is signalled when the point is over; it stays claimed until it is
 * released. */
void native_signal(struct session *session, const Xpurt__NativeSignal *command);
void native_release(struct session *session, const Xpurt__NativeRelease *command);

/* A reference to the session's own slot @p slot, which it has claimed for something new. NULL: there
 * is none, or it is in use. */
struct gpu_slot *native_claim(struct session *session, uint32_t slot);

/* A reference to a slot of @p owner, whose board the session has opened (or owns). NULL: it has not, or
 * there is no such slot. The caller's pin is cleared, if @p pin is one. */
struct gpu_slot *native_take(struct session *session, uint32_t owner, uint32_t slot, uint32_t pin);

/* Give back what nobody holds and no pin names. Part of runtime_settle(). */
void native_settle(struct runtime *runtime);

/* The session is gone, and those who depend on it have failed: let go who waits for its slots. */
void native_end(struct session *session);
