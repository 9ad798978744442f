/* SPDX-License-Identifier: MIT */
/* Threads that share events, each with lists of its own; made for thread sanitizer.
 *
 * Guarantees that are checked: what a command wrote is seen by whoever waited for its event, host
 * or queue; no wake-up is lost among 1000 queues that wait for each other; objects are made and
 * destroyed by several threads at once.
 */
#include "tests/conformance/soft.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8
#define QUEUES 1000
#define ROUNDS 5
#define CYCLES 200

static struct {
    ze_event_pool_handle_t pool;
    ze_command_list_handle_t lists[QUEUES];
    ze_event_handle_t links[QUEUES + 1];
    uint64_t values[QUEUES + 1];
    ze_event_handle_t baton[THREADS];
    uint64_t carried[THREADS];
    pthread_barrier_t turn;
} shared;

/* ---- 1000 queues in a chain, appended to by all threads -------------------------------------- */

static void chain_append(uint32_t thread)
{
    for (uint32_t i = QUEUES - THREADS + thread; i < QUEUES; i -= THREADS)
        REQUIRE_ZE(zeCommandListAppendMemoryCopy(shared.lists[i], &shared.values[i + 1],
                                                 &shared.values[i], sizeof(uint64_t),
                                                 shared.links[i + 1], 1, &shared.links[i]));
}

static void chain_round(uint32_t thread, uint64_t round)
{
    pthread_barrier_wait(&shared.turn);
    if (thread == 0) {
        shared.values[0] = round + 1;
        REQUIRE_ZE(zeEventHostSignal(shared.links[0]));
    }
    chain_append(thread);
    for (uint32_t i = thread; i <= QUEUES; i += THREADS) {
        REQUIRE_ZE(zeEventHostSynchronize(shared.links[i], FOREVER));
        test_require(shared.values[i] == round + 1, "link %u is not there yet", i);
    }
    pthread_barrier_wait(&shared.turn);
    for (uint32_t i = thread; i <= QUEUES; i += THREADS)
        REQUIRE_ZE(zeEventHostReset(shared.links[i]));
}

/* ---- a value handed from thread to thread, over the host and over queues --------------------- */

static void baton_round(uint32_t thread, ze_command_list_handle_t list)
{
    uint32_t next = (thread + 1) % THREADS;

    for (uint64_t i = 0; i < CYCLES; i++) {
        bool last = next == 0 && i + 1 == CYCLES;

        REQUIRE_ZE(zeEventHostSynchronize(shared.baton[thread], FOREVER));
        REQUIRE_ZE(zeEventHostReset(shared.baton[thread]));
        test_require(shared.carried[thread] == i * THREADS + thread, "the value is stale");
        shared.carried[next] = shared.carried[thread] + 1;
        if (last)
            return;
        if (i % 2)
            REQUIRE_ZE(zeEventHostSignal(shared.baton[next]));
        else
            REQUIRE_ZE(zeCommandListAppendSignalEvent(list, shared.baton[next]));
    }
}

/* ---- objects come and go --------------------------------------------------------------------- */

static void come_and_go(uint32_t thread)
{
    for (uint32_t i = 0; i < 50; i++) {
        ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
        ze_event_pool_handle_t pool = soft_pool(2, thread % 2 ? ZE_EVENT_POOL_FLAG_IPC : 0);
        ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
        size_t size = i % 4 ? 256 : 128 << 10;
        char *memory = soft_alloc(ZE_MEMORY_TYPE_SHARED, size);

        REQUIRE_ZE(zeCommandListAppendMemoryFill(list, memory, "\7", 1, size, done, 1, &gate));
        REQUIRE_ZE(zeEventHostSignal(gate));
        REQUIRE_ZE(zeEventHostSynchronize(done, FOREVER));
        test_require(memory[size - 1] == 7, "not filled");
        REQUIRE_ZE(zeCommandListDestroy(list));
        soft_free(memory);
        REQUIRE_ZE(zeEventDestroy(gate));
        REQUIRE_ZE(zeEventDestroy(done));
        REQUIRE_ZE(zeEventPoolDestroy(pool));
    }
}

static void *run(void *argument)
{
    uint32_t thread = (uint32_t)(uintptr_t)argument;
    ze_command_list_handle_t own = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);

    for (uint64_t round = 0; round < ROUNDS; round++)
        chain_round(thread, round);
    pthread_barrier_wait(&shared.turn);
    if (thread == 0)
        REQUIRE_ZE(zeEventHostSignal(shared.baton[0]));
    baton_round(thread, own);
    come_and_go(thread);
    REQUIRE_ZE(zeCommandListDestroy(own));
    return NULL;
}

static void shared_make(void)
{
    shared.pool = soft_pool(QUEUES + 1 + THREADS, 0);
    for (uint32_t i = 0; i <= QUEUES; i++)
        shared.links[i] = soft_event(shared.pool, i);
    for (uint32_t i = 0; i < QUEUES; i++)
        shared.lists[i] = soft_immediate_on(soft.devices[i % soft.device_count], 0,
                                            ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS,
                                            ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
    for (uint32_t i = 0; i < THREADS; i++)
        shared.baton[i] = soft_event(shared.pool, QUEUES + 1 + i);
    pthread_barrier_init(&shared.turn, NULL, THREADS);
}

static void shared_release(void)
{
    pthread_barrier_destroy(&shared.turn);
    for (uint32_t i = 0; i < QUEUES; i++)
        REQUIRE_ZE(zeCommandListDestroy(shared.lists[i]));
    for (uint32_t i = 0; i <= QUEUES; i++)
        REQUIRE_ZE(zeEventDestroy(shared.links[i]));
    for (uint32_t i = 0; i < THREADS; i++)
        REQUIRE_ZE(zeEventDestroy(shared.baton[i]));
    REQUIRE_ZE(zeEventPoolDestroy(shared.pool));
}

int main(void)
{
    pthread_t threads[THREADS];

    soft_open();
    shared_make();
    for (uint32_t i = 0; i < THREADS; i++)
        test_require(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i) == 0,
                     "no thread");
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    shared_release();
    soft_close();
    printf("%d threads, %d queues, no wake-up lost\n", THREADS, QUEUES);
    return 0;
}
