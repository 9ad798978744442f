/* SPDX-License-Identifier: MIT */
/* tests/unit/ring.c: both ends of a ring in one process. */
#include "proto/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE RING_SIZE_MIN

static struct rings near_end, far_end;
static struct ring *producer, *consumer;

static void begin(void)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, (off_t)rings_bytes(SIZE, 2 * SIZE)), 0);
    cr_assert_eq(rings_map(fd, SIZE, 2 * SIZE, &near_end), 0);
    cr_assert_eq(rings_map(fd, SIZE, 2 * SIZE, &far_end), 0);
    close(fd);
    producer = &near_end.to_daemon;
    consumer = &far_end.to_daemon;
}

static void end(void)
{
    rings_unmap(&near_end);
    rings_unmap(&far_end);
    rings_unmap(&far_end);              /* nothing is left to unmap */
}

TestSuite(ring, .init = begin, .fini = end, .timeout = 60);

static bool put(size_t size, uint8_t byte)
{
    if (ring_room(producer, size) <= 0)
        return false;
    memset(ring_at(producer, producer->position), byte, size);
    ring_publish(producer, size);
    return true;
}

static size_t look(void)
{
    size_t size = 0;

    cr_assert_eq(ring_look(consumer, &size), 0);
    return size;
}

static void take(size_t size, uint8_t byte)
{
    const uint8_t *bytes = ring_at(consumer, consumer->position);

    for (size_t i = 0; i < size; i++)
        cr_assert_eq(bytes[i], byte);
    ring_consume(consumer, size);
}

Test(ring, sizes)
{
    cr_assert(ring_size_good(RING_SIZE_MIN) && ring_size_good(RING_SIZE_MAX));
    cr_assert(!ring_size_good(0) && !ring_size_good(RING_SIZE_MIN - 1));
    cr_assert(!ring_size_good(RING_SIZE_MIN + 4096) && !ring_size_good(2 * RING_SIZE_MAX));
    cr_assert_eq(near_end.to_client.size, 2 * SIZE);
}

/* Whatever lies across the end is in one piece all the same. */
Test(ring, goes_round)
{
    for (unsigned i = 0; i < 100000; i++) {
        size_t size = 1 + (size_t)rand() % 700;

        cr_assert(put(size, (uint8_t)i));
        cr_assert_eq(look(), size);
        take(size, (uint8_t)i);
    }
    cr_assert_gt(producer->position, 1000 * SIZE);
}

Test(ring, the_two_do_not_overlap)
{
    cr_assert(put(SIZE, 1));
    memset(ring_at(&far_end.to_client, 0), 2, (size_t)2 * SIZE);
    cr_assert_eq(look(), SIZE);
    take(SIZE, 1);
    cr_assert_eq(*ring_at(&near_end.to_client, 0), 2);
}

Test(ring, full_to_the_last_byte)
{
    cr_assert(put(SIZE - 1, 1));
    cr_assert(!put(2, 2));
    cr_assert(put(1, 2));
    cr_assert_eq(ring_room(producer, 0), 1);
    cr_assert_eq(ring_room(producer, 1), 0);
    cr_assert_eq(look(), SIZE);
    take(10, 1);
    cr_assert_eq(ring_room(producer, 11), 0);
    cr_assert(put(10, 3));
}

Test(ring, the_bell_is_rung_once_for_a_sleeper)
{
    cr_assert(!ring_publish(producer, 1), "nobody sleeps");
    cr_assert(!ring_sleep(consumer), "there is something");
    cr_assert(!ring_publish(producer, 1), "and it is awake then");
    cr_assert_eq(look(), 2);
    ring_consume(consumer, 2);
    cr_assert(ring_sleep(consumer));
    cr_assert(ring_publish(producer, 1));
    cr_assert(!ring_publish(producer, 1));
    ring_rouse(consumer);
    cr_assert(!ring_publish(producer, 1));
}

/* Half of the ring has to be free, or the producer would be woken for each frame. */
Test(ring, a_waiting_producer_is_woken_at_half)
{
    uint32_t before = atomic_load(&producer->shared->room);

    cr_assert(put(SIZE, 1));
    atomic_store(&producer->shared->waiting, 1);
    look();
    ring_consume(consumer, SIZE / 2 - 1);
    cr_assert_eq(atomic_load(&producer->shared->room), before);
    ring_consume(consumer, 1);
    cr_assert_eq(atomic_load(&producer->shared->room), before + 1);
    cr_assert_eq(atomic_load(&producer->shared->waiting), 0);
    cr_assert_eq(ring_await_room(producer, SIZE / 2, UINT64_MAX / 2), 0, "there is: no sleep");
}

Test(ring, waiting_ends_with_the_time)
{
    cr_assert(put(SIZE, 1));
    cr_assert_eq(ring_await_room(producer, 1, 1000000), 0);
    cr_assert_eq(ring_room(producer, 1), 0);
}

/* ---- indices that cannot be ------------------------------------------------------------------ */

Test(ring, wild_tails)
{
    static const int64_t wild[] = { INT64_MIN, -1, SIZE + 1, INT64_MAX };
    size_t size;

    cr_assert(put(100, 1));
    look();
    ring_consume(consumer, 50);
    for (unsigned i = 0; i < 4; i++) {
        atomic_store(&producer->shared->tail, consumer->position + (uint64_t)wild[i]);
        cr_assert_eq(ring_look(consumer, &size), -EPROTO);
    }
    atomic_store(&producer->shared->tail, consumer->position + SIZE);
    cr_assert_eq(ring_look(consumer, &size), 0);
    atomic_store(&producer->shared->tail, consumer->position + SIZE - 1);
    cr_assert_eq(ring_look(consumer, &size), -EPROTO, "it went back");
}

Test(ring, wild_heads)
{
    static const int64_t wild[] = { INT64_MIN, -1, SIZE + 1, INT64_MAX };

    cr_assert(put(SIZE, 1));
    for (unsigned i = 0; i < 4; i++) {
        atomic_store(&producer->shared->head, (uint64_t)wild[i]);
        cr_assert_eq(ring_room(producer, 1), -EPROTO);
        cr_assert_eq(ring_await_room(producer, 1, 1000000000000), -EPROTO, "no sleep");
    }
    atomic_store(&producer->shared->head, 10);
    cr_assert_eq(ring_room(producer, 10), 1);
    atomic_store(&producer->shared->head, 9);
    cr_assert_eq(ring_room(producer, 11), -EPROTO, "it went back");
}

/* On every CPU that we may run on, as the kernel says itself. */
Test(ring, says_where_the_producer_is)
{
    cpu_set_t all, one;

    cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
        cr_assert_neq(ring_cpu(consumer), (uint32_t)cpu + 1);
        ring_say_where(producer);
        cr_assert_eq(ring_cpu(consumer), (uint32_t)cpu + 1);
    }
    cr_assert_eq(sched_setaffinity(0, sizeof(all), &all), 0);
}
