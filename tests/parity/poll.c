/* SPDX-License-Identifier: MIT */
/* Parity E10: descriptors that become readable when an event completes. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BOUND_MS 30000

TestSuite(polls, .init = scene_start, .fini = scene_stop);

static int descriptor_of(xpurt_event *event)
{
    int fd = -1;

    test_ok(xpurt_event_get_fd(event, &fd));
    test_require(fd >= 0, "no descriptor");
    return fd;
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };

    return poll(&pollfd, 1, timeout_ms) == 1 && (pollfd.revents & POLLIN);
}

static void expect_readable_for_good(int fd)
{
    uint64_t value = 0;

    test_require(readable(fd, BOUND_MS), "not readable");
    test_require(read(fd, &value, sizeof(value)) == sizeof(value) && value == 1, "%llu",
                 (unsigned long long)value);
    test_require(readable(fd, BOUND_MS) && read(fd, &value, sizeof(value)) == 0, "not at its end");
    close(fd);
}

static xpurt_event *pending_on(xpurt_stream *stream, unsigned flags)
{
    xpurt_event *event = event_with(flags);

    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    return event;
}

Test(polls, parity_E10_readable_when_complete)
{
    xpurt_stream *stream = stream_on(0);
    xpurt_event *event = pending_on(stream, 0);
    int fd = descriptor_of(event), other = descriptor_of(event);

    cr_assert_not(readable(fd, 20));
    test_gate_open(&xpurtd);
    expect_readable_for_good(fd);
    test_ok(xpurt_event_query(event));
    test_ok(xpurt_event_destroy(event)); /* the descriptor is the caller's */
    expect_readable_for_good(other);
    test_daemon_await_counter("user-watches", 0);
}

Test(polls, parity_E10_nothing_to_wait_for)
{
    xpurt_event *event = event_with(0);
    int fd;

    expect_readable_for_good(descriptor_of(event));
    test_ok(xpurt_event_record(event, stream_on(0)));
    test_ok(xpurt_event_synchronize(event));
    expect_readable_for_good(descriptor_of(event));
    cr_assert_eq(test_daemon_counter("user-watches"), 0);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_fd(event, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_get_fd(NULL, &fd));
    test_ok(xpurt_event_destroy(event));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_get_fd(event, &fd));
}

/* It tells of the point that the event held, whatever is recorded later. */
Test(polls, parity_E10_as_of_the_call)
{
    xpurt_stream *stream = stream_on(0), *blocked = stream_on(0);
    xpurt_event *event = pending_on(stream, 0);
    int first = descriptor_of(event), second;

    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    test_gate_close(&xpurtd);
    occupy(blocked);
    test_ok(xpurt_event_record(event, blocked));
    second = descriptor_of(event);
    expect_readable_for_good(first);
    cr_assert_not(readable(second, 20));
    test_gate_open(&xpurtd);
    expect_readable_for_good(second);
}

/* A record in a batch, and one that the daemon holds back. */
Test(polls, parity_E10_not_submitted_yet)
{
    xpurt_event *gate = event_with(0), *event = event_with(0), *batched = event_with(0);
    xpurt_stream *stream = stream_on(0), *opener = stream_on(0);
    int fd, other;

    test_ok(xpurt_stream_wait_generation(stream, gate, 1));
    test_ok(xpurt_event_record(event, stream));
    fd = descriptor_of(event);
    test_ok(xpurt_batch_begin());
    test_ok(xpurt_event_record(batched, stream));
    other = descriptor_of(batched);
    test_ok(xpurt_batch_end());
    cr_assert_not(readable(fd, 20));
    test_ok(xpurt_event_record(gate, opener));
    expect_readable_for_good(fd);
    expect_readable_for_good(other);
}

static void polls_opened(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    struct epoll_event got;
    int fd, set;

    (void)data;
    test_await(channel);                /* recorded there */
    fd = descriptor_of(event);
    set = epoll_create1(EPOLL_CLOEXEC);
    test_require(epoll_ctl(set, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN }) == 0,
                 "epoll_ctl");
    test_require(epoll_wait(set, &got, 1, 20) == 0, "readable too early");
    test_pass(channel);
    test_require(epoll_wait(set, &got, 1, BOUND_MS) == 1 && (got.events & EPOLLIN), "not readable");
    expect_readable_for_good(fd);
    test_ok(xpurt_event_query(event));
    close(set);
}

Test(polls, parity_E10_in_another_process)
{
    struct test_peer peer;
    xpurt_event *event;
    xpurt_stream *stream;

    test_peer_start(&peer, polls_opened, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    stream = stream_on(last_device);
    event_send(peer.channel, event);
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(peer.channel);
    test_await(peer.channel);
    test_gate_open(&xpurtd);
    test_peer_join(&peer);
    test_daemon_await_counter("user-watches", 0);
}

static void records_and_waits(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    (void)descriptor_of(event);         /* is watched for nobody, soon */
    test_pass(channel);
    test_await(channel);
}

/* Killed: the one that recorded, which polls too. */
Test(polls, parity_E10_death_of_the_recorder)
{
    struct footprint here = { 0 }, there = { 0 };

    test_ok(xpurt_init());
    for (int round = 0; round < 3; round++) {
        struct test_peer peer;
        xpurt_event *event;
        int fd;

        test_peer_start(&peer, records_and_waits, NULL);
        event = event_with(XPURT_EVENT_INTERPROCESS);
        event_send(peer.channel, event);
        test_await(peer.channel);
        fd = descriptor_of(event);
        cr_assert_not(readable(fd, 0));
        cr_assert_eq(test_daemon_counter("user-watches"), 2);
        test_peer_kill(&peer);
        expect_readable_for_good(fd);
        test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_query(event));
        test_ok(xpurt_event_destroy(event));
        test_daemon_await_counter("user-watches", 0);
        if (round == 0) {
            test_gate_open(&xpurtd);
            test_daemon_await_counter("sessions", 1);
            test_gate_close(&xpurtd);
            here = footprint_of(getpid());
            there = footprint_of(xpurtd.pid);
        }
    }
    test_gate_open(&xpurtd);
    test_daemon_await_counter("sessions", 1);
    footprint_check(getpid(), here);
    footprint_check(xpurtd.pid, there);
}

Test(polls, parity_E10_death_of_the_daemon)
{
    xpurt_event *event = pending_on(stream_on(0), 0);
    int fd = descriptor_of(event);
    char byte;

    test_daemon_kill(&xpurtd);
    cr_assert(readable(fd, BOUND_MS));
    cr_assert_eq(read(fd, &byte, 1), 0);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_synchronize(event));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_get_fd(event, &fd));
    test_daemon_start_again(&xpurtd, NULL);
}

/* Many, of several streams, asked for in any order, and some closed before. */
Test(polls, parity_E10_a_thousand)
{
    enum { STREAMS = 4, EVENTS = 250 };
    static xpurt_event *events[STREAMS * EVENTS];
    static int fds[STREAMS * EVENTS];
    xpurt_stream *streams[STREAMS];
    struct footprint here, there;

    test_gate_open(&xpurtd);            /* the software device starts its threads */
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = stream_on(i % n_devices);
        occupy(streams[i]);
        test_ok(xpurt_stream_synchronize(streams[i]));
    }
    test_gate_close(&xpurtd);
    here = footprint_of(getpid());
    there = footprint_of(xpurtd.pid);
    for (int i = 0; i < STREAMS; i++)
        occupy(streams[i]);
    for (int i = 0; i < STREAMS * EVENTS; i++) {
        events[i] = event_with(0);
        test_ok(xpurt_event_record(events[i], streams[i % STREAMS]));
    }
    for (int i = 0; i < STREAMS * EVENTS; i++)
        fds[i] = descriptor_of(events[(i * 7919) % (STREAMS * EVENTS)]);
    cr_assert_eq(test_daemon_counter("user-watches"), STREAMS * EVENTS);
    for (int i = 0; i < STREAMS * EVENTS; i++)
        cr_assert_not(readable(fds[i], 0));
    for (int i = 0; i < STREAMS * EVENTS; i += 3)
        close(fds[i]);
    test_gate_open(&xpurtd);
    for (int i = 0; i < STREAMS * EVENTS; i++)
        if (i % 3)
            expect_readable_for_good(fds[i]);
    test_daemon_await_counter("user-watches", 0);
    for (int i = 0; i < STREAMS * EVENTS; i++)
        test_ok(xpurt_event_destroy(events[i]));
    footprint_check(getpid(), here);
    there.descriptors += STREAMS;       /* memory of occupy(): files of the software device */
    footprint_check(xpurtd.pid, there);
}

static void polls_inherited(int channel, void *data)
{
    (void)channel;
    expect_readable_for_good(*(int *)data);
}

Test(polls, parity_E10_after_fork)
{
    xpurt_event *event = pending_on(stream_on(0), 0);
    int fd = descriptor_of(event);
    struct test_peer child;

    test_peer_start(&child, polls_inherited, &fd);
    test_gate_open(&xpurtd);
    test_peer_join(&child);
    close(fd);
}
