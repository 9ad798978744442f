/* SPDX-License-Identifier: MIT */
/* daemon/board.h: the pair of boards of one session, from the daemon's side. */
#pragma once

#include "proto/board.h"
#include "daemon/resource.h"

#include <sys/types.h>

struct session;
struct user;

/* Every slot a point can name. Freed slots are reused oldest first. */
struct board_table {
    struct board *boards[BOARD_SLOTS];
    uint64_t base[BOARD_SLOTS];         /* values <= base were used by earlier sessions */
    bool lost[BOARD_SLOTS];             /* the slot's last session left values that never came */
    uint16_t free[BOARD_SLOTS];         /* a ring of free slots */
    uint32_t free_head;
    uint32_t n_free;
    uint8_t instance[16];
};

struct board {
    struct resource resource;           /* owner, importers, and stamps under way refer to it */
    struct board_table *table;          /* borrowed: outlives us */
    struct user *user;
    struct session *session;            /* NULL once the session is gone */
    uint32_t slot;
    uint64_t last;                      /* the highest value accepted on any timeline */
    uint32_t n_timelines;               /* those from here on had no stream: no page is touched */
    bool charged;                       /* CHARGE_SESSIONS: who pins a slot pays for it */
    struct board_progress *progress;
    struct board_marks *marks;          /* on the event board: what is read there is a hint */
    int progress_fd;                    /* sealed: nobody can map it writable any more */
    int events_fd;
};

void board_table_init(struct board_table *table, const uint8_t instance[16]);

/* A board for @p session: -ENFILE when all slots are in use, or another -errno. */
int board_new(struct board_table *table, struct session *session, struct user *user, pid_t pid,
              struct board **ret_board);

/* A memory file of @p size bytes, for a board, its first @p part bytes mapped. Then it is sealed: nobody
 * can change its size any more, nor what @p seals are against. 0 or -errno. */
int board_file(const char *name, size_t size, size_t part, unsigned seals, int *ret_fd,
               void **ret_map);

/* The header of another board of the session that has @p board. */
void board_header_fill(struct board_header *header, const struct board *board, pid_t pid);

/* The owner is gone: every timeline that is not done reads PEER_LOST, every waiter wakes. */
void board_orphan(struct board *board);

/* Clients that wait may want to know where the daemon runs. */
void board_say_where(struct board *board);

/* Store a value reached; waiters sleep on until timeline_wake(), which looks at their mark. Whether there
 * were any. */
void timeline_publish(struct board_timeline *timeline, uint64_t value);
bool timeline_wake(struct board_timeline *timeline, _Atomic uint32_t *mark);

/* Later values never come: the first reason stays. Wakes. */
void timeline_fail(struct board_timeline *timeline, _Atomic uint32_t *mark, uint32_t status);

/* When a timing event was reached. */
void board_stamp(struct board *board, uint32_t cell, uint64_t point, uint64_t nanoseconds);
