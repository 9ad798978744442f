/* SPDX-License-Identifier: MIT */
/* examples/watch.c: a thread of the consumer that measures how late `ready` is seen.
 *
 * Guarantees of this file:
 *   - a sample is the time from the producer's call of xpurt_event_record(ready) until
 *     xpurt_event_synchronize(ready) has returned in a thread of the consumer that does nothing
 *     but wait: the copy into the device buffer is part of it, the writing of files is not;
 *   - measuring holds up nobody: the ring goes on whether this thread has looked or not.
 *
 * Only for the measurement: leave it out of what you copy.
 */
#include "watch.h"

#include "problem.h"

static void *watch_run(void *data)
{
    struct watch *watch = data;
    struct ring *ring = watch->ring;

    for (uint64_t round = 0; ring_await_published(ring, round) == XPURT_SUCCESS; round++) {
        struct ring_round published = *ring_round(ring, round);

        if (published.length == 0)
            break;
        /* Very late, the event is that of a later round already: the sample is too long then,
         * never too short. */
        if (xpurt_event_synchronize(ring_slot(ring, round)->ready))
            break;
        meter_latency(watch->meter, now_ns() - published.recorded_ns);
    }
    return NULL;
}

xpurt_result watch_start(struct watch *watch, struct ring *ring, struct meter *meter)
{
    int e;

    *watch = (struct watch){ .ring = ring, .meter = meter };
    e = pthread_create(&watch->thread, NULL, watch_run, watch);
    return e ? problem_system("pthread_create", e) : XPURT_SUCCESS;
}

void watch_join(struct watch *watch)
{
    pthread_join(watch->thread, NULL);
}
