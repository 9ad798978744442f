/* SPDX-License-Identifier: MIT */
/* daemon/server.c: accepting clients.
 *
 * Guarantees of this file:
 *   - a client's user is what the kernel says it is, and it is charged before anything is made;
 *   - a client that connects and says nothing is closed after the hello time-out; no timer runs
 *     when there is none;
 *   - running out of descriptors turns new clients away; where not even that can be done, they wait
 *     and nobody spins.
 */
#include "daemon/server.h"
#include "daemon/dispatch.h"
#include "daemon/log.h"
#include "daemon/session.h"
#include "proto/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define COMPLAINTS_MAX 10               /* log lines a second about clients: they choose how many */
#define ACCEPT_MAX 32                   /* new clients a turn: others get theirs in between */
#define ACCEPT_PAUSE_MS 100             /* when that fails: what is missing may be there then */
#define ARENA_SIZE (4u << 20)           /* a full frame of the smallest commands decodes in less */

struct listener {
    struct listener *prev, *next;
    struct server *server;              /* borrowed: outlives us */
    uv_poll_t poll;
    int fd;
};

struct client {
    struct session session;             /* first: sessions are clients here */
    struct client *prev, *next;         /* in the server's list */
    uint64_t deadline;                  /* of Hello, in loop milliseconds; 0: it came */
};

struct server {
    uv_loop_t *loop;                    /* borrowed */
    const struct config *config;        /* borrowed */
    struct runtime runtime;
    struct rota rota;
    struct arena arena;
    struct listener *listeners;
    struct client *clients;             /* oldest first */
    uv_timer_t hello_timer;
    unsigned complaints;                /* about clients, since: */
    uint64_t complaints_since;          /* in loop milliseconds */
    int spare_fd;                       /* given up to accept, and refuse, one more client; -1: it
                                           could not be had again */
    uv_timer_t accept_timer;            /* active: listeners pause */
    bool paused;                        /* they have, since a client was accepted */
    bool closing;
    unsigned n_handles;                 /* listeners and clients that are not closed */
    void (*done)(void *data);
    void *data;
};

static void server_settle(struct server *server);
static void hello_timer_set(struct server *server);

/* In milliseconds. The loop's clock stands while bells are told. */
static uint64_t now_ms(const struct server *server)
{
    uv_update_time(server->loop);
    return uv_now(server->loop);
}

/* Whether one more line about a misbehaving client may go to the log. */
static bool may_complain(struct server *server)
{
    uint64_t now = now_ms(server);

    if (now - server->complaints_since >= 1000) {
        if (server->complaints > COMPLAINTS_MAX)
            log_warning("%u more complaints about clients", server->complaints - COMPLAINTS_MAX);
        server->complaints = 0;
        server->complaints_since = now;
    }
    return server->complaints++ < COMPLAINTS_MAX;
}

/* ---- clients -------------------------------------------------------------------------------------- */

static struct server *server_of(struct connection *connection)
{
    return session_of(connection)->owner;
}

static struct client *client_of(struct connection *connection)
{
    return (struct client *)connection;
}

HOT static size_t on_frame(struct connection *connection, const uint8_t *payload, size_t size,
                           struct frame_fds *fds, int *budget)
{
    struct server *server = server_of(connection);
    size_t done;

    done = dispatch_frame(session_of(connection), &server->arena, payload, size, fds, budget);
    if (session_of(connection)->state == SESSION_READY && client_of(connection)->deadline) {
        client_of(connection)->deadline = 0;
        hello_timer_set(server);
    }
    return done;
}

HOT static void on_settled(struct connection *connection)
{
    struct session *session = session_of(connection);

    runtime_settle(&server_of(connection)->runtime);
    session_balance(session);
    if (session->state == SESSION_READY)
        board_say_where(session->board);
    if (session->woke)
        connection_yield(connection);
    session->woke = false;
}

static void client_close(struct client *client)
{
    session_end(&client->session);
    connection_close(&client->session.connection);
}

static void on_refused(struct connection *connection, const char *reason)
{
    session_error(session_of(connection), 0, 0, XPURT_ERROR_PROTOCOL, "%s", reason);
}

static void on_lost(struct connection *connection, const char *reason)
{
    struct session *session = session_of(connection);

    if (reason) {
        session->runtime->counters.refused++;
        if (may_complain(server_of(connection)))
            log_warning("closing client pid %d uid %u: %s", (int)session->pid,
                        (unsigned)session->user->uid, reason);
    } else {
        log_debug("client pid %d (%s) is gone", (int)session->pid, session->name);
    }
    client_close(client_of(connection));
}

static void on_closed(struct connection *connection)
{
    session_of(connection)->detached = true;
    session_settle(session_of(connection));
}

static void on_gone(struct session *session)
{
    struct client *client = (struct client *)session;
    struct server *server = session->owner;

    DL_DELETE(server->clients, client);
    if (client->deadline && !server->closing)
        hello_timer_set(server);
    free(client);
    server->n_handles--;
    server_settle(server);
}

static const struct connection_events client_events = {
    .frame = on_frame,
    .settled = on_settled,
    .refused = on_refused,
    .lost = on_lost,
    .closed = on_closed,
};

/* ---- the hello time-out ------------------------------------------------------------------------------ */

static void on_hello_timer(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t now = now_ms(server);
    struct client *client;

    DL_FOREACH(server->clients, client)
        if (client->deadline && client->deadline <= now) {
            client->deadline = 0;
            session_error(&client->session, 0, 0, XPURT_ERROR_PROTOCOL, "no Hello came in time");
            connection_break(&client->session.connection, "it connected and said nothing");
        }
    hello_timer_set(server);
}

/* Armed only while somebody has not said Hello: an idle daemon has no wake-ups. */
static void hello_timer_set(struct server *server)
{
    uint64_t now = now_ms(server), first = 0;
    struct client *client;

    DL_FOREACH(server->clients, client)
        if (client->deadline && (!first || client->deadline < first))
            first = client->deadline;
    if (first)
        uv_timer_start(&server->hello_timer, on_hello_timer, first > now ? first - now : 0, 0);
    else
        uv_timer_stop(&server->hello_timer);
}

/* ---- accepting ------------------------------------------------------------------------------------------ */

static int client_new(struct server *server, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    struct client *client;
    int r;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    client = calloc(1, sizeof(*client));
    if (!client) {
        close(fd);
        return -ENOMEM;
    }
    client->session.runtime = &server->runtime;
    client->session.owner = server;
    client->session.gone = on_gone;
    client->session.pid = peer.pid;

    r = user_get(&server->runtime.users, peer.uid, server->runtime.gpu, &server->config->limits,
                 server->loop, &client->session.user);
    if (r < 0) {
        close(fd);
        free(client);
        return r;
    }
    if (!client->session.user->runtime) /* libuv's pool reads it */
        client->session.user->runtime = &server->runtime;
    r = connection_open(&client->session.connection, &server->rota, fd, &client_events,
                        server->config->limits.session_out_bytes);
    if (r < 0) {
        user_unref(client->session.user);
        free(client);
        return r;
    }

    DL_APPEND(server->clients, client);
    server->n_handles++;
    client->session.charged = session_charge(&client->session, 0, CHARGE_SESSIONS, 1);
    if (client->session.charged) {
        client->deadline = now_ms(server) + server->config->limits.hello_timeout_ms;
        if (!uv_is_active((uv_handle_t *)&server->hello_timer))
            hello_timer_set(server);
    } else {
        connection_break(&client->session.connection, "too many sessions of this user");
    }
    return 0;
}

static int spare_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(uv_poll_t *poll, int status, int events);

static void on_accept_timer(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct listener *listener;

    if (server->spare_fd < 0)
        server->spare_fd = spare_open();
    DL_FOREACH(server->listeners, listener)
        uv_poll_start(&listener->poll, UV_READABLE, on_listener);
}

/* They stay readable: without a pause the loop would call us again at once. */
static void listeners_pause(struct server *server, int error)
{
    struct listener *listener;

    if (!server->paused)
        log_error("cannot accept clients: %s; they wait", strerror(error));
    server->paused = true;
    DL_FOREACH(server->listeners, listener)
        uv_poll_stop(&listener->poll);
    uv_timer_start(&server->accept_timer, on_accept_timer, ACCEPT_PAUSE_MS, 0);
}

/* Take one client off the queue and turn it away, with the descriptor kept for that. */
static void turn_away(struct server *server, int listener)
{
    int fd = -1;

    if (server->spare_fd >= 0) {
        close(server->spare_fd);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
    if (fd >= 0) {
        close(fd);
        if (may_complain(server))
            log_error("no more descriptors: a client was turned away; see LimitNOFILE");
    }
    server->spare_fd = spare_open();
    if (server->spare_fd < 0)
        listeners_pause(server, errno);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r;

        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            turn_away(listener->server, listener->fd);
            return;
        }
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                listeners_pause(listener->server, errno);
            return;
        }
        listener->server->paused = false;
        r = client_new(listener->server, fd);
        if (r < 0)
            log_error("cannot serve a client: %s", strerror(-r));
    }
}

int server_listen(struct server *server, int fd)
{
    struct listener *listener;
    int r;

    listener = calloc(1, sizeof(*listener));
    if (!listener) {
        close(fd);
        return -ENOMEM;
    }
    listener->server = server;
    listener->fd = fd;
    r = uv_poll_init(server->loop, &listener->poll, fd);
    if (r < 0) {
        close(fd);
        free(listener);
        return r;
    }
    listener->poll.data = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_listener);
    DL_APPEND(server->listeners, listener);
    server->n_handles++;
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

int server_new(uv_loop_t *loop, struct gpu *gpu, const struct config *config,
               struct server **ret_server)
{
    struct server *server;
    int r;

    server = calloc(1, sizeof(*server));
    if (!server)
        return -ENOMEM;
    server->loop = loop;
    server->config = config;
    server->spare_fd = spare_open();

    r = arena_init(&server->arena, ARENA_SIZE);
    if (r == 0)
        r = rota_init(&server->rota, loop, &config->limits.ring_spin_us);
    if (r == 0)
        r = runtime_init(&server->runtime, gpu, &config->limits, loop);
    if (r < 0) {
        rota_deinit(&server->rota);
        arena_deinit(&server->arena);
        if (server->spare_fd >= 0)
            close(server->spare_fd);
        free(server);
        return r;
    }
    uv_timer_init(loop, &server->hello_timer);
    server->hello_timer.data = server;
    uv_timer_init(loop, &server->accept_timer);
    server->accept_timer.data = server;
    *ret_server = server;
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct server *server = listener->server;

    free(listener);
    server->n_handles--;
    server_settle(server);
}

/* When the last client and listener are gone, so are we. */
static void server_settle(struct server *server)
{
    if (!server->closing || server->n_handles || !server->done)
        return;
    runtime_close(&server->runtime);
    uv_close((uv_handle_t *)&server->hello_timer, NULL);
    uv_close((uv_handle_t *)&server->accept_timer, NULL);
    server->done(server->data);
    server->done = NULL;
}

HOT void server_run(struct server *server)
{
    while (rota_round(&server->rota, true))
        ;
}

void server_close(struct server *server, void (*done)(void *data), void *data)
{
    struct listener *listener, *next_listener;
    struct client *client, *next_client;

    server->closing = true;
    server->runtime.ending = true;
    server->done = done;
    server->data = data;
    uv_timer_stop(&server->accept_timer);
    DL_FOREACH_SAFE(server->listeners, listener, next_listener) {
        DL_DELETE(server->listeners, listener);
        uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
        close(listener->fd);
    }
    DL_FOREACH_SAFE(server->clients, client, next_client)
        client_close(client);
    server_settle(server);
}

void server_free(struct server *server)
{
    if (!server)
        return;
    runtime_deinit(&server->runtime);
    rota_deinit(&server->rota);
    arena_deinit(&server->arena);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server);
}
