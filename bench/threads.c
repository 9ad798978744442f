/* SPDX-License-Identifier: MIT */
/* bench/threads.c: rows, on request, about threads of one process that record at the same time, each
 * on a stream of its own. They share the session, and so its lock.
 */
#include "bench/clock.h"
#include "bench/record.h"
#include "bench/row.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS_MAX 8
#define BURSTS 64                       /* that are recorded before the host waits */

static unsigned n_threads;
static struct recorder {
    pthread_t thread;
    xpurt_stream *stream;
    xpurt_event *events[RECORD_BURST];
} recorders[THREADS_MAX];

static _Atomic uint64_t end_ns, records;

static int open_recorder(struct recorder *recorder)
{
    TRY(xpurt_stream_create(&recorder->stream));
    for (unsigned i = 0; i < RECORD_BURST; i++)
        TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &recorder->events[i]));
    return 0;
}

static int open_threads(unsigned n)
{
    TRY(xpurt_set_transport(XPURT_TRANSPORT_RING));
    for (; n_threads < n; n_threads++)
        if (open_recorder(&recorders[n_threads]) < 0)
            return -1;
    return 0;
}

static int open_1(void)
{
    return open_threads(1);
}

static int open_2(void)
{
    return open_threads(2);
}

static int open_4(void)
{
    return open_threads(4);
}

static int open_8(void)
{
    return open_threads(8);
}

static int record_bursts(const struct recorder *recorder)
{
    for (unsigned k = 0; k < BURSTS; k++)
        for (unsigned i = 0; i < RECORD_BURST; i++)
            TRY(xpurt_event_record(recorder->events[i], recorder->stream));
    TRY(xpurt_event_synchronize(recorder->events[RECORD_BURST - 1]));
    return 0;
}

static void *record(void *data)
{
    uint64_t done = 0;

    while (now_ns() < atomic_load(&end_ns) && record_bursts(data) == 0)
        done += BURSTS * RECORD_BURST;
    atomic_fetch_add(&records, done);
    return NULL;
}

static int measure(double seconds, double *ret_per_second)
{
    uint64_t begin = now_ns();
    unsigned running = 0;
    int e = 0;

    atomic_store(&records, 0);
    atomic_store(&end_ns, deadline_ns(seconds));
    for (; running < n_threads && !e; running += !e)
        e = pthread_create(&recorders[running].thread, NULL, record, &recorders[running]);
    for (unsigned i = 0; i < running; i++)
        pthread_join(recorders[i].thread, NULL);
    if (e)
        return row_fail("pthread_create: %s", strerror(e));
    *ret_per_second = (double)atomic_load(&records) * 1e9 / (double)(now_ns() - begin);
    return row_failed() ? -1 : 0;
}

#define THREADS_ROW(n) \
    { \
        .name = "scale-threads-" #n, \
        .what = "records by the ring, threads of one process with a stream each: " #n, \
        .unit = "records/s", \
        .more = true, \
        .on_request = true, \
        .open = open_##n, \
        .sides = { { "xpurt", measure } }, \
    }

const struct row threads_rows[] = {
    THREADS_ROW(1), THREADS_ROW(2), THREADS_ROW(4), THREADS_ROW(8), { 0 },
};
