/* SPDX-License-Identifier: MIT */
/* bench/host.c: see host.h. */
#include "bench/host.h"

#include <inttypes.h>
#include <stdio.h>

#define TICKS_MIN 5                     /* fewer are chance */

struct host_times host_times(void)
{
    uint64_t user = 0, nice = 0, system = 0, irq = 0, softirq = 0, stolen = 0;
    FILE *file = fopen("/proc/stat", "re");

    if (file &&
        fscanf(file,
               "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64,
               &user, &nice, &system, &irq, &softirq, &stolen) != 6)
        stolen = 0;
    if (file)
        fclose(file);
    return (struct host_times){ user + nice + system + irq + softirq, stolen };
}

double host_stolen(const struct host_times *begin)
{
    struct host_times now = host_times();

    if (now.ran < begin->ran || now.stolen < begin->stolen + TICKS_MIN)
        return 0;
    return (double)(now.stolen - begin->stolen) /
           (double)(now.ran - begin->ran + now.stolen - begin->stolen);
}
