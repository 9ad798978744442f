/* SPDX-License-Identifier: MIT */
/* daemon/gpu_internal.h: shared by the gpu*.c files, by nobody else. */
#pragma once

#include "daemon/gpu.h"

#include <inttypes.h>
#include <level_zero/ze_api.h>
#include <pthread.h>
#include <stdatomic.h>

/* The device's counter has few bits and wraps; continued to 64 bits here. */
struct gpu_clock {
    pthread_mutex_t lock;               /* loop and reaper both read stamps */
    uint64_t ticks_per_second;
    unsigned bits;
    uint64_t last;                      /* ticks, continued */
};

struct gpu_device {
    ze_device_handle_t handle;
    xpurt_device_properties properties;
    struct gpu_launch_limits launch_limits;
    uint64_t peers;
    uint32_t ordinal;                   /* of the queue group used */
    uint32_t queues;                    /* in that group */
    uint32_t next_queue;
    struct gpu_clock clock;
    _Atomic uint64_t held;              /* bytes allocated */
};

struct gpu {
    enum device_choice choice;
    ze_driver_handle_t driver;
    bool in_order;                         /* loader and driver know in-order lists */
    uint8_t uuid[ZE_MAX_DRIVER_UUID_SIZE]; /* of the driver */
    uint32_t number;                       /* its version, as it gives it */
    unsigned n_devices;
    struct gpu_device devices[GPU_DEVICES_MAX];
};

struct gpu_context {
    struct gpu *gpu;                    /* borrowed: outlives us */
    ze_context_handle_t handle;
    struct gpu_slot *free_slots;
    struct slot_pool *pools;
    _Atomic bool keep;                  /* memory is in it that nobody else must get */
};

/* An event that a list signals and others look at. */
struct gpu_slot {
    struct resource resource;
    struct gpu_context *context;        /* borrowed: outlives us */
    ze_event_handle_t event;
    uint64_t *ticks;                    /* written by the device; borrowed from the pool. NULL: of
                                           a shared pool, the event knows itself */
    struct gpu_slot *next_free;
};

struct gpu_kernel {
    ze_kernel_handle_t handle;
    struct gpu_kernel_properties properties;
};

xpurt_result gpu_check(const char *call, ze_result_t result);
void gpu_slots_free(struct gpu_context *context);
