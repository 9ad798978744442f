/* SPDX-License-Identifier: MIT */
/* examples/ddp/rank.c: what a process that trains does.
 *
 * Guarantees of this file:
 *   - from the beginning of an epoch to its end the host only submits: it waits for nothing but that;
 *   - the sums of a step are those of the whole batch, however many ranks there are;
 *   - a rank that fails because of another one names the one that was first.
 */
#include "rank.h"

#include "clock.h"
#include "links.h"
#include "model.h"

#include "../meter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define TOLD_WITHIN_MS 200u

struct rank {
    struct team *team;                  /* borrowed: outlives us */
    const struct options *options;      /* the same */
    unsigned me, steps;                 /* steps of an epoch */
    unsigned turn;                      /* which of the two slots of each rank the next step uses */
    uint64_t random;
    struct digits digits;
    struct model model;
    struct links links;
    struct clock clock;
};

/* ---- training -------------------------------------------------------------------------------- */

/* Slots of the same turn lie side by side, in the order of the ranks. */
static unsigned slot_of(const struct rank *rank, unsigned owner)
{
    return rank->turn * rank->options->ranks + owner;
}

/* Batches may be no multiple of the ranks, and the last one of an epoch is what is left. */
static unsigned batch_size(const struct rank *rank, unsigned step)
{
    unsigned left = TRAINED - step * rank->options->batch;

    return left < rank->options->batch ? left : rank->options->batch;
}

static struct share share_of(const struct rank *rank, unsigned step)
{
    unsigned batch = batch_size(rank, step), ranks = rank->options->ranks;
    unsigned begin = batch * rank->me / ranks, end = batch * (rank->me + 1) / ranks;

    return (struct share){ step * rank->options->batch + begin, end - begin };
}

static xpurt_result submit_step(struct rank *rank, unsigned epoch, unsigned step)
{
    xpurt_stream *stream = rank->model.stream;
    xpurt_result r;

    r = model_gradient(&rank->model, share_of(rank, step), slot_of(rank, rank->me));
    if (r == XPURT_SUCCESS)
        r = links_record(&rank->links, epoch, step, stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(rank->clock.before[step], stream);
    if (r == XPURT_SUCCESS)
        r = links_wait(&rank->links, epoch, step, stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(rank->clock.after[step], stream);
    if (r == XPURT_SUCCESS)
        r = model_update(&rank->model, slot_of(rank, 0), rank->options->ranks,
                         batch_size(rank, step), rank->options->rate);
    rank->turn = !rank->turn;
    return r;
}

/* The commands of a step travel together. */
static xpurt_result submit_batch(struct rank *rank, unsigned epoch, unsigned step)
{
    xpurt_result r = xpurt_batch_begin(), end;

    if (r)
        return r;
    r = submit_step(rank, epoch, step);
    end = xpurt_batch_end();
    return r ? r : end;
}

static xpurt_result submit_epoch(struct rank *rank, unsigned epoch)
{
    xpurt_stream *stream = rank->model.stream;
    xpurt_result r;

    r = xpurt_event_record(rank->clock.begin, stream);
    if (r == XPURT_SUCCESS)
        r = model_begin(&rank->model);
    for (unsigned step = 0; step < rank->steps && r == XPURT_SUCCESS; step++)
        r = submit_batch(rank, epoch, step);
    if (r == XPURT_SUCCESS)
        r = model_end(&rank->model);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(rank->clock.end, stream);
    return r;
}

/* All ranks know the sums; one tells them. */
static void epoch_tell(struct rank *rank, unsigned epoch)
{
    struct team *team = rank->team;

    if (rank->me != 0)
        return;
    team->epochs[epoch].loss = rank->model.got->loss / TRAINED;
    team->epochs[epoch].right = (unsigned)rank->model.got->right;
    team->ended_ns = now_ns();
    atomic_store(&team->epochs_done, epoch + 1);
}

static xpurt_result train_epoch(struct rank *rank, unsigned epoch)
{
    struct team_rank *told = &rank->team->ranks[rank->me];
    xpurt_result r;

    digits_shuffle(rank->model.new_order, &rank->random);
    r = submit_epoch(rank, epoch);
    if (r == XPURT_SUCCESS)
        r = xpurt_stream_synchronize(rank->model.stream);
    if (r == XPURT_SUCCESS)
        r = clock_read(&rank->clock, &told->waited_ms, &told->streamed_ms);
    if (r == XPURT_SUCCESS)
        epoch_tell(rank, epoch);
    return r;
}

static xpurt_result train(struct rank *rank)
{
    struct team *team = rank->team;
    xpurt_result r = XPURT_SUCCESS;

    if (rank->me == 0)
        team->started_ns = now_ns();
    for (unsigned epoch = 0; epoch < rank->options->epochs && r == XPURT_SUCCESS; epoch++)
        r = train_epoch(rank, epoch);
    if (r == XPURT_SUCCESS && rank->me == 0) /* the slot of the next step: nobody reads it now */
        r = model_test(&rank->model, &rank->digits, slot_of(rank, 0), &team->tested_right);
    if (r == XPURT_SUCCESS)
        r = model_fingerprint(&rank->model, &team->ranks[rank->me].fingerprint);
    return r;
}

/* ---- before and after ------------------------------------------------------------------------ */

static xpurt_result prepare(struct rank *rank)
{
    struct team_rank *first = &rank->team->ranks[0];
    xpurt_result r;

    r = digits_load(&rank->digits, rank->options->folder);
    if (r == XPURT_SUCCESS)
        r = xpurt_init();
    if (r == XPURT_SUCCESS)
        r = model_create(&rank->model, rank->options, &rank->digits);
    if (r == XPURT_SUCCESS)
        r = clock_create(&rank->clock, rank->steps);
    if (r == XPURT_SUCCESS)
        r = links_create(&rank->links, rank->team, rank->me, rank->steps);
    if (r == XPURT_SUCCESS && rank->me == 0)
        r = model_share(&rank->model, rank->options->ranks, &first->slots);
    if (r == XPURT_SUCCESS)
        r = team_meet(rank->team, rank->me, PHASE_EXPORTED);
    if (r == XPURT_SUCCESS && rank->me != 0)
        r = model_open(&rank->model, &first->slots);
    if (r == XPURT_SUCCESS)
        r = links_open(&rank->links);
    if (r == XPURT_SUCCESS)
        r = model_warm_up(&rank->model, slot_of(rank, rank->me));
    if (r == XPURT_SUCCESS)
        r = team_meet(rank->team, rank->me, PHASE_OPENED);
    return r;
}

/* Of the others that are gone or have failed, one that was not itself brought down by another one;
 * or -1. */
static int first_lost(struct rank *rank)
{
    for (unsigned other = 0; other < rank->options->ranks; other++) {
        struct team_rank *told = &rank->team->ranks[other];
        bool lost = atomic_load(&told->left) || links_lost(&rank->links, other);
        uint32_t failed = atomic_load(&told->failed); /* read last: set before it is lost */

        if (other != rank->me && (failed ? failed != XPURT_ERROR_PEER_LOST : lost))
            return (int)other;
    }
    return -1;
}

/* The daemon may know of a death before the parent of the ranks does, who tells us: wait for it a little. */
static int first_lost_soon(struct rank *rank)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    int lost = first_lost(rank);

    for (unsigned i = 0; lost < 0 && i < TOLD_WITHIN_MS; i++) {
        nanosleep(&pause, NULL);
        lost = first_lost(rank);
    }
    return lost;
}

static xpurt_result explain(struct rank *rank, xpurt_result result, char *reason, size_t size)
{
    char said[400];
    int lost = -1;

    snprintf(said, sizeof(said), "%s", problem_text());
    if (result == XPURT_ERROR_PEER_LOST || result == XPURT_ERROR_DEPENDENCY ||
        result == XPURT_ERROR_STALE_HANDLE)
        lost = first_lost_soon(rank);
    if (lost < 0) {
        snprintf(reason, size, "%s", said);
        return result;
    }
    snprintf(reason, size, "rank %d (process %d) is gone: %s", lost,
             (int)rank->team->ranks[lost].pid, said);
    return XPURT_ERROR_PEER_LOST;
}

enum status rank_run(struct team *team, unsigned me)
{
    const struct options *options = team->options;
    static struct rank rank;            /* large */
    char name[16], reason[512];
    xpurt_result r;

    rank = (struct rank){ .team = team, .options = options, .me = me, .random = options->seed };
    rank.steps = (TRAINED + options->batch - 1) / options->batch;
    snprintf(name, sizeof(name), "rank %u", me);
    prctl(PR_SET_NAME, name);           /* for ps, top and the daemon's log */

    r = prepare(&rank);
    if (r == XPURT_SUCCESS)
        r = train(&rank);
    if (r) {
        r = explain(&rank, r, reason, sizeof(reason));
        team_fail(team, me, r, reason);
    }
    links_close(&rank.links);
    clock_close(&rank.clock);
    model_close(&rank.model);
    return problem_status(r);
}
