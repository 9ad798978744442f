/* SPDX-License-Identifier: MIT */
/* examples/ddp/shape.h: the sizes that host and kernels agree on. Also read by the OpenCL compiler. */
#ifndef SHAPE_H
#define SHAPE_H

#define INPUTS 64                       /* values of an image */
#define CLASSES 10
#define ROW (INPUTS + 1)                /* weights of a class: one for each input, and the bias */
#define WEIGHTS (CLASSES * ROW)

/* What is known of one image: an error for each class, the loss, whether the guess was right. */
#define DELTA (CLASSES + 2)

/* What a rank tells the others: the gradient, the sum of the losses, how many were right. */
#define SLOT (WEIGHTS + 2)

#define GROUP 32                        /* work items of a group */

#endif
