/* SPDX-License-Identifier: MIT */
/* tests/stress/faults.c: the daemon on a device that fails.
 *
 *      faults lost         a device goes away: its streams and those that wait for them fail, others
 *                          go on
 *      faults calls        each driver call the daemon makes fails in turn, early and late; whoever
 *                          asked is told, the next one is served
 *      faults random SEED  all driver calls fail now and then
 */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOUND_NS UINT64_C(20000000000)
#define LARGE (1u << 20)                /* runs on the device's threads */

static void start(struct test_daemon *daemon, const char *fault)
{
    setenv("ZE_SOFT_FAULT", fault, 1);
    test_daemon_start(daemon, NULL);
    unsetenv("ZE_SOFT_FAULT");
}

static void stop(struct test_daemon *daemon)
{
    test_ok(xpurt_reset());
    test_require(test_daemon_stop(daemon) == 0, "the daemon did not end well");
}

/* ---- a device goes away ------------------------------------------------------------------------- */

static void lost(void)
{
    xpurt_stream *first, *second, *other;
    struct test_daemon daemon;
    xpurt_event *event, *fine;
    void *memory, *pinned;
    xpurt_result result;

    start(&daemon, "lost:0:6;delay:copy:/1:50ms");
    test_ok(xpurt_stream_create_with_priority(0, 0, &first));
    test_ok(xpurt_stream_create_with_priority(1, 0, &second));
    test_ok(xpurt_stream_create_with_priority(1, 0, &other));
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_event_create(0, &fine));
    test_ok(xpurt_malloc(&memory, LARGE));
    test_ok(xpurt_host_malloc(&pinned, LARGE));

    for (int i = 0; i < 6; i++)
        test_ok(xpurt_memcpy_async(memory, pinned, LARGE, first));
    test_ok(xpurt_event_record(event, first));
    test_ok(xpurt_stream_wait_event(second, event));
    test_ok(xpurt_event_record(fine, second));

    test_expect(XPURT_ERROR_DEVICE_LOST, xpurt_stream_synchronize_for(first, BOUND_NS));
    test_expect(XPURT_ERROR_DEVICE_LOST, xpurt_event_synchronize_for(event, BOUND_NS));
    result = xpurt_event_synchronize_for(fine, BOUND_NS);
    test_require(result == XPURT_ERROR_DEPENDENCY, "%s: %s", xpurt_result_name(result),
                 xpurt_last_error());

    test_ok(xpurt_memset_async(pinned, 7, LARGE, other));
    test_ok(xpurt_stream_synchronize_for(other, BOUND_NS));
    test_require(((char *)pinned)[LARGE - 1] == 7, "the other device does not work");
    stop(&daemon);
}

/* ---- calls fail ------------------------------------------------------------------------------------ */

/* Everything a worker does. True when all went well; every failure must come with a sentence. */
static bool work(void)
{
    xpurt_stream *streams[2] = { 0 };
    xpurt_event *event = NULL;
    void *memory = NULL, *pinned = NULL;
    xpurt_result result = XPURT_SUCCESS;

/* After an error the streams order nothing any more: to go on would be a race of our own. */
#define TRY(call) \
    do { \
        if (!result && (result = (call))) { \
            test_require(xpurt_last_error()[0], "%s without a sentence", \
                         xpurt_result_name(result)); \
            test_require(result != XPURT_TIMEOUT, "%s hangs", #call); \
            test_require(result != XPURT_ERROR_DAEMON_LOST, "%s", xpurt_last_error()); \
        } \
    } while (0)

    TRY(xpurt_stream_create(&streams[0]));
    TRY(xpurt_stream_create(&streams[1]));
    TRY(xpurt_event_create(XPURT_EVENT_TIMING, &event));
    TRY(xpurt_malloc(&memory, LARGE));
    TRY(xpurt_host_malloc(&pinned, LARGE));
    for (int i = 0; i < 3; i++) {
        TRY(xpurt_memcpy_async(memory, pinned, LARGE, streams[0]));
        TRY(xpurt_event_record(event, streams[0]));
        TRY(xpurt_stream_wait_event(streams[1], event));
        TRY(xpurt_memset_async(memory, i, LARGE, streams[1]));
        TRY(xpurt_stream_synchronize_for(streams[1], BOUND_NS));
    }
    TRY(xpurt_stream_synchronize_for(streams[0], BOUND_NS));
#undef TRY
    test_ok(xpurt_free(memory));
    test_ok(xpurt_host_free(pinned));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_stream_destroy(streams[0]));
    test_ok(xpurt_stream_destroy(streams[1]));
    return result == XPURT_SUCCESS;
}

static void await_zero(const char *name)
{
    for (int tries = 0; test_daemon_counter(name); tries++) {
        test_require(tries < 1000, "%s is still %llu", name, test_daemon_counter(name));
        usleep(10000);
    }
}

static void baseline(void)
{
    await_zero("streams");
    await_zero("user-allocations");
    await_zero("user-streams");
}

static void calls(void)
{
    static const char *const names[] = {
        "zeContextCreate",
        "zeMemAllocDevice",
        "zeMemAllocHost",
        "zeEventPoolCreate",
        "zeEventCreate",
        "zeCommandListCreateImmediate",
        "zeCommandListAppendMemoryCopy",
        "zeCommandListAppendMemoryFill",
        "zeCommandListAppendBarrier",
        "zeCommandListAppendWriteGlobalTimestamp",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (int nth = 1; nth <= 3; nth++) {
            struct test_daemon daemon;
            char fault[128];
            int failures = 0;

            snprintf(fault, sizeof(fault), "call:%s:%d:OUT_OF_HOST_MEMORY", names[i], nth);
            start(&daemon, fault);
            for (int k = 0; k < 4; k++)
                failures += !work();
            test_require(failures <= 1, "%s: one failure was felt %d times", fault, failures);
            test_require(work(), "%s: it does not recover: %s", fault, xpurt_last_error());
            baseline();
            stop(&daemon);
        }
}

static void randomly(unsigned seed)
{
    struct test_daemon daemon;
    int failures = 0, runs = 200;
    char fault[64];

    snprintf(fault, sizeof(fault), "call:*:p0.003@%u:OUT_OF_HOST_MEMORY", seed);
    printf("%s\n", fault);
    /* What the driver refuses to free is lost; that is not the daemon's leak. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    start(&daemon, fault);
    for (int i = 0; i < runs; i++)
        failures += !work();
    printf("%d of %d runs were hit\n", failures, runs);
    test_require(failures < runs, "nothing works any more");
    stop(&daemon);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "lost") == 0)
        lost();
    else if (argc == 2 && strcmp(argv[1], "calls") == 0)
        calls();
    else if (argc == 3 && strcmp(argv[1], "random") == 0)
        randomly((unsigned)atoi(argv[2]));
    else
        return 2;
    return 0;
}
