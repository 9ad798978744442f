/* SPDX-License-Identifier: MIT */
/* daemon/segment.h: host memory that daemon and client both map. */
#pragma once

#include "daemon/hash.h"
#include "daemon/resource.h"
#include "proto/xpurt.pb-c.h"

#include <stdint.h>

struct session;
struct user;

/* Pinned host memory. References: the session's, one for each unfinished use. */
struct segment {
    struct resource resource;
    UT_hash_handle hh;
    struct user *user;                  /* a reference */
    uint32_t id;
    uint64_t size;
    void *bytes;
};

void host_alloc(struct session *session, uint32_t serial, const Xpurt__HostAlloc *request);
void host_free(struct session *session, const Xpurt__HostFree *command);
