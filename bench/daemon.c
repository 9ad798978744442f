/* SPDX-License-Identifier: MIT */
/* bench/daemon.c: see daemon.h. */
#include "bench/daemon.h"
#include "bench/row.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 1000                /* of 10 ms */

/* The pid behind a socket, 0 when nobody answers. */
static pid_t peer_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct ucred peer = { 0 };
    socklen_t size = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        peer.pid = 0;
    close(fd);
    return peer.pid;
}

int daemon_find(const char *socket, pid_t *ret_pid)
{
    pid_t pid = peer_of(socket);

    if (!pid) {
        fprintf(stderr, "xpurt-bench: nobody answers on %s\n", socket);
        return -1;
    }
    *ret_pid = pid;
    return 0;
}

static void execute(const char *socket)
{
    char program[sizeof(environment.program) + 16];
    char *slash;

    snprintf(program, sizeof(program), "%s", environment.program);
    slash = strrchr(program, '/');
    memcpy(slash ? slash + 1 : program, "xpurtd", sizeof("xpurtd"));
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl(program, program, "--config", "/dev/null", "--device", "soft", "--socket", socket,
          "--log-level", "warning", NULL);
    fprintf(stderr, "xpurt-bench: %s: %s\n", program, strerror(errno));
    _exit(127);
}

int daemon_start(char ret_socket[108], pid_t *ret_pid)
{
    pid_t pid;

    snprintf(ret_socket, 108, "%s/xpurtd.sock", environment.folder);
    pid = fork();
    if (pid == 0)
        execute(ret_socket);
    if (pid < 0) {
        perror("xpurt-bench: fork");
        return -1;
    }
    for (unsigned i = 0; i < START_TRIES; i++) {
        if (peer_of(ret_socket)) {
            *ret_pid = pid;
            return 0;
        }
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            fprintf(stderr, "xpurt-bench: xpurtd did not start\n");
            return -1;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    fprintf(stderr, "xpurt-bench: xpurtd does not answer\n");
    daemon_stop(pid);
    return -1;
}

void daemon_stop(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* A program built with sanitizers names their entry points, however they are linked. */
int daemon_sanitized(pid_t pid)
{
    static const char *const names[] = { "__asan_init", "__tsan_init", "__ubsan_handle" };
    char path[64];
    struct stat st;
    void *image;
    int fd, found = 0;

    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        fprintf(stderr, "xpurt-bench: cannot tell how process %d was built: %s\n", (int)pid,
                strerror(errno));
        return 0;
    }
    image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (image == MAP_FAILED)
        return 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        found |= memmem(image, (size_t)st.st_size, names[i], strlen(names[i])) != NULL;
    munmap(image, (size_t)st.st_size);
    return found;
}
