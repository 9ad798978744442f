/* SPDX-License-Identifier: MIT */
/* client/connection.c: frames out, frames in.
 *
 * Guarantees of this file:
 *   - commands leave in the order in which they were given, in frames the daemon accepts, and
 *     without allocation;
 *   - a thread that cannot send takes in what the daemon sends, so that two full sockets never
 *     wait for each other;
 *   - each reply reaches the thread that asked, whichever thread reads it from the socket;
 *   - once lost, the connection stays lost, and says why, until it is closed.
 */
#include "client/connection.h"

#include "client/deferred.h"
#include "client/result.h"
#include "proto/command.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S 60              /* a daemon that is silent for so long is as good as gone */
#define REPLY_SLICE_MS 1000
#define RECEIVE_EVERY 256u              /* frames sent between looks at what came in */
#define COMMAND_ROOM 128u               /* more than any Command takes: one byte holds its length */
#define COMMANDS_TAG 0x0au              /* ToDaemon.commands: field 1, length-delimited */

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
    uint32_t batches;                   /* open scopes */
    bool reading;                       /* a thread sleeps on the socket for all others */
    struct waiter *waiters;
    void (*on_lost)(void);
    char lost_text[256];
    xpurt_result said;                  /* code of the daemon's last words to us as a whole */
    char *stream_texts[BOARD_TIMELINES];
    size_t used;                        /* payload bytes in `out` */
    size_t have;                        /* bytes in `in` */
    struct frame_fds in_fds;
    uint8_t out[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    uint8_t in[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
} connection = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .socket = -1,
};

_Atomic uint32_t connection_collected;

void reply_deinit(struct reply *reply)
{
    if (reply->message)
        xpurt__to_client__free_unpacked(reply->message, NULL);
    frame_fds_close(&reply->fds);
    reply->message = NULL;
}

/* ---- lock and state ------------------------------------------------------------------------- */

void connection_lock(void)
{
    pthread_mutex_lock(&connection.lock);
}

void connection_unlock(void)
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

enum connection_state connection_state(void)
{
    return atomic_load_explicit(&connection.state, memory_order_acquire);
}

static void set_state(enum connection_state state)
{
    atomic_store_explicit(&connection.state, state, memory_order_release);
    connection_changed();
}

static void set_used(size_t used)
{
    connection.used = used;
    atomic_store_explicit(&connection_collected, used != 0, memory_order_relaxed);
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
    connection.lost_text[0] = '\0';
    connection.said = XPURT_SUCCESS;
    set_state(CONNECTION_READY);
}

void connection_close(void)
{
    if (connection.socket >= 0)
        close(connection.socket);
    connection.socket = -1;
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

/* A whole frame is in the buffer. */
static void deliver(const struct frame_header *header)
{
    struct reply reply = { .fds = connection.in_fds };
    struct waiter **link;

    connection.in_fds.count = 0;
    connection.have = 0;
    reply.message =
        xpurt__to_client__unpack(NULL, header->length, connection.in + FRAME_HEADER_SIZE);
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

/* One read towards the end of the current frame, never beyond: descriptors stay with their frame.
 * False when nothing more can be read. */
static bool receive_some(void)
{
    struct frame_header header = { 0 };
    size_t want = FRAME_HEADER_SIZE;
    ssize_t n;

    if (connection.have >= FRAME_HEADER_SIZE) {
        if (frame_header_read(connection.in, &header) < 0) {
            lose("it sent a frame that breaks the rules");
            return false;
        }
        want += header.length;
        if (connection.have == want) {
            deliver(&header);
            return true;
        }
    }

    n = frame_receive(connection.socket, connection.in + connection.have, want - connection.have,
                      &connection.in_fds);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        lose(n ? strerror((int)-n) : "it closed the connection");
        return false;
    }
    connection.have += (size_t)n;
    return true;
}

void connection_receive(void)
{
    while (connection_state() == CONNECTION_READY && receive_some())
        ;
}

bool connection_alive(void)
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
        connection_receive();
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
        connection_receive();
}

xpurt_result connection_flush(void)
{
    struct frame_header header = { .length = (uint32_t)connection.used };
    size_t size = FRAME_HEADER_SIZE + connection.used, done = 0;

    if (connection_state() == CONNECTION_LOST)
        return connection_lost_error();
    if (!connection.used)
        return XPURT_SUCCESS;

    frame_header_write(connection.out, &header);
    while (done < size) {
        ssize_t n = frame_send(connection.socket, connection.out + done, size - done, NULL, 0);

        if (n == -EAGAIN) {
            await_room();
        } else if (n < 0) {
            connection_receive();       /* its last words */
            lose(strerror((int)-n));
        } else {
            done += (size_t)n;
        }
        if (connection_state() != CONNECTION_READY)
            return connection_lost_error();
    }

    set_used(0);
    deferred_publish();
    if (++connection.sent % RECEIVE_EVERY == 0)
        connection_receive();
    return XPURT_SUCCESS;
}

/* Make sure that @p size more bytes fit into the frame. */
static xpurt_result make_room(size_t size)
{
    if (connection.used + size > FRAME_PAYLOAD_MAX)
        return connection_flush();
    return connection_state() == CONNECTION_READY ? XPURT_SUCCESS : connection_lost_error();
}

/* What was written at the end of the frame is @p size bytes. */
static xpurt_result collect(size_t size)
{
    set_used(connection.used + size);
    return connection.batches ? XPURT_SUCCESS : connection_flush();
}

xpurt_result connection_command(const Xpurt__Command *command)
{
    uint8_t *out;
    size_t size;
    xpurt_result r;

    r = make_room(COMMAND_ROOM);
    if (r)
        return r;

    /* Concatenated fields are one message: each command is packed where it is sent from. */
    out = connection.out + FRAME_HEADER_SIZE + connection.used;
    size = xpurt__command__pack(command, out + 2);
    assert(size < COMMAND_ROOM - 2);
    out[0] = COMMANDS_TAG;
    out[1] = (uint8_t)size;
    return collect(2 + size);
}

xpurt_result connection_record(uint32_t stream, uint64_t value, uint64_t stamp)
{
    xpurt_result r = make_room(COMMAND_SIZE_MAX);

    if (r)
        return r;
    return collect(command_put_record(connection.out + FRAME_HEADER_SIZE + connection.used, stream,
                                      value, stamp));
}

xpurt_result connection_wait(uint32_t stream, uint64_t point)
{
    xpurt_result r = make_room(COMMAND_SIZE_MAX);

    if (r)
        return r;
    return collect(
        command_put_wait(connection.out + FRAME_HEADER_SIZE + connection.used, stream, point));
}

xpurt_result connection_publish(struct board_cell *cell, uint64_t point)
{
    xpurt_result r;

    if (connection.used) {
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
}

bool connection_batch_end(void)
{
    if (!connection.batches)
        return false;
    connection.batches--;
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
static void await_reply(struct waiter *waiter)
{
    struct pollfd pollfd = { .fd = connection.socket, .events = POLLIN };
    time_t deadline = now_s() + REPLY_TIMEOUT_S;

    for (;;) {
        connection_receive();
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
        connection.reading = true;
        connection_unlock();
        (void)poll(&pollfd, 1, REPLY_SLICE_MS);
        connection_lock();
        connection.reading = false;
        connection_changed();
    }
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

xpurt_result connection_request(Xpurt__ToDaemon *request, Xpurt__ToClient__ReplyCase expected,
                                unsigned n_fds, struct reply *ret_reply)
{
    struct waiter waiter = { .reply = REPLY_NULL };
    xpurt_result r;

    if (++connection.serial == 0)
        connection.serial++;
    waiter.serial = request->serial = connection.serial;

    r = make_room(xpurt__to_daemon__get_packed_size(request));
    if (r)
        return r;
    set_used(connection.used +
             xpurt__to_daemon__pack(request, connection.out + FRAME_HEADER_SIZE + connection.used));
    waiter.next = connection.waiters;
    connection.waiters = &waiter;
    r = connection_flush();
    if (r == XPURT_SUCCESS)
        await_reply(&waiter);
    forget_waiter(&waiter);
    if (!waiter.done)
        return connection_lost_error();

    r = check_reply(&waiter.reply, expected, n_fds);
    if (r)
        reply_deinit(&waiter.reply);
    else
        *ret_reply = waiter.reply;
    return r;
}
