/* SPDX-License-Identifier: MIT */
/* daemon/stream.h: an in-order queue of a session, its timeline, its markers.
 *
 * A record becomes a marker: a slot the GPU signals. Markers wait in a ring between two threads:
 *
 *      freed        done         head
 *        |  reached  |  running    |            loop:   pushes at head, reclaims freed..done
 *        v           v             v            reaper: publishes, then moves done
 *      [ m ][ m ][ m ][ m ][ m ][ ]
 */
#pragma once

#include "daemon/board.h"
#include "daemon/dependence.h"
#include "daemon/gpu.h"
#include "daemon/heap.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct graph;
struct launch;
struct runtime;
struct session;

#define STREAM_MARKERS 256              /* unfinished at a time; more waits in the daemon */

enum work_kind {
    WORK_RECORD,
    WORK_WAIT,
    WORK_COPY,
    WORK_FILL,
    WORK_COPY_ROWS,
    WORK_FILL_ROWS,
    WORK_LAUNCH,
    WORK_HOLD,
    WORK_DESTROY,
};

/* A checked command. It owns a reference to each resource in `holds`, and the launch, unless it was
 * captured: then that is the graph's, which holds[0] is. */
struct work {
    enum work_kind kind;
    bool captured;
    struct work *next;
    struct resource *holds[2];
    union {
        struct {
            uint64_t value;
            struct board *stamp_board;  /* also in holds[0]; NULL: no time stamp */
            uint32_t stamp_cell;
            struct gpu_slot *slot; /* also in holds[1]; of an external stream, which signals it */
        } record;
        struct {
            uint64_t point;
            struct gpu_slot *slot;      /* also in holds[0]; an external stream waits for it */
            bool promise;               /* and we signal it */
        } wait;
        struct {
            void *to;
            const void *from;
            uint64_t size;
        } copy;
        struct {
            void *to;
            uint64_t size;
            uint32_t pattern;
            uint32_t width;
        } fill;
        struct {
            struct gpu_rows to, from;
            uint32_t width, height;
        } copy_rows;
        struct {
            struct gpu_rows to;
            uint32_t pattern, pattern_width;
            uint32_t width, height;
        } fill_rows;
        struct launch *launch;
    };
};

/* A point the GPU made a stream wait for: whatever comes behind the wait is published after it, so
 * that nobody sees an effect before its cause. */
struct cause {
    struct board_timeline *timeline;    /* NULL: none; its board is held by the stream */
    uint64_t value;
};

static inline bool cause_seen(const struct cause *cause)
{
    return !cause->timeline || timeline_reached(cause->timeline, cause->value);
}

struct marker {
    struct gpu_slot *slot;         /* NULL: done with its cause */
    struct dependence *dependence; /* that of the cause, for the loop; NULL: none */
    struct gpu_slot *promise;      /* to be signalled when the cause is seen; held by the stream */
    struct cause cause;
    uint64_t value;                     /* to publish; 0: nothing, only gives back */
    uint64_t holds_end;                 /* what was held before this marker goes back with it */
    struct board *stamp_board;          /* NULL: no time stamp; else held by the stream */
    uint32_t stamp_cell;
};

/* Names the stream as one in whose order memory is freed; not 0. Another stream that gets the number
 * begins when the work of this one is done. */
#define stream_order(stream) (1 + point_pack((stream)->slot, (stream)->index, 0))

enum blocked {
    BLOCKED_NOT,
    BLOCKED_POINT,                      /* waits for a record that was not submitted yet */
    BLOCKED_FULL,                       /* too many unfinished markers */
};

struct stream {
    struct session *session;            /* borrowed: outlives us */
    struct runtime *runtime;            /* borrowed: outlives us */
    struct board_timeline *timeline;
    _Atomic uint32_t *mark;             /* of who sleeps on it */
    struct gpu_list *list;
    uint32_t slot;                      /* of the session's boards */
    uint32_t index;
    uint32_t device;
    uint64_t accepted;             /* value of the last Record received */
    uint64_t submitted;            /* value of the last one that is on the GPU or done */
    bool external;                 /* runs in the client's context: it puts on what we are told */
    unsigned waits;                /* external: since the last record; each holds a slot */
    bool work;                     /* commands on the GPU behind the last marker */
    struct cause cause;            /* a wait on the GPU behind the last marker */
    struct dependence *dependence; /* that of the cause */
    struct dependence *dependents; /* those on us */
    struct graph *capture;         /* borrowed: takes commands instead of running them */
    bool wake;                     /* published since the last wake */
    bool failed;                   /* later commands are dropped */
    bool closing;                  /* the client has destroyed it: no more commands */
    bool destroyed;                /* it got there: free it when it is drained */

    struct work *queue, **queue_tail;   /* commands that cannot go to the GPU yet */
    enum blocked blocked;
    struct session *blocked_session;    /* BLOCKED_POINT: whose waiters we are in; NULL: resumed */
    uint64_t blocked_point;
    struct heap_node waiter;

    struct resource **holds;            /* ring: what unfinished commands use */
    uint64_t holds_begin, holds_end, holds_size;
    uint64_t holds_covered;             /* external: by records */

    struct marker *markers;             /* ring; made at the first push */
    _Atomic uint64_t head;
    _Atomic uint64_t done;
    uint64_t freed;

    struct stream *prev_stream,
        *next_stream;                   /* all streams that exist, those of the dead included */
    struct stream *next_touched;
    struct stream *next_resumed;
    bool touched;
    bool resumed;

    /* Shared with the reaper, see reaper.c. */
    struct stream *next_watched;
    struct stream *next_noticed;
    _Atomic bool watched;
    _Atomic bool notify;                /* the loop wants to know when markers go on */
    _Atomic bool device_lost;           /* seen by the reaper */
    _Atomic uint64_t lost_from;         /* markers from here on are never published: the device went
                                           away under them, or under their cause */
    bool noticed;
    bool told_device;                   /* device_lost, as those who depend on us were told */
    uint64_t told_from;                 /* lost_from likewise: they have failed */
};

static inline struct marker *marker_at(struct stream *stream, uint64_t position)
{
    return &stream->markers[position % STREAM_MARKERS];
}

#define MARKER_NONE UINT64_MAX

/* Markers from @p position on are lost. Loop and reaper; the lowest counts. */
static inline void marker_lose(struct stream *stream, uint64_t position)
{
    uint64_t from = atomic_load(&stream->lost_from);

    while (position < from && !atomic_compare_exchange_weak(&stream->lost_from, &from, position))
        ;
}

static inline bool stream_lost(const struct stream *stream)
{
    return atomic_load(&stream->lost_from) != MARKER_NONE;
}

/* A stream without a queue on the GPU yet; the timeline of @p index is FREE. NULL: no memory. */
struct stream *stream_new(struct session *session, uint32_t index, uint32_t device, bool external);

/* Give it its queue. Where that fails the stream exists all the same, failed, so that those who wait
 * for its records are told. */
void stream_start(struct stream *stream, int priority);

/* Run or queue @p work; what it holds belongs to the stream from now on. */
void stream_submit(struct stream *stream, const struct work *work);

/* Keep @p resource until what the stream was given so far is done. */
void stream_hold(struct stream *stream, struct resource *resource);

/* Give back what finished commands held, without waiting for the reaper to say so. */
void stream_reclaim(struct stream *stream);

/* Let go of what @p work holds without running it. */
void work_drop(struct work *work);

/* What a command that is kept is charged: more for a launch with many arguments. */
uint64_t work_weight(const struct work *work);

/* The stream is broken: status on the timeline, an Error to the client, queued commands dropped. */
void stream_fail(struct stream *stream, xpurt_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* The session is gone: drop what is queued, free the stream once the GPU is done with it. Careful:
 * *stream may be gone afterwards. */
void stream_close(struct stream *stream);

/* Somebody watches a point of the stream: the loop must see each of its markers go on. */
void stream_watched(struct stream *stream);

/* The reaper saw markers go on. Careful: *stream may be gone afterwards. */
void stream_noticed(struct stream *stream);

/* The session is gone: streams that wait for its records go on, and find that out. */
void stream_waiters_release(struct session *session);

/* Those with uncovered work take part in the next runtime_settle(). */
void streams_touch(struct runtime *runtime);

/* Parts of runtime_settle(). */
void stream_resume(struct stream *stream); /* put it on the list of those to run on */
void stream_run(struct stream *stream);    /* run what is queued */
void stream_finish(struct stream *stream); /* fence and wake; careful: may free it */
