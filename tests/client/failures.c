/* SPDX-License-Identifier: MIT */
/* Daemons that die, sessions that begin anew. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static struct test_daemon xpurtd;

static void start(void)
{
    test_daemon_start_gated(&xpurtd);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(failures, .init = start, .fini = stop);

struct objects {
    xpurt_stream *stream;
    xpurt_event *done, *pending, *blocking;
    void *device, *pinned;
};

static void make(struct objects *objects)
{
    test_ok(xpurt_stream_create(&objects->stream));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &objects->done));
    test_ok(xpurt_event_create(0, &objects->pending));
    test_ok(xpurt_event_create(XPURT_EVENT_BLOCKING, &objects->blocking));
    test_ok(xpurt_malloc(&objects->device, 4096));
    test_ok(xpurt_host_malloc(&objects->pinned, 4096));
    test_ok(xpurt_event_record(objects->done, objects->stream));
    test_ok(xpurt_event_synchronize(objects->done));
    test_ok(xpurt_memset_async(objects->device, 1, 4096, objects->stream));
    test_ok(xpurt_event_record(objects->pending, objects->stream));
    test_ok(xpurt_event_record(objects->blocking, objects->stream));
}

static void *await_pending(void *arg)
{
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_synchronize(((struct objects *)arg)->pending));
    return NULL;
}

static void *await_blocking(void *arg)
{
    test_expect(XPURT_ERROR_DAEMON_LOST,
                xpurt_event_synchronize(((struct objects *)arg)->blocking));
    return NULL;
}

static void *await_stream(void *arg)
{
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(((struct objects *)arg)->stream));
    return NULL;
}

static void *poll_pending(void *arg)
{
    xpurt_result r;

    while ((r = xpurt_event_query(((struct objects *)arg)->pending)) == XPURT_NOT_READY)
        ;
    test_expect(XPURT_ERROR_DAEMON_LOST, r);
    return NULL;
}

Test(failures, daemon_killed_while_all_wait)
{
    static void *(*const waits[])(void *) = { await_pending, await_blocking, await_stream,
                                              poll_pending };
    struct objects objects;
    pthread_t threads[4];
    xpurt_stream *stream;
    int device;

    make(&objects);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, waits[i], &objects), 0);
    test_daemon_kill(&xpurtd);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    test_ok(xpurt_event_query(objects.done));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_query(objects.pending));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_init());
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_create(&stream));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_event_record(objects.done, objects.stream));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_free(objects.device));
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_device_synchronize(0));
    test_ok(xpurt_stream_get_device(objects.stream, &device));
    cr_assert(xpurt_last_error()[0]);
    cr_assert_eq(xpurt_device_count(), 0);
    test_ok(xpurt_event_destroy(objects.pending));
    test_ok(xpurt_stream_destroy(objects.stream));
    test_daemon_start_again(&xpurtd, NULL);
}

Test(failures, reset_and_a_new_daemon)
{
    xpurt_event_handle handle;
    struct objects objects;
    xpurt_event *event;

    make(&objects);
    test_ok(xpurt_event_get_ipc_handle(objects.done, &handle));
    test_daemon_kill(&xpurtd);
    test_daemon_start_again(&xpurtd, NULL);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_stream_synchronize(objects.stream));
    test_ok(xpurt_reset());
    cr_assert_not(xpurt_is_initialized());

    test_expect(XPURT_ERROR_STALE_HANDLE, xpurt_event_open_ipc_handle(&handle, &event));
    cr_assert(xpurt_is_initialized());
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_query(objects.done));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_synchronize(objects.pending));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_stream_query(objects.stream));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_free(objects.device));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_host_free(objects.pinned));
    test_ok(xpurt_event_destroy(objects.done));
    test_ok(xpurt_event_destroy(objects.pending));
    test_ok(xpurt_event_destroy(objects.blocking));
    test_ok(xpurt_stream_destroy(objects.stream));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_event_destroy(objects.done));

    make(&objects);
    test_ok(xpurt_stream_synchronize(objects.stream));
    test_ok(xpurt_event_query(objects.pending));
}

Test(failures, reset_without_a_failure)
{
    struct objects objects;

    for (int i = 0; i < 20; i++) {
        make(&objects);
        test_ok(xpurt_batch_begin());
        test_ok(xpurt_reset());
        test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_batch_end());
        test_ok(xpurt_event_destroy(objects.done));
        test_ok(xpurt_stream_destroy(objects.stream));
    }
    test_gate_open(&xpurtd);
    test_daemon_await_counter("sessions", 1);
}

static void dies_while_holding(int channel, void *data)
{
    struct objects objects;
    xpurt_event *event;
    xpurt_event_handle handle;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    make(&objects);
    test_ok(xpurt_event_record(event, objects.stream));
    test_pass(channel);
    test_await(channel);
}

/* Own event, recorded by another process that is killed. */
Test(failures, recorder_of_an_own_event_dies)
{
    xpurt_event_handle handle;
    struct test_peer peer;
    xpurt_event *event;
    xpurt_stream *stream;

    test_peer_start(&peer, dies_while_holding, NULL);
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    test_await(peer.channel);
    test_expect(XPURT_NOT_READY, xpurt_event_query(event));
    test_peer_kill(&peer);
    test_expect(XPURT_ERROR_PEER_LOST, xpurt_event_synchronize(event));

    /* The event is good for another record. */
    test_gate_open(&xpurtd);
    test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(event));
    test_ok(xpurt_event_destroy(event));
    test_daemon_await_counter("sessions", 1);
}

/* A stream that fails tells why; the next one on its timeline is fine. */
/* ---- no descriptors ------------------------------------------------------------------------------ */

/* Whatever brings one fails with a sentence; all else goes on. */
static void without_descriptors(xpurt_stream *stream, xpurt_event *event, void *memory)
{
    xpurt_event_handle handle;
    xpurt_event *opened = NULL;
    void *pinned = NULL;
    int fd = -1;

    test_expect(XPURT_ERROR_SYSTEM, xpurt_host_malloc(&pinned, 4096));
    test_require(strstr(xpurt_last_error(), "descriptor"), "%s", xpurt_last_error());
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_expect(XPURT_ERROR_SYSTEM, xpurt_event_open_ipc_handle(&handle, &opened));
    test_require(strstr(xpurt_last_error(), "descriptor"), "%s", xpurt_last_error());
    test_require(!pinned && !opened, "something came of it");
    test_ok(xpurt_memset_async(memory, 1, 4096, stream));
    test_ok(xpurt_event_record(event, stream));
    test_expect(XPURT_ERROR_SYSTEM, xpurt_event_get_fd(event, &fd));
    /* Enough for a client to ask for rings. */
    for (int i = 0; i < 1000; i++)
        test_ok(xpurt_event_record(event, stream));
}

static void run_out(int channel, void *data)
{
    struct rlimit before, few;
    xpurt_event_handle handle;
    xpurt_stream *stream;
    xpurt_event *event, *opened;
    void *memory, *pinned;

    (void)channel;
    (void)data;
    test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_require(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit");
    few = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
    test_require(setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
    without_descriptors(stream, event, memory);
    test_require(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit");

    test_ok(xpurt_host_malloc(&pinned, 4096));
    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &opened));
    for (int i = 0; i < 1000; i++)
        test_ok(xpurt_event_record(event, stream));
    test_ok(xpurt_event_synchronize(opened));
    test_ok(xpurt_stream_synchronize(stream));
}

Test(failures, no_descriptors_left)
{
    struct test_peer peer;

    test_gate_open(&xpurtd);
    test_peer_start(&peer, run_out, NULL);
    test_peer_join(&peer);
    test_daemon_await_counter("user-segments", 0);
}

/* ---- streams ------------------------------------------------------------------------------------- */

Test(failures, a_failed_stream_does_not_spoil_the_next)
{
    enum { MOST = 512 };
    static xpurt_stream *streams[MOST];
    xpurt_event *event;
    void *memory;

    test_daemon_kill(&xpurtd);
    setenv("ZE_SOFT_FAULT", "call:zeCommandListAppendMemoryFill:/1:UNSUPPORTED_FEATURE", 1);
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_event_create(0, &event));
    test_ok(xpurt_malloc(&memory, 64));

    for (int i = 0; i < MOST; i++) {
        test_ok(xpurt_stream_create(&streams[i]));
        if (i % 2) {
            test_ok(xpurt_memset_async(memory, 1, 64, streams[i]));
            test_ok(xpurt_event_record(event, streams[i]));
        }
    }
    for (int i = 0; i < MOST; i++) {
        test_expect(i % 2 ? XPURT_ERROR_DRIVER : XPURT_SUCCESS,
                    xpurt_stream_synchronize(streams[i]));
        cr_assert(i % 2 == 0 || strstr(xpurt_last_error(), "zeCommandListAppendMemoryFill"), "%s",
                  xpurt_last_error());
    }
    test_expect(XPURT_ERROR_DRIVER, xpurt_event_synchronize(event));
    test_expect(XPURT_ERROR_DRIVER, xpurt_stream_wait_event(streams[0], event));
    test_expect(XPURT_ERROR_DRIVER, xpurt_device_synchronize(0));
    test_ok(xpurt_device_synchronize(1));
    for (int i = 0; i < MOST; i++)
        test_ok(xpurt_stream_destroy(streams[i]));

    for (int i = 0; i < 2 * MOST; i++) {
        test_ok(xpurt_stream_create(&streams[0]));
        test_ok(xpurt_stream_query(streams[0]));
        test_ok(xpurt_event_record(event, streams[0]));
        test_ok(xpurt_stream_synchronize(streams[0]));
        test_ok(xpurt_event_query(event));
        test_ok(xpurt_stream_destroy(streams[0]));
    }
}
