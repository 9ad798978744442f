/* SPDX-License-Identifier: MIT */
/* examples/channel.c: the socket between the two sides of a pair.
 *
 * Guarantees of this file:
 *   - a message is received whole, or not at all;
 *   - the death of the other process is seen, whatever killed it, behind all that it has sent;
 *   - nothing here waits for ever, unless it is told to;
 *   - only the own user can connect.
 */
#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 50

int channel_pair(int ret_ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) < 0 ? -errno : 0;
}

/* ---- two shells ------------------------------------------------------------------------------ */

static int socket_open(const char *path, int type, struct sockaddr_un *ret_address)
{
    int fd;

    if (strlen(path) >= sizeof(ret_address->sun_path))
        return -ENAMETOOLONG;
    *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(ret_address->sun_path, path, strlen(path));
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int try_connect(const char *path, int type)
{
    struct sockaddr_un address;
    int fd, r;

    fd = socket_open(path, type, &address);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

/* A socket file that nobody listens on is left over from a process that was killed. Asked with a
 * socket of another type: one who does listen refuses it in another way and does not notice. */
static void remove_stale(const char *path)
{
    struct stat stat;
    int fd;

    if (lstat(path, &stat) < 0 || !S_ISSOCK(stat.st_mode))
        return;
    fd = try_connect(path, SOCK_STREAM);
    if (fd == -ECONNREFUSED)
        unlink(path);
    if (fd >= 0)
        close(fd);
}

static int accept_one(int listener)
{
    struct pollfd pollfd = { .fd = listener, .events = POLLIN };
    int r;

    do {
        r = poll(&pollfd, 1, CHANNEL_PATIENCE_S * 1000);
    } while (r < 0 && errno == EINTR);
    if (r <= 0)
        return r < 0 ? -errno : -ETIMEDOUT;

    r = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return r < 0 ? -errno : r;
}

int channel_listen(const char *path)
{
    struct sockaddr_un address;
    int listener, r;
    mode_t mask;

    listener = socket_open(path, SOCK_SEQPACKET, &address);
    if (listener < 0)
        return listener;

    remove_stale(path);
    mask = umask(0077);
    r = bind(listener, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (r < 0) {
        r = -errno;
    } else {
        r = listen(listener, 1) < 0 ? -errno : accept_one(listener);
        unlink(path);
    }
    close(listener);
    return r;
}

int channel_connect(const char *path)
{
    const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000 };
    int fd = -ETIMEDOUT;

    for (int tries = CHANNEL_PATIENCE_S * 1000 / RETRY_MS; tries > 0; tries--) {
        fd = try_connect(path, SOCK_SEQPACKET);
        if (fd != -ENOENT && fd != -ECONNREFUSED)
            return fd;
        nanosleep(&pause, NULL);
    }
    return -ETIMEDOUT;
}

/* ---- messages -------------------------------------------------------------------------------- */

union fd_message {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int channel_send(int channel, const void *data, size_t size, int fd)
{
    struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    union fd_message control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                                             .cmsg_level = SOL_SOCKET,
                                             .cmsg_type = SCM_RIGHTS } };
    ssize_t n;

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    do {
        n = sendmsg(channel, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int take_fd(struct msghdr *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;

    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(fd)))
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

ssize_t channel_receive(int channel, void *data, size_t size, int timeout_ms, int *ret_fd)
{
    struct pollfd pollfd = { .fd = channel, .events = POLLIN };
    struct iovec iov = { .iov_base = data, .iov_len = size };
    union fd_message control;
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (timeout_ms >= 0) {
        do {
            n = poll(&pollfd, 1, timeout_ms);
        } while (n < 0 && errno == EINTR);
        if (n <= 0)
            return n < 0 ? -errno : -ETIMEDOUT;
    }
    if (ret_fd) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    /* A reset is told once, before what the other side sent until then, and before the end. */
    do {
        n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));

    if (n < 0)
        return -errno;
    if (ret_fd)
        *ret_fd = take_fd(&message);
    return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

bool channel_hung_up(int channel)
{
    struct pollfd pollfd = { .fd = channel, .events = POLLRDHUP };

    return poll(&pollfd, 1, 0) > 0;
}
