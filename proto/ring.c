/* SPDX-License-Identifier: MIT */
/* proto/ring.c: see ring.h.
 *
 * Guarantees of this file: whatever the other side writes into the indices, no byte outside of the
 * ring is touched, and ours stay right; a shared index is loaded once for each look.
 */
#include "proto/ring.h"

#include "proto/board.h"
#include "proto/cpu.h"
#include "proto/hot.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

bool ring_size_good(uint32_t size)
{
    return size >= RING_SIZE_MIN && size <= RING_SIZE_MAX && !(size & (size - 1));
}

/* Twice in a row. */
static int ring_map(int fd, size_t offset, uint32_t size, uint8_t *where)
{
    for (unsigned i = 0; i < 2; i++)
        if (mmap(where + (size_t)i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 (off_t)offset) == MAP_FAILED)
            return -errno;
    return 0;
}

int rings_map(int fd, uint32_t to_daemon, uint32_t to_client, struct rings *ret_rings)
{
    size_t mapped = RINGS_PAGE + 2 * ((size_t)to_daemon + to_client);
    struct rings_header *header;
    uint8_t *base, *bytes;
    int r;

    base = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    bytes = base + RINGS_PAGE;
    r = mmap(base, RINGS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
                MAP_FAILED ?
            -errno :
            0;
    if (r == 0)
        r = ring_map(fd, RINGS_PAGE, to_daemon, bytes);
    if (r == 0)
        r = ring_map(fd, RINGS_PAGE + (size_t)to_daemon, to_client, bytes + 2 * (size_t)to_daemon);
    if (r < 0) {
        munmap(base, mapped);
        return r;
    }

    (void)madvise(base, mapped, MADV_DONTDUMP);
    header = (struct rings_header *)base;
    *ret_rings = (struct rings){
        .base = base,
        .mapped = mapped,
        .to_daemon = { .shared = &header->to_daemon, .bytes = bytes, .size = to_daemon },
        .to_client = { .shared = &header->to_client,
                       .bytes = bytes + 2 * (size_t)to_daemon,
                       .size = to_client },
    };
    return 0;
}

void rings_unmap(struct rings *rings)
{
    if (rings->base)
        munmap(rings->base, rings->mapped);
    *rings = (struct rings){ 0 };
}

/* The other side's index is @p now, which never goes back, and may be @p most at most. */
static bool believable(const struct ring *ring, uint64_t now, uint64_t most)
{
    return now - ring->seen <= most - ring->seen;
}

/* ---- producing ------------------------------------------------------------------------------- */

static uint32_t used(const struct ring *ring)
{
    return (uint32_t)(ring->position - ring->seen);
}

HOT int ring_room(struct ring *ring, size_t size)
{
    uint64_t head;

    if (size <= ring->size - used(ring))
        return 1;
    head = atomic_load(&ring->shared->head);
    if (!believable(ring, head, ring->position))
        return -EPROTO;
    ring->seen = head;
    return size <= ring->size - used(ring);
}

HOT uint32_t ring_publish(struct ring *ring, size_t size)
{
    ring->position += size;
    atomic_store(&ring->shared->tail, ring->position);
    if (atomic_load(&ring->shared->asleep) == RING_AWAKE)
        return RING_AWAKE;
    return atomic_exchange(&ring->shared->asleep, RING_AWAKE);
}

HOT void ring_wake(struct ring *ring)
{
    (void)board_wake(&ring->shared->asleep);
}

bool ring_consumed(const struct ring *ring, uint64_t position)
{
    return atomic_load_explicit(&ring->shared->head, memory_order_relaxed) >= position;
}

HOT void ring_say_where(struct ring *ring)
{
    uint32_t cpu = cpu_here();

    if (atomic_load_explicit(&ring->shared->cpu, memory_order_relaxed) != cpu)
        atomic_store_explicit(&ring->shared->cpu, cpu, memory_order_relaxed);
}

int ring_await_room(struct ring *ring, size_t size, uint64_t timeout_ns)
{
    uint32_t room = atomic_load(&ring->shared->room);
    int r;

    atomic_store(&ring->shared->waiting, 1);
    r = ring_room(ring, size);
    if (r == 0)
        board_sleep(&ring->shared->room, room, timeout_ns);
    atomic_store(&ring->shared->waiting, 0);
    return r < 0 ? r : 0;
}

/* ---- consuming -------------------------------------------------------------------------------- */

HOT int ring_look(struct ring *ring, size_t *ret_size)
{
    uint64_t tail = atomic_load(&ring->shared->tail);

    if (!believable(ring, tail, ring->position + ring->size))
        return -EPROTO;
    ring->seen = tail;
    *ret_size = (size_t)(tail - ring->position);
    return 0;
}

HOT void ring_consume(struct ring *ring, size_t size)
{
    ring->position += size;
    atomic_store(&ring->shared->head, ring->position);
    if (!atomic_load(&ring->shared->waiting) || ring->seen - ring->position > ring->size / 2)
        return;
    atomic_store(&ring->shared->waiting, 0);
    atomic_fetch_add(&ring->shared->room, 1);
    (void)board_wake(&ring->shared->room);
}

HOT bool ring_sleep(struct ring *ring)
{
    atomic_store(&ring->shared->asleep, RING_ASLEEP);
    if (atomic_load(&ring->shared->tail) == ring->position)
        return true;
    ring_rouse(ring);
    return false;
}

HOT uint32_t ring_cpu(const struct ring *ring)
{
    return atomic_load_explicit(&ring->shared->cpu, memory_order_relaxed);
}

HOT void ring_rouse(struct ring *ring)
{
    /* Only we put it to sleep. Where it is awake the producer has seen to that, and rings: no barrier. */
    if (atomic_load_explicit(&ring->shared->asleep, memory_order_relaxed) != RING_AWAKE)
        atomic_store(&ring->shared->asleep, RING_AWAKE);
}
