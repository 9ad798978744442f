/* SPDX-License-Identifier: MIT */
/* daemon/runtime.h: what all sessions share below the sockets. Loop thread only. */
#pragma once

#include "daemon/board.h"
#include "daemon/broker.h"
#include "daemon/cache.h"
#include "daemon/gpu.h"
#include "daemon/reaper.h"
#include "daemon/stock.h"
#include "daemon/user.h"

struct stream;

struct counters {
    uint64_t sessions;                  /* alive */
    uint64_t streams;                   /* alive or draining */
    uint64_t frames;                    /* since the start, like all below */
    uint64_t commands;
    uint64_t records;
    uint64_t markers;                   /* appended to GPU lists */
    uint64_t wakes;                     /* by the loop thread */
    uint64_t builds;                    /* workers started */
    uint64_t refused;                   /* clients closed for breaking the protocol */
    uint64_t driver_allocations;        /* segments taken from the driver */
    uint64_t driver_frees;              /* and given back */
    uint64_t scrubbed_bytes;            /* filled with zeros before that */
};

struct runtime {
    struct gpu *gpu;                    /* borrowed: outlives us */
    const struct limits *limits;        /* borrowed: the configuration */
    uv_loop_t *loop;                    /* borrowed: outlives us */
    struct user *users;
    struct board_table boards;
    struct broker broker;
    struct reaper *reaper;
    struct stream *streams;             /* all that exist */
    bool natives_dirty;                 /* native_settle() has something to do */
    _Atomic bool ending;                /* the process is about to leave; read in libuv's pool */
    struct cache_waiter *waiters;       /* for memory that goes back to the driver */
    uint64_t evictions;                 /* of segments that do, so far */
    uv_timer_t retry;                   /* active: a marker could not be put on a stream */
    struct stream *touched;             /* got commands since runtime_settle(): fence and wake */
    struct stream *resumed;             /* what they were blocked on is over: run on */
    struct stock spare_dependences, spare_launches, spare_works;
    struct counters counters;
};

int runtime_init(struct runtime *runtime, struct gpu *gpu, const struct limits *limits,
                 uv_loop_t *loop);
void runtime_close(struct runtime *runtime); /* all sessions are gone; the loop goes on a little */
void runtime_deinit(struct runtime *runtime);

/* Finish streams with uncovered work again, later: there was no memory for a marker. */
void runtime_retry(struct runtime *runtime);

/* To be called when the commands at hand were submitted: runs streams that can go on, puts a
 * marker behind uncovered work, wakes waiters once. Afterwards every stream's last command on the
 * GPU is a marker, so that everything it holds is given back without another call. */
void runtime_settle(struct runtime *runtime);
