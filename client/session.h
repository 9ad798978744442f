/* SPDX-License-Identifier: MIT */
/* client/session.h: what the daemon gave this process at the start, and when that ends. */
#pragma once

#include "client/connection.h"

#include <xpurt/base.h>

struct session {
    uint32_t epoch;                     /* counts resets and forks: objects of which session? */
    uint32_t slot;                      /* of the own boards; SESSION_NO_SLOT: not connected */
    uint8_t instance[16];               /* of the daemon */
};

#define SESSION_NO_SLOT UINT32_MAX

/* Written when a session begins or ends. */
extern struct session session;

/* Why a session ended. */
enum session_end {
    SESSION_RESET,                      /* nothing of it is of use any more */
    SESSION_FORKED,                     /* this is the child: the parent goes on with it */
};

/* Take the lock, connected. Without XPURT_SUCCESS the lock is not held. */
xpurt_result session_enter(void);
void session_leave(void);

/* Whether more work may be submitted: XPURT_ERROR_WOULD_BLOCK where the caller would have to wait
 * and does not want to. The lock is held. */
xpurt_result session_admit(void);

/* Send what a batch collected, before the caller looks at results. The lock is not held. */
xpurt_result session_settle(void);

/* Map the progress board of @p slot; asks the daemon. When the session that had the slot is gone:
 * XPURT_ERROR_STALE_HANDLE if all that it recorded was reached, else XPURT_ERROR_PEER_LOST. The
 * lock is held, and free meanwhile. */
xpurt_result session_open_board(uint32_t slot);

/* Unmap the boards of dead sessions that no opened event needs. The lock is held. */
void session_release_dead(void);

/* XPURT_ERROR_SYSTEM with the sentence "@p what: reason". @p error is a negative errno. */
xpurt_result system_error(const char *what, int error);
