/* SPDX-License-Identifier: MIT */
/* examples/ddp/links.h: the events by which the streams of the ranks order each other.
 *
 * Rank A records for rank B, in each step, that its slot is written. The event says more than that:
 * what A had read of B's slot before is read, because that is in front of it in A's stream. With two
 * slots for each rank, used by turns, nobody writes one that is still read:
 *
 *     A, step n:      write A's slot n % 2, record n; wait for B's n; read all slots n % 2
 *     A, step n + 1:  write the other slot, record n + 1; wait for B's n + 1   <- B has read n
 *     A, step n + 2:  write slot n % 2 again
 *
 * An event holds its last record only, and the host runs ahead of its stream: B, told late, must not
 * find that of a step which itself waits for B. So each step of an epoch has an event of its own, and
 * they are used again two epochs later. By then B has passed its waits: A's host has seen the end of
 * an epoch all of whose steps waited for B's, which are behind them.
 *
 * An event has one rank that records and one that waits. When either dies, xpurt knows that nobody
 * else could make the record, and the one who waits is told at once.
 */
#pragma once

#include "team.h"

struct link {
    xpurt_event *theirs[2][STEPS_MAX];  /* recorded by the other rank */
    xpurt_event *ours[2][STEPS_MAX];
};

struct links {
    struct team *team;                  /* borrowed: outlives us */
    unsigned me, ranks, steps;
    struct link links[RANKS_MAX];       /* by the other rank; the own one is empty */
};

/* Make our events and publish their handles; open those of the others, who have done the same. */
xpurt_result links_create(struct links *links, struct team *team, unsigned me, unsigned steps);
xpurt_result links_open(struct links *links);

/* Also after a failure. */
void links_close(struct links *links);

/* Our slot of this step is written, behind all that is submitted to the stream. */
xpurt_result links_record(struct links *links, unsigned epoch, unsigned step, xpurt_stream *stream);

/* Make the stream wait for the slots of all others, whether they have recorded that or not. */
xpurt_result links_wait(struct links *links, unsigned epoch, unsigned step, xpurt_stream *stream);

/* Is nobody left who could record what we wait for from @p rank? */
bool links_lost(struct links *links, unsigned rank);
