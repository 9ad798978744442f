/* SPDX-License-Identifier: MIT */
/* bench/json.c: the same figures for programs, with the values of each run. */
#include "bench/figures.h"
#include "bench/report.h"

static bool first_row;

static void put_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(file, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            fputc(*text, file);
    fputc('"', file);
}

static void put_text(FILE *file, const char *name, const char *text)
{
    fprintf(file, "\"%s\": ", name);
    put_string(file, text);
}

static void put_goal(FILE *file, const struct goal *goal, bool more, double value)
{
    if (goal->kind != GOAL_NONE)
        fprintf(file, ", \"%s\": %.10g, \"met\": %s", goal->kind == GOAL_FIRM ? "goal" : "aim",
                goal->bound, goal_met(goal, more, value) ? "true" : "false");
}

void json_begin(FILE *file, const struct machine *machine, unsigned runs, double seconds)
{
    fprintf(file, "{\n  \"machine\": { ");
    put_text(file, "cpu", machine->cpu);
    fprintf(file, ", \"cpus\": %ld, ", machine->cpus);
    put_text(file, "kernel", machine->kernel);
    fprintf(file, ", ");
    put_text(file, "device", machine->device);
    fprintf(file, ", \"load\": %.2f },\n  ", machine->load);
    put_text(file, "xpurt", xpurt_version());
    fprintf(file, ",\n  \"runs\": %u,\n  \"seconds\": %g,\n  \"rows\": [", runs, seconds);
    first_row = true;
}

static void put_side(FILE *file, const struct row *row, const struct outcome *outcome,
                     unsigned side)
{
    struct figures figures = side_figures(outcome, side);
    double ratio = side ? side_ratio(outcome, side) : 0;

    fprintf(file, "%s\n        { ", side ? "," : "");
    put_text(file, "name", row->sides[side].name);
    if (outcome->sides[side].skipped) {
        fprintf(file, ", \"skipped\": true }");
        return;
    }
    fprintf(file, ", \"least\": %.10g, \"median\": %.10g, \"greatest\": %.10g, \"values\": [",
            figures.least, figures.median, figures.greatest);
    for (unsigned run = 0; run < outcome->runs; run++)
        fprintf(file, "%s%.10g", run ? ", " : "", outcome->sides[side].values[run]);
    fprintf(file, "]");
    if (side)
        fprintf(file, ", \"ratio\": %.10g", ratio);
    put_goal(file, side ? &row->sides[side].ratio : &row->goal, row->more,
             side ? ratio : figures.median);
    fprintf(file, " }");
}

void json_row(FILE *file, const struct row *row, struct outcome *outcome)
{
    fprintf(file, "%s\n    { ", first_row ? "" : ",");
    first_row = false;
    put_text(file, "name", row->name);
    fprintf(file, ", ");
    put_text(file, "what", row->what);
    fprintf(file, ", ");
    put_text(file, "unit", row->unit);
    fprintf(file, ", \"better\": \"%s\"", row->more ? "more" : "less");
    if (outcome->note[0]) {
        fprintf(file, ", ");
        put_text(file, "note", outcome->note);
    }
    if (outcome->failed) {
        fprintf(file, ", ");
        put_text(file, "error", outcome->error);
    } else {
        fprintf(file, ", \"sides\": [");
        for (unsigned side = 0; side < ROW_SIDES_MAX && row->sides[side].name; side++)
            put_side(file, row, outcome, side);
        fprintf(file, " ]");
    }
    fprintf(file, " }");
    fflush(file);
}

void json_end(FILE *file)
{
    fprintf(file, "\n  ]\n}\n");
}
