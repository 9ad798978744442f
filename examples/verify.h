/* SPDX-License-Identifier: MIT */
/* examples/verify.h: is a copy equal to the original? */
#pragma once

/* 1: equal; 0: different; or -errno. */
int files_equal(const char *a, const char *b);
