/* SPDX-License-Identifier: MIT */
/* tests/system/graphs.c: graphs on the wire, wrongly used. What is wrong is told; what was charged comes
 * back; nobody else notices. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(graphs, .timeout = 300);

#define PIECE 4096u

/* The answer to a request, which is no error that nobody asked for. */
static xpurt_result answer(struct raw *raw, Xpurt__ToDaemon *request)
{
    xpurt_result r = raw_result(raw, request);

    raw->errors -= r != XPURT_SUCCESS;
    return r;
}

static void begin(struct raw *raw, uint32_t stream, uint32_t graph)
{
    Xpurt__GraphBegin begin = XPURT__GRAPH_BEGIN__INIT;

    begin.stream = stream;
    begin.graph = graph;
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(GRAPH_BEGIN), .graph_begin = &begin });
}

static xpurt_result end(struct raw *raw, uint32_t stream, uint32_t *ret_commands)
{
    Xpurt__GraphEnd message = XPURT__GRAPH_END__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(GRAPH_END), .graph_end = &message };
    xpurt_result r;

    message.stream = stream;
    r = answer(raw, &request);
    if (r == XPURT_SUCCESS && ret_commands)
        *ret_commands = raw->reply->graph_ended->commands;
    return r;
}

static void launch(struct raw *raw, uint32_t stream, uint32_t graph, uint32_t first, uint32_t count,
                   uint64_t value, uint64_t *points, size_t n_points)
{
    Xpurt__GraphLaunch launch = XPURT__GRAPH_LAUNCH__INIT;

    launch.stream = stream;
    launch.graph = graph;
    launch.first = first;
    launch.count = count;
    launch.value = value;
    launch.points = points;
    launch.n_points = n_points;
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(GRAPH_LAUNCH), .graph_launch = &launch });
}

static void destroy(struct raw *raw, uint32_t graph)
{
    Xpurt__GraphDestroy destroy = XPURT__GRAPH_DESTROY__INIT;

    destroy.graph = graph;
    raw_send_command(raw,
                     &(Xpurt__Command){ RAW_COMMAND(GRAPH_DESTROY), .graph_destroy = &destroy });
}

static xpurt_result replace(struct raw *raw, uint32_t graph, uint64_t from, uint64_t to,
                            uint64_t size)
{
    Xpurt__GraphReplace message = XPURT__GRAPH_REPLACE__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(GRAPH_REPLACE), .graph_replace = &message };
    Xpurt__Location here = XPURT__LOCATION__INIT, there = XPURT__LOCATION__INIT;

    here.offset = from;
    there.offset = to;
    message.graph = graph;
    message.from = &here;
    message.to = &there;
    message.size = size;
    return answer(raw, &request);
}

/* A record that a graph counts: its values begin with 1. */
static void record(struct raw *raw, uint32_t stream, uint64_t value)
{
    Xpurt__Record record = XPURT__RECORD__INIT;

    record.stream = stream;
    record.value = value;
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(RECORD), .record = &record });
}

/* Graph 1: a copy, a record, a wait, a copy. Returns the memory it copies in. */
static uint64_t graph_one(struct raw *raw)
{
    uint64_t memory;

    test_ok(raw_memory_alloc(raw, 4 * PIECE, &memory));
    begin(raw, 0, 1);
    raw_copy(raw, 0, 0, memory, 0, memory + PIECE, PIECE);
    record(raw, 0, 1);
    raw_wait(raw, 0, 0);
    raw_copy(raw, 0, 0, memory + 2 * PIECE, 0, memory + PIECE, PIECE);
    test_ok(end(raw, 0, NULL));
    return memory;
}

static void open_with_stream(struct scene *scene, struct raw *raw)
{
    raw_open(raw, scene->daemon.socket);
    raw_stream_create(raw, 0, 0);
}

/* ---- it works ------------------------------------------------------------------------------------ */

static void launches(struct scene *scene)
{
    uint64_t point = 0;
    uint32_t commands;
    struct raw raw;

    open_with_stream(scene, &raw);
    (void)graph_one(&raw);
    for (int i = 0; i < 100; i++)
        launch(&raw, 0, 1, 0, 4, raw.values[0] + 1 + (uint64_t)i, &point, 1);
    raw.values[0] += 100;
    raw_expect_told(&raw, XPURT_SUCCESS);
    test_ok(raw_finish(&raw, 0));
    destroy(&raw, 1);
    begin(&raw, 0, 1);                  /* the number is free again */
    test_ok(end(&raw, 0, &commands));
    test_require(commands == 0, "%u commands", commands);
    launch(&raw, 0, 1, 0, 0, 0, NULL, 0);
    raw_expect_told(&raw, XPURT_SUCCESS);
    raw_close(&raw);
}

Test(graphs, launches)
{
    scene_play(launches, 5);
}

/* ---- what is not there --------------------------------------------------------------------------- */

static void numbers(struct scene *scene)
{
    struct raw raw;

    open_with_stream(scene, &raw);
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_INVALID_ARGUMENT, "there was nothing to end");
    test_require(end(&raw, 7, NULL) == XPURT_ERROR_INVALID_HANDLE, "a stream of nobody");
    test_require(end(&raw, UINT32_MAX, NULL) == XPURT_ERROR_INVALID_HANDLE, "no stream at all");
    destroy(&raw, 1);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    begin(&raw, 9, 1);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    launch(&raw, 0, 1, 0, 0, 0, NULL, 0);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_HANDLE);
    begin(&raw, 0, 0);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    begin(&raw, 0, 1);
    begin(&raw, 0, 2);                  /* twice on one stream */
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    begin(&raw, 0, 1);
    destroy(&raw, 1);                   /* it is not whole */
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    launch(&raw, 0, 1, 0, 0, 0, NULL, 0);
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_HANDLE);
    (void)graph_one(&raw);
    raw_stream_create(&raw, 1, 0);
    begin(&raw, 1, 1);                  /* the number is taken */
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    test_require(replace(&raw, 5, 0, 0, 1) == XPURT_ERROR_INVALID_HANDLE, "a graph of nobody");
    raw_close(&raw);
}

Test(graphs, numbers)
{
    scene_play(numbers, 5);
}

/* Parts, values and points that do not fit. */
static void launches_that_do_not_fit(struct scene *scene)
{
    const struct {
        uint32_t first, count;
        uint64_t value;                 /* behind the stream's last */
        size_t n_points;
        xpurt_result result;
    } wrong[] = {
        { 0, 5, 1, 1, XPURT_ERROR_INVALID_HANDLE },
        { 5, 0, 0, 0, XPURT_ERROR_INVALID_HANDLE },
        { 1, UINT32_MAX, 1, 1, XPURT_ERROR_INVALID_HANDLE },
        { UINT32_MAX, 2, 1, 1, XPURT_ERROR_INVALID_HANDLE },
        { 0, 4, 1, 0, XPURT_ERROR_INVALID_ARGUMENT },
        { 0, 4, 1, 2, XPURT_ERROR_INVALID_ARGUMENT },
        { 0, 1, 1, 1, XPURT_ERROR_INVALID_ARGUMENT },
        { 0, 4, 0, 1, XPURT_ERROR_INVALID_ARGUMENT },
        { 0, 4, 2, 1, XPURT_ERROR_INVALID_ARGUMENT },
        { 0, 4, UINT64_MAX / 2, 1, XPURT_ERROR_INVALID_ARGUMENT },
    };
    uint64_t points[2] = { 0 };
    struct raw raw;

    open_with_stream(scene, &raw);
    (void)graph_one(&raw);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        launch(&raw, 0, 1, wrong[i].first, wrong[i].count, raw.values[0] + wrong[i].value, points,
               wrong[i].n_points);
        raw_expect_stream_failed(&raw, wrong[i].result);
    }
    launch(&raw, 0, 1, 3, 1, 0, NULL, 0); /* without records no value is looked at */
    raw_expect_told(&raw, XPURT_SUCCESS);
    raw_stream_create(&raw, 1, 1);      /* another device */
    launch(&raw, 1, 1, 0, 1, 0, NULL, 0);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_DEVICE);
    raw_close(&raw);
}

Test(graphs, launches_that_do_not_fit)
{
    scene_play(launches_that_do_not_fit, 5);
}

/* Points of others, of nobody, of one's own future: as for any wait. */
static void points_that_cannot_be(struct scene *scene)
{
    uint64_t point;
    struct raw raw;

    open_with_stream(scene, &raw);
    (void)graph_one(&raw);
    point = point_pack(BOARD_SLOTS - 1, 3, 7);
    launch(&raw, 0, 1, 0, 4, raw.values[0] + 1, &point, 1);
    raw.values[0]++;
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_HANDLE);
    point = point_pack(raw.slot, 0, raw.values[0] + 1000000);
    launch(&raw, 0, 1, 0, 4, raw.values[0] + 1, &point, 1);
    raw.values[0]++;
    raw_expect_stream_failed(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    raw_close(&raw);
}

Test(graphs, points_that_cannot_be)
{
    scene_play(points_that_cannot_be, 5);
}

/* ---- while it is captured ------------------------------------------------------------------------ */

/* A stream that failed in the middle has no graph; it was told once. */
static void captures_that_fail(struct scene *scene)
{
    uint64_t memory;
    struct raw raw;

    open_with_stream(scene, &raw);
    test_ok(raw_memory_alloc(&raw, PIECE, &memory));
    begin(&raw, 0, 1);
    raw_copy(&raw, 0, 0, memory, 0, memory + PIECE, 64);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ADDRESS);
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_INVALID_ADDRESS, "the graph lacks a command");
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_INVALID_ADDRESS, "the stream has failed");
    destroy(&raw, 1);
    raw_expect_told(&raw, XPURT_ERROR_INVALID_HANDLE);
    raw_stream_destroy(&raw, 0);
    raw_stream_create(&raw, 1, 0);
    begin(&raw, 1, 1);
    record(&raw, 1, 2);                 /* graphs count from 1 */
    raw_expect_told(&raw, XPURT_ERROR_INVALID_ARGUMENT);
    test_require(end(&raw, 1, NULL) == XPURT_ERROR_INVALID_ARGUMENT, "the graph lacks a record");
    raw_close(&raw);
}

Test(graphs, captures_that_fail)
{
    scene_play(captures_that_fail, 5);
}

/* The stream goes, or the client does, with a capture open and launches unfinished. */
static void left_behind(struct scene *scene)
{
    uint64_t point = 0;
    struct raw raw;

    open_with_stream(scene, &raw);
    raw_stream_create(&raw, 1, 0);
    (void)graph_one(&raw);
    begin(&raw, 1, 2);
    record(&raw, 1, 1);
    raw_stream_destroy(&raw, 1);
    raw_expect_told(&raw, XPURT_SUCCESS);
    begin(&raw, 0, 2);                  /* its number is free */
    record(&raw, 0, 1);
    test_ok(end(&raw, 0, NULL));
    begin(&raw, 0, 3);
    raw_wait(&raw, 0, 0);
    launch(&raw, 0, 1, 0, 4, raw.values[0] + 1, &point, 1);
    raw_close(&raw);
}

Test(graphs, left_behind)
{
    scene_play(left_behind, 20);
}

/* ---- replacing ----------------------------------------------------------------------------------- */

static void replacing(struct scene *scene)
{
    uint64_t memory, other, point = 0;
    struct raw raw, stranger;

    open_with_stream(scene, &raw);
    raw_open(&stranger, scene->daemon.socket);
    test_ok(raw_memory_alloc(&stranger, PIECE, &other));
    memory = graph_one(&raw);
    test_require(replace(&raw, 1, memory, other, PIECE) == XPURT_ERROR_INVALID_ADDRESS,
                 "memory of another process");
    test_require(replace(&raw, 1, memory, memory, UINT64_MAX) == XPURT_ERROR_INVALID_ADDRESS,
                 "all memory there is");
    test_require(replace(&raw, 1, UINT64_MAX - 5, memory, PIECE) == XPURT_ERROR_INVALID_ADDRESS,
                 "beyond all addresses");
    test_require(replace(&raw, 1, memory, memory, 0) == XPURT_ERROR_INVALID_ADDRESS, "nothing");
    test_require(replace(&raw, 1, memory + 1, memory, PIECE) == XPURT_ERROR_INVALID_ARGUMENT,
                 "a part of what a copy uses");
    test_require(replace(&raw, 1, memory, memory + PIECE, PIECE) == XPURT_ERROR_INVALID_ARGUMENT,
                 "what the copy reads");
    test_ok(replace(&raw, 1, memory, memory + 3 * PIECE, PIECE));
    for (int i = 0; i < 50; i++) {      /* from both to both, with launches in between */
        launch(&raw, 0, 1, 0, 4, ++raw.values[0], &point, 1);
        test_ok(replace(&raw, 1, memory + (i % 2 ? 0 : 3) * PIECE, memory + (i % 2 ? 3 : 0) * PIECE,
                        PIECE));
    }
    raw_memory_free(&raw, memory);
    launch(&raw, 0, 1, 0, 4, ++raw.values[0], &point, 1);
    raw_expect_told(&raw, XPURT_SUCCESS);
    test_ok(raw_finish(&raw, 0));
    raw_close(&stranger);
    raw_close(&raw);
}

Test(graphs, replacing)
{
    scene_play(replacing, 5);
}

/* ---- limits -------------------------------------------------------------------------------------- */

/* One graph's, then the user's; what is over is told at the end, and the stream goes on. */
static void limits(struct scene *scene)
{
    uint32_t commands;
    struct raw raw;

    open_with_stream(scene, &raw);
    for (uint32_t graph = 1; graph <= 2; graph++) {
        begin(&raw, 0, graph);
        for (uint64_t i = 1; i <= 10; i++)
            record(&raw, 0, i);
        test_ok(end(&raw, 0, &commands));
        test_require(commands == 10, "%u commands", commands);
    }
    begin(&raw, 0, 3);
    for (uint64_t i = 1; i <= 9; i++)   /* 22 + 1 + 9 are more than 30 */
        record(&raw, 0, i);
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_QUOTA, "more than a user may have");
    begin(&raw, 0, 3);
    for (uint64_t i = 1; i <= 7; i++)   /* all there are */
        record(&raw, 0, i);
    test_ok(end(&raw, 0, NULL));
    begin(&raw, 0, 4);
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_QUOTA, "an empty one more");
    test_require(replace(&raw, 3, 1, 1, 1) == XPURT_ERROR_INVALID_ADDRESS, "no memory is there");
    destroy(&raw, 3);
    destroy(&raw, 1);
    destroy(&raw, 2);
    begin(&raw, 0, 3);
    for (uint64_t i = 1; i <= 15; i++)
        record(&raw, 0, i);
    test_require(end(&raw, 0, NULL) == XPURT_ERROR_QUOTA, "more than a graph may have");
    raw_record(&raw, 0);
    test_ok(raw_finish(&raw, 0));
    raw_expect_told(&raw, XPURT_SUCCESS);
    raw_close(&raw);
}

Test(graphs, limits)
{
    struct scene scene;

    scene_begin(&scene, "user-graph-commands = 30\ngraph-commands = 10\n");
    scene_attack(&scene, limits, 5);
    scene_end(&scene);
}

/* ---- fairness ------------------------------------------------------------------------------------ */

/* A frame full of the largest launches is done in turns: the witness, who needs some of them for each
 * of its rounds, works on meanwhile. */
static void flood(struct scene *scene)
{
    uint64_t rounds, memory;
    struct raw raw;

    open_with_stream(scene, &raw);
    test_ok(raw_memory_alloc(&raw, 2 * PIECE, &memory));
    begin(&raw, 0, 1);
    for (int i = 0; i < 256; i++)
        raw_copy(&raw, 0, 0, memory, 0, memory + PIECE, 64);
    test_ok(end(&raw, 0, NULL));
    rounds = atomic_load(&scene->rounds);
    for (int i = 0; i < 2000; i++)
        launch(&raw, 0, 1, 0, 256, 0, NULL, 0);
    raw_record(&raw, 0);
    test_ok(raw_finish(&raw, 0));
    test_require(atomic_load(&scene->rounds) > rounds, "nobody else had a turn");
    raw_expect_told(&raw, XPURT_SUCCESS);
    raw_close(&raw);
}

Test(graphs, flood)
{
    scene_play(flood, 2);
}

/* A frame with another field in front of its commands cannot be cut into turns. Graph 1, of 256 commands,
 * is there. */
static void behind_a_field(struct raw *raw, const Xpurt__Command *command, size_t times)
{
    static uint8_t payload[FRAME_PAYLOAD_MAX];
    const size_t size = xpurt__command__get_packed_size(command);
    size_t used = 0;

    payload[used++] = 2 << 3;           /* `serial`, which is 0 */
    payload[used++] = 0;
    while (times--) {
        payload[used++] = 1 << 3 | 2;
        payload[used++] = (uint8_t)size;
        used += xpurt__command__pack(command, payload + used);
    }
    raw_send_frame(raw, payload, used);
}

static void graph_of_256(struct scene *scene, struct raw *raw)
{
    uint64_t memory;

    open_with_stream(scene, raw);
    test_ok(raw_memory_alloc(raw, 2 * PIECE, &memory));
    begin(raw, 0, 1);
    for (int i = 0; i < 256; i++)
        raw_copy(raw, 0, 0, memory, 0, memory + PIECE, 64);
    test_ok(end(raw, 0, NULL));
}

static void expect_refused(struct raw *raw)
{
    test_require(raw_closed(raw), "a turn without end");
    test_require(raw->error == XPURT_ERROR_PROTOCOL, "error %d: %s", (int)raw->error, raw->text);
    raw_close(raw);
}

/* One launch may be in such a frame, not thousands; nor may many graphs end there. */
static void costly_behind_a_field(struct scene *scene)
{
    Xpurt__GraphLaunch launching = XPURT__GRAPH_LAUNCH__INIT;
    Xpurt__GraphDestroy destroying = XPURT__GRAPH_DESTROY__INIT;
    const Xpurt__Command launch_it = { RAW_COMMAND(GRAPH_LAUNCH), .graph_launch = &launching };
    const Xpurt__Command destroy_it = { RAW_COMMAND(GRAPH_DESTROY), .graph_destroy = &destroying };
    struct raw raw;

    launching.graph = destroying.graph = 1;
    launching.count = 256;
    graph_of_256(scene, &raw);
    behind_a_field(&raw, &launch_it, 1);
    raw_expect_told(&raw, XPURT_SUCCESS);
    raw_record(&raw, 0);
    test_ok(raw_finish(&raw, 0));
    behind_a_field(&raw, &launch_it, 5000);
    expect_refused(&raw);
    graph_of_256(scene, &raw);
    behind_a_field(&raw, &destroy_it, 2);
    expect_refused(&raw);
}

Test(graphs, costly_behind_a_field)
{
    scene_play(costly_behind_a_field, 5);
}
