/* SPDX-License-Identifier: MIT */
/* client/module.h: modules as kernels use them. */
#pragma once

#include "client/pool.h"
#include "client/session.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/module.h>

struct xpurt_module {
    struct pool_object object;
    uint32_t epoch;                     /* of the session it belongs to */
    uint32_t id;                        /* on the wire */
    uint32_t device;
    Xpurt__ModuleContents *contents;
    struct xpurt_kernel **kernels;      /* by number; NULL: nobody has asked for it */
};

/* Whether @p module can be used. The lock is held. */
xpurt_result module_check(xpurt_module *module);

/* Its kernels are of no use any more. The lock is held. */
void kernels_end(xpurt_module *module);
void kernels_outdate(void);

/* The session ends: its modules are of no use any more; after a reset not even live. */
void modules_end(enum session_end why);
