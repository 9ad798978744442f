/* SPDX-License-Identifier: MIT */
/* client/ze/list.c: command lists of the caller as streams.
 *
 * Guarantees of this file: a list becomes a stream only when it is immediate, of the daemon's device
 * and in order, as far as the loader can tell and else as its description says; what is put on it are
 * barriers, which keep their place whatever the list does with other commands.
 */
#include "client/ze/list.h"

#include "client/ze/context.h"

#include <dlfcn.h>
#include <stdlib.h>

#ifndef ZE_COMMAND_QUEUE_FLAG_IN_ORDER
#define ZE_COMMAND_QUEUE_FLAG_IN_ORDER ZE_BIT(1) /* since 1.6; older headers lack the name */
#endif

struct list {
    struct context *context;
    ze_command_list_handle_t handle;
};

/* ---- called back by libxpurt ---------------------------------------------------------------------- */

static xpurt_result event_of(struct list *list, const struct xpurtp_pool *pool, unsigned index,
                             ze_event_handle_t *ret_event)
{
    xpurt_result r;

    context_lock();
    r = context_event(list->context, pool, index, ret_event);
    context_unlock();
    return r;
}

static xpurt_result list_signal(void *data, const struct xpurtp_pool *pool, unsigned index)
{
    struct list *list = data;
    ze_event_handle_t event;
    xpurt_result r = event_of(list, pool, index, &event);

    return r ? r :
               ze_error("zeCommandListAppendBarrier",
                        zeCommandListAppendBarrier(list->handle, event, 0, NULL));
}

static xpurt_result list_wait(void *data, const struct xpurtp_pool *pool, unsigned index)
{
    struct list *list = data;
    ze_event_handle_t event;
    xpurt_result r = event_of(list, pool, index, &event);

    return r ? r :
               ze_error("zeCommandListAppendBarrier",
                        zeCommandListAppendBarrier(list->handle, NULL, 1, &event));
}

static int list_done(void *data, const struct xpurtp_pool *pool, unsigned index)
{
    ze_event_handle_t event;

    return event_of(data, pool, index, &event) == XPURT_SUCCESS &&
           zeEventQueryStatus(event) == ZE_RESULT_SUCCESS;
}

static void list_detach(void *data)
{
    struct list *list = data;

    context_lock();
    list->context->n_streams--;
    context_unlock();
    free(list);
}

static void list_abandon(void)
{
    context_lock();
    contexts_abandon();
    context_unlock();
}

const struct xpurtp_backend list_backend = {
    .signal = list_signal,
    .wait = list_wait,
    .done = list_done,
    .detach = list_detach,
    .abandon = list_abandon,
};

/* ---- attaching -------------------------------------------------------------------------------------- */

/* Ask the list itself, where the loader knows how (since 1.9). */
static xpurt_result list_look(const xpurt_ze_list *list)
{
    ze_result_t (*is_immediate)(ze_command_list_handle_t, ze_bool_t *);
    ze_result_t (*get_device)(ze_command_list_handle_t, ze_device_handle_t *);
    ze_device_handle_t device;
    ze_bool_t immediate;

    *(void **)&is_immediate = dlsym(RTLD_DEFAULT, "zeCommandListIsImmediate");
    if (is_immediate && is_immediate(list->list, &immediate) == ZE_RESULT_SUCCESS && !immediate)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the command list is not immediate");
    *(void **)&get_device = dlsym(RTLD_DEFAULT, "zeCommandListGetDeviceHandle");
    if (get_device && get_device(list->list, &device) == ZE_RESULT_SUCCESS &&
        device != list->device)
        return xpurtp_error(XPURT_ERROR_INVALID_DEVICE, "the command list is of another device");
    return XPURT_SUCCESS;
}

static xpurt_result list_check(const xpurt_ze_list *list, int *ret_device)
{
    xpurt_result r;

    if (!list || !list->list || !list->device || !list->desc)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT,
                            "the command list, its device or its description is null");
    if (list->desc->mode != ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS && !list->ordered &&
        !(list->desc->flags & (ze_command_queue_flags_t)ZE_COMMAND_QUEUE_FLAG_IN_ORDER))
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the command list is not in order");
    r = context_check(&list->context, list->device, ret_device);
    return r ? r : list_look(list);
}

xpurt_result xpurt_stream_from_ze_list(const xpurt_ze_list *from, xpurt_stream **ret_stream)
{
    struct list *list;
    xpurt_result r;
    int device = 0;

    if (!ret_stream)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the stream");
    r = list_check(from, &device);
    if (r)
        return r;

    list = calloc(1, sizeof(*list));
    context_lock();
    if (list && (list->context = context_get(&from->context)))
        list->context->n_streams++;
    context_unlock();
    if (!list || !list->context) {
        free(list);
        return xpurtp_error(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for a stream");
    }
    list->handle = from->list;
    r = xpurtp_stream_attach(&list_backend, list, from->list, device, ret_stream);
    if (r)
        list_detach(list);
    return r;
}
