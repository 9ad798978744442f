/* SPDX-License-Identifier: MIT */
/* append.c: appending what synchronises: barriers, events, time stamps.
 *
 * Guarantees of this file:
 *   - arrays the application passes are read before the append returns, never later;
 *   - what a CPU has no use for (scopes, memory ranges, prefetch, advice) is checked and then
 *     ignored: its caches are coherent.
 */
#include "event.h"
#include "list.h"

#include <string.h>

static void barrier_run(struct command *command)
{
    (void)command;
}

static const struct operation barrier = {
    .name = "barrier",
    .size = sizeof(struct command),
    .run = barrier_run,
};

ze_result_t append_barrier(ze_command_list_handle_t list, ze_event_handle_t signal,
                           uint32_t wait_count, ze_event_handle_t *waits)
{
    struct command command = { .operation = &barrier };

    ENTER(zeCommandListAppendBarrier);
    REQUIRE_HANDLE(list);
    return list_append(list, &command, signal, wait_count, waits);
}

ze_result_t append_ranges_barrier(ze_command_list_handle_t list, uint32_t count,
                                  const size_t *sizes, const void **ranges,
                                  ze_event_handle_t signal, uint32_t wait_count,
                                  ze_event_handle_t *waits)
{
    struct command command = { .operation = &barrier };

    ENTER(zeCommandListAppendMemoryRangesBarrier);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(sizes && ranges);
    for (uint32_t i = 0; i < count; i++)
        REQUIRE_POINTER(ranges[i]);
    return list_append(list, &command, signal, wait_count, waits);
}

ze_result_t append_signal_event(ze_command_list_handle_t list, ze_event_handle_t event)
{
    static const struct operation signal = {
        .name = "signal",
        .size = sizeof(struct command),
        .run = barrier_run,
    };
    struct command command = { .operation = &signal };

    ENTER(zeCommandListAppendSignalEvent);
    REQUIRE_HANDLE(list && event);
    return list_append(list, &command, event, 0, NULL);
}

ze_result_t append_wait_on_events(ze_command_list_handle_t list, uint32_t count,
                                  ze_event_handle_t *events)
{
    static const struct operation wait = {
        .name = "wait",
        .size = sizeof(struct command),
        .run = barrier_run,
    };
    struct command command = { .operation = &wait };

    ENTER(zeCommandListAppendWaitOnEvents);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(events);
    return list_append(list, &command, NULL, count, events);
}

struct reset {
    struct command head;
    ze_event_handle_t event;
};

static void reset_run(struct command *command)
{
    event_reset(((struct reset *)command)->event);
}

static bool reset_retain(struct command *copy)
{
    event_ref(((struct reset *)copy)->event);
    return true;
}

static void reset_discard(struct command *copy)
{
    event_unref(((struct reset *)copy)->event);
}

ze_result_t append_event_reset(ze_command_list_handle_t list, ze_event_handle_t event)
{
    static const struct operation reset = {
        .name = "reset",
        .size = sizeof(struct reset),
        .run = reset_run,
        .retain = reset_retain,
        .discard = reset_discard,
    };
    struct reset command = { .head = { .operation = &reset }, .event = event };

    ENTER(zeCommandListAppendEventReset);
    REQUIRE_HANDLE(list && event);
    REQUIRE(!event->counter, INVALID_ARGUMENT);
    return list_append(list, &command.head, NULL, 0, NULL);
}

struct stamp {
    struct command head;
    uint64_t *destination;
};

static void stamp_run(struct command *command)
{
    *((struct stamp *)command)->destination = clock_ticks();
}

ze_result_t append_write_global_timestamp(ze_command_list_handle_t list, uint64_t *destination,
                                          ze_event_handle_t signal, uint32_t wait_count,
                                          ze_event_handle_t *waits)
{
    static const struct operation stamp = {
        .name = "timestamp",
        .size = sizeof(struct stamp),
        .run = stamp_run,
    };
    struct stamp command = { .head = { .operation = &stamp }, .destination = destination };

    ENTER(zeCommandListAppendWriteGlobalTimestamp);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(destination);
    return list_append(list, &command.head, signal, wait_count, waits);
}

/* The queried events (references) and where their results go. */
struct queried {
    ze_event_handle_t event;
    char *destination;
};

struct query {
    struct command head;
    uint32_t count;
    struct queried *queried;
};

static void query_run(struct command *command)
{
    struct query *query = (struct query *)command;
    ze_kernel_timestamp_result_t result;

    for (uint32_t i = 0; i < query->count; i++) {
        if (event_timestamp_result(query->queried[i].event, &result) != ZE_RESULT_SUCCESS)
            memset(&result, 0, sizeof(result));
        memcpy(query->queried[i].destination, &result, sizeof(result));
    }
}

static bool query_retain(struct command *copy)
{
    struct query *query = (struct query *)copy;
    struct queried *queried = malloc(query->count * sizeof(*queried));

    if (!queried)
        return false;
    query->queried = memcpy(queried, query->queried, query->count * sizeof(*queried));
    for (uint32_t i = 0; i < query->count; i++)
        event_ref(queried[i].event);
    return true;
}

static void query_discard(struct command *copy)
{
    struct query *query = (struct query *)copy;

    for (uint32_t i = 0; i < query->count; i++)
        event_unref(query->queried[i].event);
    free(query->queried);
}

ze_result_t append_query_kernel_timestamps(ze_command_list_handle_t list, uint32_t count,
                                           ze_event_handle_t *events, void *destination,
                                           const size_t *offsets, ze_event_handle_t signal,
                                           uint32_t wait_count, ze_event_handle_t *waits)
{
    static const struct operation operation = {
        .name = "query",
        .size = sizeof(struct query),
        .run = query_run,
        .retain = query_retain,
        .discard = query_discard,
    };
    _cleanup_(freep) struct queried *queried = NULL;
    struct query command = { .head = { .operation = &operation }, .count = count };

    ENTER(zeCommandListAppendQueryKernelTimestamps);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(events && destination);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(events[i]);
        REQUIRE(events[i]->timestamps, INVALID_SYNCHRONIZATION_OBJECT);
    }
    command.queried = queried = calloc(count ? count : 1, sizeof(*queried));
    REQUIRE(queried, OUT_OF_HOST_MEMORY);
    for (uint32_t i = 0; i < count; i++)
        queried[i] = (struct queried){
            events[i],
            (char *)destination + (offsets ? offsets[i] : i * sizeof(ze_kernel_timestamp_result_t))
        };
    return list_append(list, &command.head, signal, wait_count, waits);
}

ze_result_t append_memory_prefetch(ze_command_list_handle_t list, const void *pointer, size_t size)
{
    ENTER(zeCommandListAppendMemoryPrefetch);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(pointer);
    (void)size;
    return ZE_RESULT_SUCCESS;
}

ze_result_t append_mem_advise(ze_command_list_handle_t list, ze_device_handle_t device,
                              const void *pointer, size_t size, ze_memory_advice_t advice)
{
    const unsigned last = 9; /* CLEAR_SYSTEM_MEMORY_PREFERRED_LOCATION of newer headers */

    ENTER(zeCommandListAppendMemAdvise);
    REQUIRE_HANDLE(list && device);
    REQUIRE_POINTER(pointer);
    REQUIRE((unsigned)advice <= last, INVALID_ENUMERATION);
    (void)size;
    return ZE_RESULT_SUCCESS;
}
