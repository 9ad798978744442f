/* SPDX-License-Identifier: MIT */
/* tests/system/objects.c: well-formed frames about things that are not there, not one's own, or not
 * that large. The client is told what was wrong and goes on; nobody else notices. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(objects, .timeout = 300);

#define PIECE 4096u                     /* a multiple of what allocations are rounded to */

/* ---- ids ------------------------------------------------------------------------------------- */

static void ids_that_do_not_exist(struct scene *scene)
{
    struct handle handle;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_record(&raw, 3);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_stream_destroy(&raw, 511);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_wait(&raw, UINT32_MAX, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_stream_create(&raw, 512, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_memory_free(&raw, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_memory_free(&raw, UINT64_MAX);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_host_free(&raw, 1);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_event_drop(&raw, 5);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_event_close(&raw, raw.slot, 5);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);

    test_require(raw_event_export(&raw, BOARD_CELLS, &handle) == XPURT_ERROR_INVALID_HANDLE,
                 "a cell behind the board");
    test_require(raw_memory_export(&raw, 4096, &handle) == XPURT_ERROR_INVALID_ADDRESS,
                 "memory that nobody allocated");
    test_require(raw_board_open(&raw, BOARD_SLOTS, raw.instance) == XPURT_ERROR_STALE_HANDLE,
                 "a slot behind the last one");
    test_require(raw_board_open(&raw, BOARD_SLOTS - 1, raw.instance) == XPURT_ERROR_STALE_HANDLE,
                 "a slot of nobody");
    raw_close(&raw);
}

Test(objects, ids_that_do_not_exist)
{
    scene_play(ids_that_do_not_exist, 5);
}

static void devices_that_do_not_exist(struct scene *scene)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };
    Xpurt__MemoryInfo info = XPURT__MEMORY_INFO__INIT;
    Xpurt__ToDaemon question = { RAW_REQUEST(MEMORY_INFO), .memory_info = &info };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    alloc.device = info.device = UINT32_MAX;
    alloc.size = 4096;
    test_require(raw_result(&raw, &request) == XPURT_ERROR_INVALID_DEVICE, "%s", raw.text);
    test_require(raw_result(&raw, &question) == XPURT_ERROR_INVALID_DEVICE, "%s", raw.text);
    raw.errors = 0;
    raw_stream_create(&raw, 0, 64);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_DEVICE);
    raw_close(&raw);
}

Test(objects, devices_that_do_not_exist)
{
    scene_play(devices_that_do_not_exist, 5);
}

static void ids_used_twice(struct scene *scene)
{
    uint32_t segment, slot, cell;
    struct handle handle, again;
    struct raw raw, other;
    uint64_t address;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&raw, 0, 1);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    test_require(raw_record(&raw, 0) && raw_finish(&raw, 0) == XPURT_SUCCESS, "it is unusable");
    raw_stream_destroy(&raw, 0);
    raw_stream_destroy(&raw, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);

    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    raw_memory_free(&raw, address);
    raw_memory_free(&raw, address);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    test_require(raw_host_alloc(&raw, PIECE, &segment, NULL) == 0, "%s", raw.text);
    raw_host_free(&raw, segment);
    raw_host_free(&raw, segment);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);

    test_require(raw_event_export(&raw, 5, &handle) == 0, "%s", raw.text);
    test_require(raw_event_export(&raw, 5, &again) == 0, "%s", raw.text);
    test_require(memcmp(&handle, &again, sizeof(handle)) == 0, "one event, two handles");
    test_require(raw_event_open(&other, &handle, &slot, &cell) == 0, "%s", other.text);
    test_require(raw_event_open(&other, &handle, &slot, &cell) == 0, "%s", other.text);
    raw_event_close(&other, slot, cell);
    raw_event_close(&other, slot, cell);
    raw_event_close(&other, slot, cell);
    raw_expect_told(&other, XPURT_ERROR_INVALID_HANDLE);
    raw_event_drop(&raw, 5);
    raw_event_drop(&raw, 5);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    test_require(raw_event_open(&other, &handle, NULL, NULL) == XPURT_ERROR_STALE_HANDLE,
                 "a dropped event was opened");
    raw_close(&other);
    raw_close(&raw);
}

Test(objects, ids_used_twice)
{
    scene_play(ids_used_twice, 5);
}

/* Streams, segments and memory of another session of the same user are not one's own. */
static void ids_of_another_session(struct scene *scene)
{
    struct raw raw, other;
    uint32_t segment;
    uint64_t address;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&other, 4, 0);
    test_require(raw_memory_alloc(&other, PIECE, &address) == 0, "%s", other.text);
    test_require(raw_host_alloc(&other, PIECE, &segment, NULL) == 0, "%s", other.text);

    raw_record(&raw, 4);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_memory_free(&raw, address);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_host_free(&raw, segment);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, 0, address, 16, 0, 4);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, segment, 0, 16, 0, 4);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_event_close(&raw, other.slot, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    test_require(raw_memory_export(&raw, address, &(struct handle){ 0 }) ==
                     XPURT_ERROR_INVALID_ADDRESS,
                 "somebody else's memory was exported");

    raw_fill(&other, 4, segment, 0, 16, 0, 4); /* they are still there */
    raw_fill(&other, 4, 0, address, 16, 0, 4);
    raw_record(&other, 4);
    test_require(raw_finish(&other, 4) == XPURT_SUCCESS, "%s", other.text);
    raw_close(&other);
    raw_close(&raw);
}

Test(objects, ids_of_another_session)
{
    scene_play(ids_of_another_session, 5);
}

/* A time stamp goes only to boards that were opened. */
static void stamps_elsewhere(struct scene *scene)
{
    static const uint64_t cells[] = { BOARD_CELLS, UINT32_MAX, (uint64_t)BOARD_SLOTS << 32,
                                      UINT64_MAX - 1 };

    for (size_t i = 0; i < 5; i++) {
        Xpurt__Record record = XPURT__RECORD__INIT;
        Xpurt__Command command = { RAW_COMMAND(RECORD), .record = &record };
        struct raw raw;

        raw_open(&raw, scene->daemon.socket);
        raw_stream_create(&raw, 0, 0);
        record.value = raw.values[0] + 1;
        record.stamp = 1 + (i < 3 ? ((uint64_t)raw.slot << 32) + cells[i] : cells[i - 1]);
        if (i == 4)
            record.stamp = stamp_pack(scene->witness.slot, 0);
        raw_send_command(&raw, &command);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_HANDLE);
        raw_close(&raw);
    }
}

Test(objects, stamps_elsewhere)
{
    scene_play(stamps_elsewhere, 5);
}

static void record_value(struct raw *raw, uint64_t value)
{
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Command command = { RAW_COMMAND(RECORD), .record = &record };

    record.value = value;
    raw_send_command(raw, &command);
}

static void values_out_of_order(struct scene *scene)
{
    static const uint64_t steps[] = { 0, 2, UINT64_MAX, POINT_VALUE_MAX, UINT64_C(1) << 63 };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        raw_record(&raw, 0);
        test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
        record_value(&raw, raw.values[0] + steps[i]);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    }
    raw_close(&raw);
}

Test(objects, values_out_of_order)
{
    scene_play(values_out_of_order, 5);
}

static void points_of_nobody(struct scene *scene)
{
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    raw_wait(&raw, 0, point_pack(BOARD_SLOTS - 1, 0, 1));
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_wait(&raw, 0, point_pack(raw.slot, 0, POINT_VALUE_MAX)); /* its own future */
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);

    /* The future of a stream that does not exist: allowed, and over when the session is. */
    raw_wait(&raw, 0, point_pack(raw.slot, 9, POINT_VALUE_MAX));
    raw_record(&raw, 0);
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);
    raw_close(&raw);
}

Test(objects, points_of_nobody)
{
    scene_play(points_of_nobody, 5);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void wild_sizes(struct scene *scene)
{
    static const uint64_t sizes[] = { UINT64_C(1) << 63, UINT64_MAX,       UINT64_MAX - 4095,
                                      INT64_MAX,         INT64_MAX - 4096, UINT64_C(1) << 46 };
    uint32_t segment;
    uint64_t address;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, 0, &address) == XPURT_ERROR_INVALID_ARGUMENT, "0 bytes");
    test_require(raw_host_alloc(&raw, 0, &segment, NULL) == XPURT_ERROR_INVALID_ARGUMENT,
                 "0 bytes");
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    test_require(raw_host_alloc(&raw, PIECE, &segment, NULL) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    raw.errors = 0;
    raw_copy(&raw, 0, segment, 0, 0, address, 0);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_fill(&raw, 0, segment, 0, 0, 0, 4);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t none;
        uint32_t none_either;
        xpurt_result result = raw_memory_alloc(&raw, sizes[i], &none);

        test_require(result == XPURT_ERROR_OUT_OF_MEMORY || result == XPURT_ERROR_QUOTA,
                     "%d for %llu bytes", (int)result, (unsigned long long)sizes[i]);
        result = raw_host_alloc(&raw, sizes[i], &none_either, NULL);
        test_require(result != XPURT_SUCCESS, "a segment of %llu bytes",
                     (unsigned long long)sizes[i]);
        raw.errors = 0;
        raw_copy(&raw, 0, segment, 0, 0, address, sizes[i]);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
        raw_copy(&raw, 0, 0, address, segment, 8, sizes[i]);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
        raw_fill(&raw, 0, 0, address, sizes[i], 0, 1);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
        raw_fill(&raw, 0, segment, sizes[i], 64, 0, 1);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    }
    raw_close(&raw);
}

Test(objects, wild_sizes)
{
    scene_play(wild_sizes, 5);
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* One byte before, one byte behind: of device memory and of a segment, as target and as source. */
static void one_byte_outside(struct scene *scene)
{
    uint32_t segment;
    uint64_t address;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    test_require(raw_host_alloc(&raw, PIECE, &segment, NULL) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);

    raw_fill(&raw, 0, 0, address, PIECE, 0, 1); /* all of it is fine */
    raw_fill(&raw, 0, segment, 0, PIECE, 0, 1);
    raw_copy(&raw, 0, segment, 0, 0, address, PIECE);
    raw_copy(&raw, 0, 0, address + PIECE - 1, segment, PIECE - 1, 1);
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);

    raw_fill(&raw, 0, 0, address - 1, 16, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, 0, address - 1, 1, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, 0, address, PIECE + 1, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, 0, address + PIECE, 1, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, segment, 1, PIECE, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, segment, PIECE, 1, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&raw, 0, segment, UINT64_MAX, 1, 0, 1);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_copy(&raw, 0, segment, 0, 0, address - 1, 16);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_copy(&raw, 0, segment, 0, 0, address + 1, PIECE);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_copy(&raw, 0, 0, address, segment, 1, PIECE);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_copy(&raw, 0, 0, 0, segment, 0, 16);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_copy(&raw, 0, 0, UINT64_MAX, segment, 0, 16);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);

    raw_memory_free(&raw, address + 512); /* the start only */
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_memory_free(&raw, address);
    raw_fill(&raw, 0, 0, address, 16, 0, 1); /* not one's own any more */
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_close(&raw);
}

Test(objects, one_byte_outside)
{
    scene_play(one_byte_outside, 5);
}

/* Two pieces side by side are still two pieces. */
static void neighbours(struct scene *scene)
{
    uint64_t addresses[64];
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    for (size_t i = 0; i < 64; i++)
        test_require(raw_memory_alloc(&raw, 512, &addresses[i]) == 0, "%s", raw.text);
    for (size_t i = 0; i < 64; i++) {
        raw_fill(&raw, 0, 0, addresses[i], 513, 0, 1);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    }
    raw_close(&raw);
}

Test(objects, neighbours)
{
    scene_play(neighbours, 3);
}

static void patterns_and_overlaps(struct scene *scene)
{
    static const uint32_t widths[] = { 0, 3, 5, 8, UINT32_MAX };
    uint64_t address;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    raw_stream_create(&raw, 0, 0);
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        raw_fill(&raw, 0, 0, address, 16, 0, widths[i]);
        raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    }
    raw_fill(&raw, 0, 0, address, 15, 0, 4);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_fill(&raw, 0, 0, address + 2, 16, 0, 4);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_copy(&raw, 0, 0, address, 0, address + 1, 64);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_copy(&raw, 0, 0, address + 1, 0, address, 64);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_copy(&raw, 0, 0, address, 0, address + 64, 64); /* side by side */
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    raw_close(&raw);
}

Test(objects, patterns_and_overlaps)
{
    scene_play(patterns_and_overlaps, 5);
}

/* Messages whose inner messages are missing. */
static void missing_parts(struct scene *scene)
{
    Xpurt__Copy copy = XPURT__COPY__INIT;
    Xpurt__Command copy_command = { RAW_COMMAND(COPY), .copy = &copy };
    Xpurt__Fill fill = XPURT__FILL__INIT;
    Xpurt__Command fill_command = { RAW_COMMAND(FILL), .fill = &fill };
    Xpurt__BoardOpen board = XPURT__BOARD_OPEN__INIT;
    Xpurt__ToDaemon board_open = { RAW_REQUEST(BOARD_OPEN), .board_open = &board };
    Xpurt__EventOpen event = XPURT__EVENT_OPEN__INIT;
    Xpurt__ToDaemon event_open = { RAW_REQUEST(EVENT_OPEN), .event_open = &event };
    Xpurt__MemoryOpen memory = XPURT__MEMORY_OPEN__INIT;
    Xpurt__ToDaemon memory_open = { RAW_REQUEST(MEMORY_OPEN), .memory_open = &memory };
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    copy.size = fill.size = 16;
    fill.width = 1;
    raw_send_command(&raw, &copy_command);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    raw_send_command(&raw, &fill_command);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ADDRESS);
    test_require(raw_result(&raw, &board_open) == XPURT_ERROR_STALE_HANDLE, "%s", raw.text);
    test_require(raw_result(&raw, &event_open) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    test_require(raw_result(&raw, &memory_open) == XPURT_ERROR_INVALID_HANDLE, "%s", raw.text);
    raw_close(&raw);
}

Test(objects, missing_parts)
{
    scene_play(missing_parts, 5);
}

/* ---- handles --------------------------------------------------------------------------------- */

/* Any bit of any byte changed: refused. */
static void altered_handles(struct scene *scene)
{
    struct raw raw, other;
    struct handle event, memory;
    uint64_t address;

    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, PIECE, &address) == 0, "%s", raw.text);
    test_require(raw_memory_export(&raw, address + 100, &memory) == 0, "%s", raw.text);
    test_require(raw_event_export(&raw, 1, &event) == 0, "%s", raw.text);
    for (size_t i = 0; i < sizeof(event); i++) {
        struct handle altered = event;

        ((uint8_t *)&altered)[i] ^= (uint8_t)(1u << i % 8);
        test_require(raw_event_open(&other, &altered, NULL, NULL) != XPURT_SUCCESS, "byte %zu", i);
        altered = memory;
        ((uint8_t *)&altered)[i] ^= (uint8_t)(1u << i % 8);
        test_require(raw_memory_open(&other, &altered, NULL) != XPURT_SUCCESS, "byte %zu", i);
    }
    test_require(raw_event_open(&other, &memory, NULL, NULL) == XPURT_ERROR_INVALID_HANDLE,
                 "memory was opened as an event");
    test_require(raw_memory_open(&other, &event, NULL) == XPURT_ERROR_INVALID_HANDLE,
                 "an event was opened as memory");
    test_require(raw_memory_open(&other, &memory, &address) == XPURT_SUCCESS, "%s", other.text);
    raw_close(&other);
    raw_close(&raw);
}

Test(objects, altered_handles)
{
    scene_play(altered_handles, 3);
}

/* Exported and dropped for ever, reclaimed never: that costs no more than the cells there are. */
static void never_reclaims(struct scene *scene)
{
    struct handle handle;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    for (int i = 0; i < 2000; i++) {
        test_require(raw_event_export(&raw, 1, &handle) == 0, "%s", raw.text);
        raw_event_drop(&raw, 1);
    }
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);
    raw_close(&raw);
}

Test(objects, never_reclaims)
{
    scene_play(never_reclaims, 3);
}
