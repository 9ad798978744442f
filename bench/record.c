/* SPDX-License-Identifier: MIT */
/* bench/record.c: rows about recording events and waiting for them in stream order.
 *
 * A pair is one event recorded on a stream and one other stream that waits for it: the unit of work
 * that the daemon is there for. redis answers each of its requests; so whatever is counted here has
 * been completed, and the host knows it, before the clock is stopped.
 */
#include "bench/record.h"
#include "bench/clock.h"
#include "bench/peers.h"
#include "bench/row.h"

#define STREAM_BURSTS 256               /* that are recorded before the host waits */
#define PAIRS_MAX REDIS_PIPELINE_MAX    /* in a frame */

static xpurt_stream *producer, *consumer;
static xpurt_event *events[PAIRS_MAX], *last, *spare;
static unsigned n_pairs = RECORD_BURST; /* in a frame */

static int open_streams(void)
{
    TRY(xpurt_stream_create(&producer));
    TRY(xpurt_stream_create(&consumer));
    TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &last));
    TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &spare));
    for (unsigned i = 0; i < PAIRS_MAX; i++)
        TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &events[i]));
    return 0;
}

static int open_by(xpurt_transport transport)
{
    TRY(xpurt_set_transport(transport));
    return open_streams();
}

static int open_with_redis(void)
{
    return peer_redis_open() < 0 ? -1 : open_streams();
}

static int open_socket_with_redis(void)
{
    return peer_redis_open() < 0 ? -1 : open_by(XPURT_TRANSPORT_SOCKET);
}

static int open_ring_with_redis(void)
{
    return peer_redis_open() < 0 ? -1 : open_by(XPURT_TRANSPORT_RING);
}

static int open_socket_with_reader(void)
{
    return peer_send_open() < 0 ? -1 : open_by(XPURT_TRANSPORT_SOCKET);
}

static int open_ring_with_reader(void)
{
    return peer_send_open() < 0 ? -1 : open_by(XPURT_TRANSPORT_RING);
}

/* ---- what one call costs ------------------------------------------------------------------------ */

static int record_burst(void)
{
    for (unsigned i = 0; i < RECORD_BURST; i++)
        TRY(xpurt_event_record(events[i], producer));
    return 0;
}

static int measure_call(double seconds, double *ret_ns)
{
    uint64_t end = deadline_ns(seconds), spent = 0, calls = 0, begin;

    do {
        begin = now_ns();
        if (record_burst() < 0)
            return -1;
        spent += now_ns() - begin;
        calls += RECORD_BURST;
        TRY(xpurt_event_synchronize(events[RECORD_BURST - 1]));
    } while (begin < end);
    *ret_ns = (double)spent / (double)calls;
    return 0;
}

/* ---- how many a second ---------------------------------------------------------------------------- */

/* Repeat @p burst; @p count is what one of them does. */
static int measure_rate(int (*burst)(void), unsigned count, double seconds, double *ret_per_second)
{
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), done = 0, now;

    do {
        if (burst() < 0)
            return -1;
        done += count;
        now = now_ns();
    } while (now < end);
    *ret_per_second = (double)done * 1e9 / (double)(now - begin);
    return 0;
}

/* As many as keep the daemon busy; the host sees the last one complete. */
static int record_stream(void)
{
    for (unsigned k = 0; k < STREAM_BURSTS; k++)
        if (record_burst() < 0)
            return -1;
    TRY(xpurt_event_synchronize(events[RECORD_BURST - 1]));
    return 0;
}

static int measure_stream(double seconds, double *ret_per_second)
{
    return measure_rate(record_stream, STREAM_BURSTS * RECORD_BURST, seconds, ret_per_second);
}

static int record_and_synchronize(void)
{
    TRY(xpurt_event_record(last, producer));
    TRY(xpurt_event_synchronize(last));
    return 0;
}

static int measure_synchronize(double seconds, double *ret_per_second)
{
    return measure_rate(record_and_synchronize, 1, seconds, ret_per_second);
}

static int submit_pairs(void)
{
    for (unsigned i = 0; i < n_pairs; i++) {
        TRY(xpurt_event_record(events[i], producer));
        TRY(xpurt_stream_wait_event(consumer, events[i]));
    }
    TRY(xpurt_event_record(last, consumer));
    return 0;
}

static int pairs_single(void)
{
    if (submit_pairs() < 0)
        return -1;
    TRY(xpurt_event_synchronize(last));
    return 0;
}

static int pairs_batched(void)
{
    TRY(xpurt_batch_begin());
    if (submit_pairs() < 0)
        return -1;
    TRY(xpurt_batch_end());
    TRY(xpurt_event_synchronize(last));
    return 0;
}

/* The host waits for the frame before, while the daemon works on this one. */
static int pairs_streamed(void)
{
    xpurt_event *before = last;

    last = spare;
    spare = before;
    TRY(xpurt_batch_begin());
    if (submit_pairs() < 0)
        return -1;
    TRY(xpurt_batch_end());
    TRY(xpurt_event_synchronize(before));
    return 0;
}

static int measure_single(double seconds, double *ret_per_second)
{
    return measure_rate(pairs_single, n_pairs, seconds, ret_per_second);
}

static int measure_batched(double seconds, double *ret_per_second)
{
    return measure_rate(pairs_batched, n_pairs, seconds, ret_per_second);
}

static int measure_streamed(double seconds, double *ret_per_second)
{
    return measure_rate(pairs_streamed, n_pairs, seconds, ret_per_second);
}

/* ---- what is in a frame ----------------------------------------------------------------------------- */

#define FRAME_OF(n) \
    static int open_frame_##n(void) \
    { \
        n_pairs = n; \
        return open_socket_with_redis(); \
    } \
\
    static int peer_redis_frame_##n(double seconds, double *ret_per_second) \
    { \
        return peer_redis(n, seconds, ret_per_second); \
    }

FRAME_OF(1)
FRAME_OF(4)
FRAME_OF(16)
FRAME_OF(64)
FRAME_OF(256)

#define FRAME_ROW(n) \
    { \
        .name = "scale-frame-" #n, \
        .what = "pairs as in record-wait-batched, " #n " to a frame", \
        .unit = "pairs/s", \
        .more = true, \
        .on_request = true, \
        .open = open_frame_##n, \
        .close = peer_redis_close, \
        .sides = { { "xpurt", measure_batched }, { "redis INCR -P " #n, peer_redis_frame_##n } }, \
    }

const struct row record_rows[] = {
    {
        .name = "record-call",
        .what = "record an event by the socket, each in a frame of its own: what the caller spends",
        .unit = "ns",
        .promise = PROMISE_RECORD_SOCKET,
        .open = open_socket_with_reader,
        .close = peer_send_close,
        .sides = { { "xpurt", measure_call }, { "send(2)", peer_send, GOAL(1.5) } },
    },
    {
        .name = "record-call-ring",
        .what = "the same by the ring",
        .unit = "ns",
        .promise = PROMISE_RECORD_RING,
        .goal = GOAL(150),
        .open = open_ring_with_reader,
        .close = peer_send_close,
        .sides = { { "xpurt", measure_call }, { "send(2)", peer_send } },
    },
    {
        .name = "record-ring",
        .what = "record events by the ring, one after the other, and see the last one complete",
        .unit = "records/s",
        .more = true,
        .promise = PROMISE_RECORD_RING,
        .goal = GOAL(5e6),
        .open = open_ring_with_redis,
        .close = peer_redis_close,
        .sides = { { "xpurt", measure_stream },
                   { "redis INCR, best -P", peer_redis_best, GOAL(3) } },
    },
    {
        .name = "record-synchronize",
        .what = "record an event and wait for it on the host, one at a time",
        .unit = "pairs/s",
        .more = true,
        .open = open_with_redis,
        .close = peer_redis_close,
        .sides = { { "xpurt", measure_synchronize }, { "redis INCR -P 1", peer_redis_1 } },
    },
    {
        .name = "record-wait-single",
        .what =
            "record an event, let another stream wait for it, by the socket; each call in its own frame",
        .unit = "pairs/s",
        .more = true,
        .open = open_socket_with_redis,
        .close = peer_redis_close,
        .sides = { { "xpurt", measure_single }, { "redis INCR -P 1", peer_redis_1 } },
    },
    {
        .name = "record-wait-batched",
        .what = "the same, 256 pairs to a frame, each frame awaited before the next",
        .unit = "pairs/s",
        .more = true,
        .promise = PROMISE_PAIRS,
        .open = open_frame_256,
        .close = peer_redis_close,
        .sides = { { "xpurt", measure_batched },
                   { "redis INCR, best -P", peer_redis_best, GOAL(1.5) } },
    },
    {
        .name = "record-wait-streamed",
        .what = "the same, 64 to a frame, each awaited only when the next one was sent",
        .unit = "pairs/s",
        .more = true,
        .open = open_socket_with_redis,
        .close = peer_redis_close,
        .sides = { { "xpurt", measure_streamed }, { "redis INCR -P 64", peer_redis_64 } },
    },
    FRAME_ROW(1),
    FRAME_ROW(4),
    FRAME_ROW(16),
    FRAME_ROW(64),
    FRAME_ROW(256),
    { 0 },
};
