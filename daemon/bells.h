/* SPDX-License-Identifier: MIT */
/* daemon/bells.h: what the daemon sleeps on: the bells of rings, and libuv's loop. */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct bell {
    int fd;                             /* an eventfd that does not block */
    void (*rung)(struct bell *bell);
};

struct bells {
    uv_loop_t *loop;                    /* borrowed: outlives us */
    int fd;                             /* an epoll set; -1: not open */
    struct epoll_event *heard;          /* while bells are told that they rang */
    int n_heard;
};

#define BELLS_NULL { .fd = -1 }

/* Nothing may have run on the loop yet. -errno. */
int bells_init(struct bells *bells, uv_loop_t *loop);

/* Safe on BELLS_NULL, too. */
void bells_deinit(struct bells *bells);

/* Each time that it rings, it is told so: once, whether it was read since or not. -errno. */
int bells_add(struct bells *bells, struct bell *bell);

/* It is told nothing any more. */
void bells_remove(struct bells *bells, const struct bell *bell);

/* Tell the bells that rang; where @p wait, sleep until one rings or the loop has something to do.
 * True: it has. */
bool bells_await(struct bells *bells, bool wait);
