/* SPDX-License-Identifier: MIT */
/* client/statistics.h: what this process has allocated and freed. The lock is held. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* @p hit: without the daemon. */
void statistics_allocated(uint32_t device, uint64_t rounded, uint64_t requested, bool hit);

/* @p swapped: without the daemon; else it says when it has finished. */
void statistics_freed(uint32_t device, uint64_t rounded, uint64_t requested, bool swapped);

/* Whether the process may have @p rounded bytes more. */
bool statistics_allow(uint32_t device, uint64_t rounded);

void statistics_end(void);
