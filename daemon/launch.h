/* SPDX-License-Identifier: MIT */
/* daemon/launch.h: a kernel on its way to the GPU. */
#pragma once

#include "daemon/gpu.h"
#include "daemon/module.h"
#include "proto/xpurt.pb-c.h"

struct move;
struct runtime;
struct session;
struct stream;

/* A checked launch, in one piece of memory: it may have to wait in the daemon. It owns a reference to
 * each resource in `holds`: the module and the memory of its arguments. */
struct launch {
    struct gpu_kernel *kernel;          /* borrowed from the module */
    const struct parameter *parameters; /* likewise */
    size_t size;                        /* of all of it */
    struct runtime *runtime;            /* likewise: where it goes back to */
    uint32_t groups[3], group_size[3];
    unsigned n_holds, n_arguments;
    struct resource **holds;
    struct gpu_argument *arguments;
};

/* Check a launch and give it to the stream, which fails when something is wrong. */
void launch_submit(struct session *session, struct stream *stream, const Xpurt__Launch *message);

void launch_free(struct launch *launch);

/* Another one that is equal, with references of its own; NULL: no memory. */
struct launch *launch_clone(const struct launch *launch);

/* Move its arguments, see transfer.h; how many were moved. -EINVAL: not to where kernels may go. */
int launch_move(struct launch *launch, const struct move *move);
