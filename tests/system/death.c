/* SPDX-License-Identifier: MIT */
/* tests/system/death.c: kill -9 of a producer, kill -9 of the daemon, what is left of handles. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xpurt/xpurt.h>

TestSuite(death, .timeout = 300);

#define ROUNDS 9                        /* the median of so many counts, not the noise of one */
#define PEER_LOST_NS 100000000u
#define DAEMON_LOST_NS 200000000u

static int compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

static void expect_median(uint64_t *times, size_t n, uint64_t bound, const char *what)
{
    qsort(times, n, sizeof(*times), compare);
    test_require(times[n / 2] < bound, "%s: %llu us in the median, %llu us at worst", what,
                 (unsigned long long)times[n / 2] / 1000, (unsigned long long)times[n - 1] / 1000);
}

/* ---- a producer dies ------------------------------------------------------------------------- */

struct handles {
    xpurt_event_handle handles[2];
};

/* Records two events behind work that does not end, hands them over, and waits to be killed. */
static void produce(int channel, void *data)
{
    struct handles message;
    xpurt_stream *stream;
    void *memory;

    (void)data;
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_memset_async(memory, 1, 4096, stream));
    for (int i = 0; i < 2; i++) {
        xpurt_event *event;

        test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
        test_ok(xpurt_event_get_ipc_handle(event, &message.handles[i]));
        test_ok(xpurt_event_record(event, stream));
    }
    test_send(channel, &message, sizeof(message));
    for (;;)
        pause();
}

struct wait {
    unsigned how;
    struct handles handles;
};

enum { WAIT_SPIN_THEN_SLEEP, WAIT_DEADLINE, WAIT_QUERY, WAIT_KINDS };

/* Opens what it is told, waits in its own way, and tells how and when that ended. */
static void consume(int channel, void *data)
{
    unsigned how = *(const unsigned *)data;
    struct handles message;
    xpurt_event *event;

    test_ok(xpurt_init());
    test_pass(channel);
    for (;;) {
        xpurt_result result = XPURT_NOT_READY;
        uint64_t when;

        test_receive(channel, &message, sizeof(message));
        test_ok(xpurt_event_open_ipc_handle(&message.handles[how % 2], &event));
        test_expect(XPURT_NOT_READY, xpurt_event_query(event));
        test_pass(channel);
        if (how == WAIT_DEADLINE)
            result = xpurt_event_synchronize_for(event, UINT64_C(60000000000));
        else if (how == WAIT_SPIN_THEN_SLEEP)
            result = xpurt_event_synchronize(event);
        while (result == XPURT_NOT_READY) {
            scene_sleep_ms(1);
            result = xpurt_event_query(event);
        }
        when = scene_now_ns();
        test_require(result == XPURT_ERROR_PEER_LOST, "%s: %s", xpurt_result_name(result),
                     xpurt_last_error());
        test_ok(xpurt_event_destroy(event));
        test_send(channel, &when, sizeof(when));
    }
}

Test(death, of_a_producer)
{
    uint64_t times[ROUNDS], when, begin;
    unsigned how[WAIT_KINDS];
    struct test_peer producer, consumers[WAIT_KINDS];
    struct test_daemon daemon;
    struct handles message;

    test_daemon_start_gated(&daemon);
    for (unsigned i = 0; i < WAIT_KINDS; i++) {
        how[i] = i;
        test_peer_start(&consumers[i], consume, &how[i]);
        test_await(consumers[i].channel);
    }
    for (int round = 0; round < ROUNDS; round++) {
        test_peer_start(&producer, produce, NULL);
        test_receive(producer.channel, &message, sizeof(message));
        for (unsigned i = 0; i < WAIT_KINDS; i++) {
            test_send(consumers[i].channel, &message, sizeof(message));
            test_await(consumers[i].channel);
        }
        scene_sleep_ms(20);             /* by now they sleep */
        begin = scene_now_ns();
        test_peer_kill(&producer);
        times[round] = 0;
        for (unsigned i = 0; i < WAIT_KINDS; i++) {
            test_receive(consumers[i].channel, &when, sizeof(when));
            if (when - begin > times[round])
                times[round] = when - begin;
        }
    }
    expect_median(times, ROUNDS, PEER_LOST_NS, "from kill to PEER_LOST");
    for (unsigned i = 0; i < WAIT_KINDS; i++)
        test_peer_kill(&consumers[i]);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
}

/* A stream waits for a record that the daemon holds back, because what it depends on never came. */
static void produce_nothing(int channel, void *data)
{
    const struct test_daemon *daemon = data;
    struct raw raw;
    uint64_t point;

    raw_open(&raw, daemon->socket);
    raw_stream_create(&raw, 0, 0);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, POINT_VALUE_MAX));
    point = raw_record(&raw, 0);
    raw_settle(&raw);
    test_send(channel, &point, sizeof(point));
    for (;;)
        pause();
}

Test(death, of_a_producer_with_queued_work)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    uint64_t times[ROUNDS], begin, point;
    struct test_peer producer;
    struct books before;
    struct raw raw;

    test_require(scene, "out of memory");
    scene_begin(scene, NULL);
    books_read(scene, &before);
    for (int round = 0; round < ROUNDS; round++) {
        raw_open(&raw, scene->daemon.socket);
        test_peer_start(&producer, produce_nothing, &scene->daemon);
        test_receive(producer.channel, &point, sizeof(point));
        raw_stream_create(&raw, 0, 0);
        raw_stream_create(&raw, 1, 1);
        raw_wait(&raw, 0, point);
        raw_wait(&raw, 1, raw_record(&raw, 0)); /* and one waits for the waiter */
        raw_record(&raw, 1);
        raw_settle(&raw);
        begin = scene_now_ns();
        test_peer_kill(&producer);
        test_require(raw_finish(&raw, 0) == XPURT_ERROR_PEER_LOST, "it did not end with PEER_LOST");
        test_require(raw_finish(&raw, 1) == XPURT_ERROR_PEER_LOST, "nor the one behind it");
        times[round] = scene_now_ns() - begin;
        raw_settle(&raw);
        test_require(strstr(raw.text, "stream"), "it does not say who: %s", raw.text);
        raw_close(&raw);
        books_check(scene, &before);
    }
    expect_median(times, ROUNDS, PEER_LOST_NS, "from kill to PEER_LOST");
    scene_end(scene);
    free(scene);
}

/* Killed at any moment of its work, with work of all kinds under way. */
static void work_until_killed(int channel, void *data)
{
    const struct test_daemon *daemon = data;
    static struct raw raw;
    uint32_t segment, stream = 0;
    uint64_t address, point;
    struct handle handle;

    raw_open(&raw, daemon->socket);
    test_pass(channel);
    for (uint32_t i = 0; i < 8; i++)
        raw_stream_create(&raw, i, i % 2);
    for (;;) {
        test_require(raw_memory_alloc(&raw, 128 << 20, &address) == 0, "%s", raw.text);
        test_require(raw_host_alloc(&raw, 1 << 20, &segment, NULL) == 0, "%s", raw.text);
        test_require(raw_memory_export(&raw, address, &handle) == 0, "%s", raw.text);
        test_require(raw_event_export(&raw, segment % BOARD_CELLS, &handle) == 0, "%s", raw.text);
        for (int i = 0; i < 50; i++, stream = (stream + 1) % 8) {
            raw_copy(&raw, stream, 0, address, segment, 0, 1 << 20);
            raw_fill(&raw, stream, segment, 0, 1 << 20, 7, 4);
            point = raw_record(&raw, stream);
            raw_wait(&raw, (stream + 1) % 8, point);
            raw_wait(&raw, (stream + 3) % 8, point + 1);
        }
        raw_memory_free(&raw, address);
        raw_host_free(&raw, segment);
    }
}

Test(death, at_any_moment)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct test_peer peers[3];
    struct books before;

    test_require(scene, "out of memory");
    scene_begin(scene, NULL);
    books_read(scene, &before);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 3; i++)
            test_peer_start(&peers[i], work_until_killed, &scene->daemon);
        for (int i = 0; i < 3; i++) {
            test_await(peers[i].channel);
            scene_sleep_ms(round);
            test_peer_kill(&peers[i]);
        }
        books_check(scene, &before);
        witness_check(scene);
    }
    scene_end(scene);
    free(scene);
}

/* ---- the daemon dies ------------------------------------------------------------------------- */

enum { LOST_EVENT, LOST_BLOCKING, LOST_DEADLINE, LOST_STREAM, LOST_REQUEST, LOST_KINDS };

static void lose_daemon(int channel, void *data)
{
    unsigned how = *(const unsigned *)data;
    xpurt_result result = XPURT_SUCCESS;
    xpurt_stream *stream;
    xpurt_event *event;
    uint64_t when;
    void *memory;

    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_event_create(how == LOST_BLOCKING ? XPURT_EVENT_BLOCKING : 0, &event));
    test_ok(xpurt_memset_async(memory, 1, 4096, stream));
    test_ok(xpurt_event_record(event, stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_pass(channel);
    switch (how) {
    case LOST_EVENT:
    case LOST_BLOCKING:
        result = xpurt_event_synchronize(event);
        break;
    case LOST_DEADLINE:
        result = xpurt_event_synchronize_for(event, UINT64_C(60000000000));
        break;
    case LOST_STREAM:
        result = xpurt_stream_synchronize(stream);
        break;
    case LOST_REQUEST:
        while (result == XPURT_SUCCESS) {
            size_t count;

            result = xpurt_daemon_counters(0, NULL, &count);
        }
        break;
    }
    when = scene_now_ns();
    test_require(result == XPURT_ERROR_DAEMON_LOST, "%s: %s", xpurt_result_name(result),
                 xpurt_last_error());
    test_send(channel, &when, sizeof(when));
    test_await(channel);
}

Test(death, of_the_daemon)
{
    uint64_t times[ROUNDS], when, begin;
    struct test_peer waiters[LOST_KINDS];
    unsigned how[LOST_KINDS];

    for (int round = 0; round < ROUNDS; round++) {
        struct test_daemon daemon;

        test_daemon_start_gated(&daemon);
        for (unsigned i = 0; i < LOST_KINDS; i++) {
            how[i] = i;
            test_peer_start(&waiters[i], lose_daemon, &how[i]);
            test_await(waiters[i].channel);
        }
        scene_sleep_ms(20);             /* by now they sleep */
        begin = scene_now_ns();
        test_daemon_kill(&daemon);
        times[round] = 0;
        for (unsigned i = 0; i < LOST_KINDS; i++) {
            test_receive(waiters[i].channel, &when, sizeof(when));
            if (when - begin > times[round])
                times[round] = when - begin;
            test_pass(waiters[i].channel);
            test_peer_join(&waiters[i]);
        }
        test_daemon_stop(&daemon);      /* what it left behind */
    }
    expect_median(times, ROUNDS, DAEMON_LOST_NS, "from kill to DAEMON_LOST, the slowest waiter");
}

Test(death, handles_of_an_earlier_daemon)
{
    xpurt_event_handle event_handle;
    xpurt_mem_handle memory_handle;
    struct test_daemon daemon;
    struct raw before, after;
    xpurt_event *event, *none;
    void *memory;

    test_daemon_start(&daemon, NULL);
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_get_ipc_handle(event, &event_handle));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_mem_get_ipc_handle(memory, &memory_handle));
    raw_open(&before, daemon.socket);

    test_daemon_kill(&daemon);
    test_daemon_start_again(&daemon, NULL);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_open_ipc_handle(&event_handle, &none));
    test_ok(xpurt_reset());
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&event_handle, &none));
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_mem_open_ipc_handle(&memory_handle, &memory));

    raw_open(&after, daemon.socket);
    test_require(memcmp(before.instance, after.instance, sizeof(after.instance)) != 0,
                 "two daemons, one instance");
    test_require(raw_board_open(&after, after.slot, before.instance) == XPURT_ERROR_STALE_HANDLE,
                 "a slot of an earlier daemon");
    raw_close(&before);
    raw_close(&after);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
}

/* SIGTERM with clients and their work: everybody is told, the exit status is 0. */
Test(death, by_sigterm)
{
    struct test_daemon daemon;
    struct raw raw[8];

    test_daemon_start(&daemon, NULL);
    for (uint32_t i = 0; i < 8; i++) {
        raw_open(&raw[i], daemon.socket);
        raw_stream_create(&raw[i], 0, 0);
        raw_wait(&raw[i], 0, point_pack(raw[0].slot, 3, POINT_VALUE_MAX));
        raw_record(&raw[i], 0);
        raw_settle(&raw[i]);
    }
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
    for (uint32_t i = 0; i < 8; i++) {
        test_require(raw_closed(&raw[i]), "its socket lives on");
        test_require(raw_finish(&raw[i], 0) == XPURT_ERROR_PEER_LOST, "a waiter waits on");
        raw_close(&raw[i]);
    }
}

/* ---- no memory at the end ---------------------------------------------------------------------- */

/* Nothing can be put behind the work of a client, at first, and then it is gone. All of it comes back
 * all the same, and the daemon can leave. */
Test(death, of_a_client_without_a_marker)
{
    struct test_daemon daemon;
    struct raw raw, watcher;
    char faults[600] = "";
    uint64_t address;

    for (size_t i = 1; i <= 8; i++)
        snprintf(faults + strlen(faults), sizeof(faults) - strlen(faults),
                 "call:zeCommandListAppendBarrier:%zu:OUT_OF_HOST_MEMORY;", i);
    setenv("ZE_SOFT_FAULT", faults, 1);
    test_daemon_start(&daemon, NULL);
    unsetenv("ZE_SOFT_FAULT");
    raw_open(&watcher, daemon.socket);
    raw_open(&raw, daemon.socket);
    raw_stream_create(&raw, 0, 0);
    test_require(raw_memory_alloc(&raw, 4096, &address) == 0, "%s", raw.text);
    raw_fill(&raw, 0, 0, address, 4096, 0, 1);
    test_require(raw_status(&raw, 0) == XPURT_ERROR_OUT_OF_HOST_MEMORY, "%s", raw.text);
    raw_close(&raw);
    for (int ms = 0; raw_counter(&watcher, "streams") || raw_counter(&watcher, "user-memory");
         ms++) {
        test_require(ms < 20000, "what was held stays");
        scene_sleep_ms(1);
    }
    raw_close(&watcher);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
}
