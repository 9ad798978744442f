/* SPDX-License-Identifier: MIT */
/* bench/child.h: the other processes of a row. Start them before the first call into xpurt. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;                          /* 0: not running */
    int socket;                         /* to it */
};

#define CHILD_NULL { .socket = -1 }

/* Fork; the child runs @p run with its end of a socket pair, and ends. 0, or < 0: row_fail(). */
int child_start(struct child *child, int (*run)(int socket));

/* The same with a fresh process: this program as `--as ROLE`, its end of the pair being its standard
 * input. Processes of rows execute, not their children. */
int child_execute(struct child *child, char *role);

/* The same with the program @p name that lies beside this one; it calls end_with_starter() first. */
int child_execute_program(struct child *child, const char *name);

/* What the roles of child_execute() run: 0, or < 0 after saying why on standard error. */
int role_client(void);                  /* clients.c */

/* Ends the child wherever it is. Fine for one that does not run. */
void child_stop(struct child *child);

/* All of the bytes, or < 0: row_fail(). */
int tell_bytes(int socket, const void *bytes, size_t size);
int hear_bytes(int socket, void *bytes, size_t size);

/* Zeroed memory that children share; NULL: row_fail(). */
void *shared_memory(size_t size);

/* A number in shared memory that one process raises and another waits for. */
struct turn {
    _Atomic uint32_t number;
    _Atomic uint32_t sleepers;
};

void turn_set(struct turn *turn, uint32_t number);

/* Until the number is @p number. Gives way to whoever has work for @p patience_ns, then sleeps.
 * < 0 when the row has failed meanwhile. */
int turn_await(struct turn *turn, uint32_t number, uint64_t patience_ns);

/* Sleeps until *word differs from @p seen; may return early. */
void word_sleep(_Atomic uint32_t *word, uint32_t seen);
void word_wake(_Atomic uint32_t *word);
