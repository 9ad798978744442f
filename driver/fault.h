/* SPDX-License-Identifier: MIT */
/* fault.h: failures on request (ZE_SOFT_FAULT, see README.md). */
#ifndef SOFT_FAULT_H
#define SOFT_FAULT_H

#include <level_zero/ze_api.h>
#include <stdbool.h>
#include <stdint.h>

extern bool fault_armed;      /* something is configured; else nothing here is ever called */

void fault_configure(const char *text);
ze_result_t fault_call(const char *function);
void fault_command(ze_device_handle_t device, const char *operation);
uint64_t fault_memory_limit(void);   /* bytes; 0: none */

#endif
