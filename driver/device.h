/* SPDX-License-Identifier: MIT */
/* device.h: the driver object, its devices and contexts. */
#ifndef SOFT_DEVICE_H
#define SOFT_DEVICE_H

#include "soft.h"

#define DRIVER_VERSION 0x00010000u
#define DRIVER_API ZE_MAKE_VERSION(1, 15)

enum { GROUP_COMPUTE, GROUP_COPY, GROUP_COUNT };
#define GROUP_QUEUES 4u                 /* engines of a group: an index, not a thread */
#define FILL_PATTERN_MAX 128u           /* bytes; what a command can carry */

struct _ze_device_handle_t {
    uint32_t index;                     /* in the order of all soft devices, mask or not */
    _Atomic bool lost;
    _Atomic bool losing;                /* faults only: lost as soon as nothing is running */
    _Atomic uint32_t running;           /* faults only: commands */
    _Atomic uint64_t memory_used;       /* bytes of device and shared memory */
};

struct _ze_driver_handle_t {
    uint32_t device_count;
    struct _ze_device_handle_t devices[SOFT_MAX_DEVICES];
    uint64_t memory_total;              /* of each device */
    size_t memory_granule;
};

struct _ze_context_handle_t {
    ze_driver_handle_t driver;
    uint32_t device_mask;               /* bit i: driver->devices[i] */
};

extern struct _ze_driver_handle_t soft_driver;

bool context_has(ze_context_handle_t context, ze_device_handle_t device);
uint64_t clock_ticks(void);             /* the devices' clock: ns, cut to the valid bits */
uint32_t clock_bits(void);
uint32_t cpu_count(void);

ze_result_t device_get(ze_driver_handle_t driver, uint32_t *count, ze_device_handle_t *devices);
ze_result_t driver_init(ze_init_flags_t flags);

#endif
