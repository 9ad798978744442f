/* SPDX-License-Identifier: MIT */
/* counter.h: counter-based events. Such an event has no state of its own: it stands for a value of
 * the timeline of the in-order list it was last appended to, and is born complete.
 */
#ifndef SOFT_COUNTER_H
#define SOFT_COUNTER_H

#include "event.h"

struct timeline {
    _Atomic uint32_t refs;
    uint64_t issued;                    /* the list's side; only the appending thread */
    struct cell *cell;                  /* its value: what is complete */
    struct doorbell *bell;              /* NULL: private */
    struct pool_header *header;         /* where the cell is; NULL: own_cell */
    int fd;
    struct cell own_cell;
};

struct counter;                         /* counter.c */

void timeline_unref(struct timeline *timeline);
static inline void timeline_ref(struct timeline *timeline)
{
    atomic_fetch_add_explicit(&timeline->refs, 1, memory_order_relaxed);
}

/* Makes a timeline in *timeline fit to signal @p event: a new one if there is none yet, or if the
 * event can be shared and the timeline cannot. */
ze_result_t timeline_provide(struct timeline **timeline, ze_event_handle_t event);

/* @p event stands for this value from now on. */
void counter_point(ze_event_handle_t event, struct timeline *timeline, uint64_t value);
/* The value is reached. */
void counter_signal(ze_event_handle_t event, struct timeline *timeline, uint64_t value,
                    uint64_t start);
void counter_capture(ze_event_handle_t event, struct wait *ret_wait);
void counter_timestamps(ze_event_handle_t event, uint64_t *ret_start, uint64_t *ret_end);
bool counter_for_regular(ze_event_handle_t event);
void counter_free(struct counter *counter);

ze_result_t counter_create_in_pool(ze_event_pool_handle_t pool, const ze_event_desc_t *desc,
                                   ze_event_handle_t *ret_event);

ze_result_t counter_create(ze_context_handle_t context, ze_device_handle_t device,
                           const newer_event_counter_based_desc_t *desc, ze_event_handle_t *event);
ze_result_t counter_get_ipc_handle(ze_event_handle_t event,
                                   newer_ipc_event_counter_based_handle_t *handle);
ze_result_t counter_open_ipc_handle(ze_context_handle_t context,
                                    newer_ipc_event_counter_based_handle_t handle,
                                    ze_event_handle_t *event);
ze_result_t counter_close_ipc_handle(ze_event_handle_t event);
ze_result_t counter_get_device_address(ze_event_handle_t event, uint64_t *value, uint64_t *address);

#endif
