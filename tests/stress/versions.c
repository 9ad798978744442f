/* SPDX-License-Identifier: MIT */
/* tests/stress/versions.c: two processes record and wait for thousands of shared events in random
 * order, and each wait must have meant the record that was there when it was made.
 *
 * Each event has a word of device memory, its version. A turn on an event, by either process, on any
 * of its streams, is: wait for the event; read the word into the log, or write the next version into
 * it; record the event. Who takes a turn holds the event's lock meanwhile, so that the turns of an
 * event have an order; but hosts only submit, and the GPU work of a turn is done much later. In that
 * order each turn waits for the record of the turn before and for nothing else, so each read must
 * see exactly the version that was written last before it: an older one if its wait meant an older
 * record or did not wait, a newer one if somebody's later wait did not wait for it, and if a wait
 * meant a later record the two would wait for each other for ever.
 *
 * Some copies are slow (by a fault of the software device), so that streams do wait. In the end
 * counters, descriptors and memory of the daemon must be what they were before.
 *
 *      versions [EVENTS [TURNS [SEED]]]        turns on each event by each process
 */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 100000u
#define SIDES 2u
#define STREAMS 8u
#define SYNCHRONIZE_EACH 1000u          /* turns between those that the host waits for */
#define SLOW_COPIES "delay:copy:/1000:300us"
#define DEADLINE_NS UINT64_C(120000000000)
#define PATIENCE_MS 1000000             /* a side takes as long as it was told to */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_TELLS false              /* sanitizers keep what was freed */
#else
#define MEMORY_TELLS true
#endif
#define RESIDENT_SLACK_KIB 6144         /* arenas of malloc: not a leak */

struct shared_event {
    xpurt_event_handle handle;
    _Atomic uint32_t lock;
    uint32_t version;                   /* the last one whose write was submitted; locked */
};

/* Between the two processes; says what was submitted, never what is done. */
struct control {
    xpurt_mem_handle words;
    struct shared_event events[];
};

struct options {
    uint32_t events, turns;
    unsigned seed;
};

struct side {
    struct control *control;
    const struct options *options;
    uint32_t index;                     /* makes the events index, index + 2, ... */
    unsigned seed;
    uint32_t n_devices;
    xpurt_stream *streams[STREAMS];     /* stream s is on device s % n_devices */
    xpurt_event **events;
    uint64_t *words;                    /* device memory */
    uint64_t *log;                      /* pinned: of each turn, what was written or read */
    uint64_t *expected;
};

static uint32_t n_turns(const struct side *side)
{
    return side->options->events * side->options->turns;
}

/* What the word of an event says; no two of one run are the same. */
static uint64_t word(uint32_t event, uint32_t version)
{
    return version ? (uint64_t)(event + 1) << 32 | version : 0;
}

static void lock(struct shared_event *event)
{
    while (atomic_exchange_explicit(&event->lock, 1, memory_order_acquire))
        sched_yield();
}

static void unlock(struct shared_event *event)
{
    atomic_store_explicit(&event->lock, 0, memory_order_release);
}

/* ---- one process ------------------------------------------------------------------------------- */

static void side_open(struct side *side, int channel)
{
    uint32_t n = side->options->events;

    side->n_devices = (uint32_t)xpurt_device_count();
    for (uint32_t s = 0; s < STREAMS; s++)
        test_ok(xpurt_stream_create_with_priority((int)(s % side->n_devices), (int)(s % 3) - 1,
                                                  &side->streams[s]));
    test_ok(xpurt_host_malloc((void **)&side->log, n_turns(side) * sizeof(*side->log)));
    side->expected = malloc(n_turns(side) * sizeof(*side->expected));
    side->events = calloc(n, sizeof(*side->events));
    test_require(side->events && side->expected, "out of memory");

    if (side->index == 0) {
        test_ok(xpurt_malloc((void **)&side->words, n * sizeof(*side->words)));
        test_ok(xpurt_memset_async(side->words, 0, n * sizeof(*side->words), side->streams[0]));
        test_ok(xpurt_stream_synchronize(side->streams[0]));
        test_ok(xpurt_mem_get_ipc_handle(side->words, &side->control->words));
    }
    for (uint32_t i = side->index; i < n; i += SIDES) {
        test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &side->events[i]));
        test_ok(xpurt_event_get_ipc_handle(side->events[i], &side->control->events[i].handle));
    }
    test_pass(channel);
    test_await(channel);                /* the other side has made its own */
    if (side->index)
        test_ok(xpurt_mem_open_ipc_handle(&side->control->words, (void **)&side->words));
    for (uint32_t i = !side->index; i < n; i += SIDES)
        test_ok(xpurt_event_open_ipc_handle(&side->control->events[i].handle, &side->events[i]));
}

/* An event stays with the device of its first record. */
static xpurt_stream *stream_for(struct side *side, uint32_t event)
{
    uint32_t step = side->n_devices, choices = STREAMS / step;

    return side->streams[event % step + (uint32_t)rand_r(&side->seed) % choices * step];
}

static void turn(struct side *side, uint32_t number, uint32_t event)
{
    struct shared_event *shared = &side->control->events[event];
    xpurt_stream *stream = stream_for(side, event);
    bool writes = rand_r(&side->seed) & 1, batch = rand_r(&side->seed) & 1;
    uint64_t *log = &side->log[number];

    lock(shared);
    if (batch)
        test_ok(xpurt_batch_begin());
    test_ok(xpurt_stream_wait_event(stream, side->events[event]));
    if (writes) {
        *log = word(event, ++shared->version);
        test_ok(xpurt_memcpy_async(&side->words[event], log, sizeof(*log), stream));
    } else {
        *log = UINT64_MAX;
        test_ok(xpurt_memcpy_async(log, &side->words[event], sizeof(*log), stream));
    }
    test_ok(xpurt_event_record(side->events[event], stream));
    if (batch)
        test_ok(xpurt_batch_end());     /* others see the record from now on */
    side->expected[number] = word(event, shared->version);
    unlock(shared);
}

/* Done is done: who waited for the event sees what the turn left. */
static void synchronize(struct side *side, uint32_t number, uint32_t event)
{
    test_ok(xpurt_event_synchronize_for(side->events[event], DEADLINE_NS));
    test_require(side->log[number] == side->expected[number],
                 "turn %u is done, but event %u is at %llx instead of %llx", number, event,
                 (unsigned long long)side->log[number], (unsigned long long)side->expected[number]);
}

static uint32_t *shuffled(struct side *side)
{
    uint32_t n = n_turns(side), *order = malloc(n * sizeof(*order));

    test_require(order, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t other =
            (uint32_t)(((uint64_t)rand_r(&side->seed) << 31 | (uint64_t)rand_r(&side->seed)) %
                       (i + 1));

        order[i] = order[other];
        order[other] = i % side->options->events;
    }
    return order;
}

static void side_check(const struct side *side, const uint32_t *order)
{
    for (uint32_t i = 0; i < n_turns(side); i++)
        test_require(side->log[i] == side->expected[i],
                     "side %u, turn %u: event %u was at %llx instead of %llx", side->index, i,
                     order[i], (unsigned long long)side->log[i],
                     (unsigned long long)side->expected[i]);
}

static void side_close(struct side *side)
{
    for (uint32_t i = 0; i < side->options->events; i++)
        test_ok(xpurt_event_destroy(side->events[i]));
    for (uint32_t s = 0; s < STREAMS; s++)
        test_ok(xpurt_stream_destroy(side->streams[s]));
    test_ok(xpurt_host_free(side->log));
    test_ok(xpurt_free(side->words));
    free(side->events);
    free(side->expected);
}

static void side_run(int channel, void *data)
{
    struct side *side = data;
    uint32_t *order;

    test_ok(xpurt_set_transport(XPURT_TRANSPORT_AUTO));
    side_open(side, channel);
    order = shuffled(side);
    test_pass(channel);
    test_await(channel);                /* both are ready */
    for (uint32_t i = 0; i < n_turns(side); i++) {
        turn(side, i, order[i]);
        if (i % SYNCHRONIZE_EACH == 0)
            synchronize(side, i, order[i]);
    }
    for (uint32_t s = 0; s < STREAMS; s++)
        test_ok(xpurt_stream_synchronize_for(side->streams[s], DEADLINE_NS));
    side_check(side, order);
    free(order);
    test_pass(channel);
    test_await(channel);                /* both are done */
    side_close(side);
}

/* ---- the daemon's books ------------------------------------------------------------------------- */

/* The software device backs memory by files and keeps some for later. */
static unsigned descriptors(const struct test_daemon *daemon)
{
    const struct dirent *entry;
    char path[64], target[128];
    unsigned n = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)daemon->pid);
    folder = opendir(path);
    test_require(folder, "%s cannot be opened", path);
    while ((entry = readdir(folder))) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);

        target[length > 0 ? length : 0] = '\0';
        n += length > 0 && !strstr(target, "ze_soft-");
    }
    closedir(folder);
    return n;
}

static unsigned long resident_kib(const struct test_daemon *daemon)
{
    unsigned long kib = 0;
    char path[64], line[128];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)daemon->pid);
    file = fopen(path, "re");
    test_require(file, "%s cannot be opened", path);
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

static void await_baseline(const struct test_daemon *daemon, unsigned wanted_descriptors)
{
    xpurt_counter counters[128];
    size_t count;

    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("boards", 1);
    test_daemon_await_counter("streams", 0);
    test_daemon_await_counter("handles", 0);
    test_ok(xpurt_empty_cache());       /* what was freed is kept for a user who is there */
    test_ok(xpurt_daemon_counters(128, counters, &count));
    for (size_t i = 0; i < count; i++)
        if (strncmp(counters[i].name, "user-", 5) == 0 &&
            strcmp(counters[i].name, "user-reserved") != 0) /* a cache */
            test_daemon_await_counter(counters[i].name,
                                      strcmp(counters[i].name, "user-sessions") == 0);
    for (int tries = 0; descriptors(daemon) != wanted_descriptors; tries++) {
        test_require(tries < 1000, "%u descriptors, %u before", descriptors(daemon),
                     wanted_descriptors);
        usleep(10000);
    }
}

/* ---- both -------------------------------------------------------------------------------------- */

static void await_side(int channel)
{
    struct pollfd pollfd = { .fd = channel, .events = POLLIN };

    test_require(poll(&pollfd, 1, PATIENCE_MS) == 1, "a side takes too long");
    test_await(channel);
}

static void run(const struct options *options)
{
    size_t size = sizeof(struct control) + options->events * sizeof(struct shared_event);
    struct control *control =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct test_peer peers[SIDES];

    test_require(control != MAP_FAILED, "mmap");
    for (uint32_t i = 0; i < SIDES; i++) {
        struct side side = {
            .control = control, .options = options, .index = i, .seed = options->seed * SIDES + i
        };

        test_peer_start(&peers[i], side_run, &side);
    }
    for (int stage = 0; stage < 3; stage++) {
        for (uint32_t i = 0; i < SIDES; i++)
            await_side(peers[i].channel);
        for (uint32_t i = 0; i < SIDES; i++)
            test_pass(peers[i].channel);
    }
    for (uint32_t i = 0; i < SIDES; i++)
        test_peer_join(&peers[i]);
    munmap(control, size);
}

int main(int argc, char **argv)
{
    struct options options = { .events = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 10000,
                               .turns = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 100,
                               .seed = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) :
                                                  (unsigned)time(NULL) };
    struct options first = { .events = options.events, .turns = 1, .seed = options.seed };
    unsigned before_descriptors;
    struct test_daemon daemon;
    unsigned long before, after;

    test_require(options.events && options.events <= EVENTS_MAX && options.turns, "sizes");
    printf("seed %u\n", options.seed);
    fflush(stdout);
    setenv("ZE_SOFT_FAULT", SLOW_COPIES, 1);
    test_daemon_start(&daemon, NULL);
    run(&first);                        /* makes caches grow */
    test_ok(
        xpurt_set_transport(XPURT_TRANSPORT_SOCKET)); /* who asks often gets rings, which count */
    test_ok(xpurt_init());
    test_daemon_await_counter("sessions", 1);
    before_descriptors = descriptors(&daemon);
    before = resident_kib(&daemon);
    run(&options);
    await_baseline(&daemon, before_descriptors);
    after = resident_kib(&daemon);
    test_require(!MEMORY_TELLS || after < before + RESIDENT_SLACK_KIB, "%lu KiB, %lu before", after,
                 before);
    printf("%u events, %u turns by each side: exact\n", options.events, options.turns);
    test_ok(xpurt_reset());
    return test_daemon_stop(&daemon) ? 1 : 0;
}
