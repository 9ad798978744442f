/* SPDX-License-Identifier: MIT */
/* Beyond parity: host functions on streams, as cudaLaunchHostFunc() has them, and their corners. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

TestSuite(hosts, .init = scene_start, .fini = scene_stop);

/* What functions leave behind. */
static _Atomic int calls;

static void count(void *data)
{
    *(int *)data = atomic_fetch_add(&calls, 1);
}

static void block(void *data)
{
    sem_wait(data);
    atomic_fetch_add(&calls, 1);
}

static void post(void *data)
{
    sem_post(data);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

Test(hosts, beyond_host_func_in_stream_order)
{
    enum { TIMES = 100 };
    xpurt_stream *stream = stream_on(0);
    int order[TIMES];

    occupy(stream);
    for (int i = 0; i < TIMES; i++)
        test_ok(xpurt_launch_host_func(stream, count, &order[i]));
    pause_ms(20);
    cr_assert_eq(calls, 0, "called before the work in front of it was done");
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, TIMES);
    for (int i = 0; i < TIMES; i++)
        cr_assert_eq(order[i], i);
}

struct bytes {
    unsigned char *device, *host;
    unsigned char seen;
};

static void look(void *data)
{
    struct bytes *bytes = data;

    bytes->seen = bytes->host[0];
    bytes->host[0] = 7;
}

/* The function sees what was copied before it; what is copied after it sees what it wrote. */
Test(hosts, beyond_host_func_sees_and_is_seen)
{
    struct bytes bytes = { .device = memory_on(0, 64) };
    xpurt_stream *stream = stream_on(0);
    unsigned char last = 0;

    test_gate_open(&xpurtd);
    test_ok(xpurt_host_malloc((void **)&bytes.host, 64));
    for (unsigned char i = 1; i < 50; i++) {
        bytes.host[0] = 0;
        test_ok(xpurt_memset_async(bytes.device, i, 64, stream));
        test_ok(xpurt_memcpy_async(bytes.host, bytes.device, 64, stream));
        test_ok(xpurt_launch_host_func(stream, look, &bytes));
        test_ok(xpurt_memcpy_async(bytes.device, bytes.host, 64, stream));
        test_ok(xpurt_memcpy_async(&last, bytes.device, 1, stream));
        test_ok(xpurt_stream_synchronize(stream));
        cr_assert_eq(bytes.seen, i);
        cr_assert_eq(last, 7);
    }
}

/* Later work waits until the function has returned, in other processes too; other streams do not. */
static void waits_for_it(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);

    (void)data;
    test_await(channel);
    test_expect(XPURT_TIMEOUT, xpurt_event_synchronize_for(event, 20000000));
    test_pass(channel);
    test_ok(xpurt_event_synchronize(event));
}

Test(hosts, beyond_host_func_holds_back_later_work_only)
{
    struct test_peer peer;
    xpurt_stream *stream, *other;
    xpurt_event *event;
    sem_t gate, reached;

    sem_init(&gate, 0, 0);
    sem_init(&reached, 0, 0);
    test_peer_start(&peer, waits_for_it, NULL);
    stream = stream_on(0);
    other = stream_on(0);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    event_send(peer.channel, event);
    test_ok(xpurt_launch_host_func(stream, block, &gate));
    test_ok(xpurt_event_record(event, stream));
    test_pass(peer.channel);
    test_ok(xpurt_launch_host_func(other, post, &reached));
    sem_wait(&reached);
    test_ok(xpurt_stream_synchronize(other));
    test_expect(XPURT_NOT_READY, xpurt_stream_query(stream));
    test_await(peer.channel);
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    sem_post(&gate);
    test_ok(xpurt_event_synchronize(event));
    cr_assert_eq(calls, 1);
    test_ok(xpurt_device_synchronize(0));
    test_peer_join(&peer);
}

static struct inside {
    xpurt_stream *own, *other;
    xpurt_event *event;
    int order;
} inside;

static void call_back(void *data)
{
    unsigned char byte;
    sigset_t mask;

    (void)data;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_stream_synchronize(inside.own));
    test_require(said("host function"), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_device_synchronize(0));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_reset());
    test_expect(XPURT_NOT_READY, xpurt_stream_query(inside.own));
    test_ok(xpurt_memset_async(memory_on(0, 64), 1, 64, inside.own));
    test_ok(xpurt_event_record(inside.event, inside.own));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_event_synchronize(inside.event));
    test_ok(xpurt_launch_host_func(inside.own, count, &inside.order));
    test_ok(xpurt_memcpy_async(&byte, memory_on(last_device, 64), 1, inside.other));
    test_ok(xpurt_stream_synchronize(inside.other));
    test_ok(xpurt_stream_destroy(inside.own));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    test_require(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1) &&
                     !sigismember(&mask, SIGSEGV),
                 "the thread's signal mask");
}

Test(hosts, beyond_host_func_may_call_xpurt)
{
    struct footprint before;

    test_gate_open(&xpurtd);
    inside = (struct inside){ .own = stream_on(0),
                              .other = stream_on(last_device),
                              .event = event_with(0) };
    before = footprint_of(getpid());
    test_ok(xpurt_launch_host_func(inside.own, call_back, NULL));
    while (!calls)
        pause_ms(1);
    test_ok(xpurt_event_synchronize(inside.event));
    footprint_check(getpid(), before);
    test_daemon_await_counter("streams", 1);
}

Test(hosts, beyond_host_func_bad_calls)
{
    xpurt_stream *stream = stream_on(0);

    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_launch_host_func(NULL, post, NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_launch_host_func(stream, NULL, NULL));
    test_expect(XPURT_ERROR_INVALID_HANDLE,
                xpurt_launch_host_func((xpurt_stream *)&stream, post, NULL));
    test_ok(xpurt_stream_destroy(stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_launch_host_func(stream, post, NULL));
}

/* The stream is destroyed before any of its functions was called. */
Test(hosts, beyond_host_func_of_a_destroyed_stream)
{
    struct footprint here, there;
    int order[10];

    test_ok(xpurt_init());
    here = footprint_of(getpid());
    there = footprint_of(xpurtd.pid);
    for (int round = 1; round <= 20; round++) {
        xpurt_stream *stream = stream_on(round % n_devices);
        sem_t gate;

        sem_init(&gate, 0, 0);
        test_ok(xpurt_launch_host_func(stream, block, &gate));
        for (int i = 0; i < 9; i++)
            test_ok(xpurt_launch_host_func(stream, count, &order[i]));
        test_ok(xpurt_stream_destroy(stream));
        cr_assert_eq(calls, 10 * (round - 1));
        sem_post(&gate);
        test_ok(xpurt_device_synchronize(round % n_devices));
        cr_assert_eq(calls, 10 * round);
    }
    test_daemon_await_counter("streams", 0);
    test_daemon_await_counter("user-streams", 0);
    footprint_check(getpid(), here);
    footprint_check(xpurtd.pid, there);
}

/* More streams with functions, one after another, than there are timelines. */
Test(hosts, beyond_host_func_timelines_come_back)
{
    int order;

    for (int i = 1; i <= 600; i++) {
        xpurt_stream *stream = stream_on(0);

        test_ok(xpurt_launch_host_func(stream, count, &order));
        test_ok(xpurt_stream_synchronize(stream));
        cr_assert_eq(calls, i);
        test_ok(xpurt_stream_destroy(stream));
    }
    test_daemon_await_counter("streams", 0);
}

static void *keeps_a_batch_open(void *arg)
{
    sem_t *turns = arg;

    test_ok(xpurt_batch_begin());
    sem_post(&turns[0]);
    sem_wait(&turns[1]);
    test_ok(xpurt_batch_end());
    return NULL;
}

Test(hosts, beyond_host_func_and_batches)
{
    xpurt_stream *stream = stream_on(0);
    pthread_t thread;
    sem_t turns[2];
    int order;

    test_ok(xpurt_batch_begin());
    for (int i = 0; i < 10; i++)
        test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_batch_end());
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 10);

    /* What a function's end sends does not wait for another thread's batch. */
    sem_init(&turns[0], 0, 0);
    sem_init(&turns[1], 0, 0);
    pthread_create(&thread, NULL, keeps_a_batch_open, turns);
    sem_wait(&turns[0]);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 11);
    sem_post(&turns[1]);
    pthread_join(thread, NULL);
}

/* ---- what is not called --------------------------------------------------------------------------- */

static void records_behind_work(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    occupy(stream);
    test_ok(xpurt_event_record(event, stream));
    test_pass(channel);
    test_await(channel);
}

/* Behind something that the dead would have done: the stream fails, the function is not called. */
Test(hosts, beyond_host_func_of_a_failed_stream)
{
    struct footprint here;
    struct test_peer peer;
    xpurt_stream *stream, *behind;
    xpurt_event *event, *mine;
    int order;

    test_peer_start(&peer, records_behind_work, NULL);
    test_ok(xpurt_init());
    event = event_with(XPURT_EVENT_INTERPROCESS);
    mine = event_with(0);
    event_send(peer.channel, event);
    test_await(peer.channel);
    here = footprint_of(getpid());
    stream = stream_on(0);
    behind = stream_on(0);
    /* A record to come is not on the GPU: the wait for it can fail. */
    test_ok(xpurt_stream_wait_generation(stream, event, 2));
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_event_record(mine, stream));
    test_ok(xpurt_stream_wait_event(behind, mine));
    test_ok(xpurt_launch_host_func(behind, count, &order));
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(behind));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_query(mine));
    test_ok(xpurt_stream_destroy(stream));
    test_ok(xpurt_stream_destroy(behind));
    footprint_check(getpid(), here);
    cr_assert_eq(calls, 0);
    test_gate_open(&xpurtd);
    test_daemon_await_counter("streams", 0);
}

Test(hosts, beyond_host_func_and_reset)
{
    struct footprint here = footprint_of(getpid());
    xpurt_stream *stream = stream_on(0);
    int order;

    occupy(stream);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_launch_host_func(default_on(last_device), count, &order));
    while (!calls)
        pause_ms(1);                    /* the default stream has nothing before it */
    test_ok(xpurt_reset());
    footprint_check(getpid(), here);
    test_gate_open(&xpurtd);
    test_ok(xpurt_stream_destroy(stream));
    stream = stream_on(0);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 2);
    test_daemon_await_counter("sessions", 1);
}

Test(hosts, beyond_host_func_and_death_of_the_daemon)
{
    struct footprint here;
    xpurt_stream *stream;
    int order;

    here = footprint_of(getpid());
    stream = stream_on(0);
    occupy(stream);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_daemon_kill(&xpurtd);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(stream));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_launch_host_func(stream, count, &order));
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_reset());
    footprint_check(getpid(), here);
    cr_assert_eq(calls, 0);
    stream = stream_on(0);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 1);
}

static void never_returns(void *data)
{
    test_pass(*(int *)data);
    for (;;)
        pause();
}

static void hangs_in_a_function(int channel, void *data)
{
    xpurt_event *event = event_receive(channel);
    xpurt_stream *stream = stream_on(0);

    (void)data;
    test_ok(xpurt_launch_host_func(stream, never_returns, &channel));
    test_ok(xpurt_event_record(event, stream));
    test_pass(channel);
    for (;;)
        pause();
}

Test(hosts, beyond_host_func_killed_in_it)
{
    struct test_peer peer;
    xpurt_stream *stream;
    xpurt_event *event;

    test_peer_start(&peer, hangs_in_a_function, NULL);
    event = event_with(XPURT_EVENT_INTERPROCESS);
    stream = stream_on(0);
    event_send(peer.channel, event);
    test_await(peer.channel);
    test_await(peer.channel);
    test_ok(xpurt_stream_wait_event(stream, event));
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_stream_synchronize(stream));
    test_ok(xpurt_stream_destroy(stream));
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("user-streams", 0);
}

/* ---- fork ------------------------------------------------------------------------------------------- */

static void child_with_functions(int channel, void *data)
{
    xpurt_stream *stream;
    int order;

    (void)channel;
    test_expect(XPURT_ERROR_FORKED, xpurt_launch_host_func(data, count, &order));
    test_ok(xpurt_stream_destroy(data));
    stream = stream_on(0);
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_stream_synchronize(stream));
    test_require(calls == 1, "%d calls in the child", calls);
}

Test(hosts, beyond_host_func_and_fork)
{
    xpurt_stream *stream = stream_on(0);
    struct test_peer child;
    sem_t gate;
    int order;

    sem_init(&gate, 0, 0);
    test_ok(xpurt_launch_host_func(stream, block, &gate));
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_peer_start(&child, child_with_functions, stream);
    test_peer_join(&child);
    cr_assert_eq(calls, 0);
    sem_post(&gate);
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 2);
}

static void fork_here(void *data)
{
    struct test_peer child;

    test_peer_start(&child, child_with_functions, data);
    test_peer_join(&child);
}

Test(hosts, beyond_host_func_forks)
{
    xpurt_stream *stream = stream_on(0);
    int order;

    test_ok(xpurt_launch_host_func(stream, fork_here, stream));
    test_ok(xpurt_launch_host_func(stream, count, &order));
    test_ok(xpurt_stream_synchronize(stream));
    cr_assert_eq(calls, 1);
}

static void fork_and_return(void *data)
{
    int channel = *(int *)data;
    pid_t pid = fork();

    if (pid == 0)
        return;                         /* the thread is the child's only one, and ends it */
    test_send(channel, &pid, sizeof(pid));
}

static void forks_and_returns(int channel, void *data)
{
    xpurt_stream *stream = stream_on(0);

    (void)data;
    test_ok(xpurt_launch_host_func(stream, fork_and_return, &channel));
    test_ok(xpurt_stream_synchronize(stream));
    test_await(channel);
}

Test(hosts, beyond_host_func_returns_in_a_child)
{
    struct test_peer peer;
    pid_t pid;

    test_peer_start(&peer, forks_and_returns, NULL);
    test_receive(peer.channel, &pid, sizeof(pid));
    test_pass(peer.channel);
    test_peer_join(&peer);
    for (int tries = 0; tries < 6000 && kill(pid, 0) == 0; tries++)
        pause_ms(5);
    cr_assert_eq(kill(pid, 0), -1, "the child goes on");
}
