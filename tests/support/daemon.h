/* SPDX-License-Identifier: MIT */
/* tests/support/daemon.h: a private xpurtd for one test.
 *
 * It inherits the environment of the test, so that ZE_* variables reach its driver, and dies with
 * the process that started it. XPURT_SOCKET is set, so that libxpurt in this process and its
 * children finds it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct test_daemon {
    pid_t pid;
    char dir[64];                       /* its own, removed at the end */
    char socket[96];
    char gate[96];                      /* see test_daemon_start_gated() */
};

/* Start it on the software device and wait until it accepts connections. @p args: more options,
 * ended by NULL; may be NULL. Ends the test process with a message when that fails. */
void test_daemon_start(struct test_daemon *daemon, const char *const args[]);

/* The same, where each fill command (xpurt_memset_async) takes until the gate is open, so that
 * a test can have work that is not done for as long as it likes. */
void test_daemon_start_gated(struct test_daemon *daemon);
void test_gate_open(const struct test_daemon *daemon);
void test_gate_close(const struct test_daemon *daemon);

/* SIGKILL; the socket file stays. test_daemon_start_again() puts another daemon in its place. */
void test_daemon_kill(struct test_daemon *daemon);
void test_daemon_start_again(struct test_daemon *daemon, const char *const args[]);

/* SIGTERM, and wait. The exit status; -1 when it ended by a signal or had to be killed. Removes
 * what it left. */
int test_daemon_stop(struct test_daemon *daemon);

/* The daemon's own counter of that name; ends the test process when there is none. Uses the
 * session of the calling process. */
unsigned long long test_daemon_counter(const char *name);

/* Wait until the counter has that value; ends the test process when it does not get there. */
void test_daemon_await_counter(const char *name, unsigned long long value);
