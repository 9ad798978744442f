/* SPDX-License-Identifier: MIT */
/* bench/process.c: the rows about fresh processes.
 *
 * Both sides are small programs that link what they need and nothing else. The clock starts before
 * they are started, so that loading and linking count as they do for a user. Ours is linked statically,
 * as somebody links it who cares for that; by the shared library in the second row. The third has the
 * first one from main(): what is left for a program that has loaded its libraries.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/fresh.h"
#include "bench/row.h"
#include "bench/samples.h"

#include <stdlib.h>

/* The programs inherit it. */
static int choose_driver(void)
{
    setenv("ZE_ENABLE_ALT_DRIVERS", environment.soft_driver, 1);
    return 0;
}

/* The median of what fresh processes take. */
static int measure_program(const char *name, bool from_main, double seconds, double *ret_us)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds);
    int r;

    do {
        struct child child = CHILD_NULL;
        struct fresh_times times = { 0 };
        uint64_t begin = now_ns();

        r = child_execute_program(&child, name);
        if (r == 0)
            r = hear_bytes(child.socket, &times, sizeof(times));
        if (r == 0)
            samples_add(&samples,
                        (double)(times.done_ns - (from_main ? times.main_ns : begin)) / 1e3);
        child_stop(&child);
    } while (r == 0 && now_ns() < end);
    *ret_us = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_xpurt(double seconds, double *ret_us)
{
    return measure_program("xpurt-bench-fresh", false, seconds, ret_us);
}

static int measure_xpurt_shared(double seconds, double *ret_us)
{
    return measure_program("xpurt-bench-fresh-shared", false, seconds, ret_us);
}

static int measure_xpurt_main(double seconds, double *ret_us)
{
    return measure_program("xpurt-bench-fresh", true, seconds, ret_us);
}

static int measure_ze(bool from_main, double seconds, double *ret_us)
{
    if (!environment.soft_driver[0])
        return row_skip("libze_soft.so is not beside this program: nothing to compare with");
    return measure_program("xpurt-bench-fresh-ze", from_main, seconds, ret_us);
}

static int measure_level_zero(double seconds, double *ret_us)
{
    return measure_ze(false, seconds, ret_us);
}

static int measure_level_zero_main(double seconds, double *ret_us)
{
    return measure_ze(true, seconds, ret_us);
}

const struct row process_rows[] = {
    {
        .name = "first-record",
        .what =
            "start a process that connects, creates a stream, sees the first record complete; it is "
            "linked statically, as what loads a driver cannot be",
        .unit = "us",
        .awake = true,
        .promise = PROMISE_FRESH,
        .goal = GOAL(1000),
        .open = choose_driver,
        .sides = { { "xpurt", measure_xpurt },
                   { "Level Zero in the process", measure_level_zero, GOAL(0.5) } },
    },
    {
        .name = "first-record-shared",
        .what = "the same with a process that has to load the shared library",
        .unit = "us",
        .awake = true,
        .open = choose_driver,
        .sides = { { "xpurt", measure_xpurt_shared },
                   { "Level Zero in the process", measure_level_zero } },
    },
    {
        .name = "first-record-main",
        .what = "as first-record, from main(), with the libraries loaded",
        .unit = "us",
        .awake = true,
        .goal = GOAL(1000),
        .open = choose_driver,
        .sides = { { "xpurt", measure_xpurt_main },
                   { "Level Zero in the process", measure_level_zero_main } },
    },
    { 0 },
};
