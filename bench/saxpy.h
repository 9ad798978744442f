/* SPDX-License-Identifier: MIT */
/* bench/saxpy.h: y = a x + y by a loop in C, on as many threads as there are CPUs. */
#pragma once

#include <stddef.h>

/* 0, or -errno when a thread cannot be started. */
int saxpy_in_c(float a, const float *x, float *y, size_t count);
