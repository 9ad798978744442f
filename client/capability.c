/* SPDX-License-Identifier: MIT */
/* client/capability.c: what kernels can be compiled for, and how things are shared.
 *
 * Guarantees of this file: all is concluded from the properties that the daemon sent; nothing is
 * claimed that they do not say.
 */
#include "client/device.h"
#include "client/result.h"

#include <xpurt/device.h>

#include <stdio.h>
#include <string.h>

#define VENDOR_INTEL 0x8086u

/* Intel's architectures by the high byte of the PCI device id. */
static const struct {
    uint8_t high;
    const char *architecture;
} families[] = {
    { 0x0b, "xe-hpc" },                 /* Data Center GPU Max */
    { 0x46, "xe-lp" },                  /* Alder Lake */
    { 0x49, "xe-lp" },                  /* DG1 */
    { 0x4c, "xe-lp" },                  /* Rocket Lake */
    { 0x4f, "xe-hpg" },                 /* Arc A, early */
    { 0x56, "xe-hpg" },                 /* Arc A, Data Center GPU Flex */
    { 0x64, "xe2-lpg" },                /* Lunar Lake */
    { 0x7d, "xe-lpg" },                 /* Meteor Lake, Arrow Lake */
    { 0x9a, "xe-lp" },                  /* Tiger Lake */
    { 0xa7, "xe-lp" },                  /* Raptor Lake */
    { 0xb0, "xe3-lpg" },                /* Panther Lake */
    { 0xe2, "xe2-hpg" },                /* Arc B */
};

static const char *architecture(const xpurt_device_properties *properties)
{
    if (properties->software)
        return "software";
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (properties->vendor_id == VENDOR_INTEL && families[i].high == properties->device_id >> 8)
            return families[i].architecture;
    return "unknown";
}

xpurt_result xpurt_device_get_capability(int device, xpurt_device_capability *ret_capability)
{
    xpurt_device_capability *to = ret_capability;
    xpurt_device_properties from;
    xpurt_result r;

    if (!to)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the capability");

    r = xpurt_device_get_properties(device, &from);
    if (r)
        return r;
    memset(to, 0, sizeof(*to));
    snprintf(to->architecture, sizeof(to->architecture), "%s", architecture(&from));
    to->data_types = XPURT_INT8 | XPURT_INT16 | XPURT_INT32 | XPURT_INT64 | XPURT_FLOAT32;
    to->data_types |= from.fp16 ? XPURT_FLOAT16 : 0;
    to->data_types |= from.fp64 ? XPURT_FLOAT64 : 0;
    to->atomic64 = from.atomic64;
    to->sub_group_size_count = from.sub_group_size_count;
    memcpy(to->sub_group_sizes, from.sub_group_sizes, sizeof(to->sub_group_sizes));
    return XPURT_SUCCESS;
}

xpurt_result xpurt_device_get_ipc_support(int device, xpurt_ipc_support *ret_support)
{
    xpurt_device_properties properties;
    xpurt_result r;

    if (!ret_support)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the answer");

    r = xpurt_device_get_properties(device, &properties);
    if (r)
        return r;
    *ret_support = (xpurt_ipc_support){
        .events = XPURT_IPC_BOARD,
        .memory = XPURT_IPC_DAEMON,
        .native_events = properties.ipc_events ? XPURT_IPC_LEVEL_ZERO : XPURT_IPC_NONE,
        .native_memory = properties.ipc_memory ? XPURT_IPC_LEVEL_ZERO : XPURT_IPC_NONE,
    };
    return XPURT_SUCCESS;
}
