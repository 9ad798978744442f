/* SPDX-License-Identifier: MIT */
/* worker.h: the fixed pool of threads that run the queues' long commands. */
#ifndef SOFT_WORKER_H
#define SOFT_WORKER_H

#include "queue.h"

void worker_submit(struct queue *queue); /* takes over the queue */

/* Calls piece() for parts of 0..size that cover it, on this thread and on workers that have nothing
 * else to do; returns when all are done. */
void worker_share(size_t size, void (*piece)(void *what, size_t from, size_t to), void *what);

void worker_after_fork(void);

#endif
