/* SPDX-License-Identifier: MIT */
/* tests/system/crowd.c: clients that do not read, do not speak, or come all at once. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(crowd, .timeout = 300);

/* ---- does not read --------------------------------------------------------------------------- */

/* Ask again and again with one and the same frame, until the daemon has enough. Meanwhile it must
 * not open more than a few hundred descriptors for that. */
static void ask_without_reading(struct scene *scene, struct raw *raw, const uint8_t *payload,
                                size_t size)
{
    unsigned descriptors = scene_descriptors(scene);
    uint8_t frames[64 * 64];
    struct frame_header header = { .length = (uint32_t)size };
    size_t filled = 0;

    while (filled + FRAME_HEADER_SIZE + size <= sizeof(frames)) {
        frame_header_write(frames + filled, &header);
        memcpy(frames + filled + FRAME_HEADER_SIZE, payload, size);
        filled += FRAME_HEADER_SIZE + size;
    }
    for (int i = 0; i < 100000; i++) {
        if (raw_send(raw, frames, filled) < 0)
            return;
        test_require(scene_descriptors(scene) < descriptors + 300, "too many descriptors: %u",
                     scene_descriptors(scene));
    }
    test_require(false, "the daemon never gives up a client that does not read");
}

static void never_reads(struct scene *scene)
{
    static const uint8_t stats[] = { 0x10, 0x01, 0x6a, 0x00 };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    ask_without_reading(scene, &raw, stats, sizeof(stats));
    raw_close(&raw);
}

Test(crowd, never_reads)
{
    scene_play(never_reads, 3);
}

/* The answers carry descriptors: the daemon must not run out of them. */
static void never_reads_descriptors(struct scene *scene)
{
    Xpurt__BoardOpen board = XPURT__BOARD_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(BOARD_OPEN), .board_open = &board };
    uint8_t payload[64];
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    board.slot = raw.slot;
    board.instance = (ProtobufCBinaryData){ sizeof(raw.instance), raw.instance };
    request.serial = 1;
    ask_without_reading(scene, &raw, payload, xpurt__to_daemon__pack(&request, payload));
    raw_close(&raw);
}

Test(crowd, never_reads_descriptors)
{
    scene_play(never_reads_descriptors, 3);
}

/* Errors to which nobody listens: dropped, and the client may go on. */
static void never_reads_errors(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (int i = 0; i < 30000; i++)
        raw_stream_destroy(&raw, 5);
    raw_settle(&raw);
    test_require(raw.errors > 0 && raw.error == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    raw_close(&raw);
}

Test(crowd, never_reads_errors)
{
    scene_play(never_reads_errors, 3);
}

/* ---- does not speak -------------------------------------------------------------------------- */

static void says_nothing(struct scene *scene)
{
    uint8_t half[3] = { 0 };
    struct raw silent, slow;

    raw_connect(&silent, scene->daemon.socket);
    raw_connect(&slow, scene->daemon.socket);
    raw_send(&slow, half, sizeof(half)); /* half a header is nothing either */
    test_require(raw_closed(&silent) && silent.error == XPURT_ERROR_PROTOCOL, "%s", silent.text);
    test_require(raw_closed(&slow) && slow.error == XPURT_ERROR_PROTOCOL, "%s", slow.text);
    raw_close(&silent);
    raw_close(&slow);
}

Test(crowd, says_nothing)
{
    struct scene scene;
    struct raw quiet;

    scene_begin(&scene, "hello-timeout-ms = 100");
    raw_open(&quiet, scene.daemon.socket); /* said Hello, then nothing: that is fine */
    scene_attack(&scene, says_nothing, 5);
    raw_settle(&quiet);
    test_require(!quiet.errors, "%s", quiet.text);
    raw_close(&quiet);
    scene_end(&scene);
}

/* ---- all at once ----------------------------------------------------------------------------- */

#define CROWD 1000

static void descriptors_allow(unsigned n)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < n)
        cr_skip_test("this machine allows too few descriptors");
}

static void a_thousand_connections(struct scene *scene)
{
    struct raw *crowd = calloc(CROWD, sizeof(*crowd));

    test_require(crowd, "out of memory");
    for (int i = 0; i < CROWD; i++)
        raw_connect(&crowd[i], scene->daemon.socket);
    witness_check(scene);
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    free(crowd);
}

Test(crowd, a_thousand_connections)
{
    descriptors_allow(6 * CROWD);
    scene_play(a_thousand_connections, 3);
}

/* Each with a session, a stream and work. */
static void a_thousand_sessions(struct scene *scene)
{
    struct raw *crowd = calloc(CROWD, sizeof(*crowd));

    test_require(crowd, "out of memory");
    for (int i = 0; i < CROWD; i++) {
        raw_open(&crowd[i], scene->daemon.socket);
        raw_stream_create(&crowd[i], 0, 0);
        raw_record(&crowd[i], 0);
    }
    for (int i = 0; i < CROWD; i++)
        test_require(raw_finish(&crowd[i], 0) == XPURT_SUCCESS, "%s", crowd[i].text);
    test_require(raw_counter(&scene->watcher, "sessions") == CROWD + 2, "not everybody is there");
    witness_check(scene);
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    free(crowd);
}

Test(crowd, a_thousand_sessions)
{
    descriptors_allow(6 * CROWD);
    scene_play(a_thousand_sessions, 2);
}

/* The daemon has no descriptors left: newcomers are turned away, those inside work on, and later
 * there is room again. */
Test(crowd, no_descriptors_left)
{
    const struct rlimit few = { .rlim_cur = 64, .rlim_max = 64 };
    struct rlimit before;
    struct books books;
    struct scene scene;
    struct raw crowd[60];
    int turned_away = 0;

    getrlimit(RLIMIT_NOFILE, &before);
    test_require(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, before.rlim_max }) == 0, "limit");
    scene_begin(&scene, NULL);
    test_require(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &few, NULL) == 0, "prlimit");
    setrlimit(RLIMIT_NOFILE, &before);
    books_read(&scene, &books);

    for (int i = 0; i < 60; i++)
        raw_connect(&crowd[i], scene.daemon.socket);
    witness_check(&scene);
    raw_counter(&scene.watcher, "sessions");
    for (int i = 0; i < 60; i++)
        turned_away += poll(&(struct pollfd){ .fd = crowd[i].fd, .events = POLLIN }, 1, 0) == 1;
    test_require(turned_away > 0, "a daemon with 64 descriptors took 60 more");
    for (int i = 0; i < 60; i++)
        raw_close(&crowd[i]);
    books_check(&scene, &books);
    raw_open(&crowd[0], scene.daemon.socket);
    raw_close(&crowd[0]);
    scene_end(&scene);
}

/* Not even one descriptor to turn somebody away with: newcomers wait until there are some, those
 * inside work on, and the daemon does not look at the queue of newcomers again and again. */
Test(crowd, less_than_no_descriptors_left)
{
    struct rlimit before, none;
    struct books books;
    struct scene scene;
    struct raw late;
    uint64_t used;

    scene_begin(&scene, NULL);
    test_require(prlimit(scene.daemon.pid, RLIMIT_NOFILE, NULL, &before) == 0, "prlimit");
    books_read(&scene, &books);
    none = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
    test_require(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &none, NULL) == 0, "prlimit");

    raw_connect(&late, scene.daemon.socket);
    used = scene_cpu_ms(&scene);
    for (int i = 0; i < 4; i++) {
        witness_check(&scene);
        scene_sleep_ms(250);
    }
    used = scene_cpu_ms(&scene) - used;
    test_require(used < 600, "it used %llu ms of a second, and there was nothing to do",
                 (unsigned long long)used);
    test_require(poll(&(struct pollfd){ .fd = late.fd, .events = POLLIN }, 1, 0) == 0,
                 "it does not wait");

    test_require(prlimit(scene.daemon.pid, RLIMIT_NOFILE, &before, NULL) == 0, "prlimit");
    raw_close(&late);
    raw_open(&late, scene.daemon.socket);
    raw_close(&late);
    books_check(&scene, &books);
    scene_end(&scene);
}

/* ---- and then nobody ------------------------------------------------------------------------- */

/* How often threads of the daemon went to sleep, all in all. */
static unsigned long sleeps_count(pid_t pid)
{
    unsigned long sum = 0;
    char path[64], line[128];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    folder = opendir(path);
    test_require(folder, "%s: %s", path, strerror(errno));
    while ((entry = readdir(folder))) {
        unsigned long n;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", (int)pid, entry->d_name);
        file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file))
            if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
                sum += n;
        if (file)
            fclose(file);
    }
    closedir(folder);
    return sum;
}

#define STREAMS 16

/* Work that is done just when somebody looks: whoever is woken for it must go to sleep again. */
Test(crowd, idle_after_much_work)
{
    struct test_daemon daemon;
    uint64_t address;
    struct raw raw;

    test_daemon_start(&daemon, NULL);
    raw_open(&raw, daemon.socket);
    test_require(raw_memory_alloc(&raw, STREAMS << 17, &address) == 0, "%s", raw.text);
    for (uint32_t i = 0; i < STREAMS; i++)
        raw_stream_create(&raw, i, 0);
    for (int round = 0; round < 300; round++)
        for (uint32_t i = 0; i < STREAMS; i++) {
            raw_fill(&raw, i, 0, address + (i << 17), 40000, 0, 4);
            raw_record(&raw, i);
        }
    for (uint32_t i = 0; i < STREAMS; i++)
        test_require(raw_finish(&raw, i) == XPURT_SUCCESS, "%s", raw.text);

    /* Whatever still runs has ended when the number stands still. */
    for (int i = 0;; i++) {
        unsigned long before = sleeps_count(daemon.pid);

        test_require(i < 50, "the daemon is woken again and again, and there is nothing to do");
        scene_sleep_ms(200);
        if (sleeps_count(daemon.pid) == before)
            break;
    }
    raw_close(&raw);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not leave with status 0");
}
