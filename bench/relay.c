/* SPDX-License-Identifier: MIT */
/* bench/relay.c: the row about work that goes to and fro between the streams of two processes.
 *
 * Each process has a buffer and an event. A hop copies the other's buffer to one's own once the
 * other has filled it. With events the hosts only tell each other that they have submitted, and the
 * streams order themselves; the old way is to wait for the device and then send a message.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"

#define BUFFER_SIZE (64u << 10)
#define PATIENCE_NS 0                   /* the hosts sleep: the streams need the CPUs */

static struct child by_event = CHILD_NULL, by_message = CHILD_NULL;
static struct turn *submitted;          /* hops, of both sides; odd: the other process is next */

/* Made by the one process, opened by the other. */
struct objects {
    xpurt_mem_handle buffers[2];
    xpurt_event_handle events[2];
};

static void *buffers[2];
static xpurt_event *filled[2];
static xpurt_stream *stream;

/* ---- a hop ---------------------------------------------------------------------------------------- */

static int hop_by_event(unsigned side, uint32_t number)
{
    TRY(xpurt_batch_begin());
    TRY(xpurt_stream_wait_event(stream, filled[!side]));
    TRY(xpurt_memcpy_async(buffers[side], buffers[!side], BUFFER_SIZE, stream));
    TRY(xpurt_event_record(filled[side], stream));
    TRY(xpurt_batch_end());
    turn_set(submitted, number);
    return 0;
}

static int hop_by_message(unsigned side, int socket)
{
    char done = 'x';

    TRY(xpurt_memcpy_async(buffers[side], buffers[!side], BUFFER_SIZE, stream));
    TRY(xpurt_device_synchronize(0));
    return tell_bytes(socket, &done, 1);
}

/* ---- the other process ------------------------------------------------------------------------------ */

static int open_objects(int socket)
{
    struct objects objects;

    if (hear_bytes(socket, &objects, sizeof(objects)) < 0)
        return -1;
    TRY(xpurt_stream_create(&stream));
    for (unsigned i = 0; i < 2; i++) {
        void *opened;

        TRY(xpurt_mem_open_ipc_handle(&objects.buffers[i], &opened));
        buffers[i] = opened;
        TRY(xpurt_event_open_ipc_handle(&objects.events[i], &filled[i]));
    }
    return 0;
}

static int answer_by_event(int socket)
{
    if (open_objects(socket) < 0)
        return -1;
    for (uint32_t n = 1; turn_await(submitted, n, PATIENCE_NS) == 0; n += 2)
        if (hop_by_event(1, n + 1) < 0)
            break;
    return -1;
}

static int answer_by_message(int socket)
{
    char done;

    if (open_objects(socket) < 0)
        return -1;
    while (hear_bytes(socket, &done, 1) == 0 && hop_by_message(1, socket) == 0)
        ;
    return -1;
}

/* ---- this process ------------------------------------------------------------------------------------ */

static int make_objects(struct objects *ret_objects)
{
    TRY(xpurt_stream_create(&stream));
    for (unsigned i = 0; i < 2; i++) {
        TRY(xpurt_malloc(&buffers[i], BUFFER_SIZE));
        TRY(xpurt_mem_get_ipc_handle(buffers[i], &ret_objects->buffers[i]));
        TRY(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &filled[i]));
        TRY(xpurt_event_get_ipc_handle(filled[i], &ret_objects->events[i]));
    }
    TRY(xpurt_memset_async(buffers[1], 1, BUFFER_SIZE, stream));
    TRY(xpurt_stream_synchronize(stream));
    return 0;
}

static int open_relay(void)
{
    struct objects objects;

    submitted = shared_memory(sizeof(*submitted));
    if (!submitted || child_start(&by_event, answer_by_event) < 0 ||
        child_start(&by_message, answer_by_message) < 0 || make_objects(&objects) < 0 ||
        tell_bytes(by_event.socket, &objects, sizeof(objects)) < 0)
        return -1;
    return tell_bytes(by_message.socket, &objects, sizeof(objects));
}

static void close_relay(void)
{
    child_stop(&by_event);
    child_stop(&by_message);
}

/* There and back; the last answer is awaited by the host, and counts. */
static int measure_by_event(double seconds, double *ret_ns)
{
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), hops = 0;

    do {
        uint32_t n = submitted->number;

        if (hop_by_event(0, n + 1) < 0 || turn_await(submitted, n + 2, PATIENCE_NS) < 0)
            return -1;
        hops += 2;
    } while (now_ns() < end);
    TRY(xpurt_event_synchronize(filled[1]));
    *ret_ns = (double)(now_ns() - begin) / (double)hops;
    return 0;
}

static int measure_by_message(double seconds, double *ret_ns)
{
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), hops = 0;
    char done;

    do {
        if (hop_by_message(0, by_message.socket) < 0 || hear_bytes(by_message.socket, &done, 1) < 0)
            return -1;
        hops += 2;
    } while (now_ns() < end);
    *ret_ns = (double)(now_ns() - begin) / (double)hops;
    return 0;
}

const struct row relay_rows[] = {
    {
        .name = "relay",
        .what = "a 64 KiB copy in one process, then one that depends on it in another: each hop",
        .unit = "ns",
        .promise = PROMISE_RELAY,
        .open = open_relay,
        .close = close_relay,
        .sides = { { "xpurt", measure_by_event },
                   { "synchronise + message", measure_by_message, GOAL(0.5) } },
    },
    { 0 },
};
