/* SPDX-License-Identifier: MIT */
/* client/ze/event.c: xpurt's events as native ones.
 *
 * Guarantees of this file: a native event stays the caller's until it is put back, and is not used for
 * anything else before.
 */
#include "client/ze/context.h"
#include "client/ze/list.h"

#include <string.h>

static xpurt_result event_open(const xpurt_ze_context *from, const struct xpurtp_pool *pool,
                               unsigned index, ze_event_handle_t *ret_event)
{
    struct context *context;
    xpurt_result r;

    context_lock();
    context = context_get(from);
    r = context ? context_event(context, pool, index, ret_event) :
                  xpurtp_error(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for an event");
    context_unlock();
    return r;
}

xpurt_result xpurt_event_get_ze_event(xpurt_event *event, const xpurt_ze_context *context,
                                      ze_event_handle_t *ret_event)
{
    const struct xpurtp_pool *pool;
    unsigned index;
    xpurt_result r;

    if (!ret_event)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the event");
    r = context_check(context, NULL, NULL);
    if (r == XPURT_SUCCESS)
        r = xpurtp_event_native(&list_backend, event, &pool, &index);
    if (r)
        return r;
    r = event_open(context, pool, index, ret_event);
    if (r)
        (void)xpurtp_event_release(pool->id, index);
    return r;
}

xpurt_result xpurt_event_put_ze_event(const xpurt_ze_context *from, ze_event_handle_t event)
{
    struct context *context;
    uint64_t pool = 0;
    unsigned index = 0;
    bool found;

    if (!from || !event)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the context or the event is null");
    context_lock();
    context = context_find(from->context);
    found = context && context_event_find(context, event, &pool, &index);
    context_unlock();
    if (!found)
        return xpurtp_error(XPURT_ERROR_INVALID_HANDLE,
                            "%p is not an event that was opened in this context", (void *)event);
    return xpurtp_event_release(pool, index);
}

xpurt_result xpurt_event_get_ze_pool(xpurt_event *event, xpurt_ze_pool *ret_pool)
{
    const struct xpurtp_pool *pool;
    unsigned index;
    xpurt_result r;

    if (!ret_pool)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the pool");
    r = xpurtp_event_native(&list_backend, event, &pool, &index);
    if (r)
        return r;
    memset(ret_pool, 0, sizeof(*ret_pool));
    ret_pool->fd = handle_patch((unsigned char *)ret_pool->handle.data, pool->handle, pool->fd);
    ret_pool->index = index;
    ret_pool->count = pool->count;
    ret_pool->id = pool->id;
    if (ret_pool->fd >= 0)
        return XPURT_SUCCESS;
    (void)xpurtp_event_release(pool->id, index);
    return xpurtp_error(XPURT_ERROR_SYSTEM, "there is no file descriptor left");
}

xpurt_result xpurt_event_put_ze_pool(const xpurt_ze_pool *pool)
{
    if (!pool)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the pool is null");
    return xpurtp_event_release(pool->id, pool->index);
}
