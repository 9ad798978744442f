/* SPDX-License-Identifier: MIT */
/* examples/ring.h: a ring of device buffers that two processes share.
 *
 * Round n uses slot n % K. What orders the GPU work of the two sides are two shared events per
 * slot, and nothing else:
 *
 *     producer's stream                           consumer's stream
 *       wait for free                               wait for ready
 *       copy host -> device buffer                  copy device buffer -> host
 *       record ready                                record free
 *
 * Why there is a control page as well. A wait captures the event's point when it is called: called
 * before the other side has recorded this round's, it would find that of K rounds ago, long
 * complete, and let the stream through. So each side must know that the other has *submitted* its
 * record, which is long before the GPU gets there. The page, a memfd passed along with the handles,
 * has two counters for that: rounds whose ready is recorded, rounds whose free is recorded. A host
 * that has nothing to submit sleeps on them; no host waits for the GPU work of the other side, and
 * after the handles at the start no message passes between the two.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <xpurt/xpurt.h>

#define RING_SLOTS_MAX 64u
#define RING_BLOCK_MAX (UINT64_C(1) << 30)
#define RING_ROUNDS 1024u               /* a power of two, many times the slots */

enum ring_side { RING_PRODUCER, RING_CONSUMER };

/* What the consumer's host needs to know of a round. */
struct ring_round {
    uint64_t length;                    /* bytes in the buffer; 0: the end of the input */
    uint64_t recorded_ns;               /* CLOCK_MONOTONIC when ready was recorded */
};

struct ring_control {
    _Atomic uint32_t published;         /* rounds whose ready is recorded; a futex word; wraps */
    char apart[60];                     /* each side writes a cache line of its own */
    _Atomic uint32_t released;          /* rounds whose free is recorded; the same */
    char apart_too[60];
    _Atomic uint32_t failed[2];         /* by side: why it left before the end; an xpurt_result */
    struct ring_round rounds[RING_ROUNDS];
};

struct ring_slot {
    void *device;                       /* the shared buffer */
    void *staging;                      /* pinned host memory of this side */
    xpurt_event *ready;                 /* recorded by the producer: the block is in the buffer */
    xpurt_event *free;                  /* recorded by the consumer: the block has left it */
};

struct ring {
    enum ring_side side;
    int channel;                        /* borrowed: hangs up when the other process is gone */
    bool met;                           /* both sides have opened everything */
    unsigned n_slots;
    uint64_t block;                     /* bytes of a buffer */
    struct ring_control *control;
    struct ring_slot slots[RING_SLOTS_MAX];
};

/* The producer makes the ring on the current device and offers it; the consumer opens it. */
xpurt_result ring_create(struct ring *ring, int channel, unsigned n_slots, uint64_t block);
xpurt_result ring_open(struct ring *ring, int channel);

/* Also after a failure of the above, or instead of them. Work that uses the ring may still be going
 * on: its memory outlives it. */
void ring_close(struct ring *ring);

static inline struct ring_slot *ring_slot(struct ring *ring, uint64_t round)
{
    return &ring->slots[round % ring->n_slots];
}

static inline struct ring_round *ring_round(struct ring *ring, uint64_t round)
{
    return &ring->control->rounds[round % RING_ROUNDS];
}

/* Producer: the consumer has recorded `free` of the round that had this slot before. */
xpurt_result ring_await_free(struct ring *ring, uint64_t round);

/* Producer: `ready` of @p round is recorded. Rounds are published one after the other; one of
 * length 0 is the last. */
void ring_publish(struct ring *ring, uint64_t round, uint64_t length, uint64_t recorded_ns);

/* Producer: the consumer has released the round of length 0: all blocks are where they belong. */
xpurt_result ring_await_end(struct ring *ring, uint64_t end_round);

/* Consumer: the producer has published @p round; now, or when it has. */
bool ring_published(struct ring *ring, uint64_t round);
xpurt_result ring_await_published(struct ring *ring, uint64_t round);

/* Consumer: `free` of the next round is recorded. */
void ring_release(struct ring *ring);

/* Tell the other side why this one leaves; waits of other threads of this side end, too. */
void ring_fail(struct ring *ring, xpurt_result why);

/* The other process has hung up: what that means to this one. */
xpurt_result ring_peer_gone(struct ring *ring);
