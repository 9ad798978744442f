/* SPDX-License-Identifier: MIT */
/* queue.h: an in-order queue of commands that owns no thread.
 *
 * `inbox` is the whole state:   NULL        idle: nobody runs it, nothing is in it
 *                               QUEUE_BUSY  somebody owns it (runs it, or it is parked or waits)
 *                               a command   owned, and these arrived meanwhile, newest first
 * Whoever turns it from idle to anything else owns the queue until he releases it.
 */
#ifndef SOFT_QUEUE_H
#define SOFT_QUEUE_H

#include "cell.h"
#include "command.h"
#include "device.h"

enum { QUEUE_PRIORITY_HIGH, QUEUE_PRIORITY_NORMAL, QUEUE_PRIORITY_LOW, QUEUE_PRIORITIES };

struct queue {
    _Atomic(struct command *) inbox;
    struct command *pending;            /* the owner's, oldest first */
    uint32_t wait_index;                /* waits of the current command that are satisfied */
    uint8_t priority;
    _Atomic uint32_t refs;
    ze_device_handle_t device;
    struct waiter waiter;
    struct queue *next_ready;
    struct queue *next, **link; /* of all queues */
    _Atomic uint64_t submitted; /* commands pushed ... */
    struct cell completed;      /* ... and done; commands run by the caller count in neither */
};

struct queue *queue_new(ze_device_handle_t device, ze_command_queue_priority_t priority);
void queue_unref(struct queue *queue);

/* Makes the caller the owner of an idle queue; false: it is not idle. */
bool queue_claim(struct queue *queue);
void queue_release(struct queue *queue);

/* Adds a command (taken over). @p claimed: the caller owns the queue and hands it on. */
void queue_push(struct queue *queue, struct command *command, bool claimed);

/* Runs an owned queue, at most @p budget commands. Then it is released, parked or handed on.
 * @p any: also long ones. */
void queue_run(struct queue *queue, uint32_t budget, bool any);

ze_result_t queue_wait(struct queue *queue, uint64_t timeout);

/* All queues of a device (NULL: of all devices). */
ze_result_t queues_wait_all(ze_device_handle_t device);
/* Calls take(what) once for each queue with work in it, and drop(what) when that work is done. */
void queues_after_all(void (*take)(void *what), void (*drop)(void *what), void *what);
void queues_before_fork(void);
void queues_after_fork(bool child);

#endif
