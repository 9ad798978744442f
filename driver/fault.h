/* SPDX-License-Identifier: MIT */
/* fault.h: failures on request (ZE_SOFT_FAULT, see README.md). */
#ifndef SOFT_FAULT_H
#define SOFT_FAULT_H

#include <level_zero/ze_api.h>
#include <stdbool.h>
#include <stdint.h>

extern bool fault_armed; /* something is configured; else nothing here is ever called */

void fault_configure(const char *text);
ze_result_t fault_call(const char *function);
/* Around each command. False: the device is going away and runs nothing more; it is lost, for
 * everybody to see, when the last command that was running is done. */
bool fault_command_begin(ze_device_handle_t device, const char *operation);
void fault_command_end(ze_device_handle_t device);
uint64_t fault_memory_limit(void);      /* bytes; 0: none */

#endif
