/* SPDX-License-Identifier: MIT */
/* Parity, the caching allocator of device memory, and memory shared by handles. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* Fills (occupy) are not done before the gate is open; so nothing is cleared before it is, either. */
TestSuite(allocator, .init = scene_start, .fini = scene_stop, .timeout = 120);

/* A device of 64 MiB, without a gate. */
static void small_start(void)
{
    setenv("ZE_SOFT_FAULT", "memory:64M", 1);
    test_daemon_start(&xpurtd, NULL);
    unsetenv("ZE_SOFT_FAULT");
}

TestSuite(scarce, .init = small_start, .fini = scene_stop, .timeout = 120);

static unsigned char *alloc_on(xpurt_stream *stream, size_t size)
{
    void *memory;

    test_ok(xpurt_malloc_async(&memory, size, stream));
    return memory;
}

static unsigned char *alloc(size_t size)
{
    return memory_on(-1, size);
}

static xpurt_memory_stats stats_of(int device)
{
    xpurt_memory_stats stats;

    test_ok(xpurt_memory_stats_get(device, &stats));
    return stats;
}

static void fill(unsigned char *memory, size_t size, int value, xpurt_stream *stream)
{
    unsigned char *from = malloc(size);

    test_require(from, "no memory");
    memset(from, value, size);
    test_ok(xpurt_memcpy_async(memory, from, size, stream));
    free(from);
}

/* The block of @p memory in a snapshot. */
static xpurt_memory_block block_of(const void *memory)
{
    static xpurt_memory_block blocks[4096];
    size_t count = 0;

    test_ok(xpurt_memory_snapshot(-1, 4096, blocks, &count));
    for (size_t i = 0; i < count; i++)
        if (blocks[i].address == (uintptr_t)memory)
            return blocks[i];
    test_fail(__FILE__, __LINE__, "block_of", "%p is in no snapshot", memory);
}

/* Until work that is done has given back what it held. */
static void await_pending(unsigned blocks)
{
    test_daemon_await_counter("user-allocations", blocks);
}

/* Until it is free for everybody. */
static void await_inactive(const void *memory)
{
    for (int tries = 0; block_of(memory).state != XPURT_BLOCK_INACTIVE; tries++) {
        test_require(tries < 20000, "%p is still in use", memory);
        usleep(1000);
    }
}

/* ---- A1: sizes ------------------------------------------------------------------------------------- */

Test(allocator, parity_A1_size_classes)
{
    static const struct {
        size_t size, block, segment;
    } table[] = {
        { 1, 512, 2 * MIB },
        { 513, 1024, 2 * MIB },
        { 1 * MIB, 1 * MIB, 2 * MIB },
        { 1 * MIB + 1, 1 * MIB + 512, 20 * MIB },
        { 10 * MIB - 512, 10 * MIB - 512, 20 * MIB },
        { 10 * MIB, 10 * MIB, 10 * MIB },
        { 12 * MIB + 1, 12 * MIB + 512, 14 * MIB }, /* the rest is worth it */
        { 13 * MIB, 14 * MIB, 14 * MIB },           /* it is not */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned char *memory = alloc(table[i].size);
        xpurt_memory_block block = block_of(memory);

        cr_assert_eq(block.segment_size, table[i].segment, "%zu", i);
        cr_assert_eq(block.size, table[i].block, "%zu", i);
        cr_assert_eq(block.requested, table[i].size);
        cr_assert_eq(block.pool, table[i].block <= MIB ? XPURT_MEMORY_SMALL : XPURT_MEMORY_LARGE);
        cr_assert_eq(block.state, XPURT_BLOCK_ALLOCATED);
        cr_assert_eq(block.owner, getpid());
        test_ok(xpurt_free(memory));
        test_gate_open(&xpurtd);
        test_ok(xpurt_empty_cache());
        cr_assert_eq(stats_of(-1).reserved_bytes[0].current, 0);
    }
}

Test(allocator, parity_A1_best_fit_split_and_join)
{
    unsigned char *a = alloc(9 * KIB), *between = alloc(512), *b = alloc(4 * KIB);
    unsigned char *last = alloc(512), *memory;

    test_ok(xpurt_free(a));
    test_ok(xpurt_free(b));
    memory = alloc(3 * KIB);
    cr_assert_eq(memory, b, "the smallest that is large enough");
    cr_assert_eq(stats_of(-1).inactive_split[XPURT_MEMORY_SMALL].current, 3);
    test_ok(xpurt_free(memory));
    test_ok(xpurt_free(between));
    memory = alloc(13 * KIB + 512);
    cr_assert_eq(memory, a, "neighbours were joined");
    cr_assert_eq(stats_of(-1).driver_allocations, 1);
    test_ok(xpurt_free(memory));
    test_ok(xpurt_free(last));
    cr_assert_eq(stats_of(-1).inactive_split[0].current, 0);
}

static void allocates_and_frees(int channel, void *data)
{
    unsigned char *memory;

    (void)data;
    test_await(channel);
    memory = alloc(30 * MIB);
    test_send(channel, &memory, sizeof(memory));
    test_await(channel);
    test_ok(xpurt_free(memory));
    (void)test_daemon_counter("sessions"); /* the daemon has seen it */
    test_pass(channel);
}

/* Freed memory of one process serves another without a driver call; after it has died, too. */
Test(allocator, parity_A1_serves_other_processes)
{
    struct test_peer first, second;
    unsigned char *theirs, *memory;
    unsigned long long calls;

    test_peer_start(&first, allocates_and_frees, NULL);
    test_peer_start(&second, allocates_and_frees, NULL);
    test_ok(xpurt_init());
    test_pass(first.channel);
    test_receive(first.channel, &theirs, sizeof(theirs));
    calls = test_daemon_counter("driver-allocations");
    test_pass(first.channel);
    test_await(first.channel);
    memory = alloc(30 * MIB);
    cr_assert_eq(memory, theirs);
    test_ok(xpurt_free(memory));
    test_peer_join(&first);

    test_pass(second.channel);
    test_receive(second.channel, &theirs, sizeof(theirs));
    cr_assert_eq(memory, theirs);
    test_peer_kill(&second);
    await_pending(0);
    cr_assert_eq(alloc(30 * MIB), theirs);
    cr_assert_eq(test_daemon_counter("driver-allocations"), calls);
}

/* ---- A2: stream order -------------------------------------------------------------------------------- */

/* With work that is not done: the same stream has the memory again, others do not. */
static void reuse(size_t size, bool asks)
{
    xpurt_stream *stream = stream_on(0), *other = stream_on(0);
    unsigned char *memory = alloc_on(stream, size), *again;
    uint64_t hits = stats_of(0).cached_hits;

    test_ok(xpurt_memset_async(memory, 1, size, stream));
    test_ok(xpurt_free_async(memory, stream));
    cr_assert_neq(alloc_on(other, size), memory);
    again = alloc_on(stream, size);
    cr_assert_eq(again, memory);
    cr_assert_not(stream_done(stream));
    cr_assert_eq(stats_of(0).cached_hits - hits, asks ? 0 : 1);

    /* Once more, and once by way of the daemon: all streams may have it when this one is done. */
    test_ok(xpurt_memset_async(again, 2, size, stream));
    test_ok(xpurt_free_async(again, stream));
    again = alloc_on(stream, size);
    cr_assert_eq(again, memory);
    test_ok(xpurt_free(again));
    cr_assert_neq(alloc_on(other, size), memory);
}

Test(allocator, parity_A2_same_stream_reuses_without_waiting)
{
    reuse(100 * KIB, false);
    reuse(65 * MIB, true);              /* too large for the process to keep */
}

static void asks_for_memory(int channel, void *data)
{
    unsigned char *memory;

    (void)data;
    for (int i = 0; i < 2; i++) {
        test_await(channel);
        memory = alloc(65 * MIB);
        test_send(channel, &memory, sizeof(memory));
        test_ok(xpurt_free(memory));
    }
}

/* Another process has to wait until the stream is there, and needs no driver call then. */
Test(allocator, parity_A2_others_after_the_work_is_done)
{
    unsigned char *memory, *theirs;
    unsigned long long calls;
    struct test_peer peer;
    xpurt_stream *stream;

    test_peer_start(&peer, asks_for_memory, NULL);
    stream = stream_on(0);
    memory = alloc_on(stream, 65 * MIB);
    occupy(stream);                     /* that it does not name the memory does not matter */
    test_ok(xpurt_free_async(memory, stream));
    test_pass(peer.channel);
    test_receive(peer.channel, &theirs, sizeof(theirs));
    cr_assert_neq(theirs, memory);
    calls = test_daemon_counter("driver-allocations");
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    await_inactive(memory);
    cr_assert_eq(alloc(65 * MIB), theirs < memory ? theirs : memory);
    test_pass(peer.channel);
    test_receive(peer.channel, &theirs, sizeof(theirs));
    cr_assert_eq(test_daemon_counter("driver-allocations"), calls);
    test_peer_join(&peer);
}

Test(allocator, parity_A2_arguments)
{
    xpurt_stream *stream = stream_on(0), *elsewhere = stream_on(last_device);
    void *memory = &memory;

    test_ok(xpurt_malloc_async(&memory, 0, stream));
    cr_assert_null(memory);
    test_ok(xpurt_free_async(NULL, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_malloc_async(NULL, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_malloc_async(&memory, 1, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_malloc_async(&memory, 0, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_free_async(&memory, NULL));
    memory = alloc_on(stream, 1000);
    if (last_device) {
        test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_free_async(memory, elsewhere));
        cr_assert(said("device 0") && said("device 1"));
    }
    test_ok(xpurt_free_async(memory, stream));
}

/* A stream that is destroyed leaves nothing behind. */
Test(allocator, parity_A2_destroyed_streams)
{
    for (int i = 0; i < 40; i++) {
        xpurt_stream *stream = stream_on(0);

        for (int k = 0; k < 40; k++) {
            unsigned char *memory = alloc_on(stream, (size_t)(k + 1) * KIB);

            test_ok(xpurt_free_async(memory, stream));
        }
        test_ok(xpurt_stream_destroy(stream));
    }
    await_pending(0);
    cr_assert_eq(stats_of(0).active[0].current, 0);
    cr_assert_eq(stats_of(0).driver_allocations, 1);
}

/* ---- A3: other streams ---------------------------------------------------------------------------------- */

Test(allocator, parity_A3_not_reused_before_the_recorded_stream_is_done)
{
    xpurt_stream *stream = stream_on(0), *user = stream_on(0), *bystander = stream_on(last_device);
    unsigned char *memory = alloc_on(stream, 100 * KIB), *others[3];

    test_ok(xpurt_record_stream(memory + 77, user));
    test_ok(xpurt_record_stream(memory, bystander));
    occupy(user);                       /* after the call, and not naming the memory */
    test_ok(xpurt_free_async(memory, stream));
    for (int i = 0; i < 3; i++) {
        others[i] = alloc_on(stream, 100 * KIB);
        cr_assert_neq(others[i], memory);
    }
    cr_assert_eq(block_of(memory).state, XPURT_BLOCK_PENDING_FREE);
    cr_assert_eq(stats_of(0).active[0].current, stats_of(0).allocation[0].current + 1);
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(user));
    await_pending(4);                   /* occupy() has one, too */
    cr_assert_eq(alloc_on(stream, 100 * KIB), memory);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_record_stream(&memory, user));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_record_stream(memory, NULL));
}

static void records_until(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0), *user = stream_on(0);
    unsigned char *memory = alloc_on(stream, 3 * MIB);

    (void)data;
    test_ok(xpurt_record_stream(memory, user));
    occupy(user);
    test_ok(xpurt_free_async(memory, stream));
    test_ok(xpurt_stream_synchronize(stream));
    test_send(channel, &memory, sizeof(memory));
    test_await(channel);
}

/* The process that recorded dies: what its stream still does keeps the memory from others. */
Test(allocator, parity_A3_death_of_the_recording_process)
{
    unsigned char *theirs, *memory;
    struct test_peer peer;

    test_peer_start(&peer, records_until, NULL);
    test_receive(peer.channel, &theirs, sizeof(theirs));
    memory = alloc(3 * MIB);
    cr_assert_neq(memory, theirs);
    test_peer_kill(&peer);
    cr_assert_neq(alloc(3 * MIB), theirs);
    test_gate_open(&xpurtd);
    await_pending(2);
    test_ok(xpurt_free(memory));
    cr_assert_eq(alloc(3 * MIB), theirs < memory ? theirs : memory);
}

/* ---- A4: when memory runs out ------------------------------------------------------------------------------ */

Test(scarce, parity_A4_cached_memory_goes_back_before_failing)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *first = alloc(30 * MIB), *second = alloc_on(stream, 12 * MIB);
    void *none = NULL;

    test_ok(xpurt_free(first));
    test_ok(xpurt_free_async(second, stream)); /* kept by this process */
    first = alloc(50 * MIB);
    cr_assert_eq(stats_of(0).retries, 1);
    cr_assert_eq(stats_of(0).ooms, 0);
    cr_assert_eq(stats_of(0).scrubbed_bytes, 42 * MIB);
    cr_assert_eq(stats_of(0).driver_frees, 2);
    second = alloc_on(stream, 3 * MIB); /* 20 MiB are not there: just what is needed */
    cr_assert_eq(block_of(second).segment_size, 3 * MIB);
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc(&none, 30 * MIB));
    cr_assert_null(none);
    cr_assert_eq(stats_of(0).ooms, 1);
    test_ok(xpurt_free(first));
    cr_assert_not_null(alloc(30 * MIB));
}

static void holds_memory(int channel, void *data)
{
    unsigned char *memory = alloc(*(size_t *)data);

    (void)memory;
    test_pass(channel);
    test_await(channel);
}

Test(scarce, parity_A4_the_message_says_who_has_it)
{
    size_t sizes[] = { 20 * MIB, 11 * MIB };
    struct test_peer peers[2];
    void *none = NULL;
    char text[64];

    for (int i = 0; i < 2; i++)
        test_peer_start(&peers[i], holds_memory, &sizes[i]);
    for (int i = 0; i < 2; i++)
        test_await(peers[i].channel);
    alloc(2 * MIB);
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc(&none, 40 * MIB + 1));
    cr_assert(said("cannot allocate 41943041 bytes on device 0"), "%s", xpurt_last_error());
    cr_assert(said("of 67108864 bytes 12582912 are free"), "%s", xpurt_last_error());
    cr_assert(said(" 2097152 are in use by this process"), "%s", xpurt_last_error());
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), ", %zu by process %d (", i ? 12 * MIB : sizes[i],
                 (int)peers[i].pid);
        cr_assert(said(text), "%s: %s", text, xpurt_last_error());
    }
    cr_assert(said("18874368 are cached"), "%s", xpurt_last_error());
    for (int i = 0; i < 2; i++) {
        test_pass(peers[i].channel);
        test_peer_join(&peers[i]);
    }
    await_pending(1);
    alloc(40 * MIB + 1);
}

static void somebody_else(int channel, void *data)
{
    const struct passwd *nobody = data;
    enum { SIZE = 40 << 20 };
    unsigned char *memory, *seen = malloc(SIZE);
    xpurt_stream *stream;

    test_require(setgroups(0, NULL) == 0 && setgid(nobody->pw_gid) == 0 &&
                     setuid(nobody->pw_uid) == 0,
                 "cannot become nobody: %s", strerror(errno));
    test_await(channel);
    test_require(seen, "no memory");
    memory = alloc(SIZE);
    stream = stream_on(0);
    test_ok(xpurt_memcpy_async(seen, memory, SIZE, stream));
    for (size_t i = 0; i < SIZE; i++)
        test_require(seen[i] == 0, "byte %zu is %d", i, seen[i]);
    free(seen);
}

/* Another user's need takes what is cached here; what it gets was cleared. */
Test(scarce, parity_A4_pressure_of_another_user_and_clean_memory)
{
    struct passwd *nobody = getpwnam("nobody");
    unsigned char *memory;
    struct test_peer peer;
    xpurt_stream *stream;

    if (geteuid() != 0 || !nobody)
        cr_skip_test("needs root, to become somebody else");
    cr_assert_eq(chmod(xpurtd.dir, 0755), 0);
    cr_assert_eq(chmod(xpurtd.socket, 0666), 0);
    test_peer_start(&peer, somebody_else, nobody);
    stream = stream_on(0);
    memory = alloc_on(stream, 50 * MIB);
    fill(memory, 50 * MIB, 0x5a, stream);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_free_async(memory, stream));
    cr_assert_eq(block_of(memory).state, XPURT_BLOCK_CACHED);
    test_pass(peer.channel);
    test_peer_join(&peer);
    cr_assert_eq(stats_of(0).scrubbed_bytes, 50 * MIB);
    cr_assert_eq(stats_of(0).reserved_bytes[0].current, 0);
    cr_assert_eq(stats_of(0).allocation[0].current, 0);
}

/* A share of the device for this process; hits of what it keeps are within it, too. */
Test(scarce, parity_A4_memory_fraction)
{
    xpurt_stream *stream = stream_on(0);
    void *first, *second, *none = NULL;

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_set_memory_fraction(-0.1, 0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_set_memory_fraction(1.01, 0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_set_memory_fraction(0.0 / 0.0, 0));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_set_memory_fraction(0.5, 77));
    first = alloc_on(stream, 10 * MIB);
    second = alloc_on(stream, 12 * MIB);
    test_ok(xpurt_set_memory_fraction(0.25, 0));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc(&none, 1));
    cr_assert(said("16777216"), "%s", xpurt_last_error());
    test_ok(xpurt_free_async(second, stream));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc_async(&none, 12 * MIB, stream));
    test_ok(xpurt_malloc_async(&second, 6 * MIB, stream)); /* 16 MiB now */
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc_async(&none, 1, stream));
    test_ok(xpurt_free_async(first, stream));
    test_ok(xpurt_malloc_async(&first, 10 * MIB, stream));
    test_ok(xpurt_set_memory_fraction(0, 0));
    test_ok(xpurt_free_async(first, stream));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc_async(&none, 10 * MIB, stream));
    test_ok(xpurt_set_memory_fraction(1, 0));
    test_ok(xpurt_malloc_async(&first, 30 * MIB, stream));
    cr_assert_null(none);
}

/* ---- A5: statistics ------------------------------------------------------------------------------------------ */

static void expect_stat(xpurt_memory_stat stat, uint64_t current, uint64_t peak, uint64_t allocated,
                        uint64_t freed, int line)
{
    test_require(stat.current == current && stat.peak == peak && stat.allocated == allocated &&
                     stat.freed == freed,
                 "line %d: %llu %llu %llu %llu", line, (unsigned long long)stat.current,
                 (unsigned long long)stat.peak, (unsigned long long)stat.allocated,
                 (unsigned long long)stat.freed);
}

#define EXPECT_STAT(stat, ...) expect_stat(stat, __VA_ARGS__, __LINE__)

Test(allocator, parity_A5_statistics)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *small = alloc_on(stream, 1000), *large = alloc(3 * MIB + 1);
    xpurt_memory_stats stats = stats_of(0);

    EXPECT_STAT(stats.allocation[XPURT_MEMORY_ALL], 2, 2, 2, 0);
    EXPECT_STAT(stats.allocation[XPURT_MEMORY_SMALL], 1, 1, 1, 0);
    EXPECT_STAT(stats.active[XPURT_MEMORY_LARGE], 1, 1, 1, 0);
    EXPECT_STAT(stats.segment[XPURT_MEMORY_ALL], 2, 2, 2, 0);
    EXPECT_STAT(stats.reserved_bytes[XPURT_MEMORY_ALL], 22 * MIB, 22 * MIB, 22 * MIB, 0);
    EXPECT_STAT(stats.allocated_bytes[XPURT_MEMORY_SMALL], 1024, 1024, 1024, 0);
    EXPECT_STAT(stats.requested_bytes[XPURT_MEMORY_SMALL], 1000, 1000, 1000, 0);
    EXPECT_STAT(stats.requested_bytes[XPURT_MEMORY_ALL], 3 * MIB + 1001, 3 * MIB + 1001,
                3 * MIB + 1001, 0);
    EXPECT_STAT(stats.inactive_split[XPURT_MEMORY_ALL], 2, 2, 2, 0);
    EXPECT_STAT(stats.inactive_split_bytes[XPURT_MEMORY_SMALL], 2 * MIB - 1024, 2 * MIB - 1024,
                2 * MIB - 1024, 0);

    /* Freed, but work uses it: active still. */
    test_ok(xpurt_memset_async(large, 1, 3 * MIB, stream));
    test_ok(xpurt_free(large));
    stats = stats_of(0);
    EXPECT_STAT(stats.allocation[XPURT_MEMORY_LARGE], 0, 1, 1, 1);
    EXPECT_STAT(stats.active[XPURT_MEMORY_LARGE], 1, 1, 1, 0);
    EXPECT_STAT(stats.active_bytes[XPURT_MEMORY_LARGE], 3 * MIB + 512, 3 * MIB + 512, 3 * MIB + 512,
                0);
    test_gate_open(&xpurtd);
    await_pending(1);
    EXPECT_STAT(stats_of(0).active[XPURT_MEMORY_LARGE], 0, 1, 1, 1);

    /* By the magazine: three times up and down. */
    for (int i = 0; i < 3; i++) {
        test_ok(xpurt_free_async(small, stream));
        small = alloc_on(stream, 800);
    }
    stats = stats_of(0);
    cr_assert_eq(stats.cached_hits, 3);
    EXPECT_STAT(stats.allocation[XPURT_MEMORY_SMALL], 1, 1, 4, 3);
    EXPECT_STAT(stats.active_bytes[XPURT_MEMORY_SMALL], 1024, 1024, 4096, 3072);
    EXPECT_STAT(stats.requested_bytes[XPURT_MEMORY_SMALL], 800, 1000, 3400, 2600);
    cr_assert_eq(block_of(small).requested, 800);

    test_ok(xpurt_reset_peak_memory_stats(0));
    stats = stats_of(0);
    EXPECT_STAT(stats.allocation[XPURT_MEMORY_ALL], 1, 1, 5, 4);
    EXPECT_STAT(stats.active[XPURT_MEMORY_LARGE], 0, 0, 1, 1);
    EXPECT_STAT(stats.inactive_split[XPURT_MEMORY_ALL], 1, 1, 2, 1);
    test_ok(xpurt_reset_accumulated_memory_stats(0));
    stats = stats_of(0);
    EXPECT_STAT(stats.allocation[XPURT_MEMORY_ALL], 1, 1, 0, 0);
    EXPECT_STAT(stats.active[XPURT_MEMORY_ALL], 1, 1, 0, 0);
    EXPECT_STAT(stats.reserved_bytes[XPURT_MEMORY_ALL], 22 * MIB, 22 * MIB, 0, 0);
    cr_assert_eq(stats.cached_hits, 0);

    test_ok(xpurt_empty_cache());
    stats = stats_of(0);
    EXPECT_STAT(stats.segment[XPURT_MEMORY_ALL], 1, 2, 0, 1);
    cr_assert_eq(stats.scrubbed_bytes, 20 * MIB);
    test_ok(xpurt_free_async(small, stream));
    test_ok(xpurt_empty_cache());       /* takes it from the magazine */
    stats = stats_of(0);
    cr_assert_eq(stats.reserved_bytes[0].current, 0);
    EXPECT_STAT(stats.active[XPURT_MEMORY_ALL], 0, 1, 0, 1);
    cr_assert_eq(stats.driver_allocations, stats.driver_frees);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memory_stats_get(0, NULL));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_memory_stats_get(77, &stats));
}

static void own_statistics(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = alloc_on(stream, 5000);

    (void)data;
    EXPECT_STAT(stats_of(0).allocation[0], 1, 1, 1, 0);
    EXPECT_STAT(stats_of(0).segment[0], 1, 1, 1, 0);
    test_send(channel, &memory, sizeof(memory));
    test_await(channel);
    test_ok(xpurt_free_async(memory, stream));
    test_pass(channel);
    test_await(channel);
}

/* Allocations are those of the process, segments those of the user; a snapshot shows whose. */
Test(allocator, parity_A5_snapshot_of_two_processes)
{
    static xpurt_memory_block blocks[64];
    unsigned char *mine, *theirs;
    struct test_peer peer;
    uint64_t sum = 0;
    size_t count;

    test_peer_start(&peer, own_statistics, NULL);
    test_receive(peer.channel, &theirs, sizeof(theirs));
    mine = alloc(700);
    EXPECT_STAT(stats_of(0).allocation[0], 1, 1, 1, 0);
    cr_assert_eq(stats_of(0).segment[0].current, 1);
    cr_assert_eq(block_of(mine).owner, getpid());
    cr_assert_eq(block_of(mine).stream, -1);
    cr_assert_eq(block_of(theirs).owner, peer.pid);
    cr_assert_eq(block_of(theirs).stream, 0);
    cr_assert_eq(block_of(theirs).requested, 5000);
    cr_assert_eq(block_of(theirs).state, XPURT_BLOCK_ALLOCATED);
    test_pass(peer.channel);
    test_await(peer.channel);
    cr_assert_eq(block_of(theirs).state, XPURT_BLOCK_CACHED);

    test_ok(xpurt_memory_snapshot(0, 64, blocks, &count));
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(blocks[i].address, blocks[i].segment + sum);
        cr_assert_eq(blocks[i].segment_size, 2 * MIB);
        sum += blocks[i].size;
    }
    cr_assert_eq(sum, 2 * MIB);
    test_ok(xpurt_memory_snapshot(0, 0, NULL, &count));
    cr_assert_eq(count, 3);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memory_snapshot(0, 1, NULL, &count));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memory_snapshot(0, 0, NULL, NULL));
    test_pass(peer.channel);
    test_peer_join(&peer);
}

/* More blocks than one answer holds. */
Test(allocator, parity_A5_large_snapshot)
{
    enum { BLOCKS = 3000 };
    static xpurt_memory_block blocks[2 * BLOCKS];
    size_t count, allocated = 0;
    uint64_t end = 0;

    for (int i = 0; i < BLOCKS; i++)
        alloc(1 + (size_t)(i % 5000));
    test_ok(xpurt_memory_snapshot(0, 2 * BLOCKS, blocks, &count));
    for (size_t i = 0; i < count; i++) {
        cr_assert_geq(blocks[i].address, end);
        end = blocks[i].address + blocks[i].size;
        allocated += blocks[i].state == XPURT_BLOCK_ALLOCATED;
    }
    cr_assert_eq(allocated, BLOCKS);
}

/* ---- A6: what is no memory --------------------------------------------------------------------------------------- */

Test(allocator, parity_A6_zero_double_foreign)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = alloc_on(stream, 3000);
    void *none = memory;
    int local;

    test_ok(xpurt_malloc(&none, 0));
    cr_assert_null(none);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_malloc(NULL, 1));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free_async(&local, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free_async(memory + 1, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free_async(memory + 4096, stream));
    test_ok(xpurt_free_async(memory, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free_async(memory, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(memory));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(memory, 1, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(memory, &local, 1, stream));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc_async(&none, SIZE_MAX, stream));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc_async(&none, (size_t)1 << 63, stream));
    test_expect(XPURT_ERROR_OUT_OF_MEMORY, xpurt_malloc(&none, SIZE_MAX - 100));
    cr_assert_null(none);
    cr_assert_eq(alloc_on(stream, 3000), memory);
    test_ok(xpurt_memset_async(memory, 1, 3000, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(memory, 1, 3001, stream));
}

static void frees_what_is_not_its(int channel, void *data)
{
    unsigned char *theirs;

    (void)data;
    test_receive(channel, &theirs, sizeof(theirs));
    test_ok(xpurt_init());
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(theirs));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free_async(theirs, stream_on(0)));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_record_stream(theirs, stream_on(0)));
}

Test(allocator, parity_A6_memory_of_another_process)
{
    unsigned char *memory;
    struct test_peer peer;

    test_peer_start(&peer, frees_what_is_not_its, NULL);
    memory = alloc(3000);
    test_send(peer.channel, &memory, sizeof(memory));
    test_peer_join(&peer);
    test_ok(xpurt_free(memory));
}

/* ---- A7: attributes ------------------------------------------------------------------------------------------------ */

static xpurt_pointer_attributes attributes_of(const void *ptr)
{
    xpurt_pointer_attributes attributes;

    test_ok(xpurt_pointer_get_attributes(ptr, &attributes));
    return attributes;
}

static void opens_and_looks(int channel, void *data)
{
    xpurt_pointer_attributes attributes;
    xpurt_mem_handle handle;
    void *memory;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, &memory));
    attributes = attributes_of((char *)memory + 5);
    test_require(attributes.owner == getppid(), "the owner is %d", (int)attributes.owner);
    test_require(attributes.opened && attributes.device == last_device, "not opened there");
    test_require((char *)attributes.base + 100 == memory, "the base");
    test_require(attributes.kind == XPURT_POINTER_DEVICE, "device memory");
}

Test(allocator, parity_A7_pointer_attributes)
{
    xpurt_pointer_attributes attributes;
    xpurt_mem_handle handle;
    unsigned char *memory;
    xpurt_stream *stream;
    struct test_peer peer;

    test_peer_start(&peer, opens_and_looks, NULL);
    stream = stream_on(last_device);
    memory = alloc_on(stream, 5000);
    attributes = attributes_of(memory + 4999);
    cr_assert_eq(attributes.kind, XPURT_POINTER_DEVICE);
    cr_assert_eq(attributes.device, last_device);
    cr_assert_eq(attributes.base, memory);
    cr_assert_eq(attributes.size, 5000);
    cr_assert_eq(attributes.owner, getpid());
    cr_assert_not(attributes.opened);
    cr_assert_eq(attributes_of(memory + 5000).kind, XPURT_POINTER_UNKNOWN);
    test_ok(xpurt_mem_get_ipc_handle(memory + 100, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    test_peer_join(&peer);
    test_ok(xpurt_free_async(memory, stream));
    cr_assert_eq(attributes_of(memory).kind, XPURT_POINTER_UNKNOWN);
    cr_assert_eq(attributes_of(memory).owner, 0);
}

/* ---- I10: memory by handles ----------------------------------------------------------------------------------------- */

enum { SHARED = 300000, OFFSET = 12345 };

static void opens_twice(int channel, void *data)
{
    unsigned char *first, *second, *whole, seen[64];
    xpurt_mem_handle handles[2];
    xpurt_stream *stream;

    (void)data;
    test_receive(channel, handles, sizeof(handles));
    test_ok(xpurt_mem_open_ipc_handle(&handles[1], (void **)&first));
    test_ok(xpurt_mem_open_ipc_handle(&handles[1], (void **)&second));
    test_ok(xpurt_mem_open_ipc_handle(&handles[0], (void **)&whole));
    test_require(first == second && first == whole + OFFSET, "not the same memory");
    test_ok(xpurt_mem_close_ipc_handle(second));
    test_ok(xpurt_mem_close_ipc_handle(whole));
    stream = stream_on(0);
    test_ok(xpurt_memcpy_async(seen, first, sizeof(seen), stream));
    for (size_t i = 0; i < sizeof(seen); i++)
        test_require(seen[i] == 0x77, "byte %zu is %d", i, seen[i]);
    test_pass(channel);
    test_await(channel);                /* the owner is gone, or has freed it */
    memset(seen, 0, sizeof(seen));
    test_ok(xpurt_memcpy_async(seen, first, sizeof(seen), stream));
    for (size_t i = 0; i < sizeof(seen); i++)
        test_require(seen[i] == 0x77, "byte %zu is %d", i, seen[i]);
    test_ok(xpurt_mem_close_ipc_handle(first));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_mem_close_ipc_handle(first));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(first, 1, 1, stream));
    test_pass(channel);
    test_await(channel);
}

static void share(xpurt_mem_handle handles[2], unsigned char **ret_memory)
{
    xpurt_stream *stream = stream_on(0);
    unsigned char *memory = alloc_on(stream, SHARED);

    fill(memory, SHARED, 0x77, stream);
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_mem_get_ipc_handle(memory, &handles[0]));
    test_ok(xpurt_mem_get_ipc_handle(memory + OFFSET, &handles[1]));
    *ret_memory = memory;
}

/* Three processes: two have opened what the third frees. */
Test(allocator, parity_I10_opened_twice_owner_frees)
{
    struct test_peer openers[2];
    xpurt_mem_handle handles[2];
    unsigned char *memory;
    void *none = NULL;

    cr_assert_eq(sizeof(handles[0]), 64);
    for (int i = 0; i < 2; i++)
        test_peer_start(&openers[i], opens_twice, NULL);
    share(handles, &memory);
    for (int i = 0; i < 2; i++) {
        test_send(openers[i].channel, handles, sizeof(handles));
        test_await(openers[i].channel);
        cr_assert_eq(test_daemon_counter("user-leases"), (unsigned)i + 1);
    }
    test_ok(xpurt_free_async(memory, stream_on(0)));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_mem_open_ipc_handle(&handles[0], &none));
    for (int i = 0; i < 2; i++) {
        cr_assert_neq(alloc(SHARED), memory, "opener %d still has it", i);
        test_pass(openers[i].channel);
        test_await(openers[i].channel);
    }
    cr_assert_eq(stats_of(0).active[0].current, 2, "it is nobody's now");
    await_inactive(memory);
    cr_assert_eq(alloc(SHARED), memory);
    for (int i = 0; i < 2; i++) {
        test_pass(openers[i].channel);
        test_peer_join(&openers[i]);
    }
}

static void shares_and_dies(int channel, void *data)
{
    xpurt_mem_handle handles[2];
    unsigned char *memory;

    (void)data;
    share(handles, &memory);
    test_send(channel, handles, sizeof(handles));
    test_send(channel, &memory, sizeof(memory));
    test_await(channel);
}

/* Three processes: the owner dies, the opener goes on, somebody else must not get the memory. */
Test(allocator, parity_I10_owner_dies)
{
    struct test_peer owner, opener;
    xpurt_mem_handle handles[2];
    unsigned char *memory, *other;
    void *none = NULL;

    test_peer_start(&owner, shares_and_dies, NULL);
    test_peer_start(&opener, opens_twice, NULL);
    test_receive(owner.channel, handles, sizeof(handles));
    test_receive(owner.channel, &memory, sizeof(memory));
    test_send(opener.channel, handles, sizeof(handles));
    test_await(opener.channel);
    test_peer_kill(&owner);
    test_daemon_await_counter("user-exports", 0);
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_mem_open_ipc_handle(&handles[1], &none));
    other = alloc(SHARED);
    cr_assert_neq(other, memory);
    cr_assert_eq(block_of(memory).state, XPURT_BLOCK_ALLOCATED);
    cr_assert_eq(block_of(memory).owner, 0);
    test_pass(opener.channel);
    test_await(opener.channel);
    await_pending(1);
    cr_assert_eq(alloc(SHARED), memory);
    test_pass(opener.channel);
    test_peer_join(&opener);
}

static void reopens(int channel, void *data)
{
    xpurt_mem_handle handle;
    void *none = NULL;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_mem_open_ipc_handle(&handle, &none));
    test_require(!none, "opened");
}

/* The address is in use again, the handle is not good for it. */
Test(allocator, parity_I10_handles_of_reused_memory)
{
    xpurt_stream *stream;
    unsigned char *memory, *again;
    xpurt_mem_handle handle;
    struct test_peer peer;

    test_peer_start(&peer, reopens, NULL);
    stream = stream_on(0);
    memory = alloc_on(stream, 2000);
    test_ok(xpurt_mem_get_ipc_handle(memory, &handle));
    test_ok(xpurt_free_async(memory, stream));
    again = alloc_on(stream, 2000);
    cr_assert_eq(again, memory);
    test_send(peer.channel, &handle, sizeof(handle));
    test_peer_join(&peer);
}
