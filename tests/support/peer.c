/* SPDX-License-Identifier: MIT */
/* tests/support/peer.c: see peer.h.
 *
 * Guarantees of this file: a peer dies with its parent; nothing waits without a bound.
 */
#include "tests/support/peer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOUND_MS 60000
#define JOIN_BOUND_MS 180000            /* less than what a test may take */

void test_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s:%d: process %d: failed: %s: ", file, line, (int)getpid(), condition);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

void test_peer_start(struct test_peer *peer, void (*body)(int channel, void *data), void *data)
{
    pid_t parent = getpid();
    int ends[2];

    test_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair: %s",
                 strerror(errno));
    peer->pid = fork();
    test_require(peer->pid >= 0, "fork: %s", strerror(errno));
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        body(ends[1], data);
        _exit(0);                       /* not what the parent registered for its own exit */
    }
    close(ends[1]);
    peer->channel = ends[0];
}

void test_send(int channel, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(channel, (const char *)bytes + done, size - done, MSG_NOSIGNAL);

        test_require(n > 0, "the other side is gone: %s", strerror(errno));
        done += (size_t)n;
    }
}

void test_receive(int channel, void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        struct pollfd pollfd = { .fd = channel, .events = POLLIN };
        ssize_t n;

        test_require(poll(&pollfd, 1, BOUND_MS) == 1, "the other side is silent");
        n = recv(channel, (char *)bytes + done, size - done, 0);
        test_require(n > 0, "the other side is gone");
        done += (size_t)n;
    }
}

void test_pass(int channel)
{
    test_send(channel, "", 1);
}

void test_await(int channel)
{
    char byte;

    test_receive(channel, &byte, 1);
}

void test_peer_kill(struct test_peer *peer)
{
    kill(peer->pid, SIGKILL);
    waitpid(peer->pid, NULL, 0);
    close(peer->channel);
}

void test_peer_join(struct test_peer *peer)
{
    int status = -1;

    for (int ms = 0; waitpid(peer->pid, &status, WNOHANG) == 0; ms++) {
        test_require(ms < JOIN_BOUND_MS, "process %d does not end", (int)peer->pid);
        poll(NULL, 0, 1);
    }
    close(peer->channel);
    test_require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a peer ended with status 0x%x",
                 (unsigned)status);
}
