/* SPDX-License-Identifier: MIT */
/* bench/host.h: what the host of a virtual machine did to the figures. */
#pragma once

#include <stdint.h>

/* Time of all CPUs so far, in ticks of the kernel's accounts. */
struct host_times {
    uint64_t ran;
    uint64_t stolen; /* something was to run, and the host gave the CPU to others */
};

struct host_times host_times(void);

/* The part of the time since @p begin that was stolen, of what was wanted: 0 to 1. 0 for a few ticks. */
double host_stolen(const struct host_times *begin);
