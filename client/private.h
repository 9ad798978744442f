/* SPDX-License-Identifier: MIT */
/* client/private.h: what libxpurt-ze and libxpurt need of each other; for nobody else, and only
 * between libraries of the same version.
 *
 * libxpurt knows slots, points and the daemon, and never links the Level Zero loader; libxpurt-ze
 * knows contexts, lists and events. libxpurt calls back with its lock held.
 */
#pragma once

#include <xpurt/base.h>
#include <xpurt/event.h>
#include <xpurt/stream.h>

#include <stddef.h>
#include <stdint.h>

/* An event pool of the daemon's, as another process can open it. */
struct xpurtp_pool {
    uint64_t id;                        /* never two of the same */
    int fd;                             /* what the first bytes of the handle are about; borrowed */
    unsigned char handle[64];
    unsigned count;                     /* of its events */
};

/* What libxpurt-ze does. @p list is what it gave to xpurtp_stream_attach(). */
struct xpurtp_backend {
    /* Put a signal of event @p index behind all that is on the list. */
    xpurt_result (*signal)(void *list, const struct xpurtp_pool *pool, unsigned index);
    /* Let all that is put on the list later wait for it. */
    xpurt_result (*wait)(void *list, const struct xpurtp_pool *pool, unsigned index);
    /* Whether the event is signalled. */
    int (*done)(void *list, const struct xpurtp_pool *pool, unsigned index);
    /* The stream is destroyed. */
    void (*detach)(void *list);
    /* The daemon is gone: let every list go on that waits for an event. */
    void (*abandon)(void);
};

/* Whose devices they are: what must be equal for a handle to be opened. */
struct xpurtp_identity {
    unsigned char driver_uuid[16];
    uint32_t driver_number;
    int device_count;
    unsigned char (*device_uuids)[16];  /* in order; borrowed until the session ends */
};

XPURT_API xpurt_result xpurtp_identity(struct xpurtp_identity *ret_identity);

/* A stream that is @p list of device @p device; @p native is what the caller calls it. */
XPURT_API xpurt_result xpurtp_stream_attach(const struct xpurtp_backend *backend, void *list,
                                            void *native, int device, xpurt_stream **ret_stream);

/* An event that is signalled when @p event's present point is complete, or can no longer be. Its slot
 * is given back by xpurtp_event_release(). */
XPURT_API xpurt_result xpurtp_event_native(const struct xpurtp_backend *backend, xpurt_event *event,
                                           const struct xpurtp_pool **ret_pool,
                                           unsigned *ret_index);
XPURT_API xpurt_result xpurtp_event_release(uint64_t pool, unsigned index);

/* The native handle of the allocation that @p ptr lies in. The descriptor is the caller's to close. */
XPURT_API xpurt_result xpurtp_memory_native(const void *ptr, unsigned char ret_handle[64],
                                            int *ret_fd, void **ret_base, size_t *ret_size);

/* Set the calling thread's error, and return @p result. */
XPURT_API xpurt_result xpurtp_error(xpurt_result result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
