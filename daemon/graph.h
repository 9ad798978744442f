/* SPDX-License-Identifier: MIT */
/* daemon/graph.h: commands of a stream, captured once, to be run often.
 *
 *      GraphBegin        commands of the stream         GraphEnd        GraphLaunch ...
 *     ------------> checked as ever, not run but kept ----------> each time: as if they had come
 *
 * A captured graph never changes: replacing memory makes another one that takes its number, and what
 * was launched before goes on with the old one.
 */
#pragma once

#include "daemon/hash.h"
#include "daemon/resource.h"
#include "proto/command.h"
#include "proto/xpurt.pb-c.h"

#include <stdbool.h>
#include <xpurt/base.h>

struct session;
struct stream;
struct user;
struct work;

/* References: one of the session's, one for each command that was launched and is not done. */
struct graph {
    struct resource resource;
    UT_hash_handle hh;                  /* in its session's graphs */
    uint32_t id;
    uint32_t device;                    /* of the stream it was captured on, hence for kernels */
    struct user *user;                  /* borrowed: what is charged */
    bool capturing;
    uint64_t charged;                   /* for itself and its commands */
    xpurt_result spoiled;               /* why it could not take a command */
    uint32_t n_records;
    uint32_t n, size;
    struct work *commands;              /* each owns what it holds */
};

void graph_begin(struct session *session, struct stream *stream, uint32_t id);

/* A checked command of the stream that is captured: owned from now on. */
void graph_take(struct graph *graph, const struct work *work);

void graph_end(struct session *session, struct stream *stream, uint32_t serial);
void graph_launch(struct session *session, struct stream *stream, const Xpurt__GraphLaunch *launch);
void graph_replace(struct session *session, uint32_t serial, const Xpurt__GraphReplace *message);
void graph_destroy(struct session *session, uint32_t id);

/* The stream is destroyed: what was captured so far is of no use. */
void graph_abandon(struct session *session, struct stream *stream);

/* The session is gone. */
void graphs_end(struct session *session);
