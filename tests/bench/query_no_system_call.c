/* SPDX-License-Identifier: MIT */
/* tests/bench/query_no_system_call.c: xpurt_event_query() makes no system call.
 *
 * Processes of this test give up the right to make any, but for ending; the kernel kills who makes
 * one. A call that has to make one shows that the kernel does.
 */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUERIES 1000000
#define QUERIES_PENDING 1000            /* each 1024th looks whether the daemon still lives */
#define FILL_SIZE 4096

static void give_up_system_calls(void)
{
    static struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = { sizeof(program) / sizeof(program[0]), program };

    test_require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "%s", strerror(errno));
    test_require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "%s", strerror(errno));
}

/* Not _exit(): sanitizers add system calls in front of functions that do not return. */
static void end(int status)
{
    syscall(SYS_exit_group, status);
}

/* Ends the process: 0 when each query gave @p expected. */
static void query_only(xpurt_event *event, unsigned queries, xpurt_result expected)
{
    give_up_system_calls();
    for (unsigned i = 0; i < queries; i++)
        if (xpurt_event_query(event) != expected)
            end(EXIT_FAILURE);
    end(EXIT_SUCCESS);
}

static xpurt_event *make_recorded(void)
{
    xpurt_stream *stream;
    xpurt_event *event;

    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    return event;
}

/* ---- the processes -------------------------------------------------------------------------------- */

static void own(int channel, void *data)
{
    (void)channel;
    (void)data;
    query_only(make_recorded(), QUERIES, XPURT_SUCCESS);
}

static void never_recorded(int channel, void *data)
{
    xpurt_event *event;

    (void)channel;
    (void)data;
    test_ok(xpurt_init());
    test_ok(xpurt_event_create(XPURT_EVENT_DEFAULT, &event));
    query_only(event, QUERIES, XPURT_SUCCESS);
}

/* The gate is closed: the fill, and so the event, does not come to an end. */
static void pending(int channel, void *data)
{
    xpurt_stream *stream;
    xpurt_event *event;
    void *memory;

    (void)channel;
    (void)data;
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_event_create(XPURT_EVENT_DEFAULT, &event));
    test_ok(xpurt_malloc(&memory, FILL_SIZE));
    test_ok(xpurt_memset_async(memory, 1, FILL_SIZE, stream));
    test_ok(xpurt_event_record(event, stream));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event)); /* the first one looks too */
    query_only(event, QUERIES_PENDING, XPURT_NOT_READY);
}

static void exporter(int channel, void *data)
{
    xpurt_event_handle handle;

    (void)data;
    test_ok(xpurt_event_get_ipc_handle(make_recorded(), &handle));
    test_send(channel, &handle, sizeof(handle));
    test_await(channel);
}

static void imported(int channel, void *data)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    query_only(event, QUERIES, XPURT_SUCCESS);
}

static void forbidden(int channel, void *data)
{
    size_t count;

    (void)channel;
    (void)data;
    (void)make_recorded();
    give_up_system_calls();
    xpurt_daemon_counters(0, NULL, &count); /* recording would need none, with rings */
    end(EXIT_SUCCESS);
}

/* ---- the test --------------------------------------------------------------------------------------- */

/* How the process ended: 0, an exit status, or minus a signal. */
static int end_of(struct test_peer *peer)
{
    int status;

    test_require(waitpid(peer->pid, &status, 0) == peer->pid, "%s", strerror(errno));
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void expect_end(const char *name, struct test_peer *peer, int expected)
{
    int end = end_of(peer);

    test_require(end == expected, "%s: ended with %d, not %d (%d: made a system call)", name, end,
                 expected, -SIGSYS);
    printf("%s: as expected\n", name);
}

static void check(const char *name, void (*body)(int channel, void *data), int expected)
{
    struct test_peer peer;

    test_peer_start(&peer, body, NULL);
    expect_end(name, &peer, expected);
}

static void check_imported(void)
{
    struct test_peer maker, opener;
    xpurt_event_handle handle;

    test_peer_start(&maker, exporter, NULL);
    test_peer_start(&opener, imported, NULL);
    test_receive(maker.channel, &handle, sizeof(handle));
    test_send(opener.channel, &handle, sizeof(handle));
    expect_end("imported", &opener, 0);
    test_pass(maker.channel);
    test_peer_join(&maker);
}

int main(void)
{
    struct test_daemon daemon;

    setvbuf(stdout, NULL, _IOLBF, 0);   /* children would write it again */
    test_daemon_start_gated(&daemon);
    check("a call that needs one", forbidden, -SIGSYS);
    check("own", own, 0);
    check("never recorded", never_recorded, 0);
    check("pending", pending, 0);
    check_imported();
    test_gate_open(&daemon);
    test_require(test_daemon_stop(&daemon) == 0, "the daemon did not end well");
    return EXIT_SUCCESS;
}
