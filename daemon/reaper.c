/* SPDX-License-Identifier: MIT */
/* daemon/reaper.c: seeing markers complete.
 *
 * Guarantees of this file:
 *   - a marker that is done is published: stamp, then `completed`, then `done`, then one wake; and
 *     not before the points its stream waited for, though it may be looked at before those;
 *   - the thread appends nothing and frees nothing; it sleeps while no marker is unfinished;
 *   - after reaper_knows() said no, the thread does not touch the stream until it is watched again.
 *
 * Watching without a lock on the fast path: the loop stores `head`, then loads `watched`; the
 * reaper stores `watched`, then loads `head`; both sequentially consistent, so that one of them
 * sees the other and no marker is left unwatched.
 */
#include "daemon/reaper.h"
#include "daemon/stream.h"
#include "proto/hot.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define SPIN_NS 15000                   /* poll without sleeping that long after progress */
#define SLEEP_MIN_NS 10000
#define SLEEP_MAX_NS 250000
#define AWAIT_NS 100000                 /* the same where the driver wakes us when it is done */
#define TRIAL_NS 3000000                /* enough to tell whether it spins */

struct reaper {
    uv_async_t async;                   /* first: freeing it frees all */
    pthread_t thread;
    void (*noticed)(struct stream *stream);
    struct stream *streams;             /* watched; the thread's own */
    uint64_t await_cpu, await_wall;     /* ns spent waiting in the driver: likewise */
    _Atomic uint64_t publications;      /* counted before they can be seen */

    pthread_mutex_t lock;               /* for all below */
    pthread_cond_t wake;
    struct stream *arrived;             /* to be watched */
    struct stream *notices;
    bool stop;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Publish the markers that are done; true if there were any. */
static bool stream_reap(struct reaper *reaper, struct stream *stream)
{
    uint64_t head = atomic_load_explicit(&stream->head, memory_order_acquire);
    uint64_t done = atomic_load_explicit(&stream->done, memory_order_relaxed);
    uint64_t first = done, value = 0;

    for (; done < head; done++) {
        struct marker *marker = &stream->markers[done % STREAM_MARKERS];
        xpurt_result result = marker->slot ? gpu_slot_done(marker->slot) : XPURT_SUCCESS;

        if (result == XPURT_NOT_READY)
            break;
        if (result != XPURT_SUCCESS) {
            atomic_store(&stream->device_lost, true);
            marker_lose(stream, done);
        }
        /* The loop says so before it lets the GPU go on: look after the slot, not before. */
        if (done >= atomic_load(&stream->lost_from))
            continue;
        if (!cause_seen(&marker->cause))
            break;
        if (marker->promise)
            gpu_slot_release(marker->promise);
        if (marker->stamp_board)
            board_stamp(marker->stamp_board, marker->stamp_cell,
                        point_pack(stream->slot, stream->index, marker->value),
                        gpu_slot_nanoseconds(marker->slot, stream->list));
        if (marker->value)
            value = marker->value;
    }
    if (done == first)
        return false;

    atomic_fetch_add_explicit(&reaper->publications, 1, memory_order_release);
    if (value)
        timeline_publish(stream->timeline, value);
    atomic_store(&stream->done, done);
    if (value)
        (void)timeline_wake(stream->timeline, stream->mark);
    return true;
}

/* Under the lock: stop watching a stream without unfinished markers. */
static bool stream_let_go(struct stream *stream)
{
    if (atomic_load(&stream->head) != atomic_load(&stream->done))
        return false;
    atomic_store(&stream->watched, false);
    if (atomic_load(&stream->head) == atomic_load(&stream->done))
        return true;
    atomic_store(&stream->watched, true);
    return false;
}

/* One look at every stream; true if any marker was done. */
static bool reaper_pass(struct reaper *reaper)
{
    bool progress = false, notices = false;

    for (struct stream **link = &reaper->streams, *stream; (stream = *link);) {
        if (!stream_reap(reaper, stream)) {
            link = &stream->next_watched;
            continue;
        }
        progress = true;

        /* Careful: once it is let go and the lock is open, *stream may be gone. */
        pthread_mutex_lock(&reaper->lock);
        if ((atomic_load(&stream->notify) || stream_lost(stream)) && !stream->noticed) {
            stream->noticed = true;
            stream->next_noticed = reaper->notices;
            reaper->notices = stream;
            notices = true;
        }
        if (stream_let_go(stream))
            *link = stream->next_watched;
        else
            link = &stream->next_watched;
        pthread_mutex_unlock(&reaper->lock);
    }
    if (notices)
        uv_async_send(&reaper->async);
    return progress;
}

/* Take in new streams; with none at all, sleep until there are. False: stop. */
static bool reaper_collect(struct reaper *reaper)
{
    bool stop;

    pthread_mutex_lock(&reaper->lock);
    while (!reaper->stop && !reaper->arrived && !reaper->streams)
        pthread_cond_wait(&reaper->wake, &reaper->lock);
    while (reaper->arrived) {
        struct stream *stream = reaper->arrived;

        reaper->arrived = stream->next_watched;
        stream->next_watched = reaper->streams;
        reaper->streams = stream;
    }
    stop = reaper->stop;
    pthread_mutex_unlock(&reaper->lock);
    return !stop;
}

/* Where one stream is all there is to watch, its driver can wake us. Some drivers spin meanwhile:
 * those are found out in a few milliseconds. False: it did not, or must not be asked. */
static bool reaper_await(struct reaper *reaper, uint64_t sleep_ns)
{
    struct stream *stream = reaper->streams;
    struct gpu_slot *slot;
    uint64_t cpu, wall;

    if (stream->next_watched ||
        (reaper->await_wall > TRIAL_NS && reaper->await_cpu > reaper->await_wall / 2))
        return false;
    slot = stream->markers[atomic_load(&stream->done) % STREAM_MARKERS].slot;
    if (!slot || gpu_slot_done(slot) != XPURT_NOT_READY)
        return false;                   /* what is not there yet is its cause */

    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    wall = now_ns();
    gpu_slot_await(slot, sleep_ns > AWAIT_NS ? sleep_ns : AWAIT_NS);
    reaper->await_cpu += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    reaper->await_wall += now_ns() - wall;
    return true;
}

/* The longer nothing happened, the longer the sleep: it adds 3 % at most to what is waited for. */
static void reaper_pause(struct reaper *reaper, uint64_t idle_ns)
{
    struct timespec sleep = { .tv_nsec = (long)(idle_ns / 32) };

    if (idle_ns < SPIN_NS) {
        for (int i = 0; i < 16; i++)
            __builtin_ia32_pause();
        return;
    }
    if (sleep.tv_nsec < SLEEP_MIN_NS)
        sleep.tv_nsec = SLEEP_MIN_NS;
    if (sleep.tv_nsec > SLEEP_MAX_NS)
        sleep.tv_nsec = SLEEP_MAX_NS;
    if (!reaper_await(reaper, (uint64_t)sleep.tv_nsec))
        nanosleep(&sleep, NULL);
}

static void *reaper_run(void *data)
{
    struct reaper *reaper = data;
    uint64_t last = 0;
    bool busy = false;

    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    while (reaper_collect(reaper)) {
        uint64_t now = now_ns();

        if (!busy)
            last = now;
        if (reaper_pass(reaper))
            last = now;
        else if (reaper->streams)
            reaper_pause(reaper, now - last);
        busy = reaper->streams != NULL;
    }
    return NULL;
}

/* On the loop thread. */
static void reaper_on_async(uv_async_t *async)
{
    struct reaper *reaper = async->data;

    for (;;) {
        struct stream *stream;

        pthread_mutex_lock(&reaper->lock);
        stream = reaper->notices;
        if (stream) {
            reaper->notices = stream->next_noticed;
            stream->noticed = false;
        }
        pthread_mutex_unlock(&reaper->lock);
        if (!stream)
            return;
        reaper->noticed(stream);
    }
}

HOT void reaper_observe(struct reaper *reaper)
{
    (void)atomic_load_explicit(&reaper->publications, memory_order_acquire);
}

void reaper_watch(struct reaper *reaper, struct stream *stream)
{
    if (atomic_load(&stream->watched))
        return;

    pthread_mutex_lock(&reaper->lock);
    /* Or the thread saw the new markers just now and let go: nothing would make it do so again. */
    if (!atomic_load(&stream->watched) &&
        atomic_load(&stream->head) != atomic_load(&stream->done)) {
        atomic_store(&stream->watched, true);
        stream->next_watched = reaper->arrived;
        reaper->arrived = stream;
        pthread_cond_signal(&reaper->wake);
    }
    pthread_mutex_unlock(&reaper->lock);
}

bool reaper_knows(struct reaper *reaper, struct stream *stream)
{
    bool known;

    pthread_mutex_lock(&reaper->lock);
    known = atomic_load(&stream->watched) || stream->noticed;
    pthread_mutex_unlock(&reaper->lock);
    return known;
}

int reaper_new(uv_loop_t *loop, void (*noticed)(struct stream *stream), struct reaper **ret_reaper)
{
    struct reaper *reaper;
    int r;

    reaper = calloc(1, sizeof(*reaper));
    if (!reaper)
        return -ENOMEM;
    reaper->noticed = noticed;
    pthread_mutex_init(&reaper->lock, NULL);
    pthread_cond_init(&reaper->wake, NULL);

    r = uv_async_init(loop, &reaper->async, reaper_on_async);
    if (r < 0) {
        free(reaper);
        return r;
    }
    reaper->async.data = reaper;

    r = -pthread_create(&reaper->thread, NULL, reaper_run, reaper);
    if (r < 0) {
        /* The handle is in the loop already: it goes when the loop is run again. */
        uv_close((uv_handle_t *)&reaper->async, (uv_close_cb)free);
        return r;
    }
    *ret_reaper = reaper;
    return 0;
}

void reaper_stop(struct reaper *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    reaper->stop = true;
    pthread_cond_signal(&reaper->wake);
    pthread_mutex_unlock(&reaper->lock);
    pthread_join(reaper->thread, NULL);
    uv_close((uv_handle_t *)&reaper->async, NULL);
}

void reaper_free(struct reaper *reaper)
{
    if (!reaper)
        return;
    pthread_cond_destroy(&reaper->wake);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
}
