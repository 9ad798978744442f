/* SPDX-License-Identifier: MIT */
/* client/device.h: what the library knows about devices. */
#pragma once

#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#include <stdbool.h>

struct xpurtp_identity;

/* Take over the devices of a Welcome. 0 or -errno. The lock is held. */
int devices_begin(const Xpurt__Welcome *welcome);

/* As session_enter(), where @p device exists. */
xpurt_result device_enter(int device);

/* What driver and devices the daemon has. The lock is held. */
void device_identity(struct xpurtp_identity *ret_identity);

/* This session has a stream or memory on @p device. The lock is held. */
void device_use(uint32_t device);

/* Bytes of local memory for each group on a device that exists. The lock is held. */
uint64_t device_local_memory(uint32_t device);

/* Whether the memory of a device that exists is the host's, and may be mapped. The lock is held. */
bool device_shares_memory(uint32_t device);

/* Make @p device current again, whatever happened to the connection meanwhile. */
void device_restore(int device);

/* @p device, or the thread's current one when that is negative. */
int device_choose(int device);
