/* SPDX-License-Identifier: MIT */
/* proto/frame.c: frames and descriptors over a Unix socket.
 *
 * Guarantees of this file:
 *   - a descriptor that was received is either in the caller's frame_fds or closed;
 *   - lengths are checked before anybody allocates for them;
 *   - EINTR is never seen by callers.
 */
#include "proto/frame.h"

#include "proto/hot.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

HOT void frame_header_write(uint8_t out[FRAME_HEADER_SIZE], const struct frame_header *header)
{
    uint32_t length = htole32(header->length);
    uint16_t fds = htole16(header->fds);
    uint16_t flags = htole16(header->flags);

    memcpy(out, &length, 4);
    memcpy(out + 4, &fds, 2);
    memcpy(out + 6, &flags, 2);
}

HOT int frame_header_read(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret_header)
{
    struct frame_header header;

    memcpy(&header.length, in, 4);
    memcpy(&header.fds, in + 4, 2);
    memcpy(&header.flags, in + 6, 2);
    header.length = le32toh(header.length);
    header.fds = le16toh(header.fds);
    header.flags = le16toh(header.flags);

    if (header.length > FRAME_PAYLOAD_MAX || header.fds > FRAME_FDS_MAX || header.flags)
        return -EPROTO;

    *ret_header = header;
    return 0;
}

HOT void frame_fds_close(struct frame_fds *fds)
{
    for (unsigned i = 0; i < fds->count; i++)
        close(fds->fds[i]);
    fds->count = 0;
}

int frame_fds_take(struct frame_fds *fds)
{
    int fd;

    if (!fds->count)
        return -1;

    fd = fds->fds[0];
    fds->count--;
    memmove(fds->fds, fds->fds + 1, fds->count * sizeof(int));
    return fd;
}

ssize_t frame_send(int socket, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)bytes, .iov_len = size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (n_fds) {
        struct cmsghdr *header;

        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }

    do {
        n = n_fds ? sendmsg(socket, &message, MSG_NOSIGNAL) :
                    send(socket, bytes, size, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);

    return n < 0 ? -errno : n;
}

/* Move what one control message carried into @p fds; false when it does not fit. */
static bool fds_keep(struct frame_fds *fds, const struct cmsghdr *header)
{
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    bool fits = true;

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        if (fds->count < FRAME_FDS_MAX) {
            fds->fds[fds->count++] = fd;
        } else {
            close(fd);
            fits = false;
        }
    }
    return fits;
}

ssize_t frame_receive(int socket, void *bytes, size_t size, struct frame_fds *fds)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = size };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buffer,
        .msg_controllen = sizeof(control.buffer),
    };
    bool fits = true;
    ssize_t n;

    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
            fits = fds_keep(fds, header) && fits;

    if (!fits || (message.msg_flags & MSG_CTRUNC)) {
        bool many = !fits || fds->count == FRAME_FDS_MAX;

        frame_fds_close(fds);
        return many ? -EPROTO : -EMFILE;
    }
    return n;
}
