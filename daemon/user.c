/* SPDX-License-Identifier: MIT */
/* daemon/user.c: accounts.
 *
 * Guarantees of this file:
 *   - what was charged never exceeds the limit that was in force at that time;
 *   - a user is forgotten only when everything charged has been given back;
 *   - each user has one GPU context of its own, so no other user's memory is addressable in it.
 */
#include "daemon/user.h"
#include "daemon/allocator.h"
#include "daemon/gpu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const struct {
    const char *name;
    size_t limit;
    uint64_t slack;                     /* allowed beyond it */
} charges[CHARGE_COUNT] = {
    [CHARGE_SESSIONS] = { "sessions", offsetof(struct limits, user_sessions) },
    [CHARGE_STREAMS] = { "streams", offsetof(struct limits, user_streams) },
    [CHARGE_EXPORTS] = { "exports", offsetof(struct limits, user_exports) },
    [CHARGE_LEASES] = { "leases", offsetof(struct limits, user_leases) },
    [CHARGE_WATCHES] = { "watches", offsetof(struct limits, user_watches) },
    [CHARGE_ALLOCATIONS] = { "allocations", offsetof(struct limits, user_allocations) },
    [CHARGE_SEGMENTS] = { "segments", offsetof(struct limits, user_segments) },
    [CHARGE_NATIVE_SLOTS] = { "native-slots", offsetof(struct limits, user_native_slots) },
    [CHARGE_MEMORY] = { "memory", offsetof(struct limits, user_memory) },
    /* Segments begun, one of each size, are not of the user's making. */
    [CHARGE_RESERVED] = { "reserved", offsetof(struct limits, user_memory),
                          SMALL_SLAB + LARGE_SLAB },
    [CHARGE_HOST_MEMORY] = { "host-memory", offsetof(struct limits, user_host_memory) },
    [CHARGE_RING_BYTES] = { "ring-bytes", offsetof(struct limits, user_ring_bytes) },
    [CHARGE_MODULES] = { "modules", offsetof(struct limits, user_modules) },
    [CHARGE_MODULE_MEMORY] = { "module-memory", offsetof(struct limits, user_module_memory) },
    [CHARGE_GRAPH_COMMANDS] = { "graph-commands", offsetof(struct limits, user_graph_commands) },
    [CHARGE_QUEUED] = { "queued", offsetof(struct limits, user_queued) },
};

const char *charge_name(enum charge charge)
{
    return charges[charge].name;
}

uint64_t charge_limit(const struct limits *limits, enum charge charge)
{
    uint64_t limit = *(const uint64_t *)((const char *)limits + charges[charge].limit);
    uint64_t slack = charges[charge].slack;

    return limit < UINT64_MAX - slack ? limit + slack : UINT64_MAX;
}

int user_get(struct user **users, uid_t uid, struct gpu *gpu, const struct limits *limits,
             uv_loop_t *loop, struct user **ret_user)
{
    struct user *user;

    HASH_FIND(hh, *users, &uid, sizeof(uid), user);
    if (user) {
        *ret_user = user_ref(user);
        return 0;
    }

    user = calloc(1, sizeof(*user));
    if (!user)
        return -ENOMEM;
    user->gpu = gpu;
    user->uid = uid;
    user->refs = 1;
    user->users = users;
    user->limits = limits;
    user->loop = loop;
    HASH_ADD(hh, *users, uid, sizeof(uid), user);
    if (!HASH_ADDED(hh, user)) {
        free(user);
        return -ENOMEM;
    }
    *ret_user = user;
    return 0;
}

xpurt_result user_context(struct user *user, struct gpu_context **ret_context)
{
    if (!user->context) {
        xpurt_result result = gpu_context_new(user->gpu, &user->context);

        if (result)
            return result;
    }
    *ret_context = user->context;
    return XPURT_SUCCESS;
}

struct user *user_ref(struct user *user)
{
    user->refs++;
    return user;
}

void user_unref(struct user *user)
{
    if (!user || --user->refs)
        return;

    for (unsigned i = 0; i < CHARGE_COUNT; i++)
        assert(user->charged[i] == 0);
    assert(!user->blocks && !user->accounts && !user->n_releasing);
    assert(!user->modules && !user->n_unfinished && !user->behind);
    HASH_DEL(*user->users, user);
    gpu_context_free(user->context);
    free(user->allocators);
    free(user);
}

bool user_charge(struct user *user, enum charge charge, uint64_t amount)
{
    uint64_t limit = charge_limit(user->limits, charge);
    uint64_t charged = user->charged[charge];

    /* A limit may have been lowered below what is charged already. */
    if (charged > limit || amount > limit - charged)
        return false;
    user->charged[charge] += amount;
    return true;
}

void user_charge_always(struct user *user, enum charge charge, uint64_t amount)
{
    user->charged[charge] += amount;
}

void user_discharge(struct user *user, enum charge charge, uint64_t amount)
{
    assert(user->charged[charge] >= amount);
    user->charged[charge] -= amount;
}
