/* SPDX-License-Identifier: MIT */
/* client/native.h: native boards from the client's side, see proto/native.h. The lock is held. */
#pragma once

#include "proto/native.h"
#include "client/private.h"
#include "client/session.h"

/* A slot, and where its event is. */
struct native_use {
    const struct xpurtp_pool *pool;
    uint32_t owner;                     /* the slot of its session */
    uint32_t slot;
};

/* The caller's own board, with room for a first claim. The lock is free meanwhile. */
xpurt_result native_begin(const struct xpurtp_backend *used);

/* Take one of the caller's own slots; not signalled. Waits a while where all are in use: the lock is
 * free meanwhile. */
xpurt_result native_claim(struct native_use *ret_use);

/* The claimed slot was not used after all. */
void native_unclaim(const struct native_use *use);

/* @p use was put behind all that @p point tells of: others may find it. */
void native_tell(const struct native_use *use, uint64_t point);

/* Which own slot event @p index of pool @p id is. False: none. */
bool native_pool_find(uint64_t id, unsigned index, uint32_t *ret_slot);

/* Find the slot of another external stream's point, and pin it until the daemon has seen an ExternalWait
 * with that pin. False: there is none. The lock is free meanwhile. */
bool native_pin_point(uint64_t point, struct native_use *ret_use, uint32_t *ret_pin);
void native_unpin(uint32_t pin);

/* Unmap the boards of dead sessions. */
void native_release_dead(void);

/* Forget all of it. */
void native_end(enum session_end why);
