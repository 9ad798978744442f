/* SPDX-License-Identifier: MIT */
/* daemon/report.h: what there is to say about device memory. */
#pragma once

#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

struct session;

void memory_info(struct session *session, uint32_t serial, const Xpurt__MemoryInfo *request);
void memory_stats(struct session *session, uint32_t serial, const Xpurt__MemoryStats *request);
void memory_snapshot(struct session *session, uint32_t serial,
                     const Xpurt__MemorySnapshot *request);

/* The answer to a request for memory that cannot be had: who has it. */
void memory_refuse(struct session *session, uint32_t serial, uint32_t device, uint64_t size,
                   xpurt_result result, const char *reason);
