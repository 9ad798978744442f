/* SPDX-License-Identifier: MIT */
/* daemon/board.c: making boards, publishing on them.
 *
 * Guarantees of this file:
 *   - no client can write a progress board, shrink or grow a board (it would be a SIGBUS for us);
 *   - a slot is given to a new session only when nobody refers to the old one's boards, and the
 *     values of the new one begin above all that the old one used;
 *   - status is stored before wake is bumped, and wake before FUTEX_WAKE, which is called only for
 *     who has marked that they sleep.
 */
#include "daemon/board.h"
#include "daemon/user.h"
#include "proto/cpu.h"
#include "proto/hot.h"

#include <xpurt/base.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Since Linux 5.1; older C libraries lack the name. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* A client may have put values into cells whose records never arrived here: more than fit into a
 * socket's buffer. The next session of the slot begins above those too. */
#define VALUES_UNSEEN (UINT64_C(1) << 20)

void board_table_init(struct board_table *table, const uint8_t instance[16])
{
    memset(table, 0, sizeof(*table));
    memcpy(table->instance, instance, sizeof(table->instance));
    for (uint32_t i = 0; i < BOARD_SLOTS; i++)
        table->free[i] = (uint16_t)i;
    table->n_free = BOARD_SLOTS;
}

static uint32_t slot_take(struct board_table *table)
{
    uint32_t slot = table->free[table->free_head];

    table->free_head = (table->free_head + 1) % BOARD_SLOTS;
    table->n_free--;
    return slot;
}

static void slot_give_back(struct board_table *table, uint32_t slot)
{
    table->free[(table->free_head + table->n_free) % BOARD_SLOTS] = (uint16_t)slot;
    table->n_free++;
}

/* All streams are drained: did any of them end before its last record? */
static bool values_lost(const struct board *board)
{
    for (uint32_t i = 0; i < board->n_timelines; i++) {
        const struct board_timeline *timeline = &board->progress->timelines[i];

        if (atomic_load_explicit(&timeline->last, memory_order_relaxed) >
            atomic_load_explicit(&timeline->completed, memory_order_relaxed))
            return true;
    }
    return false;
}

static void board_destroy(struct resource *resource)
{
    struct board *board = (struct board *)resource;
    struct board_table *table = board->table;

    if (table->boards[board->slot] == board) {
        table->boards[board->slot] = NULL;
        table->base[board->slot] = board->last + VALUES_UNSEEN;
        table->lost[board->slot] = values_lost(board);
        slot_give_back(table, board->slot);
    }
    if (board->progress)
        munmap(board->progress, sizeof(*board->progress));
    if (board->marks)
        munmap(board->marks, sizeof(*board->marks));
    if (board->progress_fd >= 0)
        close(board->progress_fd);
    if (board->events_fd >= 0)
        close(board->events_fd);
    if (board->charged)
        user_discharge(board->user, CHARGE_SESSIONS, 1);
    user_unref(board->user);
    free(board);
}

int board_file(const char *name, size_t size, size_t part, unsigned seals, int *ret_fd,
               void **ret_map)
{
    void *map = MAP_FAILED;
    int fd, r = 0;

    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) == 0)
        map = mmap(NULL, part, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    /* The last one, or somebody could seal it against those who map it later. */
    if (map == MAP_FAILED ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | seals) < 0)
        r = -errno;
    if (r < 0) {
        if (map != MAP_FAILED)
            munmap(map, part);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_map = map;
    return 0;
}

void board_header_fill(struct board_header *header, const struct board *board, pid_t pid)
{
    header->magic = BOARD_MAGIC;
    header->layout = BOARD_LAYOUT;
    header->slot = board->slot;
    memcpy(header->instance, board->table->instance, sizeof(header->instance));
    header->base = board->table->base[board->slot];
    header->pid = pid;
    atomic_store(&header->state, BOARD_LIVE);
}

/* Our mapping of the progress board stays writable; from then on nobody gets another one that is. */
static int files_make(struct board *board)
{
    void *map;
    int r;

    r = board_file("xpurt-progress", sizeof(*board->progress), sizeof(*board->progress),
                   F_SEAL_FUTURE_WRITE, &board->progress_fd, &map);
    if (r < 0)
        return r;
    board->progress = map;
    r = board_file("xpurt-events", sizeof(struct board_events), sizeof(*board->marks), 0,
                   &board->events_fd, &map);
    if (r == 0)
        board->marks = map;
    return r;
}

int board_new(struct board_table *table, struct session *session, struct user *user, pid_t pid,
              struct board **ret_board)
{
    struct board *board;
    int r;

    if (!table->n_free)
        return -ENFILE;
    board = calloc(1, sizeof(*board));
    if (!board)
        return -ENOMEM;

    board->resource.refs = 1;
    board->resource.destroy = board_destroy;
    board->table = table;
    board->user = user_ref(user);
    board->session = session;
    board->progress_fd = -1;
    board->events_fd = -1;
    board->slot = slot_take(table);
    board->last = table->base[board->slot];
    table->boards[board->slot] = board;

    r = files_make(board);
    if (r < 0) {
        resource_unref(&board->resource);
        return r;
    }
    board_header_fill(&board->progress->header, board, pid);
    board_header_fill(&board->marks->header, board, pid);
    board_say_where(board);
    *ret_board = board;
    return 0;
}

void board_orphan(struct board *board)
{
    board->session = NULL;
    atomic_store_explicit(&board->progress->header.state, BOARD_DEAD, memory_order_release);
    for (uint32_t i = 0; i < board->n_timelines; i++) {
        struct board_timeline *timeline = &board->progress->timelines[i];

        if (atomic_load_explicit(&timeline->state, memory_order_relaxed) == TIMELINE_LIVE)
            timeline_fail(timeline, &board->marks->timelines[i], XPURT_ERROR_PEER_LOST);
    }
}

HOT void board_say_where(struct board *board)
{
    _Atomic uint32_t *word = &board->progress->header.cpu;
    uint32_t cpu = cpu_here();

    if (atomic_load_explicit(word, memory_order_relaxed) != cpu)
        atomic_store_explicit(word, cpu, memory_order_relaxed);
}

HOT void timeline_publish(struct board_timeline *timeline, uint64_t value)
{
    atomic_store_explicit(&timeline->completed, value, memory_order_release);
}

HOT bool timeline_wake(struct board_timeline *timeline, _Atomic uint32_t *mark)
{
    bool waited = mark_take(mark, MARK_SLEEPS);

    atomic_fetch_add(&timeline->wake, 1);
    return (waited || mark_there(mark, MARK_SLEEPS)) && board_wake(&timeline->wake);
}

void timeline_fail(struct board_timeline *timeline, _Atomic uint32_t *mark, uint32_t status)
{
    uint32_t fine = XPURT_SUCCESS;

    atomic_compare_exchange_strong(&timeline->status, &fine, status);
    (void)timeline_wake(timeline, mark);
}

void board_stamp(struct board *board, uint32_t cell, uint64_t point, uint64_t nanoseconds)
{
    struct board_stamp *stamp = &board->progress->stamps[cell];

    /* A reader that meets the old point before and after has read the old time. */
    atomic_store_explicit(&stamp->point, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&stamp->nanoseconds, nanoseconds, memory_order_relaxed);
    atomic_store_explicit(&stamp->point, point, memory_order_release);
}
