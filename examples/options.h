/* SPDX-License-Identifier: MIT */
/* examples/options.h: the command line of xpurt-handoff. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum role {
    ROLE_BOTH,                          /* make all processes here */
    ROLE_PRODUCER,
    ROLE_CONSUMER,
};

struct options {
    const char *input, *output;         /* borrowed from argv */
    const char *connect;                /* the socket of two shells; NULL: both roles here */
    enum role role;
    uint64_t block;                     /* bytes */
    unsigned slots;
    unsigned pairs;
    unsigned repeat;
    int device;
    bool compare;                       /* with the old way */
    bool json;
};

/* 0; > 0: help was printed; < 0: wrong, and the user was told. */
int options_parse(struct options *options, int argc, char **argv);
