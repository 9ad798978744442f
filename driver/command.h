/* SPDX-License-Identifier: MIT */
/* command.h: what queues execute. A command is a header, its operation's own fields behind it, and
 * the events it waits for. It is built on the stack, and copied only when it cannot run at once.
 */
#ifndef SOFT_COMMAND_H
#define SOFT_COMMAND_H

#include "cell.h"
#include "device.h"

enum command_step { COMMAND_DONE, COMMAND_PARKED, COMMAND_TOO_LONG };

struct queue;

/* What is waited for, captured when the wait is appended. */
struct wait {
    struct cell *cell;
    uint64_t target;
    struct doorbell *bell;
    ze_event_handle_t event;   /* a reference */
    struct timeline *timeline; /* a reference: what a counter-based event stood for; or NULL */
};

struct command {
    struct command *next;
    const struct operation *operation;
    struct wait *waits;
    uint32_t wait_count;
    ze_event_handle_t signal;  /* a reference once copied; NULL: none */
    struct timeline *timeline; /* a reference once copied: where a counter-based signal counts */
    uint64_t value;            /* ... and to which value */
    uint64_t weight;           /* bytes moved: short commands run in the caller */
};

struct operation {
    const char *name;                   /* for ZE_SOFT_FAULT */
    size_t size;                        /* of the command with its own fields */
    void (*run)(struct command *command);
    enum command_step (*step)(struct command *command, struct queue *queue, uint64_t base,
                              bool any);   /* instead of waits and run; or NULL */
    bool (*retain)(struct command *copy);  /* what the fields refer to; or NULL. False: no memory */
    void (*discard)(struct command *copy); /* undoes it; or NULL */
};

/* The heap copy of a command, with the waits captured now. NULL: no memory. */
struct command *command_copy(const struct command *command, uint32_t wait_count,
                             const ze_event_handle_t *waits);
/* A further copy of a copy: what is waited for stays as it was captured. */
struct command *command_clone(const struct command *command);
void command_free(struct command *command);

/* Runs the operation and signals; the waits are over. @p base: added to counter values, for lists
 * that are executed again and again. */
void command_run(struct command *command, ze_device_handle_t device, uint64_t base);

/* Takes the first command of an owned queue as far as it goes. */
enum command_step command_step(struct command *command, struct queue *queue, uint64_t base,
                               bool any);
/* The waiting part of it. False: parked, and the queue is not the caller's any more. */
bool command_await(const struct command *command, struct queue *queue);

#define COMMAND_WEIGHT 64u              /* what a command counts in a list, whatever it does */

static inline bool command_is_short(const struct command *command)
{
    return command->weight <= SOFT_SHORT_BYTES && !UNLIKELY(fault_armed);
}

#endif
