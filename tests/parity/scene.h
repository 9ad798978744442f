/* SPDX-License-Identifier: MIT */
/* tests/parity/scene.h: what the tests of parity rows begin with: software devices, and fills
 * (occupy) that are not done before the gate is open.
 *
 * Each test runs over two devices, and once more over one (ZE_SOFT_DEVICES=1): then the last device
 * is the first, too. What is about two devices asks how many there are. */
#pragma once

#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#define DEVICES_MAX 2

extern struct test_daemon xpurtd;
extern int n_devices, last_device;      /* since scene_start() */

void scene_start(void);
void scene_stop(void);

/* For those who start a daemon of their own. */
void scene_count_devices(void);

/* @p device: negative: the current one. */
xpurt_stream *stream_on(int device);
xpurt_event *event_with(unsigned flags);
unsigned char *memory_on(int device, size_t size);

/* Work that is not done before the gate is open. */
void occupy(xpurt_stream *stream);

/* Whether the stream is done with what it was given. */
bool stream_done(xpurt_stream *stream);

uint64_t stream_id_of(xpurt_stream *stream);
xpurt_stream *current_on(int device);
xpurt_stream *default_on(int device);
xpurt_stream *pooled_on(int device, int priority);

/* Hand an event to another process, and take one. */
void event_send(int channel, xpurt_event *event);
xpurt_event *event_receive(int channel);

/* Descriptors and threads of a process, now, and until they are as many as before. */
struct footprint {
    unsigned descriptors, threads;
};

struct footprint footprint_of(pid_t pid);
void footprint_check(pid_t pid, struct footprint before);

/* Whether the last error of the thread mentions @p text. */
bool said(const char *text);
