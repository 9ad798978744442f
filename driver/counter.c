/* SPDX-License-Identifier: MIT */
/* counter.c: counter-based events.
 *
 * Guarantees of this file:
 *   - what an event stands for is read and replaced as a whole, from any thread;
 *   - a wait keeps what the event stood for when the wait was appended;
 *   - a shared handle is a snapshot: it names the timeline's memory and a value in it;
 *   - a timeline only grows.
 */
#include "counter.h"

#include "ipc.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STAMPS \
    (NEWER_EVENT_COUNTER_BASED_FLAG_DEVICE_TIMESTAMP | \
     NEWER_EVENT_COUNTER_BASED_FLAG_HOST_TIMESTAMP)

struct counter {
    pthread_mutex_t lock;
    struct timeline *timeline;          /* a reference; NULL: born, complete */
    uint64_t value;
    uint64_t start, end;                /* of the last completion that was timed */
    uint32_t flags;
    bool imported;
};

static struct cell complete;            /* what an event stands for before its first signal */

static struct timeline *timeline_alloc(void)
{
    struct timeline *timeline = calloc(1, sizeof(*timeline));

    if (!timeline)
        return NULL;
    atomic_init(&timeline->refs, 1);
    timeline->fd = -1;
    timeline->cell = &timeline->own_cell;
    return timeline;
}

static bool timeline_map(struct timeline *timeline)
{
    void *memory = mmap(NULL, SOFT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, timeline->fd, 0);

    if (memory == MAP_FAILED)
        return false;
    timeline->header = memory;
    timeline->bell = &timeline->header->bell;
    timeline->cell = &((struct slot *)(timeline->header + 1))->cell;
    return true;
}

void timeline_unref(struct timeline *timeline)
{
    if (!timeline || atomic_fetch_sub_explicit(&timeline->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (timeline->header)
        munmap(timeline->header, SOFT_PAGE);
    if (timeline->fd >= 0)
        close(timeline->fd);
    free(timeline);
}

ze_result_t timeline_provide(struct timeline **timeline, ze_event_handle_t event)
{
    bool shared = event->counter->flags & NEWER_EVENT_COUNTER_BASED_FLAG_IPC;
    struct timeline *fresh;

    if (*timeline && ((*timeline)->header || !shared))
        return ZE_RESULT_SUCCESS;
    fresh = timeline_alloc();
    REQUIRE(fresh, OUT_OF_HOST_MEMORY);
    if (shared) {
        fresh->fd = memory_file("ze_soft-timeline", SOFT_PAGE);
        if (fresh->fd < 0 || !timeline_map(fresh)) {
            timeline_unref(fresh);
            return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
        }
    }
    fresh->issued = *timeline ? (*timeline)->issued : 0;
    timeline_unref(*timeline);
    *timeline = fresh;
    return ZE_RESULT_SUCCESS;
}

void counter_point(ze_event_handle_t event, struct timeline *timeline, uint64_t value)
{
    struct counter *counter = event->counter;
    struct timeline *before;

    timeline_ref(timeline);
    pthread_mutex_lock(&counter->lock);
    before = counter->timeline;
    counter->timeline = timeline;
    counter->value = value;
    pthread_mutex_unlock(&counter->lock);
    timeline_unref(before);
}

void counter_signal(ze_event_handle_t event, struct timeline *timeline, uint64_t value,
                    uint64_t start)
{
    struct counter *counter = event->counter;

    if (event->timestamps) {
        pthread_mutex_lock(&counter->lock);
        counter->end = clock_ticks();
        counter->start = start ? start : counter->end;
        pthread_mutex_unlock(&counter->lock);
    }
    if (!cell_reached(timeline->cell, value))
        cell_store(timeline->cell, value, timeline->bell);
}

void counter_capture(ze_event_handle_t event, struct wait *ret_wait)
{
    struct counter *counter = event->counter;
    struct timeline *timeline;

    pthread_mutex_lock(&counter->lock);
    timeline = counter->timeline;
    *ret_wait = (struct wait){ timeline ? timeline->cell : &complete, counter->value,
                               timeline ? timeline->bell : NULL, event, timeline };
    if (timeline)
        timeline_ref(timeline);
    pthread_mutex_unlock(&counter->lock);
}

void counter_timestamps(ze_event_handle_t event, uint64_t *ret_start, uint64_t *ret_end)
{
    pthread_mutex_lock(&event->counter->lock);
    *ret_start = event->counter->start;
    *ret_end = event->counter->end;
    pthread_mutex_unlock(&event->counter->lock);
}

bool counter_for_regular(ze_event_handle_t event)
{
    return event->counter->flags & NEWER_EVENT_COUNTER_BASED_FLAG_NON_IMMEDIATE;
}

void counter_free(struct counter *counter)
{
    if (!counter)
        return;
    timeline_unref(counter->timeline);
    pthread_mutex_destroy(&counter->lock);
    free(counter);
}

static ze_event_handle_t counter_event_new(uint32_t flags)
{
    ze_event_handle_t event = calloc(1, sizeof(*event));
    struct counter *counter = calloc(1, sizeof(*counter));

    if (!event || !counter) {
        free(event);
        free(counter);
        return NULL;
    }
    pthread_mutex_init(&counter->lock, NULL);
    counter->flags = flags;
    atomic_init(&event->refs, 1);
    event->counter = counter;
    event->timestamps = flags & STAMPS;
    return event;
}

ze_result_t counter_create_in_pool(ze_event_pool_handle_t pool, const ze_event_desc_t *desc,
                                   ze_event_handle_t *ret_event)
{
    uint32_t flags =
        NEWER_EVENT_COUNTER_BASED_FLAG_IMMEDIATE | NEWER_EVENT_COUNTER_BASED_FLAG_NON_IMMEDIATE;
    ze_event_handle_t event;

    if (pool->flags &
        (ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP | NEWER_EVENT_POOL_FLAG_KERNEL_MAPPED_TIMESTAMP))
        flags |= NEWER_EVENT_COUNTER_BASED_FLAG_DEVICE_TIMESTAMP;
    if (pool->flags & ZE_EVENT_POOL_FLAG_IPC)
        flags |= NEWER_EVENT_COUNTER_BASED_FLAG_IPC;
    event = counter_event_new(flags);
    REQUIRE(event, OUT_OF_HOST_MEMORY);
    event->signal_scope = desc->signal;
    event->wait_scope = desc->wait;
    event->pool = pool;
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
    *ret_event = event;
    return ZE_RESULT_SUCCESS;
}

ze_result_t counter_create(ze_context_handle_t context, ze_device_handle_t device,
                           const newer_event_counter_based_desc_t *desc,
                           ze_event_handle_t *ret_event)
{
    ze_event_handle_t event;

    ENTER(zeEventCounterBasedCreate);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_event);
    REQUIRE(desc->flags <= NEWER_EVENT_COUNTER_BASED_FLAGS && desc->signal <= 0x7 &&
                desc->wait <= 0x7 && (desc->flags & STAMPS) != STAMPS,
            INVALID_ENUMERATION);
    /* a snapshot in another process has no time stamps to show */
    REQUIRE(!(desc->flags & NEWER_EVENT_COUNTER_BASED_FLAG_IPC) || !(desc->flags & STAMPS),
            INVALID_ARGUMENT);
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    event = counter_event_new(desc->flags);
    REQUIRE(event, OUT_OF_HOST_MEMORY);
    event->signal_scope = desc->signal;
    event->wait_scope = desc->wait;
    *ret_event = event;
    return ZE_RESULT_SUCCESS;
}

ze_result_t counter_get_ipc_handle(ze_event_handle_t event,
                                   newer_ipc_event_counter_based_handle_t *ret_handle)
{
    struct ipc_handle handle;
    struct wait wait;
    bool described;

    ENTER(zeEventCounterBasedGetIpcHandle);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(ret_handle);
    REQUIRE(event->counter && event->counter->flags & NEWER_EVENT_COUNTER_BASED_FLAG_IPC &&
                !event->counter->imported,
            INVALID_ARGUMENT);
    counter_capture(event, &wait);
    if (!wait.timeline) {               /* never signalled: a timeline of its own says complete */
        struct timeline *timeline = NULL;
        ze_result_t result = timeline_provide(&timeline, event);

        if (result != ZE_RESULT_SUCCESS)
            return result;
        counter_point(event, timeline, 0);
        wait.timeline = timeline;
        wait.target = 0;
    }
    described = ipc_describe(wait.timeline->fd, IPC_COUNTER, SOFT_PAGE, &handle);
    handle.detail = wait.target;
    timeline_unref(wait.timeline);
    REQUIRE(described, INVALID_ARGUMENT);
    memcpy(ret_handle->data, &handle, sizeof(handle));
    return ZE_RESULT_SUCCESS;
}

ze_result_t counter_open_ipc_handle(ze_context_handle_t context,
                                    newer_ipc_event_counter_based_handle_t ipc_handle,
                                    ze_event_handle_t *ret_event)
{
    ze_event_handle_t event;
    struct timeline *timeline;
    struct ipc_handle handle;
    bool received;

    ENTER(zeEventCounterBasedOpenIpcHandle);
    REQUIRE_HANDLE(context);
    REQUIRE_POINTER(ret_event);
    memcpy(&handle, ipc_handle.data, sizeof(handle));
    event = counter_event_new(NEWER_EVENT_COUNTER_BASED_FLAG_IPC |
                              NEWER_EVENT_COUNTER_BASED_FLAG_HOST_VISIBLE);
    timeline = event ? timeline_alloc() : NULL;
    if (!timeline) {
        event_unref(event);
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    event->counter->imported = true;
    event->counter->timeline = timeline;
    event->counter->value = handle.detail;
    timeline->fd = ipc_open(&handle, IPC_COUNTER, &received);
    if (timeline->fd < 0 || handle.size != SOFT_PAGE || !timeline_map(timeline)) {
        event_unref(event);
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    if (received)
        close(handle.fd);
    *ret_event = event;
    return ZE_RESULT_SUCCESS;
}

ze_result_t counter_close_ipc_handle(ze_event_handle_t event)
{
    ENTER(zeEventCounterBasedCloseIpcHandle);
    REQUIRE_HANDLE(event);
    REQUIRE(event->counter && event->counter->imported, INVALID_ARGUMENT);
    event_unref(event);
    return ZE_RESULT_SUCCESS;
}

ze_result_t counter_get_device_address(ze_event_handle_t event, uint64_t *ret_value,
                                       uint64_t *ret_address)
{
    struct wait wait;

    ENTER(zeEventCounterBasedGetDeviceAddress);
    REQUIRE_HANDLE(event);
    REQUIRE_POINTER(ret_value && ret_address);
    REQUIRE(event->counter, INVALID_ARGUMENT);
    counter_capture(event, &wait);
    *ret_value = wait.target;
    *ret_address = (uintptr_t)&wait.cell->value;
    timeline_unref(wait.timeline);
    return ZE_RESULT_SUCCESS;
}
