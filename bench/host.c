/* SPDX-License-Identifier: MIT */
/* bench/host.c: see host.h. */
#include "bench/host.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TICKS_MIN 5                     /* fewer are chance */

struct host_times host_times(void)
{
    uint64_t user = 0, nice = 0, system = 0, idle = 0, irq = 0, softirq = 0, stolen = 0;
    FILE *file = fopen("/proc/stat", "re");

    if (file && fscanf(file,
                       "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %" SCNu64
                       " %" SCNu64 " %" SCNu64,
                       &user, &nice, &system, &idle, &irq, &softirq, &stolen) != 7)
        stolen = 0;
    if (file)
        fclose(file);
    return (struct host_times){ user + nice + system + irq + softirq, idle, stolen };
}

double host_stolen(const struct host_times *begin, bool awake)
{
    struct host_times now = host_times();
    uint64_t wanted;

    if (now.ran < begin->ran || now.idle < begin->idle || now.stolen < begin->stolen + TICKS_MIN)
        return 0;
    wanted = now.ran - begin->ran + now.stolen - begin->stolen;
    if (awake)
        wanted += now.idle - begin->idle;
    return (double)(now.stolen - begin->stolen) / (double)wanted;
}

bool host_stay_awake(void)
{
    const int32_t latency_us = 0;       /* for as long as it is open */
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, &latency_us, sizeof(latency_us)) == sizeof(latency_us);
}
