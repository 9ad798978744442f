/* SPDX-License-Identifier: MIT */
/* Memory, copies and fills. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static struct test_daemon xpurtd;
static xpurt_stream *stream;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
    test_ok(xpurt_stream_create(&stream));
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(memory, .init = start, .fini = stop);

static void *device_new(size_t size)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, size));
    return memory;
}

static void *pinned_new(size_t size)
{
    void *memory;

    test_ok(xpurt_host_malloc(&memory, size));
    return memory;
}

static void pattern_write(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24);
    }
}

Test(memory, parity_A6_zero_null_double_and_foreign)
{
    unsigned char *memory = device_new(1000), *pinned = pinned_new(1000);
    void *nothing = memory;
    int local;

    test_ok(xpurt_malloc(&nothing, 0));
    cr_assert_null(nothing);
    nothing = memory;
    test_ok(xpurt_host_malloc(&nothing, 0));
    cr_assert_null(nothing);
    test_ok(xpurt_free(NULL));
    test_ok(xpurt_host_free(NULL));

    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(memory + 1));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(pinned));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(&local));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(pinned + 1));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(memory));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_mem_close_ipc_handle(memory));
    test_ok(xpurt_free(memory));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(memory));
    test_ok(xpurt_host_free(pinned));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(pinned));
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_empty_host_cache());
    test_daemon_await_counter("user-allocations", 0);
    test_daemon_await_counter("user-segments", 0);
}

Test(memory, sizes_that_do_not_exist)
{
    void *memory = NULL;
    xpurt_result r;

    r = xpurt_malloc(&memory, SIZE_MAX);
    cr_assert(r == XPURT_ERROR_OUT_OF_MEMORY || r == XPURT_ERROR_INVALID_ARGUMENT ||
                  r == XPURT_ERROR_QUOTA,
              "%s", xpurt_result_name(r));
    r = xpurt_host_malloc(&memory, (size_t)1 << 63);
    cr_assert(r == XPURT_ERROR_OUT_OF_HOST_MEMORY || r == XPURT_ERROR_INVALID_ARGUMENT ||
                  r == XPURT_ERROR_QUOTA,
              "%s", xpurt_result_name(r));
    cr_assert_null(memory);
    device_new(1);
}

/* No host memory can ever lie where a device address points. */
Test(memory, device_addresses_are_reserved)
{
    enum { BLOCKS = 64, SIZE = 3 << 20 };
    unsigned char *device[BLOCKS], *host[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        device[i] = device_new(SIZE);
    for (int i = 0; i < BLOCKS; i++) {
        host[i] = malloc(SIZE);
        cr_assert(host[i]);
        for (int k = 0; k < BLOCKS; k++)
            cr_assert(host[i] + SIZE <= device[k] || device[k] + SIZE <= host[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(host[i]);
        test_ok(xpurt_free(device[i]));
    }
}

/* Small ones share pages, in any order. */
Test(memory, small_blocks)
{
    enum { BLOCKS = 500 };
    unsigned char *device[BLOCKS], byte;
    unsigned seed = 3;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            device[i] = device_new(1 + (size_t)i * 7);
            test_ok(xpurt_memset_async(device[i], i, 1 + (size_t)i * 7, stream));
        }
        for (int i = 0; i < BLOCKS; i++) {
            test_ok(xpurt_memcpy_async(&byte, device[i] + i * 7, 1, stream));
            cr_assert_eq(byte, (unsigned char)i);
        }
        for (int left = BLOCKS; left; left--) {
            int i = rand_r(&seed) % left;

            test_ok(xpurt_free(device[i]));
            device[i] = device[left - 1];
        }
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_empty_host_cache());
    test_daemon_await_counter("user-allocations", 0);
}

/* Each kind of memory to each other, there and back, with bytes around that must not change. */
static void round_trip(size_t size)
{
    enum { KINDS = 3, MARGIN = 64 };
    static const char *const names[KINDS] = { "device", "pinned", "pageable" };
    size_t whole = size + 2 * MARGIN;
    unsigned char *places[KINDS][2], *wanted = malloc(whole), *seen = malloc(whole);

    cr_assert(wanted && seen);
    for (int i = 0; i < 2; i++) {
        places[0][i] = device_new(whole);
        places[1][i] = pinned_new(whole);
        places[2][i] = malloc(whole);
        cr_assert(places[2][i]);
    }
    for (int from = 0; from < KINDS; from++)
        for (int to = 0; to < KINDS; to++) {
            pattern_write(wanted, whole, (unsigned)(from * KINDS + to + 1));
            test_ok(xpurt_memcpy_async(places[from][0], wanted, whole, stream));
            memset(seen, 0xee, whole);
            test_ok(xpurt_memcpy_async(places[to][1], seen, whole, stream));
            test_ok(
                xpurt_memcpy_async(places[to][1] + MARGIN, places[from][0] + MARGIN, size, stream));
            test_ok(xpurt_memcpy_async(seen, places[to][1], whole, stream));
            memset(wanted, 0xee, MARGIN);
            memset(wanted + MARGIN + size, 0xee, MARGIN);
            cr_assert(memcmp(seen, wanted, whole) == 0, "%zu bytes, %s to %s", size, names[from],
                      names[to]);
        }
    test_ok(xpurt_stream_synchronize(stream));
    for (int i = 0; i < 2; i++) {
        test_ok(xpurt_free(places[0][i]));
        test_ok(xpurt_host_free(places[1][i]));
        free(places[2][i]);
    }
    free(wanted);
    free(seen);
}

Test(memory, copies_in_all_directions)
{
    static const size_t sizes[] = { 0,
                                    1,
                                    2,
                                    7,
                                    64,
                                    4095,
                                    4096,
                                    4097,
                                    65537,
                                    MIB - 65,
                                    MIB - 129,
                                    MIB - 1,
                                    MIB,
                                    MIB + 1,
                                    2 * MIB,
                                    4 * MIB - 1,
                                    4 * MIB,
                                    4 * MIB + 1,
                                    9 * MIB + 12345 };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        round_trip(sizes[i]);
}

Test(memory, fills)
{
    enum { SIZE = 100000 };
    unsigned char *device = device_new(SIZE), *pinned = pinned_new(SIZE), *seen = malloc(SIZE);

    cr_assert(seen);
    test_ok(xpurt_memset_async(device, 0, SIZE, stream));
    test_ok(xpurt_memset_async(device + 3, 0x1ff, SIZE - 10, stream)); /* the low byte counts */
    test_ok(xpurt_memcpy_async(seen, device, SIZE, stream));
    for (int i = 0; i < SIZE; i++)
        cr_assert_eq(seen[i], i < 3 || i >= SIZE - 7 ? 0 : 0xff);
    test_ok(xpurt_memset_async(pinned, 3, SIZE, stream));
    test_ok(xpurt_stream_synchronize(stream));
    for (int i = 0; i < SIZE; i++)
        cr_assert_eq(pinned[i], 3);
    test_ok(xpurt_memset_async(pinned, 9, 0, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(seen, 3, SIZE, stream));
    free(seen);
}

Test(memory, ranges_that_leave_their_memory)
{
    enum { SIZE = 5000 };
    unsigned char *device = device_new(SIZE), *pinned = pinned_new(SIZE), *host = malloc(SIZE);

    cr_assert(host);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device + 1, host, SIZE, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device - 1, host, SIZE, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(device + SIZE, host, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(host, pinned + 1, SIZE, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memcpy_async(pinned, device, SIZE_MAX, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(device + 1, 0, SIZE, stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(device - 1, 0, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memcpy_async(NULL, host, 1, stream));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_memcpy_async(device, NULL, 1, stream));
    test_ok(xpurt_memcpy_async(NULL, NULL, 0, stream));
    test_ok(xpurt_memcpy_async(device, host, SIZE, stream));
    test_ok(xpurt_free(device));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_memset_async(device, 0, 1, stream));
    test_ok(xpurt_stream_synchronize(stream));
    free(host);
}

/* Freed at once: what was submitted still uses it. */
Test(memory, freed_while_in_use)
{
    enum { SIZE = 8 << 20 };
    unsigned char *seen = malloc(SIZE);

    cr_assert(seen);
    for (int round = 0; round < 8; round++) {
        unsigned char *from = device_new(SIZE), *through = device_new(SIZE);
        unsigned char *pinned = pinned_new(SIZE);

        memset(pinned, round, SIZE);
        test_ok(xpurt_memcpy_async(from, pinned, SIZE, stream));
        test_ok(xpurt_host_free(pinned));
        test_ok(xpurt_memcpy_async(through, from, SIZE, stream));
        test_ok(xpurt_free(from));
        test_ok(xpurt_memcpy_async(seen, through, SIZE, stream));
        test_ok(xpurt_free(through));
        for (int i = 0; i < SIZE; i++)
            cr_assert_eq(seen[i], round);
    }
    free(seen);
}

/* A batch must not keep a copy from ever starting. */
Test(memory, pageable_copies_in_a_batch)
{
    enum { SIZE = 10 << 20 };
    unsigned char *device = device_new(SIZE), *from = malloc(SIZE), *to = malloc(SIZE);

    cr_assert(from && to);
    pattern_write(from, SIZE, 5);
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_memcpy_async(device, from, SIZE, stream));
    test_ok(xpurt_memcpy_async(to, device, SIZE, stream));
    test_ok(xpurt_batch_end());
    cr_assert(memcmp(from, to, SIZE) == 0);
    free(from);
    free(to);
}

enum { THREADS = 4, THREAD_SIZE = (6 << 20) + 13, THREAD_ROUNDS = 6 };

static void *copies(void *arg)
{
    unsigned char *from = malloc(THREAD_SIZE), *to = malloc(THREAD_SIZE);
    unsigned char *device = device_new(THREAD_SIZE);
    xpurt_stream *own;

    test_ok(xpurt_stream_create(&own));
    test_require(from && to, "out of memory");
    for (unsigned round = 0; round < THREAD_ROUNDS; round++) {
        pattern_write(from, THREAD_SIZE, round + *(unsigned *)arg);
        test_ok(xpurt_memcpy_async(device, from, THREAD_SIZE, own));
        test_ok(xpurt_memcpy_async(to, device, THREAD_SIZE, own));
        test_require(memcmp(from, to, THREAD_SIZE) == 0, "round %u", round);
    }
    test_ok(xpurt_stream_destroy(own));
    test_ok(xpurt_free(device));
    free(from);
    free(to);
    return NULL;
}

Test(memory, pageable_copies_of_many_threads)
{
    unsigned seeds[THREADS] = { 100, 200, 300, 400 };
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, copies, &seeds[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}
