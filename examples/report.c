/* SPDX-License-Identifier: MIT */
/* examples/report.c: what is shown while it runs, and at the end.
 *
 * Guarantees of this file: progress goes to a terminal on stderr only, the result to stdout; what
 * was not measured is not printed.
 */
#include "report.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static bool shown;

void progress_show(const char *what, uint64_t bytes, uint64_t total, double seconds)
{
    double rate = seconds > 0 ? (double)bytes / seconds : 0;

    if (!isatty(STDERR_FILENO))
        return;
    shown = true;
    fprintf(stderr, "\r%s: %.1f MB", what, (double)bytes / 1e6);
    if (total)
        fprintf(stderr, " of %.1f MB (%.0f %%)", (double)total / 1e6,
                100 * (double)bytes / (double)total);
    fprintf(stderr, ", %.2f GB/s\033[K", rate / 1e9);
}

void progress_clear(void)
{
    if (shown)
        fprintf(stderr, "\r\033[K");
    shown = false;
}

static double rate_of(const struct meter *meter, uint64_t count)
{
    double seconds = meter_seconds(meter);

    return seconds > 0 ? (double)count / seconds : 0;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void print_run(const char *what, const struct meter *meter)
{
    printf("%-16s%" PRIu64 " block%s, %.1f MB in %.3f s: %.0f hand-offs/s, %.2f GB/s\n", what,
           meter->blocks, meter->blocks == 1 ? "" : "s", (double)meter->bytes / 1e6,
           meter_seconds(meter), rate_of(meter, meter->blocks), rate_of(meter, meter->bytes) / 1e9);
}

static void print_text(const struct options *options, const struct meter *events,
                       const struct meter *old, unsigned verified)
{
    uint64_t p50 = meter_percentile(events, 50), p99 = meter_percentile(events, 99);
    double old_rate = old ? rate_of(old, old->blocks) : 0;

    print_run("shared events:", events);
    if (p50)
        printf("%-16sp50 %.1f us, p99 %.1f us\n", "ready-to-seen:", (double)p50 / 1e3,
               (double)p99 / 1e3);
    if (old)
        print_run("old way:", old);
    if (old_rate > 0)
        printf("%-16s%.2f times the hand-offs/s of the old way\n",
               "ratio:", rate_of(events, events->blocks) / old_rate);
    if (verified)
        printf("%-16s%u output%s equal to %s%s\n", "verified:", verified, verified > 1 ? "s" : "",
               options->input, old || options->repeat > 1 ? ", after each run" : "");
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void print_json_run(const struct meter *meter)
{
    printf("\"blocks\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"handoffs_per_second\": %.1f, \"bytes_per_second\": %.0f",
           meter->blocks, meter->bytes, meter_seconds(meter), rate_of(meter, meter->blocks),
           rate_of(meter, meter->bytes));
}

static void print_json(const struct options *options, const struct meter *events,
                       const struct meter *old, unsigned verified)
{
    uint64_t p50 = meter_percentile(events, 50);
    double old_rate = old ? rate_of(old, old->blocks) : 0;

    printf("{\"pairs\": %u, ", options->pairs);
    print_json_run(events);
    if (p50)
        printf(", \"ready_to_seen_p50_ns\": %" PRIu64 ", \"ready_to_seen_p99_ns\": %" PRIu64, p50,
               meter_percentile(events, 99));
    if (old) {
        printf(", \"old_way\": {");
        print_json_run(old);
        printf("}");
    }
    if (old_rate > 0)
        printf(", \"ratio\": %.3f", rate_of(events, events->blocks) / old_rate);
    printf(", \"verified\": %u}\n", verified);
}

void report_print(const struct options *options, const struct meter *events,
                  const struct meter *old, unsigned verified)
{
    (options->json ? print_json : print_text)(options, events, old, verified);
}
