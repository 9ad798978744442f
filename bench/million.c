/* SPDX-License-Identifier: MIT */
/* bench/million.c: the row about a million events that live at the same time.
 *
 * A session has room for 262,144 events, so several processes make them, all at once. Each run has
 * fresh processes, so what the kernel takes to give them memory is part of what is timed. An event
 * lives when it was recorded and nobody has destroyed it: when all were made, each is recorded, and at
 * the end, while all of them are there, each must say that it has been and is complete.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"

#include <stdlib.h>

#define MAKERS 4
#define EVENTS 250000                   /* of each of them */

static struct child makers[MAKERS];
static void *made[EVENTS];

static struct {
    struct turn begun, recording, ended;
    _Atomic uint32_t ready, created, living;
    _Atomic uint64_t created_ns[MAKERS];
    _Atomic uint32_t index;             /* the next maker's */
} *shared;

static void count_up(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    word_wake(word);
}

static int await_all(_Atomic uint32_t *word)
{
    uint32_t seen;

    while ((seen = atomic_load(word)) != MAKERS && !row_failed())
        word_sleep(word, seen);
    return row_failed() ? -1 : 0;
}

/* ---- what a maker makes ---------------------------------------------------------------------------- */

static xpurt_stream *stream;

static int connect_stream(void)
{
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_stream_synchronize(stream));
    return 0;
}

static int create_events(void)
{
    for (unsigned i = 0; i < EVENTS; i++)
        TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, (xpurt_event **)&made[i]));
    return 0;
}

static int record_events(void)
{
    for (unsigned i = 0; i < EVENTS; i++)
        TRY(xpurt_event_record(made[i], stream));
    TRY(xpurt_event_synchronize(made[EVENTS - 1]));
    return 0;
}

static int check_events(void)
{
    uint64_t id;

    for (unsigned i = 0; i < EVENTS; i++) {
        TRY(xpurt_event_get_id(made[i], &id));
        if (!id)
            return row_fail("event %u was never recorded", i);
        TRY(xpurt_event_query(made[i]));
    }
    return 0;
}

static int allocate(void)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        made[i] = malloc(64);
        if (!made[i])
            return row_fail("malloc: no memory");
        *(char *)made[i] = 1;           /* an event is written to as well */
    }
    return 0;
}

static int nothing(void)
{
    return 0;
}

/* ---- a maker ---------------------------------------------------------------------------------------- */

static int make(int (*open)(void), int (*create)(void), int (*record)(void), int (*check)(void))
{
    uint32_t index = atomic_fetch_add(&shared->index, 1);

    if (open() < 0)
        return -1;
    count_up(&shared->ready);
    if (turn_await(&shared->begun, 1, 0) < 0 || create() < 0)
        return -1;
    atomic_store(&shared->created_ns[index], now_ns());
    count_up(&shared->created);
    if (turn_await(&shared->recording, 1, 0) < 0 || record() < 0)
        return -1;
    count_up(&shared->living);
    return turn_await(&shared->ended, 1, 0) < 0 ? -1 : check();
}

static int make_events(int socket)
{
    char done = 'x';

    if (make(connect_stream, create_events, record_events, check_events) < 0)
        return -1;
    return tell_bytes(socket, &done, 1) < 0 ? -1 : hear_bytes(socket, &done, 1);
}

static int make_blocks(int socket)
{
    char done = 'x';

    if (make(nothing, allocate, nothing, nothing) < 0)
        return -1;
    return tell_bytes(socket, &done, 1) < 0 ? -1 : hear_bytes(socket, &done, 1);
}

/* ---- a run ------------------------------------------------------------------------------------------ */

static int run(int (*maker)(int socket), double *ret_per_second)
{
    uint64_t begin, end = 0;
    char done;

    for (unsigned i = 0; i < MAKERS; i++)
        if (child_start(&makers[i], maker) < 0)
            return -1;
    if (await_all(&shared->ready) < 0)
        return -1;
    begin = now_ns();
    turn_set(&shared->begun, 1);
    if (await_all(&shared->created) < 0)
        return -1;
    turn_set(&shared->recording, 1);
    if (await_all(&shared->living) < 0)
        return -1;
    turn_set(&shared->ended, 1);        /* all are there: now each looks at its own */
    for (unsigned i = 0; i < MAKERS; i++) {
        if (hear_bytes(makers[i].socket, &done, 1) < 0)
            return -1;
        if (atomic_load(&shared->created_ns[i]) > end)
            end = atomic_load(&shared->created_ns[i]);
    }
    *ret_per_second = (double)MAKERS * EVENTS * 1e9 / (double)(end - begin);
    return 0;
}

static void stop_makers(void)
{
    for (unsigned i = 0; i < MAKERS; i++)
        child_stop(&makers[i]);
}

static int measure(int (*maker)(int socket), double *ret_per_second)
{
    int r;

    shared = shared_memory(sizeof(*shared)); /* zeros for each run; it ends with the row */
    if (!shared)
        return -1;
    r = run(maker, ret_per_second);
    stop_makers();
    return r;
}

static int measure_events(double seconds, double *ret_per_second)
{
    (void)seconds;
    return measure(make_events, ret_per_second);
}

static int measure_blocks(double seconds, double *ret_per_second)
{
    (void)seconds;
    return measure(make_blocks, ret_per_second);
}

const struct row million_rows[] = {
    {
        .name = "events-million",
        .what = "1,000,000 live events of 4 fresh processes: creating them, all processes at once",
        .unit = "events/s",
        .more = true,
        .promise = PROMISE_MILLION,
        .goal = GOAL(2e6),
        .close = stop_makers,
        .sides = { { "xpurt", measure_events }, { "malloc(64), as many", measure_blocks } },
    },
    { 0 },
};
