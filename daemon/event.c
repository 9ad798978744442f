/* SPDX-License-Identifier: MIT */
/* daemon/event.c: exporting and opening events.
 *
 * Guarantees of this file:
 *   - a cell that was exported is given back to its owner only when it was destroyed there and no
 *     opener is left, dead ones included;
 *   - boards go to processes of the same user only, the progress board always read-only;
 *   - every export and lease is charged, and given back with the session at the latest.
 */
#include "daemon/event.h"
#include "daemon/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RECLAIMED_MAX 4096              /* cells in one reply: fits a frame */

static void exported_free(struct exported *exported)
{
    assert(!exported->leases && !exported->token);
    resource_unref(&exported->board->resource);
    free(exported);
}

/* The owner has no use for the cell any more; the last opener gives it back. */
static void cell_give_back(struct exported *exported)
{
    struct session *owner = exported->board->session;

    /* A client that never asks for them, but exports on, has had more than there are. */
    if (owner && owner->n_reclaimed < BOARD_CELLS) {
        uint32_t *cells = realloc(owner->reclaimed, (owner->n_reclaimed + 1) * sizeof(*cells));

        /* Without memory the cell is lost to its owner, until the session ends. */
        if (cells) {
            owner->reclaimed = cells;
            owner->reclaimed[owner->n_reclaimed++] = exported->cell;
        }
    }
    exported_free(exported);
}

static void exported_drop(struct session *session, struct exported *exported)
{
    HASH_DEL(session->exported, exported);
    broker_revoke(&session->runtime->broker, exported->token);
    exported->token = NULL;
    if (!exported->leases)
        cell_give_back(exported);
}

static int exported_new(struct session *session, uint32_t cell, struct exported **ret_exported)
{
    struct exported *exported;
    int r;

    exported = calloc(1, sizeof(*exported));
    if (!exported)
        return -ENOMEM;
    exported->cell = cell;
    r = broker_export(&session->runtime->broker, session->user, HANDLE_EVENT, exported, 0,
                      &exported->token);
    if (r < 0) {
        free(exported);
        return r;
    }
    HASH_ADD(hh, session->exported, cell, sizeof(cell), exported);
    if (!HASH_ADDED(hh, exported)) {
        broker_discard(&session->runtime->broker, exported->token);
        free(exported);
        return -ENOMEM;
    }
    exported->board = resource_ref(&session->board->resource);
    *ret_exported = exported;
    return 0;
}

void event_export(struct session *session, uint32_t serial, const Xpurt__EventExport *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Handle handle = XPURT__HANDLE__INIT;
    struct exported *exported;
    uint32_t cell = request->cell;

    if (cell >= BOARD_CELLS) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE, "there is no cell %u", cell);
        return;
    }

    /* Asked again: the same handle works as often as one likes. */
    HASH_FIND(hh, session->exported, &cell, sizeof(cell), exported);
    if (!exported) {
        if (!session_charge(session, serial, CHARGE_EXPORTS, 1))
            return;
        if (exported_new(session, cell, &exported) < 0) {
            user_discharge(session->user, CHARGE_EXPORTS, 1);
            session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                          "the daemon cannot make a handle");
            return;
        }
    }
    handle.handle.data = (uint8_t *)&exported->token->handle;
    handle.handle.len = sizeof(exported->token->handle);
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HANDLE;
    reply.handle = &handle;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- leases ---------------------------------------------------------------------------------------- */

static uint64_t lease_key(uint32_t slot, uint32_t cell)
{
    return (uint64_t)slot << 32 | cell;
}

/* Idempotent. False: the client was told why not. */
static bool board_lease_take(struct session *session, uint32_t serial, struct board *board)
{
    struct board_lease *lease;

    if (board == session->board)
        return true;
    HASH_FIND(hh, session->boards, &board->slot, sizeof(board->slot), lease);
    if (lease)
        return true;

    if (!session_charge(session, serial, CHARGE_LEASES, 1))
        return false;
    lease = calloc(1, sizeof(*lease));
    if (lease) {
        lease->slot = board->slot;
        HASH_ADD(hh, session->boards, slot, sizeof(lease->slot), lease);
    }
    if (!lease || !HASH_ADDED(hh, lease)) {
        free(lease);
        user_discharge(session->user, CHARGE_LEASES, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return false;
    }
    lease->board = resource_ref(&board->resource);
    return true;
}

static void board_lease_free(struct session *session, struct board_lease *lease)
{
    HASH_DEL(session->boards, lease);
    user_discharge(session->user, CHARGE_LEASES, 1);
    resource_unref(&lease->board->resource);
    free(lease);
}

static bool event_lease_take(struct session *session, uint32_t serial, struct exported *exported)
{
    uint64_t key = lease_key(exported->board->slot, exported->cell);
    struct event_lease *lease;

    HASH_FIND(hh, session->events, &key, sizeof(key), lease);
    if (!lease) {
        if (!session_charge(session, serial, CHARGE_LEASES, 1))
            return false;
        lease = calloc(1, sizeof(*lease));
        if (lease) {
            lease->key = key;
            HASH_ADD(hh, session->events, key, sizeof(lease->key), lease);
        }
        if (!lease || !HASH_ADDED(hh, lease)) {
            free(lease);
            user_discharge(session->user, CHARGE_LEASES, 1);
            session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
            return false;
        }
        lease->exported = exported;
        exported->leases++;
    }
    lease->count++;
    return true;
}

static void event_lease_free(struct session *session, struct event_lease *lease)
{
    struct exported *exported = lease->exported;

    HASH_DEL(session->events, lease);
    user_discharge(session->user, CHARGE_LEASES, 1);
    free(lease);
    if (--exported->leases == 0 && !exported->token)
        cell_give_back(exported);
}

void event_open(struct session *session, uint32_t serial, const Xpurt__EventOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__EventOpened opened = XPURT__EVENT_OPENED__INIT;
    struct exported *exported;
    struct token *token;
    const char *reason;
    xpurt_result result;
    int fds[2];

    result = broker_find(&session->runtime->broker, session->user, HANDLE_EVENT,
                         request->handle.data, request->handle.len, &token, &reason);
    if (result) {
        session_error(session, serial, 0, result, "%s", reason);
        return;
    }
    exported = token->object;
    if (!board_lease_take(session, serial, exported->board) ||
        !event_lease_take(session, serial, exported))
        return;

    opened.slot = exported->board->slot;
    opened.cell = exported->cell;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_EVENT_OPENED;
    reply.event_opened = &opened;
    fds[0] = exported->board->progress_fd;
    fds[1] = exported->board->events_fd;
    session_reply(session, serial, &reply, fds, 2);
}

void event_close(struct session *session, const Xpurt__EventClose *command)
{
    uint64_t key = lease_key(command->slot, command->cell);
    struct event_lease *lease;

    HASH_FIND(hh, session->events, &key, sizeof(key), lease);
    if (!lease) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                      "event %u of session %u was not opened", command->cell, command->slot);
        return;
    }
    if (--lease->count == 0)
        event_lease_free(session, lease);
}

void event_drop(struct session *session, const Xpurt__EventDrop *command)
{
    struct exported *exported;

    HASH_FIND(hh, session->exported, &command->cell, sizeof(command->cell), exported);
    if (!exported) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE, "event %u was not exported",
                      command->cell);
        return;
    }
    exported_drop(session, exported);
}

void event_reclaim(struct session *session, uint32_t serial)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__EventReclaimed reclaimed = XPURT__EVENT_RECLAIMED__INIT;
    size_t n = session->n_reclaimed < RECLAIMED_MAX ? session->n_reclaimed : RECLAIMED_MAX;

    session->n_reclaimed -= n;
    reclaimed.n_cells = n;
    reclaimed.cells = session->reclaimed + session->n_reclaimed;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_EVENT_RECLAIMED;
    reply.event_reclaimed = &reclaimed;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- who else --------------------------------------------------------------------------------------- */

/* An opener's view. The owner counts as long as it can record, and lets others open. */
static void sharers_of_lease(const struct event_lease *lease, Xpurt__EventShared *shared)
{
    shared->others = lease->exported->leases - 1 + (lease->exported->token != NULL);
    shared->lost = lease->exported->abandoned || !lease->exported->token;
}

/* The owner's view. What is not exported may still be shared with forked children: nobody is lost. */
static void sharers_of_own(struct session *session, uint32_t cell, uint64_t key,
                           Xpurt__EventShared *shared)
{
    struct exported *exported;
    struct event_lease *mine;           /* opened at home */

    HASH_FIND(hh, session->exported, &cell, sizeof(cell), exported);
    HASH_FIND(hh, session->events, &key, sizeof(key), mine);
    if (exported) {
        shared->others = exported->leases - (mine != NULL);
        shared->lost = exported->abandoned;
    }
}

void event_sharers(struct session *session, uint32_t serial, const Xpurt__EventSharers *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__EventShared shared = XPURT__EVENT_SHARED__INIT;
    uint64_t key = lease_key(request->slot, request->cell);
    struct event_lease *lease;
    struct board *board;

    HASH_FIND(hh, session->events, &key, sizeof(key), lease);
    board = event_stamp_board(session, request->slot);
    if (board == session->board && request->cell < BOARD_CELLS) {
        sharers_of_own(session, request->cell, key, &shared);
    } else if (lease) {
        sharers_of_lease(lease, &shared);
    } else if (board && request->cell < BOARD_CELLS) {
        /* A child of fork() has its parent's events without having opened them. */
        shared.others = board->session != NULL;
        shared.lost = !board->session;
    } else {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "event %u of session %u was not opened", request->cell, request->slot);
        return;
    }
    reply.reply_case = XPURT__TO_CLIENT__REPLY_EVENT_SHARED;
    reply.event_shared = &shared;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- boards ----------------------------------------------------------------------------------------- */

void event_board_open(struct session *session, uint32_t serial, const Xpurt__BoardOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__BoardOpened opened = XPURT__BOARD_OPENED__INIT;
    struct runtime *runtime = session->runtime;
    struct board *board =
        request->slot < BOARD_SLOTS ? runtime->boards.boards[request->slot] : NULL;

    if (!board || request->instance.len != sizeof(runtime->broker.instance) ||
        memcmp(request->instance.data, runtime->broker.instance,
               sizeof(runtime->broker.instance)) != 0) {
        bool lost = request->slot < BOARD_SLOTS && runtime->boards.lost[request->slot];

        session_error(session, serial, 0, lost ? XPURT_ERROR_PEER_LOST : XPURT_ERROR_STALE_HANDLE,
                      "session %u is gone%s", request->slot,
                      lost ? " and left work undone" : ", all its work was done");
        return;
    }
    if (board->user != session->user) {
        session_error(session, serial, 0, XPURT_ERROR_PERMISSION,
                      "session %u belongs to another user", request->slot);
        return;
    }
    if (!board_lease_take(session, serial, board))
        return;

    opened.slot = board->slot;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_BOARD_OPENED;
    reply.board_opened = &opened;
    session_reply(session, serial, &reply, (int[]){ board->progress_fd, board->events_fd }, 2);
}

void event_board_close(struct session *session, const Xpurt__BoardClose *command)
{
    struct board_lease *lease;

    HASH_FIND(hh, session->boards, &command->slot, sizeof(command->slot), lease);
    if (lease)
        board_lease_free(session, lease);
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE, "session %u was not opened",
                      command->slot);
}

struct board *event_stamp_board(struct session *session, uint32_t slot)
{
    struct board_lease *lease;

    if (slot == session->board->slot)
        return session->board;
    HASH_FIND(hh, session->boards, &slot, sizeof(slot), lease);
    return lease ? lease->board : NULL;
}

void event_end(struct session *session)
{
    struct exported *exported, *next_exported;
    struct event_lease *event, *next_event;
    struct board_lease *board, *next_board;

    HASH_ITER(hh, session->events, event, next_event) {
        event->exported->abandoned = true;
        event_lease_free(session, event);
    }
    HASH_ITER(hh, session->exported, exported, next_exported)
        exported_drop(session, exported);
    HASH_ITER(hh, session->boards, board, next_board)
        board_lease_free(session, board);
    free(session->reclaimed);
    session->reclaimed = NULL;
    session->n_reclaimed = 0;
}
