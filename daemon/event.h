/* SPDX-License-Identifier: MIT */
/* daemon/event.h: events that cross processes, and the boards they live on.
 *
 * An event as such needs no daemon: it is a cell. The daemon learns of it when it is exported, so
 * that the cell is not used for another event while somebody who opened it may still look. */
#pragma once

#include "daemon/hash.h"
#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>

struct board;
struct session;
struct token;

/* An event that others may open. It lives until its owner and all openers have let go. */
struct exported {
    UT_hash_handle hh;                  /* in the owner's table, until it is dropped */
    uint32_t cell;
    unsigned leases;
    struct board *board;                /* a reference; of the owner */
    struct token *token;                /* NULL: dropped */
    bool abandoned;                     /* an opener is gone that had not closed it */
};

struct event_lease {
    UT_hash_handle hh;
    uint64_t key;                       /* slot << 32 | cell */
    unsigned count;                     /* times opened */
    struct exported *exported;
};

struct board_lease {
    UT_hash_handle hh;
    uint32_t slot;
    struct board *board;                /* a reference */
};

void event_export(struct session *session, uint32_t serial, const Xpurt__EventExport *request);
void event_open(struct session *session, uint32_t serial, const Xpurt__EventOpen *request);
void event_reclaim(struct session *session, uint32_t serial);
void event_sharers(struct session *session, uint32_t serial, const Xpurt__EventSharers *request);
void event_drop(struct session *session, const Xpurt__EventDrop *command);
void event_close(struct session *session, const Xpurt__EventClose *command);
void event_board_open(struct session *session, uint32_t serial, const Xpurt__BoardOpen *request);
void event_board_close(struct session *session, const Xpurt__BoardClose *command);

/* May @p session have stamps written to the board in @p slot? NULL: no. */
struct board *event_stamp_board(struct session *session, uint32_t slot);

/* The session is gone: its events are stale, what it opened is closed. */
void event_end(struct session *session);
