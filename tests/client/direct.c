/* SPDX-License-Identifier: MIT */
/* Large copies of ordinary memory, where device memory is mapped for them and where it cannot be: the
 * bytes, their order, and what is left of the mappings. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define PART (64 * KIB)                 /* goes by staging always */
#define LARGE (8 * MIB)
#define MAPPINGS 256                    /* that a process has at most */

static struct test_daemon xpurtd;
static xpurt_stream *stream;

static void start(void)
{
    test_daemon_start_gated(&xpurtd);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(direct, .init = start, .fini = stop, .timeout = 120);

/* ---- what there is ---------------------------------------------------------------------------------- */

static void connect_here(void)
{
    test_ok(xpurt_stream_create(&stream));
}

static unsigned char *device_new(size_t size)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, size));
    return memory;
}

static unsigned char *ordinary_new(size_t size, unsigned seed)
{
    unsigned char *bytes = malloc(size);

    test_require(bytes, "no memory");
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24);
    }
    return bytes;
}

static bool integrated(void)
{
    xpurt_device_properties properties;

    test_ok(xpurt_device_get_properties(0, &properties));
    return properties.integrated;
}

/* Segments of device memory that are mapped here. */
static unsigned mapped(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned count = 0;

    test_require(maps, "no maps");
    while (fgets(line, sizeof(line), maps))
        count += strstr(line, "ze_soft-memory") != NULL;
    fclose(maps);
    return count;
}

static void expect_mapped(unsigned count)
{
    test_require(mapped() == (integrated() ? count : 0), "%u mappings instead of %u", mapped(),
                 count);
}

static unsigned descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    test_require(folder, "no descriptors");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* The device has these bytes, as small copies see them. */
static void expect_device(const unsigned char *device, const unsigned char *wanted, size_t size)
{
    static unsigned char part[PART];

    for (size_t at = 0; at < size; at += PART) {
        size_t n = size - at < PART ? size - at : PART;

        test_ok(xpurt_memcpy_async(part, device + at, n, stream));
        test_require(memcmp(part, wanted + at, n) == 0, "the bytes from %zu of %zu differ", at,
                     size);
    }
}

/* Up and back; either way has to show the same. */
static void expect_copies(unsigned char *device, size_t size, unsigned seed)
{
    unsigned char *bytes = ordinary_new(size, seed), *back = calloc(1, size);

    test_require(back, "no memory");
    test_ok(xpurt_memcpy_async(device, bytes, size, stream));
    expect_device(device, bytes, size);
    test_ok(xpurt_memcpy_async(back, device, size, stream));
    test_require(memcmp(back, bytes, size) == 0, "other bytes came back");
    free(bytes);
    free(back);
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

Test(direct, sizes_and_offsets)
{
    static const size_t sizes[] = {
        MIB - 1, MIB, MIB + 1, 2 * MIB + 4097, 5 * MIB - 3, 9 * MIB + 77
    };
    enum { GUARD = 4096 };
    unsigned char *device, *bytes = ordinary_new(10 * MIB, 1), *back = malloc(10 * MIB);

    connect_here();
    device = device_new(10 * MIB);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i], to = GUARD + 31 * i, from = GUARD + 17 * i + 1;

        memset(back, 0xa5, 10 * MIB);
        test_ok(xpurt_memcpy_async(device, back, 10 * MIB, stream));
        test_ok(xpurt_memcpy_async(device + to, bytes + from, size, stream));
        expect_device(device + to, bytes + from, size);
        expect_device(device + to - GUARD, back, GUARD);
        expect_device(device + to + size, back, GUARD);
        test_ok(xpurt_memcpy_async(back + from, device + to, size, stream));
        test_require(memcmp(back + from, bytes + from, size) == 0, "size %zu", size);
        for (size_t k = 0; k < GUARD; k++)
            test_require(back[from - 1 - k] == 0xa5 && back[from + size + k] == 0xa5, "beside");
    }
    expect_mapped(1);
    test_ok(xpurt_free(device));
    expect_mapped(0);
    free(bytes);
    free(back);
}

Test(direct, ranges_that_leave_their_memory)
{
    unsigned char *device, *bytes = ordinary_new(LARGE, 1);

    connect_here();
    device = device_new(LARGE);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device + 1, bytes, LARGE, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(bytes, device + 1, LARGE, stream));
    expect_mapped(0);
    free(bytes);
}

/* ---- order ------------------------------------------------------------------------------------------- */

struct copy {
    void *to;
    const void *from;
    size_t size;
    xpurt_stream *stream;
    xpurt_result result;
    _Atomic bool done;
    pthread_t thread;
};

static void *copy_run(void *data)
{
    struct copy *copy = data;

    copy->result = xpurt_memcpy_async(copy->to, copy->from, copy->size, copy->stream);
    copy->done = true;
    return NULL;
}

static void copy_start(struct copy *copy)
{
    test_require(pthread_create(&copy->thread, NULL, copy_run, copy) == 0, "no thread");
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

Test(direct, behind_what_the_stream_does)
{
    unsigned char *device, *bytes = ordinary_new(LARGE, 3), *back = calloc(1, LARGE);
    struct copy up, down;

    connect_here();
    device = device_new(LARGE);
    expect_copies(device, LARGE, 2);
    test_ok(xpurt_memset_async(device, 9, LARGE, stream));
    down = (struct copy){ .to = back, .from = device, .size = LARGE, .stream = stream };
    copy_start(&down);
    sleep_ms(100);
    cr_assert(!down.done);
    test_gate_open(&xpurtd);
    pthread_join(down.thread, NULL);
    test_ok(down.result);
    for (size_t i = 0; i < LARGE; i++)
        cr_assert_eq(back[i], 9);

    test_gate_close(&xpurtd);
    test_ok(xpurt_memset_async(device, 7, LARGE, stream));
    up = (struct copy){ .to = device, .from = bytes, .size = LARGE, .stream = stream };
    copy_start(&up);
    sleep_ms(100);
    cr_assert(!up.done);
    test_gate_open(&xpurtd);
    pthread_join(up.thread, NULL);
    test_ok(up.result);
    expect_device(device, bytes, LARGE);
    free(bytes);
    free(back);
}

/* What fits into the chunks does not wait for a busy stream, and comes behind what it does. */
Test(direct, small_uploads_do_not_wait)
{
    unsigned char *device, *bytes;

    connect_here();
    device = device_new(2 * MIB);
    expect_copies(device, 2 * MIB, 5);
    bytes = ordinary_new(2 * MIB, 6);
    test_ok(xpurt_memset_async(device, 7, 2 * MIB, stream));
    test_ok(xpurt_memcpy_async(device, bytes, 2 * MIB, stream));
    test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_gate_open(&xpurtd);
    expect_device(device, bytes, 2 * MIB);
    free(bytes);
}

Test(direct, behind_what_other_streams_do)
{
    unsigned char *device, *other, *back = calloc(1, LARGE);
    xpurt_stream *first;
    struct copy down;

    connect_here();
    test_ok(xpurt_stream_create(&first));
    device = device_new(LARGE);
    other = device_new(LARGE);
    test_ok(xpurt_memset_async(other, 4, LARGE, first));
    test_ok(xpurt_memcpy_async(device, other, LARGE, first));
    test_ok(xpurt_stream_wait_stream(stream, first));
    down = (struct copy){ .to = back, .from = device, .size = LARGE, .stream = stream };
    copy_start(&down);
    sleep_ms(100);
    cr_assert(!down.done);
    test_gate_open(&xpurtd);
    pthread_join(down.thread, NULL);
    test_ok(down.result);
    for (size_t i = 0; i < LARGE; i++)
        cr_assert_eq(back[i], 4);

    /* And before what they do later. */
    memset(back, 5, LARGE);
    test_ok(xpurt_memcpy_async(device, back, LARGE, stream));
    test_ok(xpurt_stream_wait_stream(first, stream));
    test_ok(xpurt_memcpy_async(other, device, LARGE, first));
    test_ok(xpurt_stream_synchronize(first));
    expect_device(other, back, LARGE);
    free(back);
}

/* ---- two processes ----------------------------------------------------------------------------------- */

struct shared {
    xpurt_mem_handle memory;
    xpurt_event_handle filled, uploaded;
};

/* Fills the memory; when the other side has uploaded to it, copies that on and compares. */
static void fills_and_looks(int channel, void *data)
{
    unsigned char *device, *bytes = ordinary_new(LARGE, 11), *copy;
    xpurt_event *filled, *uploaded;
    struct shared shared;

    (void)data;
    connect_here();
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &filled));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &uploaded));
    device = device_new(LARGE);
    copy = device_new(LARGE);
    test_ok(xpurt_memset_async(device, 10, LARGE, stream));
    test_ok(xpurt_event_record(filled, stream));
    test_ok(xpurt_mem_get_ipc_handle(device, &shared.memory));
    test_ok(xpurt_event_get_ipc_handle(filled, &shared.filled));
    test_ok(xpurt_event_get_ipc_handle(uploaded, &shared.uploaded));
    test_send(channel, &shared, sizeof(shared));
    test_await(channel);
    test_ok(xpurt_stream_wait_event(stream, uploaded));
    test_ok(xpurt_memcpy_async(copy, device, LARGE, stream));
    test_ok(xpurt_memcpy_async(bytes, copy, LARGE, stream));
    for (size_t i = 0; i < LARGE; i++)
        test_require(bytes[i] == 12, "byte %zu is %u", i, bytes[i]);
    test_pass(channel);
    test_await(channel);                /* to be killed */
}

Test(direct, across_processes)
{
    unsigned char *bytes = calloc(1, LARGE);
    xpurt_event *filled, *uploaded;
    struct test_peer peer;
    struct shared shared;
    struct copy down;
    void *opened;

    test_peer_start(&peer, fills_and_looks, NULL);
    connect_here();
    test_receive(peer.channel, &shared, sizeof(shared));
    test_ok(xpurt_mem_open_ipc_handle(&shared.memory, &opened));
    test_ok(xpurt_event_open_ipc_handle(&shared.filled, &filled));
    test_ok(xpurt_event_open_ipc_handle(&shared.uploaded, &uploaded));
    test_ok(xpurt_stream_wait_event(stream, filled));
    down = (struct copy){ .to = bytes, .from = opened, .size = LARGE, .stream = stream };
    copy_start(&down);
    sleep_ms(100);
    cr_assert(!down.done);
    test_gate_open(&xpurtd);
    pthread_join(down.thread, NULL);
    test_ok(down.result);
    for (size_t i = 0; i < LARGE; i++)
        cr_assert_eq(bytes[i], 10);
    expect_mapped(1);

    memset(bytes, 12, LARGE);
    test_ok(xpurt_memcpy_async(opened, bytes, LARGE, stream));
    test_ok(xpurt_event_record(uploaded, stream));
    test_pass(peer.channel);
    test_await(peer.channel);

    /* The memory stays while it is open, whoever dies. */
    test_peer_kill(&peer);
    expect_copies(opened, LARGE, 13);
    test_ok(xpurt_mem_close_ipc_handle(opened));
    expect_mapped(0);
    free(bytes);
}

static void sleeps(void *data)
{
    (void)data;
    pause();
}

/* Records behind what never ends and is not on the device. */
static void holds_back(int channel, void *data)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    (void)data;
    connect_here();
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_launch_host_func(stream, sleeps, NULL));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(channel, &handle, sizeof(handle));
    test_await(channel);
}

Test(direct, peer_dies_while_a_copy_waits)
{
    unsigned char *bytes = ordinary_new(LARGE, 1);
    xpurt_event_handle handle;
    struct test_peer peer;
    xpurt_event *event;
    struct copy up;

    test_gate_open(&xpurtd);
    test_peer_start(&peer, holds_back, NULL);
    connect_here();
    test_receive(peer.channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    up = (struct copy){ .to = device_new(LARGE), .from = bytes, .size = LARGE, .stream = stream };
    expect_copies(up.to, LARGE, 2);
    test_ok(xpurt_stream_wait_event(stream, event));
    copy_start(&up);
    sleep_ms(50);
    cr_assert(!up.done);
    test_peer_kill(&peer);
    pthread_join(up.thread, NULL);
    if (integrated())                   /* else the pieces were sent, and are dropped */
        test_expect(XPURT_ERROR_PEER_LOST, up.result);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_memcpy_async(bytes, up.to, LARGE, stream));
    free(bytes);
}

Test(direct, daemon_dies_while_a_copy_waits)
{
    unsigned char *bytes = ordinary_new(LARGE, 1);
    struct copy up;

    connect_here();
    up = (struct copy){ .to = device_new(LARGE), .from = bytes, .size = LARGE, .stream = stream };
    expect_copies(up.to, LARGE, 2);
    test_ok(xpurt_memset_async(up.to, 1, LARGE, stream));
    copy_start(&up);
    sleep_ms(50);
    cr_assert(!up.done);
    test_daemon_kill(&xpurtd);
    pthread_join(up.thread, NULL);
    test_expect(XPURT_ERROR_DAEMON_LOST, up.result);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_memcpy_async(bytes, up.to, LARGE, stream));
    test_ok(xpurt_reset());
    cr_assert_eq(mapped(), 0);
    free(bytes);
    test_daemon_start_again(&xpurtd, NULL);
}

/* An idle stream does not tell, so the connection is asked. */
Test(direct, daemon_dies_before_the_copy)
{
    unsigned char *device, *bytes = ordinary_new(LARGE, 1);

    connect_here();
    device = device_new(LARGE);
    expect_copies(device, LARGE, 2);
    test_daemon_kill(&xpurtd);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_memcpy_async(device, bytes, LARGE, stream));
    free(bytes);
    test_daemon_start_again(&xpurtd, NULL);
}

/* ---- mappings come and go --------------------------------------------------------------------------- */

static void trims(int channel, void *data)
{
    (void)data;
    for (;;) {
        test_await(channel);
        test_ok(xpurt_empty_cache());
        test_pass(channel);
    }
}

static void trim(const struct test_peer *peer)
{
    test_pass(peer->channel);
    test_await(peer->channel);
}

/* What lies in the magazine the daemon takes back, and its segment goes to the driver; another may come
 * to the same addresses before this process has noticed. */
Test(direct, segments_that_change_unnoticed)
{
    enum { SIZE = 4 << 20 };
    struct test_peer peer;

    test_gate_open(&xpurtd);
    test_peer_start(&peer, trims, NULL);
    connect_here();
    for (unsigned round = 0; round < 10; round++) {
        unsigned char *first = device_new(SIZE), *again;
        void *cached;

        test_ok(xpurt_malloc_async(&cached, SIZE, stream)); /* in the same segment */
        expect_copies(first, SIZE, round);
        test_ok(xpurt_free_async(cached, stream));
        test_ok(xpurt_stream_synchronize(stream));
        test_ok(xpurt_free(first));
        trim(&peer);
        again = device_new(SIZE);
        expect_copies(again, SIZE, 100 + round);
        test_ok(xpurt_free(again));
        test_ok(xpurt_empty_cache());
        expect_mapped(0);
    }
    test_peer_kill(&peer);
}

Test(direct, freed_and_allocated_again)
{
    unsigned before;

    test_gate_open(&xpurtd);
    connect_here();
    for (unsigned round = 0; round < 40; round++) {
        size_t size = MIB + 123457 * (size_t)(round % 7), at = round % 3 * 4096;
        unsigned char *memory;

        if (round == 8)
            before = descriptors();
        if (round % 2)
            test_ok(xpurt_malloc_async((void **)&memory, at + size, stream));
        else
            memory = device_new(at + size);
        expect_copies(memory + at, size, round);
        if (round % 2)
            test_ok(xpurt_free_async(memory, stream));
        else
            test_ok(xpurt_free(memory));
        if (round % 5 == 0)
            test_ok(xpurt_empty_cache());
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_empty_cache());
    expect_mapped(0);
    cr_assert_eq(descriptors(), before);
    test_ok(xpurt_reset());
    cr_assert_eq(mapped(), 0);
}

Test(direct, many_allocations)
{
    enum { COUNT = MAPPINGS + 8 };
    static unsigned char *memory[COUNT];
    unsigned char *bytes = ordinary_new(MIB, 1), *back = malloc(MIB);

    test_gate_open(&xpurtd);
    connect_here();
    for (unsigned i = 0; i < COUNT; i++) {
        memory[i] = device_new(10 * MIB); /* each in a segment of its own */
        memset(bytes, (int)i, 64);
        test_ok(xpurt_memcpy_async(memory[i], bytes, MIB, stream));
    }
    expect_mapped(MAPPINGS);
    for (unsigned i = 0; i < COUNT; i++) {
        memset(bytes, (int)i, 64);
        test_ok(xpurt_memcpy_async(back, memory[i], MIB, stream));
        cr_assert_eq(memcmp(back, bytes, MIB), 0);
    }
    expect_mapped(MAPPINGS);
    for (unsigned i = 0; i < COUNT; i++)
        test_ok(xpurt_free(memory[i]));
    expect_mapped(0);
    free(bytes);
    free(back);
}

/* A child has nothing of its parent's, and may do the same. */
static void copies_too(int channel, void *data)
{
    unsigned char *device;

    (void)data;
    test_require(mapped() == 0, "the child has %u mappings", mapped());
    connect_here();
    device = device_new(LARGE);
    expect_copies(device, LARGE, 21);
    expect_mapped(1);
    test_pass(channel);
}

Test(direct, forked)
{
    unsigned char *device;
    struct test_peer peer;

    test_gate_open(&xpurtd);
    connect_here();
    device = device_new(LARGE);
    expect_copies(device, LARGE, 20);
    test_peer_start(&peer, copies_too, NULL);
    test_await(peer.channel);
    test_peer_join(&peer);
    expect_mapped(1);
    expect_copies(device, LARGE, 22);
}

/* Who frees the memory meanwhile waits for the copy. */
Test(direct, freed_while_copies_run)
{
    enum { SIZE = 32 << 20 };
    unsigned char *bytes = ordinary_new(SIZE, 1);

    test_gate_open(&xpurtd);
    connect_here();
    for (unsigned round = 0; round < 8; round++) {
        struct copy up = { .to = device_new(SIZE), .from = bytes, .size = SIZE, .stream = stream };

        copy_start(&up);
        sleep_ms(round);
        test_ok(xpurt_free(up.to));
        test_ok(xpurt_empty_cache());
        pthread_join(up.thread, NULL);
        expect_mapped(0);
    }
    free(bytes);
}

/* ---- what is refused ---------------------------------------------------------------------------------- */

/* Sanitizers end the process where they get no memory. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void address_space_limit(struct rlimit *former)
{
    struct rlimit none;

    cr_assert_eq(getrlimit(RLIMIT_AS, former), 0);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = former->rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
}

Test(direct, no_threads_and_no_room)
{
    unsigned char *bytes = ordinary_new(LARGE, 2), *back = calloc(1, LARGE), *first, *second;
    struct rlimit former;
    void *pinned;
    char error[256];

    connect_here();
    first = device_new(LARGE);
    second = device_new(12 * MIB);      /* in another segment */
    expect_copies(first, LARGE, 1);
    test_ok(xpurt_host_malloc(&pinned, LARGE));
    test_ok(xpurt_memcpy_async(pinned, bytes, LARGE, stream)); /* makes the chunks */
    test_ok(xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(&former));
    snprintf(error, sizeof(error), "%s", xpurt_last_error());

    address_space_limit(&former);
    test_ok(xpurt_memcpy_async(first, bytes, LARGE, stream)); /* no thread can be made */
    test_ok(xpurt_memcpy_async(second, first, LARGE, stream));
    test_ok(xpurt_memcpy_async(back, second, LARGE, stream)); /* nor a mapping */
    cr_assert_eq(setrlimit(RLIMIT_AS, &former), 0);
    expect_mapped(1);
    cr_assert_eq(memcmp(back, bytes, LARGE), 0);
    cr_assert_str_eq(xpurt_last_error(), error);
    free(bytes);
    free(back);
}
#endif

static void start_refusing(void)
{
    setenv("ZE_SOFT_FAULT", "call:zeMemGetIpcHandle:/1:UNSUPPORTED_FEATURE", 1);
    test_daemon_start(&xpurtd, NULL);
    unsetenv("ZE_SOFT_FAULT");
}

TestSuite(refused, .init = start_refusing, .fini = stop, .timeout = 120);

Test(refused, handles)
{
    unsigned char *device;
    char former[256];

    connect_here();
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(&device));
    snprintf(former, sizeof(former), "%s", xpurt_last_error());
    device = device_new(LARGE);
    expect_copies(device, LARGE, 1);
    expect_copies(device, LARGE, 2);
    cr_assert_eq(mapped(), 0);
    cr_assert_str_eq(xpurt_last_error(), former, "%s", xpurt_last_error());
}
