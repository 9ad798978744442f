/* SPDX-License-Identifier: MIT */
/* client/device.c: devices and the thread's current one.
 *
 * Guarantees of this file: everything but free memory is answered without asking the daemon, from
 * what it said at the start; a thread's current device is its own, and is never one that did not
 * exist when it was chosen; a device counts as used until the session ends.
 */
#include "client/device.h"

#include "client/private.h"
#include "client/result.h"
#include "client/session.h"

#include <xpurt/device.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct device {
    xpurt_device_properties properties;
    uint64_t peers;
    bool used;
};

static struct device *devices;
static uint32_t n_devices;
static unsigned char (*uuids)[16];      /* of all devices, in order */
static unsigned char driver_uuid[16];
static uint32_t driver_number;
static _Thread_local int current;

static void text_copy(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);

    memcpy(to, from, length);
    to[length] = '\0';
}

static void device_read(struct device *device, const Xpurt__Device *message)
{
    xpurt_device_properties *to = &device->properties;

    text_copy(to->name, sizeof(to->name), message->name);
    text_copy(to->driver_version, sizeof(to->driver_version), message->driver_version);
    if (message->uuid.len == sizeof(to->uuid))
        memcpy(to->uuid, message->uuid.data, sizeof(to->uuid));
    to->vendor_id = message->vendor_id;
    to->device_id = message->device_id;
    to->total_memory = message->total_memory;
    to->max_allocation = message->max_allocation;
    to->local_memory = message->local_memory;
    to->compute_units = message->compute_units;
    to->max_group_size = message->max_group_size;
    to->clock_mhz = message->clock_mhz;
    for (size_t i = 0; i < message->n_sub_group_sizes && i < 8; i++)
        to->sub_group_sizes[to->sub_group_size_count++] = message->sub_group_sizes[i];
    to->integrated = (uint32_t)message->integrated;
    to->software = (uint32_t)message->software;
    to->fp16 = (uint32_t)message->fp16;
    to->fp64 = (uint32_t)message->fp64;
    to->atomic64 = (uint32_t)message->atomic64;
    to->ipc_events = (uint32_t)message->ipc_events;
    to->ipc_memory = (uint32_t)message->ipc_memory;
    device->peers = message->peers;
}

int devices_begin(const Xpurt__Welcome *welcome)
{
    struct device *list;
    unsigned char(*ids)[16];

    if (welcome->n_devices > XPURT_DEVICES_MAX)
        return -EPROTO;
    list = calloc(welcome->n_devices + 1, sizeof(*list));
    ids = calloc(welcome->n_devices + 1, sizeof(*ids));
    if (!list || !ids) {
        free(list);
        free(ids);
        return -ENOMEM;
    }
    for (size_t i = 0; i < welcome->n_devices; i++) {
        device_read(&list[i], welcome->devices[i]);
        memcpy(ids[i], list[i].properties.uuid, sizeof(ids[i]));
    }
    if (welcome->n_devices && welcome->devices[0]->driver_uuid.len == sizeof(driver_uuid)) {
        memcpy(driver_uuid, welcome->devices[0]->driver_uuid.data, sizeof(driver_uuid));
        driver_number = welcome->devices[0]->driver_number;
    }

    free(devices);
    free(uuids);
    uuids = ids;
    devices = list;
    n_devices = (uint32_t)welcome->n_devices;
    return 0;
}

void device_identity(struct xpurtp_identity *ret_identity)
{
    memcpy(ret_identity->driver_uuid, driver_uuid, sizeof(driver_uuid));
    ret_identity->driver_number = driver_number;
    ret_identity->device_count = (int)n_devices;
    ret_identity->device_uuids = uuids;
}

int device_choose(int device)
{
    return device < 0 ? current : device;
}

void device_use(uint32_t device)
{
    if (device < n_devices)
        devices[device].used = true;
}

void device_restore(int device)
{
    current = device;
}

static xpurt_result device_check(int device)
{
    if (device >= 0 && (uint32_t)device < n_devices)
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_DEVICE, "there is no device %d: xpurtd serves %u", device,
                     n_devices);
}

xpurt_result device_enter(int device)
{
    xpurt_result r;

    r = session_enter();
    if (r)
        return r;
    r = device_check(device);
    if (r)
        session_leave();
    return r;
}

int xpurt_device_count(void)
{
    int count;

    if (session_enter())
        return 0;
    count = (int)n_devices;
    session_leave();
    return count;
}

xpurt_result xpurt_set_device(int device)
{
    xpurt_result r;

    if (device < 0)
        return XPURT_SUCCESS;

    r = device_enter(device);
    if (r)
        return r;
    session_leave();
    current = device;
    return XPURT_SUCCESS;
}

int xpurt_get_device(void)
{
    return current;
}

int xpurt_exchange_device(int device)
{
    int previous = current;

    if (device < 0 || xpurt_set_device(device))
        return -1;
    return previous;
}

int xpurt_device_is_used(int device)
{
    int used;

    connection_lock();
    used = session.slot != SESSION_NO_SLOT && device >= 0 && (uint32_t)device < n_devices &&
           devices[device].used;
    connection_unlock();
    return used;
}

int xpurt_maybe_exchange_device(int device)
{
    if (device < 0)
        return -1;
    return xpurt_device_is_used(device) ? xpurt_exchange_device(device) : current;
}

int xpurt_is_available(void)
{
    return xpurt_device_count() > 0;
}

int xpurt_is_compiled(void)
{
    return 1;
}

uint64_t device_local_memory(uint32_t device)
{
    return devices[device].properties.local_memory;
}

bool device_shares_memory(uint32_t device)
{
    return device < n_devices && devices[device].properties.integrated &&
           devices[device].properties.ipc_memory;
}

xpurt_result xpurt_device_get_properties(int device, xpurt_device_properties *ret_properties)
{
    xpurt_result r;

    if (!ret_properties)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the properties");

    r = device_enter(device);
    if (r)
        return r;
    *ret_properties = devices[device].properties;
    session_leave();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_device_can_access_peer(int device, int peer, int *ret_access)
{
    xpurt_result r;

    if (!ret_access)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the answer");

    r = device_enter(device);
    if (r)
        return r;
    r = device_check(peer);
    if (r == XPURT_SUCCESS)
        *ret_access = device == peer ||
                      ((devices[device].peers >> peer & 1) && (devices[peer].peers >> device & 1));
    session_leave();
    return r;
}

xpurt_result xpurt_mem_get_info(int device, uint64_t *ret_free, uint64_t *ret_total)
{
    Xpurt__MemoryInfo info = XPURT__MEMORY_INFO__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_INFO), .memory_info = &info };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    if (!ret_free || !ret_total)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the amounts");

    r = device_enter(device);
    if (r)
        return r;
    info.device = (uint32_t)device;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MEMORY_AMOUNT, 0, &reply);
    session_leave();
    if (r)
        return r;

    *ret_free = reply.message->memory_amount->free;
    *ret_total = reply.message->memory_amount->total;
    reply_deinit(&reply);
    return XPURT_SUCCESS;
}
