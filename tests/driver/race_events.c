/* SPDX-License-Identifier: MIT */
/* Threads that signal, wait for, reset, create and destroy events, allocate memory, and append to
 * lists of their own, all at once: a program for ThreadSanitizer.
 *
 *     race_events [rounds]
 */
#include "scene.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 3, BIG = 128 << 10 };

static unsigned rounds;

/* Two threads of a pair hand a value to and fro through memory that only events protect. */
struct pair {
    ze_event_pool_handle_t pool;
    ze_event_handle_t there, back;
    uint64_t *value;
};

static void *ping(void *argument)
{
    struct pair *pair = argument;
    ze_command_list_handle_t list = soft_immediate(0, 0);

    for (unsigned i = 0; i < rounds; i++) {
        soft_free(soft_device_memory(64));
        *pair->value = i;
        OK(zeCommandListAppendSignalEvent(list, pair->there));
        OK(zeEventHostSynchronize(pair->back, FOREVER));
        OK(zeEventHostReset(pair->back));
        CHECK(*pair->value == i + 1);
    }
    OK(zeCommandListDestroy(list));
    return NULL;
}

static void *pong(void *argument)
{
    struct pair *pair = argument;
    ze_command_list_handle_t list = soft_immediate(1, 0);
    uint64_t *one = soft_host_memory(sizeof(*one));
    ze_event_pool_handle_t pool;
    ze_event_handle_t done;

    for (unsigned i = 0; i < rounds; i++) {
        *one = i + 1;
        OK(zeCommandListAppendWaitOnEvents(list, 1, &pair->there));
        OK(zeCommandListAppendEventReset(list, pair->there));
        OK(zeCommandListAppendMemoryCopy(list, pair->value, one, sizeof(*one), pair->back, 0,
                                         NULL));
        soft_free(soft_device_memory(64));
        pool = soft_pool(0, 1);
        done = soft_event(pool, 0);
        OK(zeCommandListAppendSignalEvent(list, done));
        OK(zeEventHostSynchronize(done, FOREVER));
        OK(zeEventDestroy(done));       /* at once: the signaller may still be busy with it */
        OK(zeEventPoolDestroy(pool));
    }
    OK(zeCommandListDestroy(list));
    soft_free(one);
    return NULL;
}

/* Big copies keep the workers busy, and end in events that are destroyed at once. */
static void *churn(void *argument)
{
    ze_command_list_handle_t list = soft_immediate(0, 0);
    char *from = soft_device_memory(BIG), *to = soft_device_memory(BIG);

    (void)argument;
    memset(from, 5, BIG);
    for (unsigned i = 0; i < rounds / 4; i++) {
        ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP, 2);
        ze_event_handle_t first = soft_event(pool, 0), second = soft_event(pool, 1);

        OK(zeCommandListAppendMemoryCopy(list, to, from, BIG, first, 0, NULL));
        OK(zeCommandListAppendMemoryFill(list, from, "f", 1, BIG, second, 1, &first));
        OK(zeEventHostSynchronize(second, FOREVER));
        CHECK(from[BIG - 1] == 'f');
        OK(zeEventDestroy(first));
        OK(zeEventDestroy(second));
        OK(zeEventPoolDestroy(pool));
    }
    OK(zeCommandListDestroy(list));
    soft_free(from);
    soft_free(to);
    return NULL;
}

int main(int argc, char **argv)
{
    struct pair pairs[PAIRS];
    pthread_t threads[2 * PAIRS + 1];

    rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2000;
    soft_open();
    for (int i = 0; i < PAIRS; i++) {
        pairs[i].pool = soft_pool(i == 0 ? ZE_EVENT_POOL_FLAG_IPC : 0, 2);
        pairs[i].there = soft_event(pairs[i].pool, 0);
        pairs[i].back = soft_event(pairs[i].pool, 1);
        pairs[i].value = soft_host_memory(sizeof(uint64_t));
        pthread_create(&threads[2 * i], NULL, ping, &pairs[i]);
        pthread_create(&threads[2 * i + 1], NULL, pong, &pairs[i]);
    }
    pthread_create(&threads[2 * PAIRS], NULL, churn, NULL);
    for (int i = 0; i <= 2 * PAIRS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PAIRS; i++) {
        OK(zeEventDestroy(pairs[i].there));
        OK(zeEventDestroy(pairs[i].back));
        OK(zeEventPoolDestroy(pairs[i].pool));
        soft_free(pairs[i].value);
    }
    soft_close();
    printf("%u rounds\n", rounds);
    return 0;
}
