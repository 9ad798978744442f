/* SPDX-License-Identifier: MIT */
/* examples/consumer.c: shared device buffers -> pinned host memory -> file.
 *
 * Guarantees of this file:
 *   - a device buffer is read only when the producer's stream has filled it, and no host waits for
 *     that: the stream does;
 *   - blocks are written in order, each once;
 *   - success means that all blocks of the input were written and the file was closed without an
 *     error.
 */
#include "watch.h"
#include "worker.h"

#include <errno.h>
#include <unistd.h>

struct consumer {
    struct ring *ring;
    struct meter *meter;
    xpurt_stream *stream;
    int output;
    uint64_t submitted;                 /* rounds whose copy is on its way */
    uint64_t written;                   /* rounds that are in the file */
    size_t lengths[RING_SLOTS_MAX];     /* of rounds between the two */
    bool end;                           /* the round of length 0 was seen */
};

/* One frame to the daemon for all three. */
static xpurt_result submit(struct ring_slot *slot, size_t length, xpurt_stream *stream)
{
    xpurt_result r, sent;

    r = xpurt_batch_begin();
    if (r)
        return r;
    r = xpurt_stream_wait_event(stream, slot->ready);
    if (r == XPURT_SUCCESS)
        r = xpurt_memcpy_async(slot->staging, slot->device, length, stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(slot->free, stream);
    sent = xpurt_batch_end();
    return r ? r : sent;
}

/* The next round is published: its ready is recorded, though maybe not complete. */
static xpurt_result take(struct consumer *consumer)
{
    struct ring *ring = consumer->ring;
    size_t length = ring_round(ring, consumer->submitted)->length;
    xpurt_result r;

    if (length > ring->block)
        return problem(XPURT_ERROR_PROTOCOL, "the producer says that a block is larger than its "
                                             "buffer");
    if (length == 0) {
        consumer->end = true;
        return XPURT_SUCCESS;
    }
    r = submit(ring_slot(ring, consumer->submitted), length, consumer->stream);
    if (r)
        return r;
    consumer->lengths[consumer->submitted++ % RING_SLOTS_MAX] = length;
    ring_release(ring);
    return XPURT_SUCCESS;
}

/* Submit what is published, as far as there are staging buffers; with nothing else to do, wait. */
static xpurt_result take_all(struct consumer *consumer)
{
    struct ring *ring = consumer->ring;
    xpurt_result r = XPURT_SUCCESS;

    while (r == XPURT_SUCCESS && !consumer->end &&
           consumer->submitted - consumer->written < ring->n_slots) {
        if (consumer->submitted == consumer->written)
            r = ring_await_published(ring, consumer->submitted);
        else if (!ring_published(ring, consumer->submitted))
            break;
        if (r == XPURT_SUCCESS)
            r = take(consumer);
    }
    return r;
}

static xpurt_result write_oldest(struct consumer *consumer)
{
    struct ring_slot *slot = ring_slot(consumer->ring, consumer->written);
    size_t length = consumer->lengths[consumer->written % RING_SLOTS_MAX];
    xpurt_result r;

    /* Our own copy into our staging buffer must be over before the host reads it. */
    r = xpurt_event_synchronize(slot->free);
    if (r == XPURT_SUCCESS)
        r = block_write(consumer->output, slot->staging, length);
    if (r)
        return r;
    meter_block(consumer->meter, length);
    consumer->written++;
    return XPURT_SUCCESS;
}

static xpurt_result consume(struct consumer *consumer)
{
    xpurt_result r;

    for (;;) {
        r = take_all(consumer);
        if (r || consumer->submitted == consumer->written)
            return r;
        r = write_oldest(consumer);
        if (r)
            return r;
    }
}

xpurt_result consumer_run(struct ring *ring, int output, struct meter *meter)
{
    struct consumer consumer = { .ring = ring, .meter = meter, .output = output };
    struct watch watch;
    xpurt_result r;

    r = xpurt_stream_create(&consumer.stream);
    if (r == XPURT_SUCCESS)
        r = watch_start(&watch, ring, meter);
    if (r) {
        close(output);
        xpurt_stream_destroy(consumer.stream);
        return r;
    }

    r = consume(&consumer);
    if (close(output) < 0 && r == XPURT_SUCCESS)
        r = problem_system("the output", errno);
    if (r == XPURT_SUCCESS)
        ring_release(ring);             /* the round of length 0: the producer may leave */
    else
        ring_fail(ring, r);             /* the watch must not wait for rounds that never come */
    watch_join(&watch);
    xpurt_stream_destroy(consumer.stream);
    return r;
}
