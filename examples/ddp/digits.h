/* SPDX-License-Identifier: MIT */
/* examples/ddp/digits.h: the images, which of them train, and in which order. */
#pragma once

#include "shape.h"

#include <stdint.h>
#include <xpurt/xpurt.h>

#define IMAGES 1797u
#define TEST_EVERY 5u                   /* images number 0, 5, 10, ... are for the test */
#define TESTED ((IMAGES + TEST_EVERY - 1) / TEST_EVERY)
#define TRAINED (IMAGES - TESTED)

struct digits {
    float images[IMAGES][INPUTS];       /* 0 to 1 */
    uint32_t labels[IMAGES];
    uint32_t test[TESTED];              /* numbers of images */
    uint32_t train[TRAINED];
};

/* Read digits.csv from @p folder. */
xpurt_result digits_load(struct digits *digits, const char *folder);

/* Numbers that look random: splitmix64, the same on every machine. */
uint64_t random_next(uint64_t *state);

/* Put the numbers of the training images into an order that depends on @p state only: from the last
 * place to the second, swap with place random_next() % (place + 1). */
void digits_shuffle(uint32_t order[TRAINED], uint64_t *state);
