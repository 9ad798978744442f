/* SPDX-License-Identifier: MIT */
/**
 * @file stream.h
 * Streams: in-order queues of one device. Work of different streams overlaps unless an event
 * orders it. A stream belongs to the process that made it.
 */
#ifndef XPURT_STREAM_H
#define XPURT_STREAM_H

#include <xpurt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xpurt_stream xpurt_stream;
typedef struct xpurt_event xpurt_event;

/**
 * Make a stream on the calling thread's current device, of normal priority.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_QUOTA; or why there is no
 *         connection
 * @note thread-safe; no round trip: a failure in the daemon shows at the stream's next query or
 *       synchronise. Like cudaStreamCreate.
 */
XPURT_API xpurt_result xpurt_stream_create(xpurt_stream **ret_stream);

/**
 * The same, with a device and a priority: -1 high, 0 normal, +1 low; others are clamped.
 * @param device  its index; negative: the current one
 * @note Like cudaStreamCreateWithPriority.
 */
XPURT_API xpurt_result xpurt_stream_create_with_priority(int device, int priority,
                                                         xpurt_stream **ret_stream);

/** The range of priorities: *ret_least is 1, *ret_greatest is -1. Either may be null. */
XPURT_API xpurt_result xpurt_stream_priority_range(int *ret_least, int *ret_greatest);

/**
 * Destroy a stream. Work already submitted is still done; nothing waits. Null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE
 * @note no other thread may use @p stream any more. Like cudaStreamDestroy.
 */
XPURT_API xpurt_result xpurt_stream_destroy(xpurt_stream *stream);

/** The device of a stream. XPURT_ERROR_INVALID_HANDLE, XPURT_ERROR_INVALID_ARGUMENT. */
XPURT_API xpurt_result xpurt_stream_get_device(xpurt_stream *stream, int *ret_device);

/** The priority of a stream: -1, 0 or 1. */
XPURT_API xpurt_result xpurt_stream_get_priority(xpurt_stream *stream, int *ret_priority);

/**
 * Whether all work of the stream is done.
 * @return XPURT_SUCCESS: done, or nothing was ever submitted; XPURT_NOT_READY; an asynchronous error
 *         of the stream, such as XPURT_ERROR_DEVICE_LOST; XPURT_ERROR_FORKED
 * @note thread-safe; never waits. Like cudaStreamQuery.
 */
XPURT_API xpurt_result xpurt_stream_query(xpurt_stream *stream);

/**
 * Wait until all work submitted to the stream so far is done.
 * @return XPURT_SUCCESS; an asynchronous error of the stream; XPURT_ERROR_DAEMON_LOST
 * @note thread-safe. Like cudaStreamSynchronize.
 */
XPURT_API xpurt_result xpurt_stream_synchronize(xpurt_stream *stream);

/** The same, for at most @p timeout_ns nanoseconds: XPURT_TIMEOUT when it was not enough. */
XPURT_API xpurt_result xpurt_stream_synchronize_for(xpurt_stream *stream, uint64_t timeout_ns);

/**
 * Make all later work on @p stream wait until the work captured by @p event is done.
 *
 * The event's point is read now: recording the event again later does not change what is waited
 * for. An event that was never recorded is no wait at all. Returns at once; the host never blocks.
 *
 * @param stream  waits; any device
 * @param event   own or opened
 * @return XPURT_SUCCESS; XPURT_ERROR_PEER_LOST if the recording process is gone and the point can
 *         no longer complete; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note thread-safe. Same meaning as cudaStreamWaitEvent.
 */
XPURT_API xpurt_result xpurt_stream_wait_event(xpurt_stream *stream, xpurt_event *event);

#ifdef __cplusplus
}
#endif

#endif
