/* SPDX-License-Identifier: MIT */
/* daemon/connection.c: bytes to frames and back, without ever blocking.
 *
 * Guarantees of this file:
 *   - a length is believed only up to FRAME_PAYLOAD_MAX; what was received is copied out of the
 *     kernel before it is looked at, and an idle connection holds no buffer;
 *   - descriptors that nobody asked for are closed, and end the connection; a peer that breaks the
 *     rules is told before;
 *   - `lost` is called once, from the loop, never from inside a call into this file;
 *   - a peer that does not read costs at most out_limit bytes, then it is given up.
 */
#include "daemon/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK 65536u               /* one read a turn: others get theirs in between */
#define DESCRIPTOR_COST \
    16384u                              /* what an unread one weighs against out_limit: the process
                                           has few, and each keeps something alive */

struct connection_output {
    struct connection_output *next;
    size_t size, sent;
    size_t cost;                        /* against the limit */
    unsigned n_fds;
    int fds[FRAME_FDS_MAX];             /* our duplicates, until the first byte is sent */
    uint8_t bytes[];
};

/* For the reading that goes on right now; what remains is kept by the connection. */
static uint8_t receive_buffer[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX + READ_CHUNK];

static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- what the loop watches ------------------------------------------------------------------------ */

static void watch(struct connection *connection)
{
    int events = UV_DISCONNECT;

    if (connection->closing)
        return;
    if (!connection->paused)
        events |= UV_READABLE;
    if (connection->out || connection->kick)
        events |= UV_WRITABLE;          /* writable nearly always: that is the kick */
    if (events == connection->events_watched)
        return;                         /* starting again would cost a system call */
    connection->events_watched = events;
    uv_poll_start(&connection->poll, events, on_poll);
}

static void broke(struct connection *connection, const char *reason)
{
    connection->broken = true;
    connection->reason = reason;
    /* The loop sees that as a hang-up and comes back, also when the socket is full. */
    shutdown(connection->fd, SHUT_RD);
}

static void refuse(struct connection *connection, const char *reason)
{
    connection->events->refused(connection, reason);
    broke(connection, reason);
}

void connection_break(struct connection *connection, const char *reason)
{
    if (!connection->broken)
        broke(connection, reason);
}

static void tell(struct connection *connection)
{
    if (!connection->broken || connection->told || connection->closing)
        return;
    connection->told = true;
    connection->events->lost(connection, connection->reason);
}

/* ---- out --------------------------------------------------------------------------------------------- */

static void output_free(struct connection_output *output)
{
    for (unsigned i = 0; i < output->n_fds; i++)
        close(output->fds[i]);
    free(output);
}

/* 0: all is sent; 1: the socket is full; -errno. */
static int output_send(struct connection *connection, struct connection_output *output)
{
    while (output->sent < output->size) {
        ssize_t n = frame_send(connection->fd, output->bytes + output->sent,
                               output->size - output->sent, output->fds, output->n_fds);

        if (n == -EAGAIN)
            return 1;
        if (n < 0)
            return (int)n;
        output->sent += (size_t)n;
        for (; output->n_fds; output->n_fds--)
            close(output->fds[output->n_fds - 1]);
    }
    return 0;
}

static void flush(struct connection *connection)
{
    struct connection_output *output;

    while ((output = connection->out)) {
        int r = output_send(connection, output);

        if (r > 0)
            return;
        if (r < 0) {
            broke(connection, NULL);
            return;
        }
        connection->out = output->next;
        if (!connection->out)
            connection->out_tail = &connection->out;
        connection->out_size -= output->cost;
        output_free(output);
    }
}

static struct connection_output *output_new(const uint8_t *payload, size_t size, const int *fds,
                                            unsigned n_fds)
{
    struct frame_header header = { .length = (uint32_t)size, .fds = (uint16_t)n_fds };
    struct connection_output *output;

    output = malloc(sizeof(*output) + FRAME_HEADER_SIZE + size);
    if (!output)
        return NULL;
    *output = (struct connection_output){
        .size = FRAME_HEADER_SIZE + size,
        .cost = sizeof(*output) + FRAME_HEADER_SIZE + size + n_fds * DESCRIPTOR_COST,
    };
    frame_header_write(output->bytes, &header);
    memcpy(output->bytes + FRAME_HEADER_SIZE, payload, size);

    /* The originals may be closed before the kernel takes ours. */
    for (; output->n_fds < n_fds; output->n_fds++) {
        output->fds[output->n_fds] = fcntl(fds[output->n_fds], F_DUPFD_CLOEXEC, 0);
        if (output->fds[output->n_fds] < 0) {
            output_free(output);
            return NULL;
        }
    }
    return output;
}

void connection_send(struct connection *connection, const uint8_t *payload, size_t size,
                     const int *fds, unsigned n_fds)
{
    struct connection_output *output;

    if (connection->broken || connection->closing)
        return;
    output = output_new(payload, size, fds, n_fds);
    if (!output) {
        connection_break(connection, "no memory or descriptor for an answer");
        return;
    }
    *connection->out_tail = output;
    connection->out_tail = &output->next;
    connection->out_size += output->cost;

    flush(connection);
    if (connection->out_size > connection->out_limit)
        connection_break(connection, "the client does not read what it is sent");
    if (connection->out)
        watch(connection);
}

/* ---- in ------------------------------------------------------------------------------------------------ */

/* Hand over whole frames; returns how many bytes that were. */
static size_t frames_hand_over(struct connection *connection, const uint8_t *bytes, size_t size)
{
    size_t used = 0;

    while (!connection->broken && !connection->paused && size - used >= FRAME_HEADER_SIZE) {
        struct frame_fds fds = { 0 };
        struct frame_header header;

        if (frame_header_read(bytes + used, &header) < 0) {
            refuse(connection, "a frame header that breaks the rules");
            break;
        }
        if (size - used - FRAME_HEADER_SIZE < header.length)
            break;
        while (fds.count < header.fds && connection->fds.count)
            fds.fds[fds.count++] = frame_fds_take(&connection->fds);
        if (fds.count < header.fds)
            refuse(connection, "a frame without the descriptors it announces");
        else
            connection->events->frame(connection, bytes + used + FRAME_HEADER_SIZE, header.length,
                                      &fds);
        frame_fds_close(&fds);
        used += FRAME_HEADER_SIZE + header.length;
    }
    return used;
}

/* Keep what was not handed over. */
static void partial_keep(struct connection *connection, const uint8_t *bytes, size_t size)
{
    uint8_t *kept = NULL;

    if (size && !connection->broken) {
        kept = malloc(size);
        if (kept)
            memcpy(kept, bytes, size);
        else
            broke(connection, "no memory for a frame");
    }
    free(connection->partial);
    connection->partial = kept;
    connection->partial_size = kept ? size : 0;
    if (!kept && !connection->broken && connection->fds.count)
        refuse(connection, "descriptors came without a frame that takes them");
}

static void receive(struct connection *connection, bool more)
{
    size_t size = connection->partial_size, used;

    if (size)
        memcpy(receive_buffer, connection->partial, size);
    if (more && size < FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX) {
        ssize_t n =
            frame_receive(connection->fd, receive_buffer + size, READ_CHUNK, &connection->fds);

        if (n == -EPROTO) {
            refuse(connection, "too many descriptors");
            return;
        }
        if (n == 0 || (n < 0 && n != -EAGAIN)) {
            broke(connection, NULL);
            return;
        }
        size += n > 0 ? (size_t)n : 0;
    }
    used = frames_hand_over(connection, receive_buffer, size);
    if (used)
        connection->events->settled(connection);
    partial_keep(connection, receive_buffer + used, size - used);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;

    connection->kick = false;
    if (status < 0)
        connection_break(connection, NULL);
    if (!connection->broken && connection->out)
        flush(connection);

    if (!connection->broken && !connection->paused)
        receive(connection, events & (UV_READABLE | UV_DISCONNECT));
    else if (!connection->broken && (events & UV_DISCONNECT))
        broke(connection, NULL);        /* it died while the GPU was behind */

    if (connection->broken)
        tell(connection);
    else
        watch(connection);
}

void connection_pause(struct connection *connection)
{
    connection->paused = true;
    watch(connection);
}

void connection_resume(struct connection *connection)
{
    if (!connection->paused)
        return;
    connection->paused = false;
    connection->kick = true;            /* for the frames that wait here */
    watch(connection);
}

/* ---- life ------------------------------------------------------------------------------------------------ */

int connection_open(struct connection *connection, uv_loop_t *loop, int fd,
                    const struct connection_events *events, size_t out_limit)
{
    int r;

    connection->fd = fd;
    connection->events = events;
    connection->out_limit = out_limit;
    connection->out_tail = &connection->out;

    r = uv_poll_init(loop, &connection->poll, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    connection->poll.data = connection;
    watch(connection);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    connection->events->closed(connection);
}

void connection_close(struct connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    uv_close((uv_handle_t *)&connection->poll, on_closed);
    close(connection->fd);

    while (connection->out) {
        struct connection_output *output = connection->out;

        connection->out = output->next;
        output_free(output);
    }
    frame_fds_close(&connection->fds);
    free(connection->partial);
    connection->partial = NULL;
    connection->partial_size = 0;
}
