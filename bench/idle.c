/* SPDX-License-Identifier: MIT */
/* bench/idle.c: rows about what xpurt costs while nobody uses it. */
#include "bench/clients.h"
#include "bench/clock.h"
#include "bench/row.h"
#include "bench/samples.h"

#define CLIENTS 100                     /* that are idle */
#define NEWCOMERS 20                    /* of a run */
#define RUNS_MAX 5                      /* of which each has clients, or events, of its own */
#define CLIENTS_MAX ((1 + RUNS_MAX) * NEWCOMERS)
#define SETTLE_NS 300000000             /* until everybody who can sleep does */
#define WATCH_NS 1000000000

static struct child clients[CLIENTS_MAX];
static unsigned n_clients;              /* that were started */

/* Clients that do nothing yet. The first of them, NULL: row_fail(). */
static struct child *add_clients(unsigned n)
{
    struct child *first = &clients[n_clients];

    n_clients += n;
    return clients_start(first, n) < 0 ? NULL : first;
}

static int connect_clients(struct child *which, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (client_do(&which[i], CLIENT_CONNECT) < 0)
            return -1;
    sleep_ns(SETTLE_NS);
    return 0;
}

static int open_connected(void)
{
    return add_clients(CLIENTS) ? connect_clients(clients, CLIENTS) : -1;
}

static int open_one(void)
{
    return add_clients(1) ? connect_clients(clients, 1) : -1;
}

static void close_clients(void)
{
    clients_stop(clients, n_clients);
}

/* ---- wake-ups ----------------------------------------------------------------------------------------- */

static int64_t clients_switches(void)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < n_clients; i++)
        sum += process_switches(clients[i].pid);
    return sum;
}

static int measure_wakeups(double seconds, double *ret_count)
{
    int64_t of_daemon, of_clients;

    (void)seconds;
    of_clients = clients_switches();
    of_daemon = process_switches(environment.daemon);
    sleep_ns(WATCH_NS);
    of_daemon = process_switches(environment.daemon) - of_daemon;
    of_clients = clients_switches() - of_clients;

    row_note("the clients: %d wake-ups", (int)of_clients);
    *ret_count = (double)of_daemon;
    return row_failed() ? -1 : 0;
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static int measure_session(double seconds, double *ret_kib)
{
    double of_daemon = process_memory(environment.daemon), of_client, before[NEWCOMERS];
    struct samples of_clients = SAMPLES_NULL;
    struct child *newcomers = add_clients(NEWCOMERS);

    (void)seconds;
    if (!newcomers)
        return -1;
    for (unsigned i = 0; i < NEWCOMERS; i++)
        before[i] = process_memory(newcomers[i].pid);
    if (connect_clients(newcomers, NEWCOMERS) < 0)
        return -1;
    for (unsigned i = 0; i < NEWCOMERS; i++)
        samples_add(&of_clients, process_memory(newcomers[i].pid) - before[i]);
    of_daemon = (process_memory(environment.daemon) - of_daemon) / NEWCOMERS;
    of_client = samples_quantile(&of_clients, 0.5);
    samples_deinit(&of_clients);

    row_note("%.1f KiB in the daemon, %.1f KiB in the client", of_daemon / 1024, of_client / 1024);
    *ret_kib = (of_daemon + of_client) / 1024;
    return row_failed() ? -1 : 0;
}

static int measure_event(double seconds, double *ret_bytes)
{
    double of_daemon, of_client;

    (void)seconds;
    of_daemon = -process_memory(environment.daemon);
    of_client = -process_memory(clients[0].pid);
    if (client_do(&clients[0], CLIENT_EVENTS) < 0)
        return -1;
    sleep_ns(SETTLE_NS);
    of_daemon = (of_daemon + process_memory(environment.daemon)) / EVENTS_PER_ORDER;
    of_client = (of_client + process_memory(clients[0].pid)) / EVENTS_PER_ORDER;

    row_note("%.1f B in the daemon, %.1f B in the client", of_daemon, of_client);
    *ret_bytes = of_daemon + of_client;
    return row_failed() ? -1 : 0;
}

const struct row idle_rows[] = {
    {
        .name = "memory-session",
        .what = "memory of a session with one stream and one event, in daemon and client together",
        .unit = "KiB",
        .runs_max = RUNS_MAX,
        .promise = PROMISE_MEMORY,
        .goal = GOAL(64),
        .close = close_clients,
        .sides = { { "xpurt", measure_session } },
    },
    {
        .name = "memory-event",
        .what = "memory of a live event that was recorded, in daemon and client together",
        .unit = "B",
        .runs_max = RUNS_MAX,
        .promise = PROMISE_MEMORY,
        .goal = GOAL(128),
        .open = open_one,
        .close = close_clients,
        .sides = { { "xpurt", measure_event } },
    },
    {
        .name = "idle-wakeups",
        .what = "wake-ups of a daemon with 100 idle clients in a second",
        .unit = "wake-ups/s",
        .promise = PROMISE_IDLE,
        .goal = GOAL(0),
        .open = open_connected,
        .close = close_clients,
        .sides = { { "xpurt", measure_wakeups } },
    },
    { 0 },
};
