/* SPDX-License-Identifier: MIT */
/* daemon/session.h: one client: its objects, its limits, its boards. */
#pragma once

#include "daemon/broker.h"
#include "daemon/connection.h"
#include "daemon/event.h"
#include "daemon/graph.h"
#include "daemon/heap.h"
#include "daemon/magazine.h"
#include "daemon/memory.h"
#include "daemon/module.h"
#include "daemon/native.h"
#include "daemon/runtime.h"
#include "daemon/segment.h"
#include "daemon/stream.h"
#include "proto/xpurt.pb-c.h"

#include <stdarg.h>

enum session_state {
    SESSION_NEW,                        /* connected, Hello not seen */
    SESSION_READY,
    SESSION_DEAD,                       /* hung up; streams drain */
};

/* What there is of one of the session's timelines. Side by side, so that a session pays for those it
 * uses. */
struct place {
    struct stream *stream;
    struct heap_node *waiters;          /* streams that wait for its records, by value */
    struct heap_node *watches;          /* of its points, by value */
};

struct session {
    struct connection connection;       /* first: see session_of() */
    struct runtime *runtime;            /* borrowed: outlives us */
    enum session_state state;
    bool detached;                      /* the connection is closed, memory may go */
    bool charged;                       /* CHARGE_SESSIONS, until the board takes it over */
    uint64_t ring_bytes;                /* charged */
    struct user *user;
    pid_t pid;
    char name[64];

    struct board *board;                /* SESSION_READY and later */
    struct place *places;               /* BOARD_TIMELINES of them, likewise */
    unsigned n_streams;                 /* draining ones included */
    unsigned n_full;                    /* streams that are BLOCKED_FULL: we read no more */
    uint64_t n_queued;                  /* commands that wait in streams */
    uint64_t n_unfinished;              /* what commands on the GPU hold, over all streams */
    bool behind;                        /* too much of that: we read no more */
    struct session *prev_behind, *next_behind;
    bool woke;                          /* somebody slept until its last commands were done */

    unsigned n_requests;                /* under way in libuv's pool */
    unsigned n_trims;                   /* of them: MemoryTrim */
    struct memory_lease *memory;        /* hash by base address */
    struct account *account;            /* a reference; made by the first allocation */
    struct magazine *magazine;          /* NULL until asked for */
    uint64_t position;                  /* bytes of the frames whose commands have been run */
    struct segment *segments;           /* hash by id */
    uint32_t last_segment;
    struct module_lease *modules;       /* hash by id */
    uint32_t last_module;
    struct graph *graphs;               /* hash by id */
    unsigned spent;                     /* what commands cost that cost more than others */
    struct frame_fds *fds;              /* borrowed: that came with the request at hand */
    struct exported *exported;          /* own events others may open: hash by cell */
    uint32_t *reclaimed;                /* cells whose last opener is gone */
    size_t n_reclaimed;
    struct event_lease *events;         /* others' events opened: hash by (slot, cell) */
    struct board_lease *boards;         /* others' progress boards mapped: hash by slot */
    struct watch *watching;             /* those that this client asked for */

    struct native *native;              /* the own native board, when it works with one */
    struct native_lease *natives;       /* others' native boards opened: hash by slot */

    void (*gone)(struct session *session); /* the last thing that happens to it */
    void *owner;                           /* borrowed: of `gone` */
};

static inline struct session *session_of(struct connection *connection)
{
    return (struct session *)connection;
}

/* Hello was fine: make the boards. The session itself was charged when it connected. */
xpurt_result session_start(struct session *session, const char *name);

/* The client asks for rings. */
void session_open_rings(struct session *session, uint32_t serial, const Xpurt__RingOpen *open);

/* The client is gone: orphan what others see, give back what nobody uses, drain the rest. */
void session_end(struct session *session);

/* The connection is closed, or a stream is freed: let the memory go if that was the last. Careful:
 * *session may be gone afterwards. */
void session_settle(struct session *session);

/* Commands were put on the GPU, or are done: stop or go on reading, others of the user too. */
void session_balance(struct session *session);

/* A stream is (un)blocked because of too many markers: stop or go on reading. */
void session_full(struct session *session, bool full);

/* Answer a request. Fills in the serial. */
void session_reply(struct session *session, uint32_t serial, Xpurt__ToClient *reply, const int *fds,
                   unsigned n_fds);

/* Say what went wrong: the answer to a request, or (serial 0) an asynchronous error, dropped when
 * the client does not read. @p stream: 1 + the stream that failed, 0: none. */
void session_error(struct session *session, uint32_t serial, uint32_t stream, xpurt_result result,
                   const char *format, ...) __attribute__((format(printf, 5, 6), cold));
void session_verror(struct session *session, uint32_t serial, uint32_t stream, xpurt_result result,
                    const char *format, va_list args);

/* false: not charged, and the client was told which limit it was. */
bool session_charge(struct session *session, uint32_t serial, enum charge charge, uint64_t amount);
