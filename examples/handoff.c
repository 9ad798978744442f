/* SPDX-License-Identifier: MIT */
/* examples/handoff.c: xpurt-handoff: start the processes, watch them, report.
 *
 * Guarantees of this file:
 *   - nothing is reported as good unless every process said so and every output that can be
 *     compared is equal to the input;
 *   - no process of ours outlives this one, however it dies.
 *
 * Where to read on: ring.h says what the two sides share and why; producer.c and consumer.c are
 * the two sides; the rest is measuring and options.
 */
#include "channel.h"
#include "options.h"
#include "problem.h"
#include "report.h"
#include "verify.h"
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_NS 200000000

struct run {
    const struct options *options;      /* borrowed */
    enum way way;
    unsigned n_meters;
    struct meter *meters;               /* of the side that is reported, one for each pair */
    struct meter *others;               /* of the other one */
    unsigned n_children;
    enum status status;                 /* the worst so far */
};

static void worsen(enum status *status, enum status other)
{
    if (other > *status)
        *status = other;
}

static int fail(const char *what, int error)
{
    fprintf(stderr, "xpurt-handoff: %s: %s\n", what, strerror(error));
    return -error;
}

static bool regular(const char *path, struct stat *ret_stat)
{
    return path && stat(path, ret_stat) == 0 && S_ISREG(ret_stat->st_mode);
}

/* ---- processes ------------------------------------------------------------------------------- */

static _Noreturn void child(struct worker *worker, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAILED);           /* it died before we asked to be told */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    exit(worker_run(worker));
}

/* Start one process; it alone keeps the end @p worker->channel. */
static int start(struct run *run, struct worker *worker, int other_end)
{
    pid_t parent = getpid(), pid;

    pid = fork();
    if (pid < 0)
        return fail("fork", errno);
    if (pid == 0) {
        if (other_end >= 0)
            close(other_end);
        child(worker, parent);
    }
    run->n_children++;
    return 0;
}

static int start_pair(struct run *run, unsigned pair)
{
    struct worker producer = {
        run->options, run->way, RING_PRODUCER, pair, -1, &run->others[pair]
    };
    struct worker consumer = {
        run->options, run->way, RING_CONSUMER, pair, -1, &run->meters[pair]
    };
    int ends[2], r;

    r = channel_pair(ends);
    if (r < 0)
        return fail("socketpair", -r);
    producer.channel = ends[0];
    consumer.channel = ends[1];
    r = start(run, &producer, ends[1]);
    if (r == 0)
        r = start(run, &consumer, ends[0]);
    close(ends[0]);
    close(ends[1]);
    return r;
}

static int start_all(struct run *run)
{
    enum role role = run->options->role;
    int r = 0;

    if (role != ROLE_BOTH) {
        struct worker worker = {
            run->options, run->way,       role == ROLE_PRODUCER ? RING_PRODUCER : RING_CONSUMER, 0,
            -1,           &run->meters[0]
        };

        return start(run, &worker, -1);
    }
    for (unsigned i = 0; i < run->options->pairs && r == 0; i++)
        r = start_pair(run, i);
    return r;
}

/* ---- watching -------------------------------------------------------------------------------- */

static void show(const struct run *run, uint64_t total)
{
    uint64_t bytes = 0, started = 0;

    for (unsigned i = 0; i < run->options->pairs; i++) {
        uint64_t one = run->meters[i].started_ns;

        bytes += run->meters[i].bytes;
        if (one && (!started || one < started))
            started = one;
    }
    progress_show(run->way == WAY_OLD ? "old way" : "shared events", bytes, total,
                  started ? (double)(now_ns() - started) / 1e9 : 0);
}

/* Collect those who ended; they have said themselves why they failed. */
static void collect(struct run *run)
{
    int how;

    while (run->n_children && waitpid(-1, &how, WNOHANG) > 0) {
        run->n_children--;
        worsen(&run->status, WIFEXITED(how) ? (enum status)WEXITSTATUS(how) : STATUS_FAILED);
        if (WIFSIGNALED(how)) {
            progress_clear();
            fprintf(stderr, "xpurt-handoff: a process of ours was ended by a signal: %s\n",
                    strsignal(WTERMSIG(how)));
        }
    }
}

/* Until all have ended. SIGCHLD is blocked, so none is missed. */
static void supervise(struct run *run)
{
    const struct timespec tick = { .tv_nsec = PROGRESS_NS };
    uint64_t total = 0;
    struct stat stat;
    sigset_t wanted;

    if (regular(run->options->input, &stat))
        total = (uint64_t)stat.st_size * run->options->pairs;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    for (;;) {
        collect(run);
        if (!run->n_children)
            break;
        if (sigtimedwait(&wanted, NULL, &tick) < 0)
            show(run, total);
    }
    progress_clear();
}

/* ---- verifying ------------------------------------------------------------------------------- */

static bool verifiable(const struct options *options, const char *output)
{
    struct stat input, stat;

    return regular(options->input, &input) && regular(output, &stat);
}

/* Compare all outputs with the input; *ret_verified counts those that are equal. */
static enum status verify(const struct options *options, unsigned *ret_verified)
{
    enum status status = STATUS_GOOD;

    *ret_verified = 0;
    for (unsigned i = 0; i < options->pairs && options->role == ROLE_BOTH; i++) {
        char *output = worker_output(options, i);
        int equal = -ENOMEM;

        if (output && !verifiable(options, output)) {
            free(output);
            continue;
        }
        if (output)
            equal = files_equal(options->input, output);
        if (equal == 0)
            fprintf(stderr, "xpurt-handoff: %s differs from %s\n", output, options->input);
        if (equal < 0)
            fail(output ? output : "comparing", -equal);
        *ret_verified += equal > 0;
        worsen(&status, equal > 0 ? STATUS_GOOD : equal == 0 ? STATUS_DIFFERENT : STATUS_FAILED);
        free(output);
    }
    return status;
}

/* ---- a run, and all of it -------------------------------------------------------------------- */

static enum status run_way(const struct options *options, enum way way, struct meter *ret_sum,
                           unsigned *ret_verified)
{
    struct run run = { .options = options, .way = way };

    run.meters = meters_new(2 * options->pairs);
    if (!run.meters) {
        fail("memory", ENOMEM);
        return STATUS_FAILED;
    }
    run.others = run.meters + options->pairs;
    if (start_all(&run) < 0)
        run.status = STATUS_FAILED;     /* those without a peer see that, and leave */
    supervise(&run);

    *ret_sum = (struct meter){ 0 };
    for (unsigned i = 0; i < options->pairs; i++)
        meter_add(ret_sum, &run.meters[i]);
    return run.status ? run.status : verify(options, ret_verified);
}

/* Run once more, and keep the faster of this and what is in @p best. */
static enum status run_again(const struct options *options, enum way way, bool first,
                             struct meter *best, unsigned *ret_verified)
{
    static struct meter now;            /* large */
    enum status status = run_way(options, way, &now, ret_verified);

    if (status == STATUS_GOOD && (first || meter_seconds(&now) < meter_seconds(best)))
        *best = now;
    return status;
}

static enum status run_all(const struct options *options)
{
    static struct meter events, old;
    bool compare = options->compare && options->role == ROLE_BOTH;
    unsigned verified = 0;
    enum status status = STATUS_GOOD;

    /* By turns: a machine that is busy for a while slows down both ways. */
    for (unsigned i = 0; i < options->repeat && status == STATUS_GOOD; i++) {
        status = run_again(options, WAY_EVENTS, i == 0, &events, &verified);
        if (status == STATUS_GOOD && compare)
            status = run_again(options, WAY_OLD, i == 0, &old, &verified);
    }
    if (status == STATUS_GOOD)
        report_print(options, &events, compare ? &old : NULL, verified);
    else
        fprintf(stderr, "xpurt-handoff: failed; no output is known to be complete\n");
    if (status == STATUS_GOOD && (fflush(stdout) != 0 || ferror(stdout)))
        status = STATUS_FAILED;
    return status;
}

/* The consumer would cut it to nothing before the producer has read it. */
static bool same_file(const struct options *options)
{
    struct stat input, output;
    bool same = false;

    for (unsigned i = 0; options->role == ROLE_BOTH && i < options->pairs && !same; i++) {
        char *path = worker_output(options, i);

        same = path && regular(options->input, &input) && regular(path, &output) &&
               input.st_dev == output.st_dev && input.st_ino == output.st_ino;
        free(path);
    }
    if (same)
        fprintf(stderr, "xpurt-handoff: input and output are the same file\n");
    return same;
}

/* Say once, here, what else each process would say. The session is not kept: the children have
 * their own. */
static bool daemon_there(const struct options *options)
{
    xpurt_result r = xpurt_init();

    if (r == XPURT_SUCCESS)
        r = xpurt_set_device(options->device);
    if (r)
        fprintf(stderr, "xpurt-handoff: %s: %s\n", xpurt_result_name(r), problem_text());
    xpurt_reset();
    return r == XPURT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options;
    sigset_t blocked;
    int r;

    r = options_parse(&options, argc, argv); /* > 0: help was printed */
    if (r)
        return r < 0 ? STATUS_USAGE : STATUS_GOOD;
    if (same_file(&options))
        return STATUS_USAGE;
    if (!daemon_there(&options))
        return STATUS_FAILED;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    return run_all(&options);
}
