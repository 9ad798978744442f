/* SPDX-License-Identifier: MIT */
/* tests/system/fuzz.c: wild clients against a real daemon, for a bounded time.
 *
 *      system_fuzz [SECONDS [SEED [faults|rings]]]
 *
 * Several connections at once send commands and requests with wild values, valid ones with some
 * bytes changed, cut ones, descriptors, or hang up. With rings, they do so through shared memory, with
 * wild indices, bytes that change, and bells. All the while the witness must be well; in the
 * end the daemon's books must be as they were, and it must leave with status 0. Build with
 * sanitizers to see more.
 */
#include "proto/magazine.h"
#include "proto/native.h"
#include "tests/system/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTACKERS 6
#define KEPT 8
#define HANDLES 32

/* Small, so that they are met. */
static const char limits[] = "user-memory = 1G\n"
                             "user-host-memory = 256M\n"
                             "user-streams = 500\n"
                             "user-exports = 200\n"
                             "user-leases = 50\n"
                             "user-allocations = 100\n"
                             "user-segments = 50\n"
                             "user-watches = 40\n"
                             "user-native-slots = 2000\n"
                             "user-queued = 500\n"
                             "session-out-bytes = 65536\n"
                             "user-ring-bytes = 1M\n"
                             "hello-timeout-ms = 3000\n";

/* Without these everything is done at once, and nobody ever waits. */
static const char delays[] = "delay:copy:p0.2@1:300us;delay:fill:p0.05@2:5ms";

/* And these: a device goes away, memory and queues are refused now and then. */
static const char faults[] = "lost:1:3000;call:zeMemAllocDevice:/7:OUT_OF_DEVICE_MEMORY;"
                             "call:zeCommandListCreateImmediate:/9:OUT_OF_HOST_MEMORY;";

/* What they have heard of: real enough to get past the first check. */
struct attacker {
    struct scene *scene;
    uint64_t seed;
    uint64_t sent;
    bool calm;                          /* in this life: errors are rare, streams live long */
    bool deaf;                          /* in this life it does not listen */
    struct raw raw;
    uint64_t addresses[KEPT];
    uint32_t segments[KEPT];
    struct magazine_page *magazine;     /* NULL: none */
    struct board_native *native;        /* the own one; NULL: none */
    Xpurt__Location locations[2];
};

static struct {
    pthread_mutex_t lock;
    struct handle handles[HANDLES];
    _Atomic uint32_t slots[ATTACKERS];
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Atomic bool stop;
static bool with_rings;

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t roll(struct attacker *attacker)
{
    attacker->seed ^= attacker->seed << 13;
    attacker->seed ^= attacker->seed >> 7;
    attacker->seed ^= attacker->seed << 17;
    return attacker->seed;
}

static uint32_t below(struct attacker *attacker, uint32_t n)
{
    return (uint32_t)(roll(attacker) >> 16) % n;
}

/* Once in @p n times; more rarely in a calm life. */
static bool chance(struct attacker *attacker, uint32_t n)
{
    return below(attacker, attacker->calm ? 60 * n : n) == 0;
}

static uint64_t wild(struct attacker *attacker)
{
    switch (below(attacker, 8)) {
    case 0:
        return roll(attacker);
    case 1:
        return UINT64_C(1) << below(attacker, 64);
    case 2:
        return (UINT64_C(1) << below(attacker, 64)) - 1;
    case 3:
        return UINT64_MAX - below(attacker, 4096);
    default:
        return below(attacker, 16);
    }
}

static uint32_t wild_stream(struct attacker *attacker)
{
    return chance(attacker, 50) ? (uint32_t)wild(attacker) :
                                  below(attacker, attacker->calm ? 4 : 6);
}

static uint64_t wild_size(struct attacker *attacker)
{
    if (chance(attacker, 6))
        return wild(attacker);
    return 1 + below(attacker, attacker->calm ? 4096 : 1 << 20);
}

static uint64_t wild_address(struct attacker *attacker)
{
    uint64_t address = attacker->addresses[below(attacker, KEPT)];

    if (chance(attacker, 8))
        return wild(attacker);
    if (chance(attacker, 8))
        return address - 1;
    return address + below(attacker, attacker->calm ? 4096 : 100000);
}

static uint32_t wild_segment(struct attacker *attacker)
{
    return chance(attacker, 10) ? (uint32_t)wild(attacker) :
                                  attacker->segments[below(attacker, KEPT)];
}

static uint32_t wild_slot(struct attacker *attacker)
{
    return chance(attacker, 10) ? (uint32_t)wild(attacker) :
                                  shared.slots[below(attacker, ATTACKERS)];
}

/* A point that was, one that will be, or none at all; the witness's too. */
static uint64_t wild_point(struct attacker *attacker)
{
    uint32_t stream = below(attacker, 6);
    uint64_t value = attacker->raw.values[stream];

    if (chance(attacker, 8))
        return wild(attacker);
    if (chance(attacker, 8))
        return point_pack(attacker->scene->witness.slot, 7, below(attacker, 1 << 24));
    if (below(attacker, 8) == 0)
        return point_pack(wild_slot(attacker) % BOARD_SLOTS, stream, value + 2);
    return point_pack(wild_slot(attacker) % BOARD_SLOTS, stream, value);
}

static uint64_t wild_value(struct attacker *attacker, uint32_t stream)
{
    if (stream >= BOARD_TIMELINES || chance(attacker, 60))
        return wild(attacker);
    return ++attacker->raw.values[stream];
}

static uint32_t wild_native(struct attacker *attacker)
{
    return chance(attacker, 10) ? (uint32_t)wild(attacker) :
                                  below(attacker, attacker->calm ? 2 * NATIVE_POOL_SLOTS : 20);
}

/* Those that attacker_open() makes, mostly. */
static uint32_t wild_external(struct attacker *attacker)
{
    return chance(attacker, 20) ? wild_stream(attacker) : 4 + below(attacker, 2);
}

static uint32_t wild_graph(struct attacker *attacker)
{
    return chance(attacker, 20) ? (uint32_t)wild(attacker) : below(attacker, 5);
}

static Xpurt__Location *wild_location(struct attacker *attacker, unsigned which)
{
    Xpurt__Location *location = &attacker->locations[which];

    if (chance(attacker, 40))
        return NULL;
    *location = (Xpurt__Location)XPURT__LOCATION__INIT;
    if (below(attacker, 2)) {
        location->segment = wild_segment(attacker);
        location->offset = below(attacker, 2) ? 0 : wild_size(attacker) & ~UINT64_C(3);
    } else {
        location->offset = wild_address(attacker);
    }
    return location;
}

/* ---- commands -------------------------------------------------------------------------------- */

static size_t command_add(uint8_t *out, const Xpurt__Command *command)
{
    out[0] = 0x0a;                                            /* field 1 */
    out[1] = (uint8_t)xpurt__command__pack(command, out + 2); /* below 128 */
    return 2u + out[1];
}

static size_t command_make(struct attacker *attacker, uint8_t *out)
{
    Xpurt__Command command = XPURT__COMMAND__INIT;
    uint32_t stream = wild_stream(attacker);
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Wait wait = XPURT__WAIT__INIT;
    Xpurt__Copy copy = XPURT__COPY__INIT;
    Xpurt__Fill fill = XPURT__FILL__INIT;
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;
    Xpurt__StreamDestroy destroy = XPURT__STREAM_DESTROY__INIT;
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;
    Xpurt__HostFree host_free = XPURT__HOST_FREE__INIT;
    Xpurt__EventDrop drop = XPURT__EVENT_DROP__INIT;
    Xpurt__EventClose event_close = XPURT__EVENT_CLOSE__INIT;
    Xpurt__BoardClose board_close = XPURT__BOARD_CLOSE__INIT;
    Xpurt__StreamFail fail = XPURT__STREAM_FAIL__INIT;
    Xpurt__CopyRows copy_rows = XPURT__COPY_ROWS__INIT;
    Xpurt__FillRows fill_rows = XPURT__FILL_ROWS__INIT;
    Xpurt__Launch launch = XPURT__LAUNCH__INIT;
    Xpurt__Extent extent = XPURT__EXTENT__INIT;
    Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;
    Xpurt__MemoryRecord memory_record = XPURT__MEMORY_RECORD__INIT;
    Xpurt__MemoryLimit memory_limit = XPURT__MEMORY_LIMIT__INIT;
    Xpurt__ExternalRecord external_record = XPURT__EXTERNAL_RECORD__INIT;
    Xpurt__ExternalWait external_wait = XPURT__EXTERNAL_WAIT__INIT;
    Xpurt__NativeSignal native_signal = XPURT__NATIVE_SIGNAL__INIT;
    Xpurt__NativeRelease native_release = XPURT__NATIVE_RELEASE__INIT;
    Xpurt__NativeClose native_close = XPURT__NATIVE_CLOSE__INIT;
    Xpurt__GraphBegin graph_begin = XPURT__GRAPH_BEGIN__INIT;
    Xpurt__GraphLaunch graph_launch = XPURT__GRAPH_LAUNCH__INIT;
    Xpurt__GraphDestroy graph_destroy = XPURT__GRAPH_DESTROY__INIT;
    uint64_t points[4];

    switch (below(attacker, attacker->calm ? 50 : 34)) {
    default:
        record.stream = stream;
        record.value = wild_value(attacker, stream);
        if (chance(attacker, 4))
            record.stamp = stamp_pack(wild_slot(attacker), below(attacker, 100));
        else if (!below(attacker, 4))
            record.stamp = stamp_pack(attacker->raw.slot, below(attacker, 100));
        if (chance(attacker, 100))
            record.stamp = wild(attacker);
        command.body_case = XPURT__COMMAND__BODY_RECORD;
        command.record = &record;
        break;
    case 4:
    case 5:
        wait.stream = stream;
        wait.point = wild_point(attacker);
        command.body_case = XPURT__COMMAND__BODY_WAIT;
        command.wait = &wait;
        break;
    case 6:
    case 7:
        copy.stream = stream;
        copy.to = wild_location(attacker, 0);
        copy.from = wild_location(attacker, 1);
        copy.size = wild_size(attacker);
        command.body_case = XPURT__COMMAND__BODY_COPY;
        command.copy = &copy;
        break;
    case 8:
        fill.stream = stream;
        fill.to = wild_location(attacker, 0);
        fill.size = wild_size(attacker) & ~UINT64_C(3);
        fill.pattern = (uint32_t)wild(attacker);
        fill.width = chance(attacker, 10) ? (uint32_t)wild(attacker) : 1u << below(attacker, 3);
        command.body_case = XPURT__COMMAND__BODY_FILL;
        command.fill = &fill;
        break;
    case 9:
        create.stream = below(attacker, 3) ? stream : 4 + below(attacker, 2);
        create.device = chance(attacker, 20) ? (uint32_t)wild(attacker) : below(attacker, 2);
        create.priority = (int32_t)wild(attacker);
        create.external = create.stream > 3 && !chance(attacker, 3);
        command.body_case = XPURT__COMMAND__BODY_STREAM_CREATE;
        command.stream_create = &create;
        break;
    case 10:
        destroy.stream = below(attacker, 3) ? stream : 4 + below(attacker, 2);
        command.body_case = XPURT__COMMAND__BODY_STREAM_DESTROY;
        command.stream_destroy = &destroy;
        break;
    case 11:
        memory_free.address = wild_address(attacker);
        memory_free.stream = below(attacker, 2) ? stream + 1 : 0;
        command.body_case = XPURT__COMMAND__BODY_MEMORY_FREE;
        command.memory_free = &memory_free;
        break;
    case 12:
        host_free.segment = wild_segment(attacker);
        command.body_case = XPURT__COMMAND__BODY_HOST_FREE;
        command.host_free = &host_free;
        break;
    case 13:
        drop.cell = below(attacker, 20);
        command.body_case = XPURT__COMMAND__BODY_EVENT_DROP;
        command.event_drop = &drop;
        break;
    case 14:
        event_close.slot = wild_slot(attacker);
        event_close.cell = below(attacker, 20);
        command.body_case = XPURT__COMMAND__BODY_EVENT_CLOSE;
        command.event_close = &event_close;
        break;
    case 15:
        board_close.slot = wild_slot(attacker);
        command.body_case = XPURT__COMMAND__BODY_BOARD_CLOSE;
        command.board_close = &board_close;
        break;
    case 16:
        fail.stream = stream;
        fail.code = chance(attacker, 2) ? (uint32_t)wild(attacker) : XPURT_ERROR_PEER_LOST;
        command.body_case = XPURT__COMMAND__BODY_STREAM_FAIL;
        command.stream_fail = &fail;
        break;
    case 17:
        copy_rows.stream = stream;
        copy_rows.to = wild_location(attacker, 0);
        copy_rows.from = wild_location(attacker, 1);
        copy_rows.width = 1 + (uint32_t)wild_size(attacker) % 512;
        copy_rows.height = chance(attacker, 10) ? (uint32_t)wild(attacker) : below(attacker, 20);
        copy_rows.to_pitch = copy_rows.width + below(attacker, 9);
        copy_rows.from_pitch = chance(attacker, 10) ? (uint32_t)wild(attacker) : copy_rows.width;
        command.body_case = XPURT__COMMAND__BODY_COPY_ROWS;
        command.copy_rows = &copy_rows;
        break;
    case 18:
        fill_rows.stream = stream;
        fill_rows.to = wild_location(attacker, 0);
        fill_rows.width = 4 * below(attacker, 100);
        fill_rows.height = chance(attacker, 10) ? (uint32_t)wild(attacker) : below(attacker, 20);
        fill_rows.pitch = fill_rows.width + 4 * below(attacker, 9);
        fill_rows.pattern_width = 1u << below(attacker, 4);
        command.body_case = XPURT__COMMAND__BODY_FILL_ROWS;
        command.fill_rows = &fill_rows;
        break;
    case 19:
        launch.stream = stream;
        launch.module = below(attacker, 3);
        launch.kernel = (uint32_t)wild(attacker);
        launch.groups = below(attacker, 4) ? &extent : NULL;
        extent.x = (uint32_t)wild(attacker);
        command.body_case = XPURT__COMMAND__BODY_LAUNCH;
        command.launch = &launch;
        break;
    case 20:
        unload.module = below(attacker, 3);
        command.body_case = XPURT__COMMAND__BODY_MODULE_UNLOAD;
        command.module_unload = &unload;
        break;
    case 21:
        memory_record.address = wild_address(attacker);
        memory_record.stream = stream;
        command.body_case = XPURT__COMMAND__BODY_MEMORY_RECORD;
        command.memory_record = &memory_record;
        break;
    case 22:
        memory_limit.device = chance(attacker, 4) ? (uint32_t)wild(attacker) : below(attacker, 2);
        memory_limit.bytes = below(attacker, 4) ? UINT64_MAX : wild(attacker);
        command.body_case = XPURT__COMMAND__BODY_MEMORY_LIMIT;
        command.memory_limit = &memory_limit;
        break;
    case 23:
    case 24:
        external_record.stream = wild_external(attacker);
        external_record.value = wild_value(attacker, external_record.stream);
        external_record.slot = wild_native(attacker);
        if (!below(attacker, 8))
            external_record.stamp = stamp_pack(attacker->raw.slot, below(attacker, 100));
        command.body_case = XPURT__COMMAND__BODY_EXTERNAL_RECORD;
        command.external_record = &external_record;
        break;
    case 25:
    case 26:
        external_wait.stream = wild_external(attacker);
        external_wait.point = wild_point(attacker);
        external_wait.slot = wild_native(attacker);
        external_wait.owner = below(attacker, 2) ? wild_slot(attacker) : attacker->raw.slot;
        external_wait.pin = below(attacker, 2) ? 0 : (uint32_t)wild(attacker);
        command.body_case = XPURT__COMMAND__BODY_EXTERNAL_WAIT;
        command.external_wait = &external_wait;
        break;
    case 27:
        native_signal.slot = wild_native(attacker);
        native_signal.point = wild_point(attacker);
        command.body_case = XPURT__COMMAND__BODY_NATIVE_SIGNAL;
        command.native_signal = &native_signal;
        break;
    case 28:
        native_release.slot = wild_native(attacker);
        command.body_case = XPURT__COMMAND__BODY_NATIVE_RELEASE;
        command.native_release = &native_release;
        break;
    case 29:
        native_close.owner = wild_slot(attacker);
        command.body_case = XPURT__COMMAND__BODY_NATIVE_CLOSE;
        command.native_close = &native_close;
        break;
    case 30:
        graph_begin.stream = stream;
        graph_begin.graph = wild_graph(attacker);
        command.body_case = XPURT__COMMAND__BODY_GRAPH_BEGIN;
        command.graph_begin = &graph_begin;
        break;
    case 31:
    case 32:
        graph_launch.stream = stream;
        graph_launch.graph = wild_graph(attacker);
        graph_launch.first = chance(attacker, 4) ? (uint32_t)wild(attacker) : 0;
        graph_launch.count = chance(attacker, 10) ? (uint32_t)wild(attacker) : below(attacker, 6);
        graph_launch.value = wild_value(attacker, stream);
        graph_launch.n_points = below(attacker, 4);
        graph_launch.points = points;
        for (unsigned i = 0; i < 4; i++)
            points[i] = wild_point(attacker);
        command.body_case = XPURT__COMMAND__BODY_GRAPH_LAUNCH;
        command.graph_launch = &graph_launch;
        break;
    case 33:
        graph_destroy.graph = wild_graph(attacker);
        command.body_case = XPURT__COMMAND__BODY_GRAPH_DESTROY;
        command.graph_destroy = &graph_destroy;
        break;
    }
    return command_add(out, &command);
}

/* ---- requests -------------------------------------------------------------------------------- */

static size_t request_pack(struct attacker *attacker, uint8_t *out)
{
    Xpurt__ToDaemon request = XPURT__TO_DAEMON__INIT;
    Xpurt__Hello hello = XPURT__HELLO__INIT;
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__MemoryInfo info = XPURT__MEMORY_INFO__INIT;
    Xpurt__MemoryExport memory_export = XPURT__MEMORY_EXPORT__INIT;
    Xpurt__MemoryOpen memory_open = XPURT__MEMORY_OPEN__INIT;
    Xpurt__HostAlloc host = XPURT__HOST_ALLOC__INIT;
    Xpurt__EventExport event_export = XPURT__EVENT_EXPORT__INIT;
    Xpurt__EventOpen event_open = XPURT__EVENT_OPEN__INIT;
    Xpurt__EventReclaim reclaim = XPURT__EVENT_RECLAIM__INIT;
    Xpurt__BoardOpen board = XPURT__BOARD_OPEN__INIT;
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__PointPoll point_poll = XPURT__POINT_POLL__INIT;
    Xpurt__EventSharers sharers = XPURT__EVENT_SHARERS__INIT;
    Xpurt__MagazineOpen magazine_open = XPURT__MAGAZINE_OPEN__INIT;
    Xpurt__MemoryStats memory_stats = XPURT__MEMORY_STATS__INIT;
    Xpurt__MemorySnapshot snapshot = XPURT__MEMORY_SNAPSHOT__INIT;
    Xpurt__MemoryTrim trim = XPURT__MEMORY_TRIM__INIT;
    Xpurt__NativeOpen native_open = XPURT__NATIVE_OPEN__INIT;
    Xpurt__NativePoolOpen pool_open = XPURT__NATIVE_POOL_OPEN__INIT;
    Xpurt__MemoryNative memory_native = XPURT__MEMORY_NATIVE__INIT;
    Xpurt__GraphEnd graph_end = XPURT__GRAPH_END__INIT;
    Xpurt__GraphReplace graph_replace = XPURT__GRAPH_REPLACE__INIT;
    struct handle handle;

    request.serial = chance(attacker, 50) ? (uint32_t)wild(attacker) : ++attacker->raw.serial;
    pthread_mutex_lock(&shared.lock);
    handle = shared.handles[below(attacker, HANDLES)];
    pthread_mutex_unlock(&shared.lock);
    if (!below(attacker, 20))
        ((uint8_t *)&handle)[below(attacker, sizeof(handle))] ^= 1;

    switch (chance(attacker, 40) ? 23 : below(attacker, 23)) {
    case 0:
        alloc.device = below(attacker, 2);
        alloc.size = below(attacker, 3) ? wild_size(attacker) : (1 + below(attacker, 80)) << 20;
        alloc.stream = below(attacker, 2) ? wild_stream(attacker) + 1 : 0;
        alloc.fresh = !below(attacker, 10);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_ALLOC;
        request.memory_alloc = &alloc;
        break;
    case 1:
        info.device = (uint32_t)wild(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_INFO;
        request.memory_info = &info;
        break;
    case 2:
        memory_export.address = wild_address(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_EXPORT;
        request.memory_export = &memory_export;
        break;
    case 3:
        memory_open.handle = (ProtobufCBinaryData){ sizeof(handle), (uint8_t *)&handle };
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_OPEN;
        request.memory_open = &memory_open;
        break;
    case 4:
        host.size = wild_size(attacker) + 16384;
        request.request_case = XPURT__TO_DAEMON__REQUEST_HOST_ALLOC;
        request.host_alloc = &host;
        break;
    case 5:
        event_export.cell = below(attacker, 30) ? below(attacker, 20) : (uint32_t)wild(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_EVENT_EXPORT;
        request.event_export = &event_export;
        break;
    case 6:
        event_open.handle = (ProtobufCBinaryData){ sizeof(handle), (uint8_t *)&handle };
        request.request_case = XPURT__TO_DAEMON__REQUEST_EVENT_OPEN;
        request.event_open = &event_open;
        break;
    case 7:
        request.request_case = XPURT__TO_DAEMON__REQUEST_EVENT_RECLAIM;
        request.event_reclaim = &reclaim;
        break;
    case 8:
        board.slot = wild_slot(attacker);
        board.instance =
            (ProtobufCBinaryData){ sizeof(attacker->raw.instance), attacker->raw.instance };
        request.request_case = XPURT__TO_DAEMON__REQUEST_BOARD_OPEN;
        request.board_open = &board;
        break;
    case 9:
        request.request_case = XPURT__TO_DAEMON__REQUEST_STATS;
        request.stats = &stats;
        break;
    case 10:
        point_poll.point = wild_point(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_POINT_POLL;
        request.point_poll = &point_poll;
        break;
    case 11:
        sharers.slot = wild_slot(attacker);
        sharers.cell = below(attacker, 20);
        request.request_case = XPURT__TO_DAEMON__REQUEST_EVENT_SHARERS;
        request.event_sharers = &sharers;
        break;
    case 12:
        request.request_case = XPURT__TO_DAEMON__REQUEST_MAGAZINE_OPEN;
        request.magazine_open = &magazine_open;
        break;
    case 13:
        memory_stats.device = (uint32_t)wild(attacker);
        memory_stats.reset_peak = below(attacker, 2);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_STATS;
        request.memory_stats = &memory_stats;
        break;
    case 14:
        snapshot.device = below(attacker, 3);
        snapshot.after = below(attacker, 2) ? 0 : wild_address(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_SNAPSHOT;
        request.memory_snapshot = &snapshot;
        break;
    case 15:
        if (below(attacker, 20)) {      /* clearing takes long */
            request.request_case = XPURT__TO_DAEMON__REQUEST_STATS;
            request.stats = &stats;
        } else {
            request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_TRIM;
            request.memory_trim = &trim;
        }
        break;
    case 16:
        native_open.owner = below(attacker, 2) ? wild_slot(attacker) : attacker->raw.slot;
        request.request_case = XPURT__TO_DAEMON__REQUEST_NATIVE_OPEN;
        request.native_open = &native_open;
        break;
    case 17:
        pool_open.owner = below(attacker, 2) ? wild_slot(attacker) : attacker->raw.slot;
        pool_open.pool = below(attacker, 3);
        request.request_case = XPURT__TO_DAEMON__REQUEST_NATIVE_POOL_OPEN;
        request.native_pool_open = &pool_open;
        break;
    case 18:
        memory_native.address = wild_address(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_MEMORY_NATIVE;
        request.memory_native = &memory_native;
        break;
    case 19:
    case 20:
        graph_end.stream = wild_stream(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_GRAPH_END;
        request.graph_end = &graph_end;
        break;
    case 21:
    case 22:
        graph_replace.graph = wild_graph(attacker);
        graph_replace.from = chance(attacker, 20) ? NULL : wild_location(attacker, 0);
        graph_replace.to = chance(attacker, 20) ? NULL : wild_location(attacker, 1);
        graph_replace.size = wild_size(attacker);
        request.request_case = XPURT__TO_DAEMON__REQUEST_GRAPH_REPLACE;
        request.graph_replace = &graph_replace;
        break;
    case 23:
        hello.major = FRAME_MAJOR;
        request.request_case = XPURT__TO_DAEMON__REQUEST_HELLO;
        request.hello = &hello;
        break;
    }
    return xpurt__to_daemon__pack(&request, out);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* More than a stream takes at once, behind a slow command or a record that is still to come. */
static size_t burst_make(struct attacker *attacker, uint8_t *out)
{
    uint32_t stream = below(attacker, 6);
    size_t size = 0;

    if (below(attacker, 2)) {
        Xpurt__Location location = XPURT__LOCATION__INIT;
        Xpurt__Fill fill = XPURT__FILL__INIT;

        location.offset = attacker->addresses[below(attacker, KEPT)];
        fill.stream = stream;
        fill.to = &location;
        fill.size = 64;
        fill.width = 4;
        for (int i = 0; i < 20; i++)
            size += command_add(out + size, &(Xpurt__Command){ RAW_COMMAND(FILL), .fill = &fill });
    } else {
        Xpurt__Wait wait = XPURT__WAIT__INIT;
        uint32_t other = (stream + 1) % 6;

        wait.stream = stream;
        wait.point = point_pack(attacker->raw.slot, other, attacker->raw.values[other] + 3);
        size += command_add(out + size, &(Xpurt__Command){ RAW_COMMAND(WAIT), .wait = &wait });
    }
    for (uint32_t n = below(attacker, 600); n; n--) {
        Xpurt__Record record = XPURT__RECORD__INIT;

        record.stream = stream;
        record.value = ++attacker->raw.values[stream];
        size +=
            command_add(out + size, &(Xpurt__Command){ RAW_COMMAND(RECORD), .record = &record });
    }
    return size;
}

/* Some commands, maybe a request, as one payload. */
static size_t payload_make(struct attacker *attacker, uint8_t *out, size_t room)
{
    uint32_t n = below(attacker, 20) ? below(attacker, 12) : below(attacker, 1000);
    size_t size = 0;

    if (attacker->calm && below(attacker, 10) == 0)
        return burst_make(attacker, out);
    while (n-- && size + 256 < room)
        size += command_make(attacker, out + size);
    if (below(attacker, 2))
        size += request_pack(attacker, out + size);
    return size;
}

static void mutate(struct attacker *attacker, uint8_t *bytes, size_t size)
{
    uint32_t n = 1 + below(attacker, 4);

    while (n-- && size)
        bytes[below(attacker, (uint32_t)size)] = (uint8_t)roll(attacker);
}

/* The indices and bytes that a client can write, at any time. */
static void scribble(struct attacker *attacker)
{
    struct ring *there = &attacker->raw.rings.to_daemon, *back = &attacker->raw.rings.to_client;
    uint64_t near_by = there->position + below(attacker, 64) - 32;

    switch (below(attacker, attacker->calm ? 4 : 7)) {
    case 0:
        atomic_store(&there->shared->asleep, (uint32_t)wild(attacker));
        break;
    case 1:
        atomic_store(&back->shared->asleep, (uint32_t)wild(attacker));
        break;
    case 2:
        atomic_store(&there->shared->waiting, (uint32_t)wild(attacker));
        atomic_store(&there->shared->room, (uint32_t)wild(attacker));
        break;
    case 3:                             /* in front of what was published: nobody should look */
        memset(ring_at(there, there->position), (int)roll(attacker), 16);
        break;
    case 4:                             /* what may be read just now */
        mutate(attacker, ring_at(there, there->position - 4096), 4096);
        break;
    case 5:
        atomic_store(&there->shared->tail, below(attacker, 2) ? wild(attacker) : near_by);
        break;
    case 6:                             /* what comes back makes no sense any more */
        atomic_store(&back->shared->head, below(attacker, 2) ? wild(attacker) : near_by);
        attacker->deaf = true;
        break;
    }
    if (below(attacker, 2))             /* one that counts to the top cannot be rung any more */
        (void)eventfd_write(attacker->raw.bell, chance(attacker, 20) ? wild(attacker) : 1);
}

static int bytes_send(struct attacker *attacker, const void *bytes, size_t size)
{
    if (!attacker->raw.rings.base || below(attacker, 20) == 0)
        return raw_send(&attacker->raw, bytes, size);
    if (chance(attacker, 50))
        scribble(attacker);
    return raw_put(&attacker->raw, bytes, size);
}

static int frame_send_wild(struct attacker *attacker)
{
    static _Thread_local uint8_t frame[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    size_t size = payload_make(attacker, frame + FRAME_HEADER_SIZE, FRAME_PAYLOAD_MAX);
    struct frame_header header = { .length = (uint32_t)size };
    int null, r;

    frame_header_write(frame, &header);
    attacker->sent++;
    if (chance(attacker, 30))
        mutate(attacker, frame + FRAME_HEADER_SIZE, size);
    if (chance(attacker, 300))
        mutate(attacker, frame, FRAME_HEADER_SIZE);
    if (chance(attacker, 300)) {        /* cut, and hang up */
        bytes_send(attacker, frame, below(attacker, (uint32_t)(FRAME_HEADER_SIZE + size)));
        return -EPIPE;
    }
    if (!chance(attacker, 300))
        return bytes_send(attacker, frame, FRAME_HEADER_SIZE + size);

    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r = raw_send_fds(&attacker->raw, frame, FRAME_HEADER_SIZE + size, &null, 1);
    close(null);
    return r;
}

/* Remember what the daemon gave out. */
static void learn(struct attacker *attacker)
{
    const Xpurt__ToClient *reply = attacker->raw.reply;
    uint32_t place = below(attacker, KEPT);

    switch (reply->reply_case) {
    case XPURT__TO_CLIENT__REPLY_MEMORY_ALLOCATED:
        attacker->addresses[place] = reply->memory_allocated->address;
        break;
    case XPURT__TO_CLIENT__REPLY_MEMORY_OPENED:
        attacker->addresses[place] = reply->memory_opened->start;
        break;
    case XPURT__TO_CLIENT__REPLY_HOST_ALLOCATED:
        attacker->segments[place] = reply->host_allocated->segment;
        break;
    case XPURT__TO_CLIENT__REPLY_MAGAZINE_OPENED:
        attacker->magazine = mmap(NULL, sizeof(*attacker->magazine), PROT_READ | PROT_WRITE,
                                  MAP_SHARED, attacker->raw.fds.fds[0], 0);
        test_require(attacker->magazine != MAP_FAILED, "mmap: %s", strerror(errno));
        break;
    case XPURT__TO_CLIENT__REPLY_NATIVE_OPENED:
        if (attacker->native || reply->native_opened->owner != attacker->raw.slot)
            break;
        attacker->native = mmap(NULL, sizeof(*attacker->native), PROT_READ | PROT_WRITE, MAP_SHARED,
                                attacker->raw.fds.fds[0], 0);
        test_require(attacker->native != MAP_FAILED, "mmap: %s", strerror(errno));
        break;
    case XPURT__TO_CLIENT__REPLY_HANDLE:
        pthread_mutex_lock(&shared.lock);
        memcpy(&shared.handles[below(attacker, HANDLES)], reply->handle->handle.data, HANDLE_SIZE);
        pthread_mutex_unlock(&shared.lock);
        break;
    default:
        break;
    }
    /* A failed stream stays failed until it is destroyed: try its number again. */
    if (reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR && reply->error->stream &&
        reply->error->stream <= BOARD_TIMELINES) {
        attacker->raw.by_socket = true; /* which does not wait for room */
        raw_stream_destroy(&attacker->raw, reply->error->stream - 1);
        attacker->raw.by_socket = false;
    }
}

/* Frees and allocates where the daemon is not asked, or writes whatever it likes. */
static void scribble_magazine(struct attacker *attacker)
{
    uint64_t word = magazine_word(below(attacker, 4), below(attacker, 2) ? 0 : wild(attacker));

    if (!attacker->magazine)
        return;
    if (chance(attacker, 10))
        attacker->magazine->magic = (uint32_t)wild(attacker);
    if (chance(attacker, 10))
        atomic_store(&attacker->magazine->finished[below(attacker, 64)].blocks[0], word);
    for (uint32_t i = 0; i < 8; i++)
        atomic_store(&attacker->magazine->entries[below(attacker, i < 4 ? 16 : MAGAZINE_ENTRIES)],
                     word);
}

/* The last two are external. */
static void stream_create(struct attacker *attacker, uint32_t stream)
{
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;

    create.stream = stream;
    create.device = stream % 2;
    create.external = stream > 3;
    raw_send_command(&attacker->raw,
                     &(Xpurt__Command){ RAW_COMMAND(STREAM_CREATE), .stream_create = &create });
}

/* Pins, states and points of the own native board. */
static void scribble_native(struct attacker *attacker)
{
    if (!attacker->native)
        return;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t pin = native_pin(wild_slot(attacker), wild_native(attacker));
        struct native_slot *slot = &attacker->native->slots[below(attacker, NATIVE_SLOTS)];

        atomic_store(&attacker->native->pins[below(attacker, NATIVE_PINS)],
                     below(attacker, 2) ? pin : wild(attacker));
        atomic_store(&slot->state, (uint32_t)wild(attacker));
        atomic_store(&slot->point, wild_point(attacker));
    }
}

/* Who sleeps, they say; the daemon reads that, and clears it. Rarely it has to find the page again. */
static void scribble_marks(struct attacker *attacker)
{
    struct raw *raw = &attacker->raw;

    for (uint32_t i = 0; i < 4; i++)
        atomic_store(&raw->events->marks.timelines[wild_stream(attacker) % BOARD_TIMELINES],
                     (uint32_t)wild(attacker));
    if (chance(attacker, 200))
        (void)fallocate(raw->events_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BOARD_PAGE);
}

static void attacker_open(struct attacker *attacker, unsigned index)
{
    raw_open(&attacker->raw, attacker->scene->daemon.socket);
    shared.slots[index] = attacker->raw.slot;
    if (with_rings)                     /* refused for some, when all open large ones at once */
        (void)raw_open_rings(&attacker->raw, RING_SIZE_MIN << below(attacker, 6),
                             RING_SIZE_MIN << below(attacker, 2));
    fcntl(attacker->raw.fd, F_SETFL, O_NONBLOCK); /* it gives up where others would wait */
    for (uint32_t i = 0; i < 6; i++)
        stream_create(attacker, i);
}

static struct attacker attackers[ATTACKERS];

static void *attack(void *data)
{
    struct attacker *attacker = data;
    unsigned index = (unsigned)(attacker - attackers);

    while (!atomic_load(&stop)) {
        uint32_t life = 1 + below(attacker, 4000);

        attacker->calm = below(attacker, 2);
        attacker->deaf = below(attacker, 6) == 0;
        attacker_open(attacker, index);
        while (life-- && !atomic_load(&stop)) {
            int r = frame_send_wild(attacker);

            scribble_magazine(attacker);
            scribble_native(attacker);
            scribble_marks(attacker);
            if (r == -EAGAIN && !attacker->deaf)
                scene_sleep_ms(1);      /* a frame was cut: what follows is rubbish, and welcome */
            else if (r < 0)
                break;
            while (!attacker->deaf && raw_receive(&attacker->raw, 0) == RAW_FRAME)
                learn(attacker);
        }
        raw_close(&attacker->raw);
        if (attacker->magazine)
            munmap(attacker->magazine, sizeof(*attacker->magazine));
        attacker->magazine = NULL;
        if (attacker->native)
            munmap(attacker->native, sizeof(*attacker->native));
        attacker->native = NULL;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    const char *failing = argc > 3 && strcmp(argv[3], "faults") == 0 ? faults : "";
    char soft_fault[512];
    static struct scene scene;
    pthread_t threads[ATTACKERS];
    struct books before;
    uint64_t sent = 0;

    if (!seed)
        seed = scene_now_ns();
    with_rings = argc > 3 && strcmp(argv[3], "rings") == 0;
    printf("system_fuzz %lu 0x%llx %s\n", seconds, (unsigned long long)seed,
           argc > 3 ? argv[3] : "");
    fflush(stdout);
    snprintf(soft_fault, sizeof(soft_fault), "%s%s", failing, delays);
    setenv("ZE_SOFT_FAULT", soft_fault, 1);
    scene_begin(&scene, limits);
    books_read(&scene, &before);
    for (unsigned i = 0; i < ATTACKERS; i++) {
        attackers[i].scene = &scene;
        attackers[i].seed = (seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        test_require(pthread_create(&threads[i], NULL, attack, &attackers[i]) == 0, "a thread");
    }
    for (unsigned long i = 0; i < 10 * seconds; i++) {
        scene_sleep_ms(100);
        witness_check(&scene);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < ATTACKERS; i++) {
        pthread_join(threads[i], NULL);
        sent += attackers[i].sent;
    }
    books_check(&scene, &before);
    witness_check(&scene);
    printf("%llu frames, %llu clients closed for what they sent, %llu commands, %llu rounds of the "
           "witness\n",
           (unsigned long long)sent, (unsigned long long)raw_counter(&scene.watcher, "refused"),
           (unsigned long long)raw_counter(&scene.watcher, "commands"),
           (unsigned long long)scene.rounds);
    scene_end(&scene);
    return 0;
}
