/* SPDX-License-Identifier: MIT */
/* client/companion.h: what a stream waits for on the host: its functions, and records to come.
 *
 * A stream S that needs one gets a companion: a second stream H of the session, which only the
 * library uses, and a thread with a queue of jobs. For each job S is made to wait for the next
 * record of H, which is not sent yet; so the daemon holds S's later commands back until the thread
 * has done the job and sends it. With the lock held, all of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether the stream on timeline @p stream has one, maybe still at work after the stream's end. */
bool companion_exists(uint32_t stream);

/* The stream is destroyed: its jobs are done, then the companion goes. */
void companion_release(uint32_t stream);

/* Before a reset: make all of them go, and wait until they have. Jobs that were not begun are not
 * done. The lock is free meanwhile. */
void companions_stop(void);

/* The session ends; in a child, where none of the threads exist. */
void companions_end(void);
