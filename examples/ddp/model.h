/* SPDX-License-Identifier: MIT */
/* examples/ddp/model.h: a rank's copy of the classifier, and the kernels that work on it. */
#pragma once

#include "digits.h"
#include "options.h"

#define MOMENTUM 0.9f

/* The images of a rank in one step: a piece of the order. */
struct share {
    uint32_t begin, count;
};

/* What the update adds up over an epoch; pinned host memory. */
struct totals {
    float loss, right;
};

struct model {
    xpurt_stream *stream;
    xpurt_module *module;
    xpurt_kernel *forward, *backward, *update;
    void *images, *labels, *order;      /* device memory */
    void *deltas;
    void *weights, *velocity, *totals;
    void *slots;                        /* two for each rank, shared by all */
    bool slots_opened;                  /* they are another process's */
    uint32_t *new_order;                /* pinned host memory */
    struct totals *got;                 /* the same */
};

/* Build the kernels and put the images on the current device. All but the shared slots. */
xpurt_result model_create(struct model *model, const struct options *options,
                          const struct digits *digits);

/* Rank 0 makes the slots, the others open them. */
xpurt_result model_share(struct model *model, unsigned ranks, xpurt_mem_handle *ret_handle);
xpurt_result model_open(struct model *model, const xpurt_mem_handle *handle);

/* Run each kernel once, to no effect: a device may still compile at the first launch. Waits for it. */
xpurt_result model_warm_up(struct model *model, unsigned slot);

/* Also after a failure. Work that uses it may still be going on: the memory outlives it. */
void model_close(struct model *model);

/* These put work on the stream and return. */

/* Begin an epoch with the images in the order of model->new_order. */
xpurt_result model_begin(struct model *model);

/* The gradient of a share, into slot number @p slot. */
xpurt_result model_gradient(struct model *model, struct share share, unsigned slot);

/* Correct the weights by @p ranks slots from number @p slot on, for @p batch images. */
xpurt_result model_update(struct model *model, unsigned slot, unsigned ranks, unsigned batch,
                          float rate);

/* Fetch the totals of the epoch to model->got. */
xpurt_result model_end(struct model *model);

/* These wait for the stream. */

/* How many of the test's images the model recognises. Writes slot number @p slot. */
xpurt_result model_test(struct model *model, const struct digits *digits, unsigned slot,
                        unsigned *ret_right);

/* A number that is the same for the same weights. */
xpurt_result model_fingerprint(struct model *model, uint64_t *ret_fingerprint);
