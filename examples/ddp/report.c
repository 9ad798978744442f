/* SPDX-License-Identifier: MIT */
/* examples/ddp/report.c: what is shown while it trains, and at the end.
 *
 * Guarantees of this file: results go to stdout, why there are none goes to stderr.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static double share(unsigned part, unsigned whole)
{
    return (double)part / whole;
}

static double images_per_second(const struct team *team)
{
    return (double)team->options->epochs * TRAINED * 1e9 /
           (double)(team->ended_ns - team->started_ns);
}

static double waiting(const struct team_rank *rank)
{
    return rank->streamed_ms > 0 ? rank->waited_ms / rank->streamed_ms : 0;
}

void epochs_show(const struct team *team, unsigned *shown)
{
    unsigned done = atomic_load(&team->epochs_done);

    if (team->options->quiet || team->options->json)
        return;
    for (; *shown < done; ++*shown)
        printf("epoch %3u: loss %.6f, training accuracy %.4f\n", *shown + 1,
               (double)team->epochs[*shown].loss, share(team->epochs[*shown].right, TRAINED));
    fflush(stdout);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Without a daemon, for instance: then once is enough. */
static bool all_the_same(const struct team *team)
{
    const struct team_rank *first = &team->ranks[0];

    for (unsigned rank = 1; rank < team->options->ranks; rank++)
        if (team->ranks[rank].failed != first->failed ||
            strcmp(team->ranks[rank].reason, first->reason) != 0)
            return false;
    return team->options->ranks > 1;
}

static void failure_print(const char *who, const struct team_rank *rank)
{
    if (rank->failed)
        fprintf(stderr, "xpurt-ddp: %s: %s: %s\n", who,
                xpurt_result_name((xpurt_result)rank->failed), rank->reason);
}

void failures_print(const struct team *team)
{
    char who[16];

    if (all_the_same(team)) {
        failure_print("all ranks", &team->ranks[0]);
        return;
    }
    for (unsigned rank = 0; rank < team->options->ranks; rank++) {
        snprintf(who, sizeof(who), "rank %u", rank);
        failure_print(who, &team->ranks[rank]);
    }
}

/* ---- results --------------------------------------------------------------------------------- */

static void print_text(const struct team *team)
{
    printf("%-16s%.4f (%u of %u images that were not trained on)\n",
           "test accuracy:", share(team->tested_right, TESTED), team->tested_right, TESTED);
    printf("%-16s%.0f\n", "images/s:", images_per_second(team));
    printf("%-16s", "waiting:");
    for (unsigned rank = 0; rank < team->options->ranks; rank++)
        printf("%srank %u %.1f %%", rank ? ", " : "", rank, 100 * waiting(&team->ranks[rank]));
    printf(" of the time of its stream\n");
}

static void print_json(const struct team *team)
{
    const struct options *options = team->options;

    printf("{\"ranks\": %u, \"epochs\": %u, \"batch\": %u, \"rate\": %g, \"seed\": %" PRIu64,
           options->ranks, options->epochs, options->batch, (double)options->rate, options->seed);
    printf(", \"loss\": [");
    for (unsigned i = 0; i < options->epochs; i++)
        printf("%s%.7f", i ? ", " : "", (double)team->epochs[i].loss);
    printf("], \"training_accuracy\": [");
    for (unsigned i = 0; i < options->epochs; i++)
        printf("%s%.6f", i ? ", " : "", share(team->epochs[i].right, TRAINED));
    printf("], \"test_accuracy\": %.6f, \"images_per_second\": %.1f, \"waiting\": [",
           share(team->tested_right, TESTED), images_per_second(team));
    for (unsigned rank = 0; rank < options->ranks; rank++)
        printf("%s%.4f", rank ? ", " : "", waiting(&team->ranks[rank]));
    printf("]}\n");
}

void report_print(const struct team *team)
{
    (team->options->json ? print_json : print_text)(team);
}
