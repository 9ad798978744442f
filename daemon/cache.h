/* SPDX-License-Identifier: MIT */
/* daemon/cache.h: segments on their way from and to the driver. */
#pragma once

#include "daemon/allocator.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <stdint.h>

struct runtime;
struct session;
struct user;

/* Somebody who goes on when memory that is on its way back has arrived at the driver. */
struct cache_waiter {
    struct cache_waiter *prev, *next;
    struct user *user;                  /* this one's; NULL: everybody's */
    uint64_t eviction;                  /* the last one that it waits for */
    void (*go)(struct cache_waiter *waiter);
};

/* The user's allocator of a device; NULL: no memory. */
struct allocator *cache_allocator(struct user *user, uint32_t device);

/* Start giving back what no block uses: of one user; of all users, on one device. */
void cache_trim(struct user *user);
void cache_press(struct runtime *runtime, uint32_t device);

/* The same for one segment, when no block uses it. */
void cache_unused(struct user *user, struct slab *slab);

/* Take back what clients freed and keep for themselves, of one session or of all of the user's. */
void cache_reclaim(struct session *session);
void cache_reclaim_user(const struct user *user);

/* See what is done, so that what it used is free: of all the user's sessions. */
void cache_observe(const struct user *user);

/* Whether anything that the waiter would wait for is on its way. */
bool cache_busy(const struct runtime *runtime, const struct cache_waiter *waiter);
void cache_wait(struct runtime *runtime, struct cache_waiter *waiter);

/* For a client: give back all that can be, and answer when it has arrived. */
void memory_trim(struct session *session, uint32_t serial);
