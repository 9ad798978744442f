/* SPDX-License-Identifier: MIT */
/* tests/system/waiters.c: very many streams that wait for records of one, which are slow to come. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(waiters, .timeout = 300);

#define SESSIONS 30
#define STREAMS 500                     /* each: below user-streams together */
#define RECORDS 20000
#define RECORDER 1                      /* stream of the one who records; 0 is waited for */

static struct raw crowd[SESSIONS];
static struct raw recorder;

static void crowd_begin(struct scene *scene)
{
    raw_open(&recorder, scene->daemon.socket);
    raw_stream_create(&recorder, 0, 0);
    raw_stream_create(&recorder, RECORDER, 0);
    for (int i = 0; i < SESSIONS; i++)
        raw_open(&crowd[i], scene->daemon.socket);
}

static void crowd_wait(uint64_t (*value)(uint64_t waiter))
{
    for (int i = 0; i < SESSIONS; i++) {
        for (uint32_t s = 0; s < STREAMS; s++) {
            raw_stream_create(&crowd[i], s, 0);
            raw_wait(&crowd[i], s,
                     point_pack(recorder.slot, 0, recorder.values[0] + value(i * STREAMS + s)));
            raw_record(&crowd[i], s);
        }
        raw_settle(&crowd[i]);
        test_require(!crowd[i].errors, "%s", crowd[i].text);
    }
}

static void crowd_end(void)
{
    for (int i = 0; i < SESSIONS; i++)
        raw_close(&crowd[i]);
    raw_close(&recorder);
}

static uint64_t records_ms(struct scene *scene)
{
    uint64_t begin = scene_cpu_ms(scene);

    for (int i = 0; i < RECORDS; i++)
        raw_record(&recorder, RECORDER);
    raw_settle(&recorder);
    test_require(!recorder.errors, "%s", recorder.text);
    return scene_cpu_ms(scene) - begin;
}

static uint64_t never(uint64_t waiter)
{
    return 1000000 + waiter % 7;
}

/* Who waits is looked at when what it waits for comes, not at each record of its session. */
static void cost_nothing(struct scene *scene)
{
    uint64_t alone, waited_for;

    crowd_begin(scene);
    alone = records_ms(scene);
    crowd_wait(never);
    waited_for = records_ms(scene);
    test_require(waited_for < 4 * alone + 1000, "%llu ms, without waiters %llu ms",
                 (unsigned long long)waited_for, (unsigned long long)alone);
    crowd_end();
}

Test(waiters, cost_nothing_before_their_time)
{
    scene_play(cost_nothing, 2);
}

#define TURNS 64

static uint64_t mixed(uint64_t waiter)
{
    return 1 + waiter * 7919 % TURNS;
}

/* Each goes on with its record, none before. */
static void in_their_order(struct scene *scene)
{
    crowd_begin(scene);
    crowd_wait(mixed);
    for (uint64_t turn = 0; turn <= TURNS; turn++) {
        if (turn)
            raw_record(&recorder, 0);
        raw_settle(&recorder);
        for (uint64_t waiter = 0; waiter < SESSIONS * STREAMS; waiter++) {
            struct raw *raw = &crowd[waiter / STREAMS];
            uint32_t stream = waiter % STREAMS;

            if (mixed(waiter) <= turn)
                test_require(raw_finish(raw, stream) == XPURT_SUCCESS, "a waiter is stuck");
            else
                test_require(
                    !timeline_reached(&raw->progress->timelines[stream], raw->values[stream]),
                    "record %llu let one go on that waits for %llu", (unsigned long long)turn,
                    (unsigned long long)mixed(waiter));
        }
    }
    crowd_end();
}

Test(waiters, go_on_in_their_order)
{
    scene_play(in_their_order, 2);
}

/* Half of them leave; then the one they wait for does. */
static void both_leave(struct scene *scene)
{
    crowd_begin(scene);
    crowd_wait(mixed);
    for (int i = 0; i < SESSIONS; i += 2)
        raw_close(&crowd[i]);
    raw_record(&recorder, 0);
    raw_close(&recorder);
    for (int i = 1; i < SESSIONS; i += 2)
        for (uint32_t s = 0; s < STREAMS; s++) {
            xpurt_result result = raw_finish(&crowd[i], s);

            test_require(result ==
                             (mixed(i * STREAMS + s) == 1 ? XPURT_SUCCESS : XPURT_ERROR_PEER_LOST),
                         "%d", (int)result);
        }
    for (int i = 1; i < SESSIONS; i += 2)
        raw_close(&crowd[i]);
}

Test(waiters, both_sides_leave)
{
    scene_play(both_leave, 2);
}
