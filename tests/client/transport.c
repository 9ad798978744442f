/* SPDX-License-Identifier: MIT */
/* Sockets and rings: which one is used, and what happens when they are full. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MANY 20000                      /* commands: more than socket or ring take */

static struct test_daemon xpurtd;

static void start(void)
{
    unsetenv("XPURT_TRANSPORT");
    test_daemon_start_gated(&xpurtd);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(transport, .init = start, .fini = stop, .timeout = 120);

static xpurt_stream *stream;
static xpurt_event *event;

static void make(void)
{
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_event_create(0, &event));
}

static bool has_rings(void)
{
    return test_daemon_counter("user-ring-bytes") > 0;
}

/* ---- which one ------------------------------------------------------------------------------- */

Test(transport, automatic)
{
    make();
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    cr_assert_not(has_rings(), "who sends little needs no memory");
    for (int i = 0; i < 1000; i++)
        test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    cr_assert(has_rings());
}

Test(transport, by_call)
{
    setenv("XPURT_TRANSPORT", "ring", 1);
    test_ok(xpurt_set_transport(XPURT_TRANSPORT_SOCKET));
    make();
    for (int i = 0; i < 1000; i++)
        test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    cr_assert_not(has_rings());

    test_ok(xpurt_set_transport(XPURT_TRANSPORT_RING));
    cr_assert_not(has_rings(), "not before the next connection");
    test_ok(xpurt_reset());
    cr_assert(has_rings());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_set_transport((xpurt_transport)3));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_set_submit_mode((xpurt_submit_mode)-1));
}

Test(transport, by_environment)
{
    setenv("XPURT_TRANSPORT", "carrier pigeon", 1);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_init());
    cr_assert(strstr(xpurt_last_error(), "carrier pigeon"));
    setenv("XPURT_TRANSPORT", "ring", 1);
    test_ok(xpurt_init());
    cr_assert(has_rings());
    test_ok(xpurt_reset());
    setenv("XPURT_TRANSPORT", "auto", 1);
    cr_assert_not(has_rings());
}

/* Without the memory one does as well, unless it was asked for. */
Test(transport, no_memory_for_rings)
{
    char ini[] = "/tmp/xpurt-test-ini-XXXXXX";
    const char *arguments[] = { "--config", ini, NULL };
    int fd = mkstemp(ini);

    dprintf(fd, "[limits]\nuser-ring-bytes = 1K\n");
    close(fd);
    test_daemon_kill(&xpurtd);
    test_daemon_start_again(&xpurtd, arguments);
    unlink(ini);

    setenv("XPURT_TRANSPORT", "ring", 1);
    test_expect(XPURT_ERROR_QUOTA, xpurt_init());
    cr_assert(strstr(xpurt_last_error(), "user-ring-bytes"));
    setenv("XPURT_TRANSPORT", "auto", 1);
    make();
    for (int i = 0; i < 1000; i++)
        test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    cr_assert_not(has_rings());
}

/* A thread that goes over to rings does not overtake what others have sent. */
static void *record_much(void *data)
{
    xpurt_event *own;

    test_ok(xpurt_event_create(0, &own));
    for (int i = 0; i < 500; i++) {
        test_ok(xpurt_event_record(own, stream));
        if (i % 50 == 0)
            test_ok(xpurt_event_synchronize(own));
    }
    test_ok(xpurt_event_synchronize(own));
    return data;
}

Test(transport, threads_while_rings_are_opened)
{
    for (int i = 0; i < 20; i++) {
        pthread_t threads[4];

        test_ok(xpurt_reset());
        make();
        for (int k = 0; k < 4; k++)
            cr_assert_eq(pthread_create(&threads[k], NULL, record_much, NULL), 0);
        for (int k = 0; k < 4; k++)
            pthread_join(threads[k], NULL);
        test_ok(xpurt_stream_synchronize(stream));
        cr_assert(has_rings());
    }
}

/* ---- full ------------------------------------------------------------------------------------ */

static void use(xpurt_transport transport)
{
    test_ok(xpurt_set_transport(transport));
    make();
}

/* Work that does not end before the gate is open. */
static void stall(void)
{
    void *memory;

    test_ok(xpurt_malloc(&memory, 64));
    test_ok(xpurt_memset_async(memory, 1, 64, stream));
}

/* Until nothing goes in any more. */
static void fill(xpurt_transport transport)
{
    unsigned refused = 0;

    use(transport);
    test_ok(xpurt_set_submit_mode(XPURT_SUBMIT_REFUSE));
    stall();
    for (unsigned i = 0; i < MANY && refused < 100; i++) {
        xpurt_result r = xpurt_event_record(event, stream);

        if (r) {                        /* is the daemon slow, or is it full? */
            test_expect(XPURT_ERROR_WOULD_BLOCK, r);
            usleep(1000);
        }
        refused = r ? refused + 1 : 0;
    }
    cr_assert_eq(refused, 100);
}

static void refuse(xpurt_transport transport)
{
    fill(transport);
    test_expect(XPURT_ERROR_WOULD_BLOCK, xpurt_event_record(event, stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));

    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_set_submit_mode(XPURT_SUBMIT_BLOCK));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
}

Test(transport, a_full_socket_refuses)
{
    refuse(XPURT_TRANSPORT_SOCKET);
}

Test(transport, a_full_ring_refuses)
{
    refuse(XPURT_TRANSPORT_RING);
}

/* Who tries again and again finds out that the daemon is gone. */
static void refuse_and_lose(xpurt_transport transport)
{
    xpurt_result r = XPURT_ERROR_WOULD_BLOCK;

    fill(transport);
    test_daemon_kill(&xpurtd);
    for (unsigned i = 0; i < 1000 && r == XPURT_ERROR_WOULD_BLOCK; i++) {
        usleep(1000);
        r = xpurt_event_record(event, stream);
    }
    test_expect(XPURT_ERROR_DAEMON_LOST, r);
    test_daemon_start_again(&xpurtd, NULL);
}

Test(transport, a_full_socket_is_lost)
{
    refuse_and_lose(XPURT_TRANSPORT_SOCKET);
}

Test(transport, a_full_ring_is_lost)
{
    refuse_and_lose(XPURT_TRANSPORT_RING);
}

static _Atomic unsigned recorded;

static void *record_until_lost(void *data)
{
    xpurt_event *own;

    test_ok(xpurt_event_create(0, &own));
    for (recorded = 0; recorded < MANY; recorded++) {
        xpurt_result r = xpurt_event_record(own, stream);

        if (r) {
            test_expect(XPURT_ERROR_DAEMON_LOST, r);
            return own;
        }
    }
    test_ok(xpurt_event_synchronize(own));
    return data;
}

/* Until the thread does not get on any more. */
static void await_stuck(void)
{
    unsigned before;

    do {
        before = recorded;
        usleep(100000);
    } while (recorded != before || !before);
    cr_assert_lt(before, MANY);
}

static void block(xpurt_transport transport)
{
    pthread_t thread;
    void *lost;

    use(transport);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    stall();
    cr_assert_eq(pthread_create(&thread, NULL, record_until_lost, NULL), 0);
    await_stuck();
    test_ok(xpurt_event_query(event));  /* others are not held up */
    test_gate_open(&xpurtd);
    pthread_join(thread, &lost);
    cr_assert_null(lost);
}

Test(transport, a_full_socket_blocks)
{
    block(XPURT_TRANSPORT_SOCKET);
}

Test(transport, a_full_ring_blocks)
{
    block(XPURT_TRANSPORT_RING);
}

Test(transport, the_daemon_dies_while_the_ring_is_full)
{
    struct timespec from, to;
    pthread_t thread;
    void *lost;

    use(XPURT_TRANSPORT_RING);
    stall();
    cr_assert_eq(pthread_create(&thread, NULL, record_until_lost, NULL), 0);
    await_stuck();
    clock_gettime(CLOCK_MONOTONIC, &from);
    test_daemon_kill(&xpurtd);
    pthread_join(thread, &lost);
    clock_gettime(CLOCK_MONOTONIC, &to);
    cr_assert_not_null(lost);
    cr_assert_lt(to.tv_sec - from.tv_sec, 2); /* 100 ms by design; this machine may be busy */
    test_daemon_start_again(&xpurtd, NULL);
}

/* Batches larger than the ring's free space, and than half of the ring. */
Test(transport, batches_through_a_ring)
{
    use(XPURT_TRANSPORT_RING);
    for (int k = 0; k < 5; k++) {
        test_ok(xpurt_batch_begin());
        for (int i = 0; i < MANY; i++)
            test_ok(xpurt_event_record(event, stream));
        test_ok(xpurt_batch_end());
    }
    test_ok(xpurt_event_synchronize(event));
}
