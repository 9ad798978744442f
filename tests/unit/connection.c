/* SPDX-License-Identifier: MIT */
/* tests/unit/connection.c: frames over a socketpair and a real loop. */
#include "daemon/connection.h"
#include "daemon/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_LIMIT (1u << 20)

/* Things that the handler does with the n-th frame. */
enum reaction { REACT_NOT, REACT_PAUSE, REACT_BREAK, REACT_ANSWER };

static uv_loop_t loop;
static struct rota rota;
static uint64_t spin_us;
static struct connection connection;
static int peer;
static unsigned frames, settled, lost, refused, closed, taken;
static size_t bytes_got;
static const char *reason;
static enum reaction reaction;
static bool resume_when_settled;
static unsigned turns;                  /* calls of on_frame() that left something undone */
static struct rings rings;              /* the peer's end */
static int bell = -1;

static bool slow;                       /* each byte is a unit of the budget */
static uint8_t next_byte;

static size_t slow_frame(const uint8_t *payload, size_t size, const struct frame_fds *fds,
                         int *budget)
{
    size_t done = 0;

    cr_assert_gt(*budget, 0);
    for (--*budget; done < size && *budget > 0; --*budget)
        cr_assert_eq(payload[done++], next_byte++);
    if (done < size) {
        turns++;
        return done;
    }
    frames++;
    taken += fds->count;
    return size;
}

static size_t on_frame(struct connection *where, const uint8_t *payload, size_t size,
                       struct frame_fds *fds, int *budget)
{
    cr_assert_eq(where, &connection);
    cr_assert(!lost && !closed, "a frame after the end");
    if (slow)
        return slow_frame(payload, size, fds, budget);
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
    --*budget;
    return size;
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
    cr_assert_eq(rota_init(&rota, &loop, &spin_us), 0);
    cr_assert_eq(connection_open(&connection, &rota, ends[0], &events, OUT_LIMIT), 0);
}

/* Until nothing more happens by itself. */
static void turn(void)
{
    for (int i = 0; i < 20; i++)
        rota_round(&rota, false);
}

/* The loop must be empty then: no handle, no descriptor is left. */
static void end(void)
{
    if (!lost)
        connection_close(&connection);
    while (rota_round(&rota, true))
        ;
    rota_deinit(&rota);
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
    cr_assert_null(connection.kept, "an idle connection holds no buffer");
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

static void fill_socket(void)
{
    while (!connection.out)
        connection_send(&connection, buffer, 10000, NULL, 0);
}

static int file_new(ino_t *ret_inode)
{
    struct stat stat;
    int fd = memfd_create("answer", MFD_CLOEXEC);

    cr_assert_eq(fstat(fd, &stat), 0);
    *ret_inode = stat.st_ino;
    return fd;
}

/* The caller closes its own at once, and the number is another file's by the time they are sent. */
Test(connection, descriptors_wait_for_room)
{
    struct frame_fds got = { 0 };
    struct stat stat;
    ino_t inode;
    int fd, other;

    fill_socket();
    fd = file_new(&inode);
    connection_send(&connection, buffer, 4, (int[]){ fd, fd }, 2);
    close(fd);
    other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(other, fd);
    while (!got.count) {
        cr_assert_neq(frame_receive(peer, buffer, sizeof(buffer), &got), 0);
        turn();
    }
    cr_assert_eq(connection.out_size, 0);
    cr_assert_eq(got.count, 2);
    for (unsigned i = 0; i < got.count; i++) {
        cr_assert_eq(fstat(got.fds[i], &stat), 0);
        cr_assert_eq(stat.st_ino, inode);
    }
    frame_fds_close(&got);
    cr_assert_eq(fcntl(other, F_GETFD), FD_CLOEXEC, "one that is not ours was closed");
    close(other);
    cr_assert_eq(lost, 0);
}

/* There is one left for two that have to wait. */
Test(connection, no_descriptors_to_wait_with)
{
    struct rlimit before, few;
    ino_t inode;
    int fd, next;

    fill_socket();
    fd = file_new(&inode);
    next = dup(fd);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)next + 1;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    connection_send(&connection, buffer, 4, (int[]){ fd, fd }, 2);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    turn();
    cr_assert_eq(lost, 1);
    cr_assert_not_null(reason);
    cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "the caller's was closed");
    close(fd);
    cr_assert_eq(fcntl(next, F_GETFD), -1, "one of ours is still open");
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

/* ---- turns ----------------------------------------------------------------------------------- */

/* A frame that costs more than a turn comes in pieces, its descriptors with the last one. */
Test(connection, long_frames_take_turns)
{
    size_t first = frame_write(buffer, 0, 5000, 2), second = frame_write(buffer + first, 0, 300, 1);
    int fds[2] = { peer, peer };

    slow = true;
    for (size_t i = 0; i < 300; i++)    /* goes on where the first one ends */
        buffer[first + FRAME_HEADER_SIZE + i] = (uint8_t)(5000 + i);
    cr_assert_eq(frame_send(peer, buffer, first, fds, 2), (ssize_t)first);
    cr_assert_eq(frame_send(peer, buffer + first, second, fds, 1), (ssize_t)second);
    while (frames < 2 && !lost)
        turn();
    turn();                             /* another one, in which there is nothing to do */
    cr_assert_eq(lost, 0);
    cr_assert_gt(turns, 10);
    cr_assert_eq(taken, 3);
    cr_assert_null(connection.kept);
    cr_assert(!connection.member.listed, "nothing is left to do");
}

/* One that never stops sending does not keep another one waiting for more than a turn or two. */
Test(connection, nobody_waits_for_a_long_frame)
{
    size_t size = frame_write(buffer, 0, 60000, 0);
    unsigned rounds = 0;

    slow = true;
    peer_send(buffer, size);
    for (; !frames; rounds++)
        rota_round(&rota, false);       /* in each of these others have their turn */
    cr_assert_gt(rounds, 100);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void open_rings(void)
{
    int fds[2];

    cr_assert_eq(connection_open_rings(&connection, RING_SIZE_MIN, RING_SIZE_MIN, fds), 0);
    cr_assert_eq(rings_map(fds[0], RING_SIZE_MIN, RING_SIZE_MIN, &rings), 0);
    close(fds[0]);
    bell = fds[1];                      /* the daemon's own: it closes it */
}

/* Put bytes into the ring; true: and ring the bell. */
static bool put(const void *bytes, size_t size)
{
    struct ring *ring = &rings.to_daemon;
    bool asleep;

    while (ring_room(ring, size) == 0)
        turn();
    memcpy(ring_at(ring, ring->position), bytes, size);
    asleep = ring_publish(ring, size);
    if (asleep)
        cr_assert_eq(eventfd_write(bell, 1), 0);
    return asleep;
}

Test(connection, frames_by_the_ring)
{
    unsigned rung = 0;

    open_rings();
    for (unsigned i = 0; i < 500; i++) {
        rung += put(buffer, frame_write(buffer, i, i % 90, 0));
        if (i % 100 == 99)
            turn();
    }
    cr_assert_eq(frames, 500);
    cr_assert_eq(rung, 5, "once for each time it slept");
    cr_assert(!connection.member.listed, "it sleeps again");
    rings_unmap(&rings);
}

Test(connection, who_needs_our_cpu_is_not_watched)
{
    cpu_set_t here;

    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    cr_assert_eq(sched_setaffinity(0, sizeof(here), &here), 0);
    spin_us = 1000000;
    open_rings();
    put(buffer, frame_write(buffer, 0, 10, 0));
    turn();
    cr_assert(connection.member.listed, "it is watched: nobody knows where it is");
    ring_say_where(&rings.to_daemon);
    cr_assert_not(put(buffer, frame_write(buffer, 1, 10, 0)));
    turn();
    cr_assert_eq(frames, 2);
    cr_assert_not(connection.member.listed, "it was watched, though nothing could come");
    cr_assert(put(buffer, frame_write(buffer, 2, 10, 0)), "the bell has to be rung again");
    turn();
    cr_assert_eq(frames, 3);
    rings_unmap(&rings);
}

Test(connection, a_frame_as_large_as_the_ring)
{
    open_rings();
    put(buffer, frame_write(buffer, 0, RING_SIZE_MIN - FRAME_HEADER_SIZE, 0));
    turn();
    put(buffer, frame_write(buffer, 1, RING_SIZE_MIN - FRAME_HEADER_SIZE, 0));
    turn();
    cr_assert_eq(frames, 2);
    rings_unmap(&rings);
}

Test(connection, long_frames_of_the_ring_take_turns)
{
    open_rings();
    slow = true;
    for (unsigned i = 0; i < 3; i++)
        put(buffer, frame_write(buffer, i * 5000, 5000, 0));
    while (frames < 3 && !lost)
        turn();
    cr_assert_eq(lost, 0);
    cr_assert_gt(turns, 30);
    rings_unmap(&rings);
}

/* What is in the ring when something is sent by the socket comes before that. */
Test(connection, the_ring_comes_first)
{
    size_t size = frame_write(buffer, 200, 10, 0);

    open_rings();
    for (unsigned i = 0; i < 200; i++)
        put(buffer + size, frame_write(buffer + size, i, 20, 0));
    peer_send(buffer, size);
    turn();
    cr_assert_eq(frames, 201);          /* each was in its place: see on_frame() */
    rings_unmap(&rings);
}

/* A ring that is never empty does not keep the socket waiting for ever. */
Test(connection, a_busy_ring_does_not_starve_the_socket)
{
    uint8_t frame[FRAME_HEADER_SIZE];
    size_t size = frame_write(frame, 0, 0, 0);
    unsigned rounds = 0;

    open_rings();
    slow = true;
    peer_send(buffer, frame_write(buffer, 0, 0, 1)); /* a descriptor that is not there: refused */
    while (!refused && rounds++ < 1000) {
        while (ring_room(&rings.to_daemon, size) > 0)
            put(frame, size);
        rota_round(&rota, false);
    }
    cr_assert_eq(refused, 1);
    turn();
    rings_unmap(&rings);
}

Test(connection, who_hangs_up_is_heard_out)
{
    open_rings();
    for (unsigned i = 0; i < 400; i++)
        put(buffer, frame_write(buffer, i, 20, 0));
    shutdown(peer, SHUT_WR);
    turn();
    cr_assert_eq(frames, 400);
    cr_assert_eq(lost, 1);
    cr_assert_null(reason);
    rings_unmap(&rings);
}

Test(connection, a_paused_ring_waits)
{
    open_rings();
    reaction = REACT_PAUSE;
    for (unsigned i = 0; i < 10; i++)
        put(buffer, frame_write(buffer, i, 20, 0));
    for (unsigned i = 1; i <= 10; i++) {
        turn();
        cr_assert_eq(frames, i);
        cr_assert(!connection.member.listed, "nothing spins meanwhile");
        connection_resume(&connection);
    }
    rings_unmap(&rings);
}

Test(connection, answers_by_the_ring_and_a_bell)
{
    struct ring *ring = &rings.to_client;
    uint8_t header[FRAME_HEADER_SIZE];
    size_t size;

    open_rings();
    connection_send(&connection, buffer, 10, NULL, 0);
    cr_assert_eq(recv(peer, header, sizeof(header), 0), -1, "nobody sleeps");
    cr_assert_eq(ring_look(ring, &size), 0);
    cr_assert_eq(size, FRAME_HEADER_SIZE + 10);
    ring_consume(ring, size);

    cr_assert(ring_sleep(ring));
    connection_send(&connection, buffer, 10, NULL, 0);
    connection_send(&connection, buffer, 10, NULL, 0);
    cr_assert_eq(recv(peer, header, sizeof(header), 0), (ssize_t)sizeof(header));
    cr_assert_arr_eq(header, ((uint8_t[FRAME_HEADER_SIZE]){ 0 }), sizeof(header));
    cr_assert_eq(recv(peer, header, sizeof(header), 0), -1, "one bell for both");

    connection_send(&connection, buffer, 10, &peer, 1);
    cr_assert_eq(recv(peer, header, sizeof(header), 0), (ssize_t)sizeof(header), "not by the ring");
    rings_unmap(&rings);
}

/* The socket takes what the ring cannot. */
Test(connection, answers_to_who_does_not_empty_the_ring)
{
    open_rings();
    for (unsigned i = 0; i < 100 && !connection.out_size; i++)
        connection_send(&connection, buffer, 10000, NULL, 0);
    cr_assert_gt(connection.out_size, 0);
    for (unsigned i = 0; i < 200; i++)
        connection_send(&connection, buffer, 10000, NULL, 0);
    turn();
    cr_assert_eq(lost, 1);
    cr_assert_not_null(reason);
    rings_unmap(&rings);
}

/* What waits for room in the socket is not overtaken by the ring. */
Test(connection, answers_stay_behind_what_waits)
{
    struct ring *ring = &rings.to_client;
    size_t size, received = 0, expected;

    open_rings();
    while (!connection.out)             /* first the ring is full, then the socket */
        connection_send(&connection, buffer, 10000, NULL, 0);
    cr_assert_eq(ring_look(ring, &size), 0);
    ring_consume(ring, size);
    expected = connection.out_size;
    connection_send(&connection, buffer, 10, NULL, 0);
    cr_assert_gt(connection.out_size, expected, "by the socket");
    cr_assert_eq(ring_look(ring, &size), 0);
    cr_assert_eq(size, 0);

    while (connection.out_size) {
        ssize_t n = recv(peer, buffer, sizeof(buffer), 0);

        received += n > 0 ? (size_t)n : 0;
        turn();
    }
    cr_assert_gt(received, 0);
    connection_send(&connection, buffer, 10, NULL, 0);
    cr_assert_eq(ring_look(ring, &size), 0);
    cr_assert_eq(size, FRAME_HEADER_SIZE + 10, "by the ring again");
    rings_unmap(&rings);
}

static void expect_refused(void)
{
    turn();
    cr_assert_eq(frames, 0);
    cr_assert_eq(lost, 1);
    cr_assert_not_null(reason);
    rings_unmap(&rings);
}

Test(connection, wild_tail)
{
    open_rings();
    atomic_store(&rings.to_daemon.shared->tail, RING_SIZE_MIN + 1);
    eventfd_write(bell, 1);
    expect_refused();
    cr_assert_eq(refused, 1);
}

Test(connection, wild_head)
{
    open_rings();
    atomic_store(&rings.to_client.shared->head, UINT64_C(1) << 40);
    for (unsigned i = 0; i < 3; i++)
        connection_send(&connection, buffer, 10000, NULL, 0);
    expect_refused();
}

Test(connection, torn_frames)
{
    size_t size = frame_write(buffer, 0, 100, 0);

    open_rings();
    put(buffer, size - 1);
    expect_refused();
}

Test(connection, descriptors_in_the_ring)
{
    open_rings();
    put(buffer, frame_write(buffer, 0, 10, 1));
    expect_refused();
}

Test(connection, rings_only_once_and_of_good_sizes)
{
    int fds[2];

    cr_assert_eq(connection_open_rings(&connection, 5000, RING_SIZE_MIN, fds), -EINVAL);
    open_rings();
    cr_assert_eq(connection_open_rings(&connection, RING_SIZE_MIN, RING_SIZE_MIN, fds), -EEXIST);
    rings_unmap(&rings);
}

Test(connection, a_bell_that_is_broken)
{
    open_rings();
    connection.rings->bell.rung(&connection.rings->bell, true);
    turn();
    cr_assert_eq(lost, 1);
    rings_unmap(&rings);
}

/* The client shares the bell's flags, and may have taken what was in it. */
Test(connection, a_bell_that_would_block)
{
    eventfd_t count;

    open_rings();
    cr_assert_eq(fcntl(bell, F_SETFL, 0), 0);
    cr_assert_eq(eventfd_write(bell, 1), 0);
    cr_assert_eq(eventfd_read(bell, &count), 0);
    cr_assert_eq(eventfd_write(bell, 1), 0);
    turn();
    connection.rings->bell.rung(&connection.rings->bell, false);
    cr_assert_eq(lost, 0);
    rings_unmap(&rings);
}
