/* SPDX-License-Identifier: MIT */
/**
 * @file memory.h
 * Device memory, pinned host memory, copies and fills.
 *
 * A device address is a number that the GPU understands; the host must not dereference it. Within
 * one user an address means the same memory in every process that allocated or opened it.
 */
#ifndef XPURT_MEMORY_H
#define XPURT_MEMORY_H

#include <xpurt/base.h>
#include <xpurt/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Names device memory in any process of the same user. */
typedef struct xpurt_mem_handle {
    unsigned char bytes[XPURT_IPC_HANDLE_SIZE];
} xpurt_mem_handle;

/**
 * Allocate device memory on the calling thread's current device.
 * @param size     bytes; 0 gives a null pointer and success
 * @param ret_ptr  device address, aligned to at least 64 bytes
 * @return XPURT_SUCCESS; XPURT_ERROR_OUT_OF_MEMORY; XPURT_ERROR_QUOTA;
 *         XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; one round trip. Like cudaMalloc.
 */
XPURT_API xpurt_result xpurt_malloc(void **ret_ptr, size_t size);

/**
 * Free device memory, allocated or opened. Work already submitted may still use it: the memory goes
 * back when that is done and the last process that opened it has let go. Null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS for a pointer that is not the start of a live
 *         allocation of this process
 * @note thread-safe; waits for nothing but a copy of ordinary memory that another thread of this process
 *       is busy with. Like cudaFree without its implicit synchronisation.
 */
XPURT_API xpurt_result xpurt_free(void *ptr);

/**
 * The handle of device memory; @p ptr may lie inside an allocation.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS; XPURT_ERROR_QUOTA
 * @note thread-safe; one round trip. Like cudaIpcGetMemHandle.
 */
XPURT_API xpurt_result xpurt_mem_get_ipc_handle(const void *ptr, xpurt_mem_handle *ret_handle);

/**
 * Open device memory by its handle: the address that was exported. Each success is undone by one
 * xpurt_mem_close_ipc_handle(). The memory lives until its last user is gone, also when its owner
 * has freed it or died.
 * @return XPURT_SUCCESS; XPURT_ERROR_STALE_HANDLE; XPURT_ERROR_INVALID_HANDLE;
 *         XPURT_ERROR_PERMISSION
 * @note thread-safe; one round trip. Like cudaIpcOpenMemHandle.
 */
XPURT_API xpurt_result xpurt_mem_open_ipc_handle(const xpurt_mem_handle *handle, void **ret_ptr);

/** Undo one xpurt_mem_open_ipc_handle() of the same address. Like cudaIpcCloseMemHandle. */
XPURT_API xpurt_result xpurt_mem_close_ipc_handle(void *ptr);

/**
 * Allocate pinned host memory: ordinary memory for the host, reachable by every device without
 * staging. Sizes are rounded up to powers of two; small pieces share what is taken from the daemon,
 * and what was freed is used again.
 * @param size     bytes; 0 gives a null pointer and success
 * @param ret_ptr  aligned to its size rounded up, or to 4096 bytes if that is less
 * @return XPURT_SUCCESS; XPURT_ERROR_OUT_OF_HOST_MEMORY; XPURT_ERROR_QUOTA
 * @note thread-safe; one round trip when no freed piece of that size is ready. Like cudaMallocHost,
 *       and the pinned allocator of PyTorch.
 */
XPURT_API xpurt_result xpurt_host_malloc(void **ret_ptr, size_t size);

/**
 * Free pinned host memory. Submitted work may still use it: nobody else gets the memory before the
 * copies and fills are done that touch it, and the streams of xpurt_host_record_stream(). Null is a
 * no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS for a pointer that is not the start of live
 *         pinned memory: one freed before, for instance
 * @note thread-safe; never waits. Like cudaFreeHost without its implicit synchronisation.
 */
XPURT_API xpurt_result xpurt_host_free(void *ptr);

/**
 * Work of @p stream submitted up to xpurt_host_free() uses the pinned memory around @p ptr, in ways
 * that the library does not see by itself. Copies and fills it does see.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS; XPURT_ERROR_INVALID_HANDLE;
 *         XPURT_ERROR_FORKED
 * @note thread-safe. Like record_event of PyTorch's CachingHostAllocator.
 */
XPURT_API xpurt_result xpurt_host_record_stream(void *ptr, xpurt_stream *stream);

/** 1 when @p ptr lies in live memory of xpurt_host_malloc(), else 0. Never connects. */
XPURT_API int xpurt_host_is_pinned(const void *ptr);

/**
 * Give back to the daemon all pinned memory that was freed, and what copies of ordinary memory went
 * through; unfinished work may still use it.
 * @return XPURT_SUCCESS
 * @note thread-safe; never connects, never waits. Like PyTorch's host_emptyCache.
 */
XPURT_API xpurt_result xpurt_empty_host_cache(void);

/** One figure of a statistic. */
typedef struct xpurt_memory_stat {
    uint64_t current;
    uint64_t peak;      /**< since the start or the last reset of peaks */
    uint64_t allocated; /**< sum of all increases, since the start or the last reset */
    uint64_t freed;     /**< sum of all decreases, likewise */
} xpurt_memory_stat;

/** Pinned memory of the calling process; bytes are those of the rounded sizes. */
typedef struct xpurt_host_memory_stats {
    xpurt_memory_stat allocation;       /**< pieces allocated and not freed */
    xpurt_memory_stat active;           /**< those, and those freed that work still uses */
    xpurt_memory_stat segment;          /**< pieces that the daemon gave */
    xpurt_memory_stat allocated_bytes;
    xpurt_memory_stat active_bytes;
    xpurt_memory_stat reserved_bytes;   /**< of segments */
    uint64_t reserved[8];
} xpurt_host_memory_stats;

/**
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; never connects. Like torch.cuda.host_memory_stats.
 */
XPURT_API xpurt_result xpurt_host_memory_stats_get(xpurt_host_memory_stats *ret_stats);

/** Peaks begin anew at what there is now. Like torch.cuda.reset_peak_host_memory_stats. */
XPURT_API xpurt_result xpurt_reset_peak_host_memory_stats(void);

/** Sums begin anew at 0. Like torch.cuda.reset_accumulated_host_memory_stats. */
XPURT_API xpurt_result xpurt_reset_accumulated_host_memory_stats(void);

/** What a pointer points to, see xpurt_pointer_get_attributes(). */
typedef enum xpurt_pointer_kind {
    XPURT_POINTER_UNKNOWN = 0,          /**< ordinary host memory, or nothing */
    XPURT_POINTER_DEVICE = 1,
    XPURT_POINTER_HOST = 2              /**< pinned */
} xpurt_pointer_kind;

typedef struct xpurt_pointer_attributes {
    xpurt_pointer_kind kind;
    int device;                         /**< of device memory; -1: no particular one */
    void *base;                         /**< where the allocation begins; null when unknown */
    uint64_t size;                      /**< bytes of the whole allocation */
    uint32_t opened;                    /**< 1: by a handle; another process made it */
    int32_t owner;                      /**< process that allocated it; 0: unknown, or gone */
    uint32_t reserved[4];
} xpurt_pointer_attributes;

/**
 * What @p ptr points to; it may lie inside an allocation.
 * @return XPURT_SUCCESS, also for memory that xpurt knows nothing of; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; never connects. Like cudaPointerGetAttributes.
 */
XPURT_API xpurt_result xpurt_pointer_get_attributes(const void *ptr,
                                                    xpurt_pointer_attributes *ret_attributes);

/**
 * The device whose memory @p ptr points to.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS when it is not device memory
 * @note thread-safe; never connects.
 */
XPURT_API xpurt_result xpurt_pointer_get_device(const void *ptr, int *ret_device);

/**
 * Copy @p size bytes in stream order, in any direction; where each pointer lies is found out.
 *
 * Between device and pinned memory the call returns at once. From ordinary host memory it returns
 * when the bytes have been read, so the source may be reused; to ordinary host memory it returns
 * when they have been written.
 *
 * @param size  0 is a no-op
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS when a range leaves its allocation;
 *         XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED; errors of the stream
 * @note thread-safe. Like cudaMemcpyAsync with cudaMemcpyDefault.
 */
XPURT_API xpurt_result xpurt_memcpy_async(void *to, const void *from, size_t size,
                                          xpurt_stream *stream);

/**
 * Copy @p height rows of @p width bytes in stream order, in any direction, as xpurt_memcpy_async()
 * does with one.
 *
 * @param to_pitch    bytes from the beginning of one row to the next; at least @p width
 * @param from_pitch  likewise
 * @param width       bytes; 0 is a no-op, as is a @p height of 0
 * @return as xpurt_memcpy_async(); XPURT_ERROR_INVALID_ARGUMENT for a pitch below the width, and
 *         for a number of 2^32 or more
 * @note thread-safe. Like cudaMemcpy2DAsync with cudaMemcpyDefault.
 */
XPURT_API xpurt_result xpurt_memcpy_2d_async(void *to, size_t to_pitch, const void *from,
                                             size_t from_pitch, size_t width, size_t height,
                                             xpurt_stream *stream);

/**
 * Set @p size bytes of device or pinned memory to @p value in stream order.
 * @return as xpurt_memcpy_async()
 * @note thread-safe. Like cudaMemsetAsync.
 */
XPURT_API xpurt_result xpurt_memset_async(void *to, int value, size_t size, xpurt_stream *stream);

/**
 * Set @p count elements of 1, 2 or 4 bytes of device or pinned memory to @p value in stream order.
 * @param to  a multiple of the element's size
 * @return as xpurt_memcpy_async()
 * @note thread-safe. Like cuMemsetD8Async, cuMemsetD16Async and cuMemsetD32Async.
 */
XPURT_API xpurt_result xpurt_memset_d8_async(void *to, uint8_t value, size_t count,
                                             xpurt_stream *stream);
XPURT_API xpurt_result xpurt_memset_d16_async(void *to, uint16_t value, size_t count,
                                              xpurt_stream *stream);
XPURT_API xpurt_result xpurt_memset_d32_async(void *to, uint32_t value, size_t count,
                                              xpurt_stream *stream);

/**
 * The same on @p height rows of @p width elements.
 * @param pitch  bytes from the beginning of one row to the next, a multiple of the element's size
 * @return as xpurt_memcpy_2d_async()
 * @note thread-safe. Like cuMemsetD2D8Async, cuMemsetD2D16Async and cuMemsetD2D32Async.
 */
XPURT_API xpurt_result xpurt_memset_2d_d8_async(void *to, size_t pitch, uint8_t value, size_t width,
                                                size_t height, xpurt_stream *stream);
XPURT_API xpurt_result xpurt_memset_2d_d16_async(void *to, size_t pitch, uint16_t value,
                                                 size_t width, size_t height, xpurt_stream *stream);
XPURT_API xpurt_result xpurt_memset_2d_d32_async(void *to, size_t pitch, uint32_t value,
                                                 size_t width, size_t height, xpurt_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
