/* SPDX-License-Identifier: MIT */
/* client/session.c: connecting, forking, resetting.
 *
 * Guarantees of this file:
 *   - nothing connects before a call that needs the daemon; a failed attempt leaves no trace, so
 *     that the next call tries again;
 *   - a forked child never touches its parent's connection; the boards it inherited stay readable,
 *     and it holds leases for them as soon as it has a session of its own;
 *   - after a reset no object of before is taken for one of the new session.
 */
#include "client/session.h"

#include "client/address.h"
#include "client/arena.h"
#include "client/companion.h"
#include "client/device.h"
#include "client/event.h"
#include "client/graph.h"
#include "client/host.h"
#include "client/mapping.h"
#include "client/module.h"
#include "client/native.h"
#include "client/result.h"
#include "client/staging.h"
#include "client/standing.h"
#include "client/stream.h"
#include "client/wait.h"
#include "proto/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S 10            /* a thousand workers may start at once */
#define SOCKETS_MAX 2
#define PATH_SIZE 200                   /* longer than any socket's: too long is seen, not cut */
#define SYSTEM_SOCKET "/run/xpurtd/xpurtd.sock"

static bool connecting;                 /* a thread says hello; others wait for what comes of it */
static xpurt_daemon_info daemon_info;

struct session session = { .epoch = 1, .slot = SESSION_NO_SLOT };

xpurt_result system_error(const char *what, int error)
{
    return error_set(error == -ENOMEM ? XPURT_ERROR_OUT_OF_HOST_MEMORY : XPURT_ERROR_SYSTEM,
                     "%s: %s", what, strerror(-error));
}

/* ---- the socket ----------------------------------------------------------------------------- */

/* Where a daemon may listen, best first. */
static unsigned candidates(char ret_paths[SOCKETS_MAX][PATH_SIZE])
{
    const char *chosen = getenv("XPURT_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    unsigned count = 0;

    if (chosen && chosen[0]) {
        snprintf(ret_paths[count++], PATH_SIZE, "%s", chosen);
        return count;
    }
    if (runtime && runtime[0])
        snprintf(ret_paths[count++], PATH_SIZE, "%s/xpurtd.sock", runtime);
    snprintf(ret_paths[count++], PATH_SIZE, "%s", SYSTEM_SOCKET);
    return count;
}

/* A connected, non-blocking socket, or -errno. */
static int socket_connect(const char *path)
{
    const struct timeval timeout = { .tv_sec = CONNECT_TIMEOUT_S };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, r;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    /* Blocks while the daemon's backlog is full, hence the bound. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    do {
        r = connect(fd, (struct sockaddr *)&address, sizeof(address));
    } while (r < 0 && errno == EINTR);

    if (r < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static xpurt_result socket_find(int *ret_socket)
{
    char paths[SOCKETS_MAX][PATH_SIZE], tried[SOCKETS_MAX * (PATH_SIZE + 64)] = "";
    unsigned count = candidates(paths);
    size_t length = 0;

    for (unsigned i = 0; i < count; i++) {
        int fd = socket_connect(paths[i]);

        if (fd >= 0) {
            /* Connected: it is short enough. */
            memcpy(daemon_info.socket, paths[i], sizeof(daemon_info.socket));
            *ret_socket = fd;
            return XPURT_SUCCESS;
        }
        length += (size_t)snprintf(tried + length, sizeof(tried) - length, "%s%s (%s)",
                                   i ? ", " : "", paths[i], strerror(-fd));
    }
    return error_set(XPURT_ERROR_NO_DAEMON, "no xpurtd answered; tried %s", tried);
}

/* ---- boards of others ------------------------------------------------------------------------ */

xpurt_result session_open_board(uint32_t slot)
{
    Xpurt__BoardOpen open = XPURT__BOARD_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(BOARD_OPEN), .board_open = &open };
    struct reply reply = REPLY_NULL;
    xpurt_result r;
    int e;

    session_release_dead();
    open.slot = slot;
    open.instance = (ProtobufCBinaryData){ sizeof(session.instance), session.instance };
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_BOARD_OPENED, 2, &reply);
    if (r == XPURT_ERROR_PEER_LOST)
        return error_set(r, "the process that recorded this event is gone");
    if (r == XPURT_ERROR_PERMISSION)    /* another user's by now: whose point it was is long gone */
        return XPURT_ERROR_STALE_HANDLE;
    if (r)
        return r;

    e = arena_map(slot, reply.fds.fds[0], reply.fds.fds[1], false);
    if (e == 0)
        arena_lease(slot);
    reply_deinit(&reply);
    return e < 0 ? system_error("the board of another process cannot be mapped", e) : XPURT_SUCCESS;
}

static void board_release(uint32_t slot)
{
    Xpurt__BoardClose board_close = XPURT__BOARD_CLOSE__INIT;
    bool leased = arena_slots[slot].leased;

    arena_unmap(slot);
    board_close.slot = slot;
    if (leased)
        (void)connection_command(
            &(Xpurt__Command){ COMMAND(BOARD_CLOSE), .board_close = &board_close });
}

void session_release_dead(void)
{
    native_release_dead();
    ARENA_FOREACH(slot)
        if (arena_slots[slot].leased && !arena_slots[slot].opened && slot != session.slot &&
            arena_dead(slot))
            board_release(slot);
}

/* A child inherited mappings but no leases. A board that nobody has any more stays mapped: it
 * says that its owner is dead. */
static void boards_adopt(void)
{
    ARENA_FOREACH(slot)
        if (arena_slots[slot].mapped && slot != session.slot &&
            connection_state() == CONNECTION_READY)
            (void)session_open_board(slot);
}

static void boards_drop(void)
{
    ARENA_FOREACH(slot)
        if (arena_slots[slot].mapped || arena_slots[slot].events)
            arena_unmap(slot);
}

/* ---- a session begins ------------------------------------------------------------------------ */

static xpurt_result session_begin(const Xpurt__Welcome *welcome, const struct frame_fds *fds)
{
    static const uint8_t none[sizeof(session.instance)];
    int e;

    if (welcome->major != FRAME_MAJOR || welcome->slot >= BOARD_SLOTS ||
        welcome->instance.len != sizeof(session.instance))
        return error_set(XPURT_ERROR_PROTOCOL,
                         "xpurtd %s speaks version %u of the protocol, this "
                         "library version %u",
                         welcome->daemon_version, welcome->major, FRAME_MAJOR);

    /* What a child inherited is worth nothing when the daemon is another one by now. */
    if (memcmp(session.instance, none, sizeof(none)) &&
        memcmp(session.instance, welcome->instance.data, sizeof(none))) {
        events_end(SESSION_RESET);
        boards_drop();
    }

    e = devices_begin(welcome);
    if (e == 0)
        e = arena_map(welcome->slot, fds->fds[0], fds->fds[1], true);
    if (e < 0)
        return system_error("the session cannot be set up", e);

    session.slot = welcome->slot;
    memcpy(session.instance, welcome->instance.data, sizeof(session.instance));
    snprintf(daemon_info.version, sizeof(daemon_info.version), "%s", welcome->daemon_version);
    memcpy(daemon_info.instance, session.instance, sizeof(daemon_info.instance));
    daemon_info.protocol_major = welcome->major;
    daemon_info.protocol_minor = welcome->minor;
    daemon_info.session = welcome->slot;
    return XPURT_SUCCESS;
}

static xpurt_result say_hello(void)
{
    char name[16] = "";                 /* as long as the kernel keeps it */
    Xpurt__Hello hello = XPURT__HELLO__INIT;
    Xpurt__ToDaemon request = { REQUEST(HELLO), .hello = &hello };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    (void)prctl(PR_GET_NAME, name);
    hello.major = FRAME_MAJOR;
    hello.minor = FRAME_MINOR;
    hello.name = name;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_WELCOME, 2, &reply);
    if (r == XPURT_SUCCESS)
        r = session_begin(reply.message->welcome, &reply.fds);
    else if (r == XPURT_ERROR_DAEMON_LOST)
        r = connection_refusal();
    reply_deinit(&reply);
    return r;
}

/* ---- how commands travel ---------------------------------------------------------------------- */

static struct {
    bool chosen;                        /* by a call, which the environment does not override */
    xpurt_transport transport;
    bool refuse;                        /* instead of waiting for room */
} submit;

/* What the environment says, where nobody called. */
static xpurt_result submit_read(void)
{
    static const char *const names[] = {
        [XPURT_TRANSPORT_AUTO] = "auto",
        [XPURT_TRANSPORT_SOCKET] = "socket",
        [XPURT_TRANSPORT_RING] = "ring",
    };
    const char *text = getenv("XPURT_TRANSPORT");

    if (submit.chosen || !text || !*text)
        return XPURT_SUCCESS;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            submit.transport = (xpurt_transport)i;
            return XPURT_SUCCESS;
        }
    return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                     "XPURT_TRANSPORT is '%s', not auto, socket or ring", text);
}

static xpurt_result transport_begin(void)
{
    if (submit.transport == XPURT_TRANSPORT_RING)
        return connection_open_rings();
    if (submit.transport == XPURT_TRANSPORT_AUTO)
        connection_want_rings();
    return XPURT_SUCCESS;
}

HOT xpurt_result session_admit(void)
{
    if (!submit.refuse || connection_has_room())
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_WOULD_BLOCK, "xpurtd has not taken what was submitted before");
}

/* ---- a session begins, and ends --------------------------------------------------------------- */

static void fork_prepare(void)
{
    connection_lock();
}

static void fork_parent(void)
{
    connection_unlock();
}

static void session_finish(enum session_end why)
{
    session.epoch++;
    companions_end();
    graphs_end(why);
    streams_end(why);
    native_end(why);
    standing_end();
    staging_end();
    host_end(why);
    modules_end(why);
    mappings_end(why);
    addresses_end();
    events_end(why);
    session.slot = SESSION_NO_SLOT;
}

static void fork_child(void)
{
    connection_reinit();
    connecting = false;
    ARENA_FOREACH(slot)
        arena_slots[slot].leased = false;
    if (session.slot != SESSION_NO_SLOT)
        arena_slots[session.slot].opened++; /* the parent's events stay in use here */
    session_finish(SESSION_FORKED);
    connection_unlock();
}

static xpurt_result session_connect(void)
{
    static bool fork_handled;           /* inherited, like the handlers */
    int fd = -1, e;
    xpurt_result r;

    r = submit_read();
    if (r == XPURT_SUCCESS)
        r = socket_find(&fd);
    if (r)
        return r;

    e = arena_reserve();
    if (e == 0 && !fork_handled)
        e = -pthread_atfork(fork_prepare, fork_parent, fork_child);
    if (e < 0) {
        close(fd);
        return system_error("the session cannot be set up", e);
    }
    fork_handled = true;

    connecting = true;
    connection_open(fd);
    r = say_hello();
    if (r == XPURT_SUCCESS)
        r = transport_begin();
    if (r)
        connection_close();
    else
        boards_adopt();
    connecting = false;
    connection_changed();
    return r;
}

HOT xpurt_result session_enter(void)
{
    xpurt_result r = XPURT_SUCCESS;

    connection_lock();
    while (connecting)
        connection_await_change();
    if (connection_state() == CONNECTION_NONE)
        r = session_connect();
    else if (connection_state() == CONNECTION_LOST)
        r = connection_lost_error();
    if (r)
        connection_unlock();
    return r;
}

HOT void session_leave(void)
{
    connection_unlock();
}

xpurt_result session_settle(void)
{
    xpurt_result r;

    if (!atomic_load_explicit(&connection_collected, memory_order_relaxed))
        return XPURT_SUCCESS;
    r = session_enter();
    if (r)
        return r;
    r = connection_flush();
    session_leave();
    return r;
}

/* ---- public ---------------------------------------------------------------------------------- */

xpurt_result xpurt_init(void)
{
    xpurt_result r = session_enter();

    if (r == XPURT_SUCCESS)
        session_leave();
    return r;
}

int xpurt_is_initialized(void)
{
    int initialized;

    connection_lock();
    initialized = connection_state() == CONNECTION_READY && !connecting;
    connection_unlock();
    return initialized;
}

xpurt_result xpurt_reset(void)
{
    if (wait_holds())
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "a host function cannot reset its session");

    connection_lock();
    companions_stop();
    session_finish(SESSION_RESET);
    boards_drop();
    memset(session.instance, 0, sizeof(session.instance));
    connection_close();
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_set_transport(xpurt_transport transport)
{
    if ((unsigned)transport > XPURT_TRANSPORT_RING)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no transport %d", (int)transport);
    connection_lock();
    submit.transport = transport;
    submit.chosen = true;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_set_submit_mode(xpurt_submit_mode mode)
{
    if ((unsigned)mode > XPURT_SUBMIT_REFUSE)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is no submit mode %d", (int)mode);
    connection_lock();
    submit.refuse = mode == XPURT_SUBMIT_REFUSE;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_batch_begin(void)
{
    xpurt_result r = session_enter();

    if (r)
        return r;
    connection_batch_begin();
    session_leave();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_batch_end(void)
{
    xpurt_result r = XPURT_SUCCESS;

    connection_lock();
    if (!connection_batch_end())
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "no batch is open");
    else if (!connection_batching())
        r = connection_flush();
    connection_unlock();
    return r;
}

xpurt_result xpurt_daemon_get_info(xpurt_daemon_info *ret_info)
{
    xpurt_result r;

    if (!ret_info)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the answer");

    r = session_enter();
    if (r)
        return r;
    *ret_info = daemon_info;
    session_leave();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_daemon_counters(size_t capacity, xpurt_counter *ret_counters, size_t *ret_count)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { REQUEST(STATS), .stats = &stats };
    struct reply reply = REPLY_NULL;
    const Xpurt__Counters *counters;
    xpurt_result r;

    if (!ret_count || (capacity && !ret_counters))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the counters");

    r = session_enter();
    if (r)
        return r;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_COUNTERS, 0, &reply);
    session_leave();
    if (r)
        return r;

    counters = reply.message->counters;
    for (size_t i = 0; i < counters->n_counters && i < capacity; i++) {
        snprintf(ret_counters[i].name, sizeof(ret_counters[i].name), "%s",
                 counters->counters[i]->name);
        ret_counters[i].value = counters->counters[i]->value;
    }
    *ret_count = counters->n_counters;
    reply_deinit(&reply);
    return XPURT_SUCCESS;
}
