/* SPDX-License-Identifier: MIT */
/* bench/clients.h: fresh processes with a session each, and what /proc tells about processes. */
#pragma once

#include "bench/child.h"

#include <stdint.h>

#define EVENTS_PER_ORDER 40000 /* events that EVENTS makes; a session has room for six times */

enum client_order {
    CLIENT_NOTHING = 'n',               /* answer: the process has begun */
    CLIENT_CONNECT = 'c',               /* connect, make a stream and an event, record, wait */
    CLIENT_EVENTS = 'e',                /* make and record EVENTS_PER_ORDER more events */
};

/* Start @p n of them; they have begun, and do nothing before they are told to. 0, or < 0: row_fail(). */
int clients_start(struct child *clients, unsigned n);
int client_do(struct child *client, enum client_order order);
void clients_stop(struct child *clients, unsigned n);

/* Bytes of memory that are there because of process @p pid: its own, and its share of what it shares;
 * program and library files are left out. < 0: row_fail(). */
double process_memory(pid_t pid);

/* How often the threads of @p pid were switched to, so far. < 0: row_fail(). */
int64_t process_switches(pid_t pid);
