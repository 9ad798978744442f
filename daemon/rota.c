/* SPDX-License-Identifier: MIT */
/* daemon/rota.c: turns, and how long to watch who has nothing to do.
 *
 * Guarantees of this file:
 *   - a round gives each member at most one turn, whatever members do to one another in theirs;
 *   - watching ends after the configured time, after less where it has not paid, and at once where
 *     others want the CPU; without members nothing runs;
 *   - on which CPUs the thread may run stays as the administrator had it.
 *
 * Does watching pay? Where it was in vain for the whole time, so many of the member's next watches
 * are brief, the more the more often it was; until one pays. A brief one bridges the time between
 * two commands of a client that sends one after the other.
 */
#include "daemon/rota.h"

#include "proto/cpu.h"
#include "proto/hot.h"

#include <sched.h>
#include <string.h>
#include <utlist.h>

#define BRIEF_NS UINT64_C(2000)
#define BRIEF_MAX 63u
#define SOON_NS UINT64_C(50000)     /* who rings again so soon should have been watched */
#define GAP_NS UINT64_C(100000)     /* between two quiet rounds: others want this CPU ... */
#define BUSY_NS UINT64_C(100000000) /* ... for about so long */
#define WAYS 64u                    /* made with so long between two: we are in somebody's way */
#define WAYS_NS UINT64_C(20000000)
#define MOVE_EVERY_NS UINT64_C(20000000)
#define RATE_NS UINT64_C(20000)         /* time enough to learn how fast the counter is ... */
#define RATES 3u                        /* ... if measured so often */

/* The processor's counter, where it has one, for guesses only. The kernel's clock lies in pages that are
 * in no cache when we wake up: to read it takes a fifth of what serving a Record does. */
static uint64_t ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return uv_hrtime();
#endif
}

/* SOON_NS in ticks: the least of a few measurements, as the kernel may give our CPU away in one. */
static uint64_t soon_ticks(void)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < RATES; i++) {
        uint64_t begin = ticks(), begin_ns = uv_hrtime(), ns, soon;

        do
            ns = uv_hrtime() - begin_ns;
        while (ns < RATE_NS);
        soon = (ticks() - begin) * SOON_NS / ns;
        if (soon < least)
            least = soon;
    }
    return least;
}

/* How long @p member is watched this time. */
static uint64_t watch_ns(const struct rota *rota, const struct rota_member *member)
{
    uint64_t most = *rota->spin_us * 1000;

    return member->brief && most > BRIEF_NS ? BRIEF_NS : most;
}

/* The watch ends with work, or in vain. */
static void watch_end(struct rota *rota, struct rota_member *member, uint64_t now, bool work)
{
    if (work && now - member->quiet_ns > BRIEF_NS)
        member->in_vain = member->missed = 0;
    if (work)
        return;
    if (now < rota->busy_until_ns) {
        member->in_vain = member->brief = BRIEF_MAX;
    } else if (member->brief) {
        member->brief--;
    } else {
        member->in_vain = member->in_vain < BRIEF_MAX ? 2 * member->in_vain + 1 : BRIEF_MAX;
        member->brief = member->in_vain;
    }
}

void rota_worked(struct rota *rota)
{
    rota->quiet_round_ns = 0;
}

/* Be allowed @p before again. The kernel remembers what was asked for: where that is all there is, ask
 * for every CPU, or those would be denied that a cpuset gets later. */
static void allow_again(const cpu_set_t *before)
{
    cpu_set_t every, now;

    memset(&every, 0xff, sizeof(every));
    if (sched_setaffinity(0, sizeof(every), &every) < 0 ||
        sched_getaffinity(0, sizeof(now), &now) < 0 || !CPU_EQUAL(&now, before))
        (void)sched_setaffinity(0, sizeof(*before), before);
}

/* Go on on CPU @p to - 1, or on any other one than this for 0. False: that is not for us. */
static bool move(uint32_t to)
{
    cpu_set_t before, wanted;
    bool moved;

    if (sched_getaffinity(0, sizeof(before), &before) < 0)
        return false;
    wanted = before;
    CPU_CLR((size_t)sched_getcpu(), &wanted);
    for (uint32_t cpu = 0; to && cpu < CPU_SETSIZE; cpu++)
        if (cpu != to - 1)
            CPU_CLR(cpu, &wanted);
    moved = CPU_COUNT(&wanted) && sched_setaffinity(0, sizeof(wanted), &wanted) == 0;
    if (moved)
        allow_again(&before);
    return moved;
}

/* Leave this CPU to others, as move() does; not all the time. False: stay. */
static bool give_way(struct rota *rota, uint64_t now, uint32_t to)
{
    if (now - rota->moved_ns <= MOVE_EVERY_NS)
        return false;
    rota->moved_ns = now;
    rota->ways = 0;
    return move(to);
}

HOT bool rota_near(const struct rota_member *member)
{
    uint32_t cpu = member->cpu(member);

    return cpu && cpu == cpu_here();
}

/* It is back, and was watched for too short a time: again and again, from another CPU, and a long watch
 * was in vain, or there would be no short ones? It goes on when we leave this CPU to somebody else, on
 * whom it waits; then each of its bells has to get to another CPU, which takes longest of all. */
static void judge_watch(struct rota *rota, struct rota_member *member, bool mistake)
{
    member->missed = mistake ? member->missed + 1 : 0;
    if (member->missed < WAYS)
        return;
    member->missed = 0;
    (void)give_way(rota, uv_hrtime(), member->cpu(member));
}

/* It is back: was it right to put it to sleep? From this CPU it could not have come while we looked. */
static void judge(struct rota *rota, struct rota_member *member)
{
    bool mistake = ticks() - member->left < rota->soon && !rota_near(member);

    member->left = 0;
    if (member->watched) {
        judge_watch(rota, member, mistake);
        return;
    }
    member->rash = mistake ? (member->rash < BRIEF_MAX ? 2 * member->rash + 1 : BRIEF_MAX) : 0;
    member->stay = member->rash;
}

static void put_to_sleep(struct rota *rota, struct rota_member *member, bool watched)
{
    member->left = ticks();
    member->watched = watched;
    rota_remove(rota, member);
}

/* Put to sleep at once who has worked, and can bring more only when we leave this CPU. */
HOT static bool leave(struct rota *rota, struct rota_member *member)
{
    if (!rota_near(member))
        return false;
    if (member->stay) {
        member->stay--;
        return false;
    }
    if (!member->sleep(member))
        return false;
    put_to_sleep(rota, member, false);
    return true;
}

/* What becomes of a member after a turn. */
static void turn_end(struct rota *rota, struct rota_member *member, enum turn turn, uint64_t now)
{
    if (turn == TURN_OVER)
        rota_remove(rota, member);
    if (turn == TURN_WORKED) {
        if (member->quiet_ns)
            watch_end(rota, member, now, true);
        member->quiet_ns = 0;
        rota_worked(rota);
        if (member->listed && leave(rota, member))
            return;
    }
    if (turn != TURN_QUIET || !member->listed)
        return;

    if (!member->quiet_ns)
        member->quiet_ns = now;
    if (now - member->quiet_ns < watch_ns(rota, member) || !member->sleep(member))
        return;
    watch_end(rota, member, now, false);
    put_to_sleep(rota, member, true);
}

static void member_turn(struct rota *rota, struct rota_member *member, uint64_t now)
{
    if (member->left)
        judge(rota, member);
    turn_end(rota, member, member->turn(member), now);
}

/* Somebody needs this CPU to go on. Again and again, while others keep us busy? Those bring work in
 * heaps, and sleep when there is no room for more: they share a CPU with us well, who waits for each
 * command does not. The kernel sees only that all are busy. */
static void make_way(struct rota *rota, uint64_t now)
{
    rota->ways = now - rota->way_ns > WAYS_NS ? 1 : rota->ways + 1;
    rota->way_ns = now;
    if (rota->ways < WAYS || !give_way(rota, now, 0))
        sched_yield();
}

/* Each member has one turn. */
static void members_turn(struct rota *rota)
{
    uint64_t now = uv_hrtime();
    struct rota_member *member;

    if (rota->quiet_round_ns && now - rota->quiet_round_ns > GAP_NS)
        rota->busy_until_ns = now + BUSY_NS;
    rota->quiet_round_ns = now;         /* until somebody has worked */
    rota->round++;
    while ((member = rota->members) && member->round != rota->round) {
        member->round = rota->round;
        DL_DELETE(rota->members, member);
        DL_APPEND(rota->members, member);
        member_turn(rota, member, now);
    }
    if (rota->yield)
        make_way(rota, now);
    rota->yield = false;
}

HOT bool rota_round(struct rota *rota, bool wait)
{
    bool alive = true;

    if (bells_await(&rota->bells, wait && !rota->members))
        alive = uv_run(rota->bells.loop, UV_RUN_NOWAIT);
    if (rota->members)
        members_turn(rota);
    return alive || rota->members;
}

HOT bool rota_shared(const struct rota *rota)
{
    return rota->members && rota->members->next;
}

void rota_add(struct rota *rota, struct rota_member *member)
{
    if (member->listed)
        return;
    member->listed = true;
    member->quiet_ns = 0;
    if (!rota->members)
        rota->quiet_round_ns = 0;
    DL_APPEND(rota->members, member);
}

HOT void rota_took_turn(struct rota *rota, struct rota_member *member, enum turn turn)
{
    if (turn == TURN_OVER)
        return;
    if (member->left)
        judge(rota, member);
    if (turn == TURN_WORKED)
        rota_worked(rota);
    if (turn != TURN_WORKED || !leave(rota, member))
        rota_add(rota, member);
}

void rota_remove(struct rota *rota, struct rota_member *member)
{
    if (!member->listed)
        return;
    member->listed = false;
    DL_DELETE(rota->members, member);
}

int rota_init(struct rota *rota, uv_loop_t *loop, const uint64_t *spin_us)
{
    *rota = (struct rota){ .spin_us = spin_us, .soon = soon_ticks() };
    return bells_init(&rota->bells, loop);
}

void rota_deinit(struct rota *rota)
{
    bells_deinit(&rota->bells);
}
