/* SPDX-License-Identifier: MIT */
/* Parity, events shared by two and by three processes. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(sharing, .init = scene_start, .fini = scene_stop);

enum { OTHERS = 2 };

static void start_others(struct test_peer others[OTHERS], void (*body)(int channel, void *data))
{
    for (int i = 0; i < OTHERS; i++)
        test_peer_start(&others[i], body, NULL);
}

static void pass_all(struct test_peer others[OTHERS])
{
    for (int i = 0; i < OTHERS; i++)
        test_pass(others[i].channel);
}

static void await_all(struct test_peer others[OTHERS])
{
    for (int i = 0; i < OTHERS; i++)
        test_await(others[i].channel);
}

static void join_all(struct test_peer others[OTHERS])
{
    for (int i = 0; i < OTHERS; i++)
        test_peer_join(&others[i]);
}

/* ---- handles ----------------------------------------------------------------------------------- */

static void opens_two_handles(int channel, void *data)
{
    xpurt_event *first = event_receive(channel), *second = event_receive(channel);
    uint64_t id, other;

    (void)data;
    test_pass(channel);
    test_await(channel);                /* recorded there */
    test_expect(XPURT_NOT_READY, xpurt_event_query(first));
    test_expect(XPURT_NOT_READY, xpurt_event_query(second));
    test_ok(xpurt_event_get_id(first, &id));
    test_ok(xpurt_event_get_id(second, &other));
    test_require(id && id == other, "two ids of one event");
    test_ok(xpurt_event_destroy(first));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(second));
}

/* Taken before the first record, and twice: both work, in each process. */
Test(sharing, parity_I1_handles_before_the_first_record)
{
    struct test_peer others[OTHERS];
    xpurt_event_handle handle;
    xpurt_event *event;
    xpurt_stream *stream;

    start_others(others, opens_two_handles);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    stream = stream_on(0);
    cr_assert_eq(sizeof(handle), 64);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ipc_handle(event_with(3), &handle));
    for (int i = 0; i < OTHERS; i++)
        for (int k = 0; k < 2; k++)
            event_send(others[i].channel, event);
    await_all(others);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    pass_all(others);
    await_all(others);
    test_gate_open(&xpurtd);
    join_all(others);
}

static void opens_uses_releases(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(last_device);

    (void)data;
    test_pass(channel);
    test_await(channel);                        /* the maker has released it */
    test_ok(xpurt_event_record(event, stream)); /* what it still holds works */
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_destroy(event));
    test_pass(channel);
    test_await(channel);
}

/* No separate close: destroying by either side gives back what that side holds. */
Test(sharing, parity_I2_released_like_any_other)
{
    struct test_peer others[OTHERS];
    xpurt_event *event;

    start_others(others, opens_uses_releases);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    for (int i = 0; i < OTHERS; i++)
        event_send(others[i].channel, event);
    await_all(others);
    cr_assert_gt(test_daemon_counter("handles"), 0);
    test_ok(xpurt_event_destroy(event));
    pass_all(others);
    await_all(others);
    test_daemon_await_counter("handles", 0);
    test_daemon_await_counter("user-exports", 0);
    pass_all(others);
    join_all(others);
}

/* ---- state --------------------------------------------------------------------------------------- */

static void records_then_waits(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0), *waiting = stream_on(last_device);

    (void)data;
    for (int turn = 0; turn < 2; turn++) {
        bool mine;

        test_receive(channel, &mine, sizeof(mine));
        if (mine) {
            occupy(stream);
            test_ok(xpurt_event_record(event, stream));
        }
        test_pass(channel);
        test_await(channel);            /* somebody has recorded */
        test_expect(XPURT_NOT_READY, xpurt_event_query(event));
        test_ok(xpurt_stream_wait_event(waiting, event));
        test_require(!stream_done(waiting), "it does not wait");
        test_pass(channel);
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_stream_synchronize(waiting));
        test_pass(channel);
    }
}

/* Each of the two others records in its turn; all three see it, query and wait. */
Test(sharing, parity_I3_every_process_records_and_all_see_it)
{
    struct test_peer others[OTHERS];
    xpurt_stream *waiting;
    xpurt_event *event;

    start_others(others, records_then_waits);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    waiting = stream_on(last_device);
    for (int i = 0; i < OTHERS; i++)
        event_send(others[i].channel, event);
    for (int turn = 0; turn < OTHERS; turn++) {
        test_gate_close(&xpurtd);
        for (int i = 0; i < OTHERS; i++) {
            bool its = i == turn;

            test_send(others[i].channel, &its, sizeof(its));
        }
        await_all(others);
        test_expect(XPURT_NOT_READY, xpurt_event_query(event));
        test_ok(xpurt_stream_wait_event(waiting, event));
        pass_all(others);
        await_all(others);
        cr_assert_not(stream_done(waiting));
        test_gate_open(&xpurtd);
        test_ok(xpurt_event_synchronize(event));
        test_ok(xpurt_stream_synchronize(waiting));
        await_all(others);
    }
    join_all(others);
}

static void cannot_export(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_event_handle handle;

    (void)data;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_ipc_handle(event, &handle));
    test_require(said("opened"), "%s", xpurt_last_error());
}

Test(sharing, parity_I4_opened_events_are_not_exported)
{
    struct test_peer others[OTHERS];
    xpurt_event_handle handle;
    xpurt_event *event, *same;
    xpurt_stream *stream;

    start_others(others, cannot_export);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    stream = stream_on(0);
    for (int i = 0; i < OTHERS; i++)
        event_send(others[i].channel, event);
    join_all(others);

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &same));
    cr_assert_neq(same, event);
    occupy(stream);
    test_ok(xpurt_event_record(same, stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_ok(xpurt_event_destroy(same));
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_synchronize(event));
}

/* ---- ends ------------------------------------------------------------------------------------------ */

static void exporter(int channel, void *data)
{
    xpurt_event *event = event_with(XPURT_EVENT_INTERPROCESS);
    xpurt_event *done = event_with(XPURT_EVENT_INTERPROCESS);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    test_ok(xpurt_event_record(done, stream));
    test_ok(xpurt_event_synchronize(done));
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    for (int i = 0; i < 2; i++) {
        event_send(channel, event);
        event_send(channel, done);
    }
    test_await(channel);
}

static void waits_for_exporter(int channel, void *data)
{
    xpurt_event *event = event_receive(channel), *done = event_receive(channel);

    (void)data;
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_pass(channel);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));
    test_ok(xpurt_event_synchronize(done)); /* stays what it was */
    test_pass(channel);
}

/* The exporter dies while two others wait in their own ways. */
Test(sharing, parity_I5_exporter_dies)
{
    struct test_peer dying, other;
    xpurt_event_handle handles[4];
    xpurt_event *event, *done, *again = NULL;
    xpurt_stream *stream;
    xpurt_result r;

    test_peer_start(&dying, exporter, NULL);
    test_peer_start(&other, waits_for_exporter, NULL);
    test_receive(dying.channel, handles, sizeof(handles));
    test_send(other.channel, &handles[2], 2 * sizeof(handles[0]));
    test_ok(xpurt_event_open_ipc_handle(&handles[0], &event));
    test_ok(xpurt_event_open_ipc_handle(&handles[1], &done));
    stream = stream_on(last_device);
    test_ok(xpurt_stream_wait_event(stream, event));
    test_await(other.channel);
    test_peer_kill(&dying);
    test_await(other.channel);
    test_peer_join(&other);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_query(event));
    test_ok(xpurt_event_query(done));
    test_gate_open(&xpurtd);            /* what is on the GPU drains */
    r = xpurt_stream_synchronize(stream);
    cr_assert(r == XPURT_SUCCESS || r == XPURT_ERROR_PEER_LOST, "%s", xpurt_last_error());
    for (int i = 0; i < 4; i++)
        test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&handles[i], &again));
    cr_assert_null(again);
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_event_destroy(done));
}

/* ---- handles that are not good ----------------------------------------------------------------------- */

static void refuse(const xpurt_event_handle *handle, const char *what, unsigned byte)
{
    xpurt_event *event = NULL;
    xpurt_result r = xpurt_event_open_ipc_handle(handle, &event);

    test_require(r == XPURT_ERROR_INVALID_HANDLE || r == XPURT_ERROR_STALE_HANDLE, "%s %u: %s",
                 what, byte, xpurt_result_name(r));
    test_require(!event, "%s %u: opened", what, byte);
}

static void alters(int channel, void *data)
{
    xpurt_event_handle handle, altered;
    xpurt_event *event;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    for (unsigned byte = 0; byte < sizeof(handle); byte++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            altered = handle;
            altered.bytes[byte] ^= (unsigned char)(1u << bit);
            refuse(&altered, "altered byte", byte);
        }
        altered = (xpurt_event_handle){ { 0 } };
        memcpy(&altered, &handle, byte);
        if (memcmp(&altered, &handle, sizeof(handle)) != 0)
            refuse(&altered, "cut after byte", byte);
    }
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
}

Test(sharing, parity_I6_altered_and_truncated_handles)
{
    struct test_peer peer;
    xpurt_event *event;

    test_peer_start(&peer, alters, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(peer.channel, event);
    test_peer_join(&peer);
    test_ok(xpurt_event_record(event, stream_on(0)));
    test_ok(xpurt_event_synchronize(event));
}

Test(sharing, parity_I6_handles_of_another_daemon)
{
    xpurt_event *event = event_with(XPURT_EVENT_INTERPROCESS), *opened = NULL;
    xpurt_event_handle handle;

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_daemon_kill(&xpurtd);
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_reset());
    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&handle, &opened));
    cr_assert_null(opened);
}

static void steals(int channel, void *data)
{
    const struct passwd *nobody = data;
    xpurt_event_handle handle;
    xpurt_event *event = NULL;

    test_require(setgroups(0, NULL) == 0 && setgid(nobody->pw_gid) == 0 &&
                     setuid(nobody->pw_uid) == 0,
                 "cannot become nobody: %s", strerror(errno));
    test_receive(channel, &handle, sizeof(handle));
    test_expect(XPURT_ERROR_PERMISSION, xpurt_event_open_ipc_handle(&handle, &event));
    test_require(!event, "opened");
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    event_send(channel, event);
    test_await(channel);
}

/* Replayed by another uid, in both directions. */
Test(sharing, parity_I6_another_user)
{
    struct passwd *nobody = getpwnam("nobody");
    xpurt_event *event, *opened = NULL;
    xpurt_event_handle handle;
    struct test_peer thief;

    if (geteuid() != 0 || !nobody)
        cr_skip_test("needs root, to become somebody else");
    cr_assert_eq(chmod(xpurtd.dir, 0755), 0);
    cr_assert_eq(chmod(xpurtd.socket, 0666), 0);
    test_peer_start(&thief, steals, nobody);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(thief.channel, event);
    test_receive(thief.channel, &handle, sizeof(handle));
    test_expect(XPURT_ERROR_PERMISSION, xpurt_event_open_ipc_handle(&handle, &opened));
    cr_assert_null(opened);
    test_pass(thief.channel);
    test_peer_join(&thief);
}

/* ---- timing and number ---------------------------------------------------------------------------------- */

static void measures(int channel, void *data)
{
    xpurt_event *begin = event_receive(channel), *end = event_receive(channel);
    float time = -1;

    (void)data;
    test_ok(xpurt_event_record(end, stream_on(0)));
    test_ok(xpurt_event_synchronize(end));
    test_ok(xpurt_event_elapsed_time(begin, end, &time));
    test_send(channel, &time, sizeof(time));
}

static void reads_measure(int channel, void *data)
{
    xpurt_event *begin = event_receive(channel), *end = event_receive(channel);
    float time = -1;

    (void)data;
    test_await(channel);
    test_ok(xpurt_event_elapsed_time(begin, end, &time));
    test_send(channel, &time, sizeof(time));
}

/* One event is recorded by each of two processes; all three read the same time. */
Test(sharing, parity_I7_timing_and_interprocess)
{
    unsigned flags = XPURT_EVENT_TIMING | XPURT_EVENT_INTERPROCESS;
    float here = -1, there = -2, elsewhere = -3;
    struct test_peer second, third;
    xpurt_event *begin, *end;

    test_peer_start(&second, measures, NULL);
    test_peer_start(&third, reads_measure, NULL);
    begin = event_with(flags);
    end = event_with(flags);
    test_ok(xpurt_event_record(begin, stream_on(0)));
    test_ok(xpurt_event_synchronize(begin));
    event_send(second.channel, begin);
    event_send(second.channel, end);
    event_send(third.channel, begin);
    event_send(third.channel, end);
    test_receive(second.channel, &there, sizeof(there));
    test_pass(third.channel);
    test_receive(third.channel, &elsewhere, sizeof(elsewhere));
    test_ok(xpurt_event_elapsed_time(begin, end, &here));
    cr_assert(here > 0);
    cr_assert(here == there);
    cr_assert(here == elsewhere);
    test_peer_join(&second);
    test_peer_join(&third);
}

enum { MANY = 10000 };

static void opens_all(int channel, void *data)
{
    static xpurt_event *events[MANY];
    xpurt_stream *stream = stream_on(0);

    (void)data;
    for (int i = 0; i < MANY; i++)
        events[i] = event_receive(channel);
    for (int i = MANY - 1; i >= 0; i--) {
        test_ok(xpurt_stream_wait_event(stream, events[i]));
        test_ok(xpurt_event_record(events[i], stream));
    }
    test_ok(xpurt_stream_synchronize(stream));
    test_pass(channel);
    test_await(channel);
}

/* Both others wait for all of them, and record all. */
Test(sharing, parity_I8_ten_thousand)
{
    static xpurt_event *events[MANY];
    struct test_peer others[OTHERS];
    xpurt_stream *stream;

    start_others(others, opens_all);
    stream = stream_on(0);
    for (int i = 0; i < MANY; i++) {
        events[i] = event_with(XPURT_EVENT_INTERPROCESS);
        test_ok(xpurt_event_record(events[i], stream));
        for (int k = 0; k < OTHERS; k++)
            event_send(others[k].channel, events[i]);
    }
    await_all(others);
    cr_assert_geq(test_daemon_counter("user-exports"), MANY);
    for (int i = 0; i < MANY; i++) {
        test_ok(xpurt_event_query(events[i]));
        test_ok(xpurt_event_destroy(events[i]));
    }
    pass_all(others);
    join_all(others);
    test_daemon_await_counter("handles", 0);
}
