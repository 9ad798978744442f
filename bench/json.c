/* SPDX-License-Identifier: MIT */
/* bench/json.c: the same figures for programs, with the values of each run. */
#include "bench/figures.h"
#include "bench/promise.h"
#include "bench/report.h"

#include <json-c/json.h>

static json_object *page, *rows;        /* the latter is the page's */

static void put_text(json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, json_object_new_string(text));
}

/* With the digits that figures have, not with all that a double has. */
static json_object *figure(double value)
{
    char text[32];

    snprintf(text, sizeof(text), "%.10g", value);
    return json_object_new_double_s(value, text);
}

static void put_goal(json_object *object, const struct goal *goal, bool more, double value)
{
    if (goal->kind == GOAL_NONE)
        return;
    json_object_object_add(object, goal->kind == GOAL_FIRM ? "goal" : "aim", figure(goal->bound));
    json_object_object_add(object, "met", json_object_new_boolean(goal_met(goal, more, value)));
}

void json_begin(const struct machine *machine, unsigned runs, double seconds)
{
    json_object *about = json_object_new_object();

    put_text(about, "cpu", machine->cpu);
    json_object_object_add(about, "cpus", json_object_new_int64(machine->cpus));
    put_text(about, "kernel", machine->kernel);
    json_object_object_add(about, "virtual", json_object_new_boolean(machine->virtual));
    put_text(about, "device", machine->device);
    json_object_object_add(about, "load", figure(machine->load));

    page = json_object_new_object();
    rows = json_object_new_array();
    json_object_object_add(page, "machine", about);
    put_text(page, "xpurt", xpurt_version());
    json_object_object_add(page, "runs", json_object_new_uint64(runs));
    json_object_object_add(page, "seconds", figure(seconds));
    json_object_object_add(page, "rows", rows);
}

static json_object *side_of(const struct row *row, const struct outcome *outcome, unsigned side)
{
    struct figures figures = side_figures(outcome, side);
    double value = side_value(outcome, side);
    json_object *object = json_object_new_object(), *values;

    put_text(object, "name", row->sides[side].name);
    if (outcome->sides[side].skipped) {
        json_object_object_add(object, "skipped", json_object_new_boolean(true));
        return object;
    }
    json_object_object_add(object, "least", figure(figures.least));
    json_object_object_add(object, "median", figure(figures.median));
    json_object_object_add(object, "greatest", figure(figures.greatest));
    values = json_object_new_array();
    for (unsigned run = 0; run < outcome->runs; run++)
        json_object_array_add(values, figure(outcome->sides[side].values[run]));
    json_object_object_add(object, "values", values);
    if (side)
        json_object_object_add(object, "ratio", figure(value));
    put_goal(object, side_goal(row, side), row->more, value);
    return object;
}

void json_row(const struct row *row, const struct outcome *outcome)
{
    json_object *object = json_object_new_object(), *sides;

    put_text(object, "name", row->name);
    put_text(object, "what", row->what);
    put_text(object, "unit", row->unit);
    put_text(object, "better", row->more ? "more" : "less");
    if (outcome->note[0])
        put_text(object, "note", outcome->note);
    json_object_object_add(object, "awake", json_object_new_boolean(outcome->awake));
    json_object_object_add(object, "stolen", figure(outcome->stolen));
    if (outcome->failed) {
        put_text(object, "error", outcome->error);
    } else {
        sides = json_object_new_array();
        for (unsigned side = 0; side < ROW_SIDES_MAX && row->sides[side].name; side++)
            json_object_array_add(sides, side_of(row, outcome, side));
        json_object_object_add(object, "sides", sides);
    }
    json_object_array_add(rows, object);
}

static json_object *promise_object(const struct promise_line *line)
{
    json_object *object = json_object_new_object(), *figures = json_object_new_array();

    put_text(object, "promise", line->what);
    put_text(object, "verdict", promise_verdict(line));
    for (unsigned i = 0; i < line->n_figures; i++) {
        const struct promise_figure *from = &line->figures[i];
        json_object *to = json_object_new_object();

        put_text(to, "row", from->row);
        put_text(to, "unit", from->unit);
        if (from->peer)
            put_text(to, "peer", from->peer);
        put_text(to, "better", from->more ? "more" : "less");
        json_object_object_add(to, "value", figure(from->value));
        json_object_object_add(to, "goal", figure(from->bound));
        json_object_object_add(to, "met", json_object_new_boolean(from->met));
        json_object_array_add(figures, to);
    }
    json_object_object_add(object, "figures", figures);
    return object;
}

static void put_promises(void)
{
    json_object *promises = json_object_new_array();

    for (unsigned promise = PROMISE_NONE + 1; promise < PROMISES; promise++)
        json_object_array_add(promises, promise_object(promise_line(promise)));
    json_object_object_add(page, "promises", promises);
}

void json_end(FILE *file)
{
    put_promises();
    fputs(json_object_to_json_string_ext(page, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                   JSON_C_TO_STRING_NOSLASHESCAPE),
          file);
    fputc('\n', file);
    json_object_put(page);
}
