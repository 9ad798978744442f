/* SPDX-License-Identifier: MIT */
/* ddi.h: how a file publishes its entry points.
 *
 * Each noun has a table: one line per slot of the loader's table, with the API version (1.x) that
 * brought the slot. The loader's table has the loader's size, so only slots of its version are
 * written. Slots are named by member where Level Zero 1.4 knows it, else by number.
 */
#ifndef SOFT_DDI_H
#define SOFT_DDI_H

#include "soft.h"

#include <level_zero/ze_ddi.h>

typedef void (*ddi_function)(void);

struct ddi_entry {
    ddi_function function;
    const char *name; /* what zeDriverGetExtensionFunctionAddress finds; or NULL */
    uint32_t minor;   /* since API 1.minor */
};

struct ddi_table {
    size_t count;
    const struct ddi_entry *entries;
};

#define DDI_TABLE(...) \
    { \
        sizeof((const struct ddi_entry[]){ __VA_ARGS__ }) / sizeof(struct ddi_entry), \
            (const struct ddi_entry[]) \
        { \
            __VA_ARGS__ \
        } \
    }
/* Does not compile when the function has not exactly the type of the member. */
#define DDI(table, member, since, entry) \
    [offsetof(table, member) / sizeof(void *)] = { \
        (ddi_function) _Generic(&(entry), __typeof__(((table *)0)->member): &(entry)), NULL, since \
    }
#define DDI_NEWER(public_name, slot, since, entry) \
    [slot] = { (ddi_function)(entry), public_name, since }

/* For what the device cannot do: any arguments, always UNSUPPORTED_FEATURE. */
ze_result_t ddi_unsupported(void);
#define DDI_UNSUPPORTED(slot, since) [slot] = { (ddi_function)ddi_unsupported, NULL, since }

extern const struct ddi_table global_table, driver_table, device_table, device_exp_table,
    context_table, command_queue_table, command_list_table, command_list_exp_table, fence_table,
    event_pool_table, event_table, event_exp_table, mem_table, physical_mem_table,
    virtual_mem_table, module_table, module_build_log_table, kernel_table, kernel_exp_table,
    image_table, image_exp_table, sampler_table, fabric_vertex_exp_table, fabric_edge_exp_table,
    extension_table;

ddi_function ddi_find(const char *name);

#endif
