/* SPDX-License-Identifier: MIT */
/* client/companion.c: see companion.h.
 *
 * Guarantees of this file:
 *   - jobs of a stream are done in its order, one at a time, each after all that came before it on
 *     the stream, and later work of the stream runs after it; streams do not hold each other up;
 *   - a function is not run when its stream failed before it, nor after a reset or the daemon's
 *     death; a job always ends, so that nobody waits for it for ever;
 *   - a thread sleeps while it has no job, takes no signals that are meant for the process, and is
 *     never cancelled; a child of fork() has neither the threads nor the jobs.
 */
#include "client/companion.h"

#include "client/arena.h"
#include "client/generation.h"
#include "client/result.h"
#include "client/stream.h"
#include "client/table.h"
#include "client/wait.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct job {
    struct job *next;
    uint64_t after;                     /* the stream's point in front of it */
    uint64_t end;                       /* H's point that the stream waits for */
    xpurt_host_func function;           /* NULL: wait for a record */
    void *data;
    xpurt_event *event;                 /* pinned */
    uint32_t generation;
};

struct companion {
    pthread_cond_t changed;
    struct job *jobs, **jobs_tail;
    uint32_t stream;                    /* whose it is: a timeline */
    uint32_t device;
    uint64_t point;                     /* of H: the last one promised; 0: there is no H */
    bool placing;                       /* a thread makes H, or puts a job into the stream */
    bool released;                      /* no more jobs will come */
    _Atomic bool stopped;               /* nor are those left to be done */
};

static TABLE struct companion *companions[BOARD_TIMELINES]; /* by the stream's timeline */

/* ---- the thread --------------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    if (job->event)
        event_unpin(job->event);
    free(job);
}

static void companion_free(struct companion *companion)
{
    while (companion->jobs) {
        struct job *job = companion->jobs;

        companion->jobs = job->next;
        job_free(job);
    }
    pthread_cond_destroy(&companion->changed);
    free(companion);
}

/* Whether the stream has failed: nobody waits for the job any more. */
static bool stream_failed(const struct job *job)
{
    return atomic_load_explicit(&arena_timeline(job->after)->status, memory_order_acquire);
}

static void function_run(struct companion *companion, const struct job *job)
{
    xpurt_result r;

    do
        r = point_wait(job->after, true, WAIT_SLICE_NS);
    while (r == XPURT_TIMEOUT && !atomic_load(&companion->stopped));
    if (r)
        return;
    wait_hold(&job->after);
    job->function(job->data);
    wait_hold(NULL);
}

static xpurt_result generation_run(struct companion *companion, const struct job *job)
{
    struct generation_wait wait;
    xpurt_result r;

    generation_wait_begin(&wait, job->event, job->generation);
    do
        r = generation_step(&wait, WAIT_SLICE_NS);
    while (r == XPURT_NOT_READY && !atomic_load(&companion->stopped) && !stream_failed(job));
    return r;
}

/* The record is there: H waits for it, and the stream for H. */
static xpurt_result generation_pass_on(const struct job *job)
{
    uint64_t point =
        atomic_load_explicit(&event_place(job->event).cell->point, memory_order_acquire);

    if (point > job->after && (point ^ job->after) >> POINT_VALUE_BITS == 0)
        return XPURT_ERROR_INVALID_ARGUMENT; /* made by the stream itself, behind the wait */
    return point ? connection_wait(point_stream(job->end), point) : XPURT_SUCCESS;
}

/* Let the stream go on, or fail. The lock is held. */
static void job_end(const struct job *job, xpurt_result result)
{
    Xpurt__StreamFail fail = XPURT__STREAM_FAIL__INIT;

    if (connection_state() != CONNECTION_READY)
        return;
    if (job->event && result == XPURT_SUCCESS)
        result = generation_pass_on(job);
    if (result == XPURT_SUCCESS || result == XPURT_NOT_READY) {
        (void)connection_record(point_stream(job->end), point_value(job->end), 0);
    } else {
        fail.stream = point_stream(job->end);
        fail.code = (uint32_t)result;
        (void)connection_command(&(Xpurt__Command){ COMMAND(STREAM_FAIL), .stream_fail = &fail });
    }
    (void)connection_flush();           /* whoever has a batch open: the stream waits for this */
}

/* What is there to do now; NULL: leave. The lock is held, and free meanwhile. */
static struct job *job_await(struct companion *companion)
{
    for (;;) {
        bool stopped = atomic_load(&companion->stopped);

        if (companion->jobs && !stopped)
            return companion->jobs;
        if ((companion->released || stopped) && !companion->placing)
            return NULL;
        connection_await(&companion->changed);
    }
}

static void companion_leave(struct companion *companion)
{
    if (companion->point && connection_state() == CONNECTION_READY &&
        !atomic_load(&companion->stopped))
        timeline_close(companion->point, companion->device);
    companions[companion->stream] = NULL;
    companion_free(companion);
    connection_changed();
}

static void *companion_run(void *data)
{
    struct companion *companion = data;
    struct job *first;
    uint32_t epoch;

    connection_lock();
    epoch = session.epoch;
    while ((first = job_await(companion))) {
        struct job job = *first;
        xpurt_result r = XPURT_SUCCESS;

        connection_unlock();
        if (job.function)
            function_run(companion, &job);
        else
            r = generation_run(companion, &job);
        connection_lock();
        if (session.epoch != epoch) {   /* the function forked, this is the child: all is gone */
            connection_unlock();
            return NULL;
        }
        if (!atomic_load(&companion->stopped))
            job_end(&job, r);
        companion->jobs = first->next;
        if (!companion->jobs)
            companion->jobs_tail = &companion->jobs;
        job_free(first);
    }
    companion_leave(companion);
    connection_unlock();
    return NULL;
}

/* Signals of the process go to threads of the user; faults of a function are its own. */
static int thread_start(struct companion *companion)
{
    sigset_t blocked, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGTRAP);
    sigdelset(&blocked, SIGSYS);
    sigdelset(&blocked, SIGABRT);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    r = pthread_create(&thread, &attributes, companion_run, companion);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (r == 0)
        (void)pthread_setname_np(thread, "xpurt-host");
    return -r;
}

/* ---- the stream's side: the lock is held ---------------------------------------------------------- */

static int companion_new(xpurt_stream *stream, struct companion **ret_companion)
{
    struct companion *companion;
    int r;

    companion = calloc(1, sizeof(*companion));
    if (!companion)
        return -ENOMEM;
    companion->jobs_tail = &companion->jobs;
    companion->stream = stream_index(stream);
    companion->device = stream_device(stream);
    pthread_cond_init(&companion->changed, NULL);
    r = thread_start(companion);
    if (r < 0) {
        companion_free(companion);
        return r;
    }
    companions[companion->stream] = companion;
    *ret_companion = companion;
    return 0;
}

static void companion_give(struct companion *companion)
{
    companion->placing = false;
    pthread_cond_signal(&companion->changed);
    connection_changed();
}

static xpurt_result companion_make(xpurt_stream *stream, struct companion **ret_companion)
{
    struct companion *companion;
    uint64_t point = 0;
    xpurt_result r;
    int e;

    e = companion_new(stream, &companion);
    if (e < 0)
        return system_error("a thread for the stream cannot be made", e);
    companion->placing = true;
    r = timeline_open(companion->device, 0, false, &point);
    if (r == XPURT_SUCCESS)
        r = timeline_confirm(point, companion->device);
    if (r) {
        companion->released = true;
        companion_give(companion);
        return r;
    }
    companion->point = point;
    *ret_companion = companion;
    return XPURT_SUCCESS;
}

/* The stream's companion, made where there is none, for the caller alone: jobs are placed one at a
 * time, because the lock is not held all the while. */
static xpurt_result companion_take(xpurt_stream *stream, struct companion **ret_companion)
{
    struct companion *companion;

    while ((companion = companions[stream_index(stream)]) && companion->placing)
        connection_await_change();
    if (!companion)
        return companion_make(stream, ret_companion);
    companion->placing = true;
    *ret_companion = companion;
    return XPURT_SUCCESS;
}

/* Put the job into the stream: what is sent in front of it, and the wait behind which all else is. */
static xpurt_result job_place(xpurt_stream *stream, struct job *job)
{
    xpurt_result r = stream_running(stream); /* the lock was free */

    if (r)
        return r;
    connection_batch_begin();
    r = stream_cover(stream, &job->after);
    if (r == XPURT_SUCCESS)
        r = stream_wait(stream, job->end);
    (void)connection_batch_end();
    return r || connection_batching() ? r : connection_flush();
}

static xpurt_result job_new(xpurt_stream *stream, struct companion *companion,
                            const struct job *wanted)
{
    struct job *job = malloc(sizeof(*job));
    xpurt_result r;

    if (!job)
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for another job");
    *job = *wanted;
    job->next = NULL;
    job->end = companion->point + 1;
    r = job_place(stream, job);
    if (r) {
        free(job);
        return r;
    }
    companion->point = job->end;
    *companion->jobs_tail = job;
    companion->jobs_tail = &job->next;
    return XPURT_SUCCESS;
}

/* The lock is held, and free meanwhile. */
static xpurt_result job_submit(xpurt_stream *stream, const struct job *wanted)
{
    struct companion *companion = NULL;
    xpurt_result r;

    if (wanted->event)
        event_pin(wanted->event);
    r = companion_take(stream, &companion);
    if (r == XPURT_SUCCESS) {
        r = job_new(stream, companion, wanted);
        companion_give(companion);
    }
    if (r && wanted->event)
        event_unpin(wanted->event);
    return r;
}

bool companion_exists(uint32_t stream)
{
    return companions[stream];
}

void companion_release(uint32_t stream)
{
    struct companion *companion = companions[stream];

    if (!companion)
        return;
    companion->released = true;
    pthread_cond_signal(&companion->changed);
}

void companions_stop(void)
{
    for (uint32_t i = 0; i < BOARD_TIMELINES;) {
        struct companion *companion = companions[i++];

        if (!companion)
            continue;
        atomic_store(&companion->stopped, true);
        pthread_cond_signal(&companion->changed);
        connection_await_change();
        i = 0;                          /* a function that still ran may have made others */
    }
}

void companions_end(void)
{
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++) {
        struct companion *companion = companions[i];

        if (!companion)
            continue;
        companions[i] = NULL;
        for (struct job *job; (job = companion->jobs); free(job))
            companion->jobs = job->next; /* events_end() drops the pins */
        free(companion);
    }
    wait_hold(NULL);
}

/* ---- public ----------------------------------------------------------------------------------------- */

xpurt_result xpurt_launch_host_func(xpurt_stream *stream, xpurt_host_func function, void *data)
{
    xpurt_result r = stream_check(stream);

    if (r == XPURT_SUCCESS && !function)
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "the function is null");
    if (r == XPURT_SUCCESS)
        r = stream_enter_running(stream);
    if (r)
        return r;
    r = job_submit(stream, &(struct job){ .function = function, .data = data });
    session_leave();
    return r;
}

xpurt_result xpurt_stream_wait_generation(xpurt_stream *stream, xpurt_event *event,
                                          uint32_t generation)
{
    xpurt_result r = event_check(event);

    if (r == XPURT_SUCCESS)
        r = stream_enter_running(stream);
    if (r)
        return r;
    if (event_pending(event))           /* in a batch: it counts */
        r = connection_flush();
    if (r == XPURT_SUCCESS) {
        if (generation_there(event_place(event).cell, generation))
            r = stream_wait(stream, event_point(event));
        else
            r = job_submit(stream, &(struct job){ .event = event, .generation = generation });
    }
    session_leave();
    return r;
}
