/* SPDX-License-Identifier: MIT */
/* tests/system/boards.c: what a client can do with the descriptors it is given: nothing that harms
 * the daemon or another reader. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(boards, .timeout = 300);

/* The same file, opened afresh. */
static int reopen(int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC);
}

static void expect_not_writable(int fd, size_t size)
{
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    test_require(map == MAP_FAILED && errno == EPERM, "a progress board was mapped writable");
    map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    test_require(map != MAP_FAILED, "a progress board cannot be mapped: %s", strerror(errno));
    test_require(mprotect(map, size, PROT_READ | PROT_WRITE) < 0 && errno == EACCES,
                 "a progress board was made writable");
    munmap(map, size);
    test_require(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM, "a progress board was written");
    test_require(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0,
                 "a hole was punched into a progress board");
}

static void expect_fixed_size(int fd, size_t size)
{
    test_require(ftruncate(fd, 0) < 0 && errno == EPERM, "it was truncated");
    test_require(ftruncate(fd, (off_t)size - 4096) < 0 && errno == EPERM, "it was truncated");
    test_require(ftruncate(fd, (off_t)size + 4096) < 0 && errno == EPERM, "it was made longer");
    test_require(fallocate(fd, 0, (off_t)size, 4096) < 0, "it was made longer");
    test_require(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM, "it was sealed");
}

static void seals(struct scene *scene)
{
    struct raw raw, other;
    struct handle handle;
    uint32_t segment;
    int fd;

    raw_open(&raw, scene->daemon.socket);
    expect_not_writable(raw.progress_fd, sizeof(struct board_progress));
    expect_fixed_size(raw.progress_fd, sizeof(struct board_progress));
    expect_fixed_size(raw.events_fd, sizeof(struct board_events));
    fd = reopen(raw.progress_fd, O_RDWR);
    if (fd >= 0) {
        expect_not_writable(fd, sizeof(struct board_progress));
        expect_fixed_size(fd, sizeof(struct board_progress));
        close(fd);
    }

    /* What an importer gets is the same. */
    raw_open(&other, scene->daemon.socket);
    test_require(raw_event_export(&raw, 3, &handle) == 0, "%s", raw.text);
    test_require(raw_event_open(&other, &handle, NULL, NULL) == 0, "%s", other.text);
    test_require(other.fds.count == 2, "%u descriptors", other.fds.count);
    expect_not_writable(other.fds.fds[0], sizeof(struct board_progress));
    expect_fixed_size(other.fds.fds[0], sizeof(struct board_progress));
    expect_fixed_size(other.fds.fds[1], sizeof(struct board_events));
    test_require(raw_board_open(&other, raw.slot, raw.instance) == 0, "%s", other.text);
    expect_not_writable(other.fds.fds[0], sizeof(struct board_progress));

    test_require(raw_host_alloc(&raw, 65536, &segment, NULL) == 0, "%s", raw.text);
    expect_fixed_size(raw.fds.fds[0], 65536);
    raw_close(&other);
    raw_close(&raw);
}

Test(boards, seals)
{
    scene_play(seals, 3);
}

/* The event board belongs to the client. Rubbish on it harms only those who look. */
static void rubbish_on_the_event_board(struct scene *scene)
{
    struct handle handle;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_event_export(&raw, 3, &handle) == 0, "%s", raw.text);
    memset(raw.events, 0xa5, sizeof(*raw.events));
    raw_stream_create(&raw, 0, 0);
    raw_wait(&raw, 0, atomic_load(&raw.events->cells[3].point));
    test_require(raw_status(&raw, 0) != XPURT_TIMEOUT, "rubbish was taken for a point");
    raw_event_drop(&raw, 3);
    raw_settle(&raw);
    fallocate(raw.events_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
              sizeof(struct board_events));
    raw_settle(&raw);
    raw_close(&raw);
}

Test(boards, rubbish_on_the_event_board)
{
    scene_play(rubbish_on_the_event_board, 3);
}

/* A hole in a segment that is being copied from reads as zeroes; nobody gets a signal. */
static void holes_in_segments(struct scene *scene)
{
    const uint64_t size = 4 << 20;
    uint32_t segment;
    uint64_t address;
    struct raw raw;
    int fd;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, size, &address) == 0, "%s", raw.text);
    test_require(raw_host_alloc(&raw, size, &segment, NULL) == 0, "%s", raw.text);
    fd = fcntl(raw.fds.fds[0], F_DUPFD_CLOEXEC, 0);
    raw_stream_create(&raw, 0, 0);
    for (int i = 0; i < 10; i++) {
        raw_copy(&raw, 0, 0, address, segment, 0, size);
        raw_copy(&raw, 0, segment, 0, 0, address, size);
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
    }
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
    close(fd);
    raw_close(&raw);
}

Test(boards, holes_in_segments)
{
    scene_play(holes_in_segments, 3);
}

/* A slot that was used is used again, later, and points of its last owner read as reached. */
static void slots_come_round(struct scene *scene)
{
    uint64_t old[8];
    struct raw raw;

    for (size_t i = 0; i < 8; i++) {
        raw_open(&raw, scene->daemon.socket);
        raw_stream_create(&raw, 0, 0);
        old[i] = raw_record(&raw, 0);
        raw_settle(&raw);
        raw_close(&raw);
    }
    for (unsigned i = 0; i < BOARD_SLOTS; i++) {
        raw_open(&raw, scene->daemon.socket);
        raw_stream_create(&raw, 0, 0);
        for (size_t k = 0; k < 8; k++)
            if (point_slot(old[k]) == raw.slot) {
                test_require(raw.progress->header.base >= point_value(old[k]),
                             "a point of an earlier session is not below the base");
                raw_wait(&raw, 0, old[k]);
            }
        raw_record(&raw, 0);
        test_require(raw_finish(&raw, 0) == XPURT_SUCCESS, "%s", raw.text);
        raw_close(&raw);
    }
}

Test(boards, slots_come_round)
{
    scene_play(slots_come_round, 1);
}
