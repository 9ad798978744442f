/* SPDX-License-Identifier: MIT */
/* client/direct.c: see direct.h.
 *
 * Guarantees of this file:
 *   - nothing is copied before all is done that the stream was given, waits included, when the call
 *     was made; when the call returns, all is copied and no thread of ours is left;
 *   - the wait for that is that of a synchronisation: it ends with an error when the stream fails, a
 *     peer or the daemon is gone;
 *   - memory is not freed under a copy: who frees it waits until that is over.
 *
 * Of a large copy, staging too can send no more than the half to a busy stream before it has to wait. So
 * waiting for the stream costs little, and moving each byte once gains much. Where staging would not wait
 * at all, a busy stream is left to it.
 */
#include "client/direct.h"

#include "client/address.h"
#include "client/device.h"
#include "client/mapping.h"
#include "client/staging.h"
#include "client/stream.h"
#include "copy/stream_copy.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#define DIRECT_MIN STREAM_COPY_MIN      /* below, asking for a mapping takes longer than the copy */
#define PIECE ((size_t)512 << 10)       /* that a thread takes: who is slow takes fewer */
#define THREADS_MAX 4u                  /* more do not bring more memory bandwidth */

/* ---- many threads copy --------------------------------------------------------------------------------- */

struct job {
    struct mapping *mapping;
    uint64_t address;
    char *host;
    size_t size;
    bool download;
    _Atomic size_t taken;
};

static void *job_work(void *data)
{
    struct job *job = data;
    size_t at;

    while ((at = atomic_fetch_add_explicit(&job->taken, PIECE, memory_order_relaxed)) < job->size) {
        size_t size = job->size - at < PIECE ? job->size - at : PIECE;
        void *there = mapping_at(job->mapping, job->address + at, size);

        if (job->download)
            stream_copy(job->host + at, there, size);
        else
            stream_copy(there, job->host + at, size);
    }
    return NULL;
}

static unsigned cpus(void)
{
    cpu_set_t set;
    long online;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    online = sysconf(_SC_NPROCESSORS_ONLN); /* more than the set has room for */
    return online > 0 ? (unsigned)online : 1;
}

/* Signals are for the threads of the caller. But what a thread does to itself must stay open: the caller
 * may handle faults on his memory. */
static void signals_block(sigset_t *ret_former)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
    sigset_t set;

    sigfillset(&set);
    for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(&set, own[i]);
    pthread_sigmask(SIG_BLOCK, &set, ret_former);
}

/* With as many threads as there are CPUs, or as can be had. */
static void job_run(struct job *job)
{
    size_t pieces = (job->size + PIECE - 1) / PIECE;
    unsigned wanted = cpus(), n = 0;
    pthread_t threads[THREADS_MAX];
    sigset_t former;
    int cancel;

    /* They work on our stack: no cancellation may take us away from them. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    signals_block(&former);
    while (n + 1 < wanted && n + 1 < pieces && n + 1 < THREADS_MAX &&
           pthread_create(&threads[n], NULL, job_work, job) == 0)
        n++;
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    job_work(job);
    while (n)
        pthread_join(threads[--n], NULL);
    pthread_setcancelstate(cancel, &cancel);
}

/* ---- in stream order -------------------------------------------------------------------------------- */

/* Live device memory with all of these bytes; NULL: it is none. */
static struct range *range_around(uint64_t address, size_t size)
{
    struct range *range = ranges_find(&addresses, address);

    return range && range->kind == RANGE_DEVICE && address - range->start <= range->size &&
                   size <= range->size - (address - range->start) ?
               range :
               NULL;
}

bool direct_possible(xpurt_stream *stream, uint64_t address, size_t size)
{
    const struct range *range;

    if (size < DIRECT_MIN || stream_native(stream))
        return false;
    range = range_around(address, size);
    return range && device_shares_memory(range->device) && mapping_possible(address);
}

/* The mapping, for a copy under way. NULL: there is none. */
static struct mapping *copy_begin(uint64_t address, size_t size)
{
    struct mapping *mapping = range_around(address, size) ? mapping_take(address) : NULL;
    struct range *range = mapping ? range_around(address, size) : NULL;

    if (range) {                        /* still: the lock was free */
        range->copies++;
        return mapping;
    }
    if (mapping)
        mapping_give(mapping);
    return NULL;
}

static void copy_end(struct mapping *mapping, uint64_t address, uint32_t epoch)
{
    struct range *range;

    connection_lock();
    range = ranges_find(&addresses, address);
    if (range && session.epoch == epoch)
        range->copies--;
    mapping_give(mapping);
    connection_changed();
    connection_unlock();
}

/* Wait until the stream is there, and begin. */
static xpurt_result copy_enter(xpurt_stream *stream, uint64_t address, size_t size,
                               struct mapping **ret_mapping, uint32_t *ret_epoch)
{
    xpurt_result r = xpurt_stream_synchronize(stream);

    if (r)
        return r;
    (void)connection_alive();           /* an idle stream does not tell */
    r = session_enter();
    if (r)
        return r;
    *ret_mapping = copy_begin(address, size);
    *ret_epoch = session.epoch;
    session_leave();
    return XPURT_SUCCESS;
}

/* Whether staging the upload would let the caller go on at once, and waiting for the stream would not. */
static xpurt_result better_staged(xpurt_stream *stream, size_t size, bool *ret_better)
{
    xpurt_result r;

    *ret_better = false;
    if (!staging_holds(size))
        return XPURT_SUCCESS;
    r = xpurt_stream_query(stream);
    *ret_better = r == XPURT_NOT_READY;
    return *ret_better ? XPURT_SUCCESS : r;
}

static xpurt_result direct_copy(xpurt_stream *stream, struct job *job, bool *ret_done)
{
    uint32_t epoch = 0;
    xpurt_result r;

    r = copy_enter(stream, job->address, job->size, &job->mapping, &epoch);
    if (r || !job->mapping)
        return r;
    r = mapping_access(job->mapping, true, job->download);
    if (r == XPURT_SUCCESS) {
        job_run(job);
        r = mapping_access(job->mapping, false, job->download);
    }
    copy_end(job->mapping, job->address, epoch);
    *ret_done = true;
    return r;
}

xpurt_result direct_upload(xpurt_stream *stream, uint64_t to, const void *from, size_t size,
                           bool *ret_done)
{
    struct job job = { .address = to, .host = (char *)from, .size = size };
    xpurt_result r;
    bool staged;

    *ret_done = false;
    r = better_staged(stream, size, &staged);
    return r || staged ? r : direct_copy(stream, &job, ret_done);
}

xpurt_result direct_download(xpurt_stream *stream, void *to, uint64_t from, size_t size,
                             bool *ret_done)
{
    struct job job = { .address = from, .host = to, .size = size, .download = true };

    *ret_done = false;
    return direct_copy(stream, &job, ret_done);
}
