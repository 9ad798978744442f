/* SPDX-License-Identifier: MIT */
/* daemon/user.h: what the sessions of one uid share: the account of its limits, its GPU context. */
#pragma once

#include "daemon/config.h"
#include "daemon/hash.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct account;
struct allocator;
struct gpu;
struct gpu_context;
struct runtime;
struct session;
struct slab;

enum charge {
    CHARGE_SESSIONS,
    CHARGE_STREAMS,
    CHARGE_EXPORTS,
    CHARGE_LEASES,
    CHARGE_WATCHES,
    CHARGE_ALLOCATIONS,
    CHARGE_SEGMENTS,
    CHARGE_NATIVE_SLOTS,
    CHARGE_MEMORY,                      /* bytes on devices, in use */
    CHARGE_RESERVED,                    /* bytes on devices, cached ones included */
    CHARGE_HOST_MEMORY,                 /* bytes pinned */
    CHARGE_RING_BYTES,
    CHARGE_MODULES,
    CHARGE_MODULE_MEMORY,               /* bytes of SPIR-V and native code */
    CHARGE_GRAPH_COMMANDS,
    CHARGE_QUEUED,                      /* commands that wait in streams */
    CHARGE_COUNT,
};

struct user {
    UT_hash_handle hh;
    uid_t uid;
    unsigned refs;
    struct user **users;                /* borrowed: the table we are in */
    const struct limits *limits;        /* borrowed: the configuration */
    uv_loop_t *loop;                    /* borrowed: for what takes long */
    struct gpu *gpu;                    /* borrowed: outlives us */
    struct gpu_context *context;        /* made when first needed, see user_context() */
    struct native *natives;             /* of its sessions: a list of native.c */
    bool natives_dirty;
    unsigned n_sessions;                /* that have said Hello and are not gone: without any
                                           nothing is cached */
    struct module *modules;             /* of all its sessions: hash by what is built */
    struct module *waiting_modules;     /* for a build worker */
    struct module *idle_modules;        /* used by no session, oldest first */
    uint64_t idle_bytes;                /* of those */
    uint64_t n_builds;                  /* workers that run */
    uint64_t n_unfinished;              /* what commands of all its sessions on the GPU hold */
    struct session *behind;             /* those of which we read no more, see session_balance() */
    void *blocks;                       /* leased by its sessions: a search tree of memory.c */
    struct account *accounts;           /* of its sessions: a list */

    /* Device memory, see cache.c. */
    struct runtime *runtime;            /* borrowed: outlives us */
    struct allocator *allocators;       /* of each device; NULL before the first allocation */
    struct slab *evicted, *releasing;   /* to go back to the driver; going right now */
    unsigned n_releasing;               /* slabs in both; each has a reference to us */
    uv_work_t release;
    uint64_t driver_allocations, driver_frees, scrubbed_bytes;

    uint64_t charged[CHARGE_COUNT];
};

/* The user of @p uid; made when it is the first session. -ENOMEM. */
int user_get(struct user **users, uid_t uid, struct gpu *gpu, const struct limits *limits,
             uv_loop_t *loop, struct user **ret_user);
struct user *user_ref(struct user *user);
void user_unref(struct user *user);

/* The user's GPU context: made by the first one that needs it. */
xpurt_result user_context(struct user *user, struct gpu_context **ret_context);

/* false: the limit does not allow @p amount more; nothing was charged. */
bool user_charge(struct user *user, enum charge charge, uint64_t amount);
/* The same where it must be: over the limit, if need be. */
void user_charge_always(struct user *user, enum charge charge, uint64_t amount);
void user_discharge(struct user *user, enum charge charge, uint64_t amount);

/* The limit's name and value, for messages and counters. */
const char *charge_name(enum charge charge);
uint64_t charge_limit(const struct limits *limits, enum charge charge);
