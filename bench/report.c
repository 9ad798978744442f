/* SPDX-License-Identifier: MIT */
/* bench/report.c: the table.
 *
 * Guarantees of this file: a figure stands beside its least and greatest; a goal stands beside what
 * was reached, met or not; what was not measured is named, and does not count as met.
 */
#include "bench/report.h"
#include "bench/figures.h"
#include "bench/promise.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define TEXT NUMBER_SIZE

static struct {
    unsigned goals, missed, failed, spoilt;
    char names[1000];                   /* of rows whose goals were missed */
} total;

/* ---- the machine ---------------------------------------------------------------------------------- */

/* The first CPU's; a hypervisor shows as one of the things it can do. */
static void find_cpu(struct machine *machine)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[8192];

    snprintf(machine->cpu, sizeof(machine->cpu), "unknown CPU");
    machine->virtual = false;
    while (file && fgets(line, sizeof(line), file) && line[0] != '\n') {
        const char *value = strchr(line, ':');

        line[strcspn(line, "\n")] = '\0';
        if (value && strncmp(line, "model name", 10) == 0)
            snprintf(machine->cpu, sizeof(machine->cpu), "%.*s", (int)sizeof(machine->cpu) - 1,
                     value + 2);
        else if (value && strncmp(line, "flags", 5) == 0)
            machine->virtual = strstr(value, " hypervisor");
    }
    if (file)
        fclose(file);
}

void machine_describe(struct machine *ret_machine)
{
    xpurt_device_properties properties;
    struct utsname kernel;

    find_cpu(ret_machine);
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

/* "3.46 ns", "0.169x". */
static const char *amount(char text[2 * TEXT], double value, const char *unit)
{
    char digits[NUMBER_SIZE];

    if (strcmp(unit, "x") == 0)
        snprintf(text, 2 * TEXT, "%.*fx", value < 1 ? 3 : 2, value);
    else
        snprintf(text, 2 * TEXT, "%s %s", number_text(digits, value), unit);
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
                 more ? ">=" : "<=", number_text(bound, goal->bound), unit,
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
    printf("%s, %ld CPUs%s, %s; device: %s\n", machine->cpu, machine->cpus,
           machine->virtual ? " of a virtual machine" : "", machine->kernel, machine->device);
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
    double value = side_value(outcome, side);
    char median[TEXT], least[TEXT], greatest[TEXT], range[3 * TEXT], times[2 * TEXT] = "";
    char goal[2 * TEXT];

    snprintf(range, sizeof(range), "(%s .. %s)", number_text(least, figures.least),
             number_text(greatest, figures.greatest));
    if (side)
        amount(times, value, "x");
    verdict(goal, side_goal(row, side), side ? "x" : "", row->more, value);
    printf("    %-26s %8s %-9s %-20s %9s  %s\n", peer->name, number_text(median, figures.median),
           row->unit, outcome->runs > 1 ? range : "", times, goal);
    count(row, side_goal(row, side), value);
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
    if (row->awake && !outcome->awake)
        printf("    idle CPUs slept, as deeply as they are set up to\n");
    if (outcome->stolen > ROW_STOLEN) {
        printf("    spoilt: the host gave %.0f %% of the CPU time to others\n",
               100 * outcome->stolen);
        total.spoilt++;
    }
    fflush(stdout);
}

/* One line: whether it was met, then each figure with its goal. */
static void promise_print(const struct promise_line *line)
{
    char value[2 * TEXT], bound[2 * TEXT];

    printf("  %-7s  %-42s ", promise_verdict(line), line->what);
    for (unsigned i = 0; i < line->n_figures; i++) {
        const struct promise_figure *figure = &line->figures[i];

        printf("%s %s%s%s (%s %s)", i ? "," : "", amount(value, figure->value, figure->unit),
               figure->peer ? " " : "", figure->peer ? figure->peer : "",
               figure->more ? ">=" : "<=",
               figure->peer ? amount(bound, figure->bound, figure->unit) :
                              number_text(bound, figure->bound));
    }
    puts(line->n_figures ? "" : " not measured");
}

static void promises_print(bool all)
{
    puts("\nWhat is promised, with the goals in parentheses:\n");
    for (unsigned promise = PROMISE_NONE + 1; promise < PROMISES; promise++)
        if (all || promise_line(promise)->run)
            promise_print(promise_line(promise));
}

bool table_end(bool all)
{
    bool some = all;

    for (unsigned promise = PROMISE_NONE + 1; promise < PROMISES; promise++)
        some = some || promise_line(promise)->run;
    if (some)
        promises_print(all);
    printf("\n%u of %u goals met%s%s%s", total.goals - total.missed, total.goals,
           total.missed ? "; missed: " : "", total.names, total.failed ? "; " : ".\n");
    if (total.failed)
        printf("%u rows could not be measured.\n", total.failed);
    if (total.spoilt)
        printf("%u rows were spoilt by the host: measure again when it has less to do.\n",
               total.spoilt);
    return total.failed == 0;
}
