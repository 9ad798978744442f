/* SPDX-License-Identifier: MIT */
/* fence.h: fences, and the command queues they belong to. */
#ifndef SOFT_FENCE_H
#define SOFT_FENCE_H

#include "queue.h"

struct _ze_fence_handle_t {
    _Atomic uint32_t refs;
    struct cell cell;
    struct queue *queue;                /* a reference */
};

struct _ze_command_queue_handle_t {
    struct queue *queue;                /* a reference */
    ze_context_handle_t context;
    uint32_t ordinal, index;
    ze_command_queue_flags_t flags;
    ze_command_queue_mode_t mode;
    ze_command_queue_priority_t priority;
};

void fence_unref(ze_fence_handle_t fence);

#endif
