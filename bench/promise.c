/* SPDX-License-Identifier: MIT */
/* bench/promise.c: see promise.h.
 *
 * Guarantees of this file: no line is "met" unless all rows that name it were measured in this run,
 * each of their goals was, and all of them were reached.
 */
#include "bench/promise.h"
#include "bench/figures.h"

static struct promise_line lines[PROMISES] = {
    [PROMISE_QUERY] = { "event query, own or imported" },
    [PROMISE_RECORD_RING] = { "record on a stream, ring, one thread" },
    [PROMISE_PAIRS] = { "record + wait pairs, socket, batched" },
    [PROMISE_RECORD_SOCKET] = { "record, socket, single" },
    [PROMISE_HANDOFF_ACTIVE] = { "hand-off between processes, both active" },
    [PROMISE_HANDOFF_ASLEEP] = { "the same with everyone asleep before; on two CPUs" },
    [PROMISE_RELAY] = { "stream to stream across processes" },
    [PROMISE_REPLAY] = { "graph replay of 64 commands" },
    [PROMISE_SESSIONS] = { "1,000 sessions x 4 streams against one" },
    [PROMISE_MEMORY] = { "memory of an idle session; of a live event" },
    [PROMISE_MILLION] = { "1 million live events, several sessions" },
    [PROMISE_FRESH] = { "fresh static process until first record" },
    [PROMISE_IDLE] = { "idle daemon, 100 idle clients" },
    [PROMISE_FAIR] = { "latency beside a client at full speed" },
};

static unsigned goals_of(const struct row *row)
{
    unsigned goals = row->goal.kind == GOAL_FIRM;

    for (unsigned side = 1; side < ROW_SIDES_MAX && row->sides[side].name; side++)
        goals += row->sides[side].ratio.kind == GOAL_FIRM;
    return goals;
}

void promise_expect(const struct row *row)
{
    lines[row->promise].rows++;
}

static void add_figure(const struct row *row, const struct outcome *outcome, unsigned side)
{
    struct promise_line *line = &lines[row->promise];
    const struct goal *goal = side_goal(row, side);
    double value = side_value(outcome, side);

    line->figures[line->n_figures++] = (struct promise_figure){
        .row = row->name,
        .unit = side ? "x" : row->unit,
        .peer = side ? row->sides[side].name : NULL,
        .bound = goal->bound,
        .value = value,
        .more = row->more,
        .met = goal_met(goal, row->more, value),
    };
}

void promise_add(const struct row *row, const struct outcome *outcome)
{
    struct promise_line *line = &lines[row->promise];
    unsigned before = line->n_figures;

    if (!row->promise)
        return;
    line->run++;
    if (outcome->failed)
        return;
    for (unsigned side = 0; side < ROW_SIDES_MAX && row->sides[side].name; side++)
        if (side_goal(row, side)->kind == GOAL_FIRM && !outcome->sides[side].skipped &&
            line->n_figures < PROMISE_FIGURES_MAX)
            add_figure(row, outcome, side);
    if (line->n_figures - before == goals_of(row))
        line->measured++;
}

const struct promise_line *promise_line(enum promise promise)
{
    return &lines[promise];
}

const char *promise_verdict(const struct promise_line *line)
{
    for (unsigned i = 0; i < line->n_figures; i++)
        if (!line->figures[i].met)
            return "MISSED";
    return line->rows && line->measured == line->rows ? "met" : "open";
}
