/* SPDX-License-Identifier: MIT */
/* bench/saxpy.c: see saxpy.h. Compiled with -O3 -march=native: the best the compiler does. */
#include "bench/saxpy.h"

#include <pthread.h>
#include <unistd.h>

#define THREADS_MAX 64

struct part {
    float a;
    const float *x;
    float *y;
    size_t count;
};

static void *part_run(void *data)
{
    const struct part *part = data;
    const float *restrict x = part->x;
    float *restrict y = part->y;
    float a = part->a;

    for (size_t i = 0; i < part->count; i++)
        y[i] = a * x[i] + y[i];
    return NULL;
}

int saxpy_in_c(float a, const float *x, float *y, size_t count)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus, started = 0;
    struct part parts[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    int r = 0;

    for (size_t i = 0; i < threads && r == 0; i++) {
        size_t begin = count * i / threads, end = count * (i + 1) / threads;

        parts[i] = (struct part){ a, x + begin, y + begin, end - begin };
        r = -pthread_create(&ids[i], NULL, part_run, &parts[i]);
        started += r == 0;
    }
    while (started)
        pthread_join(ids[--started], NULL);
    return r;
}
