/* SPDX-License-Identifier: MIT */
/* tests/support/native.h: a Level Zero context of the test's own, on the software device. */
#pragma once

#include <xpurt/ze.h>

#include <stdbool.h>
#include <stddef.h>

#define test_ze(call) \
    do { \
        ze_result_t result_ = (call); \
        test_require(result_ == ZE_RESULT_SUCCESS, "0x%x", (unsigned)result_); \
    } while (0)

struct test_native {
    xpurt_ze_context context;
    ze_device_handle_t devices[16];
    uint32_t device_count;
};

/* Initialise Level Zero in this process: once, and not before fork(). */
void test_native_open(struct test_native *native);

/* An immediate list that keeps its order, and what describes it to xpurt. The description is static. */
xpurt_ze_list test_native_list(const struct test_native *native, unsigned device);

/* Put a copy on a list that may need barriers to keep its order. */
void test_native_copy(const xpurt_ze_list *list, void *to, const void *from, size_t size);

/* Hold up what comes later on the list, until test_native_let_go(). */
ze_event_handle_t test_native_hold(const struct test_native *native, const xpurt_ze_list *list);
void test_native_let_go(ze_event_handle_t gate);

/* Wait for all that is on the list; false: not within @p timeout_ns. */
bool test_native_synchronize(const struct test_native *native, const xpurt_ze_list *list,
                             uint64_t timeout_ns);
