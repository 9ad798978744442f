/* SPDX-License-Identifier: MIT */
/* tests/stress/cause.c: no effect is seen before its cause.
 *
 * A chain of streams, each waits for the one before. Whoever sees the last event complete must see
 * all the earlier ones complete, at once and without waiting.
 *
 *      cause [ROUNDS]
 */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <stdlib.h>

#define CHAIN 5
#define SIZE (128u << 10)               /* copied by the device's threads, not by the daemon */

static void check(xpurt_stream **streams, xpurt_event **events, void *to, void *from)
{
    xpurt_result result;

    for (int i = 0; i < CHAIN; i++) {
        if (i)
            test_ok(xpurt_stream_wait_event(streams[i], events[i - 1]));
        else
            test_ok(xpurt_memcpy_async(to, from, SIZE, streams[i]));
        test_ok(xpurt_event_record(events[i], streams[i]));
    }
    while ((result = xpurt_event_query(events[CHAIN - 1])) == XPURT_NOT_READY)
        ;
    test_ok(result);
    for (int i = CHAIN - 2; i >= 0; i--)
        test_require(xpurt_event_query(events[i]) == XPURT_SUCCESS,
                     "stream %d is done, and stream %d, which it waited for, is not", CHAIN - 1, i);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 3000;
    xpurt_stream *streams[CHAIN];
    xpurt_event *events[CHAIN];
    struct test_daemon daemon;
    void *to, *from;

    test_daemon_start(&daemon, NULL);
    test_ok(xpurt_malloc(&to, SIZE));
    test_ok(xpurt_host_malloc(&from, SIZE));
    for (int i = 0; i < CHAIN; i++) {
        test_ok(xpurt_stream_create(&streams[i]));
        test_ok(xpurt_event_create(0, &events[i]));
    }
    while (rounds-- > 0)
        check(streams, events, to, from);
    test_ok(xpurt_reset());
    return test_daemon_stop(&daemon) ? 1 : 0;
}
