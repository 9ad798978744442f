/* SPDX-License-Identifier: MIT */
/* examples/ddp/ddp.c: xpurt-ddp: start the ranks, watch them, report.
 *
 * Guarantees of this file:
 *   - nothing is reported as good unless every rank said so and all have the same weights;
 *   - no process of ours outlives this one, however it dies; this one never uses xpurt itself.
 *
 * Where to read on: links.h says how the ranks are ordered and why; ddp.cl has the kernels; rank.c
 * is what each rank does; the rest is data, measuring and options.
 */
#include "options.h"
#include "rank.h"
#include "report.h"
#include "team.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_NS 50000000

static void worsen(enum status *status, enum status other)
{
    if (other > *status)
        *status = other;
}

/* ---- processes ------------------------------------------------------------------------------- */

static _Noreturn void child(struct team *team, unsigned rank, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAILED);           /* it died before we asked to be told */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    team->ranks[rank].pid = getpid();
    exit(rank_run(team, rank));
}

/* How many were started; the others count as lost. */
static unsigned start_all(struct team *team)
{
    pid_t parent = getpid();
    unsigned started;

    for (started = 0; started < team->options->ranks; started++) {
        pid_t pid = fork();

        if (pid == 0)
            child(team, started, parent);
        if (pid < 0) {
            fprintf(stderr, "xpurt-ddp: fork: %s\n", strerror(errno));
            break;
        }
        team->ranks[started].pid = pid;
    }
    for (unsigned rank = started; rank < team->options->ranks; rank++)
        atomic_store(&team->ranks[rank].left, true);
    return started;
}

static void rank_left(struct team *team, pid_t pid, int how)
{
    for (unsigned rank = 0; rank < team->options->ranks; rank++) {
        if (team->ranks[rank].pid != pid)
            continue;
        atomic_store(&team->ranks[rank].left, true);
        if (WIFSIGNALED(how))
            fprintf(stderr, "xpurt-ddp: rank %u (process %d) was ended by a signal: %s\n", rank,
                    (int)pid, strsignal(WTERMSIG(how)));
    }
}

/* Until all have ended; the worst status. SIGCHLD is blocked, so none is missed. */
static enum status supervise(struct team *team, unsigned running)
{
    const struct timespec tick = { .tv_nsec = LOOK_EVERY_NS };
    enum status status = STATUS_GOOD;
    unsigned shown = 0;
    sigset_t wanted;
    pid_t pid;
    int how;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    while (running) {
        while (running && (pid = waitpid(-1, &how, WNOHANG)) > 0) {
            running--;
            rank_left(team, pid, how);
            worsen(&status, WIFEXITED(how) ? (enum status)WEXITSTATUS(how) : STATUS_FAILED);
        }
        epochs_show(team, &shown);
        if (running)
            sigtimedwait(&wanted, NULL, &tick);
    }
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum status compare_weights(const struct team *team)
{
    for (unsigned rank = 1; rank < team->options->ranks; rank++)
        if (team->ranks[rank].fingerprint != team->ranks[0].fingerprint) {
            fprintf(stderr, "xpurt-ddp: ranks 0 and %u ended with different weights\n", rank);
            return STATUS_DIFFERENT;
        }
    return STATUS_GOOD;
}

static enum status run(const struct options *options)
{
    struct team *team = team_new(options);
    enum status status;
    unsigned started;

    if (!team) {
        fprintf(stderr, "xpurt-ddp: there is no memory for the ranks\n");
        return STATUS_FAILED;
    }
    started = start_all(team);
    status = supervise(team, started);
    if (started < options->ranks)
        worsen(&status, STATUS_FAILED);
    failures_print(team);
    if (status == STATUS_GOOD)
        status = compare_weights(team);
    if (status == STATUS_GOOD)
        report_print(team);
    if (fflush(stdout) != 0 || ferror(stdout))
        worsen(&status, STATUS_FAILED);
    return status;
}

int main(int argc, char **argv)
{
    static struct options options;      /* the ranks have it too */
    sigset_t blocked;
    int r;

    r = options_parse(&options, argc, argv); /* > 0: help was printed */
    if (r)
        return r < 0 ? STATUS_USAGE : STATUS_GOOD;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    return run(&options);
}
