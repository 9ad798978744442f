/* SPDX-License-Identifier: MIT */
/* daemon/session.c: the life of one client.
 *
 * Guarantees of this file:
 *   - when a client is gone, those who wait for it are told at once, before anything is freed;
 *   - all that was charged for it is given back, as soon as the GPU is done with it;
 *   - a client that does not read costs at most its output limit.
 */
#include "daemon/session.h"
#include "daemon/log.h"
#include "daemon/ring.h"
#include "daemon/watch.h"
#include "proto/hot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

/* ---- talking back ------------------------------------------------------------------------------- */

void session_reply(struct session *session, uint32_t serial, Xpurt__ToClient *reply, const int *fds,
                   unsigned n_fds)
{
    uint8_t small[1024], *bytes = small;
    size_t size;

    if (session->state == SESSION_DEAD)
        return;
    reply->serial = serial;
    size = xpurt__to_client__get_packed_size(reply);
    if (size > sizeof(small) && !(bytes = malloc(size))) {
        connection_break(&session->connection, "no memory for an answer");
        return;
    }
    xpurt__to_client__pack(reply, bytes);
    connection_send(&session->connection, bytes, size, fds, n_fds);
    if (bytes != small)
        free(bytes);
}

void session_verror(struct session *session, uint32_t serial, uint32_t stream, xpurt_result result,
                    const char *format, va_list args)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Error error = XPURT__ERROR__INIT;
    char text[512];

    if (session->state == SESSION_DEAD)
        return;
    vsnprintf(text, sizeof(text), format, args);
    log_debug("session %d (%s): error %d: %s", (int)session->pid, session->name, (int)result, text);

    /* Nobody waits for this one, and the status of the timeline tells too. */
    if (!serial && session->connection.out_size > session->connection.out_limit / 2)
        return;
    error.code = (uint32_t)result;
    error.text = text;
    error.stream = stream;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_ERROR;
    reply.error = &error;
    session_reply(session, serial, &reply, NULL, 0);
}

void session_error(struct session *session, uint32_t serial, uint32_t stream, xpurt_result result,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    session_verror(session, serial, stream, result, format, args);
    va_end(args);
}

bool session_charge(struct session *session, uint32_t serial, enum charge charge, uint64_t amount)
{
    if (user_charge(session->user, charge, amount))
        return true;
    session_error(session, serial, 0, XPURT_ERROR_QUOTA,
                  "limit user-%s: %" PRIu64 " are in use by uid %u, %" PRIu64
                  " more are asked for, %" PRIu64 " are allowed",
                  charge_name(charge), session->user->charged[charge], (unsigned)session->user->uid,
                  amount, charge_limit(session->user->limits, charge));
    return false;
}

/* ---- life ---------------------------------------------------------------------------------------- */

/* It goes into logs: printable bytes only. */
static void name_set(struct session *session, const char *name)
{
    snprintf(session->name, sizeof(session->name), "%s", name);
    for (char *c = session->name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

xpurt_result session_start(struct session *session, const char *name)
{
    struct runtime *runtime = session->runtime;
    struct place *places = calloc(BOARD_TIMELINES, sizeof(*places));
    struct board *board = NULL;
    int r = -ENFILE;

    assert(session->state == SESSION_NEW);
    if (!places)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    if (runtime->counters.sessions < runtime->limits->sessions)
        r = board_new(&runtime->boards, session, session->user, session->pid, &board);
    if (r < 0) {
        free(places);
        return r == -ENFILE || r == -EMFILE ? XPURT_ERROR_QUOTA : XPURT_ERROR_OUT_OF_HOST_MEMORY;
    }

    session->places = places;
    session->board = board;
    board->charged = session->charged;
    session->charged = false;
    session->state = SESSION_READY;
    runtime->counters.sessions++;
    session->user->n_sessions++;
    name_set(session, name);
    return XPURT_SUCCESS;
}

void session_open_rings(struct session *session, uint32_t serial, const Xpurt__RingOpen *open)
{
    uint32_t to_daemon = open->to_daemon ? open->to_daemon : RING_TO_DAEMON;
    uint32_t to_client = open->to_client ? open->to_client : RING_TO_CLIENT;
    uint64_t bytes = rings_bytes(to_daemon, to_client);
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__RingOpened opened = XPURT__RING_OPENED__INIT;
    int fds[2], r;

    if (!session_charge(session, serial, CHARGE_RING_BYTES, bytes))
        return;
    r = connection_open_rings(&session->connection, to_daemon, to_client, fds);
    if (r < 0) {
        user_discharge(session->user, CHARGE_RING_BYTES, bytes);
        session_error(session, serial, 0,
                      r == -EINVAL || r == -EEXIST ? XPURT_ERROR_INVALID_ARGUMENT :
                                                     XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "no rings of %u and %u bytes: %s", to_daemon, to_client, strerror(-r));
        return;
    }
    session->ring_bytes = bytes;
    opened.to_daemon = to_daemon;
    opened.to_client = to_client;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_RING_OPENED;
    reply.ring_opened = &opened;
    session_reply(session, serial, &reply, fds, 2);
    close(fds[0]);
}

void session_end(struct session *session)
{
    struct runtime *runtime = session->runtime;
    enum session_state was = session->state;

    if (was == SESSION_DEAD)
        return;
    session->state = SESSION_DEAD;
    if (was != SESSION_READY)
        return;
    user_discharge(session->user, CHARGE_RING_BYTES, session->ring_bytes);

    board_orphan(session->board);
    stream_waiters_release(session);
    for (unsigned i = 0; i < BOARD_TIMELINES; i++)
        if (session->places[i].stream)
            stream_close(session->places[i].stream);
    watch_end(session);
    event_end(session);
    session->user->n_sessions--;
    graphs_end(session);
    memory_end(session);
    module_end(session);
    runtime_settle(runtime);
    native_end(session);
    native_settle(runtime);
    for (unsigned i = 0; i < BOARD_TIMELINES; i++)
        assert(!session->places[i].waiters && !session->places[i].watches);
}

static void session_free(struct session *session)
{
    assert(!session->behind && !session->n_unfinished && !session->n_queued);
    if (session->board) {
        session->runtime->counters.sessions--;
        resource_unref(&session->board->resource);
    }
    if (session->charged)
        user_discharge(session->user, CHARGE_SESSIONS, 1);
    user_unref(session->user);
    free(session->places);
    session->gone(session);
}

void session_settle(struct session *session)
{
    if (session->detached && !session->n_streams && !session->n_requests)
        session_free(session);
}

void session_full(struct session *session, bool full)
{
    session->n_full += full ? 1u : -1u;
    if (session->state == SESSION_DEAD)
        return;
    if (session->n_full == 1 && full)
        connection_pause(&session->connection);
    else if (!session->n_full)
        connection_resume(&session->connection);
}

static void behind_set(struct session *session, bool behind)
{
    struct user *user = session->user;

    session->behind = behind;
    if (behind)
        DL_APPEND2(user->behind, session, prev_behind, next_behind);
    else
        DL_DELETE2(user->behind, session, prev_behind, next_behind);
    session_full(session, behind);
}

/* Who has less than its share is always heard: what others wait for may come from there. */
HOT void session_balance(struct session *session)
{
    uint64_t limit = session->runtime->limits->user_unfinished;
    struct user *user = session->user;
    uint64_t share = limit / (user->n_sessions ? user->n_sessions : 1);

    if (!session->behind && user->n_unfinished > limit && session->n_unfinished > share)
        behind_set(session, true);
    else if (session->behind && session->n_unfinished <= share / 2)
        behind_set(session, false);
    while (user->behind && user->n_unfinished <= limit / 2)
        behind_set(user->behind, false);
}
