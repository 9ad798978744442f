/* SPDX-License-Identifier: MIT */
/* tests/conformance/soft.h: the software driver, opened through the stock loader, for one test.
 *
 * Nothing here knows the driver's insides: all goes through the loader's functions, and entry
 * points newer than the installed headers come from zeDriverGetExtensionFunctionAddress.
 */
#pragma once

#include "tests/support/peer.h"

#include <level_zero/ze_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECOND UINT64_C(1000000000) /* ns */
#define FOREVER (60 * SECOND)       /* a wait that must end; longer than any slow machine needs */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* End the process with a message when a call does not return the code. */
#define REQUIRE_CODE(code, call) \
    do { \
        ze_result_t expected_ = (code), got_ = (call); \
        test_require(got_ == expected_, "%s gives 0x%x instead of 0x%x", #call, (unsigned)got_, \
                     (unsigned)expected_); \
    } while (0)
#define REQUIRE_ZE(call) REQUIRE_CODE(ZE_RESULT_SUCCESS, call)

struct soft {
    ze_driver_handle_t driver;
    uint32_t device_count;
    ze_device_handle_t devices[16];
    ze_device_handle_t device;          /* the first of them */
    ze_context_handle_t context;
};

/* One for each process that uses a device; a forked child opens its own. */
extern struct soft soft;

void soft_open(void);
void soft_close(void);

/* Which variant of the test run this is. */
bool soft_validated(void);   /* the validation layer is there: it knows nothing newer than 1.4 */
bool soft_intercepted(void); /* the loader wraps handles, and does not survive null handles */

/* An entry point that the headers of 1.4 do not have; ends the process when the driver lacks it.
 * It takes the driver's own handles, so not together with soft_intercepted(). */
void *soft_entry(const char *name);

/* Command lists of the first group, and of any. */
ze_command_list_handle_t soft_immediate(ze_command_queue_mode_t mode);
ze_command_list_handle_t soft_immediate_on(ze_device_handle_t device, uint32_t ordinal,
                                           ze_command_queue_mode_t mode,
                                           ze_command_queue_priority_t priority, uint32_t flags);
ze_command_list_handle_t soft_list(uint32_t flags);
ze_command_queue_handle_t soft_queue(ze_command_queue_mode_t mode);

ze_event_pool_handle_t soft_pool(uint32_t count, ze_event_pool_flags_t flags);
ze_event_handle_t soft_event(ze_event_pool_handle_t pool, uint32_t index);
ze_fence_handle_t soft_fence(ze_command_queue_handle_t queue, ze_fence_flags_t flags);

void *soft_alloc(ze_memory_type_t type, size_t size);
void soft_free(void *memory);

/* Wait for everything appended so far to an immediate list. */
void soft_finish(ze_command_list_handle_t list);

/* Random numbers. The seed is that of SOFT_SEED or new, and is printed. */
uint64_t soft_seed(void);
uint64_t soft_random(uint64_t *state);

/* A 64-byte IPC handle and the descriptor in its first four bytes, over a socket; the receiver's
 * own descriptor is in the received handle. */
void soft_send_handle(int channel, const void *handle);
void soft_receive_handle(int channel, void *ret_handle);
int soft_handle_fd(const void *handle);

/* Is there an OpenCL runtime for CPUs, which kernels need? */
bool soft_has_opencl(void);
