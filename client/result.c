/* SPDX-License-Identifier: MIT */
/* client/result.c: names and sentences for results.
 *
 * Guarantees of this file: nothing here fails, allocates or connects; the last error belongs to
 * the thread that got it.
 */
#include "client/result.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX 512

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* clang-format off */
/*    result                             what it means in general */
#define RESULTS(X) \
    X(XPURT_SUCCESS,                    "success") \
    X(XPURT_NOT_READY,                  "not complete yet") \
    X(XPURT_TIMEOUT,                    "the time-out passed first") \
    X(XPURT_ERROR_INVALID_ARGUMENT,     "an argument is null, unknown or out of range") \
    X(XPURT_ERROR_INVALID_HANDLE,       "not a live object of this library") \
    X(XPURT_ERROR_INVALID_DEVICE,       "no such device, or not the right one") \
    X(XPURT_ERROR_INVALID_ADDRESS,      "the address is not inside memory of this process") \
    X(XPURT_ERROR_NOT_RECORDED,         "the event was never recorded") \
    X(XPURT_ERROR_NO_TIMING,            "the event was made without XPURT_EVENT_TIMING") \
    X(XPURT_ERROR_OUT_OF_MEMORY,        "the device has not enough free memory") \
    X(XPURT_ERROR_OUT_OF_HOST_MEMORY,   "the host has not enough free memory") \
    X(XPURT_ERROR_QUOTA,                "a limit of this user is reached") \
    X(XPURT_ERROR_WOULD_BLOCK,          "there is no room for the command now") \
    X(XPURT_ERROR_NO_DAEMON,            "no xpurtd answered") \
    X(XPURT_ERROR_DAEMON_LOST,          "the connection to xpurtd is lost") \
    X(XPURT_ERROR_PEER_LOST,            "the process that should complete this is gone") \
    X(XPURT_ERROR_STALE_HANDLE,         "what the handle named is gone") \
    X(XPURT_ERROR_PERMISSION,           "what the handle names belongs to another user") \
    X(XPURT_ERROR_FORKED,               "the stream belongs to the parent process") \
    X(XPURT_ERROR_DEVICE_LOST,          "the device does not work any more") \
    X(XPURT_ERROR_DEPENDENCY,           "what this waited for has failed") \
    X(XPURT_ERROR_DRIVER,               "the GPU driver refused") \
    X(XPURT_ERROR_BUILD_FAILED,         "the module cannot be built") \
    X(XPURT_ERROR_UNSUPPORTED,          "not supported by this daemon, device or driver") \
    X(XPURT_ERROR_PROTOCOL,             "xpurtd and the library do not understand each other") \
    X(XPURT_ERROR_SYSTEM,               "a system call failed")
/* clang-format on */

static _Thread_local char last_error[TEXT_MAX];

xpurt_result error_set(xpurt_result result, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(last_error, sizeof(last_error), format, arguments);
    va_end(arguments);
    return result;
}

const char *xpurt_last_error(void)
{
    return last_error;
}

const char *xpurt_result_name(xpurt_result result)
{
    switch (result) {
#define X(code, text) \
    case code: \
        return #code;
        RESULTS(X)
#undef X
    }
    return "unknown result";
}

const char *xpurt_result_string(xpurt_result result)
{
    switch (result) {
#define X(code, text) \
    case code: \
        return text;
        RESULTS(X)
#undef X
    }
    return "unknown result";
}

const char *xpurt_version(void)
{
    return STRING(XPURT_VERSION_MAJOR) "." STRING(XPURT_VERSION_MINOR) "." STRING(
        XPURT_VERSION_PATCH);
}
