/* SPDX-License-Identifier: MIT */
/* bench/main.c: xpurt-bench: options, the daemon to be measured, the rows one after the other.
 *
 * Guarantees of this file:
 *   - this process makes no call into xpurt that connects: rows fork from a clean one;
 *   - the daemon it started and the folder it made are gone when it ends, interrupted or not;
 *   - figures of a build with sanitizers are not printed: they would mean nothing.
 */
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/daemon.h"
#include "bench/executed.h"
#include "bench/promise.h"
#include "bench/report.h"

#include <errno.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define PATTERNS_MAX 64
#define REST_SECONDS 5                  /* for the host to do something else */

static const char help[] =
    "Usage: xpurt-bench [OPTION]...\n"
    "Measure xpurt, and beside it what people would use otherwise.\n"
    "\n"
    "  --only NAME     rows of that name, which may be a pattern such as 'copy-*'; repeatable.\n"
    "                  Rows 'scale-*' show how figures grow; they are measured only when named\n"
    "  --list          say what rows there are\n"
    "  --seconds S     of measuring for each row, peers included (default 4)\n"
    "  --runs N        xpurt and its peers take turns N times; medians are printed (default 9)\n"
    "  --patience S    rows that a virtual machine's host has spoilt, as it gave the CPUs to others,\n"
    "                  are measured again, for so long in all (default 120)\n"
    "  --json FILE     write the figures there too; -: instead of the table, to standard output\n"
    "  --socket PATH   measure the daemon that serves there, instead of a private one that uses\n"
    "                  the software device and lies beside this program\n"
    "  --pin           bind the measuring process to CPU 0, its counterparts to CPU 1\n"
    "  --deep-sleep    let idle CPUs sleep also in rows about sleeping or fresh processes, which keep\n"
    "                  them from that where they may (as root)\n"
    "  --help\n"
    "\n"
    "Exit status: 0 all was measured, goals met or not; 1 something was not; 2 wrong option.\n";

static const struct row *const lists[] = {
    event_rows, record_rows,    graph_rows,    handoff_rows, relay_rows,
    copy_rows,  allocator_rows, process_rows,  idle_rows,    million_rows,
    scale_rows, threads_rows,   fairness_rows, device_rows,
};

static const struct {
    const char *name;
    int (*run)(void);
} roles[] = {
    { "client", role_client },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct options {
    const char *patterns[PATTERNS_MAX];
    unsigned n_patterns;
    double seconds;
    unsigned runs;
    double patience;
    const char *json;
    const char *socket;
    bool list;
};

static volatile sig_atomic_t interrupted;

/* ---- options ---------------------------------------------------------------------------------------- */

/* Rows that are measured on request only need to be named. */
static bool chosen(const struct options *options, const struct row *row)
{
    for (unsigned i = 0; i < options->n_patterns; i++)
        if (fnmatch(options->patterns[i], row->name, 0) == 0)
            return true;
    return options->n_patterns == 0 && (!row->on_request || options->list);
}

static int wrong(const char *text, const char *value)
{
    fprintf(stderr, "xpurt-bench: %s '%s'\nTry 'xpurt-bench --help'.\n", text, value);
    return -EXIT_USAGE;
}

static int add_pattern(struct options *options, const char *pattern)
{
    if (options->n_patterns == PATTERNS_MAX)
        return wrong("too many patterns:", pattern);
    options->patterns[options->n_patterns++] = pattern;
    for (unsigned i = 0; i < COUNT(lists); i++)
        for (const struct row *row = lists[i]; row->name; row++)
            if (fnmatch(pattern, row->name, 0) == 0)
                return 0;
    return wrong("no row is called", pattern);
}

static int set_option(struct options *options, int option)
{
    char *end = NULL;

    switch (option) {
    case 'o':
        return add_pattern(options, optarg);
    case 's':
        options->seconds = strtod(optarg, &end);
        if (*end || !(options->seconds >= 0.01 && options->seconds <= 3600))
            return wrong("--seconds: expected 0.01 to 3600, not", optarg);
        return 0;
    case 'r':
        options->runs = (unsigned)strtoul(optarg, &end, 10);
        if (*end || optarg[0] == '-' || options->runs < 1 || options->runs > ROW_RUNS_MAX)
            return wrong("--runs: expected 1 to 99, not", optarg);
        return 0;
    case 'P':
        options->patience = strtod(optarg, &end);
        if (*end || !(options->patience >= 0 && options->patience <= 86400))
            return wrong("--patience: expected 0 to 86400, not", optarg);
        return 0;
    case 'j':
        options->json = optarg;
        return 0;
    case 'S':
        options->socket = optarg;
        return 0;
    case 'l':
        options->list = true;
        return 0;
    case 'p':
        environment.pin = true;
        return 0;
    case 'd':
        environment.deep_sleep = true;
        return 0;
    case 'h':
        fputs(help, stdout);
        return 1;
    default:
        fprintf(stderr, "Try 'xpurt-bench --help'.\n");
        return -EXIT_USAGE;
    }
}

/* 0; > 0: help was printed; < 0: the exit status, negated. */
static int options_parse(struct options *options, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "only", required_argument, NULL, 'o' },
        { "seconds", required_argument, NULL, 's' },
        { "runs", required_argument, NULL, 'r' },
        { "patience", required_argument, NULL, 'P' },
        { "json", required_argument, NULL, 'j' },
        { "socket", required_argument, NULL, 'S' },
        { "list", no_argument, NULL, 'l' },
        { "pin", no_argument, NULL, 'p' },
        { "deep-sleep", no_argument, NULL, 'd' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option, r;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        r = set_option(options, option);
        if (r)
            return r;
    }
    return optind < argc ? wrong("unexpected argument", argv[optind]) : 0;
}

/* ---- where to measure --------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    interrupted = number;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void find_program(void)
{
    char *slash;
    ssize_t n = readlink("/proc/self/exe", environment.program, sizeof(environment.program) - 1);

    environment.program[n > 0 ? n : 0] = '\0';
    slash = strrchr(environment.program, '/');
    if (slash)
        snprintf(environment.soft_driver, sizeof(environment.soft_driver),
                 "%.*s/../lib/libze_soft.so", (int)(slash - environment.program) % 480,
                 environment.program);
    if (access(environment.soft_driver, R_OK) < 0)
        environment.soft_driver[0] = '\0';
}

/* A thousand clients take a descriptor each. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool sanitized_ourselves(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

/* Calls into xpurt may not be made here; but the device's name is wanted: ask in a fork. */
static void describe(struct machine *machine)
{
    struct machine *shared = shared_memory(sizeof(*shared));
    pid_t pid = shared ? fork() : -1;

    if (pid == 0) {
        machine_describe(shared);
        _exit(EXIT_SUCCESS);
    }
    if (pid < 0)
        return;
    waitpid(pid, NULL, 0);
    *machine = *shared;
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

/* The figures least spoilt by the host, of as many tries as there is @p patience for, in seconds. Which
 * ones are kept does not depend on what they are. */
static struct outcome *measure_row(const struct options *options, const struct row *row,
                                   struct outcome tries[2], double *patience)
{
    struct outcome *best = &tries[0], *next = &tries[1], *worse;

    row_run(row, options->seconds, options->runs, best);
    while (best->stolen > ROW_STOLEN && !best->failed && *patience > 0 && !interrupted) {
        uint64_t begin = now_ns();

        sleep(REST_SECONDS);
        if (interrupted)
            break;
        row_run(row, options->seconds, options->runs, next);
        *patience -= (double)(now_ns() - begin) / 1e9;
        if (next->failed || next->stolen >= best->stolen)
            continue;
        worse = best;
        best = next;
        next = worse;
    }
    return best;
}

static bool measure(const struct options *options, FILE *json)
{
    struct outcome *tries = shared_memory(2 * sizeof(*tries)), *outcome;
    double patience = options->patience;
    struct machine machine = { .cpus = 1 };
    bool complete = tries, table = json != stdout;

    describe(&machine);
    if (table)
        table_begin(&machine, options->runs, options->seconds);
    if (json)
        json_begin(&machine, options->runs, options->seconds);
    for (unsigned i = 0; i < COUNT(lists); i++)
        for (const struct row *row = lists[i]; row->name; row++)
            promise_expect(row);
    for (unsigned i = 0; i < COUNT(lists) && tries; i++)
        for (const struct row *row = lists[i]; row->name && !interrupted; row++) {
            if (!chosen(options, row))
                continue;
            outcome = measure_row(options, row, tries, &patience);
            promise_add(row, outcome);
            complete = complete && !outcome->failed;
            if (table)
                table_row(row, outcome);
            else if (outcome->failed)
                fprintf(stderr, "xpurt-bench: %s: %s\n", row->name, outcome->error);
            if (json)
                json_row(row, outcome);
        }
    if (json)
        json_end(json);
    if (table)
        table_end(options->n_patterns == 0);
    return complete && !interrupted;
}

/* With a daemon on @p socket. */
static bool measure_daemon(const struct options *options, const char *socket)
{
    FILE *json = NULL;
    bool complete;

    if (sanitized_ourselves() || daemon_sanitized(environment.daemon)) {
        fprintf(stderr, "xpurt-bench: built with sanitizers: the figures would mean nothing. "
                        "Use the release preset.\n");
        return false;
    }
    if (options->json)
        json = strcmp(options->json, "-") == 0 ? stdout : fopen(options->json, "we");
    if (options->json && !json) {
        fprintf(stderr, "xpurt-bench: %s: %s\n", options->json, strerror(errno));
        return false;
    }
    setenv("XPURT_SOCKET", socket, 1);
    complete = measure(options, json);
    if (json && json != stdout && fclose(json) != 0) {
        fprintf(stderr, "xpurt-bench: %s: %s\n", options->json, strerror(errno));
        return false;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "xpurt-bench: standard output: it could not all be written\n");
        return false;
    }
    return complete;
}

static bool bench(const struct options *options)
{
    const struct sigaction action = { .sa_handler = on_signal };
    bool complete = false;
    char socket[108];

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    snprintf(environment.folder, sizeof(environment.folder), "%s/xpurt-bench-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(environment.folder)) {
        fprintf(stderr, "xpurt-bench: %s: %s\n", environment.folder, strerror(errno));
        return false;
    }

    if (options->socket) {
        if (daemon_find(options->socket, &environment.daemon) == 0)
            complete = measure_daemon(options, options->socket);
    } else if (daemon_start(socket, &environment.daemon) == 0) {
        complete = measure_daemon(options, socket);
        daemon_stop(environment.daemon);
    }
    nftw(environment.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return complete;
}

static void list(const struct options *options)
{
    for (unsigned i = 0; i < COUNT(lists); i++)
        for (const struct row *row = lists[i]; row->name; row++)
            if (chosen(options, row))
                printf("%-20s %s%s\n", row->name, row->what,
                       row->on_request ? " (on request)" : "");
}

/* This program is also the fresh process that some rows need. */
static int run_role(const char *name)
{
    end_with_starter();
    for (unsigned i = 0; i < COUNT(roles); i++)
        if (strcmp(roles[i].name, name) == 0)
            return roles[i].run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct options options = { .seconds = 4, .runs = 9, .patience = 120 };
    int r;

    if (argc == 3 && strcmp(argv[1], "--as") == 0)
        return run_role(argv[2]);
    r = options_parse(&options, argc, argv);
    if (r)
        return r < 0 ? -r : EXIT_SUCCESS;
    if (options.list) {
        list(&options);
        return EXIT_SUCCESS;
    }
    clock_init();
    find_program();
    raise_descriptor_limit();
    return bench(&options) ? EXIT_SUCCESS : EXIT_FAILURE;
}
