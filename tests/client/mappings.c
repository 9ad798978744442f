/* SPDX-License-Identifier: MIT */
/* When a mapping of device memory goes. The software device comes back to an address only after hundreds
 * of gigabytes; what happens then is played here with the library's own tables. */
#include "client/address.h"
#include "client/mapping.h"
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SIZE ((size_t)4 << 20)          /* several of them share a segment */

static struct test_daemon xpurtd;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(mappings, .init = start, .fini = stop, .timeout = 120);

static void trims(int channel, void *data)
{
    (void)data;
    test_await(channel);
    test_ok(xpurt_empty_cache());
    test_pass(channel);
}

/* An allocation at @p address of @p segment, as if the daemon had given it; whether the segment is mapped
 * then. */
static bool mapped_after_adding(uint64_t address, const struct range *segment)
{
    const struct range range = {
        .start = address, .size = SIZE, .rounded = SIZE, .kind = RANGE_DEVICE, .own = true
    };
    bool mapped;

    cr_assert_eq(range_add(&range, segment->start, segment->size), XPURT_SUCCESS);
    mapped = segment_find(address)->mapping;
    range_drop(ranges_find(&addresses, address));
    return mapped;
}

Test(mappings, of_a_segment_that_is_another_one_now)
{
    void *first, *cached, *bytes = calloc(1, SIZE);
    struct test_peer peer;
    struct range segment;
    xpurt_stream *stream;
    uint64_t address;

    test_peer_start(&peer, trims, NULL);
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&first, SIZE));
    test_ok(xpurt_malloc_async(&cached, SIZE, stream));
    test_ok(xpurt_memcpy_async(first, bytes, SIZE, stream));
    test_ok(xpurt_free_async(cached, stream));
    test_ok(xpurt_free(first));
    test_ok(xpurt_stream_synchronize(stream));
    address = (uintptr_t)first;

    /* What is in the magazine keeps the segment, so that it is the same. */
    connection_lock();
    segment = *segment_find(address);
    cr_assert(segment.mapping);
    cr_assert(mapped_after_adding(address, &segment));
    cr_assert(segment_find(address)->mapping);
    connection_unlock();

    /* Taken back; nothing has told this process. */
    test_pass(peer.channel);
    test_await(peer.channel);
    connection_lock();
    cr_assert(segment_find(address)->mapping);
    cr_assert_not(mapped_after_adding(address, &segment));
    cr_assert_null(segment_find(address));
    connection_unlock();
    test_peer_join(&peer);
    free(bytes);
}

/* A copy under way keeps it; whoever comes later does not get it any more. */
Test(mappings, that_are_used_outlast_the_segment)
{
    xpurt_stream *stream;
    struct mapping *mapping;
    uint64_t address;
    void *memory;
    char *bytes;

    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&memory, SIZE));
    address = (uintptr_t)memory;
    connection_lock();
    mapping = mapping_take(address);
    cr_assert(mapping);
    bytes = mapping_at(mapping, address, SIZE);
    memset(bytes, 1, SIZE);
    connection_unlock();
    test_ok(xpurt_free(memory));
    cr_assert_eq(bytes[SIZE - 1], 1);
    connection_lock();
    cr_assert_null(segment_find(address));
    cr_assert_null(mapping_take(address));
    mapping_give(mapping);
    connection_unlock();
}
