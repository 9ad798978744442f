/* SPDX-License-Identifier: MIT */
/* tests/system/holds.c: what streams hold while the GPU is not done: nobody gets it before, whatever
 * becomes of the stream or its client. */
#include "proto/magazine.h"
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

TestSuite(holds, .timeout = 300);

#define PIECE 4096u
#define LARGE (UINT64_C(30) << 20)      /* a segment of its own */

enum { MARKERS = 256 };                 /* of a stream, at a time */

/* In a gated scene: a fill does not end before the gate is open. */
static void play(void (*attack)(struct scene *scene), unsigned times)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    test_require(scene, "out of memory");
    scene_begin_gated(scene);
    scene_attack(scene, attack, times);
    scene_end(scene);
    free(scene);
}

static uint64_t alloc_for(struct raw *raw, uint32_t stream, uint64_t size, uint32_t *ret_entry)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };

    alloc.stream = 1 + stream;
    alloc.size = size;
    test_require(raw_result(raw, &request) == 0, "%s", raw->text);
    if (ret_entry)
        *ret_entry = raw->reply->memory_allocated->entry;
    return raw->reply->memory_allocated->address;
}

static void free_for(struct raw *raw, uint64_t address, uint32_t stream)
{
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;
    Xpurt__Command command = { RAW_COMMAND(MEMORY_FREE), .memory_free = &memory_free };

    memory_free.address = address;
    memory_free.stream = 1 + stream;
    raw_send_command(raw, &command);
}

/* Work that does not end. */
static uint64_t hang(struct raw *raw, uint32_t stream)
{
    uint64_t address;

    test_require(raw_memory_alloc(raw, PIECE, &address) == 0, "%s", raw->text);
    raw_fill(raw, stream, 0, address, PIECE, 1, 1);
    return address;
}

/* A record that comes when stream @p other makes it. */
static uint64_t future_of(const struct raw *raw, uint32_t other)
{
    return point_pack(raw->slot, other, raw->values[other] + 1);
}

/* ---- more frees than markers --------------------------------------------------------------------------- */

/* Each free needs a marker, and there is none left. */
static void frees_behind_many_records(struct scene *scene)
{
    enum { FREES = 3 * MARKERS };
    uint64_t addresses[FREES];
    struct raw raw;

    test_gate_close(&scene->daemon);
    raw_open(&raw, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    for (unsigned i = 0; i < FREES; i++)
        addresses[i] = alloc_for(&raw, 0, PIECE, NULL);
    hang(&raw, 0);
    for (unsigned i = 0; i < MARKERS - 2; i++) /* and one for the fill */
        raw_record(&raw, 0);
    for (unsigned i = 0; i < FREES; i++) {
        free_for(&raw, addresses[i], 0);
        raw_settle(&raw);               /* so that it gets a marker of its own */
    }
    test_gate_open(&scene->daemon);
    test_require(raw_finish(&raw, 0) == 0, "%s", raw.text);
    raw_record(&raw, 0);
    test_require(raw_finish(&raw, 0) == 0, "%s", raw.text);
    raw_close(&raw);
}

Test(holds, frees_behind_many_records)
{
    play(frees_behind_many_records, 3);
}

/* ---- frees that were still to come --------------------------------------------------------------------- */

enum end { END_FAILED, END_DEAD };

/* The stream has work that may use the memory, its free is queued behind something else, and then
 * the stream fails, or its client goes. */
static void queued_free(struct scene *scene, enum end end)
{
    uint64_t freed, fresh;
    struct raw raw, other;

    test_gate_close(&scene->daemon);
    raw_open(&raw, scene->daemon.socket);
    raw_open(&other, scene->daemon.socket);
    raw_stream_create(&raw, 0, 0);
    raw_stream_create(&raw, 1, 0);
    freed = alloc_for(&raw, 0, LARGE, NULL);
    hang(&raw, 0);
    raw_wait(&raw, 0, future_of(&raw, 1));
    free_for(&raw, freed, 0);
    raw_settle(&raw);
    test_require(!raw.errors, "%s", raw.text);

    if (end == END_FAILED) {
        raw.values[0] += 2;
        raw_record(&raw, 0);
        test_require(raw_status(&raw, 0) == XPURT_ERROR_INVALID_ARGUMENT, "it has not failed");
        raw_settle(&raw);
    } else {
        shutdown(raw.fd, SHUT_RDWR);
        while (atomic_load(&raw.progress->header.state) != BOARD_DEAD)
            scene_sleep_ms(1);
    }
    test_require(raw_memory_alloc(&other, LARGE, &fresh) == 0, "%s", other.text);
    test_require(fresh != freed, "memory is given away while work before its free runs");
    raw_memory_free(&other, fresh);

    test_gate_open(&scene->daemon);
    raw_close(&raw);
    raw_close(&other);
}

static void queued_free_of_failed(struct scene *scene)
{
    queued_free(scene, END_FAILED);
}

static void queued_free_of_dead(struct scene *scene)
{
    queued_free(scene, END_DEAD);
}

Test(holds, queued_free_of_a_failed_stream)
{
    play(queued_free_of_failed, 3);
}

Test(holds, queued_free_of_a_dead_client)
{
    play(queued_free_of_dead, 3);
}

/* ---- accounts of the dead ------------------------------------------------------------------------------ */

static struct magazine_page *open_magazine(struct raw *raw)
{
    Xpurt__MagazineOpen open = XPURT__MAGAZINE_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MAGAZINE_OPEN), .magazine_open = &open };
    void *page;

    test_require(raw_result(raw, &request) == 0 && raw->fds.count == 1, "%s", raw->text);
    page = mmap(NULL, sizeof(struct magazine_page), PROT_READ | PROT_WRITE, MAP_SHARED,
                raw->fds.fds[0], 0);
    test_require(page != MAP_FAILED, "mmap");
    return page;
}

/* Not waited for: the replies are read at the end. */
static void send_trim(struct raw *raw)
{
    Xpurt__MemoryTrim trim = XPURT__MEMORY_TRIM__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_TRIM), .memory_trim = &trim };

    request.serial = ++raw->serial;
    raw_send_message(raw, &request);
}

/* The last use of memory whose owner is dead ends while the daemon takes back what the next process
 * of the list keeps: the dead one's account goes just then. */
static void last_use_of_the_dead(struct scene *scene)
{
    enum { BLOCKS = 200 };
    uint32_t entries[BLOCKS];
    struct magazine_page *page;
    struct handle handle;
    struct raw owner, user;
    uint64_t address;

    test_gate_close(&scene->daemon);
    raw_open(&user, scene->daemon.socket);
    raw_stream_create(&user, 0, 0);
    page = open_magazine(&user);
    for (unsigned i = 0; i < BLOCKS; i++)
        alloc_for(&user, 0, PIECE, &entries[i]);
    raw_open(&owner, scene->daemon.socket);
    test_require(raw_memory_alloc(&owner, PIECE, &address) == 0, "%s", owner.text);
    test_require(raw_memory_export(&owner, address, &handle) == 0, "%s", owner.text);
    test_require(raw_memory_open(&user, &handle, NULL) == 0, "%s", user.text);
    raw_fill(&user, 0, 0, address, PIECE, 1, 1);
    raw_memory_free(&user, address);
    raw_settle(&user);
    shutdown(owner.fd, SHUT_RDWR);
    while (atomic_load(&owner.progress->header.state) != BOARD_DEAD)
        scene_sleep_ms(1);
    raw_close(&owner);

    test_gate_open(&scene->daemon);
    for (unsigned i = 0; i < BLOCKS; i++) {
        atomic_store(&page->entries[entries[i] - 1], magazine_word(MAGAZINE_CACHED, 1));
        send_trim(&user);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        test_require(raw_receive(&user, 10000) == RAW_FRAME, "a trim is not answered");
    munmap(page, sizeof(*page));
    raw_close(&user);
}

Test(holds, last_use_of_the_dead)
{
    play(last_use_of_the_dead, 20);
}
