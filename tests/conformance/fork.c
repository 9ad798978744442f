/* SPDX-License-Identifier: MIT */
/* A child of a process that uses the driver starts afresh, and does not disturb its parent. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LONG_BYTES (4u << 20)           /* done by a worker, not by the caller */

TestSuite(fork, .init = soft_open, .fini = soft_close);

/* Everything that needs threads, locks or shared state in the driver. */
static void work(void)
{
    ze_command_list_handle_t lists[2] = { soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS),
                                          soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS) };
    ze_event_pool_handle_t pool = soft_pool(2, ZE_EVENT_POOL_FLAG_IPC);
    ze_event_handle_t events[2] = { soft_event(pool, 0), soft_event(pool, 1) };
    char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, LONG_BYTES);

    REQUIRE_ZE(zeCommandListAppendBarrier(lists[1], events[1], 1, &events[0]));
    REQUIRE_ZE(
        zeCommandListAppendMemoryFill(lists[0], memory, "\3", 1, LONG_BYTES, events[0], 0, NULL));
    REQUIRE_ZE(zeEventHostSynchronize(events[1], FOREVER));
    test_require(memory[LONG_BYTES - 1] == 3, "not filled");
    for (int i = 0; i < 2; i++) {
        REQUIRE_ZE(zeCommandListDestroy(lists[i]));
        REQUIRE_ZE(zeEventDestroy(events[i]));
    }
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_free(memory);
}

static void child_works(int channel, void *unused)
{
    (void)channel;
    (void)unused;
    soft_open();
    work();
    soft_close();
}

Test(fork, child_and_parent_work)
{
    struct test_peer peer;

    work();
    test_peer_start(&peer, child_works, NULL);
    work();
    test_peer_join(&peer);
    work();
}

Test(fork, before_the_parent_ever_worked)
{
    struct test_peer peer;

    test_peer_start(&peer, child_works, NULL);
    test_peer_join(&peer);
    work();
}

static void child_forks(int channel, void *unused)
{
    struct test_peer peer;

    (void)channel;
    (void)unused;
    soft_open();
    work();
    test_peer_start(&peer, child_works, NULL);
    test_peer_join(&peer);
    work();
    soft_close();
}

Test(fork, grandchildren)
{
    struct test_peer peer;

    work();
    test_peer_start(&peer, child_forks, NULL);
    test_peer_join(&peer);
}

struct inherited {
    ze_command_list_handle_t list;
    uint32_t *value;
};

/* What the parent has waiting is the parent's: here the list is empty, and works. */
static void child_finds_queues_empty(int channel, void *data)
{
    struct inherited *inherited = data;

    (void)channel;
    soft_open();
    soft_finish(inherited->list);
    REQUIRE_ZE(zeCommandListDestroy(inherited->list));
    work();
    test_require(*inherited->value == 0, "the parent's command ran here");
    soft_close();
}

Test(fork, commands_of_the_parent_run_once_and_there)
{
    struct inherited inherited = { soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS),
                                   soft_alloc(ZE_MEMORY_TYPE_SHARED, 64) };
    ze_event_pool_handle_t pool = soft_pool(2, 0);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    uint32_t five = 5;
    struct test_peer peer;

    REQUIRE_ZE(zeCommandListAppendMemoryFill(inherited.list, inherited.value, &five, 4, 4, done, 1,
                                             &gate));
    test_peer_start(&peer, child_finds_queues_empty, &inherited);
    test_peer_join(&peer);
    cr_assert_eq(*inherited.value, 0);
    REQUIRE_ZE(zeEventHostSignal(gate));
    REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
    cr_assert_eq(*inherited.value, 5);
    REQUIRE_ZE(zeCommandListDestroy(inherited.list));
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventDestroy(done));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
    soft_free(inherited.value);
}

static atomic_bool stop_busy;

static void *busy(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop_busy))
        work();
    return NULL;
}

/* Whatever lock another thread holds at that moment, the child is not stuck with it. */
Test(fork, while_other_threads_are_busy)
{
    pthread_t threads[3];

    if (getenv("ZE_ENABLE_LOADER_INTERCEPT"))
        cr_skip_test("the loader, which keeps a table of handles then, may be locked at the fork");
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, busy, NULL), 0);
    for (int i = 0; i < 20; i++) {
        struct test_peer peer;

        test_peer_start(&peer, child_works, NULL);
        test_peer_join(&peer);
    }
    atomic_store(&stop_busy, true);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}
