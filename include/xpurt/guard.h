/* SPDX-License-Identifier: MIT */
/**
 * @file guard.h
 * Guards: what is current for the thread inside a scope only, put back on every way out of it, be it
 * return, break, goto or, in C++, an exception. And a table of functions for frameworks.
 *
 *     int work(xpurt_stream *side)
 *     {
 *         XPURT_STREAM_GUARD(guard, side);
 *
 *         if (guard.result)
 *             return -1;              // the stream cannot be used; nothing was changed
 *         ...                         // its device is current, and side on that device
 *     }                               // both are what they were before
 *
 * A guard that could not do what it was asked for says so in its `result`, and changes nothing on
 * either end. Putting back works in every state of the connection. A guard belongs to the thread
 * that made it, and guards end in the opposite order of their beginning, as scopes do.
 *
 * The macros need cleanup attributes (GCC, Clang) or C++11. Everyone else calls the functions below
 * them, one xpurt_..._guard_end() for each xpurt_..._guard_begin().
 */
#ifndef XPURT_GUARD_H
#define XPURT_GUARD_H

#include <xpurt/base.h>
#include <xpurt/device.h>
#include <xpurt/event.h>
#include <xpurt/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Puts the current device back. */
typedef struct xpurt_device_guard {
    xpurt_result result;                /**< of the last call that set a device */
    int active;                         /**< 1: there is something to put back */
    int original;                       /**< the device to put back */
    int current;                        /**< the device set last */
} xpurt_device_guard;

/** Puts the current device back, and the current streams of both devices. */
typedef struct xpurt_stream_guard {
    xpurt_result result;                /**< of the last call that set a stream */
    int active;
    int original_device;
    int device;                         /**< of the stream set last */
    uint64_t original_stream;           /**< id of the stream of the original device */
    uint64_t stream;                    /**< id of the stream to put back on `device` */
} xpurt_stream_guard;

/** Puts back the current streams of several devices. */
typedef struct xpurt_multi_stream_guard {
    xpurt_result result;
    uint64_t devices;                   /**< bit d: the stream of device d is to be put back */
    uint64_t streams[XPURT_DEVICES_MAX];
} xpurt_multi_stream_guard;

/**
 * Make @p device current until the guard ends; a negative number changes nothing. The guard puts back
 * what was current at its beginning, whatever was set meanwhile.
 * @return the guard; its result is XPURT_SUCCESS or XPURT_ERROR_INVALID_DEVICE, or says why there is
 *         no connection
 */
XPURT_API xpurt_device_guard xpurt_device_guard_begin(int device);

/** The same, but with a negative number there is nothing to put back before a device is set. */
XPURT_API xpurt_device_guard xpurt_optional_device_guard_begin(int device);

/** Make another device current. Returns the guard's result. */
XPURT_API xpurt_result xpurt_device_guard_set(xpurt_device_guard *guard, int device);

/** Put the device back. Never fails; ending twice is a no-op, as is ending null. */
XPURT_API void xpurt_device_guard_end(xpurt_device_guard *guard);

/**
 * Make @p stream the current one of its device, and that device current, until the guard ends. The
 * guard puts back the device, and the streams that were current on it and on the stream's device.
 * @return the guard; its result is that of xpurt_stream_set_current()
 */
XPURT_API xpurt_stream_guard xpurt_stream_guard_begin(xpurt_stream *stream);

/** Put back the stream that was set last, then set another one, maybe of another device. */
XPURT_API xpurt_result xpurt_stream_guard_set(xpurt_stream_guard *guard, xpurt_stream *stream);

/** Put everything back. Never fails; ending twice is a no-op. */
XPURT_API void xpurt_stream_guard_end(xpurt_stream_guard *guard);

/**
 * Make each of @p streams the current one of its device until the guard ends. The current device
 * stays. When one of them cannot be used, none is set.
 */
XPURT_API xpurt_multi_stream_guard xpurt_multi_stream_guard_begin(xpurt_stream *const *streams,
                                                                  size_t count);
XPURT_API void xpurt_multi_stream_guard_end(xpurt_multi_stream_guard *guard);

/**
 * What a framework needs to drive devices, line by line as in PyTorch's
 * c10::impl::DeviceGuardImplInterface. A stream in the sense of c10 is (id, device): see
 * xpurt_stream_get_id() and xpurt_stream_from_id(). Negative devices are the current one where a
 * stream is asked for, and any where an event is given.
 */
typedef struct xpurt_guard_table {
    size_t size;                        /**< of this structure; later ones only get longer */
    const char *type;                   /**< of device, as frameworks name it: "xpu" */
    int (*exchange_device)(int device);
    int (*get_device)(void);
    xpurt_result (*set_device)(int device);
    /** Never fails, never connects. */
    void (*unchecked_set_device)(int device);
    xpurt_result (*get_stream)(int device, xpurt_stream **ret_stream);
    xpurt_result (*get_default_stream)(int device, xpurt_stream **ret_stream);
    xpurt_result (*get_stream_from_global_pool)(int device, int high_priority,
                                                xpurt_stream **ret_stream);
    xpurt_result (*get_new_stream)(int device, int priority, xpurt_stream **ret_stream);
    xpurt_result (*exchange_stream)(xpurt_stream *stream, xpurt_stream **ret_previous);
    xpurt_result (*get_stream_native_handle)(xpurt_stream *stream, void **ret_handle);
    void (*destroy_event)(xpurt_event *event, int device);
    /** Makes the event, with @p flags, where *event is null. */
    xpurt_result (*record)(xpurt_event **event, xpurt_stream *stream, int device, unsigned flags);
    xpurt_result (*block)(xpurt_event *event, xpurt_stream *stream);
    xpurt_result (*query_event)(xpurt_event *event);
    int (*device_count)(void);
    xpurt_result (*get_device_capability)(int device, xpurt_device_capability *ret_capability);
    xpurt_result (*query_stream)(xpurt_stream *stream);
    xpurt_result (*synchronize_stream)(xpurt_stream *stream);
    xpurt_result (*is_stream_capturing)(xpurt_stream *stream, int *ret_capturing);
    /** Checks its arguments and no more: memory that was freed is kept until the work that was
     *  submitted before is done, on whichever stream. */
    xpurt_result (*record_data_pointer_on_stream)(const void *ptr, xpurt_stream *stream);
    xpurt_result (*synchronize_event)(xpurt_event *event);
    xpurt_result (*synchronize_device)(int device);
    xpurt_result (*elapsed_time)(xpurt_event *start, xpurt_event *end, int device,
                                 double *ret_milliseconds);
    xpurt_result (*get_event_ipc_handle)(xpurt_event *event, xpurt_event_handle *ret_handle);
    xpurt_result (*event_from_ipc_handle)(const xpurt_event_handle *handle, int device,
                                          xpurt_event **ret_event);
} xpurt_guard_table;

/** The table; static. Never fails, never connects. */
XPURT_API const xpurt_guard_table *xpurt_guard_table_get(void);

#ifdef __cplusplus
}

extern "C++" {
/** A guard that ends with its scope; see the macros. */
template <typename Guard, void (*End)(Guard *)> struct xpurt_scope : Guard {
    explicit xpurt_scope(const Guard &guard) : Guard(guard)
    {
    }
    ~xpurt_scope()
    {
        End(this);
    }
    xpurt_scope(const xpurt_scope &) = delete;
    xpurt_scope &operator=(const xpurt_scope &) = delete;
};
}

#define XPURT_SCOPE(type, name, begin) xpurt_scope<type, type##_end> name(begin)
#elif defined(__GNUC__)
#define XPURT_SCOPE(type, name, begin) \
    type name __attribute__((cleanup(type##_end), unused)) = (begin)
#endif

#ifdef XPURT_SCOPE
/** Declares the guard @p name, which ends with the scope. */
#define XPURT_DEVICE_GUARD(name, device) \
    XPURT_SCOPE(xpurt_device_guard, name, xpurt_device_guard_begin(device))
#define XPURT_OPTIONAL_DEVICE_GUARD(name, device) \
    XPURT_SCOPE(xpurt_device_guard, name, xpurt_optional_device_guard_begin(device))
#define XPURT_STREAM_GUARD(name, stream) \
    XPURT_SCOPE(xpurt_stream_guard, name, xpurt_stream_guard_begin(stream))
#define XPURT_MULTI_STREAM_GUARD(name, streams, count) \
    XPURT_SCOPE(xpurt_multi_stream_guard, name, xpurt_multi_stream_guard_begin(streams, count))
#endif

#endif
