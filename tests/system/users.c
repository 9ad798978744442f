/* SPDX-License-Identifier: MIT */
/* tests/system/users.c: one user's sessions against another's. Root only: it becomes somebody. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(users, .timeout = 300);

/* What the other user is given; the last field says what it shall do with it. */
struct loot {
    char socket[96];
    struct handle event, memory;
    uint64_t address, point, future;
    uint32_t slot;
    uint8_t instance[16];
    uid_t uid;
    gid_t gid;
};

static void become(const struct loot *loot)
{
    test_require(setgroups(0, NULL) == 0 && setgid(loot->gid) == 0 && setuid(loot->uid) == 0,
                 "cannot become another user: %s", strerror(errno));
}

/* Stream 0 fails with PERMISSION when it waits for @p point. */
static void expect_no_wait(struct raw *raw, uint32_t stream, uint64_t point)
{
    raw_stream_create(raw, stream, 0);
    raw_wait(raw, stream, point);
    test_require(raw_status(raw, stream) == XPURT_ERROR_PERMISSION, "status %d",
                 (int)raw_status(raw, stream));
}

/* Nor is there a handle to map it by. */
static void expect_no_handle(struct raw *raw, uint64_t address)
{
    Xpurt__MemoryNative native = XPURT__MEMORY_NATIVE__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_NATIVE), .memory_native = &native };

    native.address = address;
    test_require(raw_result(raw, &request) == XPURT_ERROR_INVALID_ADDRESS, "%s", raw->text);
    test_require(raw->fds.count == 0, "a descriptor came");
}

static void steal(int channel, void *data)
{
    const struct loot *loot = data;
    static struct raw raw;
    uint64_t address;
    uint32_t others;
    bool lost;
    int fd;

    become(loot);
    test_await(channel);
    raw_open(&raw, loot->socket);
    test_require(raw_event_open(&raw, &loot->event, NULL, NULL) == XPURT_ERROR_PERMISSION, "%s",
                 raw.text);
    test_require(raw_memory_open(&raw, &loot->memory, &address) == XPURT_ERROR_PERMISSION, "%s",
                 raw.text);
    test_require(raw_board_open(&raw, loot->slot, loot->instance) == XPURT_ERROR_PERMISSION, "%s",
                 raw.text);
    test_require(raw_point_poll(&raw, loot->point, &fd) == XPURT_ERROR_PERMISSION, "%s", raw.text);
    test_require(raw_point_poll(&raw, loot->future, &fd) == XPURT_ERROR_PERMISSION, "%s", raw.text);
    test_require(raw_event_sharers(&raw, loot->slot, 0, &others, &lost) ==
                     XPURT_ERROR_INVALID_HANDLE,
                 "%s", raw.text);
    expect_no_wait(&raw, 0, loot->point);
    expect_no_wait(&raw, 1, loot->future);

    /* An address of theirs is as good as none; a fault would be worse. */
    test_require(raw_memory_alloc(&raw, 4096, &address) == 0, "%s", raw.text);
    raw_stream_create(&raw, 2, 0);
    raw_copy(&raw, 2, 0, address, 0, loot->address, 4096);
    test_require(raw_status(&raw, 2) == XPURT_ERROR_INVALID_ADDRESS, "their memory was read");
    raw_stream_create(&raw, 3, 0);
    raw_fill(&raw, 3, 0, loot->address, 4096, 0, 1);
    test_require(raw_status(&raw, 3) == XPURT_ERROR_INVALID_ADDRESS, "their memory was written");
    expect_no_handle(&raw, loot->address);

    /* Its own things work, and its counters count only its own. */
    raw_stream_create(&raw, 4, 1);
    raw_fill(&raw, 4, 0, address, 4096, 1, 1);
    raw_record(&raw, 4);
    test_require(raw_finish(&raw, 4) == XPURT_SUCCESS, "%s", raw.text);
    test_require(raw_counter(&raw, "user-sessions") == 1, "it pays for other users' sessions");
    test_require(raw_counter(&raw, "user-memory") == 4096, "it pays for other users' memory");
    raw_close(&raw);
}

static void another_user(struct scene *scene)
{
    const struct passwd *nobody = getpwnam("nobody");
    struct test_peer thief;
    struct loot loot = { .uid = nobody->pw_uid, .gid = nobody->pw_gid };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    snprintf(loot.socket, sizeof(loot.socket), "%s", scene->daemon.socket);
    loot.slot = raw.slot;
    memcpy(loot.instance, raw.instance, sizeof(loot.instance));
    test_require(raw_memory_alloc(&raw, 65536, &loot.address) == 0, "%s", raw.text);
    test_require(raw_memory_export(&raw, loot.address, &loot.memory) == 0, "%s", raw.text);
    test_require(raw_event_export(&raw, 0, &loot.event) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&raw, 1, 0);
    raw_wait(&raw, 0, point_pack(raw.slot, 1, POINT_VALUE_MAX));
    loot.point = raw_record(&raw, 0);
    loot.future = loot.point + 1000;
    raw_settle(&raw);

    test_peer_start(&thief, steal, &loot);
    test_pass(thief.channel);
    test_peer_join(&thief);
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);
    raw_close(&raw);
}

Test(users, another_user)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    if (geteuid() != 0 || !getpwnam("nobody"))
        cr_skip_test("only root can become another user");
    test_require(scene, "out of memory");
    scene_begin(scene, NULL);
    test_require(chmod(scene->daemon.dir, 0711) == 0, "%s", strerror(errno));
    scene_attack(scene, another_user, 5);
    scene_end(scene);
    free(scene);
}

/* What one user fills up is not missing for another. */
static void take_all(int channel, void *data)
{
    const struct loot *loot = data;
    static struct raw raw[8];
    uint64_t address;
    int n = 0;

    become(loot);
    test_await(channel);
    for (; n < 6; n++)
        raw_open(&raw[n], loot->socket);
    raw_connect(&raw[7], loot->socket);
    test_require(raw_closed(&raw[7]) && raw[7].error == XPURT_ERROR_QUOTA, "no limit");
    while (raw_memory_alloc(&raw[0], 4096, &address) == XPURT_SUCCESS)
        ;
    test_require(raw[0].error == XPURT_ERROR_QUOTA, "%s", raw[0].text);
    test_pass(channel);
    test_await(channel);
}

static void greedy_user(struct scene *scene)
{
    const struct passwd *nobody = getpwnam("nobody");
    struct loot loot = { .uid = nobody->pw_uid, .gid = nobody->pw_gid };
    struct test_peer thief;
    uint64_t address;
    struct raw raw;

    snprintf(loot.socket, sizeof(loot.socket), "%s", scene->daemon.socket);
    test_peer_start(&thief, take_all, &loot);
    test_pass(thief.channel);
    test_await(thief.channel);
    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, 4096, &address) == 0, "%s", raw.text);
    raw_close(&raw);
    test_peer_kill(&thief);
}

Test(users, greedy_user)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    if (geteuid() != 0 || !getpwnam("nobody"))
        cr_skip_test("only root can become another user");
    test_require(scene, "out of memory");
    scene_begin(scene, "user-sessions = 6\nuser-allocations = 10");
    test_require(chmod(scene->daemon.dir, 0711) == 0, "%s", strerror(errno));
    scene_attack(scene, greedy_user, 3);
    scene_end(scene);
    free(scene);
}
