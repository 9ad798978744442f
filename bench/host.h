/* SPDX-License-Identifier: MIT */
/* bench/host.h: what the host of a virtual machine does to the figures, and how to be spared. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Time of all CPUs so far, in ticks of the kernel's accounts. */
struct host_times {
    uint64_t ran;
    uint64_t idle;
    uint64_t stolen; /* something was to run, and the host gave the CPU to others */
};

struct host_times host_times(void);

/* The part of the time since @p begin that was stolen, of what was wanted: 0 to 1. 0 for a few ticks. Where
 * idle CPUs were @p awake, they wanted it too. */
double host_stolen(const struct host_times *begin, bool awake);

/* Keep idle CPUs from any sleep, until the process ends: in a virtual machine such a CPU is the host's, and
 * comes back when the host likes. False: we may not, or the kernel cannot. */
bool host_stay_awake(void);
