/* SPDX-License-Identifier: MIT */
/**
 * @file graph.h
 * Graphs: calls on a stream that are captured once and launched often, each time by one small
 * command, however many they were. A graph belongs to the process that captured it.
 *
 * Between xpurt_graph_begin() and xpurt_graph_end() these calls on the stream are captured instead of
 * being done: kernel launches, copies and fills of device and pinned memory (2-D ones too),
 * xpurt_event_record(), xpurt_stream_wait_event(). They are checked as ever, and fail at once when
 * something is wrong. All other calls on that stream are refused with XPURT_ERROR_UNSUPPORTED: what
 * waits for it on the host, copies of ordinary memory, stream-ordered allocation, host functions, waits
 * for other streams and for records to come. Other streams are not touched by a capture.
 *
 * Launching means: as if the captured calls were made now, on the stream one launches on. So each
 * launch records the graph's events anew, and waits for what the events it waits for hold by then;
 * other processes see nothing special. A wait for an event that was recorded before in the same graph
 * is none, since a stream is in order.
 *
 * Memory and modules that a graph uses stay in place until the graph is destroyed, even when they are
 * freed before; freed memory must not be used for anything else meanwhile, as cached allocators would.
 */
#ifndef XPURT_GRAPH_H
#define XPURT_GRAPH_H

#include <stddef.h>
#include <xpurt/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xpurt_graph xpurt_graph;

/**
 * Capture later calls on @p stream, until xpurt_graph_end().
 * @return XPURT_SUCCESS; XPURT_ERROR_UNSUPPORTED for an external stream, or when it is captured already;
 *         XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED; XPURT_ERROR_OUT_OF_HOST_MEMORY
 * @note thread-safe; no round trip. Like cudaStreamBeginCapture.
 */
XPURT_API xpurt_result xpurt_graph_begin(xpurt_stream *stream);

/**
 * End the capture. The stream goes on as before, also when this fails; then there is no graph.
 * @param ret_graph  the caller's, to be given back with xpurt_graph_destroy()
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT when the stream is not captured; XPURT_ERROR_QUOTA
 *         when the graph has too many commands; an asynchronous error of the stream;
 *         XPURT_ERROR_DAEMON_LOST
 * @note thread-safe; a round trip. Like cudaStreamEndCapture and cudaGraphInstantiate in one.
 */
XPURT_API xpurt_result xpurt_graph_end(xpurt_stream *stream, xpurt_graph **ret_graph);

/**
 * Do what was captured, on @p stream, which may be another one than it was captured on, of the same
 * device. Launches of one graph may overlap on several streams, as the calls themselves might.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_DEVICE for a stream of another
 *         device, or an event first recorded on another one; XPURT_ERROR_UNSUPPORTED for an external
 *         stream or one that is captured; XPURT_ERROR_PEER_LOST and the like when an event that is
 *         waited for cannot complete any more; XPURT_ERROR_FORKED
 * @note thread-safe; no round trip. Like cudaGraphLaunch.
 */
XPURT_API xpurt_result xpurt_graph_launch(xpurt_graph *graph, xpurt_stream *stream);

/**
 * Let later launches use other memory: each use of bytes in [@p from, @p from + @p size) becomes a use
 * of the same bytes behind @p to. Copies, fills and kernel arguments alike; addresses that lie in
 * memory, or in structures given to kernels by value, are not seen. What was launched already goes on
 * with what it had. Either all uses are replaced or, on failure, none.
 * @param from     device memory, which may be freed already, or pinned memory that is not
 * @param to       live device or pinned memory, all in one piece; kernels take device memory only
 * @param ret_uses how many uses were replaced; 0 is no failure. May be null
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS; XPURT_ERROR_INVALID_ARGUMENT when a copy or fill
 *         uses bytes inside and outside of the range, would read what it writes, or would not be
 *         aligned to its pattern; XPURT_ERROR_QUOTA; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note thread-safe; a round trip. Like cudaGraphExecKernelNodeSetParams and its kin, for all nodes at
 *       once.
 */
XPURT_API xpurt_result xpurt_graph_replace(xpurt_graph *graph, const void *from, void *to,
                                           size_t size, size_t *ret_uses);

/** How many calls were captured. XPURT_ERROR_INVALID_HANDLE, XPURT_ERROR_INVALID_ARGUMENT. */
XPURT_API xpurt_result xpurt_graph_get_size(xpurt_graph *graph, size_t *ret_commands);

/**
 * Destroy a graph. What was launched is still done; nothing waits. Null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE
 * @note no other thread may use @p graph any more. Like cudaGraphExecDestroy.
 */
XPURT_API xpurt_result xpurt_graph_destroy(xpurt_graph *graph);

#ifdef __cplusplus
}
#endif

#endif
