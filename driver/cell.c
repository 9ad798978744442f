/* SPDX-License-Identifier: MIT */
/* cell.c: waiting and waking.
 *
 * Guarantees of this file:
 *   - no wake-up is lost: a waiter announces itself before it looks at the value for the last time,
 *     a signaller writes the value before it looks for waiters;
 *   - a parked waiter costs nothing until it is woken, and is woken exactly once;
 *   - signalling a cell nobody waits for is one store and two loads, without a lock or a call.
 */
#include "cell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUCKETS 256
#define SPINS 64            /* pauses, about 3 us: less than going to sleep and being woken */
#define LOST_SLICE 5000000u /* ns between two looks at a device that faults may take away */

struct bucket {
    pthread_mutex_t lock;
    struct waiter *head;
};

/* Waiters on private cells and on cells that other processes signal too. */
static struct bucket private_buckets[BUCKETS], shared_buckets[BUCKETS];
static pthread_once_t buckets_once = PTHREAD_ONCE_INIT;

static void buckets_init(void)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        pthread_mutex_init(&private_buckets[i].lock, NULL);
        pthread_mutex_init(&shared_buckets[i].lock, NULL);
        private_buckets[i].head = shared_buckets[i].head = NULL;
    }
}

void cell_after_fork(void)
{
    buckets_init();
}

static struct bucket *bucket_of(const struct cell *cell, const struct doorbell *bell)
{
    size_t hash = (uintptr_t)cell * 0x9e3779b97f4a7c15u >> 56;

    pthread_once(&buckets_once, buckets_init);
    return bell ? &shared_buckets[hash] : &private_buckets[hash];
}

static void waiter_insert(struct bucket *bucket, struct waiter *waiter)
{
    waiter->next = bucket->head;
    waiter->link = &bucket->head;
    if (bucket->head)
        bucket->head->link = &waiter->next;
    bucket->head = waiter;
}

static void waiter_remove(struct waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    atomic_fetch_sub(&waiter->cell->parked, 1);
}

bool cell_park(struct waiter *waiter)
{
    struct bucket *bucket = bucket_of(waiter->cell, waiter->bell);
    bool reached, shared = waiter->bell;

    pthread_mutex_lock(&bucket->lock);
    atomic_fetch_add(&waiter->cell->parked, 1);
    reached = atomic_load(&waiter->cell->value) >= waiter->target;
    if (reached)
        atomic_fetch_sub(&waiter->cell->parked, 1);
    else
        waiter_insert(bucket, waiter);
    pthread_mutex_unlock(&bucket->lock);

    /* Careful: @waiter may be woken and gone by now. */
    if (!reached && shared)
        listen_notify();
    return !reached;
}

static void wake_all(struct waiter *woken)
{
    struct waiter *next;

    for (; woken; woken = next) {
        next = woken->next;
        woken->wake(woken, !next);
    }
}

/* Takes out those whom @p value satisfies; the bucket is locked. */
static struct waiter *take_reached(struct bucket *bucket, const struct cell *cell, uint64_t value)
{
    struct waiter *waiter, *next, *taken = NULL, **tail = &taken;

    for (waiter = bucket->head; waiter; waiter = next) {
        next = waiter->next;
        if (waiter->cell != cell || value < waiter->target)
            continue;
        waiter_remove(waiter);
        waiter->next = NULL;
        *tail = waiter;
        tail = &waiter->next;
    }
    return taken;
}

static long futex(void *word, int operation, uint32_t value, const struct timespec *deadline)
{
    return syscall(SYS_futex, word, operation, value, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* The half of a cell's value that changes: a futex is 32 bits. */
static uint32_t *cell_word(struct cell *cell)
{
    return (uint32_t *)&cell->value + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

/* Wakes the threads that sleep here, and the other processes whose queues are parked. */
static void wake_sleepers(struct cell *cell, struct doorbell *bell)
{
    if (atomic_load(&cell->sleepers))
        futex(cell_word(cell), FUTEX_WAKE | (bell ? 0 : FUTEX_PRIVATE_FLAG), INT_MAX, NULL);
    if (bell && atomic_load(&cell->parked)) {
        atomic_fetch_add(&bell->rings, 1);
        futex(&bell->rings, FUTEX_WAKE, INT_MAX, NULL);
    }
}

/* The value changes under the lock, so that exactly those wake who were parked before. */
void cell_store_parked(struct cell *cell, uint64_t value, struct doorbell *bell)
{
    struct bucket *bucket = bucket_of(cell, bell);
    struct waiter *woken;

    pthread_mutex_lock(&bucket->lock);
    atomic_store(&cell->value, value);
    woken = take_reached(bucket, cell, value);
    pthread_mutex_unlock(&bucket->lock);
    wake_sleepers(cell, bell);
    wake_all(woken);
}

/* Somebody began to wait while the value was set. Whether it still is may have changed since. */
void cell_wake(struct cell *cell, struct doorbell *bell)
{
    struct bucket *bucket = bucket_of(cell, bell);
    struct waiter *woken;

    pthread_mutex_lock(&bucket->lock);
    woken = take_reached(bucket, cell, atomic_load(&cell->value));
    pthread_mutex_unlock(&bucket->lock);
    wake_sleepers(cell, bell);
    wake_all(woken);
}

size_t cell_rescan_shared(struct listened *bells, size_t size, bool *ret_more)
{
    struct waiter *waiter, *next, *woken = NULL, **tail = &woken;
    size_t count = 0, i;

    *ret_more = false;
    pthread_once(&buckets_once, buckets_init);
    for (struct bucket *bucket = shared_buckets; bucket < shared_buckets + BUCKETS; bucket++) {
        pthread_mutex_lock(&bucket->lock);
        for (waiter = bucket->head; waiter; waiter = next) {
            next = waiter->next;
            for (i = 0; i < count && bells[i].bell != waiter->bell; i++)
                ;
            if (i == count && count < size) /* the rings are read before the value */
                bells[count++] =
                    (struct listened){ waiter->bell, atomic_load(&waiter->bell->rings) };
            *ret_more |= i == size;
            if (atomic_load(&waiter->cell->value) < waiter->target)
                continue;
            waiter_remove(waiter);
            waiter->next = NULL;
            *tail = waiter;
            tail = &waiter->next;
        }
        pthread_mutex_unlock(&bucket->lock);
    }
    wake_all(woken);
    return count;
}

static bool spin(struct cell *cell, uint64_t target)
{
    for (int i = 0; i < SPINS; i++) {
        if (cell_reached(cell, target))
            return true;
        spin_pause();
    }
    return false;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

ze_result_t cell_wait(struct cell *cell, uint64_t target, struct doorbell *bell, uint64_t timeout,
                      const _Atomic bool *lost)
{
    int operation = FUTEX_WAIT_BITSET | (bell ? 0 : FUTEX_PRIVATE_FLAG);
    ze_result_t result = ZE_RESULT_SUCCESS;
    uint64_t deadline, now, until;
    struct timespec at;

    if (LIKELY(cell_reached(cell, target)))
        return ZE_RESULT_SUCCESS;
    if (timeout == 0)
        return lost && atomic_load(lost) ? ZE_RESULT_ERROR_DEVICE_LOST : ZE_RESULT_NOT_READY;
    now = clock_ns();
    deadline = timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
    if (spin(cell, target))
        return ZE_RESULT_SUCCESS;

    atomic_fetch_add(&cell->sleepers, 1);
    for (;;) {
        uint64_t value = atomic_load(&cell->value);

        if (value >= target)
            break;
        now = clock_ns();
        if (lost && atomic_load(lost))
            result = ZE_RESULT_ERROR_DEVICE_LOST;
        else if (now >= deadline)
            result = ZE_RESULT_NOT_READY;
        if (result != ZE_RESULT_SUCCESS)
            break;
        until = fault_armed && deadline - now > LOST_SLICE ? now + LOST_SLICE : deadline;
        at = timespec_of(until);
        futex(cell_word(cell), operation, (uint32_t)value, until == UINT64_MAX ? NULL : &at);
    }
    atomic_fetch_sub(&cell->sleepers, 1);
    return result;
}
