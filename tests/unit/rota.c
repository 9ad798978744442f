/* SPDX-License-Identifier: MIT */
/* tests/unit/rota.c: turns in rounds, and making way for who needs the loop's CPU. */
#include "daemon/rota.h"

#include <criterion/criterion.h>
#include <sched.h>

#define TURNS 1000u
#define MOVE_WITHIN_NS UINT64_C(30000000000) /* with others busy too it takes a while */

static const uint64_t spin_us = 50;

struct busy {
    struct rota_member member;          /* first */
    struct rota *rota;
    unsigned turns, ahead;              /* the most turns it had more than the other one */
    struct busy *other;
    bool needs_cpu;
    uint64_t until;                     /* the loop moved, or this time; 0: so many turns */
};

static enum turn busy_turn(struct rota_member *member)
{
    struct busy *busy = (struct busy *)member;

    busy->turns++;
    if (busy->turns > busy->other->turns && busy->turns - busy->other->turns > busy->ahead)
        busy->ahead = busy->turns - busy->other->turns;
    busy->rota->yield |= busy->needs_cpu;
    if (busy->until)
        return !busy->rota->moved_ns && uv_hrtime() < busy->until ? TURN_WORKED : TURN_OVER;
    return busy->turns < TURNS ? TURN_WORKED : TURN_OVER;
}

static bool never(struct rota_member *member)
{
    (void)member;
    return false;
}

static uint32_t nowhere(const struct rota_member *member)
{
    (void)member;
    return 0;
}

/* Whether the loop wanted to move. */
static bool run_two(struct busy busy[2])
{
    struct rota rota;
    uv_loop_t loop;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(rota_init(&rota, &loop, &spin_us), 0);
    for (unsigned i = 0; i < 2; i++) {
        busy[i].member.turn = busy_turn;
        busy[i].member.sleep = never;
        busy[i].member.cpu = nowhere;
        busy[i].rota = &rota;
        busy[i].other = &busy[!i];
        rota_add(&rota, &busy[i].member);
    }
    cr_assert(rota_shared(&rota));
    while (rota_round(&rota, true))
        ;
    cr_assert_null(rota.members);
    rota_deinit(&rota);
    cr_assert_eq(uv_loop_close(&loop), 0);
    return rota.moved_ns;
}

Test(rota, members_take_turns)
{
    struct busy busy[2] = { 0 };

    cr_assert_not(run_two(busy));
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(busy[i].turns, TURNS);
        cr_assert_leq(busy[i].ahead, 1);
    }
}

/* With @p allowed CPUs. */
static void make_way_on(const cpu_set_t *allowed)
{
    uint64_t until = uv_hrtime() + MOVE_WITHIN_NS;
    struct busy busy[2] = { { .until = until }, { .until = until, .needs_cpu = true } };
    cpu_set_t after;

    cr_assert_eq(sched_setaffinity(0, sizeof(*allowed), allowed), 0);
    cr_assert(run_two(busy));
    cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
    cr_assert(CPU_EQUAL(&after, allowed));
}

Test(rota, moves_out_of_the_way_and_stays_free)
{
    cpu_set_t all;

    cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    make_way_on(&all);
}

Test(rota, moves_only_where_it_may)
{
    cpu_set_t some;

    cr_assert_eq(sched_getaffinity(0, sizeof(some), &some), 0);
    CPU_CLR((size_t)sched_getcpu(), &some);
    if (CPU_COUNT(&some) < 2)
        cr_skip_test("there are too few CPUs to move among some of them");
    make_way_on(&some);
}

Test(rota, stays_where_it_must)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    make_way_on(&one);
}

static enum turn quiet_turn(struct rota_member *member)
{
    (void)member;
    return TURN_QUIET;
}

static bool always(struct rota_member *member)
{
    (void)member;
    return true;
}

static uint32_t here(const struct rota_member *member)
{
    (void)member;
    return (uint32_t)sched_getcpu() + 1;
}

/* A CPU of ours, and not this one; 0 where there is none. */
static uint32_t elsewhere(const struct rota_member *member)
{
    cpu_set_t ours;

    (void)member;
    cr_assert_eq(sched_getaffinity(0, sizeof(ours), &ours), 0);
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &ours) && (int)cpu != sched_getcpu())
            return cpu + 1;
    return 0;
}

/* One that brings work by its bell, as soon as it was put to sleep. Whether the loop wanted to move, up
 * to @p until or so often. */
static bool ring_at_once(uint32_t (*cpu)(const struct rota_member *member), uint64_t until)
{
    struct rota_member member = { .turn = quiet_turn, .sleep = always, .cpu = cpu };
    struct rota rota;
    uv_loop_t loop;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(rota_init(&rota, &loop, &spin_us), 0);
    for (unsigned i = 0; !rota.moved_ns && (until ? uv_hrtime() < until : i < TURNS); i++) {
        rota_took_turn(&rota, &member, TURN_WORKED);
        while (member.listed)
            rota_round(&rota, false);
    }
    rota_deinit(&rota);
    cr_assert_eq(uv_loop_close(&loop), 0);
    return rota.moved_ns;
}

/* It goes on once we leave the CPU to somebody else: then not to that one. */
Test(rota, moves_where_bells_come_from_elsewhere_at_once)
{
    cr_assert(ring_at_once(elsewhere, uv_hrtime() + MOVE_WITHIN_NS));
}

Test(rota, stays_where_bells_come_from)
{
    cr_assert_not(ring_at_once(here, 0));
}

/* What comes from this CPU cannot come while we look: nobody is watched for it, however soon it comes. */
Test(rota, does_not_watch_its_own_cpu)
{
    struct rota_member member = { .turn = quiet_turn, .sleep = always, .cpu = here };
    struct rota rota;
    uv_loop_t loop;
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(rota_init(&rota, &loop, &spin_us), 0);
    for (unsigned i = 0; i < TURNS; i++) {
        rota_took_turn(&rota, &member, TURN_WORKED);
        cr_assert_not(member.listed);
    }
    rota_deinit(&rota);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
