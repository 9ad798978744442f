/* SPDX-License-Identifier: MIT */
/* examples/ddp/team.c: memory that the ranks share with the process that started them.
 *
 * Guarantees of this file: what is read behind a flag is what was written in front of it; nobody waits
 * for a rank that has left.
 */
#include "team.h"

#include "../problem.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define LOOK_EVERY_NS 1000000

struct team *team_new(const struct options *options)
{
    struct team *team =
        mmap(NULL, sizeof(*team), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (team == MAP_FAILED)
        return NULL;
    team->options = options;
    return team;
}

static xpurt_result rank_await(struct team *team, unsigned rank, enum phase phase)
{
    const struct timespec pause = { .tv_nsec = LOOK_EVERY_NS };
    struct team_rank *other = &team->ranks[rank];

    while (atomic_load(&other->phase) < phase) {
        if (atomic_load(&other->left) && atomic_load(&other->phase) < phase)
            return problem(XPURT_ERROR_PEER_LOST, "it was not ready yet");
        nanosleep(&pause, NULL);
    }
    return XPURT_SUCCESS;
}

xpurt_result team_meet(struct team *team, unsigned me, enum phase phase)
{
    xpurt_result r = XPURT_SUCCESS;

    atomic_store(&team->ranks[me].phase, phase);
    for (unsigned rank = 0; rank < team->options->ranks && r == XPURT_SUCCESS; rank++)
        r = rank_await(team, rank, phase);
    return r;
}

void team_fail(struct team *team, unsigned me, xpurt_result result, const char *reason)
{
    struct team_rank *rank = &team->ranks[me];

    snprintf(rank->reason, sizeof(rank->reason), "%s", reason);
    atomic_store(&rank->failed, (uint32_t)result);
}
