/* SPDX-License-Identifier: MIT */
/* daemon/connection.c: bytes to frames and back, without ever blocking.
 *
 * Guarantees of this file:
 *   - a length is believed only up to FRAME_PAYLOAD_MAX; what came is copied out of kernel or ring
 *     before it is looked at, and an idle connection holds no buffer;
 *   - a turn ends when its budget is used up, be it in the middle of a frame;
 *   - what was in the ring when bytes of the socket were received is handed over before them; the
 *     ring never waits for the socket;
 *   - descriptors that nobody asked for are closed, and end the connection; a peer that breaks the
 *     rules is told before;
 *   - `lost` is called once, from the loop, never from inside a call into this file;
 *   - a peer that does not read costs at most out_limit bytes, then it is given up.
 */
#include "daemon/connection.h"

#include "daemon/ring.h"
#include "proto/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK 65536u
#define TURN_BUDGET 256                 /* some 20 us of simple commands: then others have theirs */
#define TURN_BUDGET_SHARED 64           /* where there are others with rings */
#define DESCRIPTOR_COST \
    16384u                              /* what an unread one weighs against out_limit: the process
                                           has few, and each keeps something alive */

/* What the kernel keeps of it, some 40 frames. Descriptors that are on their way count for all clients
 * together: beyond LimitNOFILE the kernel takes none from us, for anybody. */
#define SEND_BUFFER 16384

struct connection_output {
    struct connection_output *next;
    size_t size, sent;
    size_t cost;                        /* against the limit */
    unsigned n_fds;
    bool kept;                          /* the descriptors are our duplicates */
    int fds[FRAME_FDS_MAX];             /* until the first byte is sent */
    uint8_t bytes[];
};

/* For the reading that goes on right now; what remains is kept by the connection. */
static uint8_t receive_buffer[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX + READ_CHUNK];
static uint8_t ring_buffer[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];

static void on_poll(uv_poll_t *poll, int status, int events);

static struct connection *connection_of(struct rota_member *member)
{
    return (struct connection *)((char *)member - offsetof(struct connection, member));
}

/* ---- what the loop watches ------------------------------------------------------------------------ */

static void watch(struct connection *connection)
{
    int events = UV_DISCONNECT;

    if (connection->closing)
        return;
    if (!connection->paused)
        events |= UV_READABLE;
    if (connection->out)
        events |= UV_WRITABLE;
    if (events == connection->events_watched)
        return;                         /* starting again would cost a system call */
    connection->events_watched = events;
    uv_poll_start(&connection->poll, events, on_poll);
}

static __attribute__((cold)) void broke(struct connection *connection, const char *reason)
{
    connection->broken = true;
    connection->reason = reason;
    /* The loop sees that as a hang-up and comes back, also when the socket is full. */
    shutdown(connection->fd, SHUT_RD);
}

static __attribute__((cold)) void refuse(struct connection *connection, const char *reason)
{
    connection->refusing = true;        /* last words are for the socket */
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

static void output_fds_drop(struct connection_output *output)
{
    for (; output->n_fds; output->n_fds--)
        if (output->kept)
            close(output->fds[output->n_fds - 1]);
}

static void output_free(struct connection_output *output)
{
    output_fds_drop(output);
    free(output);
}

/* It has to wait for room, and the caller may close its descriptors before the kernel takes ours. */
static int output_keep(struct connection_output *output)
{
    const unsigned n_fds = output->n_fds;

    output->kept = true;
    for (output->n_fds = 0; output->n_fds < n_fds; output->n_fds++) {
        int fd = fcntl(output->fds[output->n_fds], F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
            return -errno;
        output->fds[output->n_fds] = fd;
    }
    return 0;
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
        output_fds_drop(output);
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
        .n_fds = n_fds,
    };
    frame_header_write(output->bytes, &header);
    if (size)
        memcpy(output->bytes + FRAME_HEADER_SIZE, payload, size);
    if (n_fds)
        memcpy(output->fds, fds, n_fds * sizeof(*fds));
    return output;
}

static void send_by_socket(struct connection *connection, const uint8_t *payload, size_t size,
                           const int *fds, unsigned n_fds)
{
    struct connection_output *output;

    output = output_new(payload, size, fds, n_fds);
    if (!output) {
        connection_break(connection, "no memory for an answer");
        return;
    }
    *connection->out_tail = output;
    connection->out_tail = &output->next;
    connection->out_size += output->cost;

    flush(connection);
    if (connection->out && output_keep(output) < 0) /* it is the last one there */
        connection_break(connection, "no descriptor for an answer");
    if (connection->out_size > connection->out_limit)
        connection_break(connection, "the client does not read what it is sent");
    if (connection->out)
        watch(connection);
}

/* False: there is no ring, or no room in it, or it would overtake what waits for room in the socket. */
static bool send_by_ring(struct connection *connection, const uint8_t *payload, size_t size)
{
    bool bell = false;
    int r;

    if (!connection->rings || connection->refusing || connection->out)
        return false;
    r = client_rings_send(connection->rings, payload, size, &bell);
    if (r < 0)
        refuse(connection, "a ring index that cannot be");
    else if (bell)
        send_by_socket(connection, NULL, 0, NULL, 0); /* an empty frame is the client's bell */
    return r != 0;
}

void connection_send(struct connection *connection, const uint8_t *payload, size_t size,
                     const int *fds, unsigned n_fds)
{
    if (connection->broken || connection->closing)
        return;
    if (n_fds || !send_by_ring(connection, payload, size))
        send_by_socket(connection, payload, size, fds, n_fds);
}

/* ---- in ------------------------------------------------------------------------------------------------ */

/* Hand over a frame, or as much of it as the budget allows: what is left of it then begins with a
 * header again. Returns how many bytes are done. */
HOT static size_t frame_hand_over(struct connection *connection, uint8_t *frame,
                                  const struct frame_header *header, int *budget)
{
    struct frame_header rest = *header;
    struct frame_fds fds = { 0 };
    size_t done = 0;

    while (fds.count < header->fds && connection->fds.count)
        fds.fds[fds.count++] = frame_fds_take(&connection->fds);
    if (fds.count < header->fds)
        refuse(connection, "a frame without the descriptors it announces");
    else
        done = connection->events->frame(connection, frame + FRAME_HEADER_SIZE, header->length,
                                         &fds, budget);
    if (done == header->length || connection->broken) {
        frame_fds_close(&fds);
        return FRAME_HEADER_SIZE + header->length;
    }

    while (connection->fds.count)       /* those of later frames */
        fds.fds[fds.count++] = frame_fds_take(&connection->fds);
    connection->fds = fds;
    rest.length -= (uint32_t)done;
    frame_header_write(frame + done, &rest);
    return done;
}

struct handed {
    size_t used;                        /* bytes that are done */
    bool more;                          /* behind them is a frame that could be handed over */
    bool cut;                           /* that one is the rest of a frame */
};

/* Hand over whole frames while there is a budget. */
HOT static struct handed frames_hand_over(struct connection *connection, uint8_t *bytes,
                                          size_t size, int *budget)
{
    struct handed handed = { .used = 0 };

    while (!connection->broken && size - handed.used >= FRAME_HEADER_SIZE) {
        struct frame_header header;
        size_t done;

        if (frame_header_read(bytes + handed.used, &header) < 0) {
            refuse(connection, "a frame header that breaks the rules");
            break;
        }
        if (size - handed.used - FRAME_HEADER_SIZE < header.length)
            break;
        handed.more = *budget <= 0 || connection->paused;
        if (handed.more)
            break;
        done = frame_hand_over(connection, bytes + handed.used, &header, budget);
        handed.cut = done < FRAME_HEADER_SIZE + header.length;
        handed.used += done;
    }
    return handed;
}

/* What is left of a frame that takes more than a turn. */
static void rest_serve(struct connection *connection, int *budget)
{
    struct client_rings *rings = connection->rings;

    rings->rest_begin += frames_hand_over(connection, rings->rest + rings->rest_begin,
                                          rings->rest_end - rings->rest_begin, budget)
                             .used;
    if (rings->rest_begin < rings->rest_end)
        return;
    free(rings->rest);
    rings->rest = NULL;
}

/* A frame in the copy of the ring was cut: its rest leaves the ring too. Returns its bytes. */
static size_t rest_keep(struct connection *connection, const uint8_t *rest)
{
    struct frame_header header = { 0 };

    (void)frame_header_read(rest, &header);
    if (client_rings_keep(connection->rings, rest, FRAME_HEADER_SIZE + header.length) < 0)
        connection_break(connection, "no memory for a frame");
    return FRAME_HEADER_SIZE + header.length;
}

/* Hand over what lies in the ring before @p limit. */
HOT static void ring_serve(struct connection *connection, uint64_t limit, int *budget)
{
    struct client_rings *rings = connection->rings;

    if (rings && rings->rest)
        rest_serve(connection, budget);
    while (rings && !rings->rest && !connection->broken && !connection->paused && *budget > 0) {
        ssize_t size = client_rings_copy(rings, limit, ring_buffer);
        struct handed handed;

        if (size < 0)
            refuse(connection, "a ring index or frame that cannot be");
        if (size <= 0)
            return;
        handed = frames_hand_over(connection, ring_buffer, (size_t)size, budget);
        if (handed.cut && !connection->broken)
            handed.used += rest_keep(connection, ring_buffer + handed.used);
        ring_consume(&rings->rings.to_daemon, handed.used);
    }
}

/* Whether the ring still holds what comes before the bytes of the socket. */
static bool ring_first(const struct connection *connection)
{
    const struct client_rings *rings = connection->rings;

    return rings && (rings->rest || rings->rings.to_daemon.position < rings->after);
}

/* Keep what was not handed over. */
static void keep(struct connection *connection, const uint8_t *bytes, size_t size)
{
    uint8_t *kept = NULL;

    if (size && !connection->broken) {
        kept = malloc(size);
        if (kept)
            memcpy(kept, bytes, size);
        else
            broke(connection, "no memory for a frame");
    }
    free(connection->kept);
    connection->kept = kept;
    connection->kept_begin = 0;
    connection->kept_end = kept ? size : 0;
    if (!kept && !connection->broken && connection->fds.count)
        refuse(connection, "descriptors came without a frame that takes them");
}

/* One turn. @p bytes: all that came by the socket and is not handed over; returns how many of them
 * are done now. */
HOT static size_t serve(struct connection *connection, uint8_t *bytes, size_t size, int *budget)
{
    struct handed handed = { .more = true };
    const int before = *budget;

    /* In this order: else a busy ring would keep the socket waiting. */
    if (ring_first(connection))
        ring_serve(connection, connection->rings->after, budget);
    if (!ring_first(connection)) {
        handed = frames_hand_over(connection, bytes, size, budget);
        if (connection->ended && !handed.more && !connection->broken)
            broke(connection, NULL);
    }
    connection->ready = handed.more && (handed.used < size || connection->ended);
    ring_serve(connection, UINT64_MAX, budget);

    if (*budget < before)
        connection->events->settled(connection);
    return handed.used;
}

HOT static enum turn on_turn(struct rota_member *member)
{
    struct connection *connection = connection_of(member);
    uint8_t *bytes = connection->kept ? connection->kept + connection->kept_begin : receive_buffer;
    size_t size = connection->kept_end - connection->kept_begin, used;
    const int before = rota_shared(connection->rota) ? TURN_BUDGET_SHARED : TURN_BUDGET;
    int budget = before;

    used = connection->broken ? 0 : serve(connection, bytes, size, &budget);
    connection->kept_begin += used;
    if (used && !connection->ready)
        keep(connection, bytes + used, size - used);
    if (connection->broken || connection->paused) {
        tell(connection);
        return TURN_OVER;
    }
    if (connection->ready || budget < before)
        return TURN_WORKED;
    return connection->rings ? TURN_QUIET : TURN_OVER;
}

HOT static bool on_sleep(struct rota_member *member)
{
    struct connection *connection = connection_of(member);

    return !connection->ready && connection->rings && !connection->rings->rest &&
           ring_sleep(&connection->rings->rings.to_daemon);
}

HOT static uint32_t on_cpu(const struct rota_member *member)
{
    const struct connection *connection =
        (const struct connection *)((const char *)member - offsetof(struct connection, member));

    return connection->rings ? ring_cpu(&connection->rings->rings.to_daemon) : 0;
}

HOT void connection_yield(struct connection *connection)
{
    if (rota_shared(connection->rota) && rota_near(&connection->member))
        connection->rota->yield = true;
}

static void receive(struct connection *connection)
{
    size_t size = connection->kept_end - connection->kept_begin, used, in_ring;
    int budget = TURN_BUDGET;
    ssize_t n;

    if (size)
        memcpy(receive_buffer, connection->kept + connection->kept_begin, size);
    n = frame_receive(connection->fd, receive_buffer + size, READ_CHUNK, &connection->fds);
    if (n == -EPROTO || n == -EMFILE) {
        refuse(connection,
               n == -EPROTO ? "too many descriptors" : "the daemon has no room for a descriptor");
        return;
    }
    connection->ended = n <= 0 && n != -EAGAIN;
    if (connection->rings && ring_look(&connection->rings->rings.to_daemon, &in_ring) == 0)
        connection->rings->after = connection->rings->rings.to_daemon.seen;

    size += n > 0 ? (size_t)n : 0;
    used = serve(connection, receive_buffer, size, &budget);
    keep(connection, receive_buffer + used, size - used);
    if (connection->ready && !connection->paused)
        rota_add(connection->rota, &connection->member);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;

    if (status < 0)
        connection_break(connection, NULL);
    if (!connection->broken && connection->out)
        flush(connection);

    if (!connection->broken && connection->paused && (events & UV_DISCONNECT))
        broke(connection, NULL);        /* it died while the GPU was behind */
    else if (!connection->broken && !connection->paused && !connection->ready &&
             (events & (UV_READABLE | UV_DISCONNECT)))
        receive(connection);
    rota_worked(connection->rota);

    if (connection->broken)
        tell(connection);
    else
        watch(connection);
}

void connection_pause(struct connection *connection)
{
    connection->paused = true;
    rota_remove(connection->rota, &connection->member);
    watch(connection);
}

void connection_resume(struct connection *connection)
{
    if (!connection->paused)
        return;
    connection->paused = false;
    if (!connection->closing)
        rota_add(connection->rota, &connection->member);
    watch(connection);
}

/* ---- rings ---------------------------------------------------------------------------------------------- */

HOT static void on_bell(struct bell *bell, bool broken)
{
    struct connection *connection = bell->poll.data;
    struct client_rings *rings = connection->rings;
    enum turn turn = TURN_OVER;

    if (broken) {
        connection_break(connection, NULL);
        return;
    }
    /* Whoever rang may be waiting: first the work, then silence, where the next bell would be taken for
     * this one; and only then may the ring be put to sleep. */
    ring_rouse(&rings->rings.to_daemon);
    if (!connection->paused && !connection->broken && !connection->member.listed)
        turn = on_turn(&connection->member);
    if (turn != TURN_WORKED)
        client_rings_hear(rings);
    rota_took_turn(connection->rota, &connection->member, turn);
}

int connection_open_rings(struct connection *connection, uint32_t to_daemon, uint32_t to_client,
                          int ret_fds[2])
{
    struct client_rings *rings;
    int r;

    if (connection->rings)
        return -EEXIST;
    r = client_rings_new(to_daemon, to_client, &rings, ret_fds);
    if (r < 0)
        return r;
    rings->bell.poll.data = connection;
    rings->bell.rung = on_bell;
    r = bells_add(&connection->rota->bells, &rings->bell);
    if (r < 0) {
        close(ret_fds[0]);
        client_rings_free(rings);
        return r;
    }
    connection->n_handles++;
    connection->rings = rings;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------ */

int connection_open(struct connection *connection, struct rota *rota, int fd,
                    const struct connection_events *events, size_t out_limit)
{
    int buffer = SEND_BUFFER, r;

    connection->fd = fd;
    connection->rota = rota;
    connection->member.turn = on_turn;
    connection->member.sleep = on_sleep;
    connection->member.cpu = on_cpu;
    connection->events = events;
    connection->out_limit = out_limit;
    connection->out_tail = &connection->out;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    r = uv_poll_init(rota->bells.loop, &connection->poll, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    connection->n_handles = 1;
    connection->poll.data = connection;
    watch(connection);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (--connection->n_handles)
        return;
    client_rings_free(connection->rings);
    connection->rings = NULL;
    connection->events->closed(connection);
}

void connection_close(struct connection *connection)
{
    if (connection->closing)
        return;
    connection->closing = true;
    rota_remove(connection->rota, &connection->member);
    uv_close((uv_handle_t *)&connection->poll, on_closed);
    if (connection->rings)
        bells_close(&connection->rota->bells, &connection->rings->bell, on_closed);
    close(connection->fd);

    while (connection->out) {
        struct connection_output *output = connection->out;

        connection->out = output->next;
        output_free(output);
    }
    frame_fds_close(&connection->fds);
    free(connection->kept);
    connection->kept = NULL;
    connection->kept_begin = connection->kept_end = 0;
}
