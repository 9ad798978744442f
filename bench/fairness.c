/* SPDX-License-Identifier: MIT */
/* bench/fairness.c: rows about a client that submits as fast as it can, and one beside it that
 * measures what a record and the wait for it take.
 *
 * The other process also takes a CPU. What that alone costs is shown as a peer: the same with a
 * process that computes and asks nothing of xpurt.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/record.h"
#include "bench/row.h"
#include "bench/samples.h"

#define SETTLE_NS 20000000              /* until what the other process began is over */

enum mischief { NOTHING, FLOOD_SINGLE, FLOOD_BATCHED, COMPUTE };

static struct child other = CHILD_NULL;
static xpurt_stream *stream;
static xpurt_event *event;

static struct {
    _Atomic uint32_t mischief;          /* what the other process does now */
    _Atomic uint64_t done;              /* commands of it */
} *shared;

static int flood(xpurt_event *const events[RECORD_BURST], xpurt_stream *on, bool batched)
{
    if (batched)
        TRY(xpurt_batch_begin());
    for (unsigned i = 0; i < RECORD_BURST; i++)
        TRY(xpurt_event_record(events[i], on));
    if (batched)
        TRY(xpurt_batch_end());
    atomic_fetch_add(&shared->done, RECORD_BURST);
    return 0;
}

static int misbehave(int socket)
{
    xpurt_event *events[RECORD_BURST];
    xpurt_stream *own;

    (void)socket;
    TRY(xpurt_stream_create(&own));
    for (unsigned i = 0; i < RECORD_BURST; i++)
        TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &events[i]));
    for (;;) {
        uint32_t mischief = atomic_load(&shared->mischief);

        if (mischief == NOTHING)
            word_sleep(&shared->mischief, mischief);
        else if (mischief == COMPUTE)
            atomic_fetch_add(&shared->done, 1);
        else if (flood(events, own, mischief == FLOOD_BATCHED) < 0)
            return -1;
    }
}

static int open_fairness(void)
{
    shared = shared_memory(sizeof(*shared));
    if (!shared || child_start(&other, misbehave) < 0)
        return -1;
    TRY(xpurt_stream_create(&stream));
    TRY(xpurt_event_create(XPURT_EVENT_DEFAULT, &event));
    return 0;
}

static void close_fairness(void)
{
    child_stop(&other);
}

static void mischief_set(enum mischief mischief)
{
    atomic_store(&shared->mischief, mischief);
    word_wake(&shared->mischief);
    sleep_ns(SETTLE_NS);
}

/* The median time of a record and the wait for it. */
static int measure(enum mischief mischief, double seconds, double *ret_ns)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end, begin, done;
    xpurt_result r;

    mischief_set(mischief);
    end = deadline_ns(seconds);
    done = atomic_load(&shared->done);
    do {
        begin = now_ns();
        r = xpurt_event_record(event, stream);
        if (r == XPURT_SUCCESS)
            r = xpurt_event_synchronize(event);
        samples_add(&samples, (double)(now_ns() - begin));
    } while (r == XPURT_SUCCESS && begin < end);
    done = atomic_load(&shared->done) - done;
    mischief_set(NOTHING);

    *ret_ns = samples_quantile(&samples, 0.5);
    if (mischief == FLOOD_SINGLE || mischief == FLOOD_BATCHED)
        row_note("the other one: %.1f M records/s; 99 of 100 within %.1f us",
                 (double)done / seconds / 1e6, samples_quantile(&samples, 0.99) / 1e3);
    samples_deinit(&samples);
    return r ? row_failed_call("record and synchronise", r) : 0;
}

static int measure_single(double seconds, double *ret_ns)
{
    return measure(FLOOD_SINGLE, seconds, ret_ns);
}

static int measure_batched(double seconds, double *ret_ns)
{
    return measure(FLOOD_BATCHED, seconds, ret_ns);
}

static int measure_alone(double seconds, double *ret_ns)
{
    return measure(NOTHING, seconds, ret_ns);
}

static int measure_compute(double seconds, double *ret_ns)
{
    return measure(COMPUTE, seconds, ret_ns);
}

const struct row fairness_rows[] = {
    {
        .name = "fairness-single",
        .what = "record and wait while another process records as fast as it can",
        .unit = "ns",
        .promise = PROMISE_FAIR,
        .open = open_fairness,
        .close = close_fairness,
        .sides = { { "xpurt", measure_single },
                   { "alone", measure_alone, GOAL(2) },
                   { "beside one that computes", measure_compute } },
    },
    {
        .name = "fairness-batched",
        .what = "the same while another process does that 64 records to a frame",
        .unit = "ns",
        .promise = PROMISE_FAIR,
        .open = open_fairness,
        .close = close_fairness,
        .sides = { { "xpurt", measure_batched },
                   { "alone", measure_alone, GOAL(2) },
                   { "beside one that computes", measure_compute } },
    },
    { 0 },
};
