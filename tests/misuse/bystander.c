/* SPDX-License-Identifier: MIT */
/* tests/misuse/bystander.c: see bystander.h. */
#include "tests/misuse/bystander.h"

#include <xpurt/xpurt.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE_US 1000
#define PATIENCE 60000                  /* slices */

/* Two streams order each other by a shared event and an opened one; the data must be right. */
struct work {
    xpurt_stream *first, *second;
    xpurt_event *event, *opened;
    unsigned char *memory, *pinned;
};

static void work_begin(struct work *work)
{
    xpurt_event_handle handle;

    test_ok(xpurt_stream_create(&work->first));
    test_ok(xpurt_stream_create(&work->second));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &work->event));
    test_ok(xpurt_event_get_ipc_handle(work->event, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &work->opened));
    test_ok(xpurt_malloc((void **)&work->memory, 64));
    test_ok(xpurt_host_malloc((void **)&work->pinned, 64));
}

static void work_round(const struct work *work, uint64_t round)
{
    int value = (int)(round & 0xff);

    test_ok(xpurt_memset_async(work->memory, value, 64, work->first));
    test_ok(xpurt_event_record(work->event, work->first));
    test_ok(xpurt_stream_wait_event(work->second, work->opened));
    test_ok(xpurt_memcpy_async(work->pinned, work->memory, 64, work->second));
    test_ok(xpurt_event_record(work->opened, work->second));
    test_ok(xpurt_event_synchronize(work->event));
    test_ok(xpurt_event_query(work->opened));
    test_require(work->pinned[63] == value, "other data: %d instead of %d", work->pinned[63],
                 value);
}

static void stand_by(int channel, void *data)
{
    struct bystander_board *board = data;
    struct work work;

    (void)channel;
    work_begin(&work);
    while (!atomic_load(&board->stop)) {
        work_round(&work, atomic_load(&board->rounds));
        atomic_fetch_add(&board->rounds, 1);
        usleep(SLICE_US);
    }
}

void bystander_start(struct bystander *bystander)
{
    bystander->board = mmap(NULL, sizeof(*bystander->board), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_require(bystander->board != MAP_FAILED, "mmap");
    test_peer_start(&bystander->peer, stand_by, bystander->board);
    bystander_check(bystander);
}

void bystander_check(struct bystander *bystander)
{
    uint64_t before = atomic_load(&bystander->board->rounds);

    for (int i = 0; atomic_load(&bystander->board->rounds) < before + 2; i++) {
        test_require(waitpid(bystander->peer.pid, NULL, WNOHANG) == 0, "the bystander has failed");
        test_require(i < PATIENCE, "the bystander cannot work any more");
        usleep(SLICE_US);
    }
}

void bystander_stop(struct bystander *bystander)
{
    bystander_check(bystander);
    atomic_store(&bystander->board->stop, 1);
    test_peer_join(&bystander->peer);
    munmap(bystander->board, sizeof(*bystander->board));
}
