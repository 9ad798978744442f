/* SPDX-License-Identifier: MIT */
/* client/external.c: streams that are command lists in the caller's own Level Zero context.
 *
 * Guarantees of this file:
 *   - what is put on the list and what the daemon is told come in one order;
 *   - a wait that is on the list ends: its slot is one that was signalled or will be, by its record,
 *     or by the daemon, or here when the daemon is gone.
 */
#include "client/external.h"

#include "client/arena.h"
#include "client/device.h"
#include "client/event.h"
#include "client/result.h"
#include "client/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITS_MAX 16u                   /* on a list since its last record */

_Static_assert(WAITS_MAX < NATIVE_WAITS, "the daemon allows them");

static unsigned use_index(const struct native_use *use)
{
    return use->slot % NATIVE_POOL_SLOTS;
}

xpurt_result external_record(struct external *external, const struct native_use *use,
                             uint64_t point, uint64_t stamp)
{
    Xpurt__ExternalRecord record = XPURT__EXTERNAL_RECORD__INIT;
    xpurt_result r;

    r = external->backend->signal(external->list, use->pool, use_index(use));
    if (r) {
        native_unclaim(use);
        return r;
    }
    native_tell(use, point);
    record.stream = point_stream(point);
    record.value = point_value(point);
    record.stamp = stamp;
    record.slot = use->slot;
    external->waits = 0;
    external->last = *use;
    external->last_point = point;
    return connection_command(
        &(Xpurt__Command){ COMMAND(EXTERNAL_RECORD), .external_record = &record });
}

static xpurt_result wait_send(struct external *external, const Xpurt__ExternalWait *wait)
{
    xpurt_result r;

    external->waits++;
    r = connection_command(
        &(Xpurt__Command){ COMMAND(EXTERNAL_WAIT), .external_wait = (Xpurt__ExternalWait *)wait });
    /* The list waits already, and the caller may ask the list, not us, when it is done. */
    return r ? r : connection_flush();
}

xpurt_result external_wait(struct external *external, uint32_t index, uint64_t point)
{
    Xpurt__ExternalWait wait = XPURT__EXTERNAL_WAIT__INIT;
    struct native_use use;
    uint32_t pin = 0;
    bool pinned = native_pin_point(point, &use, &pin);
    xpurt_result r = pinned ? XPURT_SUCCESS : native_claim(&use);

    if (r)
        return r;
    r = external->backend->wait(external->list, use.pool, use_index(&use));
    if (r && pinned)
        native_unpin(pin);
    else if (r)
        native_unclaim(&use);
    if (r)
        return r;

    wait.stream = index;
    wait.point = point;
    wait.owner = use.owner;
    wait.slot = use.slot;
    wait.pin = pinned ? pin + 1 : 0;
    return wait_send(external, &wait);
}

bool external_done(struct external *external, uint64_t point)
{
    const struct native_use *last = &external->last;

    return external->last_point == point &&
           external->backend->done(external->list, last->pool, use_index(last));
}

bool external_should_record(const struct external *external)
{
    return external->waits >= WAITS_MAX;
}

void external_free(struct external *external)
{
    if (!external)
        return;
    external->backend->detach(external->list);
    free(external);
}

/* ---- for libxpurt-ze ------------------------------------------------------------------------------ */

xpurt_result xpurtp_error(xpurt_result result, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(result, "%s", text);
}

xpurt_result xpurtp_identity(struct xpurtp_identity *ret_identity)
{
    xpurt_result r = session_enter();

    if (r)
        return r;
    device_identity(ret_identity);
    session_leave();
    return XPURT_SUCCESS;
}

xpurt_result xpurtp_stream_attach(const struct xpurtp_backend *backend, void *list, void *native,
                                  int device, xpurt_stream **ret_stream)
{
    struct external *external;
    xpurt_result r;

    r = device_enter(device);
    if (r)
        return r;
    external = calloc(1, sizeof(*external));
    if (external) {
        external->backend = backend;
        external->list = list;
        external->native = native;
        r = native_begin(backend);
        if (r == XPURT_SUCCESS)
            r = stream_new_external((uint32_t)device, external, ret_stream);
        if (r)
            free(external);
    } else {
        r = error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no memory for a stream");
    }
    session_leave();
    return r;
}

xpurt_result xpurtp_memory_native(const void *ptr, unsigned char ret_handle[64], int *ret_fd,
                                  void **ret_base, size_t *ret_size)
{
    Xpurt__MemoryNative native = XPURT__MEMORY_NATIVE__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_NATIVE), .memory_native = &native };
    struct reply reply = REPLY_NULL;
    const Xpurt__NativeMemory *memory;
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    native.address = (uintptr_t)ptr;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_NATIVE_MEMORY, 1, &reply);
    session_leave();
    if (r)
        return r;

    memory = reply.message->native_memory;
    if (memory->handle.len == 64) {
        memcpy(ret_handle, memory->handle.data, 64);
        *ret_fd = reply.fds.fds[0];
        reply.fds.count = 0;
        *ret_base = (void *)(uintptr_t)memory->start;
        *ret_size = memory->size;
    } else {
        r = error_set(XPURT_ERROR_PROTOCOL, "a handle of %zu bytes", memory->handle.len);
    }
    reply_deinit(&reply);
    return r;
}

/* ---- events as native ones ------------------------------------------------------------------------ */

static xpurt_result native_signal(uint64_t point, struct native_use *ret_use)
{
    Xpurt__NativeSignal signal = XPURT__NATIVE_SIGNAL__INIT;
    xpurt_result r;

    r = native_claim(ret_use);
    if (r)
        return r;
    signal.point = point;
    signal.slot = ret_use->slot;
    r = connection_command(&(Xpurt__Command){ COMMAND(NATIVE_SIGNAL), .native_signal = &signal });
    return r ? r : connection_flush();
}

xpurt_result xpurtp_event_native(const struct xpurtp_backend *backend, xpurt_event *event,
                                 const struct xpurtp_pool **ret_pool, unsigned *ret_index)
{
    struct native_use use;
    xpurt_result r;

    r = event_check(event);
    if (r == XPURT_SUCCESS)
        r = session_enter();
    if (r)
        return r;
    r = native_begin(backend);
    if (r == XPURT_SUCCESS)
        r = connection_flush();         /* what a batch has recorded counts */
    if (r == XPURT_SUCCESS)
        r = native_signal(event_point(event), &use);
    session_leave();
    if (r)
        return r;
    *ret_pool = use.pool;
    *ret_index = use_index(&use);
    return XPURT_SUCCESS;
}

xpurt_result xpurtp_event_release(uint64_t pool, unsigned index)
{
    Xpurt__NativeRelease release = XPURT__NATIVE_RELEASE__INIT;
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    if (native_pool_find(pool, index, &release.slot))
        r = connection_command(
            &(Xpurt__Command){ COMMAND(NATIVE_RELEASE), .native_release = &release });
    else
        r = error_set(XPURT_ERROR_INVALID_HANDLE, "there is no such native event of this session");
    session_leave();
    return r;
}
