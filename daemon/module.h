/* SPDX-License-Identifier: MIT */
/* daemon/module.h: modules: built once for all sessions of a user, launched by those that have them.
 *
 *      WAITING --> BUILDING --> LOADING --> READY
 *    for its turn  in a worker  in the pool
 */
#pragma once

#include "daemon/build.h"
#include "daemon/hash.h"
#include "daemon/resource.h"
#include "proto/xpurt.pb-c.h"

struct session;
struct user;

struct kernel {
    struct gpu_kernel *gpu;             /* NULL: it cannot be launched */
    uint32_t n_parameters;
    struct parameter {
        uint32_t kind;                  /* enum xpurt_arg_kind */
        uint32_t size;
    } *parameters;
};

enum module_state { MODULE_WAITING, MODULE_BUILDING, MODULE_LOADING, MODULE_READY };

/* References: one for each lease, each request under way, each unfinished launch. Without any it is
 * kept for a while in its user's list of idle ones. */
struct module {
    struct resource resource;
    UT_hash_handle hh;          /* in its user's modules, by what is built */
    struct module *prev, *next; /* MODULE_WAITING: in the queue; READY and idle: among those */
    struct user *user;          /* a reference; borrowed while it is idle */
    struct runtime *runtime;    /* borrowed: outlives us */
    enum module_state state;
    bool abandoned;                     /* nobody wants it any more, but it is still being made */
    uint64_t charged;                   /* CHARGE_MODULE_MEMORY, unless idle */

    const struct build_source *source;  /* mapped */
    size_t source_size;
    int source_fd;                      /* until it is built; then -1 */
    uint32_t device;
    struct module_request *requests;    /* who waits for it */
    struct build *build;                /* MODULE_BUILDING */
    struct build_end end;               /* MODULE_LOADING */
    uv_work_t work;                     /* MODULE_LOADING, and at its end */

    struct gpu_module *gpu;             /* MODULE_READY, like all below */
    struct kernel *kernels;
    size_t n_kernels;
    uint8_t *contents;                  /* packed, for clients */
    size_t contents_size;
    size_t native_size;
    xpurt_result result;                /* of building and loading */
    char text[400];
};

/* What makes a module the session's own. */
struct module_lease {
    UT_hash_handle hh;
    uint32_t id;
    struct module *module;
};

void module_load(struct session *session, uint32_t serial, const Xpurt__ModuleLoad *request);
void module_unload(struct session *session, const Xpurt__ModuleUnload *command);
void kernel_suggest(struct session *session, uint32_t serial, const Xpurt__KernelSuggest *request);

/* The session's module of that number; NULL: there is none. */
struct module *module_find(struct session *session, uint32_t id);

/* The session is gone: give back what nobody else uses. */
void module_end(struct session *session);
