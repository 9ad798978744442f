/* SPDX-License-Identifier: MIT */
/* client/generation.c: see generation.h.
 *
 * Guarantees of this file:
 *   - no record is slept through: a waiter marks the cell before it looks, and who records looks for
 *     the mark after it has counted (order rule 4);
 *   - a wait ends with an error when those who could record are gone, one of them by dying; the
 *     daemon is asked for that between slices, seldom, and more often once the event's maker is dead;
 *   - a record that was made is never reported as one that cannot come.
 */
#include "client/generation.h"

#include "client/arena.h"
#include "client/result.h"
#include "client/wait.h"
#include "proto/hot.h"

#define ASK_EVERY_NS UINT64_C(1000000000)

HOT bool generation_there(const struct board_cell *cell, uint32_t generation)
{
    return (int32_t)(atomic_load(&cell->generation) - generation) >= 0;
}

static uint64_t cell_point(const struct board_cell *cell)
{
    return atomic_load_explicit(&cell->point, memory_order_acquire);
}

void generation_wait_begin(struct generation_wait *wait, xpurt_event *event, uint32_t generation)
{
    wait->event = event;
    wait->place = event_place(event);
    wait->generation = generation;
    wait->ask_at = now_ns() + WAIT_SLICE_NS;
}

static xpurt_result nobody_left(const struct generation_wait *wait)
{
    return error_set(XPURT_ERROR_PEER_LOST,
                     "record %u of the event will not come: nobody is left who could make it",
                     wait->generation);
}

/* Ask the daemon whether another process may still record. The lock is held, and free meanwhile. */
static xpurt_result sharers_ask(const struct generation_wait *wait)
{
    Xpurt__EventSharers sharers = XPURT__EVENT_SHARERS__INIT;
    Xpurt__ToDaemon request = { REQUEST(EVENT_SHARERS), .event_sharers = &sharers };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    sharers.slot = wait->place.slot;
    sharers.cell = wait->place.index;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_EVENT_SHARED, 0, &reply);
    if (r == XPURT_ERROR_INVALID_HANDLE) /* a child whose parent died before it had a session */
        return nobody_left(wait);
    if (r == XPURT_SUCCESS && !reply.message->event_shared->others &&
        (reply.message->event_shared->lost || event_destroyed(wait->event)))
        r = nobody_left(wait);
    reply_deinit(&reply);
    return r;
}

/* XPURT_SUCCESS while the record may come. */
HOT static xpurt_result still_possible(struct generation_wait *wait)
{
    bool alive = connection_alive(), dead = arena_dead(wait->place.slot);
    uint64_t now = now_ns();
    xpurt_result r;

    if (alive && !dead && now < wait->ask_at)
        return XPURT_SUCCESS;
    r = session_enter();
    if (r)
        return r;
    if (event_shared(wait->event)) {
        if (now >= wait->ask_at || dead) {
            r = sharers_ask(wait);
            wait->ask_at = now + ASK_EVERY_NS;
        }
    } else if (event_destroyed(wait->event)) {
        r = nobody_left(wait);
    }
    session_leave();
    return r;
}

HOT xpurt_result generation_step(struct generation_wait *wait, uint64_t rest_ns)
{
    struct board_cell *cell = wait->place.cell;
    uint32_t seen;
    xpurt_result r;

    mark_set(&cell->flags, CELL_WAITED);
    seen = atomic_load(&cell->generation);
    if (generation_there(cell, wait->generation))
        return XPURT_SUCCESS;
    r = still_possible(wait);
    if (r)
        return generation_there(cell, wait->generation) ? XPURT_SUCCESS : r;
    if (mark_there(&cell->flags, CELL_WAITED))
        board_sleep(&cell->generation, seen, rest_ns < WAIT_SLICE_NS ? rest_ns : WAIT_SLICE_NS);
    return generation_there(cell, wait->generation) ? XPURT_SUCCESS : XPURT_NOT_READY;
}

/* ---- public ----------------------------------------------------------------------------------------- */

xpurt_result xpurt_event_get_generation(xpurt_event *event, uint32_t *ret_generation)
{
    xpurt_result r = event_check(event);

    if (r)
        return r;
    if (!ret_generation)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the generation");
    r = session_settle();
    if (r == XPURT_SUCCESS)
        *ret_generation = atomic_load(&event_place(event).cell->generation);
    return r;
}

/* Until the record is there. */
HOT static xpurt_result generation_await(xpurt_event *event, uint32_t generation, uint64_t deadline)
{
    struct generation_wait wait;
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    r = event_check(event);             /* a child may have met another daemon just now */
    session_leave();
    if (r)
        return r;

    generation_wait_begin(&wait, event, generation);
    for (;;) {
        uint64_t rest = deadline_rest(deadline);

        r = generation_step(&wait, rest);
        if (r != XPURT_NOT_READY)
            return r;
        if (!rest)
            return XPURT_TIMEOUT;
    }
}

HOT xpurt_result xpurt_event_wait_generation(xpurt_event *event, uint32_t generation,
                                             uint64_t timeout_ns)
{
    uint64_t deadline = deadline_in(timeout_ns), point;
    struct event_place place;
    xpurt_result r;

    r = event_check(event);
    if (r == XPURT_SUCCESS)
        r = session_settle();
    if (r)
        return r;
    place = event_place(event);
    if (!generation_there(place.cell, generation)) {
        r = generation_await(event, generation, deadline);
        if (r)
            return r;
    }
    point = cell_point(place.cell);
    return point ? point_wait(point, place.blocking, deadline_rest(deadline)) : XPURT_SUCCESS;
}
