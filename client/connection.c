/* SPDX-License-Identifier: MIT */
/* client/connection.c: frames out, frames in.
 *
 * Guarantees of this file:
 *   - commands leave in the order in which they were given, in frames the daemon accepts, and
 *     without allocation: by the socket until there are rings, from then on by the ring, where they
 *     are written in place;
 *   - a thread that cannot send takes in what the daemon sends, so that two full sockets never
 *     wait for each other;
 *   - each reply reaches the thread that asked, whichever thread reads it from the socket; while one
 *     sleeps on that, no other takes away what would wake it, unless it has to;
 *   - once lost, the connection stays lost, and says why, until it is closed.
 */
#include "client/connection.h"

#include "client/deferred.h"
#include "client/result.h"
#include "client/table.h"
#include "client/wait.h"
#include "proto/command.h"
#include "proto/hot.h"
#include "proto/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S 60              /* a daemon that is silent for so long is as good as gone */
#define REPLY_LONG_TIMEOUT_S 3600       /* when many compilers wait for their turn */
#define REPLY_SLICE_MS 50               /* another thread that looked in may have taken the reply */
#define RECEIVE_EVERY 256u              /* frames sent between looks at what came in */
#define RINGS_AFTER 64u                 /* frames: who sends more is worth the memory */
#define ROOM_SLICE_NS \
    UINT64_C(50000000)            /* between looks whether a daemon that reads no more lives */
#define BELL_NS UINT64_C(1000000) /* a daemon that was woken reads sooner */
#define ADMIT_ROOM 4096u          /* more than one call sends */
#define COMMAND_ROOM 128u         /* more than any Command but Launch takes */
#define COMMAND_HEAD_MAX 4u       /* tag and length of one that fits into a frame */
#define COMMANDS_TAG 0x0au        /* ToDaemon.commands: field 1, length-delimited */

/* A thread that waits for the reply with its serial; lies on that thread's stack. */
struct waiter {
    uint32_t serial;
    bool done;
    struct reply reply;
    struct waiter *next;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic uint32_t state;             /* enum connection_state */
    int socket;
    uint32_t serial;
    uint32_t sent;                      /* frames */
    uint64_t sent_bytes;                /* payload of them */
    uint32_t batches;                   /* open scopes */
    bool reading;                       /* a thread sleeps on the socket for all others */
    struct waiter *waiters;
    void (*on_lost)(void);
    char lost_text[256];
    xpurt_result said;                  /* code of the daemon's last words to us as a whole */
    char *stream_texts[BOARD_TIMELINES];
    bool rings_wanted;  /* once it is worth it */
    struct rings rings; /* base NULL: none */
    int bell;           /* the daemon's */
    uint64_t rung;      /* what was in the ring when that rang last; 0: the daemon has read it */
    uint64_t rung_ns;   /* when */
    int out_fd;         /* borrowed: goes with the next frame by the socket; or -1 */
    size_t used;        /* payload bytes of the frame that is being written */
    size_t have;        /* bytes in `in_bytes` */
    struct frame_fds in_fds;
} connection = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .socket = -1,
    .bell = -1,
    .out_fd = -1,
};

/* Of the frames that are being written and read; their pages are touched as frames need them. */
static TABLE _Alignas(BOARD_PAGE) uint8_t out_bytes[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
static TABLE _Alignas(BOARD_PAGE) uint8_t in_bytes[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];

_Atomic uint32_t connection_collected;

void reply_deinit(struct reply *reply)
{
    if (reply->message)
        xpurt__to_client__free_unpacked(reply->message, NULL);
    frame_fds_close(&reply->fds);
    reply->message = NULL;
}

/* ---- lock and state ------------------------------------------------------------------------- */

HOT void connection_lock(void)
{
    pthread_mutex_lock(&connection.lock);
}

HOT void connection_unlock(void)
{
    pthread_mutex_unlock(&connection.lock);
}

void connection_await_change(void)
{
    pthread_cond_wait(&connection.changed, &connection.lock);
}

void connection_changed(void)
{
    pthread_cond_broadcast(&connection.changed);
}

void connection_await(pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &connection.lock);
}

HOT enum connection_state connection_state(void)
{
    return atomic_load_explicit(&connection.state, memory_order_acquire);
}

static void set_state(enum connection_state state)
{
    atomic_store_explicit(&connection.state, state, memory_order_release);
    connection_changed();
}

/* Only what is held back is of interest to others: a call that is sending may take its time. */
static void set_used(size_t used)
{
    connection.used = used;
    atomic_store_explicit(&connection_collected, used && connection.batches, memory_order_relaxed);
}

static void lose(const char *why)
{
    if (connection_state() != CONNECTION_READY)
        return;
    if (!connection.lost_text[0]) /* the daemon's own words, where there are any, come first */
        snprintf(connection.lost_text, sizeof(connection.lost_text), "xpurtd is gone: %s", why);
    set_used(0);
    deferred_drop();
    set_state(CONNECTION_LOST);
    if (connection.on_lost)
        connection.on_lost();
}

void connection_on_lost(void (*lost)(void))
{
    connection.on_lost = lost;
}

xpurt_result connection_refusal(void)
{
    return connection.said ? error_set(connection.said, "%s", connection.lost_text) :
                             connection_lost_error();
}

xpurt_result connection_lost_error(void)
{
    return error_set(XPURT_ERROR_DAEMON_LOST, "%s", connection.lost_text);
}

void connection_open(int socket)
{
    connection.socket = socket;
    connection.sent_bytes = 0;
    connection.lost_text[0] = '\0';
    connection.said = XPURT_SUCCESS;
    set_state(CONNECTION_READY);
}

void connection_close(void)
{
    if (connection.socket >= 0)
        close(connection.socket);
    if (connection.bell >= 0)
        close(connection.bell);
    rings_unmap(&connection.rings);
    connection.socket = connection.bell = -1;
    connection.rings_wanted = false;
    connection.sent = 0;
    connection.rung = 0;
    connection.batches = 0;
    connection.have = 0;
    frame_fds_close(&connection.in_fds);
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++)
        connection_forget_stream_text(i);
    set_used(0);
    deferred_drop();
    set_state(CONNECTION_NONE);
}

void connection_reinit(void)
{
    pthread_cond_init(&connection.changed, NULL);
    connection.reading = false;
    connection.waiters = NULL;
    connection_close();
}

/* ---- in ------------------------------------------------------------------------------------- */

const char *connection_stream_text(uint32_t stream)
{
    return connection.stream_texts[stream];
}

void connection_forget_stream_text(uint32_t stream)
{
    free(connection.stream_texts[stream]);
    connection.stream_texts[stream] = NULL;
}

static void note_error(const Xpurt__Error *error)
{
    uint32_t stream = error->stream - 1;

    if (stream < BOARD_TIMELINES) {
        connection_forget_stream_text(stream);
        connection.stream_texts[stream] = strdup(error->text);
    } else {
        snprintf(connection.lost_text, sizeof(connection.lost_text), "xpurtd said: %s",
                 error->text);
        connection.said = (xpurt_result)error->code;
    }
}

/* A whole frame came, with these descriptors: owned. */
static void deliver(const uint8_t *payload, const struct frame_header *header,
                    const struct frame_fds *fds)
{
    struct reply reply = { .fds = *fds };
    struct waiter **link;

    reply.message = xpurt__to_client__unpack(NULL, header->length, payload);
    if (!reply.message || reply.fds.count != header->fds) {
        reply_deinit(&reply);
        lose("it sent something that is not a message");
        return;
    }

    for (link = &connection.waiters; *link; link = &(*link)->next) {
        struct waiter *waiter = *link;

        if (reply.message->serial && waiter->serial == reply.message->serial) {
            *link = waiter->next;
            waiter->reply = reply;
            waiter->done = true;
            connection_changed();
            return;
        }
    }
    if (!reply.message->serial && reply.message->reply_case == XPURT__TO_CLIENT__REPLY_ERROR)
        note_error(reply.message->error);
    reply_deinit(&reply);
}

/* Take in what is in the ring. */
static void receive_ring(void)
{
    static const struct frame_fds none = { .count = 0 };
    struct ring *ring = &connection.rings.to_client;
    struct frame_header header;
    size_t size = 0;

    while (connection.rings.base) {
        const uint8_t *frame = ring_at(ring, ring->position);
        bool broken = ring_look(ring, &size) < 0;

        if (!broken && !size)
            return;
        if (broken || size < FRAME_HEADER_SIZE || frame_header_read(frame, &header) < 0 ||
            size - FRAME_HEADER_SIZE < header.length) {
            lose("it put a frame that breaks the rules into the ring");
            return;
        }
        deliver(frame + FRAME_HEADER_SIZE, &header, &none);
        ring_consume(ring, FRAME_HEADER_SIZE + header.length);
    }
}

/* One read towards the end of the current frame, never beyond: descriptors stay with their frame.
 * False when nothing more can be read. */
static bool receive_some(void)
{
    struct frame_header header = { 0 };
    size_t want = FRAME_HEADER_SIZE;
    ssize_t n;

    if (connection.have >= FRAME_HEADER_SIZE) {
        if (frame_header_read(in_bytes, &header) < 0) {
            lose("it sent a frame that breaks the rules");
            return false;
        }
        want += header.length;
        if (connection.have == want) {
            struct frame_fds fds = connection.in_fds;

            connection.have = 0;
            connection.in_fds.count = 0;
            receive_ring();             /* what was said before this */
            deliver(in_bytes + FRAME_HEADER_SIZE, &header, &fds);
            return true;
        }
    }

    n = frame_receive(connection.socket, in_bytes + connection.have, want - connection.have,
                      &connection.in_fds);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        receive_ring();                 /* its last words may be there */
        lose(n ? strerror((int)-n) : "it closed the connection");
        return false;
    }
    connection.have += (size_t)n;
    return true;
}

/* Until the reply is there, or there is no more. */
static void receive_for(const struct waiter *waiter)
{
    receive_ring();
    while (!waiter->done && connection_state() == CONNECTION_READY && receive_some())
        ;
}

void connection_receive(void)
{
    receive_ring();
    while (connection_state() == CONNECTION_READY && receive_some())
        ;
}

/* A thread that sleeps on the socket for all others would miss what we took from there. */
static void receive_aside(void)
{
    if (connection.reading)
        receive_ring();
    else
        connection_receive();
}

HOT bool connection_alive(void)
{
    struct pollfd pollfd = { .events = POLLIN | POLLRDHUP };

    if (connection_state() != CONNECTION_READY)
        return false;
    pollfd.fd = connection.socket;
    if (poll(&pollfd, 1, 0) <= 0)
        return true;

    if (pollfd.revents & (POLLRDHUP | POLLHUP | POLLERR)) {
        connection_lock();              /* a holder that cannot send sees the end too, and leaves */
        connection_receive();
        lose("it closed the connection");
        connection_unlock();
        return false;
    }
    if (pthread_mutex_trylock(&connection.lock) == 0) {
        receive_aside();
        connection_unlock();
    }
    return connection_state() == CONNECTION_READY;
}

/* ---- out ------------------------------------------------------------------------------------ */

/* The socket is full: wait until it is not, and read meanwhile. */
static void await_room(void)
{
    struct pollfd pollfd = { .fd = connection.socket, .events = POLLIN | POLLOUT };

    if (poll(&pollfd, 1, -1) > 0 && (pollfd.revents & ~POLLOUT))
        connection_receive();           /* we have the lock: nobody else can */
}

static xpurt_result state_result(void)
{
    return connection_state() == CONNECTION_READY ? XPURT_SUCCESS : connection_lost_error();
}

/* Send a frame of @p length bytes that lies in `out_bytes`. */
static xpurt_result send_by_socket(size_t length)
{
    const int fd = connection.out_fd;
    const unsigned n_fds = fd >= 0;
    struct frame_header header = { .length = (uint32_t)length, .fds = (uint16_t)n_fds };
    size_t size = FRAME_HEADER_SIZE + length, done = 0;

    connection.out_fd = -1;
    frame_header_write(out_bytes, &header);
    while (done < size && connection_state() == CONNECTION_READY) {
        ssize_t n =
            frame_send(connection.socket, out_bytes + done, size - done, &fd, done ? 0 : n_fds);

        if (n == -EAGAIN) {
            await_room();
        } else if (n < 0) {
            connection_receive();       /* its last words */
            lose(strerror((int)-n));
        } else {
            done += (size_t)n;
        }
    }
    return state_result();
}

/* The daemon was asleep when the bell rang. If it still does not read, is it alive at all? That was not
 * asked at once: who rings is about to be waited for. */
static xpurt_result bell_check(void)
{
    if (ring_consumed(&connection.rings.to_daemon, connection.rung))
        connection.rung = 0;
    else if (now_ns() - connection.rung_ns > BELL_NS)
        receive_aside();
    return state_result();
}

/* Hand over a frame of @p length bytes that lies in the ring. */
HOT static xpurt_result send_by_ring(size_t length)
{
    const eventfd_t once = 1;
    struct frame_header header = { .length = (uint32_t)length };
    struct ring *ring = &connection.rings.to_daemon;
    uint32_t was;

    frame_header_write(ring_at(ring, ring->position), &header);
    ring_say_where(ring);
    was = ring_publish(ring, FRAME_HEADER_SIZE + length);
    if (was == RING_AWAKE)
        return connection.rung ? bell_check() : XPURT_SUCCESS;
    if (was == RING_DOZING)
        ring_wake(ring);
    else
        (void)!write(connection.bell, &once, sizeof(once));
    connection.rung = ring->position;
    connection.rung_ns = now_ns();
    return XPURT_SUCCESS;
}

HOT xpurt_result connection_flush(void)
{
    xpurt_result r;

    if (connection_state() == CONNECTION_LOST)
        return connection_lost_error();
    if (!connection.used)
        return XPURT_SUCCESS;

    r = connection.rings.base ? send_by_ring(connection.used) : send_by_socket(connection.used);
    if (r)
        return r;
    connection.sent_bytes += connection.used;
    set_used(0);
    deferred_publish();
    if (++connection.sent % RECEIVE_EVERY == 0)
        receive_aside();
    if (connection.sent == RINGS_AFTER && connection.rings_wanted)
        (void)connection_open_rings();  /* without them all goes on as before */
    return XPURT_SUCCESS;
}

/* The payload of the frame that is being written. */
static uint8_t *payload(void)
{
    const struct ring *ring = &connection.rings.to_daemon;

    return (connection.rings.base ? ring_at(ring, ring->position) : out_bytes) + FRAME_HEADER_SIZE;
}

static size_t payload_max(void)
{
    size_t half = connection.rings.to_daemon.size / 2;

    if (!connection.rings.base || half > FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX)
        return FRAME_PAYLOAD_MAX;
    return half - FRAME_HEADER_SIZE;
}

/* Wait for room in the ring; what was written already leaves before, so that the daemon can go on. */
static xpurt_result await_ring(size_t size)
{
    struct ring *ring = &connection.rings.to_daemon;
    xpurt_result r = connection_flush();
    int room;

    while (r == XPURT_SUCCESS && (room = ring_room(ring, FRAME_HEADER_SIZE + size)) <= 0) {
        if (room < 0 || ring_await_room(ring, FRAME_HEADER_SIZE + size, ROOM_SLICE_NS) < 0)
            lose("it broke the ring");
        connection_receive();
        r = state_result();
    }
    return r;
}

/* Make sure that @p size more bytes fit into the frame. */
HOT static xpurt_result make_room(size_t size)
{
    struct ring *ring = &connection.rings.to_daemon;
    xpurt_result r = state_result();

    if (r == XPURT_SUCCESS && connection.used + size > payload_max())
        r = connection_flush();
    if (r || !connection.rings.base ||
        ring_room(ring, FRAME_HEADER_SIZE + connection.used + size) > 0)
        return r;
    return await_ring(size);
}

bool connection_has_room(void)
{
    struct pollfd pollfd = { .fd = connection.socket, .events = POLLOUT };

    /* Room is also where the connection is lost: then that is the error. */
    if (!connection.rings.base)
        return poll(&pollfd, 1, 0) > 0;
    if (ring_room(&connection.rings.to_daemon, FRAME_HEADER_SIZE + connection.used + ADMIT_ROOM) !=
        0)
        return true;
    receive_aside();                    /* a full ring does not tell */
    return connection_state() != CONNECTION_READY;
}

uint64_t connection_position(void)
{
    return connection.sent_bytes + connection.used;
}

/* What was written at the end of the frame is @p size bytes. */
HOT static xpurt_result collect(size_t size)
{
    set_used(connection.used + size);
    return connection.batches ? XPURT_SUCCESS : connection_flush();
}

/* Concatenated fields are one message: each command is packed where it is sent from. */
static xpurt_result append(const Xpurt__Command *command, size_t *ret_size)
{
    xpurt_result r = make_room(COMMAND_ROOM);
    uint8_t *out;
    size_t size;

    if (r)
        return r;
    out = payload() + connection.used;
    size = xpurt__command__pack(command, out + 2);
    assert(size < COMMAND_ROOM - 2);
    out[0] = COMMANDS_TAG;
    out[1] = (uint8_t)size;             /* one byte holds it */
    *ret_size = 2 + size;
    return XPURT_SUCCESS;
}

xpurt_result connection_command(const Xpurt__Command *command)
{
    size_t size;
    xpurt_result r = append(command, &size);

    return r ? r : collect(size);
}

xpurt_result connection_command_later(const Xpurt__Command *command)
{
    size_t size;
    xpurt_result r = append(command, &size);

    if (r)
        return r;
    connection.used += size;
    atomic_store_explicit(&connection_collected, true, memory_order_relaxed);
    return XPURT_SUCCESS;
}

xpurt_result connection_command_large(const Xpurt__Command *command)
{
    size_t size = xpurt__command__get_packed_size(command), head = 1;
    uint8_t *out;
    xpurt_result r;

    r = make_room(COMMAND_HEAD_MAX + size);
    if (r)
        return r;
    out = payload() + connection.used;
    out[0] = COMMANDS_TAG;
    for (size_t rest = size; rest; rest >>= 7)
        out[head++] = (uint8_t)((rest & 0x7f) | (rest >> 7 ? 0x80 : 0));
    xpurt__command__pack(command, out + head);
    return collect(head + size);
}

HOT xpurt_result connection_record(uint32_t stream, uint64_t value, uint64_t stamp)
{
    xpurt_result r = make_room(COMMAND_SIZE_MAX);

    if (r)
        return r;
    return collect(command_put_record(payload() + connection.used, stream, value, stamp));
}

xpurt_result connection_wait(uint32_t stream, uint64_t point)
{
    xpurt_result r = make_room(COMMAND_SIZE_MAX);

    if (r)
        return r;
    return collect(command_put_wait(payload() + connection.used, stream, point));
}

HOT xpurt_result connection_publish(struct board_cell *cell, uint64_t point)
{
    xpurt_result r;

    if (connection.used && connection.batches) {
        if (deferred_add(cell, point))
            return XPURT_SUCCESS;
        r = connection_flush();
        if (r)
            return r;
    }
    cell_store(cell, point, 1);
    return XPURT_SUCCESS;
}

void connection_batch_begin(void)
{
    connection.batches++;
    set_used(connection.used);          /* what waits for the next command is held back now */
}

bool connection_batch_end(void)
{
    if (!connection.batches)
        return false;
    connection.batches--;
    set_used(connection.used);          /* what it held back is on its way */
    return true;
}

bool connection_batching(void)
{
    return connection.batches != 0;
}

/* ---- requests ------------------------------------------------------------------------------- */

static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Until the reply is there: read for all, or let another thread do it. */
static void await_reply(struct waiter *waiter, time_t timeout_s)
{
    struct pollfd pollfd = { .fd = connection.socket, .events = POLLIN };
    time_t deadline = now_s() + timeout_s;

    for (;;) {
        if (connection.reading)
            receive_aside();
        else
            receive_for(waiter);
        if (waiter->done || connection_state() != CONNECTION_READY)
            return;
        if (now_s() >= deadline) {
            lose("it did not answer");
            return;
        }
        if (connection.reading) {
            connection_await_change();
            continue;
        }
        /* With rings, an empty frame on the socket is our bell. */
        if (connection.rings.base && !ring_sleep(&connection.rings.to_client))
            continue;
        connection.reading = true;
        connection_unlock();
        (void)poll(&pollfd, 1, REPLY_SLICE_MS);
        connection_lock();
        connection.reading = false;
        if (connection.rings.base)
            ring_rouse(&connection.rings.to_client);
        connection_changed();
    }
}

/* The same without letting go of the lock; the daemon may be made to wait by what was sent before. */
static void await_reply_alone(struct waiter *waiter)
{
    struct pollfd pollfd = { .fd = connection.socket, .events = POLLIN };

    while (receive_for(waiter), !waiter->done && connection_state() == CONNECTION_READY)
        (void)poll(&pollfd, 1, REPLY_SLICE_MS);
}

static void forget_waiter(const struct waiter *waiter)
{
    for (struct waiter **link = &connection.waiters; *link; link = &(*link)->next)
        if (*link == waiter) {
            *link = waiter->next;
            return;
        }
}

static xpurt_result check_reply(const struct reply *reply, Xpurt__ToClient__ReplyCase expected,
                                unsigned n_fds)
{
    const Xpurt__ToClient *message = reply->message;

    if (message->reply_case == XPURT__TO_CLIENT__REPLY_ERROR && message->error->code)
        return error_set((xpurt_result)message->error->code, "%s", message->error->text);
    if (message->reply_case != expected || reply->fds.count != n_fds)
        return error_set(XPURT_ERROR_PROTOCOL, "xpurtd gave an answer to another question");
    return XPURT_SUCCESS;
}

/* Give the request a serial and send it, behind all commands so far. Where descriptors come back, or
 * go along (@p fd, -1: none), all goes by the socket: the daemon looks into the ring before it handles
 * what comes by that. */
static xpurt_result request_send(Xpurt__ToDaemon *request, int fd, bool by_socket,
                                 struct waiter *waiter)
{
    size_t size;
    xpurt_result r;

    if (++connection.serial == 0)
        connection.serial++;
    waiter->serial = request->serial = connection.serial;
    waiter->next = connection.waiters;
    connection.waiters = waiter;

    size = xpurt__to_daemon__get_packed_size(request);
    if (fd >= 0 || (connection.rings.base && (by_socket || size > payload_max()))) {
        r = connection_flush();
        connection.out_fd = r ? -1 : fd;
        if (r == XPURT_SUCCESS)
            r = send_by_socket(xpurt__to_daemon__pack(request, out_bytes + FRAME_HEADER_SIZE));
        return r;
    }
    r = make_room(size);
    if (r)
        return r;
    set_used(connection.used + xpurt__to_daemon__pack(request, payload() + connection.used));
    return connection_flush();
}

/* The reply came, or never will. */
static xpurt_result request_finish(struct waiter *waiter, Xpurt__ToClient__ReplyCase expected,
                                   unsigned n_fds, struct reply *ret_reply)
{
    xpurt_result r;

    forget_waiter(waiter);
    if (!waiter->done)
        return connection_lost_error();
    r = check_reply(&waiter->reply, expected, n_fds);
    if (r)
        reply_deinit(&waiter->reply);
    else
        *ret_reply = waiter->reply;
    return r;
}

/* Descriptors that cannot be received are lost, and what they stood for with them: do not ask. */
static xpurt_result descriptors_check(unsigned n)
{
    int fds[FRAME_FDS_MAX], e = 0;
    unsigned have = 0;

    while (have < n && !e) {
        fds[have] = fcntl(connection.socket, F_DUPFD_CLOEXEC, 0);
        e = fds[have] < 0 ? errno : 0;
        have += !e;
    }
    while (have)
        close(fds[--have]);
    return e ? error_set(XPURT_ERROR_SYSTEM, "no descriptor is left for what xpurtd would send: %s",
                         strerror(e)) :
               XPURT_SUCCESS;
}

xpurt_result connection_request(Xpurt__ToDaemon *request, Xpurt__ToClient__ReplyCase expected,
                                unsigned n_fds, struct reply *ret_reply)
{
    struct waiter waiter = { .reply = REPLY_NULL };
    xpurt_result r = descriptors_check(n_fds);

    if (r)
        return r;
    if (request_send(request, -1, n_fds != 0, &waiter) == XPURT_SUCCESS)
        await_reply(&waiter, REPLY_TIMEOUT_S);
    return request_finish(&waiter, expected, n_fds, ret_reply);
}

xpurt_result connection_request_long(Xpurt__ToDaemon *request, int fd,
                                     Xpurt__ToClient__ReplyCase expected, unsigned n_fds,
                                     struct reply *ret_reply)
{
    struct waiter waiter = { .reply = REPLY_NULL };
    xpurt_result r = descriptors_check(n_fds);

    if (r)
        return r;
    if (request_send(request, fd, true, &waiter) == XPURT_SUCCESS)
        await_reply(&waiter, REPLY_LONG_TIMEOUT_S);
    return request_finish(&waiter, expected, n_fds, ret_reply);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static xpurt_result rings_use(const Xpurt__RingOpened *opened, struct frame_fds *fds)
{
    int e = -EPROTO;

    if (ring_size_good(opened->to_daemon) && ring_size_good(opened->to_client))
        e = rings_map(fds->fds[0], opened->to_daemon, opened->to_client, &connection.rings);
    if (e < 0)
        return error_set(XPURT_ERROR_SYSTEM, "the rings cannot be mapped: %s", strerror(-e));
    close(frame_fds_take(fds));
    connection.bell = frame_fds_take(fds);
    return XPURT_SUCCESS;
}

xpurt_result connection_open_rings(void)
{
    Xpurt__RingOpen open = XPURT__RING_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(RING_OPEN), .ring_open = &open };
    struct waiter waiter = { .reply = REPLY_NULL };
    struct reply reply = REPLY_NULL;
    xpurt_result r = descriptors_check(2);

    connection.rings_wanted = false;
    if (r)
        return r;
    /* Nobody may send anything meanwhile: it would be overtaken by what is in the ring. */
    if (request_send(&request, -1, true, &waiter) == XPURT_SUCCESS)
        await_reply_alone(&waiter);
    r = request_finish(&waiter, XPURT__TO_CLIENT__REPLY_RING_OPENED, 2, &reply);
    if (r == XPURT_SUCCESS)
        r = rings_use(reply.message->ring_opened, &reply.fds);
    if (r && reply.message)
        lose("its rings cannot be used"); /* but it uses them, to answer */
    reply_deinit(&reply);
    return r;
}

void connection_want_rings(void)
{
    connection.rings_wanted = true;
}
