/* SPDX-License-Identifier: MIT */
/* bench/event.c: rows about events without any work behind them.
 *
 * An event is looked at by its maker and by a process that opened it; the peer is what looking
 * cannot be cheaper than: one atomic load of a cache line that nobody else writes.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/peers.h"
#include "bench/row.h"

static struct child maker = CHILD_NULL;
static xpurt_event *event;              /* recorded, reached */

static int record_reached(void)
{
    xpurt_stream *stream;

    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    TRY(xpurt_event_record(event, stream));
    TRY(xpurt_event_synchronize(event));
    return 0;
}

/* The other process makes the event, gives its handle away, and lives on. */
static int make_and_export(int socket)
{
    xpurt_event_handle handle;
    char end;

    if (record_reached() < 0)
        return -1;
    TRY(xpurt_event_get_ipc_handle(event, &handle));
    if (tell_bytes(socket, &handle, sizeof(handle)) < 0)
        return -1;
    return hear_bytes(socket, &end, 1);
}

static int open_imported(void)
{
    xpurt_event_handle handle;

    if (child_start(&maker, make_and_export) < 0 ||
        hear_bytes(maker.socket, &handle, sizeof(handle)) < 0)
        return -1;
    TRY(xpurt_event_open_ipc_handle(&handle, &event));
    return 0;
}

static void close_imported(void)
{
    child_stop(&maker);
}

static int query(void)
{
    TRY(xpurt_event_query(event));
    return 0;
}

static int measure_query(double seconds, double *ret_ns)
{
    return time_calls(query, seconds, ret_ns);
}

static int create_and_destroy(void)
{
    xpurt_event *fresh;

    TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &fresh));
    TRY(xpurt_event_destroy(fresh));
    return 0;
}

static int measure_create(double seconds, double *ret_ns)
{
    return time_calls(create_and_destroy, seconds, ret_ns);
}

const struct row event_rows[] = {
    {
        .name = "query-own",
        .what = "look at an event of one's own",
        .unit = "ns",
        .promise = PROMISE_QUERY,
        .goal = GOAL(5),
        .open = record_reached,
        .sides = { { "xpurt", measure_query }, { "atomic load", peer_load } },
    },
    {
        .name = "query-imported",
        .what = "look at an event that another process made and recorded",
        .unit = "ns",
        .promise = PROMISE_QUERY,
        .goal = GOAL(5),
        .open = open_imported,
        .close = close_imported,
        .sides = { { "xpurt", measure_query }, { "atomic load", peer_load } },
    },
    {
        .name = "event-create",
        .what = "create an event and destroy it",
        .unit = "ns",
        .goal = GOAL(500),              /* 2 million a second */
        .open = record_reached,
        .sides = { { "xpurt", measure_create }, { "malloc + free", peer_malloc } },
    },
    { 0 },
};
