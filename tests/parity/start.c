/* SPDX-License-Identifier: MIT */
/* Parity, initialisation and fork. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

TestSuite(start, .init = scene_start, .fini = scene_stop);
TestSuite(offline);

static unsigned descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* All that needs no device, and leaves no trace. That loading does nothing is the test
 * parity_L1_loading. */
Test(start, parity_L1_nothing_connects_before_a_device_is_needed)
{
    unsigned before = descriptors();
    xpurt_pointer_attributes attributes;
    int number;

    cr_assert_eq(xpurt_get_device(), 0);
    test_ok(xpurt_set_device(-1));
    cr_assert_eq(xpurt_exchange_device(-1), -1);
    cr_assert_eq(xpurt_maybe_exchange_device(last_device), 0);
    cr_assert_not(xpurt_device_is_used(0));
    cr_assert(xpurt_is_compiled());
    test_ok(xpurt_stream_priority_range(&number, &number));
    test_ok(xpurt_stream_is_capturing(NULL, &number));
    test_ok(xpurt_stream_destroy(NULL));
    test_ok(xpurt_event_destroy(NULL));
    test_ok(xpurt_generator_destroy(NULL));
    test_ok(xpurt_free(NULL));
    test_ok(xpurt_pointer_get_attributes(&number, &attributes));
    cr_assert_not(xpurt_host_is_pinned(&number));
    cr_assert_str_eq(xpurt_guard_table_get()->type, "xpu");
    cr_assert(xpurt_version()[0]);
    {
        XPURT_DEVICE_GUARD(guard, -1);

        cr_assert_eq(guard.result, XPURT_SUCCESS);
    }
    cr_assert_not(xpurt_is_initialized());
    cr_assert_eq(descriptors(), before);

    stream_on(0);                       /* this needs one */
    cr_assert(xpurt_is_initialized());
    cr_assert_gt(descriptors(), before);
}

struct inherited {
    xpurt_stream *standard, *pooled, *current;
    xpurt_event *event;
};

static void child_of_a_user(int channel, void *data)
{
    struct inherited *inherited = data;
    xpurt_stream *stream;

    test_require(!xpurt_is_initialized(), "the child has a session it did not ask for");
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_query(inherited->standard));
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_query(inherited->pooled));
    test_expect(XPURT_ERROR_FORKED, xpurt_stream_set_current(inherited->current));
    test_expect(XPURT_ERROR_FORKED, xpurt_event_record(inherited->event, inherited->standard));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_destroy(inherited->standard));
    test_require(!xpurt_is_initialized(), "the child has a session it did not ask for");

    /* Its own are fresh, and current again. */
    test_require(current_on(0) == default_on(0), "the parent's stream is current");
    test_require(default_on(0) != inherited->standard, "the parent's default stream");
    test_require(pooled_on(0, 0) != inherited->pooled, "the parent's pool");
    for (int i = 1; i < XPURT_POOL_STREAMS; i++)
        pooled_on(0, 0);
    stream = default_on(0);

    /* An event from before orders both. */
    test_expect(XPURT_NOT_READY, xpurt_event_query(inherited->event));
    test_ok(xpurt_stream_wait_event(stream, inherited->event));
    test_require(!stream_done(stream), "it does not wait for the parent");
    test_pass(channel);                 /* the gate opens */
    test_ok(xpurt_stream_synchronize(stream));
    test_ok(xpurt_event_record(inherited->event, stream));
    test_ok(xpurt_event_synchronize(inherited->event));
    test_ok(xpurt_device_synchronize(0));
}

Test(start, parity_L2_parent_and_child_go_on)
{
    struct inherited inherited = { default_on(0), pooled_on(0, 0), stream_on(0), event_with(0) };
    struct test_peer child;

    test_ok(xpurt_stream_set_current(inherited.current));
    occupy(inherited.standard);
    test_ok(xpurt_event_record(inherited.event, inherited.standard));
    test_peer_start(&child, child_of_a_user, &inherited);
    test_await(child.channel);
    cr_assert_not(stream_done(inherited.standard));
    test_gate_open(&xpurtd);
    test_peer_join(&child);

    /* The parent is undisturbed. */
    cr_assert_eq(current_on(0), inherited.current);
    cr_assert_eq(default_on(0), inherited.standard);
    test_ok(xpurt_stream_synchronize(inherited.standard));
    test_ok(xpurt_event_query(inherited.event));
    for (int i = 1; i < XPURT_POOL_STREAMS; i++)
        cr_assert_neq(pooled_on(0, 0), inherited.pooled);
    cr_assert_eq(pooled_on(0, 0), inherited.pooled);
    occupy(inherited.current);
    test_ok(xpurt_stream_synchronize(inherited.current));
}

Test(offline, parity_L3_no_daemon)
{
    xpurt_generator *generator = NULL;
    xpurt_stream *stream = NULL;

    unsetenv("XPURT_SOCKET");
    setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1);
    cr_assert_not(xpurt_is_available());
    cr_assert_eq(xpurt_device_count(), 0);
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_init());
    cr_assert(said("/nowhere/at/all/xpurtd.sock"));
    cr_assert(said("/run/xpurtd/xpurtd.sock"));
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_stream_get_default(0, &stream));
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_stream_get_current(-1, &stream));
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_stream_get_from_pool(0, 0, &stream));
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_generator_get_default(0, &generator));
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_generator_manual_seed_all(1));
    cr_assert_null(stream);
    cr_assert_null(generator);

    setenv("XPURT_SOCKET", "/nowhere/else", 1);
    test_expect(XPURT_ERROR_NO_DAEMON, xpurt_init());
    cr_assert(said("/nowhere/else"));
    cr_assert_not(said("xpurtd.sock"));
}
