/* SPDX-License-Identifier: MIT */
/* client/memory.h: device memory as the magazine uses it. The lock is held. */
#pragma once

#include <stdint.h>

/* @p stream: 1 + that in whose order the memory is freed; 0: none. */
void memory_free_send(uint64_t address, uint32_t stream);
