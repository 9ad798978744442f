/* SPDX-License-Identifier: MIT */
/* list.c: command lists.
 *
 * Guarantees of this file:
 *   - a short command on an idle immediate list is done when the append returns, without a copy, a
 *     lock or another thread;
 *   - a list is executed in order: legal for every kind of list, so flags change nothing;
 *   - a list that is reset or destroyed while it runs goes on running from its recording.
 */
#include "list.h"

#include "ddi.h"
#include "fence.h"

static struct recording *recording_new(void)
{
    struct recording *recording = calloc(1, sizeof(*recording));

    if (!recording)
        return NULL;
    atomic_init(&recording->refs, 1);
    recording->tail = &recording->head;
    return recording;
}

void recording_unref(struct recording *recording)
{
    struct command *command, *next;

    if (!recording || atomic_fetch_sub(&recording->refs, 1) != 1)
        return;
    for (command = recording->head; command; command = next) {
        next = command->next;
        command_free(command);
    }
    free(recording);
}

static void recording_add(struct recording *recording, struct command *command)
{
    *recording->tail = command;
    recording->tail = &command->next;
    recording->weight += command->weight + COMMAND_WEIGHT;
}

static bool all_complete(uint32_t count, ze_event_handle_t *events)
{
    for (uint32_t i = 0; i < count; i++)
        if (!event_is_complete(events[i]))
            return false;
    return true;
}

static ze_result_t append_immediate(ze_command_list_handle_t list, struct command *command,
                                    uint32_t wait_count, ze_event_handle_t *waits)
{
    bool synchronous = list->mode == ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS;
    bool claimed = queue_claim(list->queue);
    struct command *copy;

    if (LIKELY(claimed && (synchronous || command_is_short(command)) &&
               all_complete(wait_count, waits))) {
        if (command->signal)
            event_ref(command->signal); /* whoever sees it signalled may destroy it */
        if (UNLIKELY(command->timeline))
            counter_point(command->signal, command->timeline, command->value);
        command_run(command, list->device, 0);
        event_unref(command->signal);
        queue_release(list->queue);
        REQUIRE(!atomic_load_explicit(&list->device->lost, memory_order_relaxed), DEVICE_LOST);
        return ZE_RESULT_SUCCESS;
    }
    copy = command_copy(command, wait_count, waits);
    if (!copy) {
        if (claimed)
            queue_release(list->queue);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (command->timeline)
        counter_point(command->signal, command->timeline, command->value);
    queue_push(list->queue, copy, claimed);
    return synchronous ? queue_wait(list->queue, UINT64_MAX) : ZE_RESULT_SUCCESS;
}

static ze_result_t append_recorded(ze_command_list_handle_t list, const struct command *command,
                                   uint32_t wait_count, ze_event_handle_t *waits)
{
    struct command *copy;

    REQUIRE(!list->closed, INVALID_ARGUMENT);
    copy = command_copy(command, wait_count, waits);
    REQUIRE(copy, OUT_OF_HOST_MEMORY);
    recording_add(list->recording, copy);
    return ZE_RESULT_SUCCESS;
}

/* Gives a counter-based signal its value: here for immediate lists, per execution for others. */
static ze_result_t append_counter(ze_command_list_handle_t list, struct command *command)
{
    ze_result_t result;

    REQUIRE(list->in_order && (list->queue || counter_for_regular(command->signal)),
            INVALID_ARGUMENT);
    result = timeline_provide(&list->timeline, command->signal);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    command->timeline = list->timeline;
    command->value = list->queue ? ++list->timeline->issued : ++list->recording->counter_signals;
    return ZE_RESULT_SUCCESS;
}

ze_result_t list_append(ze_command_list_handle_t list, struct command *command,
                        ze_event_handle_t signal, uint32_t wait_count, ze_event_handle_t *waits)
{
    REQUIRE(waits || !wait_count, INVALID_SIZE);
    for (uint32_t i = 0; i < wait_count; i++)
        REQUIRE_HANDLE(waits[i]);
    REQUIRE(!atomic_load_explicit(&list->device->lost, memory_order_relaxed), DEVICE_LOST);
    command->signal = signal;
    if (signal) {
        if (UNLIKELY(signal->counter)) {
            ze_result_t result = append_counter(list, command);

            if (result != ZE_RESULT_SUCCESS)
                return result;
        }
        if (atomic_load_explicit(&signal->device, memory_order_relaxed) != list->device)
            atomic_store_explicit(&signal->device, list->device, memory_order_relaxed);
    }
    return list->queue ? append_immediate(list, command, wait_count, waits) :
                         append_recorded(list, command, wait_count, waits);
}

bool group_exists(uint32_t ordinal)
{
    return ordinal < GROUP_COUNT;
}

static ze_result_t list_new(ze_context_handle_t context, ze_device_handle_t device,
                            uint32_t ordinal, ze_command_list_handle_t *ret_list)
{
    ze_command_list_handle_t list;

    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    REQUIRE(group_exists(ordinal), INVALID_ARGUMENT);
    REQUIRE(!atomic_load(&device->lost), DEVICE_LOST);
    list = calloc(1, sizeof(*list));
    REQUIRE(list, OUT_OF_HOST_MEMORY);
    list->context = context;
    list->device = device;
    list->ordinal = ordinal;
    *ret_list = list;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_create(ze_context_handle_t context, ze_device_handle_t device,
                               const ze_command_list_desc_t *desc,
                               ze_command_list_handle_t *ret_list)
{
    ze_command_list_handle_t list;
    ze_result_t result;

    ENTER(zeCommandListCreate);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_list);
    REQUIRE(desc->flags <= NEWER_COMMAND_LIST_FLAGS, INVALID_ENUMERATION);
    result = list_new(context, device, desc->commandQueueGroupOrdinal, &list);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    list->flags = desc->flags;
    list->in_order = desc->flags & NEWER_COMMAND_LIST_FLAG_IN_ORDER;
    list->recording = recording_new();
    if (!list->recording) {
        free(list);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *ret_list = list;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_create_immediate(ze_context_handle_t context, ze_device_handle_t device,
                                         const ze_command_queue_desc_t *desc,
                                         ze_command_list_handle_t *ret_list)
{
    ze_command_list_handle_t list;
    ze_result_t result;

    ENTER(zeCommandListCreateImmediate);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_list);
    REQUIRE(desc->flags <= NEWER_COMMAND_QUEUE_FLAGS, INVALID_ENUMERATION);
    REQUIRE((unsigned)desc->mode <= ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS, INVALID_ENUMERATION);
    REQUIRE((unsigned)desc->priority <= ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_HIGH,
            INVALID_ENUMERATION);
    REQUIRE(desc->index < GROUP_QUEUES, INVALID_ARGUMENT);
    result = list_new(context, device, desc->ordinal, &list);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    list->index = desc->index;
    list->flags = desc->flags;
    list->mode = desc->mode;
    list->priority = desc->priority;
    list->in_order = desc->flags & NEWER_COMMAND_QUEUE_FLAG_IN_ORDER;
    list->queue = queue_new(device, desc->priority);
    if (!list->queue) {
        free(list);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *ret_list = list;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_destroy(ze_command_list_handle_t list)
{
    ENTER(zeCommandListDestroy);
    REQUIRE_HANDLE(list);
    queue_unref(list->queue);
    recording_unref(list->recording);
    timeline_unref(list->timeline);
    free(list);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_close(ze_command_list_handle_t list)
{
    ENTER(zeCommandListClose);
    REQUIRE_HANDLE(list);
    list->closed = !list->queue;        /* an immediate list has nothing to close */
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_reset(ze_command_list_handle_t list)
{
    struct recording *recording;

    ENTER(zeCommandListReset);
    REQUIRE_HANDLE(list);
    REQUIRE(list->recording, INVALID_ARGUMENT);
    recording = recording_new();
    REQUIRE(recording, OUT_OF_HOST_MEMORY);
    recording_unref(list->recording);
    list->recording = recording;
    list->closed = false;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_host_synchronize(ze_command_list_handle_t list, uint64_t timeout)
{
    ENTER(zeCommandListHostSynchronize);
    REQUIRE_HANDLE(list);
    REQUIRE(list->queue, INVALID_ARGUMENT);
    return queue_wait(list->queue, timeout);
}

static ze_result_t list_create_clone(ze_command_list_handle_t list,
                                     ze_command_list_handle_t *ret_clone)
{
    ze_command_list_handle_t clone;
    struct command *copy;

    ENTER(zeCommandListCreateCloneExp);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_clone);
    REQUIRE(list->closed && list->flags & NEWER_COMMAND_LIST_FLAG_EXP_CLONEABLE, INVALID_ARGUMENT);
    clone = malloc(sizeof(*clone));
    REQUIRE(clone, OUT_OF_HOST_MEMORY);
    *clone = *list;
    clone->recording = recording_new();
    if (clone->timeline)
        timeline_ref(clone->timeline);
    for (const struct command *from = list->recording->head; clone->recording && from;
         from = from->next) {
        copy = command_clone(from);
        if (copy) {
            recording_add(clone->recording, copy);
        } else {
            recording_unref(clone->recording);
            clone->recording = NULL;
        }
    }
    if (!clone->recording) {
        timeline_unref(clone->timeline);
        free(clone);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    clone->recording->counter_signals = list->recording->counter_signals;
    *ret_clone = clone;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t immediate_append_lists(ze_command_list_handle_t immediate, uint32_t count,
                                          ze_command_list_handle_t *lists, const void *next,
                                          ze_event_handle_t signal, uint32_t wait_count,
                                          ze_event_handle_t *waits)
{
    ze_result_t result;

    (void)next;
    REQUIRE_HANDLE(immediate);
    REQUIRE_POINTER(lists);
    REQUIRE(count > 0 && (waits || !wait_count), INVALID_SIZE);
    REQUIRE(immediate->queue && !(signal && signal->counter), INVALID_ARGUMENT);
    for (uint32_t i = 0; i < wait_count; i++)
        REQUIRE_HANDLE(waits[i]);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(lists[i]);
        REQUIRE(!lists[i]->queue && lists[i]->ordinal == immediate->ordinal,
                INVALID_COMMAND_LIST_TYPE);
    }
    result = list_execute(immediate->queue, count, lists, NULL, signal, wait_count, waits);
    if (result == ZE_RESULT_SUCCESS && immediate->mode == ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS)
        return queue_wait(immediate->queue, UINT64_MAX);
    return result;
}

static ze_result_t immediate_append_lists_exp(ze_command_list_handle_t immediate, uint32_t count,
                                              ze_command_list_handle_t *lists,
                                              ze_event_handle_t signal, uint32_t wait_count,
                                              ze_event_handle_t *waits)
{
    ENTER(zeCommandListImmediateAppendCommandListsExp);
    return immediate_append_lists(immediate, count, lists, NULL, signal, wait_count, waits);
}

static ze_result_t immediate_append_lists_with_parameters(
    ze_command_list_handle_t immediate, uint32_t count, ze_command_list_handle_t *lists,
    const void *next, ze_event_handle_t signal, uint32_t wait_count, ze_event_handle_t *waits)
{
    ENTER(zeCommandListImmediateAppendCommandListsWithParameters);
    return immediate_append_lists(immediate, count, lists, next, signal, wait_count, waits);
}

static ze_result_t list_get_device_handle(ze_command_list_handle_t list,
                                          ze_device_handle_t *ret_device)
{
    ENTER(zeCommandListGetDeviceHandle);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_device);
    *ret_device = list->device;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_get_context_handle(ze_command_list_handle_t list,
                                           ze_context_handle_t *ret_context)
{
    ENTER(zeCommandListGetContextHandle);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_context);
    *ret_context = list->context;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_get_ordinal(ze_command_list_handle_t list, uint32_t *ret_ordinal)
{
    ENTER(zeCommandListGetOrdinal);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_ordinal);
    *ret_ordinal = list->ordinal;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_immediate_get_index(ze_command_list_handle_t list, uint32_t *ret_index)
{
    ENTER(zeCommandListImmediateGetIndex);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_index);
    REQUIRE(list->queue, INVALID_ARGUMENT);
    *ret_index = list->index;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_is_immediate(ze_command_list_handle_t list, ze_bool_t *ret_immediate)
{
    ENTER(zeCommandListIsImmediate);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(ret_immediate);
    *ret_immediate = list->queue != NULL;
    return ZE_RESULT_SUCCESS;
}

#define LIST(member, since, entry) DDI(ze_command_list_dditable_t, member, since, entry)

const struct ddi_table command_list_table = DDI_TABLE(
    LIST(pfnCreate, 0, list_create), LIST(pfnCreateImmediate, 0, list_create_immediate),
    LIST(pfnDestroy, 0, list_destroy), LIST(pfnClose, 0, list_close), LIST(pfnReset, 0, list_reset),
    LIST(pfnAppendWriteGlobalTimestamp, 0, append_write_global_timestamp),
    LIST(pfnAppendBarrier, 0, append_barrier),
    LIST(pfnAppendMemoryRangesBarrier, 0, append_ranges_barrier),
    LIST(pfnAppendMemoryCopy, 0, append_memory_copy),
    LIST(pfnAppendMemoryFill, 0, append_memory_fill),
    LIST(pfnAppendMemoryCopyRegion, 0, append_memory_copy_region),
    LIST(pfnAppendMemoryCopyFromContext, 0, append_memory_copy_from_context),
    DDI_UNSUPPORTED(12, 0), DDI_UNSUPPORTED(13, 0), /* image copies */
    DDI_UNSUPPORTED(14, 0), DDI_UNSUPPORTED(15, 0),
    LIST(pfnAppendMemoryPrefetch, 0, append_memory_prefetch),
    LIST(pfnAppendMemAdvise, 0, append_mem_advise),
    LIST(pfnAppendSignalEvent, 0, append_signal_event),
    LIST(pfnAppendWaitOnEvents, 0, append_wait_on_events),
    LIST(pfnAppendEventReset, 0, append_event_reset),
    LIST(pfnAppendQueryKernelTimestamps, 0, append_query_kernel_timestamps),
    LIST(pfnAppendLaunchKernel, 0, append_launch_kernel),
    LIST(pfnAppendLaunchCooperativeKernel, 0, append_launch_cooperative_kernel),
    LIST(pfnAppendLaunchKernelIndirect, 0, append_launch_kernel_indirect),
    LIST(pfnAppendLaunchMultipleKernelsIndirect, 0, append_launch_multiple_kernels_indirect),
    DDI_UNSUPPORTED(26, 3), DDI_UNSUPPORTED(27, 3), /* image copies with pitches */
    DDI_NEWER("zeCommandListHostSynchronize", 28, 6, list_host_synchronize),
    DDI_NEWER("zeCommandListGetDeviceHandle", 29, 9, list_get_device_handle),
    DDI_NEWER("zeCommandListGetContextHandle", 30, 9, list_get_context_handle),
    DDI_NEWER("zeCommandListGetOrdinal", 31, 9, list_get_ordinal),
    DDI_NEWER("zeCommandListImmediateGetIndex", 32, 9, list_immediate_get_index),
    DDI_NEWER("zeCommandListIsImmediate", 33, 9, list_is_immediate), DDI_UNSUPPORTED(34, 12),
    DDI_UNSUPPORTED(35, 12),            /* external semaphores */
    DDI_NEWER("zeCommandListAppendLaunchKernelWithParameters", 36, 14,
              append_launch_kernel_with_parameters),
    DDI_NEWER("zeCommandListAppendLaunchKernelWithArguments", 37, 14,
              append_launch_kernel_with_arguments),
    DDI_NEWER("zeCommandListAppendMemoryCopyWithParameters", 38, 16,
              append_memory_copy_with_parameters),
    DDI_NEWER("zeCommandListAppendMemoryFillWithParameters", 39, 16,
              append_memory_fill_with_parameters),
    DDI_NEWER("zeCommandListImmediateAppendCommandListsWithParameters", 40, 16,
              immediate_append_lists_with_parameters));

const struct ddi_table command_list_exp_table = DDI_TABLE(
    DDI_NEWER("zeCommandListCreateCloneExp", 0, 9, list_create_clone),
    DDI_NEWER("zeCommandListImmediateAppendCommandListsExp", 1, 9, immediate_append_lists_exp),
    DDI_UNSUPPORTED(2, 9), DDI_UNSUPPORTED(3, 9), DDI_UNSUPPORTED(4, 9), /* mutable lists */
    DDI_UNSUPPORTED(5, 9), DDI_UNSUPPORTED(6, 10), DDI_UNSUPPORTED(7, 10));
