/* SPDX-License-Identifier: MIT */
/* examples/watch.h: a thread of the consumer that measures how late `ready` is seen. */
#pragma once

#include "meter.h"
#include "ring.h"

#include <pthread.h>

struct watch {
    struct ring *ring;                  /* borrowed: lives longer */
    struct meter *meter;                /* borrowed: lives longer */
    pthread_t thread;
};

xpurt_result watch_start(struct watch *watch, struct ring *ring, struct meter *meter);

/* Wait for the thread: it ends with the round that ends the input, or with the first error. */
void watch_join(struct watch *watch);
