/* SPDX-License-Identifier: MIT */
/**
 * @file ze.h
 * xpurt for processes with a Level Zero context of their own (SYCL, oneCCL, PyTorch's XPU backend):
 * their command lists as streams, xpurt's events and memory as native ones. In libxpurt-ze; libxpurt
 * itself needs no loader.
 *
 * Driver and devices of the context must be the daemon's: the same build of the driver, the same devices
 * in the same order (an affinity mask changes that). Each call checks, and XPURT_ERROR_INVALID_DEVICE
 * says what differs.
 *
 * What is opened in a context is closed by xpurt_ze_close(), to be called before zeContextDestroy(). A
 * forked child uses none of this before it has initialised Level Zero by itself.
 */
#ifndef XPURT_ZE_H
#define XPURT_ZE_H

#include <xpurt/base.h>
#include <xpurt/event.h>
#include <xpurt/stream.h>

#include <level_zero/ze_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The caller's context. */
typedef struct xpurt_ze_context {
    ze_driver_handle_t driver;
    ze_context_handle_t context;
} xpurt_ze_context;

/** The caller's command list, see xpurt_stream_from_ze_list(). */
typedef struct xpurt_ze_list {
    xpurt_ze_context context;
    ze_device_handle_t device;
    ze_command_list_handle_t list;       /**< of zeCommandListCreateImmediate() */
    const ze_command_queue_desc_t *desc; /**< what it was created with */
    int ordered; /**< 1: the caller keeps its commands in order by other means
                    than the driver's flag */
} xpurt_ze_list;

/**
 * Use a command list as a stream: events are recorded on it and waited for, from any process, in both
 * directions, without a round trip to the daemon. Its commands are the caller's business; copies, fills
 * and launches of xpurt on it are XPURT_ERROR_UNSUPPORTED.
 *
 * The list must be immediate, of a device that xpurtd serves, and in order: created in order (flag since
 * 1.6), or synchronous, or declared so. xpurt_stream_destroy() leaves the list as it is; the list must
 * live until then. Calls on the stream put commands on the list, and so do xpurt_device_synchronize(),
 * xpurt_stream_query() and xpurt_stream_synchronize(): they count as the caller's own use of the list,
 * which Level Zero allows one thread at a time.
 *
 * Waits for a process that dies end: the stream then gets XPURT_ERROR_PEER_LOST, the list goes on.
 *
 * @param list        copied
 * @param ret_stream  to be ended by xpurt_stream_destroy()
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT for a list that is null, not immediate or not in
 *         order; XPURT_ERROR_INVALID_DEVICE for another driver or device; XPURT_ERROR_QUOTA
 * @note thread-safe. Like torch.xpu's get_stream_from_external().
 */
XPURT_API xpurt_result xpurt_stream_from_ze_list(const xpurt_ze_list *list,
                                                 xpurt_stream **ret_stream);

/**
 * A native event that is signalled when what @p event has captured now is complete. When it can no longer
 * be (its process died), the native event is signalled too, and xpurt_event_query() says why. Recording
 * @p event again does not change what the native event waits for. The caller must not reset or signal it.
 *
 * @param ret_event  opened in the context; to be given back by xpurt_event_put_ze_event() once no command
 *                   looks at it any more
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_QUOTA
 * @note thread-safe; a round trip the first time in a context.
 */
XPURT_API xpurt_result xpurt_event_get_ze_event(xpurt_event *event, const xpurt_ze_context *context,
                                                ze_event_handle_t *ret_event);

/**
 * Undo one xpurt_event_get_ze_event().
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE for an event that is none of those
 */
XPURT_API xpurt_result xpurt_event_put_ze_event(const xpurt_ze_context *context,
                                                ze_event_handle_t event);

/** Where a native event lies, for those who open it themselves. */
typedef struct xpurt_ze_pool {
    ze_ipc_event_pool_handle_t handle;  /**< for zeEventPoolOpenIpcHandle(), with `fd` in it */
    int fd;         /**< the caller's; some drivers take it over when they open */
    uint32_t index; /**< of the event in the pool */
    uint32_t count; /**< of the pool's events */
    uint64_t id;    /**< of the pool: an equal one need not be opened again */
} xpurt_ze_pool;

/**
 * The pool handle, descriptor and index of what xpurt_event_get_ze_event() would open.
 * @param ret_pool  to be given back by xpurt_event_put_ze_pool()
 * @return as xpurt_event_get_ze_event()
 */
XPURT_API xpurt_result xpurt_event_get_ze_pool(xpurt_event *event, xpurt_ze_pool *ret_pool);

/** Undo one xpurt_event_get_ze_pool(). The descriptor is not closed. */
XPURT_API xpurt_result xpurt_event_put_ze_pool(const xpurt_ze_pool *pool);

/**
 * Device memory of xpurt in the caller's context. The bytes are the same; the address may be another
 * one. Lives until it is put back, or the context is closed; the memory itself must be kept allocated or
 * opened by the caller until then.
 *
 * @param ptr         inside device memory that this process allocated or opened
 * @param device      of the context, where the memory lies
 * @param ret_native  the address of the same byte in the context
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS; XPURT_ERROR_INVALID_DEVICE
 * @note thread-safe; one round trip. Like zeMemOpenIpcHandle().
 */
XPURT_API xpurt_result xpurt_mem_get_ze_pointer(const void *ptr, const xpurt_ze_context *context,
                                                ze_device_handle_t device, void **ret_native);

/** Undo one xpurt_mem_get_ze_pointer(). @p native is what that returned. */
XPURT_API xpurt_result xpurt_mem_put_ze_pointer(const xpurt_ze_context *context, void *native);

/**
 * Close all that was opened in a context; to be called when no command looks at any of it.
 * @return XPURT_SUCCESS, also for a context never used; XPURT_ERROR_INVALID_ARGUMENT while streams of
 *         it exist
 */
XPURT_API xpurt_result xpurt_ze_close(const xpurt_ze_context *context);

#ifdef __cplusplus
}
#endif

#endif
