/* SPDX-License-Identifier: MIT */
/* bench/redis.c: redis as a peer: a server of its own on a Unix socket, driven by redis-benchmark.
 *
 * Guarantees of this file: the server listens on no port, keeps nothing on disk, and ends with the
 * row; where redis is not installed, the side is left out and the table says so.
 */
#include "bench/peers.h"
#include "bench/row.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_REQUESTS 20000            /* to find out how many fill the time */
#define START_TRIES 500                 /* of 10 ms */

static struct {
    pid_t pid;
    struct sockaddr_un address;
    bool missing;
} server;

/* Where redis-server is not, another program of its package does the same under that name. */
static void serve(void)
{
    static const char *const programs[] = { "redis-server", "redis-check-rdb" };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(null, STDOUT_FILENO);
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        execlp(programs[i], "redis-server", "--port", "0", "--unixsocket", server.address.sun_path,
               "--save", "", "--appendonly", "no", "--dir", environment.folder, NULL);
    _exit(127);
}

static bool answers(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected =
        connect(fd, (const struct sockaddr *)&server.address, sizeof(server.address)) == 0;

    close(fd);
    return connected;
}

int peer_redis_open(void)
{
    server.address.sun_family = AF_UNIX;
    snprintf(server.address.sun_path, sizeof(server.address.sun_path), "%s/redis.sock",
             environment.folder);
    unlink(server.address.sun_path);    /* of the row before */
    server.pid = fork();
    if (server.pid == 0)
        serve();
    if (server.pid < 0)
        return row_fail("fork: %s", strerror(errno));

    for (unsigned i = 0; i < START_TRIES && !answers(); i++) {
        if (waitpid(server.pid, NULL, WNOHANG) == server.pid) {
            server.pid = 0;
            server.missing = true;
            return 0;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    return 0;
}

void peer_redis_close(void)
{
    if (server.pid <= 0)
        return;
    kill(server.pid, SIGTERM);
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
}

/* Requests per second of one redis-benchmark; 0 when it says nothing that can be read. */
static double benchmark(unsigned pipeline, unsigned long requests)
{
    char command[512], line[256];
    double rate = 0;
    FILE *output;

    snprintf(command, sizeof(command),
             "redis-benchmark -s '%s' -t incr -c 1 -P %u -n %lu --csv 2>/dev/null",
             server.address.sun_path, pipeline, requests);
    output = popen(command, "re");
    if (!output)
        return 0;
    while (fgets(line, sizeof(line), output))
        sscanf(line, "\"INCR\",\"%lf\"", &rate);
    pclose(output);
    return rate;
}

static int measure(unsigned pipeline, double seconds, double *rate)
{
    double wanted = *rate > 0 ? *rate * seconds : FIRST_REQUESTS;

    if (server.missing)
        return row_skip("redis is not installed: nothing to compare with");
    *rate = benchmark(pipeline, (unsigned long)wanted + pipeline);
    if (*rate <= 0)
        return row_skip("redis-benchmark is not installed, or failed: nothing to compare with");
    return 0;
}

static double rates[REDIS_PIPELINE_MAX + 1]; /* the last one of each -P */

int peer_redis(unsigned pipeline, double seconds, double *ret_per_second)
{
    int r = measure(pipeline, seconds, &rates[pipeline]);

    *ret_per_second = rates[pipeline];
    return r;
}

int peer_redis_1(double seconds, double *ret_per_second)
{
    return peer_redis(1, seconds, ret_per_second);
}

int peer_redis_64(double seconds, double *ret_per_second)
{
    return peer_redis(64, seconds, ret_per_second);
}

int peer_redis_best(double seconds, double *ret_per_second)
{
    static const unsigned pipelines[] = { 1, 16, 64, 256 };
    double best = 0;

    for (unsigned i = 0; i < 4; i++) {
        double rate = 0;
        int r = peer_redis(pipelines[i], seconds / 4, &rate);

        if (r)
            return r;
        if (rate > best)
            best = rate;
    }
    *ret_per_second = best;
    return 0;
}
