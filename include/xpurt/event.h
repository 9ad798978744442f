/* SPDX-License-Identifier: MIT */
/**
 * @file event.h
 * Events: moments of a stream that others can wait for, in this process and in any other.
 *
 * Recording an event captures everything submitted to a stream so far. Recording it again replaces
 * that; waits already made keep what they captured. An event that was never recorded counts as
 * complete. A process that opened an event by its handle may do with it all that its maker may.
 */
#ifndef XPURT_EVENT_H
#define XPURT_EVENT_H

#include <xpurt/base.h>
#include <xpurt/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What an event can do. All off by default; they combine freely. */
enum xpurt_event_flags {
    XPURT_EVENT_DEFAULT = 0,
    XPURT_EVENT_TIMING = 1,             /**< xpurt_event_elapsed_time() works */
    XPURT_EVENT_BLOCKING = 2,           /**< waits sleep at once instead of spinning first */
    XPURT_EVENT_INTERPROCESS = 4        /**< xpurt_event_get_ipc_handle() works */
};

/** Names an event in any process of the same user; plain bytes, to be passed on by any means. */
typedef struct xpurt_event_handle {
    unsigned char bytes[XPURT_IPC_HANDLE_SIZE];
} xpurt_event_handle;

/**
 * Make an event. It belongs to no device until it is first recorded.
 * @param flags  of enum xpurt_event_flags
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT for unknown flags; XPURT_ERROR_QUOTA
 * @note thread-safe; no round trip. Like cudaEventCreateWithFlags.
 */
XPURT_API xpurt_result xpurt_event_create(unsigned flags, xpurt_event **ret_event);

/**
 * Destroy an event, made or opened. Work pending on it is not disturbed; null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE
 * @note no other thread may use @p event any more. Like cudaEventDestroy.
 */
XPURT_API xpurt_result xpurt_event_destroy(xpurt_event *event);

/**
 * Capture all work submitted to @p stream so far.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE when the event was recorded on another device
 *         before (both are named); XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note thread-safe; never waits. Like cudaEventRecord.
 */
XPURT_API xpurt_result xpurt_event_record(xpurt_event *event, xpurt_stream *stream);

/**
 * The same for an event that was never recorded; else nothing is done. Only the first of several
 * calls of this process records.
 * @return as xpurt_event_record()
 * @note thread-safe; never waits. Like at::cuda::CUDAEvent::recordOnce.
 */
XPURT_API xpurt_result xpurt_event_record_once(xpurt_event *event, xpurt_stream *stream);

/**
 * Move an event: @p source becomes null, and *ret_event is what it was. An event has one owner, who
 * destroys it; there is no call that copies one.
 * @param source  points to an event; a pointer to null is moved as null
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 */
XPURT_API xpurt_result xpurt_event_move(xpurt_event **source, xpurt_event **ret_event);

/**
 * The number that names an event, the same in all processes that share it.
 * @param ret_id  0 before the first record
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; no system call. Like torch.xpu.Event.event_id.
 */
XPURT_API xpurt_result xpurt_event_get_id(xpurt_event *event, uint64_t *ret_id);

/** The device an event is bound to by its first record; -1 before that. Otherwise as its id. */
XPURT_API xpurt_result xpurt_event_get_device(xpurt_event *event, int *ret_device);

/**
 * Whether the captured work is done.
 * @return XPURT_SUCCESS: done, or never recorded; XPURT_NOT_READY; XPURT_ERROR_PEER_LOST when the
 *         recording process is gone before it was done; the error of the stream otherwise
 * @note thread-safe; two memory loads, no system call. Like cudaEventQuery.
 */
XPURT_API xpurt_result xpurt_event_query(xpurt_event *event);

/**
 * Wait until the work captured at the time of the call is done.
 * @return as xpurt_event_query(), never XPURT_NOT_READY; XPURT_ERROR_DAEMON_LOST
 * @note thread-safe; spins briefly, then sleeps (at once for XPURT_EVENT_BLOCKING). Like
 *       cudaEventSynchronize.
 */
XPURT_API xpurt_result xpurt_event_synchronize(xpurt_event *event);

/** The same, for at most @p timeout_ns nanoseconds: XPURT_TIMEOUT when it was not enough. */
XPURT_API xpurt_result xpurt_event_synchronize_for(xpurt_event *event, uint64_t timeout_ns);

/**
 * How often the event was recorded, by all processes together, modulo 2^32.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; no system call.
 */
XPURT_API xpurt_result xpurt_event_get_generation(xpurt_event *event, uint32_t *ret_generation);

/**
 * Wait for a record that may still be to come: until the event was recorded @p generation times, by
 * whichever process, and what it holds then is done. Generations count modulo 2^32; one counts as
 * reached for as long as the event's own is at most 2^31 - 1 ahead of it.
 *
 * Those who may make the record are the processes that opened the event by its handle, and its
 * maker, besides the threads of the caller; what forked children inherited does not count.
 *
 * @param timeout_ns  nanoseconds, for both together; XPURT_NO_TIMEOUT
 * @return XPURT_SUCCESS; XPURT_TIMEOUT; XPURT_ERROR_PEER_LOST when no other process shares the event
 *         any more and one of them ended without closing it, found out within about a second; then
 *         as xpurt_event_synchronize()
 * @note thread-safe; sleeps until a record comes. CUDA has no such call: there a record must be made
 *       before it can be waited for.
 */
XPURT_API xpurt_result xpurt_event_wait_generation(xpurt_event *event, uint32_t generation,
                                                   uint64_t timeout_ns);

/**
 * A descriptor that becomes readable when what the event holds now is done, or can no longer be:
 * xpurt_event_query() says which. Readable at once for an event that is complete or was never
 * recorded. Recording the event again does not change it.
 *
 * For poll, select, epoll and all that is made of them. Who reads finds 8 bytes, a uint64_t of 1, as
 * in an eventfd, then the end; only the end when the daemon is gone. It does not block, is closed on
 * exec, and stays readable.
 *
 * @param ret_fd  the caller's, to be closed; may outlive the event
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT;
 *         XPURT_ERROR_QUOTA (limit user-watches); XPURT_ERROR_DAEMON_LOST
 * @note thread-safe; one round trip while the event is not complete.
 */
XPURT_API xpurt_result xpurt_event_get_fd(xpurt_event *event, int *ret_fd);

/**
 * Time between two recorded events of one device, measured by the device.
 * @param ret_milliseconds  from @p start to @p end; negative when @p end was first
 * @return XPURT_SUCCESS; checked in this order: XPURT_ERROR_NO_TIMING, XPURT_ERROR_NOT_RECORDED,
 *         XPURT_NOT_READY, XPURT_ERROR_INVALID_DEVICE (two devices); the error of a failed stream
 * @note thread-safe; no round trip; works for opened events too. Like cudaEventElapsedTime.
 */
XPURT_API xpurt_result xpurt_event_elapsed_time(xpurt_event *start, xpurt_event *end,
                                                float *ret_milliseconds);

/**
 * The handle by which other processes of the same user open the event. May be asked before the
 * first record, and more than once: all handles work as long as the event lives.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT when the event was made without
 *         XPURT_EVENT_INTERPROCESS or was itself opened by a handle; XPURT_ERROR_QUOTA
 * @note thread-safe; one round trip. Like cudaIpcGetEventHandle.
 */
XPURT_API xpurt_result xpurt_event_get_ipc_handle(xpurt_event *event,
                                                  xpurt_event_handle *ret_handle);

/**
 * Open an event by its handle. The result is a normal event, to be destroyed like any other, and
 * shares the state of the original in both directions. The process that made the handle may open
 * it too.
 * @return XPURT_SUCCESS; XPURT_ERROR_STALE_HANDLE when the event, its process or its daemon is gone;
 *         XPURT_ERROR_INVALID_HANDLE for bytes no daemon made; XPURT_ERROR_PERMISSION
 * @note thread-safe; one round trip. Like cudaIpcOpenEventHandle.
 */
XPURT_API xpurt_result xpurt_event_open_ipc_handle(const xpurt_event_handle *handle,
                                                   xpurt_event **ret_event);

#ifdef __cplusplus
}
#endif

#endif
