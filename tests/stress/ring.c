/* SPDX-License-Identifier: MIT */
/* tests/stress/ring.c: processes in a ring pass a token through device memory.
 *
 * Each round every process waits on its stream for its neighbour's event, copies the token out into
 * its history, writes its own number into the token, and records its event. No host waits for the
 * GPU within the run; hosts only wait until the neighbour has *recorded* its round. Afterwards the
 * history of every process must be exact: a wait that came too early, a record that was published
 * too early or a command that ran twice shows as a wrong number.
 *
 * With --kill N the same runs N times and a random process is killed at a random moment; each of the
 * others must be told PEER_LOST, half of them within 100 ms, and the daemon must be back at its
 * baseline.
 *
 * Small tokens are copied at once, large ones (--bytes) run on the device's threads, so that streams
 * really wait for each other there.
 *
 * The last --external N processes use command lists of their own Level Zero contexts.
 *
 *      ring [--processes P] [--rounds R] [--bytes B] [--external N] [--kill N] [--seed S]
 */
#include "tests/support/daemon.h"
#include "tests/support/native.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <getopt.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 16

/* Until the others know. Sanitizers slow all of them down. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define KILLED_MS 2000.0
#else
#define KILLED_MS 100.0
#endif

/* Shared by all processes of one run; says nothing of the rounds. */
struct control {
    _Atomic uint32_t ready;                  /* processes that have exported */
    _Atomic uint32_t going;                  /* ... and opened all that they need */
    _Atomic uint64_t killed_ns;              /* when somebody was killed; 0: nobody */
    _Atomic uint64_t told_ns[PROCESSES_MAX]; /* when each was told PEER_LOST */
    xpurt_event_handle events[PROCESSES_MAX];
    xpurt_mem_handle token;
};

struct worker {
    struct control *control;
    unsigned index, processes;
    bool external;
    struct test_native native;          /* external: where the stream is */
    xpurt_ze_list list;                 /* ... and what */
    uint64_t rounds;
    size_t words;                       /* of the token, all the same number */
    xpurt_stream *stream;
    xpurt_event *own, *neighbour;
    void *token;
    uint64_t *values, *history;         /* pinned; one token a round */
};

/* What process @p index writes in @p round; 0 is the token's first content. */
static uint64_t number(const struct worker *worker, uint64_t round, unsigned index)
{
    return round * worker->processes + index + 1;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A call that failed: that is right only when somebody was killed, and it says so. */
static bool told(const struct worker *worker, xpurt_result result, const char *what)
{
    if (result == XPURT_SUCCESS)
        return false;
    test_require(result == XPURT_ERROR_PEER_LOST && atomic_load(&worker->control->killed_ns),
                 "%s: %s", what, xpurt_last_error());
    atomic_store(&worker->control->told_ns[worker->index], now_ns());
    return true;                        /* and leaves, by which those who wait for us know */
}

/* Until the neighbour has recorded @p least times; false: it will not. */
static bool await_record(const struct worker *worker, uint32_t least)
{
    uint32_t generation;
    xpurt_result result;

    for (unsigned spins = 0; spins < 200; spins++) {
        test_ok(xpurt_event_get_generation(worker->neighbour, &generation));
        if (generation >= least)
            return true;
        if (spins > 100)
            usleep(20);
    }
    do {
        result = xpurt_event_wait_generation(worker->neighbour, least, 10000000);
    } while (result == XPURT_TIMEOUT);
    return !told(worker, result, "waiting for a record");
}

static void worker_open_list(struct worker *worker)
{
    test_native_open(&worker->native);
    worker->list = test_native_list(&worker->native, 0);
    test_ok(xpurt_stream_from_ze_list(&worker->list, &worker->stream));
}

static void worker_open(struct worker *worker)
{
    struct control *control = worker->control;
    unsigned before = (worker->index + worker->processes - 1) % worker->processes;
    size_t token = worker->words * sizeof(uint64_t), size = worker->rounds * token;
    xpurt_stream *filler;

    if (worker->external)
        worker_open_list(worker);
    else
        test_ok(xpurt_stream_create(&worker->stream));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &worker->own));
    test_ok(xpurt_host_malloc((void **)&worker->values, size));
    test_ok(xpurt_host_malloc((void **)&worker->history, size));
    for (uint64_t i = 0; i < worker->rounds * worker->words; i++)
        worker->values[i] = number(worker, i / worker->words, worker->index);

    test_ok(xpurt_event_get_ipc_handle(worker->own, &control->events[worker->index]));
    if (worker->index == 0) {
        test_ok(xpurt_malloc(&worker->token, token));
        test_ok(xpurt_stream_get_default(0, &filler));
        test_ok(xpurt_memset_async(worker->token, 0, token, filler));
        test_ok(xpurt_stream_synchronize(filler));
        test_ok(xpurt_mem_get_ipc_handle(worker->token, &control->token));
    }
    atomic_fetch_add(&control->ready, 1);
    while (atomic_load(&control->ready) < worker->processes)
        usleep(100);

    if (worker->index)
        test_ok(xpurt_mem_open_ipc_handle(&control->token, &worker->token));
    test_ok(xpurt_event_open_ipc_handle(&control->events[before], &worker->neighbour));
    if (worker->external)
        test_ok(xpurt_mem_get_ze_pointer(worker->token, &worker->list.context, worker->list.device,
                                         &worker->token));
    atomic_fetch_add(&control->going, 1);
    while (atomic_load(&control->going) < worker->processes)
        usleep(100);
}

static xpurt_result worker_copy(struct worker *worker, void *to, const void *from, size_t size)
{
    if (!worker->external)
        return xpurt_memcpy_async(to, from, size, worker->stream);
    test_native_copy(&worker->list, to, from, size);
    return XPURT_SUCCESS;
}

/* One round, submitted only. False: somebody was killed. */
static bool worker_round(struct worker *worker, uint64_t round)
{
    uint64_t due = worker->index ? round + 1 : round; /* the first one begins the round */
    uint64_t *history = worker->history + round * worker->words;
    uint64_t *values = worker->values + round * worker->words;
    size_t size = worker->words * sizeof(uint64_t);

    return await_record(worker, (uint32_t)due) &&
           !told(worker, xpurt_stream_wait_event(worker->stream, worker->neighbour), "waiting") &&
           !told(worker, worker_copy(worker, history, worker->token, size), "copying out") &&
           !told(worker, worker_copy(worker, worker->token, values, size), "copying in") &&
           !told(worker, xpurt_event_record(worker->own, worker->stream), "recording");
}

static void worker_check(const struct worker *worker)
{
    for (uint64_t i = 0; i < worker->rounds * worker->words; i++) {
        uint64_t round = i / worker->words;
        uint64_t expected = number(worker, round, worker->index) - 1;

        test_require(worker->history[i] == expected,
                     "process %u, round %lu: the token was %lu, not %lu", worker->index,
                     (unsigned long)round, (unsigned long)worker->history[i],
                     (unsigned long)expected);
    }
}

static void worker_run(struct worker *worker)
{
    uint64_t round = 0;

    worker_open(worker);
    while (round < worker->rounds && worker_round(worker, round))
        round++;
    if (round == worker->rounds &&
        !told(worker, xpurt_stream_synchronize(worker->stream), "synchronizing")) {
        /* Synchronised by way of the daemon: tell the thread sanitizer, who sees one process. */
        if (worker->external)
            (void)test_native_synchronize(&worker->native, &worker->list, UINT64_MAX);
        worker_check(worker);
    }
    /* Leave without tidying up: the daemon must not need it. */
    _exit(0);
}

/* ---- the parent ------------------------------------------------------------------------------- */

struct options {
    unsigned processes, externals;
    uint64_t rounds;
    size_t words;
    unsigned kills;
    unsigned seed;
};

static struct control *control_map(void)
{
    struct control *control =
        mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    test_require(control != MAP_FAILED, "mmap");
    return control;
}

static void await_baseline(void)
{
    static const char *const names[] = { "user-streams",     "handles",       "user-leases",
                                         "user-allocations", "user-segments", "user-exports",
                                         "user-native-slots" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (int tries = 0; test_daemon_counter(names[i]); tries++) {
            test_require(tries < 1000, "%s is still %llu", names[i], test_daemon_counter(names[i]));
            usleep(10000);
        }
    for (int tries = 0; test_daemon_counter("sessions") != 1; tries++) {
        test_require(tries < 1000, "%llu sessions are left", test_daemon_counter("sessions"));
        usleep(10000);
    }
}

static struct {
    double *milliseconds;
    unsigned count;
} delays;

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static void delays_collect(const struct options *options, const struct control *control, int victim)
{
    for (int i = 0; i < (int)options->processes; i++) {
        uint64_t told = atomic_load(&control->told_ns[i]);

        if (i == victim)
            continue;
        test_require(told, "process %d was not told that process %d is gone", i, victim);
        delays.milliseconds[delays.count++] =
            (double)(told - atomic_load(&control->killed_ns)) / 1e6;
    }
}

static void delays_check(void)
{
    unsigned n = delays.count;

    if (!n)
        return;
    qsort(delays.milliseconds, n, sizeof(double), compare);
    printf("told after %.1f ms (median), %.1f ms (99 of 100), %.1f ms (last)\n",
           delays.milliseconds[n / 2], delays.milliseconds[n * 99 / 100],
           delays.milliseconds[n - 1]);
    test_require(delays.milliseconds[n / 2] <= KILLED_MS, "too late");
}

static void victim_kill(struct control *control, const struct options *options, pid_t victim)
{
    while (atomic_load(&control->going) < options->processes)
        usleep(100);
    usleep((useconds_t)(rand() % 60000));
    atomic_store(&control->killed_ns, now_ns());
    kill(victim, SIGKILL);
}

static void run(const struct options *options, bool with_kill)
{
    struct control *control = control_map();
    pid_t pids[PROCESSES_MAX];
    int victim = with_kill ? rand() % (int)options->processes : -1;

    for (unsigned i = 0; i < options->processes; i++) {
        pids[i] = fork();
        test_require(pids[i] >= 0, "fork");
        if (pids[i] == 0) {
            struct worker worker = { .control = control,
                                     .index = i,
                                     .external = i + options->externals >= options->processes,
                                     .processes = options->processes,
                                     .rounds = options->rounds,
                                     .words = options->words };

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            worker_run(&worker);
        }
    }
    if (victim >= 0)
        victim_kill(control, options, pids[victim]);
    for (unsigned i = 0; i < options->processes; i++) {
        int status;

        waitpid(pids[i], &status, 0);
        test_require((int)i == victim || status == 0, "process %u ended with 0x%x", i,
                     (unsigned)status);
    }
    if (victim >= 0)
        delays_collect(options, control, victim);
    munmap(control, sizeof(*control));
    await_baseline();
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "processes", required_argument, NULL, 'p' },
        { "rounds", required_argument, NULL, 'r' },
        { "bytes", required_argument, NULL, 'b' },
        { "external", required_argument, NULL, 'e' },
        { "kill", required_argument, NULL, 'k' },
        { "seed", required_argument, NULL, 's' },
        { NULL, 0, NULL, 0 },
    };
    struct options options = {
        .processes = 3, .rounds = 20000, .words = 1, .seed = (unsigned)time(NULL)
    };
    struct test_daemon daemon;
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        unsigned long value = optarg ? strtoul(optarg, NULL, 0) : 0;

        if (c == 'p' && value >= 2 && value <= PROCESSES_MAX)
            options.processes = (unsigned)value;
        else if (c == 'r' && value)
            options.rounds = value;
        else if (c == 'b' && value >= 8)
            options.words = value / 8;
        else if (c == 'e')
            options.externals = (unsigned)value;
        else if (c == 'k')
            options.kills = (unsigned)value;
        else if (c == 's')
            options.seed = (unsigned)value;
        else
            return 2;
    }
    printf("seed %u\n", options.seed);
    fflush(stdout);
    srand(options.seed);
    test_daemon_start(&daemon, NULL);
    delays.milliseconds = calloc(options.kills * options.processes + 1, sizeof(double));
    if (!options.kills)
        run(&options, false);
    for (unsigned i = 0; i < options.kills; i++)
        run(&options, true);
    delays_check();
    free(delays.milliseconds);
    printf("%u processes, %lu rounds, %u kills: exact\n", options.processes,
           (unsigned long)options.rounds, options.kills);
    return test_daemon_stop(&daemon) ? 1 : 0;
}
