/* SPDX-License-Identifier: MIT */
/* examples/ddp/options.h: the command line of xpurt-ddp. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RANKS_MAX 8u
#define EPOCHS_MAX 10000u
#define BATCH_MIN 16u                   /* there are two events a step for each pair of ranks */

struct options {
    unsigned ranks;
    unsigned epochs;
    unsigned batch;                     /* images of a step, over all ranks */
    float rate;
    uint64_t seed;
    char folder[4096];                  /* where digits.csv and ddp.spv are */
    bool quiet;
    bool json;
};

/* 0; > 0: help was printed; < 0: wrong, and the user was told. */
int options_parse(struct options *options, int argc, char **argv);
