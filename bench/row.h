/* SPDX-License-Identifier: MIT */
/* bench/row.h: what a row of the benchmark is.
 *
 * A row times one thing that xpurt does and, in the same run and taking turns, what people would
 * otherwise use for it (its peers), all in one unit. Each row runs in a process of its own, forked
 * before any call into xpurt: its state may be static, and no row inherits anything of another.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <xpurt/xpurt.h>

#define ROW_SIDES_MAX 4
#define ROW_RUNS_MAX 99
#define ROW_TEXT_SIZE 400
#define ROW_STOLEN 0.05                 /* from here on the host has spoilt the figures */

/* A figure is good when it is at most (or at least) the bound. An aim is a goal that is not promised
 * yet: it is shown, but missing it is not counted. */
struct goal {
    enum { GOAL_NONE, GOAL_AIM, GOAL_FIRM } kind;
    double bound;
};

#define GOAL(value) { GOAL_FIRM, value }
#define AIM(value) { GOAL_AIM, value }

/* One way to do the thing: xpurt's, or a peer's. */
struct side {
    const char *name;                   /* NULL: there is no such side */
    /* One run of about @p seconds. 0; < 0 after row_fail(); > 0 after row_skip(). */
    int (*measure)(double seconds, double *ret_value);
    struct goal ratio;                  /* of a peer: for xpurt's value divided by this one's */
};

/* The lines of the table of what is promised (promise.h). A row that names one proves it, or a part of
 * it, by its firm goals. */
enum promise {
    PROMISE_NONE,
    PROMISE_QUERY,
    PROMISE_RECORD_RING,
    PROMISE_PAIRS,
    PROMISE_RECORD_SOCKET,
    PROMISE_HANDOFF_ACTIVE,
    PROMISE_HANDOFF_ASLEEP,
    PROMISE_RELAY,
    PROMISE_REPLAY,
    PROMISE_SESSIONS,
    PROMISE_MEMORY,
    PROMISE_MILLION,
    PROMISE_FRESH,
    PROMISE_IDLE,
    PROMISE_FAIR,
    PROMISES,
};

struct row {
    const char *name;
    const char *what;                   /* a line for people */
    const char *unit;
    bool more;                          /* more is better; else less is */
    bool on_request;                    /* measured only when --only names it */
    bool awake;                         /* it pauses; idle CPUs are kept from sleeping */
    enum promise promise;
    unsigned runs_max;                  /* 0: as many as asked for */
    struct goal goal;                   /* for xpurt's own value */
    int (*open)(void);                  /* before the first run; as measure() */
    void (*close)(void);                /* also after a failed open() */
    struct side sides[ROW_SIDES_MAX];   /* the first is xpurt's */
};

/* Lists that end with a row without a name, one for each file. */
extern const struct row event_rows[], record_rows[], handoff_rows[], relay_rows[], copy_rows[],
    process_rows[], idle_rows[], scale_rows[], million_rows[], threads_rows[], fairness_rows[],
    device_rows[], allocator_rows[], graph_rows[];

/* Where rows are measured; set once, before the first of them. */
struct environment {
    pid_t daemon;
    char folder[64];                    /* for sockets and the like; removed at the end */
    char program[512];                  /* this program, to start fresh processes of */
    char soft_driver[512];              /* beside this program; "" when it is not there */
    bool pin;
    bool deep_sleep;
};

extern struct environment environment;

/* What came out of a row. Shared by its processes. */
struct outcome {
    _Atomic bool failed;
    char error[ROW_TEXT_SIZE];
    char note[ROW_TEXT_SIZE];
    unsigned runs;
    bool awake;    /* idle CPUs did not sleep */
    double stolen; /* the part of the CPU time that the host took away, 0 to 1 */
    struct {
        bool skipped;
        double values[ROW_RUNS_MAX];
    } sides[ROW_SIDES_MAX];
};

/* Measure @p row in a process of its own. */
void row_run(const struct row *row, double seconds, unsigned runs, struct outcome *outcome);

/* For use inside of rows. The first failure, of whichever process, is the one that is told. */
int row_fail(const char *format, ...) __attribute__((format(printf, 1, 2))); /* -1 */
int row_skip(const char *format, ...) __attribute__((format(printf, 1, 2))); /* 1 */
int row_failed_call(const char *call, xpurt_result result);                  /* -1 */
bool row_failed(void);

/* One line beside the figures; the last one counts. */
void row_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* With --pin: bind the calling process to a CPU. */
void row_pin(unsigned cpu);

/* Leave the calling function when a call into xpurt fails. */
#define TRY(call) \
    do { \
        xpurt_result try_result = (call); \
        if (try_result != XPURT_SUCCESS) \
            return row_failed_call(#call, try_result); \
    } while (0)
