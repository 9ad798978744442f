/* SPDX-License-Identifier: MIT */
/* ctl/describe.c: see describe.h. */
#include "ctl/describe.h"

#include <stdio.h>
#include <string.h>

#define NO_LIMIT UINT64_MAX
#define USER "user-"

/* ---- the daemon ---------------------------------------------------------------------------------- */

/* @p ret_text has room for 2 * size + 1. */
static void hex_string(const unsigned char *bytes, size_t size, char *ret_text)
{
    for (size_t i = 0; i < size; i++)
        sprintf(ret_text + 2 * i, "%02x", bytes[i]);
}

static void describe_daemon(struct page *page, const xpurt_daemon_info *info)
{
    char instance[2 * sizeof(info->instance) + 1], protocol[32];

    hex_string(info->instance, sizeof(info->instance), instance);
    snprintf(protocol, sizeof(protocol), "%u.%u", info->protocol_major, info->protocol_minor);
    page_section(page, "Daemon");
    page_text(page, "Version", info->version);
    page_text(page, "Instance", instance);
    page_text(page, "Socket", info->socket);
    page_text(page, "Protocol", protocol);
    page_number(page, "Session", info->session, NULL);
    page_leave(page);
}

static void describe_priorities(struct page *page, const struct view *view)
{
    page_section(page, "Stream priorities");
    page_signed(page, "Least", view->priority_least);
    page_signed(page, "Greatest", view->priority_greatest);
    page_leave(page);
}

/* ---- limits -------------------------------------------------------------------------------------- */

static const xpurt_counter *counter_find(const struct view *view, const char *name)
{
    for (size_t i = 0; i < view->n_counters; i++)
        if (strcmp(view->counters[i].name, name) == 0)
            return &view->counters[i];
    return NULL;
}

static void describe_amount(struct page *page, const char *label, uint64_t amount, bool bytes)
{
    if (amount == NO_LIMIT)
        page_none(page, label);
    else if (bytes)
        page_bytes(page, label, amount);
    else
        page_number(page, label, amount, NULL);
}

static bool is_bytes(const char *name)
{
    static const char *const ends[] = { "memory", "reserved", "bytes" };

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        const char *end = strstr(name, ends[i]);

        if (end && !end[strlen(ends[i])])
            return true;
    }
    return false;
}

/* Each counter "user-X" that has a "limit-user-X". */
static void describe_limits(struct page *page, const struct view *view)
{
    page_section(page, "Limits of this user");
    for (size_t i = 0; i < view->n_counters; i++) {
        const char *name = view->counters[i].name;
        char limit_name[sizeof(view->counters[i].name) + 8];
        const xpurt_counter *limit;
        bool bytes = is_bytes(name);

        snprintf(limit_name, sizeof(limit_name), "limit-%s", name);
        limit = counter_find(view, limit_name);
        if (!limit)
            continue;
        page_section(page, strncmp(name, USER, strlen(USER)) ? name : name + strlen(USER));
        describe_amount(page, "In use", view->counters[i].value, bytes);
        describe_amount(page, "Limit", limit->value, bytes);
        page_leave(page);
    }
    page_leave(page);
}

/* ---- devices ------------------------------------------------------------------------------------- */

static const char *mechanism(xpurt_ipc_mechanism which)
{
    switch (which) {
    case XPURT_IPC_NONE:
        return "none";
    case XPURT_IPC_BOARD:
        return "shared board";
    case XPURT_IPC_DAEMON:
        return "held by the daemon";
    case XPURT_IPC_LEVEL_ZERO:
        return "level zero handle";
    }
    return "unknown";
}

static void describe_data_types(struct page *page, uint32_t types)
{
    static const struct {
        uint32_t type;
        const char *label;
    } all[] = {
        { XPURT_INT8, "int8" },       { XPURT_INT16, "int16" },     { XPURT_INT32, "int32" },
        { XPURT_INT64, "int64" },     { XPURT_FLOAT16, "float16" }, { XPURT_FLOAT32, "float32" },
        { XPURT_FLOAT64, "float64" },
    };

    page_section(page, "Data types");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        page_flag(page, all[i].label, types & all[i].type);
    page_leave(page);
}

static void describe_memory(struct page *page, const struct view_device *device)
{
    page_section(page, "Memory");
    page_bytes(page, "Total", device->memory_total);
    page_bytes(page, "Free", device->memory_free);
    page_bytes(page, "Largest allocation", device->properties.max_allocation);
    page_bytes(page, "Local memory of a group", device->properties.local_memory);
    page_leave(page);
}

static void describe_compute(struct page *page, const struct view_device *device)
{
    const xpurt_device_properties *properties = &device->properties;

    page_section(page, "Compute");
    page_number(page, "Compute units", properties->compute_units, NULL);
    page_number(page, "Clock MHz", properties->clock_mhz, NULL);
    page_number(page, "Largest work group", properties->max_group_size, NULL);
    page_numbers(page, "Sub-group sizes", properties->sub_group_sizes,
                 properties->sub_group_size_count);
    page_flag(page, "Half precision", properties->fp16);
    page_flag(page, "Double precision", properties->fp64);
    page_flag(page, "64-bit atomics", properties->atomic64);
    describe_data_types(page, device->capability.data_types);
    page_leave(page);
}

static void describe_sharing(struct page *page, const struct view_device *device)
{
    page_section(page, "Sharing between processes");
    page_text(page, "Events", mechanism(device->ipc.events));
    page_text(page, "Memory", mechanism(device->ipc.memory));
    page_text(page, "Native events", mechanism(device->ipc.native_events));
    page_text(page, "Native memory", mechanism(device->ipc.native_memory));
    page_leave(page);
}

static void describe_peers(struct page *page, uint64_t peers)
{
    uint32_t list[XPURT_DEVICES_MAX];
    size_t count = 0;

    for (uint32_t peer = 0; peer < XPURT_DEVICES_MAX; peer++)
        if (peers >> peer & 1)
            list[count++] = peer;
    page_numbers(page, "Peers", list, count);
}

static void describe_device(struct page *page, const struct view *view, int index)
{
    const struct view_device *device = &view->devices[index];
    const xpurt_device_properties *properties = &device->properties;
    char title[32], uuid[2 * sizeof(properties->uuid) + 1];

    snprintf(title, sizeof(title), "Device %d", index);
    hex_string(properties->uuid, sizeof(properties->uuid), uuid);
    page_item(page, title);
    page_number(page, "Index", (uint64_t)index, NULL);
    page_text(page, "Name", properties->name);
    page_text(page, "Kind",
              properties->software   ? "software" :
              properties->integrated ? "integrated" :
                                       "discrete");
    page_text(page, "Architecture", device->capability.architecture);
    page_hex(page, "Vendor", properties->vendor_id);
    page_hex(page, "PCI device", properties->device_id);
    page_text(page, "UUID", uuid);
    page_text(page, "Driver version", properties->driver_version);
    describe_memory(page, device);
    describe_compute(page, device);
    describe_peers(page, device->peers);
    describe_sharing(page, device);
    page_leave(page);
}

void describe(struct page *page, const struct view *view, int device)
{
    if (device == DESCRIBE_ALL) {
        page_text(page, "Library version", xpurt_version());
        describe_daemon(page, &view->daemon);
        describe_priorities(page, view);
        describe_limits(page, view);
        page_number(page, "Device count", (uint64_t)view->n_devices, NULL);
    }
    page_list(page, "Devices");
    for (int i = 0; i < view->n_devices; i++)
        if (device == DESCRIBE_ALL || device == i)
            describe_device(page, view, i);
}
