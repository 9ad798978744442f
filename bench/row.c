/* SPDX-License-Identifier: MIT */
/* bench/row.c: running one row.
 *
 * Guarantees of this file:
 *   - the sides of a row take turns, so that what disturbs the machine disturbs all of them;
 *   - a row that fails, crashes or hangs ends with a sentence that says so, and with all of its
 *     processes gone.
 */
#include "bench/row.h"
#include "bench/host.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPEN_SECONDS 60                 /* a thousand processes take their time to start */

struct environment environment;

static struct outcome *current;         /* of the row that this process belongs to */

/* ---- what rows tell ---------------------------------------------------------------------------- */

static void tell(char *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void tell(char *text, const char *format, va_list arguments)
{
    vsnprintf(text, ROW_TEXT_SIZE, format, arguments);
}

int row_fail(const char *format, ...)
{
    va_list arguments;

    if (__atomic_exchange_n(&current->failed, true, __ATOMIC_SEQ_CST))
        return -1;
    va_start(arguments, format);
    tell(current->error, format, arguments);
    va_end(arguments);
    return -1;
}

int row_failed_call(const char *call, xpurt_result result)
{
    return row_fail("%s: %s: %s", call, xpurt_result_name(result), xpurt_last_error());
}

bool row_failed(void)
{
    return current->failed;
}

int row_skip(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    tell(current->note, format, arguments);
    va_end(arguments);
    return 1;
}

void row_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    tell(current->note, format, arguments);
    va_end(arguments);
}

void row_pin(unsigned cpu)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    if (!environment.pin)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu % (unsigned long)cpus, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* ---- running ----------------------------------------------------------------------------------- */

/* Run number @p run of a side; the first, -1, is to warm up and is not kept. */
static int measure(const struct row *row, unsigned side, int run, double seconds)
{
    double value = 0;
    int r;

    r = row->sides[side].measure(seconds, &value);
    if (r > 0)
        current->sides[side].skipped = true;
    else if (r == 0 && run >= 0)
        current->sides[side].values[run] = value;
    return r < 0 || row_failed() ? -1 : 0;
}

static int measure_all(const struct row *row, double seconds, int runs)
{
    unsigned sides = 0;

    while (sides < ROW_SIDES_MAX && row->sides[sides].name)
        sides++;
    for (int run = row->runs_max == 1 ? 0 : -1; run < runs; run++)
        for (unsigned side = 0; side < sides; side++)
            if (!current->sides[side].skipped &&
                measure(row, side, run, seconds / (sides * (unsigned)runs)) < 0)
                return -1;
    return 0;
}

/* In the row's own process. What it does not stop itself ends with it. */
static void run(const struct row *row, double seconds, unsigned runs)
{
    int r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm((unsigned)(OPEN_SECONDS + 10 * seconds));
    row_pin(0);
    current->awake = row->awake && !environment.deep_sleep && host_stay_awake();
    r = row->open ? row->open() : 0;
    if (r == 0)
        r = measure_all(row, seconds, (int)runs);
    if (row->close)
        row->close();
    _exit(r ? EXIT_FAILURE : EXIT_SUCCESS);
}

void row_run(const struct row *row, double seconds, unsigned runs, struct outcome *outcome)
{
    struct host_times begin = host_times();
    int status = 0;
    pid_t pid;

    if (row->runs_max && runs > row->runs_max)
        runs = row->runs_max;
    *outcome = (struct outcome){ .runs = runs };
    current = outcome;

    pid = fork();
    if (pid == 0)
        run(row, seconds, runs);
    if (pid < 0) {
        row_fail("fork: %s", strerror(errno));
        return;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno == EINTR)
            kill(pid, SIGKILL);         /* we were told to stop */
    outcome->stolen = host_stolen(&begin, outcome->awake);
    if (WIFSIGNALED(status))
        row_fail(WTERMSIG(status) == SIGALRM ? "it took too long" : "it ended by %s",
                 strsignal(WTERMSIG(status)));
    else if (status)
        row_fail("it could not be measured%s%s", outcome->note[0] ? ": " : "", outcome->note);
}
