/* SPDX-License-Identifier: MIT */
/* bench/clock.c: see clock.h.
 *
 * Guarantees of this file: the counter is used only where the kernel itself keeps time by it.
 */
#include "bench/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LEARN_NS UINT64_C(20000000)     /* the rate is right to a few millionths then */

double clock_rate;

static bool counter_keeps_time(void)
{
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

    if (file) {
        if (!fgets(name, sizeof(name), file))
            name[0] = '\0';
        fclose(file);
    }
    return strcmp(name, "tsc\n") == 0;
}

void clock_init(void)
{
    uint64_t begin, begin_ns;

    if (!counter_keeps_time())
        return;
    begin_ns = now_ns();
    begin = clock_counter();
    sleep_ns(LEARN_NS);
    clock_rate = (double)(now_ns() - begin_ns) / (double)(clock_counter() - begin);
}
