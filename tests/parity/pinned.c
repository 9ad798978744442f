/* SPDX-License-Identifier: MIT */
/* Parity, the allocator of pinned host memory. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20 };

TestSuite(pinned, .init = scene_start, .fini = scene_stop);

static unsigned char *pinned(size_t size)
{
    void *memory = NULL;

    test_ok(xpurt_host_malloc(&memory, size));
    return memory;
}

static xpurt_host_memory_stats stats(void)
{
    xpurt_host_memory_stats now;

    test_ok(xpurt_host_memory_stats_get(&now));
    return now;
}

static bool all_are(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

Test(pinned, parity_H1_size_classes)
{
    unsigned char *memory[16];
    void *nothing = &memory;

    test_ok(xpurt_host_malloc(&nothing, 0));
    cr_assert_null(nothing);
    test_ok(xpurt_host_free(NULL));
    cr_assert_eq(stats().allocation.allocated, 0);

    for (size_t size = 1; size <= 4 * MIB; size = 3 * size + 1) {
        xpurt_pointer_attributes attributes;
        uint64_t rounded = 512, before = stats().allocated_bytes.current;
        unsigned char *one = pinned(size);

        while (rounded < size)
            rounded *= 2;
        cr_assert_eq(stats().allocated_bytes.current - before, rounded);
        cr_assert_eq((uintptr_t)one % (rounded < 4096 ? rounded : 4096), 0);
        test_ok(xpurt_pointer_get_attributes(one + size - 1, &attributes));
        cr_assert_eq(attributes.kind, XPURT_POINTER_HOST);
        cr_assert_eq(attributes.base, (void *)one);
        cr_assert_eq(attributes.size, size);
        test_ok(xpurt_host_free(one));
    }

    test_ok(xpurt_empty_host_cache());
    for (int i = 0; i < 16; i++) {      /* small ones share, and do not touch each other */
        memory[i] = pinned(1000);
        memset(memory[i], i, 1000);
    }
    cr_assert_eq(stats().segment.current, 1);
    test_daemon_await_counter("user-segments", 1);
    for (int i = 0; i < 16; i++)
        cr_assert(all_are(memory[i], 1000, (unsigned char)i));
    pinned(3 * MIB);
    cr_assert_eq(stats().segment.current, 2);
    cr_assert_eq(stats().reserved_bytes.current, 64 * KIB + 4 * MIB);
}

Test(pinned, parity_H1_is_pinned)
{
    unsigned char *memory = pinned(5000), *device = memory_on(0, 5000);
    int local;

    cr_assert(xpurt_host_is_pinned(memory));
    cr_assert(xpurt_host_is_pinned(memory + 4999));
    cr_assert_not(xpurt_host_is_pinned(memory + 5000));
    cr_assert_not(xpurt_host_is_pinned(memory - 1));
    cr_assert_not(xpurt_host_is_pinned(device));
    cr_assert_not(xpurt_host_is_pinned(&local));
    cr_assert_not(xpurt_host_is_pinned(NULL));
    test_ok(xpurt_host_free(memory));
    cr_assert_not(xpurt_host_is_pinned(memory));
}

Test(pinned, parity_H1_freed_memory_is_used_again)
{
    unsigned char *small = pinned(100), *large = pinned(5 * MIB);

    for (int i = 0; i < 10; i++) {
        test_ok(xpurt_host_free(small));
        test_ok(xpurt_host_free(large));
        cr_assert_eq(pinned(512 - (size_t)i), small);
        cr_assert_eq(pinned(8 * MIB - (size_t)i), large);
    }
    cr_assert_eq(stats().segment.allocated, 2);
}

/* What a copy that has not run yet will read is not given to the next one. */
Test(pinned, parity_H1_reuse_waits_for_copies)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(MIB), *back = pinned(MIB), *device = memory_on(0, MIB), *next;

    memset(from, 1, MIB);
    occupy(stream);
    test_ok(xpurt_memcpy_async(device, from, MIB, stream));
    test_ok(xpurt_host_free(from));
    for (int i = 0; i < 4; i++) {
        next = pinned(MIB);
        cr_assert_neq(next, from);
        memset(next, 2, MIB);
    }
    cr_assert_eq(stats().active.current - stats().allocation.current, 1);
    test_gate_open(&xpurtd);
    test_ok(xpurt_memcpy_async(back, device, MIB, stream));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert(all_are(back, MIB, 1));
    cr_assert_eq(pinned(MIB), from);
}

/* Of several streams the last one counts, and those the library did not see must be told of. */
Test(pinned, parity_H1_reuse_waits_for_recorded_streams)
{
    xpurt_stream *busy = stream_on(0), *other = stream_on(last_device);
    unsigned char *memory = pinned(2 * MIB);

    occupy(busy);
    test_ok(xpurt_memcpy_async(memory_on(last_device, KIB), memory, KIB, other));
    test_ok(xpurt_host_record_stream(memory + 5, busy));
    test_ok(xpurt_host_record_stream(memory, busy));
    test_ok(xpurt_stream_synchronize(other));
    test_ok(xpurt_host_free(memory));
    cr_assert_neq(pinned(2 * MIB), memory);
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(busy));
    cr_assert_eq(pinned(2 * MIB), memory);
}

Test(pinned, parity_H1_reuse_waits_for_destroyed_streams)
{
    xpurt_stream *stream = stream_on(0), *later;
    unsigned char *memory = pinned(2 * MIB), *second = pinned(2 * MIB);

    occupy(stream);
    test_ok(xpurt_memset_async(memory, 1, KIB, stream));
    test_ok(xpurt_host_record_stream(second, stream));
    test_ok(xpurt_host_free(memory));
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_host_free(second));
    later = stream_on(0);
    test_ok(xpurt_stream_synchronize(later));
    cr_assert_eq(stats().active.current, 2);
    test_gate_open(&xpurtd);
    while (stats().active.current)
        ;
    cr_assert(all_are(memory, KIB, 1));
    cr_assert_eq(stats().segment.allocated, 2);
    pinned(2 * MIB);
    pinned(2 * MIB);
    cr_assert_eq(stats().segment.allocated, 2);
}

Test(pinned, parity_H1_wrong_pointers)
{
    unsigned char *memory = pinned(1000), *device = memory_on(0, 1000);
    xpurt_stream *stream = stream_on(0);
    int local;

    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(memory + 1));
    cr_assert(said("inside pinned memory"));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(memory + 1024));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(device));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(&local));
    cr_assert(said("is not pinned memory"));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_record_stream(&local, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_record_stream(NULL, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_host_record_stream(memory, NULL));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device, memory, 1001, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(memory, 0, SIZE_MAX, stream));
    test_ok(xpurt_host_free(memory));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(memory));
    cr_assert(said("freed already"));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_record_stream(memory, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device, memory, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(memory, 0, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_host_malloc(NULL, 1));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_host_memory_stats_get(NULL));
    cr_assert_neq(xpurt_host_malloc((void **)&memory, SIZE_MAX), XPURT_SUCCESS);
    cr_assert_neq(xpurt_host_malloc((void **)&memory, (size_t)1 << 63), XPURT_SUCCESS);
    cr_assert_eq(stats().allocation.current, 0);
    test_ok(xpurt_stream_synchronize(stream));
}

static void expect_stat(xpurt_memory_stat stat, uint64_t current, uint64_t peak, uint64_t allocated,
                        uint64_t freed)
{
    test_require(stat.current == current && stat.peak == peak && stat.allocated == allocated &&
                     stat.freed == freed,
                 "%llu %llu %llu %llu", (unsigned long long)stat.current,
                 (unsigned long long)stat.peak, (unsigned long long)stat.allocated,
                 (unsigned long long)stat.freed);
}

Test(pinned, parity_H1_statistics)
{
    unsigned char *small = pinned(700), *large = pinned(3 * MIB), *other = pinned(600);

    expect_stat(stats().allocation, 3, 3, 3, 0);
    expect_stat(stats().allocated_bytes, 4 * MIB + 2048, 4 * MIB + 2048, 4 * MIB + 2048, 0);
    expect_stat(stats().segment, 2, 2, 2, 0);
    expect_stat(stats().reserved_bytes, 4 * MIB + 64 * KIB, 4 * MIB + 64 * KIB, 4 * MIB + 64 * KIB,
                0);
    test_ok(xpurt_host_free(large));
    test_ok(xpurt_host_free(other));
    expect_stat(stats().allocation, 1, 3, 3, 2);
    expect_stat(stats().active, 1, 3, 3, 2);
    expect_stat(stats().active_bytes, 1024, 4 * MIB + 2048, 4 * MIB + 2048, 4 * MIB + 1024);
    expect_stat(stats().segment, 2, 2, 2, 0);

    test_ok(xpurt_reset_peak_host_memory_stats());
    expect_stat(stats().allocation, 1, 1, 3, 2);
    test_ok(xpurt_reset_accumulated_host_memory_stats());
    expect_stat(stats().allocation, 1, 1, 0, 0);
    test_ok(xpurt_empty_host_cache());
    expect_stat(stats().segment, 1, 2, 0, 1);
    expect_stat(stats().reserved_bytes, 64 * KIB, 4 * MIB + 64 * KIB, 0, 4 * MIB);
    test_ok(xpurt_host_free(small));
    test_ok(xpurt_empty_host_cache());
    expect_stat(stats().segment, 0, 2, 0, 2);
    expect_stat(stats().active, 0, 1, 0, 1);
}

/* Also what work still uses is given back: the daemon keeps it until that is done. */
Test(pinned, parity_H1_empty_host_cache)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *from = pinned(MIB), *kept = pinned(MIB), *device = memory_on(0, MIB);
    unsigned char ordinary[3 * KIB];

    memset(from, 7, MIB);
    memset(ordinary, 3, sizeof(ordinary));
    occupy(stream);
    test_ok(xpurt_memcpy_async(device, from, MIB, stream));
    test_ok(xpurt_memcpy_async(device + KIB, ordinary, sizeof(ordinary), stream));
    test_ok(xpurt_host_free(from));
    test_ok(xpurt_empty_host_cache());  /* `kept` keeps its segment, which holds two of this size */
    cr_assert_eq(stats().segment.current, 1);
    test_ok(xpurt_host_free(kept));
    test_ok(xpurt_empty_host_cache());
    cr_assert_eq(stats().segment.current, 0);
    cr_assert_gt(test_daemon_counter("user-segments"), 0);
    kept = pinned(MIB);
    memset(kept, 0, MIB);

    test_gate_open(&xpurtd);
    test_ok(xpurt_memcpy_async(kept, device, MIB, stream));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert(all_are(kept, KIB, 7) && all_are(kept + KIB, 3 * KIB, 3) &&
              all_are(kept + 4 * KIB, MIB - 4 * KIB, 7));
    test_ok(xpurt_host_free(kept));
    test_ok(xpurt_empty_host_cache());
    test_ok(xpurt_device_synchronize(0));
    test_daemon_await_counter("user-segments", 0);
    test_daemon_await_counter("user-host-memory", 0);
}

/* A child has its parent's pinned memory as ordinary memory, and an allocator of its own. */
static void child_of_fork(int channel, void *data)
{
    unsigned char *inherited = data, *own, back = 0;
    xpurt_stream *stream = stream_on(0);
    unsigned char *device = memory_on(0, KIB);

    test_require(!xpurt_host_is_pinned(inherited), "the parent's memory is pinned here");
    test_require(stats().segment.allocated == 0, "the parent's segments are counted");
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(inherited));
    test_ok(xpurt_memcpy_async(device, inherited, KIB, stream));
    own = pinned(KIB);
    test_ok(xpurt_memcpy_async(own, device, KIB, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_require(all_are(own, KIB, 9), "other bytes");
    test_ok(xpurt_memcpy_async(&back, own, 1, stream));
    inherited[0] = 10;                  /* it is shared, as any memory that both map */
    test_pass(channel);
    test_await(channel);
}

Test(pinned, parity_H1_fork)
{
    unsigned char *memory = pinned(KIB), *freed = pinned(KIB);
    struct test_peer child;

    memset(memory, 9, KIB);
    test_ok(xpurt_host_free(freed));
    test_peer_start(&child, child_of_fork, memory);
    test_await(child.channel);
    cr_assert_eq(memory[0], 10);
    cr_assert_eq(pinned(KIB), freed);
    test_pass(child.channel);
    test_peer_join(&child);
    test_ok(xpurt_host_free(memory));
}

Test(pinned, parity_H1_reset)
{
    unsigned char *memory = pinned(KIB);

    test_ok(xpurt_reset());
    cr_assert_not(xpurt_host_is_pinned(memory));
    expect_stat(stats().segment, 0, 0, 0, 0);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(memory));
    memset(pinned(KIB), 1, KIB);
    test_daemon_await_counter("user-segments", 1);
}

/* Everything comes back from a process that dies with blocks live, free and in use. */
static void dies(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = pinned(4 * MIB), *device = memory_on(0, 4 * MIB);

    (void)data;
    pinned(KIB);
    test_ok(xpurt_host_free(pinned(MIB)));
    test_ok(xpurt_memcpy_async(device, memory, 4 * MIB, stream));
    occupy(stream);
    test_ok(xpurt_memcpy_async(memory, device, 4 * MIB, stream));
    test_ok(xpurt_host_free(memory));
    test_pass(channel);
    test_await(channel);
}

Test(pinned, parity_H1_kill)
{
    struct test_peer child;

    test_peer_start(&child, dies, NULL);
    test_await(child.channel);
    cr_assert_eq(test_daemon_counter("user-segments"), 3);
    test_peer_kill(&child);
    test_gate_open(&xpurtd);
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("user-segments", 0);
    test_daemon_await_counter("user-host-memory", 0);
    test_daemon_await_counter("user-allocations", 0);
}

/* ---- limits ------------------------------------------------------------------------------------ */

static void limits_start(void)
{
    static const char limits[] = "/tmp/xpurt-parity-pinned-XXXXXX";
    char path[sizeof(limits)];
    const char *arguments[] = { "--config", path, NULL };
    FILE *file;
    int fd;

    memcpy(path, limits, sizeof(limits));
    fd = mkstemp(path);
    file = fd < 0 ? NULL : fdopen(fd, "w");
    test_require(file, "there is no file");
    fputs("[limits]\nuser-host-memory = 3M\nuser-streams = 1\n", file);
    fclose(file);
    test_daemon_start(&xpurtd, arguments);
    remove(path);
}

TestSuite(pinned_limits, .init = limits_start, .fini = scene_stop);

/* What is cached goes back before anybody is told that there is no more. */
Test(pinned_limits, parity_H1_quota)
{
    unsigned char *memory = pinned(2 * MIB);
    void *more = NULL;

    test_expect(XPURT_ERROR_QUOTA, xpurt_host_malloc(&more, MIB));
    cr_assert(said("user-host-memory"));
    cr_assert_null(more);
    test_ok(xpurt_host_free(memory));
    memory = pinned(MIB);               /* in a segment of 2 MiB */
    test_expect(XPURT_ERROR_QUOTA, xpurt_host_malloc(&more, 2 * MIB));
    pinned(MIB);
    cr_assert_eq(stats().segment.freed, 1);
}

/* Nobody knows when a failed stream is done before it is gone. */
Test(pinned_limits, parity_H1_failed_streams)
{
    xpurt_stream *working = stream_on(0), *failed = stream_on(0);
    unsigned char *memory = pinned(KIB), *device = memory_on(0, KIB);

    test_expect(XPURT_ERROR_QUOTA, xpurt_stream_synchronize(failed));
    test_ok(xpurt_memcpy_async(device, memory, KIB, failed));
    test_ok(xpurt_memcpy_async(device, memory, KIB, working));
    test_ok(xpurt_host_free(memory));
    test_ok(xpurt_stream_synchronize(working));
    cr_assert_eq(stats().active.current, 1);
    cr_assert_neq(pinned(KIB), memory);
    test_ok(xpurt_stream_destroy(failed));
    while (stats().active.current != 1)
        ;
    cr_assert_eq(pinned(KIB), memory);
}
