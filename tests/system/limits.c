/* SPDX-License-Identifier: MIT */
/* tests/system/limits.c: each limit is enforced, named, and free again when its client is gone. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(limits, .timeout = 300);

#define PIECE 4096u

static void expect_quota(const struct raw *raw, xpurt_result result, const char *limit)
{
    test_require(result == XPURT_ERROR_QUOTA, "%d instead of QUOTA: %s", (int)result, raw->text);
    test_require(strstr(raw->text, limit), "it does not name %s: %s", limit, raw->text);
}

static void play(const char *limits, void (*attack)(struct scene *scene))
{
    struct scene *scene = calloc(1, sizeof(*scene));

    test_require(scene, "out of memory");
    scene_begin(scene, limits);
    scene_attack(scene, attack, 5);     /* each time finds the whole limit free again */
    scene_end(scene);
    free(scene);
}

/* ---- what the watcher and the witness hold counts too ---------------------------------------- */

static void sessions_of_a_user(struct scene *scene)
{
    struct raw raw[3], refused;

    for (int i = 0; i < 3; i++)
        raw_open(&raw[i], scene->daemon.socket);
    raw_connect(&refused, scene->daemon.socket);
    test_require(raw_closed(&refused), "one session too many");
    expect_quota(&refused, refused.error, "user-sessions");
    raw_close(&refused);
    raw_close(&raw[0]);
    for (int i = 0; i < 3; i++) {       /* room for one again, as soon as the daemon has noticed */
        while (raw_counter(&scene->watcher, "sessions") > 4)
            scene_sleep_ms(1);
        raw_open(&raw[0], scene->daemon.socket);
        raw_close(&raw[0]);
    }
    raw_close(&raw[1]);
    raw_close(&raw[2]);
}

Test(limits, user_sessions)
{
    play("user-sessions = 5", sessions_of_a_user);
}

static void all_sessions(struct scene *scene)
{
    Xpurt__Hello hello = XPURT__HELLO__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(HELLO), .hello = &hello };
    struct raw raw[2], refused;

    for (int i = 0; i < 2; i++)
        raw_open(&raw[i], scene->daemon.socket);
    raw_connect(&refused, scene->daemon.socket);
    hello.major = FRAME_MAJOR;
    expect_quota(&refused, raw_result(&refused, &request), "sessions");
    test_require(raw_closed(&refused), "one session too many");
    raw_close(&refused);
    raw_close(&raw[0]);
    raw_close(&raw[1]);
}

Test(limits, sessions)
{
    play("sessions = 4", all_sessions);
}

/* Sessions that are gone, but whose boards somebody has open, are still paid for: slots are few. */
static void pinned_boards(struct scene *scene)
{
    struct raw holder, victim, refused;

    raw_open(&holder, scene->daemon.socket);
    for (int i = 0; i < 3; i++) {
        uint32_t slot;

        raw_open(&victim, scene->daemon.socket);
        slot = victim.slot;
        test_require(raw_board_open(&holder, slot, victim.instance) == 0, "%s", holder.text);
        raw_close(&victim);
        while (raw_counter(&scene->watcher, "sessions") > 3)
            scene_sleep_ms(1);
    }
    raw_connect(&refused, scene->daemon.socket);
    test_require(raw_closed(&refused), "pinned boards cost nothing");
    expect_quota(&refused, refused.error, "user-sessions");
    raw_close(&refused);
    raw_close(&holder);
}

Test(limits, pinned_boards)
{
    play("user-sessions = 6", pinned_boards);
}

static void streams_of_a_user(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (uint32_t i = 0; i < 4; i++) {
        raw_stream_create(&raw, i, 0);
        raw_record(&raw, i);
    }
    test_require(raw_finish(&raw, 2) == XPURT_SUCCESS, "%s", raw.text);
    test_require(raw_finish(&raw, 3) == XPURT_ERROR_QUOTA, "a stream too many");
    raw_settle(&raw);
    expect_quota(&raw, raw.error, "user-streams");
    raw_close(&raw);
}

Test(limits, user_streams)
{
    play("user-streams = 4", streams_of_a_user);
}

static void exports_of_a_user(struct scene *scene)
{
    struct handle handle;
    uint64_t address;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    for (uint32_t i = 0; i < 2; i++) {
        test_require(raw_event_export(&raw, i, &handle) == 0, "%s", raw.text);
        test_require(raw_memory_export(&raw, address + i, &handle) == 0, "%s", raw.text);
    }
    expect_quota(&raw, raw_event_export(&raw, 2, &handle), "user-exports");
    expect_quota(&raw, raw_memory_export(&raw, address + 2, &handle), "user-exports");
    test_require(raw_event_export(&raw, 1, &handle) == 0, "asking again costs nothing");
    raw_event_drop(&raw, 0);
    test_require(raw_event_export(&raw, 2, &handle) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(limits, user_exports)
{
    play("user-exports = 4", exports_of_a_user);
}

static void leases_of_a_user(struct scene *scene)
{
    struct handle event, another, memory;
    uint64_t address;
    struct raw raw, opener;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&opener, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    test_require(raw_event_export(&raw, 0, &event) == 0, "%s", raw.text);
    test_require(raw_event_export(&raw, 1, &another) == 0, "%s", raw.text);
    test_require(raw_memory_export(&raw, address, &memory) == 0, "%s", raw.text);

    test_require(raw_event_open(&opener, &event, NULL, NULL) == 0, "%s", opener.text);
    test_require(raw_memory_open(&opener, &memory, NULL) == 0, "%s", opener.text);
    expect_quota(&opener, raw_event_open(&opener, &another, NULL, NULL), "user-leases");
    expect_quota(&opener, raw_board_open(&opener, scene->witness.slot, opener.instance),
                 "user-leases");
    test_require(raw_memory_open(&opener, &memory, NULL) == 0, "opening again costs nothing");
    raw_memory_free(&opener, address);
    raw_memory_free(&opener, address);
    test_require(raw_event_open(&opener, &another, NULL, NULL) == 0, "%s", opener.text);
    expect_quota(&opener, raw_memory_open(&opener, &memory, NULL), "user-leases");
    raw_close(&opener);
    raw_close(&raw);
}

Test(limits, user_leases)
{
    play("user-leases = 3", leases_of_a_user);
}

static void allocations_of_a_user(struct scene *scene)
{
    uint64_t addresses[3], none;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (int i = 0; i < 3; i++)
        test_require(raw_memory_alloc(&raw, PIECE, &addresses[i]) == 0, "%s", raw.text);
    expect_quota(&raw, raw_memory_alloc(&raw, PIECE, &none), "user-allocations");
    raw_memory_free(&raw, addresses[1]);
    test_require(raw_memory_alloc(&raw, PIECE, &none) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(limits, user_allocations)
{
    play("user-allocations = 4", allocations_of_a_user);
}

static void segments_of_a_user(struct scene *scene)
{
    uint32_t segments[3], none;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (int i = 0; i < 3; i++)
        test_require(raw_host_alloc(&raw, PIECE, &segments[i], NULL) == 0, "%s", raw.text);
    expect_quota(&raw, raw_host_alloc(&raw, PIECE, &none, NULL), "user-segments");
    raw_host_free(&raw, segments[1]);
    test_require(raw_host_alloc(&raw, PIECE, &none, NULL) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(limits, user_segments)
{
    play("user-segments = 4", segments_of_a_user);
}

/* The witness holds 64 KiB. Large pieces take another way through the daemon than small ones. */
static void memory_of_a_user(struct scene *scene)
{
    uint64_t small, large, none;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, 64 << 20, &large) == 0, "%s", raw.text);
    test_require(raw_memory_alloc(&raw, 960 << 10, &small) == 0, "%s", raw.text);
    expect_quota(&raw, raw_memory_alloc(&raw, 1, &none), "user-memory");
    expect_quota(&raw, raw_memory_alloc(&raw, 64 << 20, &none), "user-memory");
    raw_memory_free(&raw, small);
    test_require(raw_memory_alloc(&raw, 960 << 10, &small) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(limits, user_memory)
{
    play("user-memory = 65M", memory_of_a_user);
}

static void host_memory_of_a_user(struct scene *scene)
{
    uint32_t segment, none;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_host_alloc(&raw, 960 << 10, &segment, NULL) == 0, "%s", raw.text);
    expect_quota(&raw, raw_host_alloc(&raw, 1, &none, NULL), "user-host-memory");
    raw_host_free(&raw, segment);
    test_require(raw_host_alloc(&raw, 960 << 10, &segment, NULL) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(limits, user_host_memory)
{
    play("user-host-memory = 1M", host_memory_of_a_user);
}

/* Commands that wait for a record which does not come. */
static void queued_commands(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&raw, 1, 0);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, POINT_VALUE_MAX));
    for (int i = 0; i < 99; i++)
        raw_record(&raw, 0);
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);
    raw_record(&raw, 0);
    test_require(raw_status(&raw, 0) == XPURT_ERROR_QUOTA, "the queue has no end");
    raw_settle(&raw);
    expect_quota(&raw, raw.error, "user-queued");
    raw_close(&raw);
}

Test(limits, user_queued)
{
    play("user-queued = 100", queued_commands);
}

static void queue_half(struct raw *raw, struct scene *scene)
{
    raw_open(raw, scene->daemon.socket);
    raw_stream_create(raw, 0, 0);
    raw_wait(raw, 0, point_pack(raw->slot, 1, raw->values[1] + 1));
    for (int i = 0; i < 48; i++)
        raw_record(raw, 0);
    raw_settle(raw);
    test_require(!raw->errors, "%s", raw->text);
}

/* More processes do not get more; who goes makes room. */
static void queued_by_several(struct scene *scene)
{
    struct raw raw[2], late;

    for (int i = 0; i < 2; i++)
        queue_half(&raw[i], scene);
    raw_open(&late, scene->daemon.socket);
    raw_stream_create(&late, 0, 0);
    raw_wait(&late, 0, point_pack(late.slot, 1, POINT_VALUE_MAX));
    raw_record(&late, 0);
    raw_settle(&late);
    test_require(!late.errors, "%s", late.text);
    raw_record(&late, 0);
    test_require(raw_status(&late, 0) == XPURT_ERROR_QUOTA, "each process has a queue of its own");
    raw_settle(&late);
    expect_quota(&late, late.error, "user-queued");

    raw_stream_destroy(&raw[0], 0);
    raw_stream_create(&raw[0], 1, 0);   /* what waits for its record goes on, the end of it too */
    raw_record(&raw[0], 1);
    test_require(raw_finish(&raw[0], 0) == XPURT_SUCCESS, "%s", raw[0].text);
    raw_close(&raw[1]);
    while (raw_counter(&scene->watcher, "user-queued"))
        scene_sleep_ms(1);
    queue_half(&raw[1], scene);
    for (int i = 0; i < 2; i++)
        raw_close(&raw[i]);
    raw_close(&late);
}

Test(limits, user_queued_by_several)
{
    play("user-queued = 100", queued_by_several);
}

/* What comes last may be the end of the stream: it ends all the same. */
static void queue_full_at_the_end(struct scene *scene)
{
    uint64_t streams;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    streams = raw_counter(&scene->watcher, "streams");
    raw_stream_create(&raw, 0, 0);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, POINT_VALUE_MAX));
    for (int i = 0; i < 99; i++)
        raw_record(&raw, 0);
    raw_stream_destroy(&raw, 0);
    raw_settle(&raw);
    for (int i = 0; raw_counter(&scene->watcher, "streams") != streams; i++) {
        test_require(i < 10000, "a destroyed stream stays");
        scene_sleep_ms(1);
    }
    raw_close(&raw);
}

Test(limits, queue_full_at_the_end)
{
    play("user-queued = 100", queue_full_at_the_end);
}

/* ---- limits that make a client wait ---------------------------------------------------------- */

#define FILLS 200

/* One frame of fills that will not end before the gate is open. */
static size_t fills_make(uint32_t stream, uint64_t address, uint8_t *out)
{
    Xpurt__Location location = XPURT__LOCATION__INIT;
    Xpurt__Fill fill = XPURT__FILL__INIT;
    Xpurt__Command command = { RAW_COMMAND(FILL), .fill = &fill }, *commands[FILLS];
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;
    struct frame_header header = { 0 };

    location.offset = address;
    fill.stream = stream;
    fill.to = &location;
    fill.size = 64;
    fill.width = 4;
    for (size_t i = 0; i < FILLS; i++)
        commands[i] = &command;
    message.n_commands = FILLS;
    message.commands = commands;
    header.length = (uint32_t)xpurt__to_daemon__get_packed_size(&message);
    frame_header_write(out, &header);
    return FRAME_HEADER_SIZE + xpurt__to_daemon__pack(&message, out + FRAME_HEADER_SIZE);
}

#define SPREAD 32                       /* streams: one may have 256 unfinished markers */

/* Until the daemon has read nothing for half a second. Returns how many fills it took. */
static size_t fill_up(struct raw *raw, uint64_t address, uint32_t streams)
{
    static uint8_t frames[SPREAD][FRAME_HEADER_SIZE + 16384];
    size_t sizes[SPREAD], sent = 0;

    for (uint32_t i = 0; i < streams; i++)
        sizes[i] = fills_make(i, address, frames[i]);
    for (uint32_t i = 0;; i = (i + 1) % streams) {
        struct pollfd pollfd = { .fd = raw->fd, .events = POLLOUT };

        if (poll(&pollfd, 1, 500) == 0)
            return sent;                /* it reads no more */
        test_require(raw_send(raw, frames[i], sizes[i]) == 0, "it hung up: %s", raw->text);
        sent += FILLS;
        test_require(sent < 1000000, "it takes in any number of commands");
    }
}

/* The GPU is slower than the client: the daemon takes in what it can keep, nobody else waits,
 * nothing is lost. */
Test(limits, a_client_ahead_of_the_gpu)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    uint8_t frame[FRAME_HEADER_SIZE + 16384];
    struct books before;
    uint64_t address;
    struct raw raw;
    size_t size;

    test_require(scene, "out of memory");
    scene_begin_gated(scene);
    books_read(scene, &before);
    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    size = fills_make(0, address, frame);
    test_require(size < sizeof(frame), "%zu bytes", size);
    fill_up(&raw, address, 1);
    witness_check(scene);
    test_gate_open(&scene->daemon);
    for (int i = 0; i < 10; i++)
        test_require(raw_send(&raw, frame, size) == 0, "it hung up: %s", raw.text);
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);
    raw_close(&raw);
    books_check(scene, &before);
    scene_end(scene);
    free(scene);
}

#define AHEAD 5

/* Several processes of a user together: no more than twice what the user may have. Those who use
 * little are heard all the time, and in the end all goes on. */
Test(limits, several_clients_ahead_of_the_gpu)
{
    const size_t limit = 262144;        /* user-unfinished */
    struct scene *scene = calloc(1, sizeof(*scene));
    struct raw raw[AHEAD], modest;
    uint64_t address, closed;
    struct books before;
    size_t taken = 0;

    test_require(scene, "out of memory");
    scene_begin_gated(scene);
    books_read(scene, &before);
    raw_open(&modest, scene->daemon.socket);
    test_require(raw_memory_alloc(&modest, PIECE, &address) == 0, "%s", modest.text);
    raw_stream_create(&modest, 0, 0);
    raw_fill(&modest, 0, 0, address, 64, 0, 4);
    closed = raw_record(&modest, 0);    /* the gate: a device has few threads that could hang */
    raw_settle(&modest);
    for (int i = 0; i < AHEAD; i++) {
        raw_open(&raw[i], scene->daemon.socket);
        test_require(raw_memory_alloc(&raw[i], PIECE, &address) == 0, "%s", raw[i].text);
        for (uint32_t stream = 0; stream < SPREAD; stream++) {
            raw_stream_create(&raw[i], stream, 0);
            raw_wait(&raw[i], stream, closed);
        }
        taken += fill_up(&raw[i], address, SPREAD);
    }
    test_require(taken > limit && taken < 2 * limit + AHEAD * 10000, "%zu fills", taken);

    for (int i = 0; i < 50; i++) {
        raw_record(&modest, 0);
        raw_settle(&modest);
    }
    witness_check(scene);
    test_gate_open(&scene->daemon);
    for (int i = 0; i < AHEAD; i++) {
        raw_record(&raw[i], 0);
        test_require(raw_finish(&raw[i], 0) == XPURT_SUCCESS, "%s", raw[i].text);
        raw_settle(&raw[i]);
        test_require(!raw[i].errors, "%s", raw[i].text);
        raw_close(&raw[i]);
    }
    raw_close(&modest);
    books_check(scene, &before);
    scene_end(scene);
    free(scene);
}

/* ---- descriptors on their way ------------------------------------------------------------------- */

/* The kernel counts those of all clients together: one that never reads is given up early. */
static void unread_descriptors(struct scene *scene)
{
    Xpurt__BoardOpen open = XPURT__BOARD_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(BOARD_OPEN), .board_open = &open };
    unsigned n = 0;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    open.slot = raw.slot;
    open.instance = (ProtobufCBinaryData){ sizeof(raw.instance), raw.instance };
    request.serial = 1000;
    for (int i = 0; i < 200 && raw_send_message(&raw, &request) == 0; i++)
        ;
    for (int ms = 0; raw_counter(&scene->watcher, "sessions") > 2; ms++) {
        test_require(ms < 10000, "it may leave as many unread as it likes");
        scene_sleep_ms(1);
    }
    while (raw_receive(&raw, 30000) == RAW_FRAME)
        n += raw.fds.count;
    test_require(n && n < 100, "%u descriptors were on their way", n);
    raw_close(&raw);
}

Test(limits, unread_descriptors)
{
    scene_play(unread_descriptors, 3);
}
