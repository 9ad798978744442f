/* SPDX-License-Identifier: MIT */
/**
 * @file device.h
 * Devices: how many, which is current, what they are. The current device belongs to the calling
 * thread and starts at 0.
 */
#ifndef XPURT_DEVICE_H
#define XPURT_DEVICE_H

#include <xpurt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** More devices than this no daemon serves. */
#define XPURT_DEVICES_MAX 64

/** What a device is and can do. */
typedef struct xpurt_device_properties {
    char name[128];
    char driver_version[32];
    uint8_t uuid[16];
    uint32_t vendor_id;                 /**< PCI */
    uint32_t device_id;                 /**< PCI */
    uint64_t total_memory;              /**< bytes */
    uint64_t max_allocation;            /**< bytes in one piece */
    uint64_t local_memory;              /**< bytes shared by a work group */
    uint32_t compute_units;
    uint32_t max_group_size;            /**< work items */
    uint32_t clock_mhz;
    uint32_t sub_group_size_count;
    uint32_t sub_group_sizes[8];        /**< ascending */
    uint32_t integrated;                /**< 1: shares memory with the CPU */
    uint32_t software;                  /**< 1: the CPU stands in for a GPU */
    uint32_t fp16;                      /**< 1: computes in half precision */
    uint32_t fp64;
    uint32_t atomic64;
    uint32_t ipc_events;                /**< 1: the driver can share event pools */
    uint32_t ipc_memory;                /**< 1: the driver can share memory */
    uint32_t reserved[16];
} xpurt_device_properties;

/** Types that kernels can compute with, as bits. */
enum xpurt_data_type {
    XPURT_INT8 = 0x01,                  /**< signed and unsigned, here and below */
    XPURT_INT16 = 0x02,
    XPURT_INT32 = 0x04,
    XPURT_INT64 = 0x08,
    XPURT_FLOAT16 = 0x10,
    XPURT_FLOAT32 = 0x20,
    XPURT_FLOAT64 = 0x40
};

/** What kernels can be compiled for. */
typedef struct xpurt_device_capability {
    char architecture[32];              /**< "xe-hpc", "xe2-hpg", ..., "software", "unknown" */
    uint32_t data_types;                /**< of enum xpurt_data_type */
    uint32_t atomic64;                  /**< 1: atomic operations on 64 bits */
    uint32_t sub_group_size_count;
    uint32_t sub_group_sizes[8];        /**< ascending */
    uint32_t reserved[8];
} xpurt_device_capability;

/** How something gets from one process to another. */
typedef enum xpurt_ipc_mechanism {
    XPURT_IPC_NONE = 0,                 /**< it cannot */
    XPURT_IPC_BOARD = 1,                /**< shared memory that the daemon keeps up to date */
    XPURT_IPC_DAEMON = 2,               /**< the daemon holds it for all processes of the user */
    XPURT_IPC_LEVEL_ZERO = 3            /**< the driver's own handles */
} xpurt_ipc_mechanism;

/** What of a device can be shared between processes, and how. */
typedef struct xpurt_ipc_support {
    xpurt_ipc_mechanism events;         /**< by xpurt_event_get_ipc_handle() */
    xpurt_ipc_mechanism memory;         /**< by xpurt_mem_get_ipc_handle() */
    xpurt_ipc_mechanism native_events;  /**< by a Level Zero context outside xpurt */
    xpurt_ipc_mechanism native_memory;
} xpurt_ipc_support;

/**
 * Whether there is a daemon that serves a device.
 * @return 1 or 0. Never fails.
 * @note thread-safe. Like torch.xpu.is_available.
 */
XPURT_API int xpurt_is_available(void);

/** 1: whoever can call this has the library. Never connects. For the frameworks that ask. */
XPURT_API int xpurt_is_compiled(void);

/**
 * How many devices the daemon serves.
 * @return the count; 0 when there is no daemon. Never fails.
 * @note thread-safe. Like torch.xpu.device_count: makes no GPU context, harmless before a fork.
 */
XPURT_API int xpurt_device_count(void);

/**
 * Make @p device current for the calling thread. A negative number changes nothing.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE, naming the index and the count
 * @note Like cudaSetDevice, torch.xpu.set_device.
 */
XPURT_API xpurt_result xpurt_set_device(int device);

/** The calling thread's current device. Never connects. Like cudaGetDevice. */
XPURT_API int xpurt_get_device(void);

/**
 * Make @p device current and say which was before.
 * @return the previous device; -1 and no change when @p device is negative or does not exist
 */
XPURT_API int xpurt_exchange_device(int device);

/**
 * Whether this process has made a stream or memory on @p device, or opened memory of it, since its
 * session began.
 * @return 1 or 0
 * @note thread-safe; never connects. Stands for the question whether a context exists.
 */
XPURT_API int xpurt_device_is_used(int device);

/**
 * As xpurt_exchange_device(), but a device that was never used does not become current. For those
 * who only put back what was, such as guards: they need not care which of the two happened.
 * @return the previous device, also when nothing was changed; -1 when @p device is negative
 * @note never connects where @p device was not used. Like c10::cuda::MaybeExchangeDevice.
 */
XPURT_API int xpurt_maybe_exchange_device(int device);

/**
 * What @p device is and can do.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; no round trip. Like cudaGetDeviceProperties.
 */
XPURT_API xpurt_result xpurt_device_get_properties(int device,
                                                   xpurt_device_properties *ret_properties);

/**
 * What kernels of @p device can be compiled for, as far as its driver tells.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; no round trip. Like torch.xpu.get_device_capability.
 */
XPURT_API xpurt_result xpurt_device_get_capability(int device,
                                                   xpurt_device_capability *ret_capability);

/**
 * What of @p device can be shared between processes, and by which mechanism.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; no round trip.
 */
XPURT_API xpurt_result xpurt_device_get_ipc_support(int device, xpurt_ipc_support *ret_support);

/**
 * Wait until everything that the calling process has submitted to @p device is done.
 * @return XPURT_SUCCESS, or the first error of its streams
 * @note thread-safe. Like cudaDeviceSynchronize, torch.xpu.synchronize(device).
 */
XPURT_API xpurt_result xpurt_device_synchronize(int device);

/**
 * Whether kernels of @p device can use memory of @p peer; symmetric.
 * @param ret_access  1 or 0
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 */
XPURT_API xpurt_result xpurt_device_can_access_peer(int device, int peer, int *ret_access);

/**
 * Free and total memory of a device, in bytes.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; one round trip. Like cudaMemGetInfo.
 */
XPURT_API xpurt_result xpurt_mem_get_info(int device, uint64_t *ret_free, uint64_t *ret_total);

#ifdef __cplusplus
}
#endif

#endif
