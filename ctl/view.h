/* SPDX-License-Identifier: MIT */
/* ctl/view.h: all that is to be told, read before anything is printed. */
#pragma once

#include <xpurt/xpurt.h>

#define VIEW_COUNTERS_MAX 128

struct view_device {
    xpurt_device_properties properties;
    xpurt_device_capability capability;
    xpurt_ipc_support ipc;
    uint64_t memory_free, memory_total; /* bytes */
    uint64_t peers;                     /* bit d: may access the memory of device d; not itself */
};

struct view {
    xpurt_daemon_info daemon;
    int priority_least, priority_greatest;
    size_t n_counters;
    xpurt_counter counters[VIEW_COUNTERS_MAX];
    int n_devices;
    struct view_device devices[XPURT_DEVICES_MAX];
};

/* XPURT_SUCCESS, or the first error: xpurt_last_error() explains it. */
xpurt_result view_read(struct view *ret_view);
