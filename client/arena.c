/* SPDX-License-Identifier: MIT */
/* client/arena.c: mapping boards, and what they say about a point.
 *
 * Guarantees of this file: the arena is readable at every address at every time, also while a
 * board is mapped or unmapped; a point that was reached is never reported as failed. Mapping is
 * done under the connection's lock; looking needs none.
 */
#include "client/arena.h"

#include "client/table.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_SIZE (BOARD_SLOTS * sizeof(struct board_progress))
#define UNUSED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Away from where the kernel places mappings by itself: the arena is large, and device addresses,
 * which often are mappings of the daemon, should not meet it (see range_reserve()). */
#define ARENA_HINT ((void *)(uintptr_t)0x200000000000)

#define WORD_BITS 64u

const struct board_progress *arena_boards;
TABLE _Alignas(BOARD_PAGE) struct board_marks arena_marks[BOARD_SLOTS];
TABLE struct arena_slot arena_slots[BOARD_SLOTS];
static uint64_t in_use[BOARD_SLOTS / WORD_BITS]; /* a process uses few of 96 KiB */

static void use(uint32_t slot)
{
    in_use[slot / WORD_BITS] |= UINT64_C(1) << slot % WORD_BITS;
}

uint32_t arena_next(uint32_t slot)
{
    while (slot < BOARD_SLOTS) {
        uint64_t rest = in_use[slot / WORD_BITS] >> slot % WORD_BITS;

        if (rest)
            return slot + (uint32_t)__builtin_ctzll(rest);
        slot = (slot / WORD_BITS + 1) * WORD_BITS;
    }
    return BOARD_SLOTS;
}

void arena_lease(uint32_t slot)
{
    arena_slots[slot].leased = true;
    use(slot);
}

int arena_reserve(void)
{
    void *base;

    if (arena_boards)
        return 0;

    base = mmap(sizeof(void *) == 8 ? ARENA_HINT : NULL, ARENA_SIZE, PROT_READ, UNUSED, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    (void)madvise(base, ARENA_SIZE, MADV_DONTDUMP);
    arena_boards = base;
    return 0;
}

/* Whether @p fd is as large as a board and says that it is the board of @p slot: what it says. */
static bool board_good(uint32_t slot, int fd, size_t size, struct board_header *ret_header)
{
    struct stat stat;

    return fstat(fd, &stat) == 0 && stat.st_size == (off_t)size &&
           pread(fd, ret_header, sizeof(*ret_header), 0) == sizeof(*ret_header) &&
           ret_header->magic == BOARD_MAGIC && ret_header->layout == BOARD_LAYOUT &&
           ret_header->slot == slot;
}

static int map_at(const volatile void *where, size_t size, int protection, int flags, int fd)
{
    void *map = mmap((void *)(uintptr_t)where, size, protection, flags | MAP_FIXED, fd, 0);

    return map == MAP_FAILED ? -errno : 0;
}

/* Marks first: who finds a point on the progress board sleeps by them. */
static int progress_map(uint32_t slot, int progress_fd, int events_fd)
{
    const size_t size = sizeof(struct board_progress);
    int r;

    r = map_at(&arena_marks[slot], sizeof(struct board_marks), PROT_READ | PROT_WRITE, MAP_SHARED,
               events_fd);
    if (r == 0)
        r = map_at(&arena_boards[slot], size, PROT_READ, MAP_SHARED, progress_fd);
    if (r == 0)
        (void)madvise((void *)(uintptr_t)&arena_boards[slot], size, MADV_DONTDUMP);
    return r;
}

static int events_map(uint32_t slot, int fd)
{
    const size_t size = sizeof(struct board_events);
    void *map;

    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    (void)madvise(map, size, MADV_DONTDUMP);
    arena_slots[slot].events = map;
    return 0;
}

/* They are another session's, inherited by a child: events that point there go on doing so. */
static void events_leave(struct arena_slot *entry)
{
    if (entry->events && !entry->opened)
        munmap(entry->events, sizeof(*entry->events));
    entry->events = NULL;
}

int arena_map(uint32_t slot, int progress_fd, int events_fd, bool cells)
{
    struct arena_slot *entry = &arena_slots[slot];
    struct board_header progress, events;
    int r;

    if (slot >= BOARD_SLOTS ||
        !board_good(slot, progress_fd, sizeof(struct board_progress), &progress) ||
        !board_good(slot, events_fd, sizeof(struct board_events), &events))
        return -EPROTO;
    if (arena_boards[slot].header.base != progress.base)
        events_leave(entry);
    use(slot);                          /* also where only a part of it can be mapped */
    r = progress_map(slot, progress_fd, events_fd);
    if (r < 0)
        return r;
    entry->mapped = true;
    return cells && !entry->events ? events_map(slot, events_fd) : 0;
}

/* Nothing is mapped there any more. */
static void unuse(const volatile void *where, size_t size, int protection)
{
    (void)map_at(where, size, protection, UNUSED, -1);
}

void arena_unmap(uint32_t slot)
{
    struct arena_slot *entry = &arena_slots[slot];

    if (entry->mapped) {
        unuse(&arena_boards[slot], sizeof(struct board_progress), PROT_READ);
        unuse(&arena_marks[slot], sizeof(struct board_marks), PROT_READ | PROT_WRITE);
    }
    if (entry->events)
        munmap(entry->events, sizeof(*entry->events));
    *entry = (struct arena_slot){ 0 };
    in_use[slot / WORD_BITS] &= ~(UINT64_C(1) << slot % WORD_BITS);
}

xpurt_result arena_point_state(uint64_t point)
{
    const struct board_progress *board = &arena_boards[point_slot(point)];
    const struct board_timeline *timeline = arena_timeline(point);
    uint32_t status, state;

    if (arena_reached(point))
        return XPURT_SUCCESS;
    if (board->header.magic != BOARD_MAGIC)
        return ARENA_UNMAPPED;
    if (board->header.base >= point_value(point))
        return XPURT_SUCCESS;

    status = atomic_load_explicit(&timeline->status, memory_order_acquire);
    if (!status && arena_dead(point_slot(point))) {
        state = atomic_load_explicit(&timeline->state, memory_order_acquire);
        if (state == TIMELINE_FREE)
            status = XPURT_ERROR_PEER_LOST;
    }
    if (!status)
        return XPURT_NOT_READY;

    /* It may have been reached between the first look and the failure of what came later. */
    return arena_reached(point) ? XPURT_SUCCESS : (xpurt_result)status;
}
