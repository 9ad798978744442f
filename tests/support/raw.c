/* SPDX-License-Identifier: MIT */
/* tests/support/raw.c: see raw.h.
 *
 * Guarantees of this file: nothing waits without a bound; every descriptor that came is closed at
 * the next frame or at raw_close(), except those of the boards, which stay until raw_close().
 */
#include "tests/support/raw.h"

#include "tests/support/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BOUND_MS 30000                  /* sanitizers on a busy machine are slow */

/* ---- the connection -------------------------------------------------------------------------- */

void raw_connect(struct raw *raw, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    memset(raw, 0, sizeof(*raw));
    raw->progress_fd = raw->events_fd = raw->bell = -1;
    raw->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_require(raw->fd >= 0, "socket: %s", strerror(errno));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    test_require(connect(raw->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s",
                 strerror(errno));
}

static void *board_map(int fd, size_t size, int protection)
{
    void *map = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

    test_require(map != MAP_FAILED, "a board cannot be mapped: %s", strerror(errno));
    return map;
}

void raw_open(struct raw *raw, const char *path)
{
    Xpurt__Hello hello = XPURT__HELLO__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(HELLO), .hello = &hello };
    const Xpurt__ToClient *reply;

    raw_connect(raw, path);
    hello.major = FRAME_MAJOR;
    hello.minor = FRAME_MINOR;
    hello.name = (char *)"raw";
    reply = raw_ask(raw, &request);
    test_require(reply && reply->reply_case == XPURT__TO_CLIENT__REPLY_WELCOME, "no Welcome: %s",
                 raw->text);
    test_require(raw->fds.count == 2 && reply->welcome->instance.len == sizeof(raw->instance),
                 "a Welcome without boards");
    raw->slot = reply->welcome->slot;
    memcpy(raw->instance, reply->welcome->instance.data, sizeof(raw->instance));
    raw->progress_fd = frame_fds_take(&raw->fds);
    raw->events_fd = frame_fds_take(&raw->fds);
    raw->progress = board_map(raw->progress_fd, sizeof(*raw->progress), PROT_READ);
    raw->events = board_map(raw->events_fd, sizeof(*raw->events), PROT_READ | PROT_WRITE);
    for (uint32_t i = 0; i < BOARD_TIMELINES; i++)
        raw->values[i] = raw->progress->header.base;
}

xpurt_result raw_open_rings(struct raw *raw, uint32_t to_daemon, uint32_t to_client)
{
    Xpurt__RingOpen open = XPURT__RING_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(RING_OPEN), .ring_open = &open };
    const Xpurt__RingOpened *opened;
    xpurt_result result;

    open.to_daemon = to_daemon;
    open.to_client = to_client;
    result = raw_result(raw, &request);
    if (result)
        return result;
    opened = raw->reply->ring_opened;
    test_require(raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_RING_OPENED &&
                     raw->fds.count == 2,
                 "rings without their descriptors");
    test_require(rings_map(raw->fds.fds[0], opened->to_daemon, opened->to_client, &raw->rings) == 0,
                 "the rings cannot be mapped");
    close(frame_fds_take(&raw->fds));
    raw->bell = frame_fds_take(&raw->fds);
    return XPURT_SUCCESS;
}

static void reply_release(struct raw *raw)
{
    if (raw->reply)
        xpurt__to_client__free_unpacked(raw->reply, NULL);
    raw->reply = NULL;
    frame_fds_close(&raw->fds);
}

void raw_close(struct raw *raw)
{
    reply_release(raw);
    if (raw->fd >= 0)
        close(raw->fd);
    if (raw->progress) {
        munmap(raw->progress, sizeof(*raw->progress));
        munmap(raw->events, sizeof(*raw->events));
        close(raw->progress_fd);
        close(raw->events_fd);
    }
    if (raw->rings.base) {
        rings_unmap(&raw->rings);
        close(raw->bell);
    }
    raw->fd = -1;
    raw->progress = NULL;
}

/* ---- out ------------------------------------------------------------------------------------- */

int raw_send(struct raw *raw, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(raw->fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL);

        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

int raw_send_fds(struct raw *raw, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
    size_t space = CMSG_SPACE(sizeof(int) * n_fds);
    struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_controllen = space };
    struct cmsghdr *header;
    ssize_t n;

    message.msg_control = calloc(1, space);
    test_require(message.msg_control, "out of memory");
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    n = sendmsg(raw->fd, &message, MSG_NOSIGNAL);
    free(message.msg_control);
    return n < 0 ? -errno : 0;
}

int raw_put(struct raw *raw, const void *bytes, size_t size)
{
    struct ring *ring = &raw->rings.to_daemon;

    if (ring_room(ring, size) <= 0)
        return -EAGAIN;
    memcpy(ring_at(ring, ring->position), bytes, size);
    if (ring_publish(ring, size))
        (void)eventfd_write(raw->bell, 1);
    return 0;
}

/* A whole frame, when there is room. */
static int put_waiting(struct raw *raw, const void *bytes, size_t size)
{
    for (int ms = 0; raw_put(raw, bytes, size) < 0; ms += 100) {
        struct pollfd pollfd = { .fd = raw->fd, .events = POLLRDHUP };

        if (poll(&pollfd, 1, 0) > 0)
            return -EPIPE;
        test_require(ms < BOUND_MS, "the daemon does not read the ring");
        test_require(ring_await_room(&raw->rings.to_daemon, size, 100000000) == 0, "a wild index");
    }
    return 0;
}

int raw_send_frame(struct raw *raw, const void *payload, size_t size)
{
    uint8_t bytes[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX];
    struct frame_header header = { .length = (uint32_t)size };

    test_require(size <= FRAME_PAYLOAD_MAX, "a frame of %zu bytes", size);
    frame_header_write(bytes, &header);
    memcpy(bytes + FRAME_HEADER_SIZE, payload, size);
    if (raw->rings.base && !raw->by_socket)
        return put_waiting(raw, bytes, FRAME_HEADER_SIZE + size);
    return raw_send(raw, bytes, FRAME_HEADER_SIZE + size);
}

int raw_send_message(struct raw *raw, const Xpurt__ToDaemon *message)
{
    uint8_t payload[FRAME_PAYLOAD_MAX];

    test_require(xpurt__to_daemon__get_packed_size(message) <= sizeof(payload), "it is too long");
    return raw_send_frame(raw, payload, xpurt__to_daemon__pack(message, payload));
}

int raw_send_command(struct raw *raw, const Xpurt__Command *command)
{
    Xpurt__Command *commands = (Xpurt__Command *)command;
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;

    message.n_commands = 1;
    message.commands = &commands;
    return raw_send_message(raw, &message);
}

/* ---- in -------------------------------------------------------------------------------------- */

static void reply_take(struct raw *raw, const uint8_t *payload, size_t length, unsigned n_fds)
{
    raw->reply = xpurt__to_client__unpack(NULL, length, payload);
    test_require(raw->reply, "the daemon sent what cannot be decoded");
    test_require(raw->fds.count == n_fds, "%u descriptors came, not %u", raw->fds.count, n_fds);
    if (raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR) {
        raw->errors++;
        raw->error = (xpurt_result)raw->reply->error->code;
        snprintf(raw->text, sizeof(raw->text), "%s", raw->reply->error->text);
        test_require(raw->text[0], "an Error without a sentence");
    }
}

/* The next frame of the ring; false when there is none. */
static bool ring_receive(struct raw *raw)
{
    struct ring *ring = &raw->rings.to_client;
    const uint8_t *frame = ring_at(ring, ring->position);
    struct frame_header header = { 0 };
    size_t size = 0;

    test_require(ring_look(ring, &size) == 0, "the daemon wrote a wild index");
    if (!size)
        return false;
    test_require(size >= FRAME_HEADER_SIZE && frame_header_read(frame, &header) == 0 &&
                     FRAME_HEADER_SIZE + header.length <= size && !header.fds,
                 "a frame in the ring that breaks rules");
    reply_take(raw, frame + FRAME_HEADER_SIZE, header.length, 0);
    ring_consume(ring, FRAME_HEADER_SIZE + header.length);
    return true;
}

enum raw_came raw_receive(struct raw *raw, int timeout_ms)
{
    struct pollfd pollfd = { .fd = raw->fd, .events = POLLIN };
    struct frame_header header = { 0 };

    reply_release(raw);
    for (;;) {
        size_t want = FRAME_HEADER_SIZE;
        ssize_t n;

        if (raw->rings.base && !raw->have &&
            (ring_receive(raw) || !ring_sleep(&raw->rings.to_client))) {
            if (raw->reply)
                return RAW_FRAME;
            continue;
        }
        if (raw->have >= FRAME_HEADER_SIZE) {
            test_require(frame_header_read(raw->bytes, &header) == 0, "a frame that breaks rules");
            want += header.length;
            if (raw->have == want) {
                raw->have = 0;
                if (!header.length)     /* the bell: there is something in the ring */
                    continue;
                reply_take(raw, raw->bytes + FRAME_HEADER_SIZE, header.length, header.fds);
                return RAW_FRAME;
            }
        }
        if (poll(&pollfd, 1, timeout_ms) == 0)
            return RAW_SILENCE;
        n = frame_receive(raw->fd, raw->bytes + raw->have, want - raw->have, &raw->fds);
        if (n == 0 || n == -ECONNRESET)
            return RAW_END;
        test_require(n > 0, "receive: %s", strerror((int)-n));
        raw->have += (size_t)n;
    }
}

const Xpurt__ToClient *raw_ask(struct raw *raw, Xpurt__ToDaemon *request)
{
    request->serial = ++raw->serial;
    (void)raw_send_message(raw, request); /* its last words may be in the socket */
    for (;;) {
        enum raw_came came = raw_receive(raw, BOUND_MS);

        test_require(came != RAW_SILENCE, "the daemon does not answer");
        if (came == RAW_END)
            return NULL;
        if (raw->reply->serial == request->serial)
            return raw->reply;
        test_require(!raw->reply->serial, "an answer to a request that was not made");
    }
}

xpurt_result raw_result(struct raw *raw, Xpurt__ToDaemon *request)
{
    const Xpurt__ToClient *reply = raw_ask(raw, request);

    test_require(reply, "the daemon hung up: %s", raw->text);
    if (reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR)
        return raw->error;
    return XPURT_SUCCESS;
}

void raw_settle(struct raw *raw)
{
    Xpurt__Stats stats = XPURT__STATS__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(STATS), .stats = &stats };

    test_require(raw_result(raw, &request) == XPURT_SUCCESS, "no counters: %s", raw->text);
}

bool raw_closed(struct raw *raw)
{
    enum raw_came came;

    do {
        came = raw_receive(raw, BOUND_MS);
    } while (came == RAW_FRAME);
    return came == RAW_END;
}

/* ---- what clients do ------------------------------------------------------------------------- */

void raw_stream_create(struct raw *raw, uint32_t stream, uint32_t device)
{
    Xpurt__StreamCreate create = XPURT__STREAM_CREATE__INIT;
    Xpurt__Command command = { RAW_COMMAND(STREAM_CREATE), .stream_create = &create };

    create.stream = stream;
    create.device = device;
    raw_send_command(raw, &command);
}

void raw_stream_destroy(struct raw *raw, uint32_t stream)
{
    Xpurt__StreamDestroy destroy = XPURT__STREAM_DESTROY__INIT;
    Xpurt__Command command = { RAW_COMMAND(STREAM_DESTROY), .stream_destroy = &destroy };

    destroy.stream = stream;
    raw_send_command(raw, &command);
}

uint64_t raw_record(struct raw *raw, uint32_t stream)
{
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Command command = { RAW_COMMAND(RECORD), .record = &record };

    record.stream = stream;
    record.value = ++raw->values[stream];
    raw_send_command(raw, &command);
    return point_pack(raw->slot, stream, record.value);
}

void raw_wait(struct raw *raw, uint32_t stream, uint64_t point)
{
    Xpurt__Wait wait = XPURT__WAIT__INIT;
    Xpurt__Command command = { RAW_COMMAND(WAIT), .wait = &wait };

    wait.stream = stream;
    wait.point = point;
    raw_send_command(raw, &command);
}

void raw_copy(struct raw *raw, uint32_t stream, uint32_t to_segment, uint64_t to,
              uint32_t from_segment, uint64_t from, uint64_t size)
{
    Xpurt__Location to_location = XPURT__LOCATION__INIT, from_location = XPURT__LOCATION__INIT;
    Xpurt__Copy copy = XPURT__COPY__INIT;
    Xpurt__Command command = { RAW_COMMAND(COPY), .copy = &copy };

    to_location.segment = to_segment;
    to_location.offset = to;
    from_location.segment = from_segment;
    from_location.offset = from;
    copy.stream = stream;
    copy.to = &to_location;
    copy.from = &from_location;
    copy.size = size;
    raw_send_command(raw, &command);
}

void raw_fill(struct raw *raw, uint32_t stream, uint32_t segment, uint64_t to, uint64_t size,
              uint32_t pattern, uint32_t width)
{
    Xpurt__Location location = XPURT__LOCATION__INIT;
    Xpurt__Fill fill = XPURT__FILL__INIT;
    Xpurt__Command command = { RAW_COMMAND(FILL), .fill = &fill };

    location.segment = segment;
    location.offset = to;
    fill.stream = stream;
    fill.to = &location;
    fill.size = size;
    fill.pattern = pattern;
    fill.width = width;
    raw_send_command(raw, &command);
}

xpurt_result raw_memory_alloc(struct raw *raw, uint64_t size, uint64_t *ret_address)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };
    xpurt_result result;

    alloc.size = size;
    result = raw_result(raw, &request);
    if (result == XPURT_SUCCESS)
        *ret_address = raw->reply->memory_allocated->address;
    return result;
}

void raw_memory_free(struct raw *raw, uint64_t address)
{
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;
    Xpurt__Command command = { RAW_COMMAND(MEMORY_FREE), .memory_free = &memory_free };

    memory_free.address = address;
    raw_send_command(raw, &command);
}

static xpurt_result handle_ask(struct raw *raw, Xpurt__ToDaemon *request, struct handle *ret_handle)
{
    xpurt_result result = raw_result(raw, request);

    if (result)
        return result;
    test_require(raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_HANDLE &&
                     raw->reply->handle->handle.len == HANDLE_SIZE,
                 "a handle is 64 bytes");
    memcpy(ret_handle, raw->reply->handle->handle.data, HANDLE_SIZE);
    return XPURT_SUCCESS;
}

xpurt_result raw_memory_export(struct raw *raw, uint64_t address, struct handle *ret_handle)
{
    Xpurt__MemoryExport export = XPURT__MEMORY_EXPORT__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_EXPORT), .memory_export = &export };

    export.address = address;
    return handle_ask(raw, &request, ret_handle);
}

xpurt_result raw_memory_open(struct raw *raw, const struct handle *handle, uint64_t *ret_address)
{
    Xpurt__MemoryOpen open = XPURT__MEMORY_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_OPEN), .memory_open = &open };
    xpurt_result result;

    open.handle = (ProtobufCBinaryData){ sizeof(*handle), (uint8_t *)handle };
    result = raw_result(raw, &request);
    if (result == XPURT_SUCCESS && ret_address)
        *ret_address = raw->reply->memory_opened->address;
    return result;
}

xpurt_result raw_host_alloc(struct raw *raw, uint64_t size, uint32_t *ret_segment, void **ret_bytes)
{
    Xpurt__HostAlloc alloc = XPURT__HOST_ALLOC__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(HOST_ALLOC), .host_alloc = &alloc };
    xpurt_result result;

    alloc.size = size;
    result = raw_result(raw, &request);
    if (result)
        return result;
    test_require(raw->fds.count == 1, "a segment without its descriptor");
    *ret_segment = raw->reply->host_allocated->segment;
    if (ret_bytes)
        *ret_bytes = board_map(raw->fds.fds[0], size, PROT_READ | PROT_WRITE);
    return XPURT_SUCCESS;
}

void raw_host_free(struct raw *raw, uint32_t segment)
{
    Xpurt__HostFree host_free = XPURT__HOST_FREE__INIT;
    Xpurt__Command command = { RAW_COMMAND(HOST_FREE), .host_free = &host_free };

    host_free.segment = segment;
    raw_send_command(raw, &command);
}

xpurt_result raw_event_export(struct raw *raw, uint32_t cell, struct handle *ret_handle)
{
    Xpurt__EventExport export = XPURT__EVENT_EXPORT__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(EVENT_EXPORT), .event_export = &export };

    export.cell = cell;
    return handle_ask(raw, &request, ret_handle);
}

xpurt_result raw_event_open(struct raw *raw, const struct handle *handle, uint32_t *ret_slot,
                            uint32_t *ret_cell)
{
    Xpurt__EventOpen open = XPURT__EVENT_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(EVENT_OPEN), .event_open = &open };
    xpurt_result result;

    open.handle = (ProtobufCBinaryData){ sizeof(*handle), (uint8_t *)handle };
    result = raw_result(raw, &request);
    if (result == XPURT_SUCCESS && ret_slot)
        *ret_slot = raw->reply->event_opened->slot;
    if (result == XPURT_SUCCESS && ret_cell)
        *ret_cell = raw->reply->event_opened->cell;
    return result;
}

void raw_event_close(struct raw *raw, uint32_t slot, uint32_t cell)
{
    Xpurt__EventClose event_close = XPURT__EVENT_CLOSE__INIT;
    Xpurt__Command command = { RAW_COMMAND(EVENT_CLOSE), .event_close = &event_close };

    event_close.slot = slot;
    event_close.cell = cell;
    raw_send_command(raw, &command);
}

void raw_event_drop(struct raw *raw, uint32_t cell)
{
    Xpurt__EventDrop drop = XPURT__EVENT_DROP__INIT;
    Xpurt__Command command = { RAW_COMMAND(EVENT_DROP), .event_drop = &drop };

    drop.cell = cell;
    raw_send_command(raw, &command);
}

xpurt_result raw_event_sharers(struct raw *raw, uint32_t slot, uint32_t cell, uint32_t *ret_others,
                               bool *ret_lost)
{
    Xpurt__EventSharers sharers = XPURT__EVENT_SHARERS__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(EVENT_SHARERS), .event_sharers = &sharers };
    xpurt_result result;

    sharers.slot = slot;
    sharers.cell = cell;
    result = raw_result(raw, &request);
    if (result)
        return result;
    test_require(raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_EVENT_SHARED, "another reply");
    *ret_others = raw->reply->event_shared->others;
    *ret_lost = raw->reply->event_shared->lost;
    return result;
}

void raw_stream_fail(struct raw *raw, uint32_t stream, uint32_t code)
{
    Xpurt__StreamFail fail = XPURT__STREAM_FAIL__INIT;

    fail.stream = stream;
    fail.code = code;
    raw_send_command(raw, &(Xpurt__Command){ RAW_COMMAND(STREAM_FAIL), .stream_fail = &fail });
}

xpurt_result raw_point_poll(struct raw *raw, uint64_t point, int *ret_fd)
{
    Xpurt__PointPoll poll = XPURT__POINT_POLL__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(POINT_POLL), .point_poll = &poll };
    xpurt_result result;

    poll.point = point;
    result = raw_result(raw, &request);
    if (result)
        return result;
    test_require(raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_POINT_POLLED &&
                     raw->fds.count == 1,
                 "another reply, or no descriptor");
    *ret_fd = frame_fds_take(&raw->fds);
    return result;
}

xpurt_result raw_board_open(struct raw *raw, uint32_t slot, const uint8_t instance[16])
{
    Xpurt__BoardOpen open = XPURT__BOARD_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(BOARD_OPEN), .board_open = &open };

    open.slot = slot;
    open.instance = (ProtobufCBinaryData){ 16, (uint8_t *)instance };
    return raw_result(raw, &request);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until the stream's timeline has a status, or has reached @p value. */
static xpurt_result timeline_await(struct raw *raw, uint32_t stream, uint64_t value)
{
    const struct board_timeline *timeline = &raw->progress->timelines[stream];
    _Atomic uint32_t *mark = &raw->events->marks.timelines[stream];
    uint64_t deadline = now_ms() + BOUND_MS;

    for (;;) {
        uint32_t wake, status;

        mark_set(mark, MARK_SLEEPS);
        wake = atomic_load(&timeline->wake);
        status = atomic_load(&timeline->status);

        if (timeline_reached(timeline, value))
            return XPURT_SUCCESS;
        if (status)
            return (xpurt_result)status;
        if (now_ms() > deadline)
            return XPURT_TIMEOUT;
        if (mark_there(mark, MARK_SLEEPS))
            board_sleep(&timeline->wake, wake, 100000000);
    }
}

xpurt_result raw_status(struct raw *raw, uint32_t stream)
{
    return timeline_await(raw, stream, UINT64_MAX);
}

xpurt_result raw_finish(struct raw *raw, uint32_t stream)
{
    return timeline_await(raw, stream, raw->values[stream]);
}

uint64_t raw_counter(struct raw *raw, const char *name)
{
    raw_settle(raw);
    for (size_t i = 0; i < raw->reply->counters->n_counters; i++)
        if (strcmp(raw->reply->counters->counters[i]->name, name) == 0)
            return raw->reply->counters->counters[i]->value;
    test_require(false, "the daemon has no counter %s", name);
    return 0;
}
