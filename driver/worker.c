/* SPDX-License-Identifier: MIT */
/* worker.c: the fixed pool of threads that run queues.
 *
 * Guarantees of this file:
 *   - one thread per CPU (at least two) is started at the first queue that needs one, none before
 *     and none after, whatever the number of queues;
 *   - a queue handed over is run exactly once; higher priorities first, else in order;
 *   - where no thread can be started the caller runs the queue: slower, but nothing is stuck.
 */
#include "worker.h"

#include "device.h"
#include "thread.h"

#include <pthread.h>

#define WORKERS_MIN 2u
#define WORKERS_MAX 64u
#define SLICE 64u                       /* commands of one queue before the next has its turn */
#define LINGER 100000u                  /* ns a worker looks for more work before it sleeps */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static struct {                         /* all under the lock */
    struct queue *head, **tail;
} lanes[QUEUE_PRIORITIES];
static unsigned wanted, started, idle;
static _Atomic unsigned waiting;        /* queues in the lanes */

void worker_after_fork(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&ready, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(lanes); i++)
        lanes[i].head = NULL;
    started = idle = 0;
    atomic_store(&waiting, 0);
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

    while (!atomic_load_explicit(&waiting, memory_order_relaxed) && clock_ns() < until)
        spin_pause();
}

static struct queue *next_queue(void)
{
    struct queue *queue;

    pthread_mutex_lock(&lock);
    while (!(queue = lane_pop())) {
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
