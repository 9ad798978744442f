/* SPDX-License-Identifier: MIT */
/* bench/idle.c: rows about what xpurt costs while nobody uses it. */
#include "bench/clients.h"
#include "bench/clock.h"
#include "bench/row.h"
#include "bench/samples.h"

#define CLIENTS 100
#define SETTLE_NS 500000000             /* until everybody who can sleep does */
#define WATCH_NS UINT64_C(5000000000)

static struct child clients[CLIENTS];

static int open_clients(void)
{
    return clients_start(clients, CLIENTS);
}

static void close_clients(void)
{
    clients_stop(clients, CLIENTS);
}

/* ---- wake-ups ----------------------------------------------------------------------------------------- */

static int64_t clients_switches(void)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < CLIENTS; i++)
        sum += process_switches(clients[i].pid);
    return sum;
}

static int measure_wakeups(double seconds, double *ret_count)
{
    int64_t of_daemon, of_clients;

    (void)seconds;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (client_do(&clients[i], CLIENT_CONNECT) < 0)
            return -1;
    sleep_ns(SETTLE_NS);
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
    double of_daemon = process_memory(environment.daemon), after;
    struct samples of_clients = SAMPLES_NULL;

    (void)seconds;
    for (unsigned i = 0; i < CLIENTS; i++)
        samples_add(&of_clients, -process_memory(clients[i].pid));
    for (unsigned i = 0; i < CLIENTS; i++)
        if (client_do(&clients[i], CLIENT_CONNECT) < 0)
            return -1;
    sleep_ns(SETTLE_NS);
    for (unsigned i = 0; i < CLIENTS; i++)
        of_clients.values[i] += process_memory(clients[i].pid);
    of_daemon = (process_memory(environment.daemon) - of_daemon) / CLIENTS;
    after = samples_quantile(&of_clients, 0.5);
    samples_deinit(&of_clients);

    row_note("%.1f KiB in the daemon, %.1f KiB in the client", of_daemon / 1024, after / 1024);
    *ret_kib = (of_daemon + after) / 1024;
    return row_failed() ? -1 : 0;
}

static int measure_event(double seconds, double *ret_bytes)
{
    double of_daemon, of_client;

    (void)seconds;
    if (client_do(&clients[0], CLIENT_CONNECT) < 0)
        return -1;
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
        .runs_max = 1,
        .goal = AIM(64),
        .open = open_clients,
        .close = close_clients,
        .sides = { { "xpurt", measure_session } },
    },
    {
        .name = "memory-event",
        .what = "memory of a live event that was recorded, in daemon and client together",
        .unit = "B",
        .runs_max = 1,
        .goal = AIM(128),
        .open = open_clients,
        .close = close_clients,
        .sides = { { "xpurt", measure_event } },
    },
    {
        .name = "idle-wakeups",
        .what = "wake-ups of a daemon with 100 idle clients in 5 s",
        .unit = "wake-ups",
        .runs_max = 1,
        .goal = GOAL(0),
        .open = open_clients,
        .close = close_clients,
        .sides = { { "xpurt", measure_wakeups } },
    },
    { 0 },
};
