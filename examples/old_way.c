/* SPDX-License-Identifier: MIT */
/* examples/old_way.c: the same job as it is done without shared events, to compare with.
 *
 * Guarantees of this file:
 *   - same files, same buffers, same ring, same copies as producer.c and consumer.c;
 *   - before a buffer changes hands its owner's host waits for the device, then sends a message.
 *
 * What it costs: a host thread of each side sleeps and wakes for each block, and the copies of one
 * side never queue up behind those of the other.
 */
#include "channel.h"
#include "worker.h"

#include <errno.h>
#include <unistd.h>

/* "This buffer is yours now." */
struct message {
    uint64_t round;
    uint64_t length;                    /* bytes in the buffer; 0: the end */
};

static xpurt_result send_message(struct ring *ring, uint64_t round, uint64_t length)
{
    struct message message = { round, length };
    int e = channel_send(ring->channel, &message, sizeof(message), -1);

    if (e == -EPIPE || e == -ECONNRESET)
        return ring_peer_gone(ring);
    return e < 0 ? problem_system("message", -e) : XPURT_SUCCESS;
}

static xpurt_result receive_message(struct ring *ring, uint64_t round, uint64_t *ret_length)
{
    struct message message;
    ssize_t size = channel_receive(ring->channel, &message, sizeof(message), -1, NULL);

    if (size == 0)
        return ring_peer_gone(ring);
    if (size < 0)
        return problem_system("message", (int)-size);
    if (size != sizeof(message) || message.round != round || message.length > ring->block)
        return problem(XPURT_ERROR_PROTOCOL, "the other side sent a message out of order");
    *ret_length = message.length;
    return XPURT_SUCCESS;
}

static xpurt_result copy(void *to, const void *from, size_t length, xpurt_stream *stream)
{
    xpurt_result r = xpurt_memcpy_async(to, from, length, stream);

    return r ? r : xpurt_device_synchronize(xpurt_get_device());
}

/* ---- producer -------------------------------------------------------------------------------- */

static xpurt_result produce(struct ring *ring, uint64_t round, int input, xpurt_stream *stream,
                            size_t *ret_length)
{
    struct ring_slot *slot = ring_slot(ring, round);
    uint64_t length;
    xpurt_result r;

    r = block_read(input, slot->staging, ring->block, ret_length);
    if (r == XPURT_SUCCESS && round >= ring->n_slots)
        r = receive_message(ring, round - ring->n_slots, &length);
    if (r == XPURT_SUCCESS && *ret_length)
        r = copy(slot->device, slot->staging, *ret_length, stream);
    if (r == XPURT_SUCCESS)
        r = send_message(ring, round, *ret_length);
    return r;
}

/* The consumer has done everything when it answers the round @p end, which has length 0. */
static xpurt_result await_end(struct ring *ring, uint64_t end)
{
    uint64_t round = end < ring->n_slots ? 0 : end - ring->n_slots + 1;
    uint64_t length;
    xpurt_result r = XPURT_SUCCESS;

    for (; r == XPURT_SUCCESS && round <= end; round++)
        r = receive_message(ring, round, &length);
    return r;
}

xpurt_result old_producer_run(struct ring *ring, int input, struct meter *meter)
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
        r = await_end(ring, round);
    xpurt_stream_destroy(stream);
    return r;
}

/* ---- consumer -------------------------------------------------------------------------------- */

static xpurt_result consume(struct ring *ring, uint64_t round, int output, xpurt_stream *stream,
                            uint64_t *ret_length)
{
    struct ring_slot *slot = ring_slot(ring, round);
    xpurt_result r;

    r = receive_message(ring, round, ret_length);
    if (r || !*ret_length)
        return r;
    r = copy(slot->staging, slot->device, *ret_length, stream);
    if (r == XPURT_SUCCESS)
        r = send_message(ring, round, *ret_length);
    if (r == XPURT_SUCCESS)
        r = block_write(output, slot->staging, *ret_length);
    return r;
}

xpurt_result old_consumer_run(struct ring *ring, int output, struct meter *meter)
{
    xpurt_stream *stream = NULL;
    uint64_t round = 0, length = 0;
    xpurt_result r;

    r = xpurt_stream_create(&stream);
    while (r == XPURT_SUCCESS) {
        r = consume(ring, round, output, stream, &length);
        if (r || !length)
            break;
        meter_block(meter, length);
        round++;
    }
    if (close(output) < 0 && r == XPURT_SUCCESS)
        r = problem_system("the output", errno);
    if (r == XPURT_SUCCESS)
        r = send_message(ring, round, 0);
    xpurt_stream_destroy(stream);
    return r;
}
