/* SPDX-License-Identifier: MIT */
/* client/ze/context.h: what is opened in one Level Zero context of the caller. */
#pragma once

#include "client/private.h"

#include <xpurt/ze.h>

#include <pthread.h>
#include <stdbool.h>
#include <uthash.h>

/* A pool of the daemon's, opened in a context; its events as far as they were asked for. */
struct opened_pool {
    UT_hash_handle hh;
    uint64_t id;                        /* xpurtp_pool's */
    ze_event_pool_handle_t handle;
    unsigned count;
    ze_event_handle_t events[];         /* NULL: not yet */
};

/* An allocation of the daemon's, opened in a context. */
struct opened_memory {
    UT_hash_handle hh;
    void *base;                         /* in xpurt */
    void *native;                       /* in the context */
    size_t size;
    unsigned count;                     /* times opened */
};

struct context {
    UT_hash_handle hh;
    ze_context_handle_t handle;
    ze_driver_handle_t driver;
    struct opened_pool *pools;          /* hash by id */
    struct opened_memory *memory;       /* hash by base */
    unsigned n_streams;
};

/* ---- the lock is held: context_lock() ----------------------------------------------------------- */

/* Guards all contexts. libxpurt calls back with its own lock held, so that it is not to be called
 * with this one held. */
void context_lock(void);
void context_unlock(void);

/* What is known of a context; made when it is new. NULL: no memory. */
struct context *context_get(const xpurt_ze_context *from);
struct context *context_find(ze_context_handle_t handle);

/* The event in the context; opens its pool when that is needed. */
xpurt_result context_event(struct context *context, const struct xpurtp_pool *pool, unsigned index,
                           ze_event_handle_t *ret_event);

/* Which pool and index @p event is; false: none of those opened here. */
bool context_event_find(struct context *context, ze_event_handle_t event, uint64_t *ret_pool,
                        unsigned *ret_index);

/* Signal every event of every context. */
void contexts_abandon(void);

/* ---- without the lock ------------------------------------------------------------------------------ */

/* Driver and devices of the context must be the daemon's; @p device (may be NULL) one of them, whose
 * number is *ret_index. */
xpurt_result context_check(const xpurt_ze_context *context, ze_device_handle_t device,
                           int *ret_index);

/* @p bytes with a descriptor of ours in it that the driver may take over; -1: no descriptor left. */
int handle_patch(unsigned char bytes[64], const unsigned char original[64], int fd);

xpurt_result ze_error(const char *call, ze_result_t result);
