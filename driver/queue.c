/* SPDX-License-Identifier: MIT */
/* queue.c: in-order execution without a thread per queue.
 *
 * Guarantees of this file:
 *   - every command runs exactly once, in order, after its waits;
 *   - one owner at a time: no lock is held while commands run, none is taken to add one;
 *   - a thread of the application runs only short commands of other queues, and only so many;
 *     everything else goes to the workers;
 *   - a queue whose list was destroyed finishes its commands and then frees itself.
 */
#include "queue.h"

#include "event.h"
#include "worker.h"

#include <pthread.h>

#define QUEUE_BUSY ((struct command *)(uintptr_t)1)
#define CALLER_BUDGET 32u /* short commands a thread runs for others: of one queue ... */
#define CALLER_TOTAL 128u /* ... and of all that one signal set free */

/* Queues that the work of this thread made runnable, until it has time for them. In static thread
 * storage, though the library is loaded late: it is small, and every signal looks at it. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
    struct queue *head, **tail;
    bool running;
} released;

static pthread_mutex_t queues_lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue *queues;            /* all of them, under the lock */

static void queue_woken(struct waiter *waiter, bool last);

struct queue *queue_new(ze_device_handle_t device, ze_command_queue_priority_t priority)
{
    struct queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return NULL;
    queue->device = device;
    queue->priority = priority == ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_HIGH ? QUEUE_PRIORITY_HIGH :
                      priority == ZE_COMMAND_QUEUE_PRIORITY_PRIORITY_LOW  ? QUEUE_PRIORITY_LOW :
                                                                            QUEUE_PRIORITY_NORMAL;
    queue->waiter.wake = queue_woken;
    atomic_init(&queue->refs, 1);
    pthread_mutex_lock(&queues_lock);
    queue->next = queues;
    queue->link = &queues;
    if (queues)
        queues->link = &queue->next;
    queues = queue;
    pthread_mutex_unlock(&queues_lock);
    return queue;
}

static void queue_unref_many(struct queue *queue, uint32_t count)
{
    if (!count || atomic_fetch_sub(&queue->refs, count) != count)
        return;
    pthread_mutex_lock(&queues_lock);
    *queue->link = queue->next;
    if (queue->next)
        queue->next->link = queue->link;
    pthread_mutex_unlock(&queues_lock);
    free(queue);
}

void queue_unref(struct queue *queue)
{
    if (queue)
        queue_unref_many(queue, 1);
}

bool queue_claim(struct queue *queue)
{
    struct command *idle = NULL;

    return atomic_load_explicit(&queue->inbox, memory_order_relaxed) == NULL &&
           atomic_compare_exchange_strong(&queue->inbox, &idle, QUEUE_BUSY);
}

static bool queue_try_release(struct queue *queue)
{
    struct command *busy = QUEUE_BUSY;

    return atomic_compare_exchange_strong(&queue->inbox, &busy, NULL);
}

/* Moves what arrived to the owner's side, oldest first. */
static bool queue_fetch(struct queue *queue)
{
    struct command *newest = atomic_exchange(&queue->inbox, QUEUE_BUSY), *oldest = NULL, *next;

    for (; newest && newest != QUEUE_BUSY; newest = next) {
        next = newest->next;
        newest->next = oldest;
        oldest = newest;
    }
    queue->pending = oldest;
    return oldest;
}

static void queue_pop(struct queue *queue)
{
    struct command *command = queue->pending;

    queue->pending = command->next;
    queue->wait_index = 0;
    command_free(command);
    cell_store(&queue->completed, atomic_load(&queue->completed.value) + 1, NULL);
}

static void released_push(struct queue *queue)
{
    queue->next_ready = NULL;
    if (!released.head)
        released.tail = &released.head;
    *released.tail = queue;
    released.tail = &queue->next_ready;
}

static struct queue *released_pop(void)
{
    struct queue *queue = released.head;

    if (queue)
        released.head = queue->next_ready;
    return queue;
}

/* Before this thread is busy for long: others may have time for what it set free. */
static void released_flush(void)
{
    struct queue *queue;

    while ((queue = released_pop()))
        worker_submit(queue);
}

/* Each command holds a reference to its queue. Those of finished commands are given back only when
 * this thread touches the queue no more, for whoever saw them finish may have let go of it. */
static uint32_t queue_execute(struct queue *queue, uint32_t budget, bool any)
{
    uint32_t done = 0;

    for (;;) {
        enum command_step step;

        if (!queue->pending && !queue_fetch(queue)) {
            if (queue_try_release(queue))
                break;
            continue;
        }
        if (any && !command_is_short(queue->pending))
            released_flush();
        step = done == budget ? COMMAND_TOO_LONG : command_step(queue->pending, queue, 0, any);
        if (step == COMMAND_DONE) {
            queue_pop(queue);
            done++;
            continue;
        }
        if (step == COMMAND_TOO_LONG)
            worker_submit(queue);
        break;                          /* Careful: @queue has another owner by now. */
    }
    queue_unref_many(queue, done);
    return done;
}

/* Runs what this thread set free, up to a limit; the workers get the rest. */
static void released_run(void)
{
    uint32_t left = CALLER_TOTAL, done;
    struct queue *queue;

    while ((queue = released_pop())) {
        if (left == 0) {
            worker_submit(queue);
            continue;
        }
        done = queue_execute(queue, left < CALLER_BUDGET ? left : CALLER_BUDGET, false);
        left -= done < left ? done : left;
    }
    released.running = false;
}

void queue_run(struct queue *queue, uint32_t budget, bool any)
{
    bool outermost = !released.running;

    released.running = true;
    queue_execute(queue, budget, any);
    if (outermost)
        released_run();
}

static void queue_woken(struct waiter *waiter, bool last)
{
    struct queue *queue = (struct queue *)((char *)waiter - offsetof(struct queue, waiter));

    queue->wait_index++;
    released_push(queue);
    if (last && !released.running) {
        released.running = true;
        released_run();
    }
}

void queue_release(struct queue *queue)
{
    if (LIKELY(queue_try_release(queue)))
        return;
    queue_run(queue, CALLER_BUDGET, false);
}

void queue_push(struct queue *queue, struct command *command, bool claimed)
{
    struct command *head = atomic_load(&queue->inbox);

    atomic_fetch_add(&queue->refs, 1);
    atomic_fetch_add(&queue->submitted, 1);
    if (claimed) {
        command->next = NULL;
        queue->pending = command;
        queue_run(queue, CALLER_BUDGET, false);
        return;
    }
    do {
        command->next = head == QUEUE_BUSY ? NULL : head;
    } while (!atomic_compare_exchange_weak(&queue->inbox, &head, command));
    if (!head)
        queue_run(queue, CALLER_BUDGET, false);
}

ze_result_t queue_wait(struct queue *queue, uint64_t timeout)
{
    uint64_t submitted = atomic_load(&queue->submitted);
    ze_result_t result =
        cell_wait(&queue->completed, submitted, NULL, timeout, &queue->device->lost);

    if (result == ZE_RESULT_SUCCESS && UNLIKELY(atomic_load(&queue->device->lost)))
        return ZE_RESULT_ERROR_DEVICE_LOST;
    return result;
}

void queues_before_fork(void)
{
    pthread_mutex_lock(&queues_lock);
}

void queues_after_fork(bool child)
{
    struct queue *queue, *next;

    for (queue = child ? queues : NULL; queue; queue = next) {
        next = queue->next;
        queue->next = NULL;
        queue->link = &queue->next;
        /* What is in it runs in the parent. Here the queue is empty, and can be let go of. */
        atomic_store(&queue->inbox, NULL);
        queue->pending = NULL;
        queue->wait_index = 0;
        atomic_store(&queue->completed.value, atomic_load(&queue->submitted));
    }
    if (child) {
        queues = NULL;
        released.head = NULL;
        released.running = false;
    }
    pthread_mutex_unlock(&queues_lock);
}

static bool queue_try_ref(struct queue *queue)
{
    uint32_t refs = atomic_load(&queue->refs);

    while (refs && !atomic_compare_exchange_weak(&queue->refs, &refs, refs + 1))
        ;
    return refs;
}

static bool queue_has_work(struct queue *queue)
{
    return atomic_load(&queue->completed.value) < atomic_load(&queue->submitted);
}

/* References to all queues that have work, so that they can be used without the lock. */
static struct queue **queues_snapshot(ze_device_handle_t device, size_t *ret_count)
{
    struct queue **snapshot = NULL;
    size_t count = 0, size = 0;

    pthread_mutex_lock(&queues_lock);
    for (struct queue *queue = queues; queue; queue = queue->next)
        size++;
    snapshot = calloc(size + 1, sizeof(*snapshot));
    for (struct queue *queue = snapshot ? queues : NULL; queue; queue = queue->next)
        if ((!device || queue->device == device) && queue_has_work(queue) && queue_try_ref(queue))
            snapshot[count++] = queue;
    pthread_mutex_unlock(&queues_lock);
    *ret_count = count;
    return snapshot;
}

ze_result_t queues_wait_all(ze_device_handle_t device)
{
    size_t count;
    struct queue **snapshot = queues_snapshot(device, &count);
    ze_result_t result = ZE_RESULT_SUCCESS, one;

    REQUIRE(snapshot, OUT_OF_HOST_MEMORY);
    for (size_t i = 0; i < count; i++) {
        one = queue_wait(snapshot[i], UINT64_MAX);
        if (one != ZE_RESULT_SUCCESS)
            result = one;
        queue_unref(snapshot[i]);
    }
    free(snapshot);
    return result;
}

struct drop {
    struct command head;
    void (*drop)(void *what);
    void *what;
};

static void drop_run(struct command *command)
{
    (void)command;
}

static void drop_discard(struct command *copy)
{
    struct drop *drop = (struct drop *)copy;

    drop->drop(drop->what);
}

void queues_after_all(void (*take)(void *what), void (*drop)(void *what), void *what)
{
    static const struct operation operation = {
        .name = "drop",
        .size = sizeof(struct drop),
        .run = drop_run,
        .discard = drop_discard,
    };
    struct drop command = { .head = { .operation = &operation }, .drop = drop, .what = what };
    struct command *copy;
    size_t count;
    struct queue **snapshot = queues_snapshot(NULL, &count);

    for (size_t i = 0; i < count; i++) {
        copy = command_copy(&command.head, 0, NULL);
        if (copy) {
            take(what);
            queue_push(snapshot[i], copy, queue_claim(snapshot[i]));
        } else {
            queue_wait(snapshot[i], UINT64_MAX);
        }
        queue_unref(snapshot[i]);
    }
    free(snapshot);
}
