/* SPDX-License-Identifier: MIT */
/* daemon/rota.h: the daemon's rounds, and whose turn it is.
 *
 * Members have work at hand, or a ring that may get some at any moment. In each round every member
 * has one turn, which the member keeps short; bells and libuv's loop, sockets that is, are looked at
 * in between. A member that only waits is watched for a bounded time, then put to sleep: a daemon
 * without members sleeps too.
 */
#pragma once

#include "daemon/bells.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum turn {
    TURN_OVER,                          /* nothing to do any more: no member from now on */
    TURN_WORKED,
    TURN_QUIET,                         /* nothing now, but a ring is worth watching */
};

struct rota_member {
    struct rota_member *prev, *next;
    enum turn (*turn)(struct rota_member *member);
    bool (*sleep)(struct rota_member *member); /* after a turn; false: there is work, or soon */
    uint32_t (*cpu)(const struct rota_member *member); /* 1 + where it works; 0: not said */
    bool listed;
    uint32_t round;                     /* of the last turn */
    uint64_t quiet_ns;                  /* since when it waits; 0: it does not */
    uint32_t in_vain;                   /* grows with each watch that was, up to a bound */
    uint32_t brief;                     /* so many of the next watches are */
    uint64_t left;                      /* when it was put to sleep, in ticks; 0: it was not */
    bool watched;                       /* before that; if not: */
    uint32_t rash;                      /* grows with each time that was a mistake, up to a bound */
    uint32_t stay;                      /* so many of the next times it is watched instead */
    uint32_t missed;                    /* so often in a row it was watched for too short a time */
};

struct rota {
    struct bells bells;
    struct rota_member *members;
    uint32_t round;
    const uint64_t *spin_us;            /* borrowed: the most that a member is watched for */
    uint64_t soon;                      /* in ticks: who is back by then should have been watched */
    uint64_t quiet_round_ns;            /* when the last round was in which nobody had work */
    uint64_t busy_until_ns;             /* others want this CPU: all watches are brief */
    bool yield;                         /* somebody needs this CPU now: after this round */
    unsigned ways;                      /* that was so often of late, last: */
    uint64_t way_ns;
    uint64_t moved_ns;                  /* when we went to another CPU last */
};

/* Runs the loop. -errno. */
int rota_init(struct rota *rota, uv_loop_t *loop, const uint64_t *spin_us);

/* Safe on zeroes, too. */
void rota_deinit(struct rota *rota);

/* One round; where @p wait, and nobody has anything to do, when there is something. False: there are
 * neither members nor handles of libuv any more. */
bool rota_round(struct rota *rota, bool wait);

void rota_add(struct rota *rota, struct rota_member *member);
void rota_remove(struct rota *rota, struct rota_member *member);

/* Who was no member has had a turn outside of the rounds, which ended like this. */
void rota_took_turn(struct rota *rota, struct rota_member *member, enum turn turn);

/* Whether it needs this very CPU to bring work. */
bool rota_near(const struct rota_member *member);

/* Whether it has more than one member. */
bool rota_shared(const struct rota *rota);

/* Something else took time in this round. */
void rota_worked(struct rota *rota);
