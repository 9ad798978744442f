/* SPDX-License-Identifier: MIT */
/* examples/producer.c: file -> pinned host memory -> shared device buffers.
 *
 * Guarantees of this file:
 *   - a device buffer is overwritten only when the consumer's stream is done with it, and no host
 *     waits for that: the stream does;
 *   - `ready` of a round is recorded before the round is published;
 *   - success means that the consumer has all blocks and has put them where they belong.
 */
#include "worker.h"

/* One frame to the daemon for all three. */
static xpurt_result submit(struct ring_slot *slot, size_t length, xpurt_stream *stream,
                           uint64_t *ret_recorded_ns)
{
    xpurt_result r, sent;

    r = xpurt_batch_begin();
    if (r)
        return r;
    r = xpurt_stream_wait_event(stream, slot->free);
    if (r == XPURT_SUCCESS)
        r = xpurt_memcpy_async(slot->device, slot->staging, length, stream);
    if (r == XPURT_SUCCESS) {
        *ret_recorded_ns = now_ns();
        r = xpurt_event_record(slot->ready, stream);
    }
    sent = xpurt_batch_end();
    return r ? r : sent;
}

/* *ret_length is 0 after the last block. */
static xpurt_result produce(struct ring *ring, uint64_t round, int input, xpurt_stream *stream,
                            size_t *ret_length)
{
    struct ring_slot *slot = ring_slot(ring, round);
    uint64_t recorded_ns = 0;
    xpurt_result r;

    /* Our own copy out of this staging buffer, K rounds ago, must be over before it is refilled.
     * This is about our own memory: it does not order the two streams. */
    r = xpurt_event_synchronize(slot->ready);
    if (r == XPURT_SUCCESS)
        r = block_read(input, slot->staging, ring->block, ret_length);

    /* Has the consumer *recorded* free for the round before? It need not be complete. */
    if (r == XPURT_SUCCESS)
        r = ring_await_free(ring, round);
    if (r == XPURT_SUCCESS && *ret_length)
        r = submit(slot, *ret_length, stream, &recorded_ns);
    if (r == XPURT_SUCCESS)
        ring_publish(ring, round, *ret_length, recorded_ns);
    return r;
}

xpurt_result producer_run(struct ring *ring, int input, struct meter *meter)
{
    xpurt_stream *stream = NULL;
    uint64_t round = 0;
    size_t length = 0;
    xpurt_result r;

    r = xpurt_stream_create(&stream);
    while (r == XPURT_SUCCESS) {
        r = produce(ring, round, input, stream, &length);
        if (r || !length)
            break;
        meter_block(meter, length);
        round++;
    }
    if (r == XPURT_SUCCESS)
        r = ring_await_end(ring, round);
    if (r == XPURT_SUCCESS)
        r = xpurt_stream_synchronize(stream);
    xpurt_stream_destroy(stream);
    return r;
}
