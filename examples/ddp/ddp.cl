/* SPDX-License-Identifier: MIT */
/* examples/ddp/ddp.cl: a softmax classifier in three kernels: what each image says, the sum of that
 * over the images of a rank, and the step that all ranks take together.
 *
 * Every sum has one fixed order, so that all ranks get the same weights to the last bit.
 */
#include "shape.h"

/* One work item for each image of this rank's share of the batch. */
kernel void forward(global const float *images, global const uint *labels, global const uint *order,
                    uint begin, uint count, global const float *weights, global float *deltas)
{
    uint i = get_global_id(0);

    if (i >= count)
        return;

    uint image = order[begin + i], guess = 0;
    global const float *x = images + image * INPUTS;
    global float *delta = deltas + i * DELTA;
    float score[CLASSES], sum = 0;

    for (uint c = 0; c < CLASSES; c++) {
        score[c] = weights[c * ROW + INPUTS];
        for (uint k = 0; k < INPUTS; k++)
            score[c] += weights[c * ROW + k] * x[k];
        if (score[c] > score[guess])
            guess = c;
    }
    for (uint c = 0; c < CLASSES; c++)
        sum += exp(score[c] - score[guess]);
    for (uint c = 0; c < CLASSES; c++)
        delta[c] = exp(score[c] - score[guess]) / sum - (c == labels[image]);
    delta[CLASSES] = log(sum) + score[guess] - score[labels[image]];
    delta[CLASSES + 1] = guess == labels[image];
}

/* One work item for each number of the slot. */
kernel void backward(global const float *images, global const uint *order, uint begin, uint count,
                     global const float *deltas, global float *slot)
{
    uint n = get_global_id(0);

    if (n >= SLOT)
        return;

    uint column = n < WEIGHTS ? n / ROW : CLASSES + n - WEIGHTS;
    uint input = n < WEIGHTS ? n % ROW : INPUTS;
    float sum = 0;

    for (uint i = 0; i < count; i++) {
        float x = input < INPUTS ? images[order[begin + i] * INPUTS + input] : 1;

        sum += deltas[i * DELTA + column] * x;
    }
    slot[n] = sum;
}

/* One work item for each number of a slot; @p slots has one of each rank. */
kernel void update(global const float *slots, uint ranks, float scale, float rate, float momentum,
                   global float *weights, global float *velocity, global float *totals)
{
    uint n = get_global_id(0);

    if (n >= SLOT)
        return;

    float sum = 0;

    for (uint rank = 0; rank < ranks; rank++)
        sum += slots[rank * SLOT + n];
    if (n < WEIGHTS) {
        velocity[n] = momentum * velocity[n] + scale * sum;
        weights[n] -= rate * velocity[n];
    } else {
        totals[n - WEIGHTS] += sum;
    }
}
