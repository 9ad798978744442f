/* SPDX-License-Identifier: MIT */
/* bench/clients.c: see clients.h. */
#include "bench/clients.h"
#include "bench/row.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the client's side ---------------------------------------------------------------------------- */

static xpurt_stream *stream;

static xpurt_result connect_and_record(void)
{
    xpurt_event *event;
    xpurt_result r;

    r = xpurt_stream_create(&stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_DEFAULT, &event);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_record(event, stream);
    return r ? r : xpurt_event_synchronize(event);
}

static xpurt_result make_events(void)
{
    xpurt_event *event = NULL;
    xpurt_result r = XPURT_SUCCESS;

    for (unsigned i = 0; i < EVENTS_PER_ORDER && r == XPURT_SUCCESS; i++) {
        r = xpurt_event_create(XPURT_EVENT_DEFAULT, &event);
        if (r == XPURT_SUCCESS)
            r = xpurt_event_record(event, stream);
    }
    return r ? r : xpurt_event_synchronize(event);
}

static xpurt_result obey(char order)
{
    switch (order) {
    case CLIENT_CONNECT:
        return connect_and_record();
    case CLIENT_EVENTS:
        return make_events();
    default:
        return XPURT_SUCCESS;
    }
}

int role_client(void)
{
    char order;

    while (read(STDIN_FILENO, &order, 1) == 1) {
        if (obey(order)) {
            fprintf(stderr, "xpurt-bench client: %s\n", xpurt_last_error());
            return -1;
        }
        if (write(STDIN_FILENO, &order, 1) != 1)
            return -1;
    }
    return 0;
}

/* ---- the row's side ------------------------------------------------------------------------------- */

int clients_start(struct child *clients, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (child_execute(&clients[i], "client") < 0)
            return -1;
    for (unsigned i = 0; i < n; i++)
        if (client_do(&clients[i], CLIENT_NOTHING) < 0)
            return -1;
    return 0;
}

int client_do(struct child *client, enum client_order order)
{
    char byte = (char)order;

    if (tell_bytes(client->socket, &byte, 1) < 0)
        return -1;
    return hear_bytes(client->socket, &byte, 1);
}

void clients_stop(struct child *clients, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        child_stop(&clients[i]);
}

/* The sum of the numbers behind @p keys in a file of /proc. */
static int64_t sum_of(const char *path, const char *const keys[2])
{
    FILE *file = fopen(path, "re");
    int64_t sum = 0;
    char line[256];

    if (!file)
        return row_fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file))
        for (unsigned i = 0; i < 2; i++) {
            size_t length = strlen(keys[i]);
            int64_t value;

            if (strncmp(line, keys[i], length) == 0 &&
                sscanf(line + length, "%" SCNd64, &value) == 1)
                sum += value;
        }
    fclose(file);
    return sum;
}

double process_memory(pid_t pid)
{
    static const char *const keys[2] = { "Pss_Anon:", "Pss_Shmem:" };
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    return 1024.0 * (double)sum_of(path, keys);
}

int64_t process_switches(pid_t pid)
{
    static const char *const keys[2] = { "voluntary_ctxt_switches:",
                                         "nonvoluntary_ctxt_switches:" };
    const struct dirent *entry;
    char path[320];
    int64_t sum = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    folder = opendir(path);
    if (!folder)
        return row_fail("%s: %s", path, strerror(errno));
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        sum += sum_of(path, keys);
    }
    closedir(folder);
    return sum;
}
