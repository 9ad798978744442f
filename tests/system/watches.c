/* SPDX-License-Identifier: MIT */
/* tests/system/watches.c: polling points, failing streams, asking for sharers, said right and wrong. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(watches, .timeout = 300);

#define BOUND_MS 30000

static bool readable(int fd, int timeout_ms)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };

    return poll(&pollfd, 1, timeout_ms) == 1 && (pollfd.revents & POLLIN);
}

static void expect_fired(int fd)
{
    uint64_t value = 0;

    test_require(readable(fd, BOUND_MS), "it did not fire");
    test_require(read(fd, &value, sizeof(value)) == sizeof(value) && value == 1, "it holds no 1");
    test_require(readable(fd, BOUND_MS) && read(fd, &value, sizeof(value)) == 0, "it has no end");
    close(fd);
}

static int poll_of(struct raw *raw, uint64_t point)
{
    int fd = -1;

    test_require(raw_point_poll(raw, point, &fd) == XPURT_SUCCESS, "%s", raw->text);
    return fd;
}

/* ---- points --------------------------------------------------------------------------------------- */

/* In any order; of a stream that is not there yet; of another session. */
static void points_to_come(struct scene *scene)
{
    struct raw raw, other;
    int fds[40];

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    for (unsigned i = 0; i < 40; i++)
        fds[i] = poll_of(i % 2 ? &raw : &other,
                         point_pack(raw.slot, 3, raw.values[3] + 1 + (i * 7) % 40));
    test_require(raw_counter(&raw, "user-watches") == 40, "not all are counted");
    raw_stream_create(&raw, 3, 0);
    for (unsigned value = 1; value <= 40; value++) {
        raw_record(&raw, 3);
        for (unsigned i = 0; i < 40; i++)
            if (1 + (i * 7) % 40 == value)
                expect_fired(fds[i]);
            else if (1 + (i * 7) % 40 > value)
                test_require(!readable(fds[i], 0), "too early");
    }
    expect_fired(poll_of(&other, point_pack(raw.slot, 3, raw.values[3])));
    raw_close(&other);
    raw_close(&raw);
}

Test(watches, points_to_come)
{
    scene_play(points_to_come, 5);
}

static void points_of_nobody(struct scene *scene)
{
    struct raw raw, gone;
    uint32_t slot;
    int fd;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&gone, scene->daemon.socket);
    slot = gone.slot;
    raw_close(&gone);
    while (raw_counter(&raw, "sessions") > 3)
        scene_sleep_ms(1);
    expect_fired(poll_of(&raw, 0));
    expect_fired(poll_of(&raw, point_pack(raw.slot, 0, raw.progress->header.base)));
    test_require(raw_point_poll(&raw, point_pack(BOARD_SLOTS - 1, 5, 9), &fd) ==
                     XPURT_ERROR_PERMISSION,
                 "%s", raw.text);
    test_require(raw_point_poll(&raw, point_pack(slot, 5, POINT_VALUE_MAX), &fd) ==
                     XPURT_ERROR_PERMISSION,
                 "%s", raw.text);
    test_require(raw_point_poll(&raw, UINT64_MAX, &fd) == XPURT_ERROR_PERMISSION, "%s", raw.text);
    raw_close(&raw);
}

Test(watches, points_of_nobody)
{
    scene_play(points_of_nobody, 5);
}

/* What fires them besides the record: the stream's failure, its session's end; the asker's end. */
static void other_ends(struct scene *scene)
{
    struct raw raw, other, asker;
    int failed, ended, asked, closed;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    raw_open(&asker, scene->daemon.socket);
    raw_stream_create(&other, 0, 0);
    raw_stream_create(&other, 1, 0);
    failed = poll_of(&raw, point_pack(other.slot, 0, other.values[0] + 1));
    ended = poll_of(&raw, point_pack(other.slot, 1, other.values[1] + 1));
    asked = poll_of(&asker, point_pack(other.slot, 1, other.values[1] + 1));
    closed = poll_of(&raw, point_pack(other.slot, 1, other.values[1] + 2));
    close(closed);
    raw_stream_fail(&other, 0, XPURT_ERROR_DRIVER);
    expect_fired(failed);
    expect_fired(poll_of(&raw, point_pack(other.slot, 0, other.values[0] + 1)));
    test_require(!readable(ended, 0), "another stream has failed, not this one");
    raw_close(&asker);
    expect_fired(asked);
    raw_close(&other);
    expect_fired(ended);
    raw_close(&raw);
}

Test(watches, other_ends)
{
    scene_play(other_ends, 5);
}

/* Descriptors belong to no request; the daemon does not even look what they are. */
static void send_with(struct scene *scene, const int *fds, unsigned n)
{
    static const uint8_t poll_zero[] = { 0x10, 0x01, 0x72, 0x00 }; /* serial 1, PointPoll */
    struct frame_header header = { .length = sizeof(poll_zero), .fds = (uint16_t)n };
    uint8_t bytes[FRAME_HEADER_SIZE + sizeof(poll_zero)];
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    frame_header_write(bytes, &header);
    memcpy(bytes + FRAME_HEADER_SIZE, poll_zero, sizeof(poll_zero));
    test_require(raw_send_fds(&raw, bytes, sizeof(bytes), fds, n) == 0, "it cannot be sent");
    test_require(raw_closed(&raw) && raw.error == XPURT_ERROR_PROTOCOL, "it was not refused");
    raw_close(&raw);
}

static void descriptors(struct scene *scene)
{
    int fds[8], n = 0;

    fds[n++] = eventfd(UINT32_MAX, EFD_CLOEXEC);
    fds[n++] = memfd_create("test", MFD_CLOEXEC);
    fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[n++] = open("/", O_PATH | O_CLOEXEC);
    test_require(pipe2(fds + n, O_CLOEXEC) == 0, "pipe2");
    n += 2;
    test_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds + n) == 0, "socketpair");
    n += 2;
    for (int i = 0; i < n; i++)
        send_with(scene, fds + i, 1);
    send_with(scene, fds, 2);
    send_with(scene, fds, 4);
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

Test(watches, descriptors)
{
    scene_play(descriptors, 5);
}

/* A client that writes into what it was given, shuts it down, or never reads its replies. */
static void abused(struct scene *scene)
{
    struct raw raw, silent;
    char bytes[4096] = { 0 };
    int fd;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    fd = poll_of(&raw, point_pack(raw.slot, 0, raw.values[0] + 1));
    test_require(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0 && errno == EPIPE,
                 "the daemon would read it");
    shutdown(fd, SHUT_RDWR);
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    close(fd);

    raw_open(&silent, scene->daemon.socket);
    for (int i = 0; i < 3000; i++) {
        Xpurt__PointPoll poll = XPURT__POINT_POLL__INIT;
        Xpurt__ToDaemon request = { RAW_REQUEST(POINT_POLL), .point_poll = &poll };

        request.serial = 1;
        poll.point = point_pack(raw.slot, 0, raw.values[0] + 1);
        if (raw_send_message(&silent, &request) < 0)
            break;
    }
    raw_close(&silent);
    raw_close(&raw);
}

Test(watches, abused)
{
    scene_play(abused, 5);
}

/* ---- limit ------------------------------------------------------------------------------------------ */

static void limit_of_a_user(struct scene *scene)
{
    struct raw raw;
    int fds[3], fd;
    uint64_t next;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    next = point_pack(raw.slot, 0, raw.values[0] + 1);
    for (int i = 0; i < 3; i++)
        fds[i] = poll_of(&raw, next);
    test_require(raw_point_poll(&raw, next, &fd) == XPURT_ERROR_QUOTA &&
                     strstr(raw.text, "user-watches"),
                 "%s", raw.text);
    expect_fired(poll_of(&raw, 0));     /* costs nothing */
    raw_record(&raw, 0);
    for (int i = 0; i < 3; i++)
        expect_fired(fds[i]);
    close(poll_of(&raw, next + 1));
    raw_close(&raw);
}

Test(watches, limit_of_a_user)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    test_require(scene, "out of memory");
    scene_begin(scene, "user-watches = 3");
    scene_attack(scene, limit_of_a_user, 5);
    scene_end(scene);
    free(scene);
}

/* ---- failing streams ---------------------------------------------------------------------------------- */

static void streams_that_are_failed(struct scene *scene)
{
    static const uint32_t no_errors[] = { 0, 1, 2, 3, 15, 22, 83, 1000, UINT32_MAX };
    struct raw raw, other;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    for (uint32_t i = 0; i < 4; i++)
        raw_stream_create(&raw, i, 0);
    for (size_t i = 0; i < sizeof(no_errors) / sizeof(no_errors[0]); i++)
        raw_stream_fail(&raw, 0, no_errors[i]);
    raw_stream_fail(&raw, 4, XPURT_ERROR_DRIVER);
    raw_stream_fail(&raw, UINT32_MAX, XPURT_ERROR_DRIVER);
    raw_stream_fail(&other, 0, XPURT_ERROR_DRIVER); /* has none of its own */
    raw_settle(&raw);
    raw_settle(&other);
    test_require(raw.errors == sizeof(no_errors) / sizeof(no_errors[0]) + 2, "%u errors",
                 raw.errors);
    test_require(other.errors == 1, "another's stream");
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);

    /* The code reaches those who wait as DEPENDENCY, but for PEER_LOST, through any chain. */
    raw_wait(&raw, 1, point_pack(raw.slot, 0, raw.values[0] + 1));
    raw_record(&raw, 1);
    raw_wait(&raw, 2, point_pack(raw.slot, 1, raw.values[1]));
    raw_record(&raw, 2);
    raw_stream_fail(&raw, 0, XPURT_ERROR_PEER_LOST);
    raw_stream_fail(&raw, 0, XPURT_ERROR_DRIVER); /* the first one stays */
    for (uint32_t i = 0; i < 3; i++)
        test_require(raw_status(&raw, i) == XPURT_ERROR_PEER_LOST, "stream %u: %s", i, raw.text);
    raw_stream_destroy(&raw, 3);
    raw_stream_create(&raw, 5, 0);
    raw_stream_create(&raw, 6, 0);
    raw_wait(&raw, 6, point_pack(raw.slot, 5, raw.values[5] + 1));
    raw_stream_fail(&raw, 5, XPURT_ERROR_DRIVER);
    test_require(raw_status(&raw, 5) == XPURT_ERROR_DRIVER, "%s", raw.text);
    test_require(raw_status(&raw, 6) == XPURT_ERROR_DEPENDENCY, "%s", raw.text);
    raw_close(&other);
    raw_close(&raw);
}

Test(watches, streams_that_are_failed)
{
    scene_play(streams_that_are_failed, 5);
}

/* ---- sharers ------------------------------------------------------------------------------------------ */

static void expect_sharers(struct raw *raw, uint32_t slot, uint32_t cell, uint32_t others,
                           bool lost)
{
    uint32_t got = 99;
    bool got_lost = !lost;

    test_require(raw_event_sharers(raw, slot, cell, &got, &got_lost) == XPURT_SUCCESS, "%s",
                 raw->text);
    test_require(got == others && got_lost == lost, "%u others, %slost", got,
                 got_lost ? "" : "not ");
}

static void sharers(struct scene *scene)
{
    struct raw owner, openers[3], stranger;
    struct handle handle;
    uint32_t others;
    bool lost;

    raw_open(&owner, scene->daemon.socket);
    raw_open(&stranger, scene->daemon.socket);
    expect_sharers(&owner, owner.slot, 0, 0, false);
    test_require(raw_event_export(&owner, 0, &handle) == 0, "%s", owner.text);
    expect_sharers(&owner, owner.slot, 0, 0, false);
    for (int i = 0; i < 3; i++) {
        raw_open(&openers[i], scene->daemon.socket);
        for (int k = 0; k <= i; k++)    /* how often does not matter */
            test_require(raw_event_open(&openers[i], &handle, NULL, NULL) == 0, "%s",
                         openers[i].text);
    }
    test_require(raw_event_open(&owner, &handle, NULL, NULL) == 0, "%s", owner.text);
    expect_sharers(&owner, owner.slot, 0, 3, false);
    expect_sharers(&openers[2], owner.slot, 0, 4, false); /* the owner has it twice */
    raw_event_close(&owner, owner.slot, 0);
    raw_settle(&owner);
    expect_sharers(&openers[2], owner.slot, 0, 3, false);
    raw_event_close(&openers[0], owner.slot, 0);
    raw_settle(&openers[0]);
    expect_sharers(&owner, owner.slot, 0, 2, false);
    raw_close(&openers[1]);             /* without closing it */
    while (raw_counter(&owner, "sessions") != 6)
        scene_sleep_ms(1);
    expect_sharers(&owner, owner.slot, 0, 1, true);

    test_require(raw_event_sharers(&stranger, owner.slot, 0, &others, &lost) ==
                     XPURT_ERROR_INVALID_HANDLE,
                 "%s", stranger.text);
    test_require(raw_event_sharers(&owner, owner.slot, BOARD_CELLS, &others, &lost) ==
                     XPURT_ERROR_INVALID_HANDLE,
                 "%s", owner.text);
    test_require(raw_event_sharers(&owner, UINT32_MAX, 0, &others, &lost) ==
                     XPURT_ERROR_INVALID_HANDLE,
                 "%s", owner.text);
    test_require(raw_board_open(&stranger, owner.slot, stranger.instance) == 0, "%s",
                 stranger.text);
    expect_sharers(&stranger, owner.slot, 0, 1, false);

    raw_event_drop(&owner, 0);
    raw_settle(&owner);
    expect_sharers(&openers[2], owner.slot, 0, 0, true);
    raw_close(&owner);
    while (raw_counter(&stranger, "sessions") != 5)
        scene_sleep_ms(1);
    expect_sharers(&openers[2], openers[2].slot, 0, 0, false);
    expect_sharers(&stranger, owner.slot, 0, 0, true);
    raw_close(&openers[0]);
    raw_close(&openers[2]);
    raw_close(&stranger);
}

Test(watches, sharers)
{
    scene_play(sharers, 5);
}
