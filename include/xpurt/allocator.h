/* SPDX-License-Identifier: MIT */
/**
 * @file allocator.h
 * The caching allocator of device memory: stream order, limits, statistics, snapshots.
 *
 * The daemon takes memory from the driver in segments and cuts blocks from them. Freed blocks are
 * kept and serve all processes of the same user; they go back to the driver when the user's last
 * process is gone, on xpurt_empty_cache(), or when somebody else needs them, and are filled with
 * zeros before. docs/memory.md tells more.
 */
#ifndef XPURT_ALLOCATOR_H
#define XPURT_ALLOCATOR_H

#include <xpurt/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Allocate device memory on the stream's device, for use in the order of @p stream. Memory that was
 * freed in the order of the same stream is reused at once, without waiting, mostly without asking
 * the daemon. Other streams may use it when they wait for this one first.
 * @param size     bytes; 0 gives a null pointer and success
 * @return as xpurt_malloc(); XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note thread-safe. Like cudaMallocAsync.
 */
XPURT_API xpurt_result xpurt_malloc_async(void **ret_ptr, size_t size, xpurt_stream *stream);

/**
 * Free device memory in the order of @p stream: what the stream was given before may use it, what it
 * allocates later may get it at once. Other streams must be done with it, or the stream must wait
 * for them first, or xpurt_record_stream() has named them. Null is a no-op.
 * @return as xpurt_free(); XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_DEVICE when the stream is
 *         not on the device of the memory; XPURT_ERROR_FORKED
 * @note thread-safe; waits as xpurt_free() does, hence not for the stream. Like cudaFreeAsync.
 */
XPURT_API xpurt_result xpurt_free_async(void *ptr, xpurt_stream *stream);

/**
 * Say that @p stream uses device memory: when that is freed, it is not reused before the work is
 * done that the stream was given until then. @p ptr may lie inside an allocation.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ADDRESS; XPURT_ERROR_INVALID_HANDLE;
 *         XPURT_ERROR_FORKED
 * @note thread-safe. Like torch.Tensor.record_stream.
 */
XPURT_API xpurt_result xpurt_record_stream(void *ptr, xpurt_stream *stream);

/**
 * Give cached memory of this user, on all devices, back to the driver: segments without a block in
 * use. Returns when that is done.
 * @return XPURT_SUCCESS, or why there is no connection
 * @note thread-safe; one round trip that waits until the memory is filled with zeros. Like
 *       torch.cuda.empty_cache.
 */
XPURT_API xpurt_result xpurt_empty_cache(void);

/**
 * Let this process have at most that fraction of the device's memory; XPURT_ERROR_OUT_OF_MEMORY
 * beyond. What it has already stays.
 * @param fraction  0 to 1; 1 is the default and no limit at all
 * @param device    negative: the current one
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_DEVICE
 * @note thread-safe. Like torch.cuda.set_per_process_memory_fraction.
 */
XPURT_API xpurt_result xpurt_set_memory_fraction(double fraction, int device);

/** The memory that statistics are about. */
typedef enum xpurt_memory_pool {
    XPURT_MEMORY_ALL = 0,
    XPURT_MEMORY_SMALL = 1,             /**< blocks of 1 MiB at most */
    XPURT_MEMORY_LARGE = 2
} xpurt_memory_pool;

#define XPURT_MEMORY_POOLS 3

/** Statistics of a device, each for all blocks, small ones, large ones (xpurt_memory_pool). */
typedef struct xpurt_memory_stats {
    /* Of the calling process. */
    xpurt_memory_stat allocation[XPURT_MEMORY_POOLS]; /**< blocks allocated, not freed */
    xpurt_memory_stat active[XPURT_MEMORY_POOLS];     /**< and those freed, but still in use */
    xpurt_memory_stat allocated_bytes[XPURT_MEMORY_POOLS];
    xpurt_memory_stat active_bytes[XPURT_MEMORY_POOLS];
    xpurt_memory_stat requested_bytes[XPURT_MEMORY_POOLS]; /**< before rounding */
    uint64_t cached_hits; /**< allocations that did not ask the daemon */
    uint64_t retries;     /**< allocations tried again after cached memory was released */
    uint64_t ooms;        /**< allocations that failed for want of memory */

    /* Of the user: all processes share segments. */
    xpurt_memory_stat segment[XPURT_MEMORY_POOLS];        /**< pieces from the driver */
    xpurt_memory_stat reserved_bytes[XPURT_MEMORY_POOLS]; /**< bytes of them */
    xpurt_memory_stat inactive_split[XPURT_MEMORY_POOLS]; /**< free parts of segments in use */
    xpurt_memory_stat inactive_split_bytes[XPURT_MEMORY_POOLS];
    uint64_t driver_allocations;        /**< segments ever taken */
    uint64_t driver_frees;              /**< segments ever given back */
    uint64_t scrubbed_bytes;            /**< filled with zeros before that */
    uint64_t reserved[8];
} xpurt_memory_stats;

/**
 * Statistics of device memory.
 * @param device  negative: the current one
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_DEVICE
 * @note thread-safe; one round trip. Like torch.cuda.memory_stats.
 */
XPURT_API xpurt_result xpurt_memory_stats_get(int device, xpurt_memory_stats *ret_stats);

/**
 * Peaks begin anew at what there is now; those of the user's segments do so for all its processes.
 * @note as xpurt_memory_stats_get(). Like torch.cuda.reset_peak_memory_stats.
 */
XPURT_API xpurt_result xpurt_reset_peak_memory_stats(int device);

/**
 * Sums of increases and decreases, hits, retries and OOMs begin anew at 0; those of the user's
 * segments do so for all its processes.
 * @note as xpurt_memory_stats_get(). Like torch.cuda.reset_accumulated_memory_stats.
 */
XPURT_API xpurt_result xpurt_reset_accumulated_memory_stats(int device);

typedef enum xpurt_block_state {
    XPURT_BLOCK_INACTIVE = 0,           /**< free */
    XPURT_BLOCK_ALLOCATED = 1,
    XPURT_BLOCK_PENDING_FREE = 2,       /**< freed; work still uses it */
    XPURT_BLOCK_CACHED = 3              /**< freed; its process's stream may have it again */
} xpurt_block_state;

/** A block of a segment, see xpurt_memory_snapshot(). */
typedef struct xpurt_memory_block {
    uint64_t address;
    uint64_t size;                      /**< bytes */
    uint64_t requested;                 /**< bytes asked for; 0 when inactive */
    uint64_t segment;                   /**< address of the segment */
    uint64_t segment_size;              /**< bytes */
    xpurt_block_state state;
    xpurt_memory_pool pool;
    int32_t owner;                      /**< process that allocated it; 0: none, or it let go */
    int32_t stream;                     /**< of that process, as error messages number them; -1:
                                           none */
} xpurt_memory_block;

/**
 * All segments of this user on a device, block by block, by address. Blocks of one segment follow
 * each other without a gap.
 * @param device      negative: the current one
 * @param capacity    how many blocks @p ret_blocks has room for
 * @param ret_blocks  filled with at most @p capacity; may be null when @p capacity is 0
 * @param ret_count   how many there are, maybe more than @p capacity
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_DEVICE
 * @note thread-safe; a round trip for each 500 blocks, each at a moment of its own. Like
 *       torch.cuda.memory_snapshot.
 */
XPURT_API xpurt_result xpurt_memory_snapshot(int device, size_t capacity,
                                             xpurt_memory_block *ret_blocks, size_t *ret_count);

#ifdef __cplusplus
}
#endif

#endif
