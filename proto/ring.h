/* SPDX-License-Identifier: MIT */
/* proto/ring.h: rings of bytes in shared memory that carry frames, one ring each way.
 *
 *      page      struct rings_header: the indices of both
 *      to_daemon bytes, then to_client bytes: powers of two, whole pages
 *
 * Indices count bytes for ever; a byte lies at its index modulo the size. Each ring is mapped twice
 * in a row, so that every frame is in one piece. Whoever produces stores `tail` behind whole frames
 * only; who consumes stores `head`.
 *
 * Order rules (checked by the model in tests/model):
 *   1. the bytes of a frame are written before `tail` is stored with release, and read after it was
 *      loaded with acquire; likewise `head`, before bytes are written over;
 *   2. a consumer that goes to sleep stores `asleep`, then looks at `tail` once more; a producer
 *      stores `tail`, then looks at `asleep`; all four sequentially consistent: one of them sees the
 *      other, and no frame is slept through. `waiting` and `head` are the same for a producer that
 *      waits for room.
 *
 * The daemon keeps in `struct ring` what it knows, and believes of the shared indices only those of
 * the other side, within bounds. A ring_*() that returns -EPROTO has met one that cannot be.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RINGS_PAGE 4096u
#define RING_SIZE_MIN 16384u
#define RING_SIZE_MAX (1u << 20)
#define RING_LINE 128                   /* two cache lines: they are fetched in pairs */

enum {
    RING_AWAKE,
    RING_ASLEEP,                        /* the consumer wants the bell rung */
    RING_DOZING,                        /* it sleeps on `asleep` itself, a futex word */
};

struct ring_indices {
    _Alignas(RING_LINE) _Atomic uint64_t tail;    /* by the producer: the end of what is there */
    _Alignas(RING_LINE) _Atomic uint64_t head;    /* by the consumer: what is before is free */
    _Alignas(RING_LINE) _Atomic uint32_t asleep;  /* how to wake the consumer: RING_* */
    _Atomic uint32_t cpu;                         /* 1 + where the producer was last; 0: not said */
    _Alignas(RING_LINE) _Atomic uint32_t waiting; /* the producer sleeps on `room` */
    _Atomic uint32_t room;                        /* futex word: bumped for a producer that waits */
};

struct rings_header {
    struct ring_indices to_daemon, to_client;
};

_Static_assert(sizeof(struct ring_indices) == 512, "as docs/protocol.md says");
_Static_assert(sizeof(struct rings_header) <= RINGS_PAGE, "the indices of both fit into a page");

/* One side's end of one ring. */
struct ring {
    struct ring_indices *shared;
    uint8_t *bytes;                     /* twice `size` of them */
    uint32_t size;
    uint64_t position;                  /* ours: produced, or consumed, so far */
    uint64_t seen;                      /* theirs, when last looked at */
};

/* Both rings of a session, mapped. */
struct rings {
    void *base;
    size_t mapped;
    struct ring to_daemon, to_client;
};

/* Bytes of the memory that holds both. */
static inline size_t rings_bytes(uint32_t to_daemon, uint32_t to_client)
{
    return (size_t)RINGS_PAGE + to_daemon + to_client;
}

/* Whether rings may be this large. */
bool ring_size_good(uint32_t size);

/* Map the memory behind @p fd, which is large enough. 0 or -errno. */
int rings_map(int fd, uint32_t to_daemon, uint32_t to_client, struct rings *ret_rings);
void rings_unmap(struct rings *rings);

static inline uint8_t *ring_at(const struct ring *ring, uint64_t position)
{
    return ring->bytes + (position & (ring->size - 1));
}

/* ---- producing ----------------------------------------------------------------------------- */

/* Whether @p size bytes can be written at ring_at(position): 1, 0, or -EPROTO. */
int ring_room(struct ring *ring, size_t size);

/* What was written is @p size bytes: hand it over. Not RING_AWAKE: the bell must be rung, or, if the
 * consumer was RING_DOZING, ring_wake() called. */
uint32_t ring_publish(struct ring *ring, size_t size);
void ring_wake(struct ring *ring);

/* The producer is on this CPU. A hint for ring_cpu(). */
void ring_say_where(struct ring *ring);

/* Whether the consumer has read all that is before @p position. */
bool ring_consumed(const struct ring *ring, uint64_t position);

/* Sleep until there may be room for @p size bytes, at most half of the ring, or until the time-out.
 * -EPROTO as above. */
int ring_await_room(struct ring *ring, size_t size, uint64_t timeout_ns);

/* ---- consuming ------------------------------------------------------------------------------ */

/* How many bytes there are to be read at ring_at(position). -EPROTO as above. */
int ring_look(struct ring *ring, size_t *ret_size);

/* @p size bytes were read, and their place is free. Wakes a producer once half of the ring is. */
void ring_consume(struct ring *ring, size_t size);

/* From now on the bell is to be rung. False: something came meanwhile, and it is not. */
bool ring_sleep(struct ring *ring);

/* 1 + the CPU on which the producer was last, as it says; 0: it does not. */
uint32_t ring_cpu(const struct ring *ring);
void ring_rouse(struct ring *ring);
