/* SPDX-License-Identifier: MIT */
/* examples/worker.c: the life of a process of a pair: meet, open, run, say what went wrong.
 *
 * Guarantees of this file:
 *   - a process that fails says why, with its role and the name of the result, and its peer learns
 *     that it failed;
 *   - an output that was cut short is named as such.
 */
#include "worker.h"

#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* ---- files ----------------------------------------------------------------------------------- */

xpurt_result block_read(int file, void *block, size_t size, size_t *ret_length)
{
    size_t length = 0;

    while (length < size) {
        ssize_t n = read(file, (char *)block + length, size - length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return problem_system("the input", errno);
        if (n == 0)
            break;
        length += (size_t)n;
    }
    *ret_length = length;
    return XPURT_SUCCESS;
}

xpurt_result block_write(int file, const void *block, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(file, (const char *)block + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return problem_system("the output", errno);
        done += (size_t)n;
    }
    return XPURT_SUCCESS;
}

char *worker_output(const struct options *options, unsigned pair)
{
    char *path;

    if (options->pairs == 1)
        return strdup(options->output);
    return asprintf(&path, "%s.%u", options->output, pair) < 0 ? NULL : path;
}

static xpurt_result open_input(const char *path, int *ret_file)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0)
        return problem_system(path, errno);
    *ret_file = file;
    return XPURT_SUCCESS;
}

static xpurt_result open_output(const char *path, int *ret_file)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (file < 0)
        return problem_system(path, errno);
    *ret_file = file;
    return XPURT_SUCCESS;
}

/* ---- the two roles --------------------------------------------------------------------------- */

static xpurt_result run_producer(struct worker *worker, struct ring *ring)
{
    const struct options *options = worker->options;
    int input = -1;
    xpurt_result r;

    r = open_input(options->input, &input);
    if (r == XPURT_SUCCESS)
        r = ring_create(ring, worker->channel, options->slots, options->block);
    if (r == XPURT_SUCCESS) {
        worker->meter->started_ns = now_ns();
        r = (worker->way == WAY_OLD ? old_producer_run : producer_run)(ring, input, worker->meter);
        worker->meter->ended_ns = now_ns();
    }
    if (input >= 0)
        close(input);
    return r;
}

static xpurt_result run_consumer(struct worker *worker, struct ring *ring, const char *path)
{
    int output = -1;
    xpurt_result r;

    r = open_output(path, &output);     /* first: cutting off an old file takes its time */
    if (r)
        return r;
    r = ring_open(ring, worker->channel);
    if (r) {
        close(output);
        return r;
    }
    worker->meter->started_ns = now_ns();
    r = (worker->way == WAY_OLD ? old_consumer_run : consumer_run)(ring, output, worker->meter);
    worker->meter->ended_ns = now_ns();
    if (r)
        fprintf(stderr, "xpurt-handoff: %s is cut short: %" PRIu64 " bytes were written\n", path,
                worker->meter->bytes);
    return r;
}

static xpurt_result meet(struct worker *worker)
{
    const char *path = worker->options->connect;
    int fd;

    if (worker->channel >= 0)
        return XPURT_SUCCESS;
    fd = worker->side == RING_PRODUCER ? channel_listen(path) : channel_connect(path);
    if (fd == -ETIMEDOUT)
        return problem(XPURT_ERROR_SYSTEM, "no %s came to %s within %d s",
                       worker->side == RING_PRODUCER ? "consumer" : "producer", path,
                       CHANNEL_PATIENCE_S);
    if (fd < 0)
        return problem_system(path, -fd);
    worker->channel = fd;
    return XPURT_SUCCESS;
}

enum status worker_run(struct worker *worker)
{
    const char *role = worker->side == RING_PRODUCER ? "producer" : "consumer";
    char *path =
        worker->side == RING_CONSUMER ? worker_output(worker->options, worker->pair) : NULL;
    struct ring ring = { .side = worker->side };
    char name[16];
    xpurt_result r;

    snprintf(name, sizeof(name), "%s %u", role, worker->pair);
    prctl(PR_SET_NAME, name);           /* for ps, top and the daemon's log */

    r = meet(worker);
    ring.channel = worker->channel;
    if (r == XPURT_SUCCESS)
        r = xpurt_init();               /* before the device: this error is the clearer one */
    if (r == XPURT_SUCCESS)
        r = xpurt_set_device(worker->options->device);
    if (r == XPURT_SUCCESS && worker->side == RING_PRODUCER)
        r = run_producer(worker, &ring);
    else if (r == XPURT_SUCCESS)
        r = path ? run_consumer(worker, &ring, path) :
                   problem_system("the name of the output", ENOMEM);
    if (r) {
        ring_fail(&ring, r);
        fprintf(stderr, "xpurt-handoff: %s: %s: %s\n", name, xpurt_result_name(r), problem_text());
    }
    ring_close(&ring);
    free(path);
    return problem_status(r);
}
