/* SPDX-License-Identifier: MIT */
/* tests/system/native.c: native slots of external streams, used rightly and wrongly. */
#include "proto/native.h"
#include "tests/support/native.h"
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(native, .timeout = 300);

#define WILD UINT32_MAX

/* A client with a native board; it opens none of the pools on a device unless it has to signal. */
struct member {
    struct raw raw;
    struct board_native *board;
    uint32_t slot;                      /* of the session */
};

/* ---- what clients say ----------------------------------------------------------------------------- */

static xpurt_result native_open(struct raw *raw, uint32_t owner)
{
    Xpurt__NativeOpen open = XPURT__NATIVE_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(NATIVE_OPEN), .native_open = &open };

    open.owner = owner;
    return raw_result(raw, &request);
}

static xpurt_result pool_open(struct raw *raw, uint32_t owner, uint32_t pool)
{
    Xpurt__NativePoolOpen open = XPURT__NATIVE_POOL_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(NATIVE_POOL_OPEN), .native_pool_open = &open };

    open.owner = owner;
    open.pool = pool;
    return raw_result(raw, &request);
}

static xpurt_result memory_native(struct raw *raw, uint64_t address)
{
    Xpurt__MemoryNative native = XPURT__MEMORY_NATIVE__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_NATIVE), .memory_native = &native };

    native.address = address;
    return raw_result(raw, &request);
}

static void native_close(struct raw *raw, uint32_t owner)
{
    Xpurt__NativeClose native_close = XPURT__NATIVE_CLOSE__INIT;

    native_close.owner = owner;
    raw_send_command(raw,
                     &(Xpurt__Command){ RAW_COMMAND(NATIVE_CLOSE), .native_close = &native_close });
}

static void native_signal(struct raw *raw, uint32_t slot, uint64_t point)
{
    Xpurt__NativeSignal native_signal = XPURT__NATIVE_SIGNAL__INIT;

    native_signal.slot = slot;
    native_signal.point = point;
    raw_send_command(
        raw, &(Xpurt__Command){ RAW_COMMAND(NATIVE_SIGNAL), .native_signal = &native_signal });
}

static void native_release(struct raw *raw, uint32_t slot)
{
    Xpurt__NativeRelease release = XPURT__NATIVE_RELEASE__INIT;

    release.slot = slot;
    raw_send_command(raw,
                     &(Xpurt__Command){ RAW_COMMAND(NATIVE_RELEASE), .native_release = &release });
}

static void external_create(struct raw *raw, uint32_t stream, uint32_t device)
{
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;

    create.stream = stream;
    create.device = device;
    create.external = true;
    raw_send_command(raw,
                     &(Xpurt__Command){ RAW_COMMAND(STREAM_CREATE), .stream_create = &create });
    raw->values[stream] = raw->progress->timelines[stream].last;
    if (raw->values[stream] < raw->progress->header.base)
        raw->values[stream] = raw->progress->header.base;
}

/* The point recorded. */
static uint64_t external_record(struct raw *raw, uint32_t stream, uint32_t slot)
{
    Xpurt__ExternalRecord record = XPURT__EXTERNAL_RECORD__INIT;

    record.stream = stream;
    record.value = ++raw->values[stream];
    record.slot = slot;
    raw_send_command(raw,
                     &(Xpurt__Command){ RAW_COMMAND(EXTERNAL_RECORD), .external_record = &record });
    return point_pack(raw->slot, stream, record.value);
}

static void external_wait(struct raw *raw, uint32_t stream, uint64_t point, uint32_t owner,
                          uint32_t slot, uint32_t pin)
{
    Xpurt__ExternalWait wait = XPURT__EXTERNAL_WAIT__INIT;

    wait.stream = stream;
    wait.point = point;
    wait.owner = owner;
    wait.slot = slot;
    wait.pin = pin;
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(EXTERNAL_WAIT), .external_wait = &wait });
}

/* ---- members -------------------------------------------------------------------------------------- */

static struct board_native *board_map(struct raw *raw)
{
    void *map = mmap(NULL, sizeof(struct board_native), PROT_READ | PROT_WRITE, MAP_SHARED,
                     raw->fds.fds[0], 0);

    test_require(map != MAP_FAILED, "a native board cannot be mapped: %s", strerror(errno));
    return map;
}

static void member_open(struct member *member, struct scene *scene)
{
    raw_open(&member->raw, scene->daemon.socket);
    member->slot = member->raw.slot;
    test_require(native_open(&member->raw, member->slot) == 0, "%s", member->raw.text);
    member->board = board_map(&member->raw);
    test_require(pool_open(&member->raw, member->slot, 0) == 0, "%s", member->raw.text);
}

static void member_close(struct member *member)
{
    raw_close(&member->raw);
    munmap(member->board, sizeof(*member->board));
}

static void expect_state(const struct member *member, uint32_t slot, uint32_t state)
{
    for (int ms = 0; atomic_load(&member->board->slots[slot].state) != state; ms++) {
        test_require(ms < 30000, "slot %u stays %u", slot,
                     atomic_load(&member->board->slots[slot].state));
        scene_sleep_ms(1);
    }
}

/* What clients do with a slot before they use it. */
static void claim(const struct member *member, uint32_t slot)
{
    test_require(atomic_load(&member->board->slots[slot].state) == NATIVE_FREE, "it is not free");
    atomic_store(&member->board->slots[slot].state, NATIVE_CLAIMED);
}

/* The events of a member's pool 0, in a context of the test's own. */
static ze_event_handle_t event_open(struct member *member, uint32_t slot)
{
    static struct test_native native;
    static ze_event_handle_t opened[8]; /* they stay for as long as the process lives */
    static unsigned n_opened;
    ze_ipc_event_pool_handle_t ipc;
    ze_event_pool_handle_t pool;
    ze_event_handle_t event;
    ze_event_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
        .index = slot,
        .signal = ZE_EVENT_SCOPE_FLAG_HOST,
        .wait = ZE_EVENT_SCOPE_FLAG_DEVICE,
    };
    int fd;

    if (!native.context.context)
        test_native_open(&native);
    test_require(pool_open(&member->raw, member->slot, 0) == 0, "%s", member->raw.text);
    fd = frame_fds_take(&member->raw.fds);
    memcpy(ipc.data, member->raw.reply->native_pool->handle.data, sizeof(ipc.data));
    memcpy(ipc.data, &fd, sizeof(fd));
    test_ze(zeEventPoolOpenIpcHandle(native.context.context, ipc, &pool));
    test_ze(zeEventCreate(pool, &desc, &event));
    test_require(n_opened < sizeof(opened) / sizeof(opened[0]), "too many events");
    opened[n_opened++] = event;
    return event;
}

static void expect_error(struct raw *raw, xpurt_result result)
{
    unsigned before = raw->errors;

    raw_settle(raw);
    test_require(raw->errors > before && raw->error == result, "%u errors, the last one %d: %s",
                 raw->errors - before, (int)raw->error, raw->text);
}

static void expect_failed(struct raw *raw, uint32_t stream, xpurt_result result)
{
    test_require(raw_status(raw, stream) == result, "stream %u: %s", stream, raw->text);
}

/* ---- boards and pools ----------------------------------------------------------------------------- */

static void opening(struct scene *scene)
{
    static const uint32_t wild[] = { 1, 2, NATIVE_POOLS, WILD };
    struct raw raw, other;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    test_require(native_open(&raw, WILD) == XPURT_ERROR_STALE_HANDLE, "%s", raw.text);
    test_require(native_open(&raw, BOARD_SLOTS) == XPURT_ERROR_STALE_HANDLE, "%s", raw.text);
    test_require(native_open(&raw, other.slot) == XPURT_ERROR_STALE_HANDLE, "%s", raw.text);
    test_require(pool_open(&raw, raw.slot, 0) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    native_close(&raw, other.slot);
    expect_error(&raw, XPURT_ERROR_INVALID_HANDLE);
    native_close(&raw, WILD);
    expect_error(&raw, XPURT_ERROR_INVALID_HANDLE);

    for (int i = 0; i < 3; i++)         /* as often as one likes */
        test_require(native_open(&raw, raw.slot) == 0 && !raw.reply->native_opened->pools, "%s",
                     raw.text);
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        test_require(pool_open(&raw, raw.slot, wild[i]) == XPURT_ERROR_INVALID_HANDLE, "%s",
                     raw.text);
    for (uint32_t i = 0; i < NATIVE_POOLS; i++)
        test_require(pool_open(&raw, raw.slot, i) == 0, "%s", raw.text);
    test_require(raw_counter(&raw, "user-native-slots") == NATIVE_SLOTS, "they are not counted");
    test_require(pool_open(&raw, raw.slot, NATIVE_POOLS) == XPURT_ERROR_QUOTA, "%s", raw.text);
    test_require(pool_open(&raw, raw.slot, WILD) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);

    test_require(pool_open(&other, raw.slot, 0) == XPURT_ERROR_INVALID_HANDLE, "%s", other.text);
    test_require(native_open(&other, raw.slot) == 0, "%s", other.text);
    test_require(other.reply->native_opened->pools == NATIVE_POOLS, "%u pools",
                 other.reply->native_opened->pools);
    test_require(pool_open(&other, raw.slot, 7) == 0, "%s", other.text);
    test_require(pool_open(&other, raw.slot, 8) == XPURT_ERROR_INVALID_HANDLE, "%s", other.text);
    raw_close(&raw);                    /* what was opened stays, for who opened it */
    while (raw_counter(&other, "sessions") != 3)
        scene_sleep_ms(1);
    test_require(native_open(&other, raw.slot) == XPURT_ERROR_STALE_HANDLE, "%s", other.text);
    test_require(pool_open(&other, raw.slot, 3) == 0, "%s", other.text);
    native_close(&other, raw.slot);
    native_close(&other, raw.slot);
    expect_error(&other, XPURT_ERROR_INVALID_HANDLE);
    test_require(raw_counter(&other, "user-native-slots") == 0, "they stay charged");
    raw_close(&other);
}

Test(native, opening)
{
    scene_play(opening, 5);
}

/* Whoever has the board may write it, but not take it from the others. */
static void sealed(struct scene *scene)
{
    struct raw raw;
    int fd;

    raw_open(&raw, scene->daemon.socket);
    test_require(native_open(&raw, raw.slot) == 0, "%s", raw.text);
    fd = raw.fds.fds[0];
    test_require(ftruncate(fd, 0) < 0 && errno == EPERM, "it shrinks");
    test_require(ftruncate(fd, sizeof(struct board_native) + 4096) < 0, "it grows");
    test_require(fcntl(fd, F_ADD_SEALS, 0x0010) < 0 && errno == EPERM,
                 "others could not write it any more");
    raw_close(&raw);
}

Test(native, sealed)
{
    scene_play(sealed, 3);
}

static void limit_of_a_user(struct scene *scene)
{
    struct raw raw, other;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    test_require(native_open(&raw, raw.slot) == 0, "%s", raw.text);
    test_require(native_open(&other, other.slot) == 0, "%s", other.text);
    test_require(pool_open(&raw, raw.slot, 0) == 0, "%s", raw.text);
    test_require(pool_open(&other, other.slot, 0) == XPURT_ERROR_QUOTA, "a pool too many");
    test_require(strstr(other.text, "user-native-slots"), "%s", other.text);
    external_create(&other, 0, 0);
    external_record(&other, 0, 0);      /* there is no slot */
    expect_failed(&other, 0, XPURT_ERROR_INVALID_HANDLE);
    raw_close(&raw);
    while (raw_counter(&other, "user-native-slots"))
        scene_sleep_ms(1);
    test_require(pool_open(&other, other.slot, 0) == 0, "%s", other.text);
    raw_close(&other);
}

Test(native, limit_of_a_user)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    test_require(scene, "out of memory");
    scene_begin(scene, "user-native-slots = 1000");
    scene_attack(scene, limit_of_a_user, 5);
    scene_end(scene);
    free(scene);
}

static void memory(struct scene *scene)
{
    struct raw raw, other;
    uint64_t address;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    test_require(memory_native(&raw, 0) == XPURT_ERROR_INVALID_ADDRESS, "%s", raw.text);
    test_require(raw_memory_alloc(&raw, 4096, &address) == 0, "%s", raw.text);
    test_require(memory_native(&raw, address + 4095) == 0, "%s", raw.text);
    test_require(raw.fds.count == 1 && raw.reply->native_memory->handle.len == 64 &&
                     raw.reply->native_memory->start <= address &&
                     address + 4096 - raw.reply->native_memory->start <=
                         raw.reply->native_memory->size,
                 "that is another allocation");
    test_require(memory_native(&raw, address - 1) == XPURT_ERROR_INVALID_ADDRESS, "%s", raw.text);
    test_require(memory_native(&raw, UINT64_MAX) == XPURT_ERROR_INVALID_ADDRESS, "%s", raw.text);
    test_require(memory_native(&other, address) == XPURT_ERROR_INVALID_ADDRESS, "%s", other.text);
    raw_memory_free(&raw, address);
    test_require(memory_native(&raw, address) == XPURT_ERROR_INVALID_ADDRESS, "%s", raw.text);
    raw_close(&other);
    raw_close(&raw);
}

Test(native, memory)
{
    scene_play(memory, 5);
}

/* ---- slots ---------------------------------------------------------------------------------------- */

/* As it is meant: signalled by the list, published, given back behind the next record. */
static void record_and_wait(struct scene *scene)
{
    struct member owner, waiter;
    ze_event_handle_t first, second;
    uint64_t point;

    member_open(&owner, scene);
    member_open(&waiter, scene);
    first = event_open(&owner, 5);
    second = event_open(&waiter, 6);
    external_create(&owner.raw, 0, 0);
    external_create(&waiter.raw, 1, 0);
    raw_stream_create(&waiter.raw, 2, 0);

    claim(&owner, 5);
    point = external_record(&owner.raw, 0, 5);
    atomic_store(&owner.board->slots[5].point, point);
    raw_settle(&owner.raw);
    test_require(native_open(&waiter.raw, owner.slot) == 0, "%s", waiter.raw.text);
    atomic_store(&waiter.board->pins[63], native_pin(owner.slot, 5));
    external_wait(&waiter.raw, 1, point, owner.slot, 5, 64);
    raw_wait(&waiter.raw, 2, point);
    raw_record(&waiter.raw, 2);
    raw_settle(&waiter.raw);
    test_require(atomic_load(&waiter.board->pins[63]) == 0, "the pin stays");
    test_require(waiter.raw.progress->timelines[2].completed < waiter.raw.values[2], "too early");

    test_ze(zeEventHostSignal(first));
    test_require(raw_finish(&owner.raw, 0) == XPURT_SUCCESS, "%s", owner.raw.text);
    test_require(raw_finish(&waiter.raw, 2) == XPURT_SUCCESS, "%s", waiter.raw.text);
    scene_sleep_ms(20);
    raw_settle(&owner.raw);
    test_require(atomic_load(&owner.board->slots[5].state) == NATIVE_CLAIMED,
                 "the list that waits for it was not asked");
    claim(&waiter, 6);
    external_record(&waiter.raw, 1, 6);
    test_ze(zeEventHostSignal(second));
    test_require(raw_finish(&waiter.raw, 1) == XPURT_SUCCESS, "%s", waiter.raw.text);
    for (uint32_t i = 1; i <= NATIVE_POOLS;
         i++)                           /* the streams say no more: asked for, they come back */
        test_require(pool_open(&owner.raw, owner.slot, i) ==
                         (i < NATIVE_POOLS ? XPURT_SUCCESS : XPURT_ERROR_QUOTA),
                     "%s", owner.raw.text);
    for (int i = 0; i < 30000 && atomic_load(&owner.board->slots[5].state) != NATIVE_FREE; i++)
        (void)pool_open(&owner.raw, owner.slot, NATIVE_POOLS);
    expect_state(&owner, 5, NATIVE_FREE);
    expect_state(&waiter, 6, NATIVE_FREE);
    test_require(zeEventQueryStatus(first) == ZE_RESULT_NOT_READY, "it was not reset");
    test_require(!waiter.raw.errors, "%s", waiter.raw.text);
    member_close(&owner);
    member_close(&waiter);
}

Test(native, record_and_wait)
{
    scene_play(record_and_wait, 1);     /* the test's own pools stay open */
}

static void slots_that_are_none(struct scene *scene)
{
    static const uint32_t wild[] = { NATIVE_POOL_SLOTS, NATIVE_SLOTS, NATIVE_SLOTS + 5, WILD,
                                     WILD - NATIVE_SLOTS };
    struct member owner, stranger;

    member_open(&owner, scene);
    member_open(&stranger, scene);
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        for (uint32_t stream = 0; stream < 4; stream++)
            external_create(&owner.raw, stream, 0);
        external_record(&owner.raw, 0, wild[i]);
        external_wait(&owner.raw, 1, 0, owner.slot, wild[i], 0);
        external_wait(&owner.raw, 2, 0, owner.slot, wild[i], 1);
        external_wait(&owner.raw, 3, 0, stranger.slot, i ? wild[i] : 0, 1);
        for (uint32_t stream = 0; stream < 4; stream++) {
            expect_failed(&owner.raw, stream, XPURT_ERROR_INVALID_HANDLE);
            raw_stream_destroy(&owner.raw, stream);
        }
        raw_settle(&owner.raw);
        native_signal(&owner.raw, wild[i], 0);
        expect_error(&owner.raw, XPURT_ERROR_INVALID_HANDLE);
        native_release(&owner.raw, wild[i]);
        expect_error(&owner.raw, XPURT_ERROR_INVALID_HANDLE);
    }
    member_close(&owner);
    member_close(&stranger);
}

Test(native, slots_that_are_none)
{
    scene_play(slots_that_are_none, 5);
}

/* Of a stream of the daemon's, records and waits of a list; and the other way round. */
static void other_kind(struct scene *scene)
{
    struct member member;
    uint64_t address;

    member_open(&member, scene);
    test_require(raw_memory_alloc(&member.raw, 4096, &address) == 0, "%s", member.raw.text);
    for (uint32_t i = 0; i < 2; i++)
        raw_stream_create(&member.raw, i, 0);
    for (uint32_t i = 2; i < 6; i++)
        external_create(&member.raw, i, 0);
    external_record(&member.raw, 0, 0);
    external_wait(&member.raw, 1, 0, member.slot, 0, 0);
    raw_record(&member.raw, 2);
    raw_wait(&member.raw, 3, 0);
    raw_fill(&member.raw, 4, 0, address, 4096, 0, 4);
    raw_copy(&member.raw, 5, 0, address, 0, address + 2048, 2048);
    for (uint32_t i = 0; i < 6; i++)
        expect_failed(&member.raw, i, XPURT_ERROR_INVALID_ARGUMENT);
    external_record(&member.raw, 9, 0);
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);
    external_wait(&member.raw, WILD, 0, member.slot, 0, 0);
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);
    test_require(atomic_load(&member.board->slots[0].state) == NATIVE_FREE, "a slot was taken");
    member_close(&member);
}

Test(native, other_kind)
{
    scene_play(other_kind, 5);
}

/* The same slot for two things; released by who does not have it. */
static void twice(struct scene *scene)
{
    struct member member;
    uint64_t next;

    member_open(&member, scene);
    for (uint32_t i = 0; i < 4; i++)
        external_create(&member.raw, i, 0);
    next = point_pack(member.slot, 9, member.raw.values[0] + 1);

    external_record(&member.raw, 0, 1);
    external_record(&member.raw, 1, 1);
    expect_failed(&member.raw, 1, XPURT_ERROR_INVALID_HANDLE);
    external_wait(&member.raw, 2, next, member.slot, 1, 0);
    expect_failed(&member.raw, 2, XPURT_ERROR_INVALID_HANDLE);
    native_signal(&member.raw, 1, next);
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);
    native_release(&member.raw, 1);     /* it is no event's */
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);

    native_signal(&member.raw, 2, next);
    native_signal(&member.raw, 2, next);
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);
    external_record(&member.raw, 3, 2);
    expect_failed(&member.raw, 3, XPURT_ERROR_INVALID_HANDLE);
    atomic_store(&member.board->slots[2].state, NATIVE_CLAIMED);
    native_release(&member.raw, 2);
    native_release(&member.raw, 2);
    expect_error(&member.raw, XPURT_ERROR_INVALID_HANDLE);
    expect_state(&member, 2, NATIVE_FREE);
    native_signal(&member.raw, 2, next);
    raw_settle(&member.raw);
    test_require(raw_counter(&member.raw, "user-watches") == 1, "a watch too many");
    member_close(&member);
}

Test(native, twice)
{
    scene_play(twice, 5);
}

/* A native event: signalled when the point is over, whatever becomes of it. */
static void promises(struct scene *scene)
{
    struct member member, other;
    ze_event_handle_t events[3];
    uint64_t point;

    member_open(&member, scene);
    member_open(&other, scene);
    for (uint32_t i = 0; i < 3; i++)
        events[i] = event_open(&member, i);
    raw_stream_create(&other.raw, 0, 0);
    raw_stream_create(&other.raw, 1, 0);
    raw_settle(&other.raw);
    native_signal(&member.raw, 0, point_pack(other.slot, 0, other.raw.values[0] + 1));
    native_signal(&member.raw, 1, point_pack(other.slot, 1, other.raw.values[1] + 1));
    native_signal(&member.raw, 2, point_pack(BOARD_SLOTS - 1, 1, 1)); /* nobody's */
    expect_error(&member.raw, XPURT_ERROR_PERMISSION);
    test_ze(zeEventHostSynchronize(events[2], UINT64_C(30000000000)));
    test_require(zeEventQueryStatus(events[0]) == ZE_RESULT_NOT_READY, "too early");
    point = raw_record(&other.raw, 0);
    test_ze(zeEventHostSynchronize(events[0], UINT64_C(30000000000)));
    test_require(zeEventQueryStatus(events[1]) == ZE_RESULT_NOT_READY, "too early");
    member_close(&other);
    test_ze(zeEventHostSynchronize(events[1], UINT64_C(30000000000)));
    for (uint32_t i = 0; i < 3; i++) {
        atomic_store(&member.board->slots[i].state, NATIVE_CLAIMED);
        native_release(&member.raw, i);
        expect_state(&member, i, NATIVE_FREE);
        test_require(zeEventQueryStatus(events[i]) == ZE_RESULT_NOT_READY, "it was not reset");
    }
    native_signal(&member.raw, 0, point);
    test_ze(zeEventHostSynchronize(events[0], UINT64_C(30000000000)));
    member_close(&member);
}

Test(native, promises)
{
    scene_play(promises, 1);
}

/* ---- waits ---------------------------------------------------------------------------------------- */

static void too_many_waits(struct scene *scene)
{
    struct member member;

    member_open(&member, scene);
    external_create(&member.raw, 0, 0);
    for (uint32_t i = 0; i < NATIVE_WAITS; i++)
        external_wait(&member.raw, 0, 0, member.slot, i, 0);
    raw_settle(&member.raw);
    test_require(!member.raw.errors, "%s", member.raw.text);
    external_record(&member.raw, 0, NATIVE_WAITS);
    for (uint32_t i = 1; i <= NATIVE_WAITS; i++)
        external_wait(&member.raw, 0, 0, member.slot, NATIVE_WAITS + i, 0);
    raw_settle(&member.raw);
    test_require(!member.raw.errors, "%s", member.raw.text);
    external_wait(&member.raw, 0, 0, member.slot, 300, 0);
    expect_failed(&member.raw, 0, XPURT_ERROR_INVALID_ARGUMENT);
    member_close(&member);
}

Test(native, too_many_waits)
{
    scene_play(too_many_waits, 5);
}

/* For what will not come, for itself, and without end. */
static void vain_waits(struct scene *scene)
{
    struct member member, other;

    member_open(&member, scene);
    member_open(&other, scene);
    for (uint32_t i = 0; i < 6; i++)
        external_create(&member.raw, i, 0);
    external_create(&other.raw, 0, 0);
    external_create(&other.raw, 1, 0);
    external_wait(&member.raw, 0, point_pack(member.slot, 0, member.raw.values[0] + 1), member.slot,
                  0, 0);
    expect_failed(&member.raw, 0, XPURT_ERROR_INVALID_ARGUMENT);
    external_wait(&member.raw, 1, point_pack(BOARD_SLOTS - 1, 0, 5), member.slot, 1, 0);
    expect_failed(&member.raw, 1, XPURT_ERROR_INVALID_HANDLE);
    raw_settle(&other.raw);
    external_wait(&member.raw, 2, point_pack(other.slot, 0, other.raw.values[0] + 1), member.slot,
                  2, 0);
    external_record(&member.raw, 2, 3);
    external_wait(&other.raw, 1, point_pack(member.slot, 2, member.raw.values[2]), other.slot, 0,
                  0);
    external_wait(&member.raw, 3, point_pack(other.slot, 1, other.raw.values[1] + 1), member.slot,
                  4, 0);
    raw_settle(&other.raw);
    raw_settle(&member.raw);
    raw_stream_fail(&other.raw, 0, XPURT_ERROR_DRIVER);
    expect_failed(&member.raw, 2, XPURT_ERROR_DEPENDENCY);
    expect_failed(&other.raw, 1, XPURT_ERROR_DEPENDENCY);
    expect_failed(&member.raw, 3, XPURT_ERROR_DEPENDENCY);

    /* Each for the other one: they wait until somebody dies. */
    external_wait(&member.raw, 4, point_pack(member.slot, 5, member.raw.values[5] + 1), member.slot,
                  5, 0);
    external_wait(&member.raw, 5, point_pack(member.slot, 4, member.raw.values[4] + 1), member.slot,
                  6, 0);
    external_record(&member.raw, 4, 7);
    external_record(&member.raw, 5, 8);
    raw_settle(&member.raw);
    raw_stream_destroy(&member.raw, 4);
    raw_stream_destroy(&member.raw, 5);
    raw_settle(&member.raw);
    member_close(&member);
    member_close(&other);
}

Test(native, vain_waits)
{
    scene_play(vain_waits, 5);
}

/* Pins that name nothing, slots that were not pinned, boards full of rubbish. */
static void lies(struct scene *scene)
{
    struct member owner, liar;
    uint64_t point = 0;

    member_open(&owner, scene);
    member_open(&liar, scene);
    test_require(native_open(&liar.raw, owner.slot) == 0, "%s", liar.raw.text);
    external_create(&owner.raw, 0, 0);
    external_create(&liar.raw, 0, 0);
    for (uint32_t i = 0; i < NATIVE_WAITS / 2; i++) { /* before the owner's record, and after */
        external_wait(&liar.raw, 0, point, owner.slot, i, i % 2 ? 1 + i : WILD);
        raw_settle(&liar.raw);
        point = external_record(&owner.raw, 0, i);
        raw_settle(&owner.raw);
        external_wait(&liar.raw, 0, point, owner.slot, i, 1);
    }
    test_require(!owner.raw.errors, "%s", owner.raw.text);
    for (uint32_t i = 0; i < NATIVE_PINS; i++)
        atomic_store(&liar.board->pins[i], native_pin(owner.slot, 100 + i));
    for (uint32_t i = 0; i < NATIVE_PINS; i++) {
        atomic_store(&owner.board->slots[100 + i].state, NATIVE_CLAIMED);
        native_signal(&owner.raw, 100 + i, 0);
        native_release(&owner.raw, 100 + i);
    }
    raw_settle(&owner.raw);
    for (uint32_t i = 0; i < NATIVE_PINS; i++)
        test_require(atomic_load(&owner.board->slots[100 + i].state) == NATIVE_CLAIMED,
                     "slot %u is pinned", 100 + i);
    native_signal(&owner.raw, 100, 0);  /* claimed all the same: the owner's own fault */
    native_release(&owner.raw, 100);
    raw_settle(&owner.raw);
    memset(liar.board, 0xff, sizeof(*liar.board));
    memset(owner.board->pins, 0xff, sizeof(owner.board->pins));
    native_signal(&liar.raw, 400, 0);   /* pins are looked at again */
    raw_settle(&liar.raw);
    raw_settle(&owner.raw);
    for (uint32_t i = 0; i < NATIVE_PINS; i++)
        expect_state(&owner, 100 + i, NATIVE_FREE);
    member_close(&owner);
    member_close(&liar);
}

Test(native, lies)
{
    scene_play(lies, 5);
}

/* The board is closed while its slots are waited for, its owner dies, its waiter dies. */
static void ends(struct scene *scene)
{
    struct member owner, waiter, third;
    uint64_t point;

    for (unsigned order = 0; order < 6; order++) {
        member_open(&owner, scene);
        member_open(&waiter, scene);
        member_open(&third, scene);
        external_create(&owner.raw, 0, 0);
        external_create(&waiter.raw, 0, 0);
        raw_stream_create(&third.raw, 0, 0);
        raw_settle(&third.raw);
        test_require(native_open(&waiter.raw, owner.slot) == 0, "%s", waiter.raw.text);
        point = external_record(&owner.raw, 0, 0);
        native_signal(&owner.raw, 1, point_pack(third.slot, 0, third.raw.values[0] + 1));
        raw_settle(&owner.raw);
        external_wait(&waiter.raw, 0, point, owner.slot, 0, 1);
        point = external_record(&waiter.raw, 0, 0);
        raw_settle(&waiter.raw);
        raw_wait(&third.raw, 0, point);
        raw_record(&third.raw, 0);
        raw_settle(&third.raw);
        if (order % 2)
            native_close(&waiter.raw, owner.slot);
        if (order < 2) {
            member_close(&owner);
            expect_failed(&waiter.raw, 0, XPURT_ERROR_PEER_LOST);
            expect_failed(&third.raw, 0, XPURT_ERROR_PEER_LOST);
            external_record(&waiter.raw, 0, 2);
            raw_stream_destroy(&waiter.raw, 0);
            raw_settle(&waiter.raw);
            member_close(&waiter);
        } else if (order < 4) {
            member_close(&waiter);
            expect_failed(&third.raw, 0, XPURT_ERROR_PEER_LOST);
            raw_stream_destroy(&owner.raw, 0);
            raw_settle(&owner.raw);
            member_close(&owner);
        } else {
            raw_stream_fail(&owner.raw, 0, XPURT_ERROR_DRIVER);
            raw_stream_destroy(&owner.raw, 0);
            raw_settle(&owner.raw);
            member_close(&owner);
            member_close(&waiter);
        }
        member_close(&third);
    }
}

Test(native, ends)
{
    scene_play(ends, 3);
}
/* ---- very many --------------------------------------------------------------------------------------- */

#define CROWD 24
#define CROWD_STREAMS 500u
#define CROWD_RECORDS 250u              /* a stream has room for 256 */
#define EXTERNALS 500u

/* One frame with so many records of a stream. */
static void record_many(struct raw *raw, uint32_t stream)
{
    static Xpurt__Record records[CROWD_RECORDS];
    static Xpurt__Command commands[CROWD_RECORDS], *pointers[CROWD_RECORDS];
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;

    for (size_t i = 0; i < CROWD_RECORDS; i++) {
        xpurt__record__init(&records[i]);
        records[i].stream = stream;
        records[i].value = ++raw->values[stream];
        commands[i] = (Xpurt__Command){ RAW_COMMAND(RECORD), .record = &records[i] };
        pointers[i] = &commands[i];
    }
    message.n_commands = CROWD_RECORDS;
    message.commands = pointers;
    test_require(raw_send_message(raw, &message) == 0, "it hung up: %s", raw->text);
}

static void crowd_wait(struct raw *raw, uint64_t point)
{
    for (uint32_t stream = 0; stream < CROWD_STREAMS; stream++) {
        raw_stream_create(raw, stream, 0);
        raw_wait(raw, stream, point);
        record_many(raw, stream);
    }
    raw_settle(raw);
    test_require(!raw->errors, "%s", raw->text);
}

/* A client dies with unfinished external streams while others, of whom none waits for it, have
 * millions of unfinished records: nobody has to look at them all. */
static void death_among_many(struct scene *scene)
{
    static struct raw crowd[CROWD];
    struct member living, dying;
    uint64_t point, took;

    member_open(&living, scene);
    member_open(&dying, scene);
    external_create(&living.raw, 0, 0);
    claim(&living, 0);
    point = external_record(&living.raw, 0, 0);
    raw_settle(&living.raw);
    for (int i = 0; i < CROWD; i++) {
        raw_open(&crowd[i], scene->daemon.socket);
        crowd_wait(&crowd[i], point);
    }
    for (uint32_t stream = 0; stream < EXTERNALS; stream++) {
        external_create(&dying.raw, stream, 0);
        claim(&dying, stream);
        external_record(&dying.raw, stream, stream);
    }
    raw_settle(&dying.raw);
    test_require(!dying.raw.errors, "%s", dying.raw.text);

    took = scene_cpu_ms(scene);
    member_close(&dying);
    while (raw_counter(&scene->watcher, "sessions") > 3 + CROWD)
        scene_sleep_ms(1);
    took = scene_cpu_ms(scene) - took;
    test_require(took < 3000, "%llu ms", (unsigned long long)took);
    member_close(&living);
    for (int i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
}

Test(native, death_among_many)
{
    scene_play(death_among_many, 1);
}
