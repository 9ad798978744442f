/* SPDX-License-Identifier: MIT */
/* daemon/bells.h: what the daemon sleeps on: the bells of rings, and all else that libuv's loop watches. */
#pragma once

#include "daemon/lookout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct bell {
    uv_poll_t poll;                               /* first; its `data` is the owner's */
    int fd;                                       /* an eventfd that does not block */
    void (*rung)(struct bell *bell, bool broken); /* broken: it tells nothing any more */
    _Atomic uint32_t *asleep; /* of its ring, see proto/ring.h; NULL: it has none */
    uint64_t enough;          /* after so many sleeps that it ended we sleep on its ring */
    bool edge;                /* the kernel tells of each ring once */
};

struct bells {
    uv_loop_t *loop;                    /* borrowed: outlives us */
    int fd;                             /* its epoll set */
    struct bell **by_fd;
    int size;                           /* of that */
    bool direct;                        /* we may look into the loop's epoll set ourselves */
    struct bell *favourite;             /* that was heard last; NULL: something else was */
    uint64_t times;                     /* so often in a row */
    bool watched;                       /* by the lookout */
    struct lookout lookout;             /* not started where `direct` is not */
};

/* Runs the loop. -errno. */
int bells_init(struct bells *bells, uv_loop_t *loop);

/* Every bell was closed. Safe on zeroes, too. */
void bells_deinit(struct bells *bells);

/* It is told when it was rung since it was told last, and may be told when it was not. -errno. */
int bells_add(struct bells *bells, struct bell *bell);

/* It is told nothing any more; its memory is in use until @p closed, which the loop calls. */
void bells_close(struct bells *bells, struct bell *bell, uv_close_cb closed);

/* Tell the bells that rang; where @p wait, sleep until one rings or the loop has something to do.
 * True: it has. The loop's clock may stand meanwhile: who starts a timer updates it before. */
bool bells_await(struct bells *bells, bool wait);
