/* SPDX-License-Identifier: MIT */
/* bench/process.c: the row about fresh processes.
 *
 * What is timed begins in main(): starting a program and loading its libraries is left out, on both
 * sides.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/row.h"
#include "bench/samples.h"

#include <stdio.h>
#include <unistd.h>

int role_first_record(void)
{
    uint64_t begin = now_ns();
    xpurt_stream *stream;
    xpurt_event *event;
    xpurt_result r;
    double us;

    r = xpurt_stream_create(&stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_DEFAULT, &event);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(event, stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_synchronize(event);
    if (r) {
        fprintf(stderr, "xpurt-bench first-record: %s\n", xpurt_last_error());
        return -1;
    }
    us = (double)(now_ns() - begin) / 1e3;
    return write(STDIN_FILENO, &us, sizeof(us)) == sizeof(us) ? 0 : -1;
}

/* The median of what fresh processes say they took. */
static int measure_role(const char *role, char *environment_entry, double seconds, double *ret_us)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds);
    int r;

    do {
        struct child child = CHILD_NULL;
        double us;

        r = child_execute(&child, role, environment_entry);
        if (r == 0)
            r = hear_bytes(child.socket, &us, sizeof(us));
        if (r == 0)
            samples_add(&samples, us);
        child_stop(&child);
    } while (r == 0 && now_ns() < end);
    *ret_us = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

static int measure_first_record(double seconds, double *ret_us)
{
    return measure_role("first-record", NULL, seconds, ret_us);
}

static int measure_level_zero(double seconds, double *ret_us)
{
    char entry[600];

    if (!environment.soft_driver[0])
        return row_skip("libze_soft.so is not beside this program: nothing to compare with");
    snprintf(entry, sizeof(entry), "ZE_ENABLE_ALT_DRIVERS=%s", environment.soft_driver);
    return measure_role("level-zero", entry, seconds, ret_us);
}

const struct row process_rows[] = {
    {
        .name = "first-record",
        .what = "fresh process: connect, create a stream, see the first record complete",
        .unit = "us",
        .promise = PROMISE_FRESH,
        .goal = GOAL(1000),
        .sides = { { "xpurt", measure_first_record },
                   { "Level Zero in the process", measure_level_zero, GOAL(0.5) } },
    },
    { 0 },
};
