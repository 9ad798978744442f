/* SPDX-License-Identifier: MIT */
/* execute.c: command queues, and the execution of recorded lists.
 *
 * Guarantees of this file:
 *   - an execution holds the recordings it runs and its own place in them, so that one list may run
 *     on several queues at once;
 *   - executing on one queue from several threads is safe.
 */
#include "ddi.h"
#include "fence.h"
#include "list.h"

struct part {
    struct recording *recording;        /* a reference */
    uint64_t base;                      /* what its counter values start from */
};

struct execution {
    struct command head;
    ze_fence_handle_t fence;            /* a reference, or NULL */
    struct part *parts;
    uint32_t count, part;               /* part: the one that runs */
    struct command *cursor;             /* borrowed from it */
    bool entered;                       /* its own waits are over */
    uint64_t start;
};

static void execution_discard(struct command *command)
{
    struct execution *execution = (struct execution *)command;

    for (uint32_t i = 0; i < execution->count; i++)
        recording_unref(execution->parts[i].recording);
    free(execution->parts);
    fence_unref(execution->fence);
}

static void execution_enter(struct execution *execution, struct queue *queue)
{
    execution->entered = true;
    execution->cursor = execution->parts[0].recording->head;
    queue->wait_index = 0;
    if (execution->head.signal && execution->head.signal->timestamps)
        execution->start = clock_ticks();
}

static void execution_finish(struct execution *execution, ze_device_handle_t device)
{
    if (atomic_load(&device->lost))
        return;
    if (execution->fence)
        cell_store(&execution->fence->cell, 1, NULL);
    if (execution->head.signal)
        event_signal(execution->head.signal, execution->start);
}

static enum command_step execution_step(struct command *command, struct queue *queue, uint64_t base,
                                        bool any)
{
    struct execution *execution = (struct execution *)command;
    enum command_step step;

    (void)base;
    if (!execution->entered) {
        if (!command_await(command, queue))
            return COMMAND_PARKED;
        execution_enter(execution, queue);
    }
    if (!any && !command_is_short(command))
        return COMMAND_TOO_LONG;
    for (;;) {
        for (; execution->cursor; execution->cursor = execution->cursor->next) {
            step =
                command_step(execution->cursor, queue, execution->parts[execution->part].base, any);
            if (step != COMMAND_DONE)
                return step;
            queue->wait_index = 0;
        }
        if (++execution->part == execution->count)
            break;
        execution->cursor = execution->parts[execution->part].recording->head;
    }
    execution_finish(execution, queue->device);
    return COMMAND_DONE;
}

static const struct operation execution_operation = {
    .name = "execute",
    .size = sizeof(struct execution),
    .step = execution_step,
    .discard = execution_discard,
};

/* From now on the list's counter-based events stand for this execution. */
static uint64_t point_counters(ze_command_list_handle_t list)
{
    uint64_t base;

    if (!list->recording->counter_signals)
        return 0;
    base = list->timeline->issued;
    list->timeline->issued += list->recording->counter_signals;
    for (struct command *command = list->recording->head; command; command = command->next)
        if (command->timeline)
            counter_point(command->signal, command->timeline, base + command->value);
    return base;
}

ze_result_t list_execute(struct queue *queue, uint32_t count, ze_command_list_handle_t *lists,
                         ze_fence_handle_t fence, ze_event_handle_t signal, uint32_t wait_count,
                         ze_event_handle_t *waits)
{
    struct execution execution = {
        .head = { .operation = &execution_operation, .signal = signal },
        .fence = fence,
        .count = count,
        .parts = calloc(count, sizeof(struct part)),
    };
    struct command *copy;

    REQUIRE(execution.parts, OUT_OF_HOST_MEMORY);
    for (uint32_t i = 0; i < count; i++)
        execution.head.weight += lists[i]->recording->weight;
    copy = command_copy(&execution.head, wait_count, waits);
    if (!copy) {
        free(execution.parts);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        atomic_fetch_add(&lists[i]->recording->refs, 1);
        execution.parts[i] = (struct part){ lists[i]->recording, point_counters(lists[i]) };
    }
    if (fence)
        atomic_fetch_add(&fence->refs, 1);
    if (signal)
        atomic_store_explicit(&signal->device, queue->device, memory_order_relaxed);
    queue_push(queue, copy, queue_claim(queue));
    return ZE_RESULT_SUCCESS;
}

static ze_result_t command_queue_create(ze_context_handle_t context, ze_device_handle_t device,
                                        const ze_command_queue_desc_t *desc,
                                        ze_command_queue_handle_t *ret_queue)
{
    ze_command_queue_handle_t queue;

    ENTER(zeCommandQueueCreate);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_queue);
    REQUIRE(desc->flags <= NEWER_COMMAND_QUEUE_FLAGS, INVALID_ENUMERATION);
    REQUIRE((unsigned)desc->mode <= ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS, INVALID_ENUMERATION);
    REQUIRE((unsigned)desc->priority <= ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_HIGH,
            INVALID_ENUMERATION);
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    REQUIRE(group_exists(desc->ordinal) && desc->index < GROUP_QUEUES, INVALID_ARGUMENT);
    REQUIRE(!atomic_load(&device->lost), DEVICE_LOST);
    queue = calloc(1, sizeof(*queue));
    REQUIRE(queue, OUT_OF_HOST_MEMORY);
    *queue = (struct _ze_command_queue_handle_t){
        .queue = queue_new(device, desc->priority),
        .context = context,
        .ordinal = desc->ordinal,
        .index = desc->index,
        .flags = desc->flags,
        .mode = desc->mode,
        .priority = desc->priority,
    };
    if (!queue->queue) {
        free(queue);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *ret_queue = queue;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t command_queue_destroy(ze_command_queue_handle_t queue)
{
    ENTER(zeCommandQueueDestroy);
    REQUIRE_HANDLE(queue);
    queue_unref(queue->queue);
    free(queue);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t command_queue_execute(ze_command_queue_handle_t queue, uint32_t count,
                                         ze_command_list_handle_t *lists, ze_fence_handle_t fence)
{
    ze_result_t result;

    ENTER(zeCommandQueueExecuteCommandLists);
    REQUIRE_HANDLE(queue);
    REQUIRE_POINTER(lists);
    REQUIRE(count > 0, INVALID_SIZE);
    REQUIRE(!fence || fence->queue == queue->queue, INVALID_SYNCHRONIZATION_OBJECT);
    REQUIRE(!atomic_load(&queue->queue->device->lost), DEVICE_LOST);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(lists[i]);
        REQUIRE(lists[i]->recording && lists[i]->ordinal == queue->ordinal,
                INVALID_COMMAND_LIST_TYPE);
        REQUIRE(lists[i]->closed, INVALID_ARGUMENT);
    }
    result = list_execute(queue->queue, count, lists, fence, NULL, 0, NULL);
    if (result == ZE_RESULT_SUCCESS && queue->mode == ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS)
        return queue_wait(queue->queue, UINT64_MAX);
    return result;
}

static ze_result_t command_queue_synchronize(ze_command_queue_handle_t queue, uint64_t timeout)
{
    ENTER(zeCommandQueueSynchronize);
    REQUIRE_HANDLE(queue);
    return queue_wait(queue->queue, timeout);
}

static ze_result_t command_queue_get_ordinal(ze_command_queue_handle_t queue, uint32_t *ret_ordinal)
{
    ENTER(zeCommandQueueGetOrdinal);
    REQUIRE_HANDLE(queue);
    REQUIRE_POINTER(ret_ordinal);
    *ret_ordinal = queue->ordinal;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t command_queue_get_index(ze_command_queue_handle_t queue, uint32_t *ret_index)
{
    ENTER(zeCommandQueueGetIndex);
    REQUIRE_HANDLE(queue);
    REQUIRE_POINTER(ret_index);
    *ret_index = queue->index;
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table command_queue_table =
    DDI_TABLE(DDI(ze_command_queue_dditable_t, pfnCreate, 0, command_queue_create),
              DDI(ze_command_queue_dditable_t, pfnDestroy, 0, command_queue_destroy),
              DDI(ze_command_queue_dditable_t, pfnExecuteCommandLists, 0, command_queue_execute),
              DDI(ze_command_queue_dditable_t, pfnSynchronize, 0, command_queue_synchronize),
              DDI_NEWER("zeCommandQueueGetOrdinal", 4, 9, command_queue_get_ordinal),
              DDI_NEWER("zeCommandQueueGetIndex", 5, 9, command_queue_get_index));
