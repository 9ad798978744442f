/* SPDX-License-Identifier: MIT */
/* worker.h: the fixed pool of threads that run the queues' long commands. */
#ifndef SOFT_WORKER_H
#define SOFT_WORKER_H

#include "queue.h"

void worker_submit(struct queue *queue); /* takes over the queue */
void worker_after_fork(void);

#endif
