/* SPDX-License-Identifier: MIT */
/* daemon/dispatch.c: one table for requests, one for commands.
 *
 * Guarantees of this file: what can be checked without knowing the request (state of the session,
 * descriptors, decodable, known) is checked here once, before any handler; handlers see messages
 * whose pointers are set and whose session has boards.
 */
#include "daemon/dispatch.h"
#include "daemon/graph.h"
#include "daemon/launch.h"
#include "daemon/log.h"
#include "daemon/report.h"
#include "daemon/session.h"
#include "daemon/transfer.h"
#include "daemon/watch.h"
#include "proto/command.h"
#include "proto/hot.h"

#include <inttypes.h>
#include <string.h>

#define PRIORITY_HIGH (-1)
#define PRIORITY_LOW 1

/* ---- commands ----------------------------------------------------------------------------------- */

static struct stream *session_stream(struct session *session, uint32_t index)
{
    struct stream *stream = index < BOARD_TIMELINES ? session->places[index].stream : NULL;

    return stream && !stream->closing ? stream : NULL;
}

/* The stream a command is for; NULL: none, and the client was told. */
static struct stream *stream_find(struct session *session, uint32_t index)
{
    struct stream *stream = session_stream(session, index);

    if (stream)
        return stream;
    session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE, "there is no stream %u", index);
    return NULL;
}

/* The same, but for commands that only make sense on one of the two kinds. */
HOT static struct stream *stream_find_kind(struct session *session, uint32_t index, bool external)
{
    struct stream *stream = stream_find(session, index);

    if (!stream || stream->external == external)
        return stream;
    stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                external ? "the stream has no native list" :
                           "the stream is external: only its own process can put work on it");
    return NULL;
}

/* What all records have in common; false: the stream has failed. */
HOT static bool record_check(struct session *session, struct stream *stream, uint64_t value,
                             uint64_t stamp, struct work *work)
{
    /* A graph counts its own; they get values when it is launched. */
    uint64_t next = 1 + (stream->capture ? stream->capture->n_records : stream->accepted);

    if (value != next || value > POINT_VALUE_MAX) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "record of value %" PRIu64 ", the next one is %" PRIu64, value, next);
        return false;
    }
    if (stamp) {
        struct board *board = event_stamp_board(session, stamp_slot(stamp));

        if (!board || stamp_cell(stamp) >= BOARD_CELLS) {
            stream_fail(stream, XPURT_ERROR_INVALID_HANDLE,
                        "time stamp for an event that this process has not opened");
            return false;
        }
        work->record.stamp_board = board;
        work->record.stamp_cell = stamp_cell(stamp);
        work->holds[0] = resource_ref(&board->resource);
    }
    session->runtime->counters.records++;
    return true;
}

HOT static void record(struct session *session, uint32_t index, uint64_t value, uint64_t stamp)
{
    struct work work = { .kind = WORK_RECORD, .record.value = value };
    struct stream *stream = stream_find_kind(session, index, false);

    if (stream && record_check(session, stream, value, stamp, &work))
        stream_submit(stream, &work);
}

static void on_record(struct session *session, const Xpurt__Command *command)
{
    record(session, command->record->stream, command->record->value, command->record->stamp);
}

static void wait(struct session *session, uint32_t index, uint64_t point)
{
    struct work work = { .kind = WORK_WAIT, .wait.point = point };
    struct stream *stream = stream_find_kind(session, index, false);

    if (stream)
        stream_submit(stream, &work);
}

static void on_wait(struct session *session, const Xpurt__Command *command)
{
    wait(session, command->wait->stream, command->wait->point);
}

static void on_external_record(struct session *session, const Xpurt__Command *command)
{
    const Xpurt__ExternalRecord *record = command->external_record;
    struct work work = { .kind = WORK_RECORD, .record.value = record->value };
    struct stream *stream = stream_find_kind(session, record->stream, true);

    if (!stream || !record_check(session, stream, record->value, record->stamp, &work))
        return;
    work.record.slot = native_claim(session, record->slot);
    if (!work.record.slot) {
        work_drop(&work);
        stream_fail(stream, XPURT_ERROR_INVALID_HANDLE,
                    "native slot %u is none that can be claimed", record->slot);
        return;
    }
    work.holds[1] = gpu_slot_resource(work.record.slot);
    stream->waits = 0;
    stream_submit(stream, &work);
}

static void on_external_wait(struct session *session, const Xpurt__Command *command)
{
    const Xpurt__ExternalWait *wait = command->external_wait;
    struct work work = {
        .kind = WORK_WAIT,
        .wait = { .point = wait->point, .promise = !wait->pin },
    };
    struct stream *stream = stream_find_kind(session, wait->stream, true);

    if (!stream)
        return;
    if (stream->waits == NATIVE_WAITS) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT, "more than %u waits without a record",
                    NATIVE_WAITS);
        return;
    }
    if (wait->pin)
        work.wait.slot = native_take(session, wait->owner, wait->slot, wait->pin - 1);
    else if (wait->owner == session->board->slot)
        work.wait.slot = native_claim(session, wait->slot);
    if (!work.wait.slot) {
        stream_fail(stream, XPURT_ERROR_INVALID_HANDLE,
                    "native slot %u of session %u is none that can be waited for", wait->slot,
                    wait->owner);
        return;
    }
    work.holds[0] = gpu_slot_resource(work.wait.slot);
    stream->waits++;
    stream_submit(stream, &work);
}

static void on_copy(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->copy->stream, false);

    if (stream)
        copy_submit(session, stream, command->copy);
}

static void on_fill(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->fill->stream, false);

    if (stream)
        fill_submit(session, stream, command->fill);
}

static void on_copy_rows(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->copy_rows->stream, false);

    if (stream)
        copy_rows_submit(session, stream, command->copy_rows);
}

static void on_fill_rows(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->fill_rows->stream, false);

    if (stream)
        fill_rows_submit(session, stream, command->fill_rows);
}

static void on_launch(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->launch->stream, false);

    if (stream)
        launch_submit(session, stream, command->launch);
}

static void on_module_unload(struct session *session, const Xpurt__Command *command)
{
    module_unload(session, command->module_unload);
}

static void on_stream_create(struct session *session, const Xpurt__Command *command)
{
    const Xpurt__StreamCreate *create = command->stream_create;
    struct stream *stream;

    if (create->stream >= BOARD_TIMELINES || session->places[create->stream].stream) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE,
                      "stream %u cannot be created: it %s", create->stream,
                      create->stream < BOARD_TIMELINES ? "exists" : "is out of range");
        return;
    }
    stream = stream_new(session, create->stream, create->device, create->external);
    if (!stream) {
        session_error(session, 0, create->stream + 1, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    if (create->device >= gpu_device_count(session->runtime->gpu))
        stream_fail(stream, XPURT_ERROR_INVALID_DEVICE, "there is no device %u", create->device);
    else
        stream_start(stream, create->priority < PRIORITY_HIGH ? PRIORITY_HIGH :
                             create->priority > PRIORITY_LOW  ? PRIORITY_LOW :
                                                                create->priority);
}

static void on_stream_destroy(struct session *session, const Xpurt__Command *command)
{
    struct work work = { .kind = WORK_DESTROY };
    struct stream *stream = stream_find(session, command->stream_destroy->stream);

    if (!stream)
        return;
    graph_abandon(session, stream);
    stream_submit(stream, &work);
}

static bool is_error(uint32_t code)
{
    switch ((xpurt_result)code) {
    case XPURT_SUCCESS:
    case XPURT_NOT_READY:
    case XPURT_TIMEOUT:
        return false;
    case XPURT_ERROR_INVALID_ARGUMENT:
    case XPURT_ERROR_INVALID_HANDLE:
    case XPURT_ERROR_INVALID_DEVICE:
    case XPURT_ERROR_INVALID_ADDRESS:
    case XPURT_ERROR_NOT_RECORDED:
    case XPURT_ERROR_NO_TIMING:
    case XPURT_ERROR_OUT_OF_MEMORY:
    case XPURT_ERROR_OUT_OF_HOST_MEMORY:
    case XPURT_ERROR_QUOTA:
    case XPURT_ERROR_NO_DAEMON:
    case XPURT_ERROR_DAEMON_LOST:
    case XPURT_ERROR_PEER_LOST:
    case XPURT_ERROR_STALE_HANDLE:
    case XPURT_ERROR_PERMISSION:
    case XPURT_ERROR_FORKED:
    case XPURT_ERROR_DEVICE_LOST:
    case XPURT_ERROR_DEPENDENCY:
    case XPURT_ERROR_DRIVER:
    case XPURT_ERROR_BUILD_FAILED:
    case XPURT_ERROR_UNSUPPORTED:
    case XPURT_ERROR_PROTOCOL:
    case XPURT_ERROR_WOULD_BLOCK:
    case XPURT_ERROR_SYSTEM:
        return true;
    }
    return false;
}

static void on_stream_fail(struct session *session, const Xpurt__Command *command)
{
    const Xpurt__StreamFail *fail = command->stream_fail;
    struct stream *stream = stream_find(session, fail->stream);

    if (!stream)
        return;
    if (is_error(fail->code))
        stream_fail(stream, (xpurt_result)fail->code,
                    "its process says that what it waits for will not come");
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "stream %u cannot fail with %u: that is no error", fail->stream, fail->code);
}

static void on_memory_free(struct session *session, const Xpurt__Command *command)
{
    memory_free(session, command->memory_free);
}

static void on_memory_record(struct session *session, const Xpurt__Command *command)
{
    memory_record(session, command->memory_record);
}

static void on_memory_limit(struct session *session, const Xpurt__Command *command)
{
    memory_limit(session, command->memory_limit);
}

static void on_host_free(struct session *session, const Xpurt__Command *command)
{
    host_free(session, command->host_free);
}

static void on_event_drop(struct session *session, const Xpurt__Command *command)
{
    event_drop(session, command->event_drop);
}

static void on_event_close(struct session *session, const Xpurt__Command *command)
{
    event_close(session, command->event_close);
}

static void on_native_signal(struct session *session, const Xpurt__Command *command)
{
    native_signal(session, command->native_signal);
}

static void on_native_release(struct session *session, const Xpurt__Command *command)
{
    native_release(session, command->native_release);
}

static void on_native_close(struct session *session, const Xpurt__Command *command)
{
    native_close(session, command->native_close);
}

static void on_graph_begin(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->graph_begin->stream, false);

    if (stream)
        graph_begin(session, stream, command->graph_begin->graph);
}

static void on_graph_launch(struct session *session, const Xpurt__Command *command)
{
    struct stream *stream = stream_find_kind(session, command->graph_launch->stream, false);

    if (stream)
        graph_launch(session, stream, command->graph_launch);
}

static void on_graph_destroy(struct session *session, const Xpurt__Command *command)
{
    graph_destroy(session, command->graph_destroy->graph);
}

static void on_board_close(struct session *session, const Xpurt__Command *command)
{
    event_board_close(session, command->board_close);
}

typedef void (*command_handler)(struct session *session, const Xpurt__Command *command);

static const command_handler commands[] = {
    [XPURT__COMMAND__BODY_RECORD] = on_record,
    [XPURT__COMMAND__BODY_WAIT] = on_wait,
    [XPURT__COMMAND__BODY_COPY] = on_copy,
    [XPURT__COMMAND__BODY_FILL] = on_fill,
    [XPURT__COMMAND__BODY_STREAM_CREATE] = on_stream_create,
    [XPURT__COMMAND__BODY_STREAM_DESTROY] = on_stream_destroy,
    [XPURT__COMMAND__BODY_MEMORY_FREE] = on_memory_free,
    [XPURT__COMMAND__BODY_HOST_FREE] = on_host_free,
    [XPURT__COMMAND__BODY_EVENT_DROP] = on_event_drop,
    [XPURT__COMMAND__BODY_EVENT_CLOSE] = on_event_close,
    [XPURT__COMMAND__BODY_BOARD_CLOSE] = on_board_close,
    [XPURT__COMMAND__BODY_STREAM_FAIL] = on_stream_fail,
    [XPURT__COMMAND__BODY_EXTERNAL_RECORD] = on_external_record,
    [XPURT__COMMAND__BODY_EXTERNAL_WAIT] = on_external_wait,
    [XPURT__COMMAND__BODY_NATIVE_SIGNAL] = on_native_signal,
    [XPURT__COMMAND__BODY_NATIVE_RELEASE] = on_native_release,
    [XPURT__COMMAND__BODY_NATIVE_CLOSE] = on_native_close,
    [XPURT__COMMAND__BODY_LAUNCH] = on_launch,
    [XPURT__COMMAND__BODY_COPY_ROWS] = on_copy_rows,
    [XPURT__COMMAND__BODY_FILL_ROWS] = on_fill_rows,
    [XPURT__COMMAND__BODY_MODULE_UNLOAD] = on_module_unload,
    [XPURT__COMMAND__BODY_MEMORY_RECORD] = on_memory_record,
    [XPURT__COMMAND__BODY_MEMORY_LIMIT] = on_memory_limit,
    [XPURT__COMMAND__BODY_GRAPH_BEGIN] = on_graph_begin,
    [XPURT__COMMAND__BODY_GRAPH_LAUNCH] = on_graph_launch,
    [XPURT__COMMAND__BODY_GRAPH_DESTROY] = on_graph_destroy,
};

static void run_command(struct session *session, const Xpurt__Command *command)
{
    if (command->body_case >= sizeof(commands) / sizeof(commands[0]) ||
        !commands[command->body_case]) {
        session_error(session, 0, 0, XPURT_ERROR_UNSUPPORTED,
                      "a command that this daemon does not know");
        return;
    }
    commands[command->body_case](session, command);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void device_fill(Xpurt__Device *device, const struct gpu *gpu, unsigned index)
{
    const xpurt_device_properties *properties = gpu_device_properties(gpu, index);

    xpurt__device__init(device);
    device->driver_uuid.data = (uint8_t *)gpu_driver_uuid(gpu);
    device->driver_uuid.len = 16;
    device->driver_number = gpu_driver_number(gpu);
    device->name = (char *)properties->name;
    device->uuid.data = (uint8_t *)properties->uuid;
    device->uuid.len = sizeof(properties->uuid);
    device->vendor_id = properties->vendor_id;
    device->device_id = properties->device_id;
    device->driver_version = (char *)properties->driver_version;
    device->total_memory = properties->total_memory;
    device->max_allocation = properties->max_allocation;
    device->local_memory = properties->local_memory;
    device->compute_units = properties->compute_units;
    device->max_group_size = properties->max_group_size;
    device->n_sub_group_sizes = properties->sub_group_size_count;
    device->sub_group_sizes = (uint32_t *)properties->sub_group_sizes;
    device->clock_mhz = properties->clock_mhz;
    device->integrated = properties->integrated;
    device->software = properties->software;
    device->fp16 = properties->fp16;
    device->fp64 = properties->fp64;
    device->atomic64 = properties->atomic64;
    device->ipc_events = properties->ipc_events;
    device->ipc_memory = properties->ipc_memory;
    device->peers = gpu_device_peers(gpu, index);
}

static void welcome(struct session *session, uint32_t serial)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Welcome message = XPURT__WELCOME__INIT;
    Xpurt__Device devices[GPU_DEVICES_MAX], *pointers[GPU_DEVICES_MAX];
    struct runtime *runtime = session->runtime;
    int fds[2] = { session->board->progress_fd, session->board->events_fd };

    message.n_devices = gpu_device_count(runtime->gpu);
    for (unsigned i = 0; i < message.n_devices; i++) {
        device_fill(&devices[i], runtime->gpu, i);
        pointers[i] = &devices[i];
    }
    message.devices = pointers;
    message.major = FRAME_MAJOR;
    message.minor = FRAME_MINOR;
    message.instance.data = runtime->broker.instance;
    message.instance.len = sizeof(runtime->broker.instance);
    message.slot = session->board->slot;
    message.daemon_version = (char *)XPURT_VERSION;
    message.host_quota = runtime->limits->user_host_memory;
    message.memory_quota = runtime->limits->user_memory;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_WELCOME;
    reply.welcome = &message;
    session_reply(session, serial, &reply, fds, 2);
}

static void on_hello(struct session *session, const Xpurt__ToDaemon *message)
{
    const Xpurt__Hello *hello = message->hello;
    xpurt_result result;

    if (hello->major != FRAME_MAJOR) {
        session_error(session, message->serial, 0, XPURT_ERROR_PROTOCOL,
                      "this daemon speaks protocol %u, the client %u", FRAME_MAJOR, hello->major);
        connection_break(&session->connection, "another version of the protocol");
        return;
    }
    result = session_start(session, hello->name);
    if (result) {
        session_error(session, message->serial, 0, result, "no more sessions: %s",
                      result == XPURT_ERROR_QUOTA ?
                          "the limit user-sessions or sessions is reached" :
                          "the daemon is out of memory");
        connection_break(&session->connection, "no session could be made");
        return;
    }
    welcome(session, message->serial);
}

static void on_memory_alloc(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_alloc(session, message->serial, message->memory_alloc);
}

static void on_memory_info(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_info(session, message->serial, message->memory_info);
}

static void on_memory_export(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_export(session, message->serial, message->memory_export);
}

static void on_memory_open(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_open(session, message->serial, message->memory_open);
}

static void on_magazine_open(struct session *session, const Xpurt__ToDaemon *message)
{
    magazine_open(session, message->serial);
}

static void on_memory_stats(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_stats(session, message->serial, message->memory_stats);
}

static void on_memory_snapshot(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_snapshot(session, message->serial, message->memory_snapshot);
}

static void on_memory_trim(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_trim(session, message->serial);
}

static void on_host_alloc(struct session *session, const Xpurt__ToDaemon *message)
{
    host_alloc(session, message->serial, message->host_alloc);
}

static void on_memory_native(struct session *session, const Xpurt__ToDaemon *message)
{
    memory_native(session, message->serial, message->memory_native);
}

static void on_native_open(struct session *session, const Xpurt__ToDaemon *message)
{
    native_open(session, message->serial, message->native_open);
}

static void on_native_pool_open(struct session *session, const Xpurt__ToDaemon *message)
{
    native_pool_open(session, message->serial, message->native_pool_open);
}

static void on_event_export(struct session *session, const Xpurt__ToDaemon *message)
{
    event_export(session, message->serial, message->event_export);
}

static void on_event_open(struct session *session, const Xpurt__ToDaemon *message)
{
    event_open(session, message->serial, message->event_open);
}

static void on_event_reclaim(struct session *session, const Xpurt__ToDaemon *message)
{
    event_reclaim(session, message->serial);
}

static void on_board_open(struct session *session, const Xpurt__ToDaemon *message)
{
    event_board_open(session, message->serial, message->board_open);
}

static void on_point_poll(struct session *session, const Xpurt__ToDaemon *message)
{
    point_poll(session, message->serial, message->point_poll);
}

static void on_event_sharers(struct session *session, const Xpurt__ToDaemon *message)
{
    event_sharers(session, message->serial, message->event_sharers);
}

static void on_module_load(struct session *session, const Xpurt__ToDaemon *message)
{
    module_load(session, message->serial, message->module_load);
}

static void on_kernel_suggest(struct session *session, const Xpurt__ToDaemon *message)
{
    kernel_suggest(session, message->serial, message->kernel_suggest);
}

static void on_graph_end(struct session *session, const Xpurt__ToDaemon *message)
{
    struct stream *stream = session_stream(session, message->graph_end->stream);

    if (stream)
        graph_end(session, stream, message->serial);
    else
        session_error(session, message->serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "there is no stream %u", message->graph_end->stream);
}

static void on_graph_replace(struct session *session, const Xpurt__ToDaemon *message)
{
    graph_replace(session, message->serial, message->graph_replace);
}

#define COUNTERS_MAX 64

struct counter_list {
    unsigned n;
    Xpurt__Counter counters[COUNTERS_MAX];
    Xpurt__Counter *pointers[COUNTERS_MAX];
    char names[2 * CHARGE_COUNT][40];
};

static void counter_add(struct counter_list *list, const char *name, uint64_t value)
{
    Xpurt__Counter *counter = &list->counters[list->n];

    xpurt__counter__init(counter);
    counter->name = (char *)name;
    counter->value = value;
    list->pointers[list->n++] = counter;
}

static void counters_collect(struct session *session, struct counter_list *list)
{
    const struct counters *counters = &session->runtime->counters;
    struct user *user = session->user;

    counter_add(list, "sessions", counters->sessions);
    counter_add(list, "streams", counters->streams);
    counter_add(list, "boards", BOARD_SLOTS - session->runtime->boards.n_free);
    counter_add(list, "handles", HASH_COUNT(session->runtime->broker.tokens));
    counter_add(list, "frames", counters->frames);
    counter_add(list, "commands", counters->commands);
    counter_add(list, "records", counters->records);
    counter_add(list, "markers", counters->markers);
    counter_add(list, "wakes", counters->wakes);
    counter_add(list, "builds", counters->builds);
    counter_add(list, "refused", counters->refused);
    counter_add(list, "queued", session->n_queued);
    counter_add(list, "driver-allocations", counters->driver_allocations);
    counter_add(list, "driver-frees", counters->driver_frees);
    counter_add(list, "scrubbed-bytes", counters->scrubbed_bytes);
    for (unsigned i = 0; i < CHARGE_COUNT; i++) {
        snprintf(list->names[2 * i], sizeof(list->names[0]), "user-%s", charge_name(i));
        counter_add(list, list->names[2 * i], user->charged[i]);
        snprintf(list->names[2 * i + 1], sizeof(list->names[0]), "limit-user-%s", charge_name(i));
        counter_add(list, list->names[2 * i + 1], charge_limit(user->limits, i));
    }
}

static void on_ring_open(struct session *session, const Xpurt__ToDaemon *message)
{
    session_open_rings(session, message->serial, message->ring_open);
}

static void on_stats(struct session *session, const Xpurt__ToDaemon *message)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Counters answer = XPURT__COUNTERS__INIT;
    struct counter_list list = { .n = 0 };

    counters_collect(session, &list);
    answer.n_counters = list.n;
    answer.counters = list.pointers;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_COUNTERS;
    reply.counters = &answer;
    session_reply(session, message->serial, &reply, NULL, 0);
}

struct request {
    void (*handler)(struct session *session, const Xpurt__ToDaemon *message);
    enum session_state state;           /* the one it is allowed in */
    unsigned fds;                       /* descriptors that come with it */
};

/* clang-format off */
static const struct request requests[] = {
    /*                                          handler           state          fds */
    [XPURT__TO_DAEMON__REQUEST_HELLO] =         { on_hello,         SESSION_NEW,   0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_ALLOC] =  { on_memory_alloc,  SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_INFO] =   { on_memory_info,   SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_EXPORT] = { on_memory_export, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_OPEN] =   { on_memory_open,   SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_HOST_ALLOC] =    { on_host_alloc,    SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_EVENT_EXPORT] =  { on_event_export,  SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_EVENT_OPEN] =    { on_event_open,    SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_EVENT_RECLAIM] = { on_event_reclaim, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_BOARD_OPEN] =    { on_board_open,    SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_STATS] =         { on_stats,         SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_POINT_POLL] =    { on_point_poll,    SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_EVENT_SHARERS] = { on_event_sharers, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_NATIVE_OPEN] =   { on_native_open,   SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_NATIVE_POOL_OPEN] = { on_native_pool_open, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_NATIVE] = { on_memory_native, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_RING_OPEN] =     { on_ring_open,     SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MODULE_LOAD] =   { on_module_load,   SESSION_READY, 1 },
    [XPURT__TO_DAEMON__REQUEST_KERNEL_SUGGEST] = { on_kernel_suggest, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MAGAZINE_OPEN] = { on_magazine_open, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_STATS] =  { on_memory_stats,  SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_SNAPSHOT] = { on_memory_snapshot, SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_MEMORY_TRIM] =   { on_memory_trim,   SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_GRAPH_END] =     { on_graph_end,     SESSION_READY, 0 },
    [XPURT__TO_DAEMON__REQUEST_GRAPH_REPLACE] = { on_graph_replace, SESSION_READY, 0 },
};
/* clang-format on */

/* ---- frames ---------------------------------------------------------------------------------------- */

static __attribute__((cold)) void refuse(struct session *session, uint32_t serial,
                                         const char *reason)
{
    session_error(session, serial, 0, XPURT_ERROR_PROTOCOL, "%s", reason);
    connection_break(&session->connection, reason);
}

static void run_request(struct session *session, const Xpurt__ToDaemon *message,
                        struct frame_fds *fds)
{
    const struct request *request = &requests[message->request_case];

    if (session->state != request->state)
        refuse(session, message->serial,
               session->state == SESSION_NEW ? "the first request must be Hello" :
                                               "Hello may come only once");
    else if (fds->count != request->fds)
        refuse(session, message->serial,
               request->fds ? "a request came without the descriptor it takes" :
                              "descriptors came with a request that takes none");
    else if (!message->serial)
        refuse(session, 0, "a request without a serial");
    else {
        session->fds = fds;
        request->handler(session, message);
        session->fds = NULL;
    }
}

/* A command of a frame, decoded. */
struct decoded {
    struct command command;
    Xpurt__Command *other;              /* of kind COMMAND_OTHER */
    size_t end;                         /* in the frame */
};

#define COMMAND_SIZE_MIN 2              /* a tag and a length */
#define COST_SIMPLE 1                   /* of a Record, a Wait, a frame: some 100 ns */
#define COST_OTHER 4
#define COST_REQUEST 32

/* Decode commands that a frame begins with, as many as the budget is good for. *ret_used: the bytes
 * of them. False: one of them cannot be decoded. */
HOT static bool decode_commands(struct arena *arena, const uint8_t *payload, size_t size,
                                int *budget, struct decoded **ret_commands, size_t *ret_n,
                                size_t *ret_used)
{
    size_t most = size / COMMAND_SIZE_MIN + 1, n = 0, used = 0, taken;
    struct decoded *decoded;

    if (most > (size_t)*budget)
        most = (size_t)*budget;         /* none costs less than 1 */
    decoded = arena->allocator.alloc(arena, most * sizeof(*decoded));
    if (!decoded)
        return false;
    while (*budget > 0 &&
           (taken = command_take(payload + used, size - used, &decoded[n].command))) {
        const struct command *command = &decoded[n].command;

        if (command->kind == COMMAND_OTHER) {
            decoded[n].other =
                xpurt__command__unpack(&arena->allocator, command->size, command->bytes);
            if (!decoded[n].other)
                return false;
        }
        *budget -= command->kind == COMMAND_OTHER ? COST_OTHER : COST_SIMPLE;
        used += taken;
        decoded[n++].end = used;
    }
    *ret_commands = decoded;
    *ret_n = n;
    *ret_used = used;
    return true;
}

HOT static void run_decoded(struct session *session, const struct decoded *decoded)
{
    const struct command *command = &decoded->command;

    if (command->kind == COMMAND_RECORD)
        record(session, command->stream, command->value, command->stamp);
    else if (command->kind == COMMAND_WAIT)
        wait(session, command->stream, command->value);
    else
        run_command(session, decoded->other);
}

/* What follows the commands at the front of a frame: nothing, nearly always. It cannot be cut, so that
 * it must not be more than a turn. */
static void run_rest(struct session *session, const Xpurt__ToDaemon *message, struct frame_fds *fds,
                     int *budget)
{
    const unsigned most = session->spent + GRAPH_LAUNCH_MAX;
    size_t i;

    for (i = 0; i < message->n_commands && session->spent < most; i++)
        run_command(session, message->commands[i]);
    session->runtime->counters.commands += i;
    *budget -= COST_OTHER * (int)i;
    if (i < message->n_commands)
        refuse(session, message->serial, "commands that cost much are not in front of their frame");
    else if (message->request_case != XPURT__TO_DAEMON__REQUEST__NOT_SET) {
        *budget -= COST_REQUEST;
        run_request(session, message, fds);
    } else if (message->serial) {
        session_error(session, message->serial, 0, XPURT_ERROR_UNSUPPORTED,
                      "a request that this daemon does not know");
    }
}

/* Run them, fewer where some were many in one; returns how many bytes of the frame are done. */
HOT static size_t run_first(struct session *session, const struct decoded *first, size_t n)
{
    size_t i, done = 0;

    for (i = 0; i < n && session->spent < GRAPH_LAUNCH_MAX; i++) {
        run_decoded(session, &first[i]);
        done = first[i].end;
    }
    session->runtime->counters.commands += i;
    return done;
}

static bool has_request(const Xpurt__ToDaemon *message)
{
    return message && message->request_case != XPURT__TO_DAEMON__REQUEST__NOT_SET;
}

HOT size_t dispatch_frame(struct session *session, struct arena *arena, const uint8_t *payload,
                          size_t size, struct frame_fds *fds, int *budget)
{
    Xpurt__ToDaemon *message = NULL;
    struct decoded *first;
    size_t n_first, used, done;
    bool whole, good;

    arena_reset(arena);
    *budget -= COST_SIMPLE;
    good = decode_commands(arena, payload, size, budget, &first, &n_first, &used);
    whole = good && (used == size || *budget > 0);
    if (whole && used < size) {
        message = xpurt__to_daemon__unpack(&arena->allocator, size - used, payload + used);
        good = message;
    }
    if (!good) {
        refuse(session, 0, "a frame that cannot be decoded");
        return size;
    }
    if (session->state == SESSION_NEW &&
        (n_first || !has_request(message) || message->n_commands)) {
        refuse(session, message ? message->serial : 0, "the first request must be Hello");
        return size;
    }
    if (fds->count && whole && !has_request(message)) {
        refuse(session, 0, "descriptors came with a frame that takes none");
        return size;
    }

    reaper_observe(session->runtime->reaper);
    session->spent = 0;
    done = run_first(session, first, n_first);
    if (done < used)
        whole = false;
    done = whole ? size : done;
    session->runtime->counters.frames += whole;
    session->position += done;
    if (whole && message)
        run_rest(session, message, fds, budget);
    *budget -= (int)session->spent;
    return done;
}
