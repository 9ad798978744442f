/* SPDX-License-Identifier: MIT */
/* examples/worker.h: what the two kinds of processes have in common, and what they do. */
#pragma once

#include "meter.h"
#include "options.h"
#include "problem.h"
#include "ring.h"

/* How the two sides hand the blocks over. */
enum way {
    WAY_EVENTS,                         /* shared events order the two streams */
    WAY_OLD,                            /* device synchronise, and a message for each block */
};

struct worker {
    const struct options *options;      /* borrowed */
    enum way way;
    enum ring_side side;
    unsigned pair;
    int channel;                        /* to the other side; -1: options->connect leads there */
    struct meter *meter;                /* borrowed */
};

/* The life of a process of a pair. */
enum status worker_run(struct worker *worker);

/* Where pair number @p pair writes: the output, with the number appended if there are more pairs
 * than one. To be freed; NULL without memory. */
char *worker_output(const struct options *options, unsigned pair);

/* Fill @p block from a file: *ret_length is less than @p size at its end only. */
xpurt_result block_read(int file, void *block, size_t size, size_t *ret_length);
xpurt_result block_write(int file, const void *block, size_t size);

/* producer.c, consumer.c: the rounds of a ring, from the first to the last. The consumer closes
 * the file, whatever happens. */
xpurt_result producer_run(struct ring *ring, int input, struct meter *meter);
xpurt_result consumer_run(struct ring *ring, int output, struct meter *meter);

/* old_way.c: the same job without shared events. */
xpurt_result old_producer_run(struct ring *ring, int input, struct meter *meter);
xpurt_result old_consumer_run(struct ring *ring, int output, struct meter *meter);
