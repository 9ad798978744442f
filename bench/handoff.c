/* SPDX-License-Identifier: MIT */
/* bench/handoff.c: rows about hand-offs from host to host: record in one process, wait in another.
 *
 * The producer records an event; the consumer, which opened it, waits for it. Waiting captures the
 * record there is, so the consumer must not look before the producer has recorded: the producer
 * counts its records in shared memory, which the consumer watches or sleeps on. That is part of what
 * is timed, where the consumer does not wait for a record to come.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/peers.h"
#include "bench/record.h"
#include "bench/row.h"
#include "bench/samples.h"

#define PATIENCE_NS 50000

static struct child consumer = CHILD_NULL;
static xpurt_stream *stream;
static xpurt_event *event;
static uint32_t handed;                 /* records by the producer */
static bool tells;                      /* it counts them where the consumer watches */

static struct {
    struct turn recorded;               /* by the producer */
    struct turn awaited;                /* by the consumer */
    _Atomic uint64_t patience_ns;       /* how long either watches the other before it sleeps */
    _Atomic double returned_ns;         /* when the consumer's wait was over */
} *shared;

static int consume_noticed(int socket)
{
    xpurt_event_handle handle;

    if (hear_bytes(socket, &handle, sizeof(handle)) < 0)
        return -1;
    TRY(xpurt_event_open_ipc_handle(&handle, &event));
    for (uint32_t n = 1;; n++) {
        if (turn_await(&shared->recorded, n, shared->patience_ns) < 0)
            return -1;
        TRY(xpurt_event_synchronize(event));
        atomic_store(&shared->returned_ns, moment_ns());
        turn_set(&shared->awaited, n);
    }
}

/* The same with the call that waits for a record to come: nobody has to be told of it. */
static int consume_next(int socket)
{
    xpurt_event_handle handle;

    if (hear_bytes(socket, &handle, sizeof(handle)) < 0)
        return -1;
    TRY(xpurt_event_open_ipc_handle(&handle, &event));
    for (uint32_t n = 1;; n++) {
        TRY(xpurt_event_wait_generation(event, n, UINT64_MAX));
        atomic_store(&shared->returned_ns, moment_ns());
        turn_set(&shared->awaited, n);
    }
}

static int open_handoff(int (*consume)(int socket), uint64_t patience_ns)
{
    xpurt_event_handle handle;

    TRY(xpurt_set_transport(XPURT_TRANSPORT_RING)); /* the consumer's too */
    shared = shared_memory(sizeof(*shared));
    if (!shared || peer_echo_open() < 0)
        return -1;
    shared->patience_ns = patience_ns;
    handed = 0;
    tells = consume == consume_noticed;
    if (child_start(&consumer, consume) < 0)
        return -1;
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    TRY(xpurt_event_get_ipc_handle(event, &handle));
    return tell_bytes(consumer.socket, &handle, sizeof(handle));
}

static int open_active(void)
{
    return open_handoff(consume_noticed, PATIENCE_NS);
}

static int open_asleep(void)
{
    return open_handoff(consume_next, 0);
}

/* As workers that have a CPU each; the peers likewise. */
static int open_asleep_apart(void)
{
    environment.pin = true;
    row_pin(0);
    return open_asleep();
}

static int open_asleep_noticed(void)
{
    return open_handoff(consume_noticed, 0);
}

static void close_handoff(void)
{
    child_stop(&consumer);
    peer_echo_close();
}

/* One hand-off; the time from before the record to after the wait. */
static int hand_off(double *ret_ns)
{
    uint32_t n = ++handed;
    double begin = moment_ns();

    TRY(xpurt_event_record(event, stream));
    if (tells)
        turn_set(&shared->recorded, n);
    if (turn_await(&shared->awaited, n, shared->patience_ns) < 0)
        return -1;
    *ret_ns = atomic_load(&shared->returned_ns) - begin;
    return 0;
}

static int measure_handoff(uint64_t pause_ns, double seconds, double *ret_ns)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds);
    int r;

    do {
        double value = 0;

        if (pause_ns)
            sleep_ns(pause_ns);
        r = hand_off(&value);
        samples_add(&samples, value);
    } while (r == 0 && now_ns() < end);
    *ret_ns = samples_quantile(&samples, 0.5);
    row_note("99 of 100 hand-offs within %.1f us", samples_quantile(&samples, 0.99) / 1e3);
    samples_deinit(&samples);
    return r;
}

static int measure_active(double seconds, double *ret_ns)
{
    return measure_handoff(0, seconds, ret_ns);
}

static int measure_asleep(double seconds, double *ret_ns)
{
    return measure_handoff(ASLEEP_NS, seconds, ret_ns);
}

const struct row handoff_rows[] = {
    {
        .name = "handoff-active",
        .what = "record in one process until a wait returns in another, both busy",
        .unit = "ns",
        .promise = PROMISE_HANDOFF_ACTIVE,
        .open = open_active,
        .close = close_handoff,
        .sides = { { "xpurt", measure_active },
                   { "Unix socket, round trip", peer_socket, GOAL(0.25) },
                   { "futex, round trip", peer_futex } },
    },
    {
        .name = "handoff-asleep",
        .what = "the same when all had gone to sleep, by a wait for a record to come",
        .unit = "ns",
        .awake = true,
        .promise = PROMISE_HANDOFF_ASLEEP,
        .open = open_asleep,
        .close = close_handoff,
        .sides = { { "xpurt", measure_asleep },
                   { "Unix socket, round trip", peer_socket_asleep, GOAL(1.3) },
                   { "futex, round trip", peer_futex_asleep } },
    },
    {
        .name = "handoff-asleep-apart",
        .what = "the same where each process has a CPU of its own",
        .unit = "ns",
        .awake = true,
        .promise = PROMISE_HANDOFF_ASLEEP,
        .open = open_asleep_apart,
        .close = close_handoff,
        .sides = { { "xpurt", measure_asleep },
                   { "Unix socket, round trip", peer_socket_asleep, GOAL(1.3) },
                   { "futex, round trip", peer_futex_asleep } },
    },
    {
        .name = "handoff-asleep-told",
        .what = "the same by a wait for the last record, which the producer tells of",
        .unit = "ns",
        .awake = true,
        .open = open_asleep_noticed,
        .close = close_handoff,
        .sides = { { "xpurt", measure_asleep },
                   { "Unix socket, round trip", peer_socket_asleep },
                   { "futex, round trip", peer_futex_asleep } },
    },
    { 0 },
};
