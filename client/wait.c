/* SPDX-License-Identifier: MIT */
/* client/wait.c: see wait.h.
 *
 * Guarantees of this file:
 *   - a point that was reached is never reported as anything else, also when its process or the
 *     daemon is gone by then;
 *   - no waiter outlives the daemon by more than a slice, nor its peer: status is stored before
 *     the wake word is bumped (order rule 3), and the word is read before status is.
 */
#include "client/wait.h"

#include "client/arena.h"
#include "client/result.h"
#include "client/session.h"
#include "proto/cpu.h"
#include "proto/hot.h"

#include <time.h>

#define SPIN_NS UINT64_C(20000)         /* a hand-off to a busy process takes less */
#define SPINS_BRIEF_MAX 63u
#define SELDOM_NS UINT64_C(1000000)     /* between two waits */
#define SPIN_BURST 32                   /* looks between looks at the clock: a microsecond */
#define POLLS_PER_CHECK 1024u           /* not-ready queries between looks at the socket */

static _Thread_local const uint64_t *held;

HOT uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t deadline_in(uint64_t timeout_ns)
{
    uint64_t now;

    if (timeout_ns == UINT64_MAX) /* for ever: no look at the clock, which is cold after a sleep */
        return UINT64_MAX;
    now = now_ns();
    return timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
}

uint64_t deadline_rest(uint64_t deadline)
{
    uint64_t now;

    if (deadline == UINT64_MAX)
        return UINT64_MAX;
    now = now_ns();
    return now < deadline ? deadline - now : 0;
}

void wait_hold(const uint64_t *point)
{
    held = point;
}

bool wait_holds(void)
{
    return held;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The daemon's sentence about an own stream. It was sent before the status was set, but may have had to
 * wait behind others; an answer comes behind it. */
static const char *stream_text(uint32_t stream)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { REQUEST(STATS), .stats = &stats };
    struct reply reply = REPLY_NULL;

    connection_receive();
    if (!connection_stream_text(stream) && connection_state() == CONNECTION_READY) {
        (void)connection_request(&request, XPURT__TO_CLIENT__REPLY_COUNTERS, 0, &reply);
        reply_deinit(&reply);
        connection_receive();           /* it came by the ring, the sentence by the socket */
    }
    return connection_stream_text(stream);
}

xpurt_result point_error(uint64_t point, xpurt_result status)
{
    const struct board_header *header = &arena_boards[point_slot(point)].header;
    const char *text;

    if (point_slot(point) == session.slot) {
        text = stream_text(point_stream(point));
        error_set(status, "%s", text ? text : xpurt_result_string(status));
    } else if (status == XPURT_ERROR_PEER_LOST && arena_dead(point_slot(point))) {
        error_set(status, "the process %d that recorded this event is gone", (int)header->pid);
    } else {
        error_set(status,
                  "the stream of process %d on which this event was recorded has failed: "
                  "%s",
                  (int)header->pid, xpurt_result_string(status));
    }
    return status;
}

static xpurt_result board_need(uint32_t slot)
{
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    if (!arena_slots[slot].mapped)
        r = session_open_board(slot);
    session_leave();
    return r;
}

xpurt_result point_check(uint64_t point)
{
    xpurt_result state = arena_point_state(point);

    if (state == ARENA_UNMAPPED) {
        state = board_need(point_slot(point));
        if (state == XPURT_ERROR_STALE_HANDLE)
            return XPURT_SUCCESS;
        if (state)
            return state;
        state = arena_point_state(point);
        if (state == ARENA_UNMAPPED)    /* gone again: the next look opens it again */
            state = XPURT_NOT_READY;
    }
    if (state == XPURT_SUCCESS || state == XPURT_NOT_READY)
        return state;

    connection_lock();
    point_error(point, state);
    connection_unlock();
    return state;
}

/* XPURT_NOT_READY while there is a daemon that can complete @p point. */
static xpurt_result daemon_check(uint64_t point)
{
    xpurt_result r;

    if (connection_alive())
        return XPURT_NOT_READY;
    if (arena_reached(point))
        return XPURT_SUCCESS;

    r = session_enter();                /* a forked child connects here */
    if (r)
        return r;
    session_leave();
    return XPURT_NOT_READY;
}

xpurt_result point_poll(uint64_t point)
{
    static _Atomic uint32_t polls;
    xpurt_result state = point_check(point);

    if (state != XPURT_NOT_READY)
        return state;
    if (connection_state() == CONNECTION_READY &&
        atomic_fetch_add_explicit(&polls, 1, memory_order_relaxed) % POLLS_PER_CHECK)
        return state;
    return daemon_check(point);
}

static bool spin_burst(uint64_t point)
{
    for (unsigned i = 0; i < SPIN_BURST; i++) {
        if (arena_reached(point))
            return true;
        cpu_relax();
    }
    return false;
}

/* Look for a while without sleeping. That is in vain where the work is long, and where the daemon
 * waits for the very CPU it takes: then so many of the next waits look once only, the more the more
 * often it was. The daemon says where it runs: who waits seldom believes that at once. Who waits all
 * the time does not, as two that keep a CPU busy are moved apart by the kernel. */
static bool spin(uint64_t point)
{
    const struct board_header *header = &arena_boards[point_slot(point)].header;
    static _Thread_local uint32_t in_vain, brief;
    static _Thread_local uint64_t last;
    uint64_t now, end;
    bool seldom;

    if (spin_burst(point))
        return true;
    if (brief) {
        brief--;
        return false;
    }
    now = now_ns();
    seldom = now - last > SELDOM_NS;
    last = now;
    if (seldom && atomic_load_explicit(&header->cpu, memory_order_relaxed) == cpu_here())
        return false;
    end = now + SPIN_NS;
    do {
        if (spin_burst(point)) {
            in_vain = 0;
            return true;
        }
    } while (now_ns() < end);
    in_vain = in_vain < SPINS_BRIEF_MAX ? 2 * in_vain + 1 : SPINS_BRIEF_MAX;
    brief = in_vain;
    return false;
}

xpurt_result point_wait(uint64_t point, bool blocking, uint64_t timeout_ns)
{
    const struct board_timeline *timeline = arena_timeline(point);
    uint64_t deadline;
    xpurt_result state;

    if (arena_reached(point))
        return XPURT_SUCCESS;
    if (held && point > *held && (point ^ *held) >> POINT_VALUE_BITS == 0)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "a host function cannot wait for what comes behind it on its own stream");
    deadline = deadline_in(timeout_ns);
    if (!blocking && timeout_ns > SPIN_NS && spin(point))
        return XPURT_SUCCESS;

    for (;;) {
        uint64_t rest;
        uint32_t wake;

        mark_set(arena_mark(point), MARK_SLEEPS); /* order rule 4 */
        wake = atomic_load(&timeline->wake);
        state = point_check(point);
        if (state == XPURT_NOT_READY)
            state = daemon_check(point);
        if (state != XPURT_NOT_READY)
            return state;

        rest = deadline_rest(deadline);
        if (!rest)
            return XPURT_TIMEOUT;
        if (mark_there(arena_mark(point), MARK_SLEEPS))
            board_sleep(&timeline->wake, wake, rest < WAIT_SLICE_NS ? rest : WAIT_SLICE_NS);
    }
}
