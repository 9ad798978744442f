/* SPDX-License-Identifier: MIT */
/* command.c: the life of one command.
 *
 * Guarantees of this file:
 *   - a copied command holds a reference to every event it will touch, so that destroying an event
 *     too early never becomes a touch of freed memory;
 *   - an operation runs only when all that it waits for has happened, and only then its event is
 *     signalled; on a lost device neither happens.
 */
#include "command.h"

#include "counter.h"
#include "event.h"
#include "queue.h"

#include <string.h>

static struct command *command_alloc(const struct command *command, uint32_t wait_count)
{
    size_t body = ALIGN_UP(command->operation->size, _Alignof(struct wait));
    struct command *copy = malloc(body + wait_count * sizeof(struct wait));

    if (!copy)
        return NULL;
    memcpy(copy, command, command->operation->size);
    if (copy->operation->retain && !copy->operation->retain(copy)) {
        free(copy);
        return NULL;
    }
    copy->next = NULL;
    copy->wait_count = wait_count;
    copy->waits = (struct wait *)((char *)copy + body);
    if (copy->signal)
        event_ref(copy->signal);
    if (copy->timeline)
        timeline_ref(copy->timeline);
    return copy;
}

struct command *command_copy(const struct command *command, uint32_t wait_count,
                             const ze_event_handle_t *waits)
{
    struct command *copy = command_alloc(command, wait_count);

    for (uint32_t i = 0; copy && i < wait_count; i++)
        event_capture(waits[i], &copy->waits[i]);
    return copy;
}

struct command *command_clone(const struct command *command)
{
    struct command *copy = command_alloc(command, command->wait_count);

    for (uint32_t i = 0; copy && i < command->wait_count; i++) {
        copy->waits[i] = command->waits[i];
        event_ref(copy->waits[i].event);
        if (copy->waits[i].timeline)
            timeline_ref(copy->waits[i].timeline);
    }
    return copy;
}

void command_free(struct command *command)
{
    if (!command)
        return;
    for (uint32_t i = 0; i < command->wait_count; i++) {
        event_unref(command->waits[i].event);
        timeline_unref(command->waits[i].timeline);
    }
    event_unref(command->signal);
    timeline_unref(command->timeline);
    if (command->operation->discard)
        command->operation->discard(command);
    free(command);
}

void command_run(struct command *command, ze_device_handle_t device, uint64_t base)
{
    ze_event_handle_t signal = command->signal;
    uint64_t start = 0;
    bool run = !atomic_load_explicit(&device->lost, memory_order_relaxed);

    if (UNLIKELY(fault_armed))
        run &= fault_command_begin(device, command->operation->name);
    if (signal && signal->timestamps)
        start = clock_ticks();
    if (LIKELY(run))
        command->operation->run(command);
    if (UNLIKELY(fault_armed))
        fault_command_end(device);
    if (!signal || !run)
        return;
    if (UNLIKELY(command->timeline))
        counter_signal(signal, command->timeline, command->value + base, start);
    else
        event_signal(signal, start);
}

bool command_await(const struct command *command, struct queue *queue)
{
    while (queue->wait_index < command->wait_count) {
        const struct wait *wait = &command->waits[queue->wait_index];

        if (!cell_reached(wait->cell, wait->target)) {
            queue->waiter.cell = wait->cell;
            queue->waiter.target = wait->target;
            queue->waiter.bell = wait->bell;
            if (cell_park(&queue->waiter))
                return false;
        }
        queue->wait_index++;
    }
    return true;
}

enum command_step command_step(struct command *command, struct queue *queue, uint64_t base,
                               bool any)
{
    if (command->operation->step)
        return command->operation->step(command, queue, base, any);
    if (!command_await(command, queue))
        return COMMAND_PARKED;
    if (!any && !command_is_short(command))
        return COMMAND_TOO_LONG;
    command_run(command, queue->device, base);
    return COMMAND_DONE;
}
