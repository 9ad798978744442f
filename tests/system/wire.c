/* SPDX-License-Identifier: MIT */
/* tests/system/wire.c: bytes that are not what the protocol says. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(wire, .timeout = 300);

/* The daemon closes this client and says why: PROTOCOL. */
static void expect_refused(struct raw *raw)
{
    test_require(raw_closed(raw), "the daemon goes on with a client that breaks the protocol");
    test_require(raw->errors && raw->error == XPURT_ERROR_PROTOCOL,
                 "it was closed without a reason");
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void random_bytes(struct scene *scene)
{
    static unsigned seed = 1;
    uint8_t bytes[4096];

    for (int i = 0; i < 20; i++) {
        struct raw raw;

        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (uint8_t)rand_r(&seed);
        raw_connect(&raw, scene->daemon.socket);
        (void)raw_send(&raw, bytes, sizeof(bytes));
        test_require(raw_closed(&raw), "the daemon waits for the rest of random bytes");
        raw_close(&raw);
    }
}

Test(wire, random_bytes)
{
    scene_play(random_bytes, 5);
}

/* A header that holds, random bytes behind it: decoded, never run. */
static void random_payload(struct scene *scene)
{
    static unsigned seed = 2;
    uint8_t bytes[3000];

    for (int i = 0; i < 20; i++) {
        struct raw raw;

        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (uint8_t)rand_r(&seed);
        raw_connect(&raw, scene->daemon.socket);
        (void)raw_send_frame(&raw, bytes, sizeof(bytes));
        expect_refused(&raw);
        raw_close(&raw);
    }
}

Test(wire, random_payload)
{
    scene_play(random_payload, 5);
}

static void claims_4_gib(struct scene *scene)
{
    static const uint32_t lengths[] = { UINT32_MAX, 0x80000000u, FRAME_PAYLOAD_MAX + 1 };

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct frame_header header = { .length = lengths[i] };
        uint8_t bytes[FRAME_HEADER_SIZE];
        struct raw raw;

        raw_open(&raw, scene->daemon.socket);
        frame_header_write(bytes, &header);
        raw_send(&raw, bytes, sizeof(bytes));
        expect_refused(&raw);
        raw_close(&raw);
    }
}

Test(wire, claims_4_gib)
{
    scene_play(claims_4_gib, 5);
}

static void unknown_flags(struct scene *scene)
{
    struct frame_header header = { .flags = 0x8000 };
    uint8_t bytes[FRAME_HEADER_SIZE];
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    frame_header_write(bytes, &header);
    raw_send(&raw, bytes, sizeof(bytes));
    expect_refused(&raw);
    raw_close(&raw);
}

Test(wire, unknown_flags)
{
    scene_play(unknown_flags, 3);
}

/* A frame of every kind of command, with a request at its end. */
static size_t frame_make(uint8_t bytes[FRAME_HEADER_SIZE + 512])
{
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Wait wait = XPURT__WAIT__INIT;
    Xpurt__Location location = XPURT__LOCATION__INIT;
    Xpurt__Fill fill = XPURT__FILL__INIT;
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;
    Xpurt__Command commands[] = {
        { RAW_COMMAND(STREAM_CREATE), .stream_create = &create },
        { RAW_COMMAND(RECORD), .record = &record },
        { RAW_COMMAND(WAIT), .wait = &wait },
        { RAW_COMMAND(FILL), .fill = &fill },
        { RAW_COMMAND(MEMORY_FREE), .memory_free = &memory_free },
    };
    Xpurt__Command *pointers[5];
    Xpurt__EventExport export = XPURT__EVENT_EXPORT__INIT;
    Xpurt__ToDaemon message = { RAW_REQUEST(EVENT_EXPORT), .event_export = &export };
    struct frame_header header = { 0 };

    record.value = 1;
    wait.point = 77;
    fill.to = &location;
    fill.size = 4096;
    fill.width = 4;
    memory_free.address = UINT64_MAX;
    for (size_t i = 0; i < 5; i++)
        pointers[i] = &commands[i];
    message.n_commands = 5;
    message.commands = pointers;
    message.serial = 9;
    header.length = (uint32_t)xpurt__to_daemon__get_packed_size(&message);
    frame_header_write(bytes, &header);
    return FRAME_HEADER_SIZE + xpurt__to_daemon__pack(&message, bytes + FRAME_HEADER_SIZE);
}

static void cut_everywhere(struct scene *scene)
{
    uint8_t bytes[FRAME_HEADER_SIZE + 512];
    size_t size = frame_make(bytes);

    for (size_t cut = 0; cut <= size; cut++) {
        struct raw raw;

        raw_open(&raw, scene->daemon.socket);
        raw_send(&raw, bytes, cut);
        raw_close(&raw);
    }
}

Test(wire, cut_everywhere)
{
    scene_play(cut_everywhere, 3);
}

/* A frame cut in two is still one frame, wherever the cut is. */
static void split_everywhere(struct scene *scene)
{
    uint8_t bytes[FRAME_HEADER_SIZE + 512];
    size_t size = frame_make(bytes);

    for (size_t cut = 1; cut < size; cut++) {
        struct raw raw;

        raw_open(&raw, scene->daemon.socket);
        raw_send(&raw, bytes, cut);
        if (cut % 8 == 0)
            raw_counter(&scene->watcher, "frames"); /* the daemon has seen the first half */
        raw_send(&raw, bytes + cut, size - cut);
        do {
            test_require(raw_receive(&raw, 30000) == RAW_FRAME, "no answer to a frame in halves");
        } while (raw.reply->serial != 9);
        test_require(raw.reply->reply_case == XPURT__TO_CLIENT__REPLY_HANDLE, "%s", raw.text);
        raw_close(&raw);
    }
}

Test(wire, split_everywhere)
{
    scene_play(split_everywhere, 2);
}

/* Nested deeper than any message; a million tiny commands; fields nobody knows. */
static void odd_protobuf(struct scene *scene)
{
    uint8_t *payload = calloc(1, FRAME_PAYLOAD_MAX);
    struct raw raw;

    test_require(payload, "out of memory");
    raw_open(&raw, scene->daemon.socket);
    raw_send_frame(&raw, "", 0);        /* nothing at all is nothing wrong */

    for (size_t i = 0; i + 2 <= 4000; i += 2)
        memcpy(payload + i, "\x0a\x00", 2); /* commands without a body */
    raw_send_frame(&raw, payload, 4000);
    raw_settle(&raw);
    test_require(raw.error == XPURT_ERROR_UNSUPPORTED, "%s", raw.text);

    for (size_t i = 0; i + 3 <= 3000; i += 3)
        memcpy(payload + i, "\xf8\x3f\x01", 3); /* field 1023, a varint */
    raw_send_frame(&raw, payload, 3000);
    raw_settle(&raw);

    for (size_t i = 0; i + 2 <= FRAME_PAYLOAD_MAX; i += 2)
        memcpy(payload + i, "\x0a\x00", 2);
    raw_send_frame(&raw, payload, FRAME_PAYLOAD_MAX); /* within the budget or refused */
    raw_close(&raw);

    raw_open(&raw, scene->daemon.socket);
    memset(payload, 0x0a, 200);         /* lengths that run out of the frame */
    raw_send_frame(&raw, payload, 199);
    expect_refused(&raw);
    raw_close(&raw);
    free(payload);
}

Test(wire, odd_protobuf)
{
    scene_play(odd_protobuf, 5);
}

/* ---- order and versions ---------------------------------------------------------------------- */

static void before_hello(struct scene *scene)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(STATS), .stats = &stats };
    Xpurt__ToDaemon unknown = XPURT__TO_DAEMON__INIT;
    struct raw raw;

    raw_connect(&raw, scene->daemon.socket);
    request.serial = 1;
    raw_send_message(&raw, &request);
    expect_refused(&raw);
    raw_close(&raw);

    raw_connect(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    expect_refused(&raw);
    raw_close(&raw);

    raw_connect(&raw, scene->daemon.socket);
    unknown.serial = 1;
    raw_send_message(&raw, &unknown);
    expect_refused(&raw);
    raw_close(&raw);

    raw_connect(&raw, scene->daemon.socket);
    raw_send_frame(&raw, "", 0);
    expect_refused(&raw);
    raw_close(&raw);
}

Test(wire, before_hello)
{
    scene_play(before_hello, 5);
}

static void hello_twice(struct scene *scene)
{
    Xpurt__Hello hello = XPURT__HELLO__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(HELLO), .hello = &hello };
    struct raw raw;

    hello.major = FRAME_MAJOR;
    raw_open(&raw, scene->daemon.socket);
    request.serial = 5;
    raw_send_message(&raw, &request);
    expect_refused(&raw);
    raw_close(&raw);
}

Test(wire, hello_twice)
{
    scene_play(hello_twice, 5);
}

static void wrong_version(struct scene *scene)
{
    static const uint32_t majors[] = { 0, FRAME_MAJOR + 1, UINT32_MAX };

    for (size_t i = 0; i < 3; i++) {
        Xpurt__Hello hello = XPURT__HELLO__INIT;
        Xpurt__ToDaemon request = { RAW_REQUEST(HELLO), .hello = &hello };
        struct raw raw;

        hello.major = majors[i];
        raw_connect(&raw, scene->daemon.socket);
        request.serial = 5;
        raw_send_message(&raw, &request);
        expect_refused(&raw);
        test_require(strstr(raw.text, "protocol"), "it does not say what is wrong: %s", raw.text);
        raw_close(&raw);
    }
}

Test(wire, wrong_version)
{
    scene_play(wrong_version, 5);
}

/* A later client asks what this daemon does not know: it is told so, and goes on. */
static void unknown_request(struct scene *scene)
{
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_send_frame(&raw, "\x10\x21\xf2\x3f\x00", 5); /* serial 33, field 1022, empty */
    test_require(raw_receive(&raw, 30000) == RAW_FRAME, "no answer to an unknown request");
    test_require(raw.reply->serial == 33 && raw.error == XPURT_ERROR_UNSUPPORTED, "%s", raw.text);

    raw_send_frame(&raw, "\x0a\x03\xf2\x3f\x00", 5); /* a command: field 1022, empty */
    raw_settle(&raw);
    test_require(raw.errors == 2 && raw.error == XPURT_ERROR_UNSUPPORTED, "%s", raw.text);

    raw_send_message(&raw, &message);   /* neither request nor serial: nothing */
    raw_settle(&raw);
    raw_close(&raw);
}

Test(wire, unknown_request)
{
    scene_play(unknown_request, 5);
}

static void request_without_serial(struct scene *scene)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(STATS), .stats = &stats };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_send_message(&raw, &request);
    expect_refused(&raw);
    raw_close(&raw);
}

Test(wire, request_without_serial)
{
    scene_play(request_without_serial, 5);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void send_descriptors(struct scene *scene, unsigned n, unsigned announced, bool request)
{
    static const uint8_t stats[] = { 0x10, 0x01, 0x6a, 0x00 }; /* serial 1, Stats */
    struct frame_header header = { .length = request ? sizeof(stats) : 0,
                                   .fds = (uint16_t)announced };
    uint8_t bytes[FRAME_HEADER_SIZE + sizeof(stats)];
    int fds[250], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct raw raw;

    for (unsigned i = 0; i < n; i++)
        fds[i] = null;
    raw_open(&raw, scene->daemon.socket);
    frame_header_write(bytes, &header);
    memcpy(bytes + FRAME_HEADER_SIZE, stats, sizeof(stats));
    if (n)
        raw_send_fds(&raw, bytes, FRAME_HEADER_SIZE + header.length, fds, n);
    else
        raw_send(&raw, bytes, FRAME_HEADER_SIZE + header.length);
    expect_refused(&raw);
    raw_close(&raw);
    close(null);
}

static void descriptors_where_none_belong(struct scene *scene)
{
    send_descriptors(scene, 1, 1, true);
    send_descriptors(scene, 1, 1, false);
    send_descriptors(scene, 4, 4, true);
    send_descriptors(scene, 1, 0, true); /* not announced */
    send_descriptors(scene, 1, 0, false);
    send_descriptors(scene, 0, 1, true); /* announced, not sent */
    send_descriptors(scene, 1, 2, true);
    send_descriptors(scene, 5, 4, true);
    send_descriptors(scene, 5, 5, true);
}

Test(wire, descriptors_where_none_belong)
{
    scene_play(descriptors_where_none_belong, 5);
}

static void descriptors_250_at_once(struct scene *scene)
{
    send_descriptors(scene, 250, 0, true);
    send_descriptors(scene, 250, 250, true);
    send_descriptors(scene, 250, 4, false);
}

Test(wire, descriptors_250_at_once)
{
    scene_play(descriptors_250_at_once, 5);
}

/* Four for each byte of a header, which never comes to its end. */
static void descriptors_drip(struct scene *scene)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[4] = { null, null, null, null };
    uint8_t bytes[FRAME_HEADER_SIZE] = { 0 };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (size_t i = 0; i < sizeof(bytes) - 1; i++)
        if (raw_send_fds(&raw, bytes + i, 1, fds, 4) < 0)
            break;
    expect_refused(&raw);
    raw_close(&raw);
    close(null);
}

Test(wire, descriptors_drip)
{
    scene_play(descriptors_drip, 5);
}
