/* SPDX-License-Identifier: MIT */
/* daemon/memory.h: device memory of a session, and what is at an address. */
#pragma once

#include "daemon/hash.h"
#include "daemon/resource.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <stdint.h>

#define MEMORY_LARGE (UINT64_C(64) << 20) /* slower than a hundred commands: off the loop */

struct block;
struct session;
struct token;

/* What makes a block the session's: it allocated or opened it. */
struct memory_lease {
    UT_hash_handle hh;
    uint64_t address;                   /* of the block */
    unsigned count;                     /* times allocated (1) or opened */
    bool charged;                       /* CHARGE_LEASES: it began with opening */
    bool own;                           /* it began with allocating */
    struct block *block;                /* a reference */
    uint32_t entry;                     /* 1 + that in the magazine; 0: none */
    uint32_t stream;                    /* 1 + the stream it was allocated for; 0: none */
    uint64_t *recorded;                 /* bits: streams named by MemoryRecord; NULL: none */
    struct token *tokens;               /* handles made through this lease: hash by offset */
};

void memory_alloc(struct session *session, uint32_t serial, const Xpurt__MemoryAlloc *request);
void memory_export(struct session *session, uint32_t serial, const Xpurt__MemoryExport *request);
void memory_open(struct session *session, uint32_t serial, const Xpurt__MemoryOpen *request);
void memory_native(struct session *session, uint32_t serial, const Xpurt__MemoryNative *request);
void memory_free(struct session *session, const Xpurt__MemoryFree *command);
void memory_record(struct session *session, const Xpurt__MemoryRecord *command);
void memory_limit(struct session *session, const Xpurt__MemoryLimit *command);

/* Where @p location is, when all @p size bytes lie in one piece of the session's own memory.
 * @p ret_resource is what lives there, borrowed. */
xpurt_result memory_locate(struct session *session, const Xpurt__Location *location, uint64_t size,
                           void **ret_bytes, struct resource **ret_resource);

/* The client has freed a block of its magazine, and the daemon wants it. */
void memory_take_back(struct session *session, struct memory_lease *lease);

/* Nobody refers to a block any more: allocator.unused. */
void memory_unused(struct resource *resource);

/* The session is gone: give back what nobody else uses. */
void memory_end(struct session *session);
