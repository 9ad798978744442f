/* SPDX-License-Identifier: MIT */
/* examples/ring.c: a ring of device buffers that two processes share.
 *
 * Guarantees of this file:
 *   - a host that waits for the other one's submission sleeps; that the other process or the daemon
 *     is gone it sees a slice later at the latest;
 *   - what the other side wrote is seen before its counter is;
 *   - numbers that came from the other process are checked before they are used.
 */
#include "ring.h"

#include "channel.h"
#include "problem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 20000000               /* between looks whether the other process lives */
#define OFFER_MAGIC 0x676e6972u         /* "ring" */
#define CONTROL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* The one message of the producer; the control page's descriptor comes with it. */
struct offer {
    uint32_t magic;
    uint32_t n_slots;
    uint64_t block;
    struct {
        xpurt_mem_handle buffer;
        xpurt_event_handle ready, free;
    } slots[RING_SLOTS_MAX];
};

/* The one message of the consumer; either side's instead of its own when it cannot go on. */
struct answer {
    uint32_t magic;
    uint32_t failed;                    /* an xpurt_result */
};

static const char *const side_names[] = { "producer", "consumer" };

static const char *peer_name(const struct ring *ring)
{
    return side_names[ring->side == RING_PRODUCER ? RING_CONSUMER : RING_PRODUCER];
}

/* ---- the control page ------------------------------------------------------------------------ */

/* Sealed: a page that its maker could cut short would kill whoever looks at it. */
static xpurt_result control_create(struct ring *ring, int *ret_fd)
{
    int fd = memfd_create("xpurt-handoff", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *page;

    if (fd < 0)
        return problem_system("memfd_create", errno);
    if (ftruncate(fd, sizeof(*ring->control)) < 0 || fcntl(fd, F_ADD_SEALS, CONTROL_SEALS) < 0 ||
        (page = mmap(NULL, sizeof(*ring->control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) ==
            MAP_FAILED) {
        xpurt_result r = problem_system("the control page", errno);

        close(fd);
        return r;
    }
    ring->control = page;
    *ret_fd = fd;
    return XPURT_SUCCESS;
}

static xpurt_result control_open(struct ring *ring, int fd)
{
    struct stat stat;
    int seals = fcntl(fd, F_GET_SEALS);
    void *page;

    if (seals < 0 || (seals & CONTROL_SEALS) != CONTROL_SEALS || fstat(fd, &stat) < 0 ||
        stat.st_size != sizeof(*ring->control))
        return problem(XPURT_ERROR_PROTOCOL, "the producer sent no control page");
    page = mmap(NULL, sizeof(*ring->control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return problem_system("the control page", errno);
    ring->control = page;
    return XPURT_SUCCESS;
}

/* ---- making and opening ---------------------------------------------------------------------- */

static xpurt_result slot_create(struct ring *ring, unsigned i, struct offer *offer)
{
    struct ring_slot *slot = &ring->slots[i];
    xpurt_result r;

    r = xpurt_malloc(&slot->device, ring->block);
    if (r == XPURT_SUCCESS)
        r = xpurt_host_malloc(&slot->staging, ring->block);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_INTERPROCESS, &slot->ready);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_create(XPURT_EVENT_INTERPROCESS, &slot->free);
    if (r == XPURT_SUCCESS)
        r = xpurt_mem_get_ipc_handle(slot->device, &offer->slots[i].buffer);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_get_ipc_handle(slot->ready, &offer->slots[i].ready);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_get_ipc_handle(slot->free, &offer->slots[i].free);
    return r;
}

static xpurt_result slot_open(struct ring *ring, unsigned i, const struct offer *offer)
{
    struct ring_slot *slot = &ring->slots[i];
    xpurt_result r;

    r = xpurt_mem_open_ipc_handle(&offer->slots[i].buffer, &slot->device);
    if (r == XPURT_SUCCESS)
        r = xpurt_host_malloc(&slot->staging, ring->block);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_open_ipc_handle(&offer->slots[i].ready, &slot->ready);
    if (r == XPURT_SUCCESS)
        r = xpurt_event_open_ipc_handle(&offer->slots[i].free, &slot->free);
    return r;
}

/* What it means that the peer has left; @p why it gave, an xpurt_result, or 0. */
static xpurt_result peer_left(struct ring *ring, uint32_t why)
{
    size_t n;

    /* When it left because the daemon has gone, that is the news. */
    if (xpurt_daemon_counters(0, NULL, &n) == XPURT_ERROR_DAEMON_LOST)
        return XPURT_ERROR_DAEMON_LOST;
    if (!why)
        return problem(XPURT_ERROR_PEER_LOST, "the %s is gone", peer_name(ring));
    return problem(XPURT_ERROR_DEPENDENCY, "the %s has failed: %s", peer_name(ring),
                   xpurt_result_name((xpurt_result)why));
}

/* A first message that did not come, or is not the one hoped for. */
static xpurt_result bad_message(struct ring *ring, const void *message, ssize_t size)
{
    const struct answer *answer = message;

    if (size == 0)
        return ring_peer_gone(ring);
    if (size == sizeof(*answer) && answer->magic == OFFER_MAGIC && answer->failed)
        return peer_left(ring, answer->failed);
    if (size > 0 || size == -EMSGSIZE)
        return problem(XPURT_ERROR_PROTOCOL, "the other side is not a %s of this version",
                       peer_name(ring));
    return problem_system(peer_name(ring), (int)-size);
}

/* Send the offer and wait until the consumer has opened everything. */
static xpurt_result ring_offer(struct ring *ring, const struct offer *offer, int control_fd)
{
    struct answer answer;
    ssize_t size;

    size = channel_send(ring->channel, offer, sizeof(*offer), control_fd);
    if (size == 0 || size == -EPIPE)    /* gone? It may have said why. */
        size = channel_receive(ring->channel, &answer, sizeof(answer), CHANNEL_TIMEOUT_MS, NULL);
    if (size != sizeof(answer) || answer.magic != OFFER_MAGIC || answer.failed)
        return bad_message(ring, &answer, size);
    ring->met = true;
    return XPURT_SUCCESS;
}

xpurt_result ring_create(struct ring *ring, int channel, unsigned n_slots, uint64_t block)
{
    struct offer offer = { .magic = OFFER_MAGIC, .n_slots = n_slots, .block = block };
    int control_fd = -1;
    xpurt_result r;

    *ring = (struct ring){
        .side = RING_PRODUCER, .channel = channel, .n_slots = n_slots, .block = block
    };
    r = control_create(ring, &control_fd);
    if (r)
        return r;
    for (unsigned i = 0; i < n_slots && r == XPURT_SUCCESS; i++)
        r = slot_create(ring, i, &offer);
    if (r == XPURT_SUCCESS)
        r = ring_offer(ring, &offer, control_fd);
    close(control_fd);
    return r;
}

static xpurt_result ring_accept(struct ring *ring, const struct offer *offer, int control_fd)
{
    struct answer answer = { .magic = OFFER_MAGIC };
    xpurt_result r;
    int e;

    if (offer->n_slots == 0 || offer->n_slots > RING_SLOTS_MAX || offer->block == 0 ||
        offer->block > RING_BLOCK_MAX)
        return problem(XPURT_ERROR_PROTOCOL,
                       "the producer offers a ring of %u buffers of %llu "
                       "bytes",
                       offer->n_slots, (unsigned long long)offer->block);
    ring->n_slots = offer->n_slots;
    ring->block = offer->block;

    r = control_open(ring, control_fd);
    for (unsigned i = 0; i < ring->n_slots && r == XPURT_SUCCESS; i++)
        r = slot_open(ring, i, offer);
    if (r)
        return r;
    e = channel_send(ring->channel, &answer, sizeof(answer), -1);
    if (e < 0)
        return bad_message(ring, NULL, e == -EPIPE ? 0 : e);
    ring->met = true;
    return XPURT_SUCCESS;
}

xpurt_result ring_open(struct ring *ring, int channel)
{
    struct offer offer;
    int control_fd = -1;
    ssize_t size;
    xpurt_result r;

    *ring = (struct ring){ .side = RING_CONSUMER, .channel = channel };
    size = channel_receive(channel, &offer, sizeof(offer), CHANNEL_TIMEOUT_MS, &control_fd);
    if (size != sizeof(offer) || offer.magic != OFFER_MAGIC)
        r = bad_message(ring, &offer, size);
    else
        r = ring_accept(ring, &offer, control_fd);
    if (control_fd >= 0)
        close(control_fd);
    return r;
}

void ring_close(struct ring *ring)
{
    for (unsigned i = 0; i < ring->n_slots; i++) {
        struct ring_slot *slot = &ring->slots[i];

        xpurt_event_destroy(slot->free);
        xpurt_event_destroy(slot->ready);
        xpurt_host_free(slot->staging);
        if (slot->device && ring->side == RING_PRODUCER)
            xpurt_free(slot->device);
        else if (slot->device)
            xpurt_mem_close_ipc_handle(slot->device);
    }
    if (ring->control)
        munmap(ring->control, sizeof(*ring->control));
    *ring = (struct ring){ 0 };
}

/* ---- counters -------------------------------------------------------------------------------- */

/* Add 1 to a counter that only this side writes. Release: who sees it sees what came before. */
static void counter_advance(_Atomic uint32_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_release);
    syscall(SYS_futex, counter, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Sleep while the counter is @p seen, for a slice. False: all of the slice has passed. */
static bool counter_sleep(_Atomic uint32_t *counter, uint32_t seen)
{
    const struct timespec slice = { .tv_nsec = SLICE_NS };

    return syscall(SYS_futex, counter, FUTEX_WAIT, seen, &slice, NULL, 0) == 0 ||
           errno != ETIMEDOUT;
}

/* Counters wrap, hence the difference; they are never far from what is waited for. */
static bool counter_reached(_Atomic uint32_t *counter, uint64_t count, uint32_t *ret_seen)
{
    *ret_seen = atomic_load_explicit(counter, memory_order_acquire);
    return (int32_t)(*ret_seen - (uint32_t)count) >= 0;
}

/* Nothing has happened for a slice: is there still somebody who can make it happen? */
static xpurt_result counter_check(struct ring *ring, _Atomic uint32_t *counter, uint64_t count)
{
    uint32_t seen;
    size_t n;

    /* Another thread of this side has given up. */
    if (ring->control->failed[ring->side])
        return (xpurt_result)ring->control->failed[ring->side];
    /* The peer may have gone after its last step, with nothing left to do. */
    if (channel_hung_up(ring->channel))
        return counter_reached(counter, count, &seen) ? XPURT_SUCCESS : ring_peer_gone(ring);
    return xpurt_daemon_counters(0, NULL, &n);
}

static xpurt_result counter_await(struct ring *ring, _Atomic uint32_t *counter, uint64_t count)
{
    xpurt_result r = XPURT_SUCCESS;
    uint32_t seen;

    while (r == XPURT_SUCCESS && !counter_reached(counter, count, &seen))
        if (!counter_sleep(counter, seen))
            r = counter_check(ring, counter, count);
    return r;
}

xpurt_result ring_await_free(struct ring *ring, uint64_t round)
{
    if (round < ring->n_slots)
        return XPURT_SUCCESS;
    return counter_await(ring, &ring->control->released, round - ring->n_slots + 1);
}

void ring_publish(struct ring *ring, uint64_t round, uint64_t length, uint64_t recorded_ns)
{
    *ring_round(ring, round) = (struct ring_round){ length, recorded_ns };
    counter_advance(&ring->control->published);
}

xpurt_result ring_await_end(struct ring *ring, uint64_t end_round)
{
    return counter_await(ring, &ring->control->released, end_round + 1);
}

bool ring_published(struct ring *ring, uint64_t round)
{
    uint32_t seen;

    return counter_reached(&ring->control->published, round + 1, &seen);
}

xpurt_result ring_await_published(struct ring *ring, uint64_t round)
{
    return counter_await(ring, &ring->control->published, round + 1);
}

void ring_release(struct ring *ring)
{
    counter_advance(&ring->control->released);
}

/* ---- the end of the other side --------------------------------------------------------------- */

void ring_fail(struct ring *ring, xpurt_result why)
{
    struct answer answer = { .magic = OFFER_MAGIC, .failed = (uint32_t)why };

    if (ring->met)
        atomic_store(&ring->control->failed[ring->side], (uint32_t)why);
    else if (ring->channel >= 0)
        (void)channel_send(ring->channel, &answer, sizeof(answer), -1);
}

xpurt_result ring_peer_gone(struct ring *ring)
{
    return peer_left(ring, ring->met ? atomic_load(&ring->control->failed[!ring->side]) : 0);
}
