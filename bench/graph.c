/* SPDX-License-Identifier: MIT */
/* bench/graph.c: rows about graphs: 64 copies of 64 bytes, captured and launched, beside the same
 * calls one by one. All of it goes by the socket, each call in a frame of its own. */
#include "bench/clock.h"
#include "bench/row.h"

#define COMMANDS 64
#define BURST 16                        /* graphs, or as many calls, before the host waits */
#define BYTES 64

static xpurt_stream *stream;
static xpurt_graph *graph;
static unsigned char *memory;

static int submit(void)
{
    for (unsigned i = 0; i < COMMANDS; i++)
        TRY(xpurt_memcpy_async(memory, memory + BYTES, BYTES, stream));
    return 0;
}

static int launch(void)
{
    TRY(xpurt_graph_launch(graph, stream));
    return 0;
}

static int open_graph(void)
{
    TRY(xpurt_set_transport(XPURT_TRANSPORT_SOCKET));
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_malloc((void **)&memory, 2 * BYTES));
    TRY(xpurt_graph_begin(stream));
    if (submit() < 0)
        return -1;
    TRY(xpurt_graph_end(stream, &graph));
    return 0;
}

static int burst(int (*call)(void))
{
    int r = 0;

    for (unsigned i = 0; i < BURST && r == 0; i++)
        r = call();
    return r;
}

/* The time of @p call in bursts, until they return or until the device has done them. */
static int measure(int (*call)(void), bool done, double seconds, double *ret_ns)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin, returned;
    int r = 0;

    do {
        begin = now_ns();
        r = burst(call);
        returned = now_ns();
        if (r == 0)
            TRY(xpurt_stream_synchronize(stream));
        samples_add(&samples, (double)((done ? now_ns() : returned) - begin) / BURST);
    } while (r == 0 && begin < end);
    *ret_ns = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_launch(double seconds, double *ret_ns)
{
    return measure(launch, false, seconds, ret_ns);
}

static int measure_submit(double seconds, double *ret_ns)
{
    return measure(submit, false, seconds, ret_ns);
}

static int measure_launch_done(double seconds, double *ret_ns)
{
    return measure(launch, true, seconds, ret_ns);
}

static int measure_submit_done(double seconds, double *ret_ns)
{
    return measure(submit, true, seconds, ret_ns);
}

const struct row graph_rows[] = {
    {
        .name = "graph-launch",
        .what = "launch a graph of 64 commands: the caller's time",
        .unit = "ns",
        .promise = PROMISE_REPLAY,
        .open = open_graph,
        .sides = { { "xpurt", measure_launch },
                   { "64 calls by the socket", measure_submit, GOAL(0.05) } },
    },
    {
        .name = "graph-done",
        .what = "the same until the device has done them",
        .unit = "ns",
        .open = open_graph,
        .sides = { { "xpurt", measure_launch_done },
                   { "64 calls by the socket", measure_submit_done } },
    },
    { 0 },
};
