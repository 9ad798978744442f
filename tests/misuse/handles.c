/* SPDX-License-Identifier: MIT */
/* Handles that were altered, replayed by those they are not for, or outlived what they name. Each is
 * refused with a sentence, and a bystander never notices. */
#include "tests/misuse/bystander.h"
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_daemon xpurtd;
static struct bystander bystander;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
    bystander_start(&bystander);
}

static void stop(void)
{
    bystander_stop(&bystander);
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(handles, .init = start, .fini = stop, .timeout = 300);
TestSuite(limits, .timeout = 300);
TestSuite(restarts, .timeout = 300);

/* The two kinds, as bytes. */
struct both {
    unsigned char event[XPURT_IPC_HANDLE_SIZE], memory[XPURT_IPC_HANDLE_SIZE];
};

static void export(struct both *ret_both)
{
    xpurt_event *event;
    void *memory;

    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_get_ipc_handle(event, (xpurt_event_handle *)ret_both->event));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_mem_get_ipc_handle(memory, (xpurt_mem_handle *)ret_both->memory));
}

static xpurt_result open_event(const unsigned char *bytes)
{
    xpurt_event *event = NULL;
    xpurt_result r = xpurt_event_open_ipc_handle((const xpurt_event_handle *)bytes, &event);

    test_require(!r == !!event, "%s, and the event is %p", xpurt_result_name(r), (void *)event);
    test_ok(xpurt_event_destroy(event));
    return r;
}

static xpurt_result open_memory(const unsigned char *bytes)
{
    void *memory = NULL;
    xpurt_result r = xpurt_mem_open_ipc_handle((const xpurt_mem_handle *)bytes, &memory);

    test_require(!r == !!memory, "%s, and the memory is %p", xpurt_result_name(r), memory);
    test_ok(xpurt_mem_close_ipc_handle(memory));
    return r;
}

/* Both are refused like this, and the sentence is about the handle. */
static void refused(xpurt_result result, const struct both *both)
{
    (void)xpurt_batch_end();            /* leaves a sentence of its own */
    test_expect(result, open_event(both->event));
    test_require(strstr(xpurt_last_error(), "handle"), "%s", xpurt_last_error());
    (void)xpurt_batch_end();
    test_expect(result, open_memory(both->memory));
    test_require(strstr(xpurt_last_error(), "handle"), "%s", xpurt_last_error());
}

static void opened(const struct both *both)
{
    test_ok(open_event(both->event));
    test_ok(open_memory(both->memory));
}

/* ---- altered ----------------------------------------------------------------------------------- */

static void refuse_altered(const unsigned char *bytes, xpurt_result (*open)(const unsigned char *))
{
    unsigned char altered[XPURT_IPC_HANDLE_SIZE];

    for (unsigned bit = 0; bit < 8 * XPURT_IPC_HANDLE_SIZE; bit++) {
        xpurt_result r;

        memcpy(altered, bytes, sizeof(altered));
        altered[bit / 8] ^= (unsigned char)(1u << bit % 8);
        (void)xpurt_batch_end();
        r = open(altered);
        test_require(r == XPURT_ERROR_INVALID_HANDLE || r == XPURT_ERROR_STALE_HANDLE, "bit %u: %s",
                     bit, xpurt_result_name(r));
        test_require(strstr(xpurt_last_error(), "handle"), "bit %u: %s", bit, xpurt_last_error());
    }
}

static void alter(int channel, void *data)
{
    struct both both;

    (void)data;
    test_receive(channel, &both, sizeof(both));
    refuse_altered(both.event, open_event);
    refuse_altered(both.memory, open_memory);
    test_expect(XPURT_ERROR_INVALID_HANDLE, open_event(both.memory));
    test_expect(XPURT_ERROR_INVALID_HANDLE, open_memory(both.event));
    opened(&both);                      /* it is as good as before */
}

Test(handles, altered_in_each_bit)
{
    struct test_peer peer;
    struct both both;

    test_peer_start(&peer, alter, NULL);
    export(&both);
    test_send(peer.channel, &both, sizeof(both));
    test_peer_join(&peer);
    refuse_altered(both.event, open_event); /* nor by its maker */
    refuse_altered(both.memory, open_memory);
    opened(&both);
}

/* ---- replayed by another user ------------------------------------------------------------------- */

static void become(const struct passwd *user)
{
    test_require(setgroups(0, NULL) == 0 && setgid(user->pw_gid) == 0 && setuid(user->pw_uid) == 0,
                 "cannot become %s: %s", user->pw_name, strerror(errno));
}

/* Refused, and refused again, whatever else it does in between. */
static void replay(int channel, void *data)
{
    struct both theirs, own;

    become(data);
    test_receive(channel, &theirs, sizeof(theirs));
    for (int i = 0; i < 200; i++)
        refused(XPURT_ERROR_PERMISSION, &theirs);
    refuse_altered(theirs.event, open_event);
    export(&own);
    opened(&own);
    refused(XPURT_ERROR_PERMISSION, &theirs);
    test_ok(xpurt_reset());             /* nor in a new session */
    refused(XPURT_ERROR_PERMISSION, &theirs);
    export(&own);
    test_send(channel, &own, sizeof(own));
    test_await(channel);
    opened(&own);                       /* that others were refused does not matter */
}

Test(handles, replayed_by_another_user)
{
    struct passwd *nobody = getpwnam("nobody");
    struct both both, theirs;
    struct test_peer thief;

    if (geteuid() != 0 || !nobody)
        cr_skip_test("only root can become another user");
    cr_assert_eq(chmod(xpurtd.dir, 0711), 0);
    cr_assert_eq(chmod(xpurtd.socket, 0666), 0);
    test_peer_start(&thief, replay, nobody);
    export(&both);
    test_send(thief.channel, &both, sizeof(both));
    test_receive(thief.channel, &theirs, sizeof(theirs));
    refused(XPURT_ERROR_PERMISSION, &theirs);
    opened(&both);
    test_pass(thief.channel);
    test_peer_join(&thief);
}

/* ---- by a process that was turned away ----------------------------------------------------------- */

static void come_too_late(int channel, void *data)
{
    struct both both;

    (void)data;
    test_receive(channel, &both, sizeof(both));
    for (int i = 0; i < 3; i++) {
        test_expect(XPURT_ERROR_QUOTA, open_event(both.event));
        test_require(strstr(xpurt_last_error(), "user-sessions"), "%s", xpurt_last_error());
        test_expect(XPURT_ERROR_QUOTA, open_memory(both.memory));
    }
    test_pass(channel);
    test_await(channel);                /* there is room now */
    opened(&both);
}

static void take_a_place(int channel, void *data)
{
    (void)data;
    test_ok(xpurt_init());
    test_pass(channel);
    test_await(channel);
}

Test(limits, by_a_process_that_was_turned_away)
{
    char ini[] = "/tmp/xpurt-test-ini-XXXXXX";
    const char *arguments[] = { "--config", ini, NULL };
    struct test_peer late, place;
    struct both both;
    int fd = mkstemp(ini);

    cr_assert_geq(fd, 0);
    dprintf(fd, "[limits]\nuser-sessions = 3\n");
    close(fd);
    test_daemon_start(&xpurtd, arguments);
    unlink(ini);
    bystander_start(&bystander);
    test_peer_start(&late, come_too_late, NULL);
    test_peer_start(&place, take_a_place, NULL);
    test_await(place.channel);
    export(&both);
    test_send(late.channel, &both, sizeof(both));
    test_await(late.channel);
    test_pass(place.channel);
    test_peer_join(&place);
    test_daemon_await_counter("sessions", 2);
    test_pass(late.channel);
    test_peer_join(&late);
    stop();
}

/* ---- outlived ----------------------------------------------------------------------------------- */

static void export_and_wait(int channel, void *data)
{
    struct both both;

    (void)data;
    export(&both);
    test_send(channel, &both, sizeof(both));
    test_await(channel);
}

Test(handles, after_the_exporter_died)
{
    struct test_peer exporter;
    struct both both;

    test_peer_start(&exporter, export_and_wait, NULL);
    test_receive(exporter.channel, &both, sizeof(both));
    opened(&both);
    test_peer_kill(&exporter);
    test_daemon_await_counter("sessions", 2);
    for (int i = 0; i < 3; i++)
        refused(XPURT_ERROR_STALE_HANDLE, &both);
    refuse_altered(both.event, open_event);
    refuse_altered(both.memory, open_memory);
}

Test(handles, after_what_they_name_was_destroyed)
{
    xpurt_event *event;
    struct both both;
    void *memory;

    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event));
    test_ok(xpurt_event_get_ipc_handle(event, (xpurt_event_handle *)both.event));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_mem_get_ipc_handle(memory, (xpurt_mem_handle *)both.memory));
    test_ok(xpurt_event_destroy(event));
    test_ok(xpurt_free(memory));
    refused(XPURT_ERROR_STALE_HANDLE, &both);
    export(&both);                      /* takes their places */
    opened(&both);
}

Test(restarts, after_the_daemon_was_restarted)
{
    struct test_peer exporter;
    struct both old, own;

    test_daemon_start(&xpurtd, NULL);
    test_peer_start(&exporter, export_and_wait, NULL);
    test_receive(exporter.channel, &old, sizeof(old));
    export(&own);
    test_daemon_kill(&xpurtd);
    test_daemon_start_again(&xpurtd, NULL);
    test_ok(xpurt_reset());
    bystander_start(&bystander);
    for (int i = 0; i < 3; i++) {
        refused(XPURT_ERROR_STALE_HANDLE, &old);
        refused(XPURT_ERROR_STALE_HANDLE, &own);
    }
    refuse_altered(old.event, open_event);
    refuse_altered(old.memory, open_memory);
    test_peer_kill(&exporter);
    refused(XPURT_ERROR_STALE_HANDLE, &old);
    export(&own);
    opened(&own);
    stop();
}
