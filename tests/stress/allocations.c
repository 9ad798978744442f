/* SPDX-License-Identifier: MIT */
/* A random trace of allocations and frees by several processes of one user, in and out of stream
 * order.
 *
 * Checked all the time: no two live blocks of any processes overlap (each registers its bytes in a
 * table that all share), each block holds what its owner wrote, and statistics are what the tracer
 * itself has counted. At the end all comes back. Printed: memory and driver calls, beside those of
 * the same trace with zeMemAllocDevice and zeMemFree.
 *
 *      stress_allocations [--processes N] [--operations N] [--seed N] [--stats-every N]
 */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <inttypes.h>
#include <level_zero/ze_api.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

enum {
    PROCESSES_MAX = 32,
    LIVE = 256,                         /* blocks of a process at a time, at most */
    STREAMS = 3,
    UNIT = 512,                         /* what blocks are multiples of */
    PAGE_UNITS = 4096,                  /* 2 MiB */
    PAGES = 8192,                       /* a power of two, far more than live memory has */
    CONTENT = 256,                      /* bytes of a block that are written and read */
    READ_EVERY = 16,                    /* frees */
    SETTLE_EVERY = 2048,                /* operations */
};

static struct {
    unsigned processes, operations, seed, stats_every;
} options = { 8, 20000, 1, 1 };

/* ---- the table of all live bytes -------------------------------------------------------------------- */

struct page {
    _Atomic uint64_t key;               /* 1 + address / 2 MiB; 0: unused */
    _Atomic uint16_t owner[PAGE_UNITS]; /* 0: nobody */
};

static struct shared {
    struct page pages[PAGES];
    _Atomic uint64_t requested, requested_peak; /* by all processes */
    _Atomic uint64_t allocations;
    _Atomic uint64_t hits;
    _Atomic uint64_t live;                               /* blocks at the end */
    _Atomic unsigned done;                               /* processes that have run their trace */
    _Atomic bool go;                                     /* to the end */
    uint64_t plain_pages, plain_pages_peak, plain_bytes; /* of 64 KiB; of all processes */
} *shared;

static _Atomic uint16_t *unit_at(uint64_t address)
{
    uint64_t key = 1 + address / (PAGE_UNITS * UNIT);
    uint64_t place = key * UINT64_C(0x9e3779b97f4a7c15) >> 40;

    for (unsigned tries = 0; tries < PAGES; tries++, place++) {
        struct page *page = &shared->pages[place % PAGES];
        uint64_t none = 0;

        if (atomic_load(&page->key) == key ||
            atomic_compare_exchange_strong(&page->key, &none, key) || none == key)
            return &page->owner[address / UNIT % PAGE_UNITS];
    }
    test_fail(__FILE__, __LINE__, "unit_at", "memory lies in too many places");
}

/* From @p before to @p after, each unit; whoever else is there is an overlap. */
static void units_set(uint64_t address, uint64_t size, uint16_t before, uint16_t after)
{
    _Atomic uint16_t *unit = NULL;

    for (uint64_t at = address; at < address + size; at += UNIT) {
        uint16_t seen = before;

        unit = unit && at / UNIT % PAGE_UNITS ? unit + 1 : unit_at(at);
        test_require(atomic_compare_exchange_strong(unit, &seen, after),
                     "0x%" PRIx64 " of a block of process %u is process %u's, not %u's", at,
                     after ? after : before, seen, before);
    }
}

static void requested_add(uint64_t amount)
{
    uint64_t now = atomic_fetch_add(&shared->requested, amount) + amount;
    uint64_t peak = atomic_load(&shared->requested_peak);

    while (peak < now && !atomic_compare_exchange_weak(&shared->requested_peak, &peak, now))
        ;
}

/* ---- the trace ---------------------------------------------------------------------------------------- */

struct block {
    unsigned char *memory;              /* NULL: none */
    uint64_t size;
    uint64_t whole;                     /* what it takes of its segment */
    unsigned char mark;
    int stream;                         /* of its allocation; -1: none */
};

struct tracer {
    uint16_t id;                        /* from 1 */
    unsigned seed;
    struct block blocks[LIVE];
    xpurt_stream *streams[STREAMS];
    unsigned frees;
    uint64_t count[2], count_peak[2], allocated[2], freed[2];    /* small, large */
    uint64_t requested, requested_peak, whole[2], whole_peak[2]; /* bytes */
    uint64_t whole_peak_all;
    uint64_t count_peak_all;
};

/* Mostly small, some of a few MiB, a few of their own segment. The same for each way. */
static uint64_t draw_size(unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 1000;
    uint64_t bits = kind < 700 ? 14 : kind < 960 ? 20 : kind < 995 ? 22 : 24;
    uint64_t size =
        1 + (((uint64_t)rand_r(seed) << 15) ^ (uint64_t)rand_r(seed)) % (UINT64_C(1) << bits);

    return kind % 3 ? (size + 4095) / 4096 * 4096 : size; /* people like round numbers */
}

static uint64_t rounded(uint64_t size)
{
    return (size + UNIT - 1) / UNIT * UNIT;
}

/* A rest of 1 MiB and less stays with a large block: by how much did the statistics grow? */
static uint64_t whole_size(const struct tracer *tracer, uint64_t size)
{
    xpurt_memory_stats stats;
    uint64_t whole = rounded(size);

    if (size <= MIB)
        return whole;
    test_ok(xpurt_memory_stats_get(0, &stats));
    whole = stats.allocated_bytes[2].current - tracer->whole[1];
    test_require(whole >= rounded(size) && whole <= rounded(size) + MIB && whole % UNIT == 0,
                 "%" PRIu64 " bytes take %" PRIu64, size, whole);
    return whole;
}

static unsigned class_of(uint64_t size)
{
    return size > MIB;
}

static void max_set(uint64_t *peak, uint64_t value)
{
    if (*peak < value)
        *peak = value;
}

static uint64_t content_size(const struct block *block)
{
    return block->size < CONTENT ? block->size : CONTENT;
}

static void content_write(struct tracer *tracer, const struct block *block)
{
    xpurt_stream *stream = tracer->streams[block->stream < 0 ? 0 : block->stream];
    uint64_t n = content_size(block);

    test_ok(xpurt_memset_async(block->memory, block->mark, n, stream));
    test_ok(xpurt_memset_async(block->memory + block->size - n, block->mark, n, stream));
}

static void content_read(struct tracer *tracer, const struct block *block)
{
    xpurt_stream *stream = tracer->streams[block->stream < 0 ? 0 : block->stream];
    unsigned char seen[2][CONTENT];
    uint64_t n = content_size(block);

    test_ok(xpurt_memcpy_async(seen[0], block->memory, n, stream));
    test_ok(xpurt_memcpy_async(seen[1], block->memory + block->size - n, n, stream));
    for (uint64_t i = 0; i < n; i++)
        test_require(seen[0][i] == block->mark && seen[1][i] == block->mark,
                     "byte %" PRIu64 " of %p is %d or %d instead of %d", i, (void *)block->memory,
                     seen[0][i], seen[1][i], block->mark);
}

static void block_new(struct tracer *tracer, struct block *block)
{
    unsigned class;
    void *memory;

    block->size = draw_size(&tracer->seed);
    block->stream = rand_r(&tracer->seed) % (STREAMS + 1) - 1;
    if (block->stream < 0)
        test_ok(xpurt_malloc(&memory, block->size));
    else
        test_ok(xpurt_malloc_async(&memory, block->size, tracer->streams[block->stream]));
    block->memory = memory;
    block->whole = whole_size(tracer, block->size);
    units_set((uintptr_t)memory, block->whole, 0, tracer->id);
    block->mark = (unsigned char)(tracer->id * 31 + rand_r(&tracer->seed));
    content_write(tracer, block);

    class = class_of(block->size);
    tracer->count[class]++;
    tracer->allocated[class]++;
    tracer->requested += block->size;
    tracer->whole[class] += block->whole;
    max_set(&tracer->count_peak[class], tracer->count[class]);
    max_set(&tracer->count_peak_all, tracer->count[0] + tracer->count[1]);
    max_set(&tracer->requested_peak, tracer->requested);
    max_set(&tracer->whole_peak[class], tracer->whole[class]);
    max_set(&tracer->whole_peak_all, tracer->whole[0] + tracer->whole[1]);
    requested_add(block->size);
}

static void block_end(struct tracer *tracer, struct block *block)
{
    unsigned class = class_of(block->size);

    if (++tracer->frees % READ_EVERY == 0)
        content_read(tracer, block);
    units_set((uintptr_t)block->memory, block->whole, tracer->id, 0);
    if (block->stream < 0 || rand_r(&tracer->seed) % 8 == 0)
        test_ok(xpurt_free(block->memory));
    else
        test_ok(xpurt_free_async(block->memory, tracer->streams[block->stream]));
    block->memory = NULL;
    tracer->count[class]--;
    tracer->freed[class]++;
    tracer->requested -= block->size;
    tracer->whole[class] -= block->whole;
    atomic_fetch_sub(&shared->requested, block->size);
}

static void expect(const char *what, uint64_t value, uint64_t wanted)
{
    test_require(value == wanted, "%s: %" PRIu64 " instead of %" PRIu64, what, value, wanted);
}

static void stats_check(struct tracer *tracer)
{
    xpurt_memory_stats stats;

    test_ok(xpurt_memory_stats_get(0, &stats));
    for (unsigned i = 0; i < 2; i++) {
        const xpurt_memory_stat *stat = &stats.allocation[1 + i];

        expect("allocation.current", stat->current, tracer->count[i]);
        expect("allocation.peak", stat->peak, tracer->count_peak[i]);
        expect("allocation.allocated", stat->allocated, tracer->allocated[i]);
        expect("allocation.freed", stat->freed, tracer->freed[i]);
        test_require(stats.active[1 + i].current >= stat->current &&
                         stats.active[1 + i].allocated == stat->allocated &&
                         stats.active[1 + i].freed <= stat->freed,
                     "active: %" PRIu64 ", allocated: %" PRIu64, stats.active[1 + i].current,
                     stat->current);
    }
    expect("requested.current", stats.requested_bytes[0].current, tracer->requested);
    expect("requested.peak", stats.requested_bytes[0].peak, tracer->requested_peak);
    for (unsigned i = 0; i < 2; i++) {
        expect("bytes", stats.allocated_bytes[1 + i].current, tracer->whole[i]);
        expect("bytes, peak", stats.allocated_bytes[1 + i].peak, tracer->whole_peak[i]);
    }
    expect("all bytes", stats.allocated_bytes[0].current, tracer->whole[0] + tracer->whole[1]);
    expect("all bytes, peak", stats.allocated_bytes[0].peak, tracer->whole_peak_all);
    expect("all blocks, peak", stats.allocation[0].peak, tracer->count_peak_all);
    test_require(stats.reserved_bytes[0].current >= stats.allocated_bytes[0].current,
                 "more allocated than reserved");
}

/* With nothing under way, what is active is what is allocated. */
static void settle(struct tracer *tracer)
{
    xpurt_memory_stats stats;

    for (int i = 0; i < STREAMS; i++)
        test_ok(xpurt_stream_synchronize(tracer->streams[i]));
    for (unsigned tries = 0;; tries++) {
        test_ok(xpurt_memory_stats_get(0, &stats));
        if (stats.active[0].current == stats.allocation[0].current)
            break;
        test_require(tries < 20000, "%" PRIu64 " blocks stay active, %" PRIu64 " are allocated",
                     stats.active[0].current, stats.allocation[0].current);
        usleep(1000);
    }
    expect("active bytes", stats.active_bytes[0].current, stats.allocated_bytes[0].current);
}

static void trace(int channel, void *data)
{
    struct tracer tracer = { .id = (uint16_t)(1 + *(unsigned *)data) };
    unsigned operations = options.operations / options.processes;
    xpurt_memory_stats stats;

    (void)channel;
    tracer.seed = options.seed * 1000 + tracer.id;
    for (int i = 0; i < STREAMS; i++)
        test_ok(xpurt_stream_create(&tracer.streams[i]));
    for (unsigned i = 0; i < operations; i++) {
        struct block *block = &tracer.blocks[(unsigned)rand_r(&tracer.seed) % LIVE];

        if (block->memory)
            block_end(&tracer, block);
        else
            block_new(&tracer, block);
        if (options.stats_every && i % options.stats_every == 0)
            stats_check(&tracer);
        if (i % SETTLE_EVERY == SETTLE_EVERY - 1)
            settle(&tracer);
    }
    settle(&tracer);
    stats_check(&tracer);
    test_ok(xpurt_memory_stats_get(0, &stats));
    atomic_fetch_add(&shared->allocations, stats.allocation[0].allocated);
    atomic_fetch_add(&shared->hits, stats.cached_hits);
    atomic_fetch_add(&shared->live, stats.allocation[0].current);
    atomic_fetch_add(&shared->done, 1);
    while (!atomic_load(&shared->go))   /* the parent looks at the whole, and ends us if it fails */
        usleep(1000);
    for (int i = 0; i < LIVE; i++)
        if (tracer.blocks[i].memory) {
            content_read(&tracer, &tracer.blocks[i]);
            block_end(&tracer, &tracer.blocks[i]);
        }
    settle(&tracer);
}

/* All segments, block by block: nothing is missing, and what is allocated is in the table. */
static void snapshot_check(void)
{
    static xpurt_memory_block blocks[PROCESSES_MAX * LIVE * 8];
    size_t room = sizeof(blocks) / sizeof(blocks[0]), count;
    uint64_t live = 0, end = 0;

    test_ok(xpurt_memory_snapshot(0, room, blocks, &count));
    test_require(count <= room, "%zu blocks", count);
    for (size_t i = 0; i < count; i++) {
        bool first = i == 0 || blocks[i].segment != blocks[i - 1].segment;

        test_require(blocks[i].address == (first ? blocks[i].segment : end), "a gap");
        end = blocks[i].address + blocks[i].size;
        if (i + 1 == count || blocks[i + 1].segment != blocks[i].segment)
            test_require(end == blocks[i].segment + blocks[i].segment_size, "the end");
        if (blocks[i].state != XPURT_BLOCK_ALLOCATED)
            continue;
        live++;
        test_require(atomic_load(unit_at(blocks[i].address)), "nobody says it is his");
    }
    expect("live blocks", live, atomic_load(&shared->live));
}

/* ---- the same with the driver alone ------------------------------------------------------------------- */

#define ZE(call) test_require((call) == ZE_RESULT_SUCCESS, "%s", #call)

static void plain_trace(unsigned id, ze_context_handle_t context, ze_device_handle_t device)
{
    static struct {
        void *memory;
        uint64_t size;
    } blocks[LIVE];
    const ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    unsigned seed = options.seed * 1000 + id;

    memset(blocks, 0, sizeof(blocks));
    for (unsigned i = 0; i < options.operations / options.processes; i++) {
        unsigned at = (unsigned)rand_r(&seed) % LIVE;
        uint64_t pages;

        if (blocks[at].memory) {
            ZE(zeMemFree(context, blocks[at].memory));
            blocks[at].memory = NULL;
        } else {
            blocks[at].size = draw_size(&seed);
            ZE(zeMemAllocDevice(context, &desc, blocks[at].size, UNIT, device, &blocks[at].memory));
        }
        pages = (blocks[at].size + 65535) / 65536;
        shared->plain_pages += blocks[at].memory ? pages : -pages;
        max_set(&shared->plain_pages_peak, shared->plain_pages);
    }
    for (int i = 0; i < LIVE; i++)
        if (blocks[i].memory)
            ZE(zeMemFree(context, blocks[i].memory));
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* One process after the other: enough to count calls, and to time them. */
static void plain(int channel, void *data)
{
    const ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    ze_context_handle_t context;
    ze_driver_handle_t driver;
    ze_device_handle_t device;
    uint32_t one = 1;
    double begin;

    (void)channel;
    (void)data;
    setenv("ZE_ENABLE_ALT_DRIVERS", SOFT_DRIVER, 1);
    ZE(zeInit(0));
    ZE(zeDriverGet(&one, &driver));
    ZE(zeDeviceGet(driver, &one, &device));
    ZE(zeContextCreate(driver, &desc, &context));
    begin = now_s();
    for (unsigned i = 1; i <= options.processes; i++) {
        shared->plain_pages = shared->plain_pages_peak = 0;
        plain_trace(i, context, device);
        shared->plain_bytes += shared->plain_pages_peak * 64 * KIB;
    }
    printf("zeMemAllocDevice: the same in %.1f s, one process after the other; %u driver calls; "
           "%.1f MiB in pages of 64 KiB\n",
           now_s() - begin, options.operations, (double)shared->plain_bytes / MIB);
    fflush(stdout);
    ZE(zeContextDestroy(context));
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static void report(double seconds)
{
    xpurt_memory_stats stats;
    uint64_t peak = atomic_load(&shared->requested_peak);

    test_ok(xpurt_memory_stats_get(0, &stats));
    printf("xpurt: %u operations by %u processes in %.1f s; %" PRIu64 " allocations, %" PRIu64
           " of them without the daemon\n",
           options.operations, options.processes, seconds, atomic_load(&shared->allocations),
           atomic_load(&shared->hits));
    printf("driver calls: %llu allocations and %llu frees, instead of %u\n",
           (unsigned long long)stats.driver_allocations, (unsigned long long)stats.driver_frees,
           options.operations);
    printf("memory at most: %.1f MiB asked for, %.1f MiB reserved (%.2f times); free parts of "
           "segments at most %.1f MiB\n",
           (double)peak / MIB, (double)stats.reserved_bytes[0].peak / MIB,
           (double)stats.reserved_bytes[0].peak / (double)peak,
           (double)stats.inactive_split_bytes[0].peak / MIB);
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    test_require(*text && !*end && value <= 100000000, "%s is not a number", text);
    return (unsigned)value;
}

static void options_read(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned value = number(argv[i + 1]);

        if (strcmp(argv[i], "--processes") == 0)
            options.processes = value;
        else if (strcmp(argv[i], "--operations") == 0)
            options.operations = value;
        else if (strcmp(argv[i], "--seed") == 0)
            options.seed = value;
        else if (strcmp(argv[i], "--stats-every") == 0)
            options.stats_every = value;
        else
            test_require(false, "unknown option %s", argv[i]);
    }
    test_require(argc % 2 && options.processes && options.processes <= PROCESSES_MAX,
                 "wrong arguments");
}

int main(int argc, char **argv)
{
    struct test_peer peers[PROCESSES_MAX], alone;
    unsigned ids[PROCESSES_MAX];
    struct test_daemon xpurtd;
    xpurt_memory_stats stats;
    double begin;

    options_read(argc, argv);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_require(shared != MAP_FAILED, "no memory");
    test_peer_start(&alone, plain, NULL);
    test_peer_join(&alone);

    test_daemon_start(&xpurtd, NULL);
    begin = now_s();
    for (unsigned i = 0; i < options.processes; i++) {
        ids[i] = i;
        test_peer_start(&peers[i], trace, &ids[i]);
    }
    while (atomic_load(&shared->done) < options.processes) {
        usleep(10000);
        test_require(waitpid(-1, NULL, WNOHANG) == 0, "a process has ended");
    }
    begin = now_s() - begin;
    snapshot_check();
    report(begin);
    atomic_store(&shared->go, true);
    for (unsigned i = 0; i < options.processes; i++)
        test_peer_join(&peers[i]);

    test_daemon_await_counter("user-allocations", 0);
    test_daemon_await_counter("user-memory", 0);
    test_ok(xpurt_empty_cache());
    test_ok(xpurt_memory_stats_get(0, &stats));
    expect("reserved at the end", stats.reserved_bytes[0].current, 0);
    expect("split at the end", stats.inactive_split[0].current, 0);
    expect("driver frees", stats.driver_frees, stats.driver_allocations);
    expect("scrubbed", stats.scrubbed_bytes, stats.reserved_bytes[0].freed);
    test_require(test_daemon_stop(&xpurtd) == 0, "the daemon ended badly");
    return 0;
}
