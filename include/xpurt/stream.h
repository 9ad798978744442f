/* SPDX-License-Identifier: MIT */
/**
 * @file stream.h
 * Streams: in-order queues of one device. Work of different streams overlaps unless an event
 * orders it. A stream belongs to the process that made it.
 *
 * Besides the streams one makes, each device has a default stream and a pool of streams for each
 * priority. They are made on first use, live as long as the session, and cannot be destroyed. After
 * fork() and after xpurt_reset() there are new ones.
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

/** Streams of a device's pool, for each priority. */
#define XPURT_POOL_STREAMS 32

/**
 * A stream of the pool of @p device. The streams of a priority are handed out in turn, so that
 * request number XPURT_POOL_STREAMS + 1 gives the first one again.
 * @param device    its index; negative: the current one
 * @param priority  -1 high, 0 normal, +1 low; others are clamped
 * @return as xpurt_stream_create()
 * @note thread-safe; no round trip. Like c10::cuda::getStreamFromPool.
 */
XPURT_API xpurt_result xpurt_stream_get_from_pool(int device, int priority,
                                                  xpurt_stream **ret_stream);

/**
 * The default stream of @p device (negative: the current one), of normal priority. It is a stream
 * like any other: nothing waits for it that did not ask to.
 * @return as xpurt_stream_create()
 * @note thread-safe; no round trip. Like c10::cuda::getDefaultCUDAStream.
 */
XPURT_API xpurt_result xpurt_stream_get_default(int device, xpurt_stream **ret_stream);

/**
 * The calling thread's current stream on @p device (negative: the current one); the default stream
 * if the thread chose none, or if the one it chose is gone.
 * @return as xpurt_stream_create()
 * @note no round trip. Like c10::cuda::getCurrentCUDAStream.
 */
XPURT_API xpurt_result xpurt_stream_get_current(int device, xpurt_stream **ret_stream);

/**
 * Make @p stream the calling thread's current stream on its device. The current device stays.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note Like c10::cuda::setCurrentCUDAStream.
 */
XPURT_API xpurt_result xpurt_stream_set_current(xpurt_stream *stream);

/** The same, and say which one of that device was current before. */
XPURT_API xpurt_result xpurt_stream_exchange_current(xpurt_stream *stream,
                                                     xpurt_stream **ret_previous);

/** The range of priorities: *ret_least is 1, *ret_greatest is -1. Either may be null. */
XPURT_API xpurt_result xpurt_stream_priority_range(int *ret_least, int *ret_greatest);

/**
 * Destroy a stream. Work already submitted is still done; nothing waits. Null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT for a default
 *         stream or one of a pool
 * @note no other thread may use @p stream any more. Like cudaStreamDestroy.
 */
XPURT_API xpurt_result xpurt_stream_destroy(xpurt_stream *stream);

/** The device of a stream. XPURT_ERROR_INVALID_HANDLE, XPURT_ERROR_INVALID_ARGUMENT. */
XPURT_API xpurt_result xpurt_stream_get_device(xpurt_stream *stream, int *ret_device);

/** The priority of a stream: -1, 0 or 1. */
XPURT_API xpurt_result xpurt_stream_get_priority(xpurt_stream *stream, int *ret_priority);

/**
 * The number that names a stream in this process: 0 for the default stream of each device, never
 * the same for two others, at most 63 bits. Two streams are equal when device and id are.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe. Like c10::Stream::id.
 */
XPURT_API xpurt_result xpurt_stream_get_id(xpurt_stream *stream, uint64_t *ret_id);

/**
 * The stream of @p device with that id.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE when there is none, or not any more;
 *         XPURT_ERROR_INVALID_DEVICE when there is no such device, or it is a stream of another one
 * @note thread-safe.
 */
XPURT_API xpurt_result xpurt_stream_from_id(uint64_t id, int device, xpurt_stream **ret_stream);

/**
 * The Level Zero command list of a stream, as ze_command_list_handle_t.
 * @return XPURT_SUCCESS for external streams (ze.h); XPURT_ERROR_UNSUPPORTED for streams whose command list is in the daemon;
 *         XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 */
XPURT_API xpurt_result xpurt_stream_get_native_handle(xpurt_stream *stream, void **ret_handle);

/**
 * Whether commands are captured into a graph instead of being done.
 * @param stream         null: the calling thread's current one
 * @param ret_capturing  1 between xpurt_graph_begin() and xpurt_graph_end(), else 0
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; never connects and makes nothing. Like cudaStreamIsCapturing.
 */
XPURT_API xpurt_result xpurt_stream_is_capturing(xpurt_stream *stream, int *ret_capturing);

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

/**
 * Make all later work on @p stream wait until what was submitted to @p other so far is done.
 * Returns at once; the two may be of different devices. A stream need not wait for itself.
 * @return as xpurt_stream_wait_event()
 * @note thread-safe. Like torch.xpu.Stream.wait_stream.
 */
XPURT_API xpurt_result xpurt_stream_wait_stream(xpurt_stream *stream, xpurt_stream *other);

/**
 * Record an event on the stream; makes one, without flags, when none is given.
 * @param event  points to the event, or to null: then the new event is put there
 * @return as xpurt_event_record() and xpurt_event_create()
 * @note thread-safe. Like torch.xpu.Stream.record_event.
 */
XPURT_API xpurt_result xpurt_stream_record_event(xpurt_stream *stream, xpurt_event **event);

/**
 * Make all later work on @p stream wait until @p event was recorded @p generation times, by whichever
 * process, and what it holds then is done. With so many records already this is
 * xpurt_stream_wait_event(). Generations count as for xpurt_event_wait_generation(). What is waited for
 * is what the event holds when its turn has come, maybe a later record than that one: two streams that
 * wait for each other should not run ahead of each other on one event.
 *
 * The event may be destroyed at once; the stream waits on, as long as others have it. When the record
 * can no longer come the stream fails with XPURT_ERROR_PEER_LOST. A record that @p stream itself makes
 * behind the wait makes it fail with XPURT_ERROR_DEPENDENCY.
 *
 * @return as xpurt_stream_wait_event() and xpurt_launch_host_func()
 * @note thread-safe; returns at once as xpurt_launch_host_func() does.
 */
XPURT_API xpurt_result xpurt_stream_wait_generation(xpurt_stream *stream, xpurt_event *event,
                                                    uint32_t generation);

/** A function that a stream calls. */
typedef void (*xpurt_host_func)(void *data);

/**
 * Call @p function in this process when all work submitted to @p stream so far is done; later work of
 * the stream waits until it has returned. Functions of one stream are called one after the other,
 * those of several at the same time, each stream's by a thread of its own that belongs to the library.
 *
 * The function may use xpurt, other than in CUDA, where it may not: submit work to any stream, its own
 * included, wait for other streams and destroy objects. What would wait for its own stream's later work
 * fails with XPURT_ERROR_INVALID_ARGUMENT, so does xpurt_reset(). The thread's current device and
 * streams are those of a new thread. It must return, and not throw.
 *
 * It is not called when the stream fails before, when the daemon dies or when the session is reset
 * before it began; xpurt_reset() waits for one that runs. A stream that is destroyed still calls what
 * it was given. A child of fork() calls nothing that its parent launched.
 *
 * @param data  passed on as it is
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT, XPURT_ERROR_INVALID_HANDLE,
 *         XPURT_ERROR_FORKED; XPURT_ERROR_QUOTA and XPURT_ERROR_SYSTEM when there is no room for the
 *         stream and the thread that the first such call of a stream makes
 * @note thread-safe; does not wait for the stream; the first call of a stream makes a round trip. Like
 *       cudaLaunchHostFunc.
 */
XPURT_API xpurt_result xpurt_launch_host_func(xpurt_stream *stream, xpurt_host_func function,
                                              void *data);

#ifdef __cplusplus
}
#endif

#endif
