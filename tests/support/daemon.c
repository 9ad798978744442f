/* SPDX-License-Identifier: MIT */
/* tests/support/daemon.c: see daemon.h.
 *
 * Guarantees of this file: no daemon outlives the test that started it; nothing waits without a
 * bound.
 */
#include "tests/support/daemon.h"

#include "tests/support/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xpurt/xpurt.h>

#define ARGS_MAX 32
#define BOUND_MS 30000                  /* sanitizers on a busy machine are slow */

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static bool answers(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answer;

    test_require(fd >= 0, "socket: %s", strerror(errno));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    answer = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return answer;
}

static void run(const struct test_daemon *daemon, const char *const args[], pid_t parent)
{
    const char *argv[ARGS_MAX] = { XPURTD_PATH,    "--device",    "soft",   "--socket",
                                   daemon->socket, "--log-level", "warning" };
    int n = 7;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);                     /* it died before we could ask for that */
    for (; args && *args && n < ARGS_MAX - 1; args++)
        argv[n++] = *args;
    execv(argv[0], (char *const *)argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

void test_daemon_start_again(struct test_daemon *daemon, const char *const args[])
{
    pid_t parent = getpid();

    daemon->pid = fork();
    test_require(daemon->pid >= 0, "fork: %s", strerror(errno));
    if (daemon->pid == 0)
        run(daemon, args, parent);

    for (int ms = 0; !answers(daemon->socket); ms += 5) {
        test_require(waitpid(daemon->pid, NULL, WNOHANG) == 0, "the daemon ended at its start");
        test_require(ms < BOUND_MS, "the daemon does not answer");
        sleep_ms(5);
    }
}

static void prepare(struct test_daemon *daemon)
{
    *daemon = (struct test_daemon){ .dir = "/tmp/xpurt-test-XXXXXX" };
    test_require(mkdtemp(daemon->dir), "mkdtemp: %s", strerror(errno));
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/xpurtd.sock", daemon->dir);
    snprintf(daemon->gate, sizeof(daemon->gate), "%s/open", daemon->dir);
    setenv("XPURT_SOCKET", daemon->socket, 1);
}

void test_daemon_start(struct test_daemon *daemon, const char *const args[])
{
    prepare(daemon);
    test_daemon_start_again(daemon, args);
}

void test_daemon_start_gated(struct test_daemon *daemon)
{
    char fault[160];

    prepare(daemon);
    snprintf(fault, sizeof(fault), "hang:fill:/1:%s", daemon->gate);
    setenv("ZE_SOFT_FAULT", fault, 1);
    test_daemon_start_again(daemon, NULL);
    unsetenv("ZE_SOFT_FAULT");
}

void test_gate_open(const struct test_daemon *daemon)
{
    int fd = open(daemon->gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    test_require(fd >= 0, "%s: %s", daemon->gate, strerror(errno));
    close(fd);
}

void test_gate_close(const struct test_daemon *daemon)
{
    unlink(daemon->gate);
}

void test_daemon_kill(struct test_daemon *daemon)
{
    kill(daemon->pid, SIGKILL);
    waitpid(daemon->pid, NULL, 0);
    daemon->pid = 0;
}

int test_daemon_stop(struct test_daemon *daemon)
{
    int status = -1, ms = 0;

    if (daemon->pid > 0) {
        if (daemon->gate[0])
            test_gate_open(daemon);     /* it finishes what was submitted */
        kill(daemon->pid, SIGTERM);
        while (waitpid(daemon->pid, &status, WNOHANG) == 0) {
            if (ms == BOUND_MS)
                kill(daemon->pid, SIGKILL);
            sleep_ms(5);
            ms += 5;
        }
        daemon->pid = 0;
    }
    unlink(daemon->gate);
    unlink(daemon->socket);
    rmdir(daemon->dir);
    return WIFEXITED(status) && ms < BOUND_MS ? WEXITSTATUS(status) : -1;
}

unsigned long long test_daemon_counter(const char *name)
{
    xpurt_counter counters[128];
    size_t count = 0;
    xpurt_result r = xpurt_daemon_counters(128, counters, &count);

    test_require(r == XPURT_SUCCESS, "counters: %s", xpurt_last_error());
    for (size_t i = 0; i < count && i < 128; i++)
        if (strcmp(counters[i].name, name) == 0)
            return counters[i].value;
    test_require(false, "the daemon has no counter %s", name);
    return 0;
}

void test_daemon_await_counter(const char *name, unsigned long long value)
{
    for (int ms = 0; test_daemon_counter(name) != value; ms += 5) {
        test_require(ms < BOUND_MS, "%s is %llu, not %llu", name, test_daemon_counter(name), value);
        sleep_ms(5);
    }
}
