/* SPDX-License-Identifier: MIT */
/* worker.c: the fixed pool of threads that run queues.
 *
 * Guarantees of this file:
 *   - one thread per CPU (at least two) is started at the first queue that needs one, none before
 *     and none after, whatever the number of queues;
 *   - a queue handed over is run exactly once; higher priorities first, else in order;
 *   - where no thread can be started the caller runs the queue: slower, but nothing is stuck;
 *   - work is shared only with workers that would sleep, and whoever shares it works too: nothing
 *     waits for a worker that has not begun.
 */
#include "worker.h"

#include "device.h"
#include "thread.h"

#include <pthread.h>
#include <sched.h>

#define WORKERS_MIN 2u
#define WORKERS_MAX 64u
#define SLICE 64u                       /* commands of one queue before the next has its turn */
#define SHARE_PIECE (256u << 10)        /* bytes: far more than it costs to take a piece */
#define LINGER 50000u                   /* ns a worker looks for more work before it sleeps */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static struct {                         /* all under the lock */
    struct queue *head, **tail;
} lanes[QUEUE_PRIORITIES];
static unsigned wanted, started, idle;
static _Atomic unsigned waiting;        /* queues in the lanes */

/* Work that one worker shares with the others: on its stack. */
struct share {
    void (*piece)(void *what, size_t from, size_t to);
    void *what;
    size_t size;
    _Atomic size_t next;                /* where the next piece begins */
    _Atomic unsigned partners;          /* that still work on it */
};

static _Atomic(struct share *) shared;  /* set and cleared under the lock; one at a time */

void worker_after_fork(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&ready, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(lanes); i++)
        lanes[i].head = NULL;
    started = idle = 0;
    atomic_store(&waiting, 0);
    atomic_store(&shared, NULL);
}

static void lane_push(struct queue *queue)
{
    __typeof__(lanes[0]) *lane = &lanes[queue->priority];

    queue->next_ready = NULL;
    if (!lane->head)
        lane->tail = &lane->head;
    *lane->tail = queue;
    lane->tail = &queue->next_ready;
    atomic_fetch_add(&waiting, 1);
}

static struct queue *lane_pop(void)
{
    struct queue *queue;

    for (size_t i = 0; i < ARRAY_SIZE(lanes); i++) {
        queue = lanes[i].head;
        if (queue) {
            lanes[i].head = queue->next_ready;
            atomic_fetch_sub(&waiting, 1);
            return queue;
        }
    }
    return NULL;
}

/* After work there is often more as soon as the waiter has woken: this saves the second wake-up, a
 * tenth of a copy of 16 MiB. */
static void linger(void)
{
    uint64_t until = clock_ns() + LINGER;

    while (!atomic_load_explicit(&waiting, memory_order_relaxed) &&
           !atomic_load_explicit(&shared, memory_order_relaxed) && clock_ns() < until)
        spin_pause();
}

static void share_work(struct share *share)
{
    size_t from;

    while ((from = atomic_fetch_add(&share->next, SHARE_PIECE)) < share->size)
        share->piece(share->what, from,
                     share->size - from < SHARE_PIECE ? share->size : from + SHARE_PIECE);
}

/* Under the lock, which is open meanwhile. False: there is nothing to take part in. */
static bool share_take_part(void)
{
    struct share *share = atomic_load(&shared);

    if (!share || atomic_load(&share->next) >= share->size)
        return false;
    atomic_fetch_add(&share->partners, 1);
    pthread_mutex_unlock(&lock);
    share_work(share);
    /* Careful: @share may be gone after this. */
    atomic_fetch_sub(&share->partners, 1);
    pthread_mutex_lock(&lock);
    return true;
}

void worker_share(size_t size, void (*piece)(void *what, size_t from, size_t to), void *what)
{
    struct share share = { .piece = piece, .what = what, .size = size };
    bool first, wake;

    pthread_mutex_lock(&lock);
    first = size > SHARE_PIECE && !atomic_load(&shared);
    wake = first && idle > 0;
    if (first)
        atomic_store(&shared, &share);
    pthread_mutex_unlock(&lock);
    if (wake)
        pthread_cond_signal(&ready);

    share_work(&share);
    if (!first)
        return;
    pthread_mutex_lock(&lock);
    atomic_store(&shared, NULL);
    pthread_mutex_unlock(&lock);
    while (atomic_load(&share.partners))
        sched_yield();                  /* for one piece at the most */
}

static struct queue *next_queue(void)
{
    struct queue *queue;

    pthread_mutex_lock(&lock);
    while (!(queue = lane_pop())) {
        if (share_take_part())
            continue;
        idle++;
        pthread_cond_wait(&ready, &lock);
        idle--;
    }
    pthread_mutex_unlock(&lock);
    return queue;
}

static void *worker_run(void *unused)
{
    (void)unused;
    for (;;) {
        queue_run(next_queue(), SLICE, true);
        linger();
    }
    return NULL;
}

static void start_workers(void)
{
    if (wanted == 0) {
        wanted = cpu_count();
        wanted = wanted < WORKERS_MIN ? WORKERS_MIN : wanted > WORKERS_MAX ? WORKERS_MAX : wanted;
    }
    while (started < wanted && thread_start("ze_soft-worker", worker_run, NULL))
        started++;
}

void worker_submit(struct queue *queue)
{
    bool wake, here;

    pthread_mutex_lock(&lock);
    start_workers();
    here = started == 0;
    wake = idle > 0;
    if (!here)
        lane_push(queue);
    pthread_mutex_unlock(&lock);

    if (wake)
        pthread_cond_signal(&ready);
    if (here)
        queue_run(queue, UINT32_MAX, true);
}
