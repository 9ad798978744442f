/* SPDX-License-Identifier: MIT */
/* daemon/memory.h: device memory, and host memory that daemon and client both map. */
#pragma once

#include "daemon/resource.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct session;
struct token;
struct user;

/* A piece of device memory. References: one for each lease, one for each unfinished use. */
struct allocation {
    struct resource resource;
    struct user *user;                  /* a reference */
    uint64_t address;
    uint64_t size;
    uint32_t device;
};

/* What makes an allocation the session's own: it allocated or opened it. */
struct memory_lease {
    UT_hash_handle hh;
    uint64_t address;                   /* of the allocation */
    unsigned count;                     /* times allocated (1) or opened */
    bool charged;                       /* CHARGE_LEASES: it began with opening */
    struct allocation *allocation;
    struct token *tokens;               /* handles made through this lease: hash by offset */
};

/* Pinned host memory. References: the session's, one for each unfinished use. */
struct segment {
    struct resource resource;
    UT_hash_handle hh;
    struct user *user;                  /* a reference */
    uint32_t id;
    uint64_t size;
    void *bytes;
};

void memory_alloc(struct session *session, uint32_t serial, const Xpurt__MemoryAlloc *request);
void memory_info(struct session *session, uint32_t serial, const Xpurt__MemoryInfo *request);
void memory_export(struct session *session, uint32_t serial, const Xpurt__MemoryExport *request);
void memory_open(struct session *session, uint32_t serial, const Xpurt__MemoryOpen *request);
void memory_native(struct session *session, uint32_t serial, const Xpurt__MemoryNative *request);
void memory_free(struct session *session, const Xpurt__MemoryFree *command);
void host_alloc(struct session *session, uint32_t serial, const Xpurt__HostAlloc *request);
void host_free(struct session *session, const Xpurt__HostFree *command);

/* Where @p location is, when all @p size bytes lie in one piece of the session's own memory.
 * @p ret_resource is what lives there, borrowed. */
xpurt_result memory_locate(struct session *session, const Xpurt__Location *location, uint64_t size,
                           void **ret_bytes, struct resource **ret_resource);

/* The session is gone: give back what nobody else uses. */
void memory_end(struct session *session);
