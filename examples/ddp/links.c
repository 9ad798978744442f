/* SPDX-License-Identifier: MIT */
/* examples/ddp/links.c: the events by which the streams of the ranks order each other.
 *
 * Guarantees of this file: no call of it waits for another rank.
 */
#include "links.h"

#define NEVER (UINT32_C(1) << 30)       /* a record that no event of ours will have */

/* ---- handles --------------------------------------------------------------------------------- */

static xpurt_result event_create(struct links *links, unsigned set, unsigned step, unsigned rank)
{
    xpurt_event **event = &links->links[rank].ours[set][step];
    xpurt_result r = xpurt_event_create(XPURT_EVENT_INTERPROCESS, event);

    if (r)
        return r;
    return xpurt_event_get_ipc_handle(*event,
                                      &links->team->ranks[links->me].events[set][step][rank]);
}

static xpurt_result event_open(struct links *links, unsigned set, unsigned step, unsigned rank)
{
    return xpurt_event_open_ipc_handle(&links->team->ranks[rank].events[set][step][links->me],
                                       &links->links[rank].theirs[set][step]);
}

/* Do the same for both sets, each step, each other rank. */
static xpurt_result each_event(struct links *links,
                               xpurt_result (*one)(struct links *, unsigned, unsigned, unsigned))
{
    xpurt_result r = XPURT_SUCCESS;

    for (unsigned set = 0; set < 2; set++)
        for (unsigned step = 0; step < links->steps; step++)
            for (unsigned rank = 0; rank < links->ranks && r == XPURT_SUCCESS; rank++)
                if (rank != links->me)
                    r = one(links, set, step, rank);
    return r;
}

xpurt_result links_create(struct links *links, struct team *team, unsigned me, unsigned steps)
{
    *links =
        (struct links){ .team = team, .me = me, .ranks = team->options->ranks, .steps = steps };
    return each_event(links, event_create);
}

xpurt_result links_open(struct links *links)
{
    return each_event(links, event_open);
}

static xpurt_result event_close(struct links *links, unsigned set, unsigned step, unsigned rank)
{
    xpurt_event_destroy(links->links[rank].theirs[set][step]);
    xpurt_event_destroy(links->links[rank].ours[set][step]);
    return XPURT_SUCCESS;
}

void links_close(struct links *links)
{
    (void)each_event(links, event_close);
    *links = (struct links){ 0 };
}

/* ---- order ----------------------------------------------------------------------------------- */

xpurt_result links_record(struct links *links, unsigned epoch, unsigned step, xpurt_stream *stream)
{
    xpurt_result r = XPURT_SUCCESS;

    for (unsigned rank = 0; rank < links->ranks && r == XPURT_SUCCESS; rank++)
        if (rank != links->me)
            r = xpurt_event_record(links->links[rank].ours[epoch % 2][step], stream);
    return r;
}

xpurt_result links_wait(struct links *links, unsigned epoch, unsigned step, xpurt_stream *stream)
{
    xpurt_result r = XPURT_SUCCESS;

    for (unsigned rank = 0; rank < links->ranks && r == XPURT_SUCCESS; rank++)
        if (rank != links->me)
            r = xpurt_stream_wait_generation(stream, links->links[rank].theirs[epoch % 2][step],
                                             epoch / 2 + 1);
    return r;
}

bool links_lost(struct links *links, unsigned rank)
{
    xpurt_event *event = links->links[rank].theirs[0][0];

    return event && xpurt_event_wait_generation(event, NEVER, 0) == XPURT_ERROR_PEER_LOST;
}
