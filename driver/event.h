/* SPDX-License-Identifier: MIT */
/* event.h: events and the pools they live in. */
#ifndef SOFT_EVENT_H
#define SOFT_EVENT_H

#include "cell.h"
#include "command.h"
#include "device.h"

/* One event of a pool, in memory that may be shared with other processes (same build). */
struct slot {
    struct cell cell;                   /* value 1: signalled */
    _Atomic uint64_t start, end;        /* ticks, where the pool has time stamps */
    uint64_t reserved[4];
};
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");

struct pool_header {
    uint64_t magic;
    uint32_t count;
    uint32_t flags;
    struct doorbell bell;
    uint8_t reserved[44];
};
_Static_assert(sizeof(struct pool_header) == 64, "slots stay aligned");

struct _ze_event_pool_handle_t {
    _Atomic uint32_t refs;              /* the handle and each event */
    ze_context_handle_t context;        /* borrowed: the application destroys it last */
    ze_event_pool_flags_t flags;
    uint32_t count;
    bool counter_based;
    bool imported;
    int fd;                             /* of an IPC pool; -1 when given away or imported */
    struct pool_header *header;
    size_t mapped;                      /* bytes; 0: the header is on the heap */
};

struct _ze_event_handle_t {
    _Atomic uint32_t refs;
    ze_event_pool_handle_t pool; /* a reference; NULL for counter-based events without pool */
    struct cell *cell;           /* inside slot; unused by counter-based events */
    struct doorbell *bell;       /* NULL: nobody outside this process signals it */
    struct slot *slot;
    ze_event_scope_flags_t signal_scope, wait_scope;
    bool timestamps;
    _Atomic(ze_device_handle_t) device; /* where a signal was last appended; may be NULL */
    struct counter *counter;            /* counter-based events only */
};

static inline void event_ref(ze_event_handle_t event)
{
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
}
void event_unref(ze_event_handle_t event);

bool event_is_complete(ze_event_handle_t event);
void event_capture(ze_event_handle_t event, struct wait *ret_wait); /* takes references */
void event_signal(ze_event_handle_t event, uint64_t start);
void event_reset(ze_event_handle_t event);
ze_result_t event_timestamp_result(ze_event_handle_t event,
                                   ze_kernel_timestamp_result_t *ret_result);

void pool_unref(ze_event_pool_handle_t pool);
static inline struct slot *pool_slot(ze_event_pool_handle_t pool, uint32_t index)
{
    return (struct slot *)(pool->header + 1) + index;
}

#endif
