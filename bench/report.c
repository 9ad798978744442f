/* SPDX-License-Identifier: MIT */
/* bench/report.c: the table.
 *
 * Guarantees of this file: a figure stands beside its least and greatest; a goal stands beside what
 * was reached, met or not; what was not measured is named.
 */
#include "bench/report.h"
#include "bench/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TEXT 24

static struct {
    unsigned goals, missed, failed;
    char names[1000];                   /* of rows whose goals were missed */
} total;

/* ---- the machine ---------------------------------------------------------------------------------- */

static void find_cpu(char *ret_cpu, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(ret_cpu, size, "unknown CPU");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(ret_cpu, size, "%s", strchr(line, ':') + 2);
            break;
        }
    if (file)
        fclose(file);
}

void machine_describe(struct machine *ret_machine)
{
    xpurt_device_properties properties;
    struct utsname kernel;

    find_cpu(ret_machine->cpu, sizeof(ret_machine->cpu));
    ret_machine->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uname(&kernel);
    snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%s %s", kernel.sysname,
             kernel.release);
    snprintf(ret_machine->device, sizeof(ret_machine->device), "no device: %s",
             xpurt_device_get_properties(0, &properties) ? xpurt_last_error() : "");
    if (xpurt_device_get_properties(0, &properties) == XPURT_SUCCESS)
        snprintf(ret_machine->device, sizeof(ret_machine->device), "%s", properties.name);
    if (getloadavg(&ret_machine->load, 1) != 1)
        ret_machine->load = 0;
}

/* ---- figures in words ----------------------------------------------------------------------------- */

/* Three digits that count. */
static const char *number(char text[TEXT], double value)
{
    static const struct {
        double from;
        const char *unit;
    } units[] = { { 1e9, "G" }, { 1e6, "M" }, { 1e4, "k" } };
    const char *unit = "";
    int decimals;

    for (unsigned i = 0; i < 3; i++)
        if (value >= units[i].from) {
            value /= units[i].from == 1e4 ? 1e3 : units[i].from;
            unit = units[i].unit;
            break;
        }
    decimals = value >= 100 || value == floor(value) ? 0 : value >= 10 ? 1 : 2;
    if (value < 0.1 && value > 0)
        decimals = 4;
    snprintf(text, TEXT, "%.*f%s", decimals, value, unit);
    return text;
}

static const char *verdict(char text[2 * TEXT], const struct goal *goal, const char *unit,
                           bool more, double value)
{
    bool met = goal_met(goal, more, value);
    char bound[TEXT];

    text[0] = '\0';
    if (goal->kind != GOAL_NONE)
        snprintf(text, 2 * TEXT, "%s %s %s%s: %s", goal->kind == GOAL_FIRM ? "goal" : "aim",
                 more ? ">=" : "<=", number(bound, goal->bound), unit,
                 met                     ? "met" :
                 goal->kind == GOAL_FIRM ? "MISSED" :
                                           "not yet");
    return text;
}

static void count(const struct row *row, const struct goal *goal, double value)
{
    size_t used = strlen(total.names);

    if (goal->kind != GOAL_FIRM)
        return;
    total.goals++;
    if (goal_met(goal, row->more, value))
        return;
    total.missed++;
    snprintf(total.names + used, sizeof(total.names) - used, "%s%s", used ? ", " : "", row->name);
}

/* ---- the table -------------------------------------------------------------------------------------- */

void table_begin(const struct machine *machine, unsigned runs, double seconds)
{
    printf("%s, %ld CPUs, %s; device: %s\n", machine->cpu, machine->cpus, machine->kernel,
           machine->device);
    printf("Medians of %u runs, (least .. greatest); %g s a row, xpurt and peers taking turns.\n",
           runs, seconds);
    if (machine->load > 0.5 * (double)machine->cpus)
        printf(
            "The machine is busy (load %.1f): figures are worse than they need to be, and vary.\n",
            machine->load);
    fflush(stdout);
}

static void side_line(const struct row *row, const struct outcome *outcome, unsigned side)
{
    const struct side *peer = &row->sides[side];
    struct figures figures = side_figures(outcome, side);
    double ratio = side ? side_ratio(outcome, side) : 0;
    char median[TEXT], least[TEXT], greatest[TEXT], range[3 * TEXT], times[TEXT] = "";
    char goal[2 * TEXT];

    snprintf(range, sizeof(range), "(%s .. %s)", number(least, figures.least),
             number(greatest, figures.greatest));
    if (side)
        snprintf(times, sizeof(times), "%.*fx", ratio < 1 ? 3 : 2, ratio);
    verdict(goal, side ? &peer->ratio : &row->goal, side ? "x" : "", row->more,
            side ? ratio : figures.median);
    printf("    %-26s %8s %-9s %-20s %9s  %s\n", peer->name, number(median, figures.median),
           row->unit, outcome->runs > 1 ? range : "", times, goal);
    count(row, side ? &peer->ratio : &row->goal, side ? ratio : figures.median);
}

void table_row(const struct row *row, struct outcome *outcome)
{
    printf("\n%s: %s\n", row->name, row->what);
    if (outcome->failed) {
        printf("    NOT MEASURED: %s\n", outcome->error);
        total.failed++;
    }
    for (unsigned side = 0; !outcome->failed && side < ROW_SIDES_MAX && row->sides[side].name;
         side++)
        if (!outcome->sides[side].skipped)
            side_line(row, outcome, side);
    if (!outcome->failed && outcome->note[0])
        printf("    %s\n", outcome->note);
    fflush(stdout);
}

bool table_end(void)
{
    printf("\n%u of %u goals met%s%s%s", total.goals - total.missed, total.goals,
           total.missed ? "; missed: " : "", total.names, total.failed ? "; " : ".\n");
    if (total.failed)
        printf("%u rows could not be measured.\n", total.failed);
    return total.failed == 0;
}
