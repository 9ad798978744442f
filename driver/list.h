/* SPDX-License-Identifier: MIT */
/* list.h: command lists. An immediate list is a queue; a regular one is a recording. */
#ifndef SOFT_LIST_H
#define SOFT_LIST_H

#include "counter.h"
#include "queue.h"

/* The commands of a regular list. Shared by the list and its executions, fixed once closed. */
struct recording {
    _Atomic uint32_t refs;
    struct command *head, **tail;
    uint64_t weight;                    /* of all commands together */
    uint64_t counter_signals;           /* values of the timeline that one execution takes */
};

struct _ze_command_list_handle_t {
    ze_context_handle_t context;
    ze_device_handle_t device;
    uint32_t ordinal, index;
    uint32_t flags;
    ze_command_queue_mode_t mode;
    ze_command_queue_priority_t priority;
    bool in_order, closed;
    struct queue *queue;                /* immediate lists; a reference */
    struct recording *recording;        /* regular lists; a reference */
    struct timeline *timeline;          /* once a counter-based event was appended; a reference */
};

/* Appends a command built by the caller; checks what all appends have in common. */
ze_result_t list_append(ze_command_list_handle_t list, struct command *command,
                        ze_event_handle_t signal, uint32_t wait_count, ze_event_handle_t *waits);

/* Runs recordings on a queue, then signals @p fence (or NULL). @p template has signal and waits. */
ze_result_t list_execute(struct queue *queue, uint32_t count, ze_command_list_handle_t *lists,
                         ze_fence_handle_t fence, ze_event_handle_t signal, uint32_t wait_count,
                         ze_event_handle_t *waits);

bool group_exists(uint32_t ordinal);
void recording_unref(struct recording *recording);

/* the appends: append.c, append_region.c, launch.c */
ze_result_t append_barrier(ze_command_list_handle_t list, ze_event_handle_t signal,
                           uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_ranges_barrier(ze_command_list_handle_t list, uint32_t count,
                                  const size_t *sizes, const void **ranges,
                                  ze_event_handle_t signal, uint32_t wait_count,
                                  ze_event_handle_t *waits);
ze_result_t append_write_global_timestamp(ze_command_list_handle_t list, uint64_t *destination,
                                          ze_event_handle_t signal, uint32_t wait_count,
                                          ze_event_handle_t *waits);
ze_result_t append_query_kernel_timestamps(ze_command_list_handle_t list, uint32_t count,
                                           ze_event_handle_t *events, void *destination,
                                           const size_t *offsets, ze_event_handle_t signal,
                                           uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_signal_event(ze_command_list_handle_t list, ze_event_handle_t event);
ze_result_t append_wait_on_events(ze_command_list_handle_t list, uint32_t count,
                                  ze_event_handle_t *events);
ze_result_t append_event_reset(ze_command_list_handle_t list, ze_event_handle_t event);
ze_result_t append_memory_prefetch(ze_command_list_handle_t list, const void *pointer, size_t size);
ze_result_t append_mem_advise(ze_command_list_handle_t list, ze_device_handle_t device,
                              const void *pointer, size_t size, ze_memory_advice_t advice);

ze_result_t append_memory_copy(ze_command_list_handle_t list, void *destination, const void *source,
                               size_t size, ze_event_handle_t signal, uint32_t wait_count,
                               ze_event_handle_t *waits);
ze_result_t append_memory_copy_with_parameters(ze_command_list_handle_t list, void *destination,
                                               const void *source, size_t size, const void *next,
                                               ze_event_handle_t signal, uint32_t wait_count,
                                               ze_event_handle_t *waits);
ze_result_t append_memory_copy_from_context(ze_command_list_handle_t list, void *destination,
                                            ze_context_handle_t source_context, const void *source,
                                            size_t size, ze_event_handle_t signal,
                                            uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_memory_fill(ze_command_list_handle_t list, void *pointer, const void *pattern,
                               size_t pattern_size, size_t size, ze_event_handle_t signal,
                               uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_memory_fill_with_parameters(ze_command_list_handle_t list, void *pointer,
                                               const void *pattern, size_t pattern_size,
                                               size_t size, const void *next,
                                               ze_event_handle_t signal, uint32_t wait_count,
                                               ze_event_handle_t *waits);
ze_result_t append_memory_copy_region(ze_command_list_handle_t list, void *destination,
                                      const ze_copy_region_t *destination_region,
                                      uint32_t destination_pitch, uint32_t destination_slice_pitch,
                                      const void *source, const ze_copy_region_t *source_region,
                                      uint32_t source_pitch, uint32_t source_slice_pitch,
                                      ze_event_handle_t signal, uint32_t wait_count,
                                      ze_event_handle_t *waits);

ze_result_t append_launch_kernel(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, ze_event_handle_t signal,
                                 uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_launch_cooperative_kernel(ze_command_list_handle_t list,
                                             ze_kernel_handle_t kernel,
                                             const ze_group_count_t *groups,
                                             ze_event_handle_t signal, uint32_t wait_count,
                                             ze_event_handle_t *waits);
ze_result_t append_launch_kernel_indirect(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                          const ze_group_count_t *groups, ze_event_handle_t signal,
                                          uint32_t wait_count, ze_event_handle_t *waits);
ze_result_t append_launch_multiple_kernels_indirect(ze_command_list_handle_t list, uint32_t count,
                                                    ze_kernel_handle_t *kernels,
                                                    const uint32_t *launched,
                                                    const ze_group_count_t *groups,
                                                    ze_event_handle_t signal, uint32_t wait_count,
                                                    ze_event_handle_t *waits);
ze_result_t append_launch_kernel_with_parameters(ze_command_list_handle_t list,
                                                 ze_kernel_handle_t kernel,
                                                 const ze_group_count_t *groups, const void *next,
                                                 ze_event_handle_t signal, uint32_t wait_count,
                                                 ze_event_handle_t *waits);
ze_result_t append_launch_kernel_with_arguments(ze_command_list_handle_t list,
                                                ze_kernel_handle_t kernel, ze_group_count_t groups,
                                                newer_group_size_t sizes, void **arguments,
                                                const void *next, ze_event_handle_t signal,
                                                uint32_t wait_count, ze_event_handle_t *waits);

#endif
