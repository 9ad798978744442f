/* SPDX-License-Identifier: MIT */
/* daemon/listen.c: listening sockets.
 *
 * Guarantees of this file:
 *   - of daemons that start at once on one path, one wins: it holds the lock on <path>.lock for as
 *     long as it serves, and only the holder of the lock touches the socket file;
 *   - a socket that somebody answers on is never replaced, nor is a file that is no socket;
 *   - at no time has the socket file a wider mode than the configured one;
 *   - at the end only a socket file that is ours is removed.
 */
#include "daemon/listen.h"
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static int adopt(struct listener *listener, int fd)
{
    int flags;

    if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
        log_error("descriptor %d passed by systemd is not a listening Unix stream socket", fd);
        return -EINVAL;
    }

    /* sd_listen_fds() has set close-on-exec already. */
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;

    listener->fds[listener->count++] = fd;
    return 0;
}

/* > 0: systemd passed sockets; 0: it did not. */
static int adopt_passed(struct listener *listener)
{
    int n = sd_listen_fds(1);

    if (n < 0)
        log_error("LISTEN_FDS: %s", strerror(-n));
    if (n <= 0)
        return n;
    if ((unsigned)n > LISTEN_MAX) {
        log_error("systemd passed %d sockets, at most %u are served", n, LISTEN_MAX);
        return -EINVAL;
    }

    for (int i = 0; i < n; i++) {
        int r = adopt(listener, SD_LISTEN_FDS_START + i);

        if (r < 0)
            return r;
    }
    return n;
}

#define LOCK_NAME_SIZE (sizeof(((struct sockaddr_un *)NULL)->sun_path) + sizeof(".lock"))

static void lock_name(const char *path, char ret_name[LOCK_NAME_SIZE])
{
    snprintf(ret_name, LOCK_NAME_SIZE, "%s.lock", path);
}

static int refuse(const char *path)
{
    log_error("another xpurtd answers on %s", path);
    return -EADDRINUSE;
}

/* Only root may make the folder, which is the one in /run: others name a folder of their own. */
static void make_folder(const char *path)
{
    char *copy = strdup(path);

    if (copy && geteuid() == 0 && mkdir(dirname(copy), 0755) == 0)
        log_info("made the folder of %s", path);
    free(copy);
}

/* Take the lock. The holder removes the file at its end, so what we have locked may be a file that
 * no path leads to any more: then try again. */
static int take_lock(const char *path, int *ret_lock)
{
    char name[LOCK_NAME_SIZE];

    lock_name(path, name);
    for (;;) {
        struct stat ours, there;
        int fd, r;

        fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            r = -errno;
            log_error("%s: %s", name, strerror(-r));
            return r;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            r = errno == EWOULDBLOCK ? refuse(path) : -errno;
            close(fd);
            return r;
        }
        if (fstat(fd, &ours) == 0 && stat(name, &there) == 0 && ours.st_dev == there.st_dev &&
            ours.st_ino == there.st_ino) {
            *ret_lock = fd;
            return 0;
        }
        close(fd);
    }
}

/* With the lock held: make sure that @p address is free. A daemon that got its socket from systemd
 * holds no lock, so ask the socket itself. */
static int clear_path(const struct sockaddr_un *address)
{
    struct stat st;
    int fd, error;

    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode)) {
        log_error("%s exists and is not a socket", address->sun_path);
        return -EEXIST;
    }

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    close(fd);
    if (error == 0 || error == EAGAIN)  /* EAGAIN: so busy that its queue is full */
        return refuse(address->sun_path);
    if (error != ECONNREFUSED) {
        log_error("%s: %s", address->sun_path, strerror(error));
        return -error;
    }

    log_notice("replacing the stale socket %s", address->sun_path);
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int bind_path(struct listener *listener, const struct sockaddr_un *address, mode_t mode)
{
    struct stat st;
    mode_t umask_before;
    int fd, r;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;

    umask_before = umask(~mode & 0777); /* no thread is running yet that could mind */
    r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
    umask(umask_before);
    if (r == 0 && (stat(address->sun_path, &st) < 0 || listen(fd, SOMAXCONN) < 0)) {
        r = -errno;
        unlink(address->sun_path);
    }
    if (r < 0) {
        close(fd);
        return r;
    }

    listener->device = st.st_dev;
    listener->inode = st.st_ino;
    listener->fds[listener->count++] = fd;
    return 0;
}

static int open_own(struct listener *listener, const struct config *config)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int r;

    listener->path = strdup(config->socket);
    if (!listener->path)
        return -ENOMEM;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener->path);
    make_folder(listener->path);

    r = take_lock(listener->path, &listener->lock);
    if (r < 0)
        return r;
    r = clear_path(&address);
    if (r < 0)
        return r;

    r = bind_path(listener, &address, config->socket_mode);
    if (r < 0)
        log_error("%s: %s", listener->path, strerror(-r));
    return r;
}

int listener_open(struct listener *listener, const struct config *config)
{
    int r;

    r = adopt_passed(listener);
    if (r == 0)
        r = open_own(listener, config);
    return r < 0 ? r : 0;
}

int listener_take(struct listener *listener)
{
    return listener->count ? listener->fds[--listener->count] : -1;
}

void listener_close(struct listener *listener)
{
    char name[LOCK_NAME_SIZE];
    struct stat st;

    while (listener->count)
        close(listener_take(listener));

    if (listener->inode && lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
        st.st_ino == listener->inode)
        unlink(listener->path);
    if (listener->lock >= 0) {
        lock_name(listener->path, name);
        unlink(name);
        close(listener->lock);
    }
    free(listener->path);
    *listener = (struct listener)LISTENER_NULL;
}
