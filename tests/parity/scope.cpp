/* SPDX-License-Identifier: MIT */
/* Parity, guards in C++: the same macros, and exceptions. */
#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <stdexcept>
#include <type_traits>

extern "C" {
extern int last_device;
void scene_start(void);
void scene_stop(void);
xpurt_stream *stream_on(int device);
xpurt_stream *current_on(int device);
xpurt_stream *default_on(int device);
}

TestSuite(scopes, .init = scene_start, .fini = scene_stop);

typedef xpurt_scope<xpurt_device_guard, xpurt_device_guard_end> device_scope;

static_assert(!std::is_copy_constructible<device_scope>::value, "a guard has one scope");
static_assert(!std::is_copy_assignable<device_scope>::value, "a guard has one scope");

static void throws(xpurt_stream *stream)
{
    XPURT_DEVICE_GUARD(device, 0);
    XPURT_STREAM_GUARD(guard, stream);

    cr_assert(device.result == XPURT_SUCCESS && guard.result == XPURT_SUCCESS);
    cr_assert(current_on(-1) == stream);
    cr_assert(xpurt_get_device() == last_device);
    throw std::runtime_error("out");
}

Test(scopes, parity_G1_exceptions_in_cxx)
{
    xpurt_stream *one = stream_on(last_device), *streams[] = { stream_on(0), one };
    bool caught = false;

    try {
        throws(one);
    } catch (const std::runtime_error &) {
        caught = true;
    }
    cr_assert(caught);
    cr_assert(xpurt_get_device() == 0);
    cr_assert(current_on(last_device) == default_on(last_device));
    {
        XPURT_OPTIONAL_DEVICE_GUARD(guard, -1);
        XPURT_MULTI_STREAM_GUARD(several, streams, 2);

        cr_assert(xpurt_device_guard_set(&guard, last_device) == XPURT_SUCCESS);
        cr_assert(several.result == XPURT_SUCCESS);
        cr_assert(current_on(-1) == one);
    }
    cr_assert(xpurt_get_device() == 0);
    cr_assert(current_on(last_device) == default_on(last_device));
}
