/* SPDX-License-Identifier: MIT */
/**
 * @file base.h
 * Results, versions, the connection, and what all other headers need.
 */
#ifndef XPURT_BASE_H
#define XPURT_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define XPURT_API __attribute__((visibility("default")))
#else
#define XPURT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define XPURT_VERSION_MAJOR 0
#define XPURT_VERSION_MINOR 1
#define XPURT_VERSION_PATCH 0

/** Bytes of a handle that names an event or memory in another process. */
#define XPURT_IPC_HANDLE_SIZE 64

/** A time-out that never comes. */
#define XPURT_NO_TIMEOUT UINT64_MAX

/** What a call returns. Values are part of the ABI and of the wire protocol. */
typedef enum xpurt_result {
    XPURT_SUCCESS = 0,
    XPURT_NOT_READY = 1,                /**< a query: not complete yet; no error */
    XPURT_TIMEOUT = 2,                  /**< the time-out passed first; no error, wait again */

    XPURT_ERROR_INVALID_ARGUMENT = 16,  /**< null pointer, unknown flag, size out of range */
    XPURT_ERROR_INVALID_HANDLE = 17,    /**< not a live object of this library */
    XPURT_ERROR_INVALID_DEVICE = 18,    /**< no such device, or the wrong one */
    XPURT_ERROR_INVALID_ADDRESS = 19,   /**< not inside the caller's own memory */
    XPURT_ERROR_NOT_RECORDED = 20,      /**< the event was never recorded */
    XPURT_ERROR_NO_TIMING = 21,         /**< the event was made without XPURT_EVENT_TIMING */
    XPURT_ERROR_OUT_OF_MEMORY = 32,     /**< device memory */
    XPURT_ERROR_OUT_OF_HOST_MEMORY = 33,
    XPURT_ERROR_QUOTA = 34,             /**< a limit of this user; the message names it */
    XPURT_ERROR_WOULD_BLOCK = 35,       /**< no room for the command; see XPURT_SUBMIT_REFUSE */
    XPURT_ERROR_NO_DAEMON = 48,         /**< no socket answered; the message lists them */
    XPURT_ERROR_DAEMON_LOST = 49,       /**< it went away; xpurt_reset() connects anew */
    XPURT_ERROR_PEER_LOST = 50,         /**< the process that should complete this is gone */
    XPURT_ERROR_STALE_HANDLE = 51,      /**< exported by somebody who is gone, or destroyed */
    XPURT_ERROR_PERMISSION = 52,        /**< belongs to another user */
    XPURT_ERROR_FORKED = 53,            /**< a stream of the parent process */
    XPURT_ERROR_DEVICE_LOST = 64,
    XPURT_ERROR_DEPENDENCY = 65,   /**< what this waited for has failed */
    XPURT_ERROR_DRIVER = 66,       /**< the GPU driver refused; the message has its code */
    XPURT_ERROR_BUILD_FAILED = 67, /**< not a valid module, or its compiler failed: see its log */
    XPURT_ERROR_UNSUPPORTED = 80,  /**< not by this daemon, device or driver */
    XPURT_ERROR_PROTOCOL = 81,     /**< daemon and library do not understand each other */
    XPURT_ERROR_SYSTEM = 82        /**< a system call failed; the message has its reason */
} xpurt_result;

/**
 * The name of a result, such as "XPURT_ERROR_PEER_LOST".
 * @return static text; "unknown result" for other numbers
 * @note never fails, never connects. Like cudaGetErrorName.
 */
XPURT_API const char *xpurt_result_name(xpurt_result result);

/**
 * A sentence that explains a result in general.
 * @return static text
 * @note never fails, never connects. Like cudaGetErrorString.
 */
XPURT_API const char *xpurt_result_string(xpurt_result result);

/**
 * The sentence that explains the last error of the calling thread: what was asked, what is wrong.
 * @return text that stays valid until the thread's next call into xpurt; "" when none has failed
 * @note never fails, never connects. Successful calls do not clear it.
 */
XPURT_API const char *xpurt_last_error(void);

/** The version of the library at run time, such as "0.1.0". */
XPURT_API const char *xpurt_version(void);

/**
 * Connect now instead of at the first call that needs a device.
 *
 * The sockets tried are $XPURT_SOCKET, or else $XDG_RUNTIME_DIR/xpurtd.sock and then
 * /run/xpurtd/xpurtd.sock.
 *
 * @return XPURT_SUCCESS, also when already connected; XPURT_ERROR_NO_DAEMON; XPURT_ERROR_PROTOCOL
 *         when the daemon speaks another major version; XPURT_ERROR_QUOTA; XPURT_ERROR_DAEMON_LOST
 * @note thread-safe.
 */
XPURT_API xpurt_result xpurt_init(void);

/** How commands reach the daemon, see xpurt_set_transport(). */
typedef enum xpurt_transport {
    XPURT_TRANSPORT_AUTO = 0,           /**< the socket first, shared memory for who sends more */
    XPURT_TRANSPORT_SOCKET = 1,         /**< a system call for each command or batch */
    XPURT_TRANSPORT_RING = 2            /**< shared memory from the first command on */
} xpurt_transport;

/**
 * Choose how the next connection carries commands; no call behaves differently. Shared memory costs
 * some 144 KiB of it, and no system call for a command while the daemon is busy with this process.
 *
 * Without this call the environment decides: XPURT_TRANSPORT is auto (the default), socket or ring.
 *
 * @param transport  in force from the next connection on: call it before anything that connects
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT. With XPURT_TRANSPORT_RING, connecting fails
 *         with XPURT_ERROR_QUOTA where a limit does not allow the memory; AUTO stays with the socket.
 * @note thread-safe.
 */
XPURT_API xpurt_result xpurt_set_transport(xpurt_transport transport);

/** What a call does that finds no room for its command, see xpurt_set_submit_mode(). */
typedef enum xpurt_submit_mode {
    XPURT_SUBMIT_BLOCK = 0,             /**< it waits until the daemon has taken some */
    XPURT_SUBMIT_REFUSE = 1             /**< it does nothing and says XPURT_ERROR_WOULD_BLOCK */
} xpurt_submit_mode;

/**
 * Choose what happens when this process submits work faster than the daemon, or the device behind
 * it, takes it: by default the calling thread waits, as it does in CUDA.
 *
 * XPURT_SUBMIT_REFUSE is for programs that have other things to do meanwhile. It concerns calls that
 * put work on a stream (record, wait, copy, fill); all others wait as ever, and so does one that needs
 * more room than most, such as a copy of ordinary memory in many pieces.
 *
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; in force at once, for the whole process.
 */
XPURT_API xpurt_result xpurt_set_submit_mode(xpurt_submit_mode mode);

/** Whether this process has a session already. Never connects. Like torch.xpu.is_initialized. */
XPURT_API int xpurt_is_initialized(void);

/**
 * Forget the daemon and everything got from it, so that the next call connects afresh. For a
 * process that goes on after XPURT_ERROR_DAEMON_LOST. Every stream, event and address of before
 * is gone: using one gives XPURT_ERROR_INVALID_HANDLE or _ADDRESS; destroying one is still
 * allowed.
 * @return XPURT_SUCCESS
 * @note no other thread may be inside an xpurt call. Like cudaDeviceReset.
 */
XPURT_API xpurt_result xpurt_reset(void);

/**
 * Collect the commands of this process, to be sent in few frames, until the matching
 * xpurt_batch_end(). Scopes nest and may overlap between threads: sending starts again when the
 * last one ends. Any call that waits or asks (query, synchronise, allocate) sends what was collected
 * first, so a batch can never wait for itself; what was collected is also sent when it fills a frame.
 * @return XPURT_SUCCESS, or why there is no connection
 * @note thread-safe.
 */
XPURT_API xpurt_result xpurt_batch_begin(void);

/**
 * End a scope of xpurt_batch_begin() and send what was collected.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT without a scope; XPURT_ERROR_DAEMON_LOST
 */
XPURT_API xpurt_result xpurt_batch_end(void);

/** Who answers, see xpurt_daemon_get_info(). */
typedef struct xpurt_daemon_info {
    char version[32];                   /**< such as "0.1.0" */
    unsigned char instance[16];         /**< random; another one after each start of the daemon */
    char socket[108];                   /**< where it was found */
    uint32_t protocol_major;            /**< what it speaks; the library speaks the same major */
    uint32_t protocol_minor;
    uint32_t session;                   /**< the caller's number among those connected */
    uint32_t reserved[8];
} xpurt_daemon_info;

/**
 * Who the daemon of this process is.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; or why there is no connection
 * @note thread-safe; no round trip.
 */
XPURT_API xpurt_result xpurt_daemon_get_info(xpurt_daemon_info *ret_info);

/** One of the daemon's counters, see xpurt_daemon_counters(). */
typedef struct xpurt_counter {
    char name[56];                      /**< such as "sessions" */
    uint64_t value;
} xpurt_counter;

/**
 * The daemon's own counters: objects alive, commands done, limits in force of this user.
 * @param capacity      how many @p ret_counters has room for
 * @param ret_counters  filled with at most @p capacity; may be null when @p capacity is 0
 * @param ret_count     how many there are, maybe more than @p capacity
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; or why there is no connection
 * @note thread-safe; one round trip.
 */
XPURT_API xpurt_result xpurt_daemon_counters(size_t capacity, xpurt_counter *ret_counters,
                                             size_t *ret_count);

#ifdef __cplusplus
}
#endif

#endif
