/* SPDX-License-Identifier: MIT */
/* tests/unit/connection.c: frames over a socketpair and a real loop. */
#include "daemon/connection.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_LIMIT (1u << 20)

/* Things that the handler does with the n-th frame. */
enum reaction { REACT_NOT, REACT_PAUSE, REACT_BREAK, REACT_ANSWER };

static uv_loop_t loop;
static struct connection connection;
static int peer;
static unsigned frames, settled, lost, refused, closed, taken;
static size_t bytes_got;
static const char *reason;
static enum reaction reaction;
static bool resume_when_settled;

static void on_frame(struct connection *where, const uint8_t *payload, size_t size,
                     struct frame_fds *fds)
{
    cr_assert_eq(where, &connection);
    cr_assert(!lost && !closed, "a frame after the end");
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(payload[i], (uint8_t)(frames + i), "frame %u, byte %zu", frames, i);
    while (fds->count) {
        close(frame_fds_take(fds));
        taken++;
    }
    frames++;
    bytes_got += size;
    if (reaction == REACT_PAUSE)
        connection_pause(where);
    else if (reaction == REACT_BREAK)
        connection_break(where, "enough");
    else if (reaction == REACT_ANSWER)
        connection_send(where, payload, size, NULL, 0);
}

static void on_settled(struct connection *where)
{
    settled++;
    if (resume_when_settled)
        connection_resume(where);
}

static void on_refused(struct connection *where, const char *why)
{
    refused++;
    cr_assert_not_null(why);
    connection_send(where, (const uint8_t *)"no", 2, NULL, 0);
}

static void on_lost(struct connection *where, const char *why)
{
    lost++;
    reason = why;
    connection_close(where);
}

static void on_closed(struct connection *where)
{
    (void)where;
    closed++;
}

static const struct connection_events events = {
    .frame = on_frame,
    .settled = on_settled,
    .refused = on_refused,
    .lost = on_lost,
    .closed = on_closed,
};

static void begin(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    peer = ends[1];
    cr_assert_eq(connection_open(&connection, &loop, ends[0], &events, OUT_LIMIT), 0);
}

/* Until nothing more happens by itself. */
static void turn(void)
{
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* The loop must be empty then: no handle, no descriptor is left. */
static void end(void)
{
    if (!lost)
        connection_close(&connection);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(closed, 1);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(fcntl(connection.fd, F_GETFD), -1, "the socket is still open");
    close(peer);
}

TestSuite(connection, .init = begin, .fini = end, .timeout = 60);

/* The n-th frame of @p size bytes; what it holds depends on both. */
static size_t frame_write(uint8_t *out, unsigned n, size_t size, unsigned fds)
{
    struct frame_header header = { .length = (uint32_t)size, .fds = (uint16_t)fds };

    frame_header_write(out, &header);
    for (size_t i = 0; i < size; i++)
        out[FRAME_HEADER_SIZE + i] = (uint8_t)(n + i);
    return FRAME_HEADER_SIZE + size;
}

static void peer_send(const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(peer, (const char *)bytes + done, size - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            turn();
            continue;
        }
        cr_assert_gt(n, 0);
        done += (size_t)n;
    }
}

static uint8_t buffer[4 * (FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX)];

/* ---- frames in ------------------------------------------------------------------------------- */

Test(connection, frames_of_all_sizes)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 4096, FRAME_PAYLOAD_MAX - 1, FRAME_PAYLOAD_MAX };
    size_t total = 0;

    for (unsigned i = 0; i < 7; i++) {
        peer_send(buffer, frame_write(buffer, i, sizes[i], 0));
        total += sizes[i];
    }
    turn();
    cr_assert_eq(frames, 7);
    cr_assert_eq(bytes_got, total);
    cr_assert_eq(lost, 0);
    cr_assert_null(connection.partial, "an idle connection holds no buffer");
}

Test(connection, one_byte_at_a_time)
{
    size_t size = frame_write(buffer, 0, 40, 0);

    size += frame_write(buffer + size, 1, 3, 0);
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(frames, i < FRAME_HEADER_SIZE + 40 ? 0 : 1);
        peer_send(buffer + i, 1);
        turn();
    }
    cr_assert_eq(frames, 2);
}

Test(connection, many_in_one_write)
{
    size_t size = 0;

    for (unsigned i = 0; i < 1000; i++)
        size += frame_write(buffer + size, i, i % 50, 0);
    peer_send(buffer, size);
    turn();
    cr_assert_eq(frames, 1000);
    cr_assert(settled > 0 && settled < 100, "settled %u times", settled);
}

Test(connection, bad_headers_are_refused)
{
    size_t size = frame_write(buffer, 0, 5, 0);
    char answer[64];

    memset(buffer + size, 0xff, FRAME_HEADER_SIZE);
    peer_send(buffer, size + FRAME_HEADER_SIZE);
    turn();
    cr_assert_eq(frames, 1, "the good frame in front of it counts");
    cr_assert_eq(refused, 1);
    cr_assert_eq(lost, 1);
    cr_assert_not_null(reason);
    cr_assert_eq(recv(peer, answer, sizeof(answer), 0), (ssize_t)FRAME_HEADER_SIZE + 2);
    cr_assert_eq(recv(peer, answer, sizeof(answer), 0), 0);
}

Test(connection, hang_up_in_the_middle)
{
    size_t size = frame_write(buffer, 0, 500, 0);

    peer_send(buffer, size - 1);
    turn();
    cr_assert_eq(lost, 0);
    shutdown(peer, SHUT_WR);
    turn();
    cr_assert_eq(frames, 0);
    cr_assert_eq(lost, 1);
    cr_assert_null(reason, "it is no offence to leave");
}

/* ---- descriptors ----------------------------------------------------------------------------- */

Test(connection, descriptors_go_with_their_frame)
{
    size_t first = frame_write(buffer, 0, 10, 2), second = frame_write(buffer + first, 1, 10, 1);
    int fds[2] = { peer, peer };

    cr_assert_eq(frame_send(peer, buffer, first, fds, 2), (ssize_t)first);
    cr_assert_eq(frame_send(peer, buffer + first, second, fds, 1), (ssize_t)second);
    turn();
    cr_assert_eq(frames, 2);
    cr_assert_eq(taken, 3);
    cr_assert_eq(lost, 0);
}

Test(connection, descriptors_nobody_announced)
{
    size_t size = frame_write(buffer, 0, 10, 0);

    cr_assert_eq(frame_send(peer, buffer, size, &peer, 1), (ssize_t)size);
    turn();
    cr_assert_eq(refused, 1);
    cr_assert_eq(lost, 1);
    cr_assert_eq(connection.fds.count, 0);
}

Test(connection, descriptors_announced_but_missing)
{
    peer_send(buffer, frame_write(buffer, 0, 10, 1));
    turn();
    cr_assert_eq(frames, 0);
    cr_assert_eq(refused, 1);
    cr_assert_eq(lost, 1);
}

/* ---- pausing --------------------------------------------------------------------------------- */

Test(connection, paused_frames_wait)
{
    size_t size = 0;

    reaction = REACT_PAUSE;
    for (unsigned i = 0; i < 10; i++)
        size += frame_write(buffer + size, i, 100, 0);
    peer_send(buffer, size);
    for (unsigned i = 1; i <= 10; i++) {
        turn();
        cr_assert_eq(frames, i, "one frame for each time it is resumed");
        connection_resume(&connection);
    }
    turn();
    cr_assert_eq(frames, 10);
}

/* Resumed from within: the frames that wait must not need another byte to get going. */
Test(connection, resumed_when_settled)
{
    size_t size = 0;

    reaction = REACT_PAUSE;
    resume_when_settled = true;
    for (unsigned i = 0; i < 10; i++)
        size += frame_write(buffer + size, i, 100, 0);
    peer_send(buffer, size);
    turn();
    cr_assert_eq(frames, 10);
}

Test(connection, the_peer_dies_while_paused)
{
    reaction = REACT_PAUSE;
    peer_send(buffer, frame_write(buffer, 0, 100, 0));
    turn();
    peer_send(buffer, frame_write(buffer, 1, 100, 0));
    close(peer);
    turn();
    cr_assert_eq(frames, 1);
    cr_assert_eq(lost, 1);
    peer = -1;
}

/* ---- out ------------------------------------------------------------------------------------- */

Test(connection, answers_survive_a_full_socket)
{
    static uint8_t got[sizeof(buffer)];
    size_t received = 0, sent = 0;

    for (unsigned i = 0; i < 12; i++) {
        size_t size = frame_write(buffer, i, 60000, 0);

        connection_send(&connection, buffer + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE, NULL, 0);
        sent += size;
    }
    cr_assert_gt(connection.out_size, 0);
    while (received < sent) {
        ssize_t n = recv(peer, got, sizeof(got), 0);

        turn();
        if (n > 0)
            received += (size_t)n;
        else
            cr_assert_eq(errno, EAGAIN);
    }
    cr_assert_eq(connection.out_size, 0);
    cr_assert_eq(lost, 0);
}

/* Nobody reads, and nobody speaks: the loop must notice all the same. */
Test(connection, given_up_when_too_much_is_unread)
{
    for (unsigned i = 0; i < 40; i++) {
        frame_write(buffer, i, 60000, 0);
        connection_send(&connection, buffer + FRAME_HEADER_SIZE, 60000, NULL, 0);
        cr_assert_eq(lost, 0, "never from inside a call");
    }
    turn();
    cr_assert_eq(lost, 1);
    cr_assert_not_null(reason);
}

/* Small answers with descriptors: those are what runs out. */
Test(connection, unread_descriptors_are_dear)
{
    int fds[2] = { peer, peer }, before, after;

    before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < 5000; i++)
        connection_send(&connection, buffer, 4, fds, 2);
    after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_lt(after, before + 300);
    close(before);
    close(after);
    turn();
    cr_assert_eq(lost, 1);
}

Test(connection, broken_from_a_handler)
{
    size_t size = frame_write(buffer, 0, 10, 0);

    reaction = REACT_BREAK;
    size += frame_write(buffer + size, 1, 10, 0);
    peer_send(buffer, size);
    turn();
    cr_assert_eq(frames, 1, "nothing is handed over after that");
    cr_assert_eq(lost, 1);
    cr_assert_str_eq(reason, "enough");
}

/* From outside, with the socket full both ways. */
Test(connection, broken_while_the_socket_is_full)
{
    for (unsigned i = 0; i < 10; i++)
        connection_send(&connection, buffer, 60000, NULL, 0);
    turn();
    cr_assert_gt(connection.out_size, 0);
    connection_break(&connection, "first");
    connection_break(&connection, "second");
    turn();
    cr_assert_eq(lost, 1);
    cr_assert_str_eq(reason, "first");
}

Test(connection, echo_to_a_peer_that_leaves)
{
    size_t size = 0;

    reaction = REACT_ANSWER;
    for (unsigned i = 0; i < 100; i++)
        size += frame_write(buffer + size, i, 100, 0);
    peer_send(buffer, size);
    close(peer);
    turn();
    cr_assert_eq(lost, 1);
    cr_assert_null(reason);
    peer = -1;
}
