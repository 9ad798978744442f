/* SPDX-License-Identifier: MIT */
/* tests/support/peer.h: other processes of a test, and checks that work in all of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* End the process with status 1 and a message when @p condition is false. */
#define test_require(condition, ...) \
    do { \
        if (!(condition)) \
            test_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

/* The same for calls of libxpurt. */
#define test_expect(result, call) \
    do { \
        xpurt_result expected_ = (result), got_ = (call); \
        test_require(got_ == expected_, "%s instead of %s: %s", xpurt_result_name(got_), \
                     xpurt_result_name(expected_), xpurt_last_error()); \
    } while (0)

#define test_ok(call) test_expect(XPURT_SUCCESS, call)

void test_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));

/* A child process and a channel to it. */
struct test_peer {
    pid_t pid;
    int channel;
};

/* Run @p body in a child, with the other end of the channel; it leaves with 0 when @p body
 * returns. Start it before the parent connects if it shall be a stranger, later if it shall
 * inherit. */
void test_peer_start(struct test_peer *peer, void (*body)(int channel, void *data), void *data);

/* Whole messages, either direction; bounded. End the process when the other side is gone. */
void test_send(int channel, const void *bytes, size_t size);
void test_receive(int channel, void *bytes, size_t size);

/* Take turns: tell the other side to go on; wait until it says so. */
void test_pass(int channel);
void test_await(int channel);

void test_peer_kill(struct test_peer *peer);

/* Wait until it is done; ends this process when the peer failed. */
void test_peer_join(struct test_peer *peer);
