/* SPDX-License-Identifier: MIT */
/* tests/misuse/bystander.h: a process that uses xpurt rightly all along, while others do not. */
#pragma once

#include "tests/support/peer.h"

#include <stdatomic.h>
#include <stdint.h>

struct bystander {
    struct test_peer peer;
    struct bystander_board {
        _Atomic uint64_t rounds;
        _Atomic uint32_t stop;
    } *board;                           /* shared with it */
};

/* Before the caller connects: it shall be a stranger. */
void bystander_start(struct bystander *bystander);

/* It goes on working; ends this process when it does not. */
void bystander_check(struct bystander *bystander);

/* Ends this process when the bystander met any error. */
void bystander_stop(struct bystander *bystander);
