/* SPDX-License-Identifier: MIT */
/* examples/ddp/team.h: memory that the ranks share with the process that started them: by it the
 * handles go round at the beginning, and what came out is told. While they train, nobody reads it to
 * know when to go on. */
#pragma once

#include "digits.h"
#include "options.h"

#include <stdatomic.h>
#include <sys/types.h>

#define STEPS_MAX ((TRAINED + BATCH_MIN - 1) / BATCH_MIN)

enum phase {
    PHASE_EXPORTED = 1,                 /* its handles are there */
    PHASE_OPENED,                       /* it has opened those of the others */
};

struct team_rank {
    pid_t pid;
    _Atomic uint32_t phase;
    _Atomic bool left;                  /* has ended, says the process that started it */
    _Atomic uint32_t failed;            /* why it leaves, an xpurt_result; set in front of that */
    char reason[512];
    xpurt_mem_handle slots;                             /* of rank 0 */
    xpurt_event_handle events[2][STEPS_MAX][RANKS_MAX]; /* what it records for each other rank */
    uint64_t fingerprint;                               /* of its weights at the end */
    double waited_ms, streamed_ms;                      /* of its stream: waits, and all of it */
};

struct team_epoch {
    float loss;                         /* mean */
    unsigned right;                     /* of TRAINED */
};

struct team {
    const struct options *options;      /* borrowed: outlives us */
    struct team_rank ranks[RANKS_MAX];
    uint64_t started_ns, ended_ns;      /* by rank 0, the training */
    unsigned tested_right;              /* of TESTED */
    _Atomic unsigned epochs_done;
    struct team_epoch epochs[EPOCHS_MAX];
};

/* Shared with processes forked from here, until exit; NULL without memory. */
struct team *team_new(const struct options *options);

/* Rank @p me has reached a phase; wait until all have. XPURT_ERROR_PEER_LOST when one has left. */
xpurt_result team_meet(struct team *team, unsigned me, enum phase phase);

/* Say why rank @p me leaves: those who fail because of that look here for the cause. */
void team_fail(struct team *team, unsigned me, xpurt_result result, const char *reason);
