/* SPDX-License-Identifier: MIT */
/* tests/unit/frame.c: headers, and descriptors over a socketpair. */
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2];

static void open_ends(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

TestSuite(frame, .init = open_ends, .timeout = 30);

/* ---- headers --------------------------------------------------------------------------------- */

Test(frame, header_bytes_are_little_endian)
{
    const struct frame_header header = { .length = 0x0001b2c3 & 0xffff, .fds = 3, .flags = 0 };
    const uint8_t expected[FRAME_HEADER_SIZE] = { 0xc3, 0xb2, 0, 0, 3, 0, 0, 0 };
    struct frame_header back;
    uint8_t bytes[FRAME_HEADER_SIZE];

    frame_header_write(bytes, &header);
    cr_assert_arr_eq(bytes, expected, sizeof(bytes));
    cr_assert_eq(frame_header_read(bytes, &back), 0);
    cr_assert_eq(back.length, header.length);
    cr_assert_eq(back.fds, 3);
    cr_assert_eq(back.flags, 0);
}

Test(frame, header_limits)
{
    static const struct {
        struct frame_header header;
        int result;
    } cases[] = {
        { { .length = 0 }, 0 },
        { { .length = FRAME_PAYLOAD_MAX }, 0 },
        { { .length = FRAME_PAYLOAD_MAX + 1 }, -EPROTO },
        { { .length = UINT32_MAX }, -EPROTO },
        { { .fds = FRAME_FDS_MAX }, 0 },
        { { .fds = FRAME_FDS_MAX + 1 }, -EPROTO },
        { { .fds = UINT16_MAX }, -EPROTO },
        { { .flags = 1 }, -EPROTO },
        { { .flags = 0x8000 }, -EPROTO },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_header back = { .length = 77 };
        uint8_t bytes[FRAME_HEADER_SIZE];

        frame_header_write(bytes, &cases[i].header);
        cr_assert_eq(frame_header_read(bytes, &back), cases[i].result, "case %zu", i);
        cr_assert_eq(back.length, cases[i].result ? 77 : cases[i].header.length, "case %zu", i);
    }
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The lowest number that is free: the same before and after when nothing leaked. */
static int lowest_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

static void send_many(int n, char byte)
{
    char control[CMSG_SPACE(sizeof(int) * 250)] = { 0 };
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
    for (int i = 0; i < n; i++)
        memcpy(CMSG_DATA(header) + (size_t)i * sizeof(int), &ends[0], sizeof(int));
    cr_assert_eq(sendmsg(ends[0], &message, 0), 1);
}

Test(frame, descriptors_arrive_in_order_and_close_on_exec)
{
    int sent[FRAME_FDS_MAX], pipes[2 * FRAME_FDS_MAX], fd;
    struct frame_fds fds = { 0 };
    char byte;

    for (unsigned i = 0; i < FRAME_FDS_MAX; i++) {
        cr_assert_eq(pipe(pipes + 2 * i), 0);
        sent[i] = pipes[2 * i + 1];
    }
    cr_assert_eq(frame_send(ends[0], "x", 1, sent, FRAME_FDS_MAX), 1);
    cr_assert_eq(frame_receive(ends[1], &byte, 1, &fds), 1);
    cr_assert_eq(fds.count, FRAME_FDS_MAX);
    for (unsigned i = 0; i < FRAME_FDS_MAX; i++) {
        char mark = (char)('a' + i), got = 0;

        fd = frame_fds_take(&fds);
        cr_assert_eq(fds.count, FRAME_FDS_MAX - 1 - i);
        cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        cr_assert_eq(write(fd, &mark, 1), 1);
        cr_assert_eq(read(pipes[2 * i], &got, 1), 1);
        cr_assert_eq(got, mark, "the descriptors are mixed up");
        close(fd);
    }
    cr_assert_eq(frame_fds_take(&fds), -1);
}

Test(frame, too_many_descriptors_are_all_closed)
{
    static const int numbers[] = { FRAME_FDS_MAX + 1, 32, 250 };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct frame_fds fds = { 0 };
        int free_before = lowest_free();
        char byte;

        send_many(numbers[i], 'x');
        cr_assert_eq(frame_receive(ends[1], &byte, 1, &fds), -EPROTO);
        cr_assert_eq(fds.count, 0);
        cr_assert_eq(lowest_free(), free_before, "%d descriptors: some stay open", numbers[i]);
    }
}

/* Those of an earlier read are closed too: nobody will ask for them any more. */
Test(frame, too_many_descriptors_over_two_reads)
{
    struct frame_fds fds = { 0 };
    int first;
    char byte;

    send_many(2, 'x');
    cr_assert_eq(frame_receive(ends[1], &byte, 1, &fds), 1);
    cr_assert_eq(fds.count, 2);
    first = fds.fds[0];
    send_many(3, 'x');
    cr_assert_eq(frame_receive(ends[1], &byte, 1, &fds), -EPROTO);
    cr_assert_eq(fds.count, 0);
    cr_assert_not(is_open(first));
}

/* ---- ends ------------------------------------------------------------------------------------ */

Test(frame, empty_full_and_closed_sockets)
{
    static char bytes[65536];
    struct frame_fds fds = { 0 };
    ssize_t n;

    cr_assert_eq(frame_receive(ends[1], bytes, sizeof(bytes), &fds), -EAGAIN);
    do {
        n = frame_send(ends[0], bytes, sizeof(bytes), NULL, 0);
    } while (n > 0);
    cr_assert_eq(n, -EAGAIN);
    close(ends[1]);
    cr_assert_eq(frame_send(ends[0], bytes, 1, NULL, 0), -EPIPE, "and no SIGPIPE");
}

Test(frame, end_of_file)
{
    struct frame_fds fds = { 0 };
    char byte;

    close(ends[0]);
    cr_assert_eq(frame_receive(ends[1], &byte, 1, &fds), 0);
}
