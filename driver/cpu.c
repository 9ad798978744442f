/* SPDX-License-Identifier: MIT */
/* cpu.c: facts about the CPU, from /proc/cpuinfo and the C library. What cannot be found out is 0
 * or "a CPU"; nothing here fails.
 */
#include "cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char name[128] = "a CPU";
static uint32_t clock_mhz, vendor_id, simd_width = 4;
static size_t caches[CPU_CACHES], cache_line = 64;
static uint32_t cache_count;

static void read_flags(const char *flags)
{
    if (strstr(flags, " avx512f"))
        simd_width = 16;
    else if (strstr(flags, " avx2"))
        simd_width = 8;
}

static void read_line(char *line)
{
    char *value = strchr(line, ':');

    if (!value)
        return;
    line[strcspn(line, "\n")] = '\0';
    value += 1 + strspn(value + 1, " ");
    if (strncmp(line, "model name", 10) == 0)
        snprintf(name, sizeof(name), "%s", value);
    else if (strncmp(line, "cpu MHz", 7) == 0)
        clock_mhz = (uint32_t)strtod(value, NULL);
    else if (strncmp(line, "vendor_id", 9) == 0)
        vendor_id = strstr(value, "Intel") ? 0x8086 : strstr(value, "AMD") ? 0x1022 : 0;
    else if (strncmp(line, "flags", 5) == 0)
        read_flags(value - 1);
}

static void read_caches(void)
{
    const int levels[CPU_CACHES] = { _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                     _SC_LEVEL3_CACHE_SIZE };
    long line = sysconf(_SC_LEVEL1_DCACHE_LINESIZE), size;

    if (line > 0)
        cache_line = (size_t)line;
    for (size_t i = 0; i < CPU_CACHES; i++) {
        size = sysconf(levels[i]);
        if (size > 0)
            caches[cache_count++] = (size_t)size;
    }
}

static void read_all(void)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t size = 0;

    /* the first CPU only: an empty line ends it */
    while (file && getline(&line, &size, file) > 1)
        read_line(line);
    free(line);
    if (file)
        fclose(file);
    read_caches();
}

const char *cpu_name(void)
{
    pthread_once(&once, read_all);
    return name;
}

uint32_t cpu_clock_mhz(void)
{
    pthread_once(&once, read_all);
    return clock_mhz;
}

uint32_t cpu_vendor_id(void)
{
    pthread_once(&once, read_all);
    return vendor_id;
}

uint32_t cpu_simd_width(void)
{
    pthread_once(&once, read_all);
    return simd_width;
}

uint32_t cpu_caches(size_t ret_sizes[CPU_CACHES])
{
    pthread_once(&once, read_all);
    memcpy(ret_sizes, caches, sizeof(caches));
    return cache_count;
}

size_t cpu_cache_line(void)
{
    pthread_once(&once, read_all);
    return cache_line;
}
