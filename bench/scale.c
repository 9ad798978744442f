/* SPDX-License-Identifier: MIT */
/* bench/scale.c: rows about many sessions: the cost of a command when a thousand processes submit at
 * once, beside the same by one of them while the others are connected and idle; on request the same
 * for fewer processes.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"

#define SESSIONS 1000
#define STREAMS 4
#define RECORDS 16                      /* of a stream in a frame */
#define PLACES 8u

static struct child clients[SESSIONS];
static unsigned started;

static struct {
    _Atomic uint32_t rounds[SESSIONS];  /* a client takes part in another one when its is bumped */
    _Atomic uint64_t end_ns;
    _Atomic uint32_t ready;             /* clients that are connected */
    _Atomic uint32_t finished;          /* clients that are done with this round */
    _Atomic uint64_t commands;
} *shared;

static xpurt_stream *streams[STREAMS];
static xpurt_event *events[STREAMS][RECORDS];

static int make_objects(void)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        TRY(xpurt_stream_create(&streams[i]));
        for (unsigned k = 0; k < RECORDS; k++)
            TRY(xpurt_event_create(XPURT_EVENT_BLOCKING, &events[i][k]));
    }
    TRY(xpurt_stream_synchronize(streams[0]));
    return 0;
}

static int submit(void)
{
    TRY(xpurt_batch_begin());
    for (unsigned k = 0; k < RECORDS; k++)
        for (unsigned i = 0; i < STREAMS; i++)
            TRY(xpurt_event_record(events[i][k], streams[i]));
    TRY(xpurt_batch_end());
    for (unsigned i = 0; i < STREAMS; i++)
        TRY(xpurt_event_synchronize(events[i][RECORDS - 1]));
    return 0;
}

static void count_up(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    word_wake(word);
}

static void await_count(_Atomic uint32_t *word, uint32_t value)
{
    uint32_t seen;

    while ((seen = atomic_load(word)) != value && !row_failed())
        word_sleep(word, seen);
}

/* Submit until the end of each round. */
static int serve_rounds(int socket)
{
    _Atomic uint32_t *rounds = &shared->rounds[started]; /* as it was when we were forked */

    (void)socket;
    if (make_objects() < 0) {
        count_up(&shared->ready);
        return -1;
    }
    count_up(&shared->ready);
    for (uint32_t round = 1;; round++) {
        uint64_t commands = 0;

        await_count(rounds, round);
        while (now_ns() < atomic_load(&shared->end_ns) && submit() == 0)
            commands += STREAMS * RECORDS;
        atomic_fetch_add(&shared->commands, commands);
        count_up(&shared->finished);
    }
}

static int open_sessions(unsigned n)
{
    shared = shared_memory(sizeof(*shared));
    if (!shared)
        return -1;
    for (; started < n; started++)
        if (child_start(&clients[started], serve_rounds) < 0)
            return -1;
    await_count(&shared->ready, n);
    return row_failed() ? -1 : 0;
}

static int open_1(void)
{
    return open_sessions(1);
}

static int open_10(void)
{
    return open_sessions(10);
}

static int open_100(void)
{
    return open_sessions(100);
}

static int open_1000(void)
{
    return open_sessions(SESSIONS);
}

static void close_scale(void)
{
    for (unsigned i = 0; i < started; i++)
        child_stop(&clients[i]);
}

/* Each time by others: where the kernel has put them decides much, for one alone. */
static int measure(uint32_t active, double seconds, double *ret_ns)
{
    static uint32_t next;
    uint64_t begin = now_ns();

    atomic_store(&shared->commands, 0);
    atomic_store(&shared->finished, 0);
    atomic_store(&shared->end_ns, begin + (uint64_t)(seconds * 1e9));
    for (uint32_t i = 0; i < active; i++)
        count_up(&shared->rounds[next++ % started]);
    await_count(&shared->finished, active);
    if (row_failed())
        return -1;
    *ret_ns = (double)(now_ns() - begin) / (double)atomic_load(&shared->commands);
    return 0;
}

static int measure_all(double seconds, double *ret_ns)
{
    return measure(started, seconds, ret_ns);
}

/* The average of a few, one after the other. */
static int measure_one(double seconds, double *ret_ns)
{
    double sum = 0;

    for (unsigned i = 0; i < PLACES; i++) {
        double ns = 0;

        if (measure(1, seconds / PLACES, &ns) < 0)
            return -1;
        sum += ns;
    }
    *ret_ns = sum / PLACES;
    return 0;
}

#define SESSIONS_ROW(n) \
    { \
        .name = "scale-sessions-" #n, \
        .what = "a record as in sessions-1000, sessions: " #n, \
        .unit = "ns", \
        .on_request = true, \
        .open = open_##n, \
        .close = close_scale, \
        .sides = { { "xpurt", measure_all } }, \
    }

const struct row scale_rows[] = {
    {
        .name = "sessions-1000",
        .what =
            "a record by 1,000 sessions of 4 streams, 64 records to a frame, each frame awaited",
        .unit = "ns",
        .promise = PROMISE_SESSIONS,
        .open = open_1000,
        .close = close_scale,
        .sides = { { "xpurt", measure_all }, { "one session", measure_one, GOAL(1.5) } },
    },
    SESSIONS_ROW(1),
    SESSIONS_ROW(10),
    SESSIONS_ROW(100),
    SESSIONS_ROW(1000),
    { 0 },
};
