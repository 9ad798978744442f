/* SPDX-License-Identifier: MIT */
/* client/ze/context.c: opening the daemon's pools in contexts of the caller.
 *
 * Guarantees of this file:
 *   - a pool is opened once in a context, whatever asks for it, and closed with the context at the
 *     latest;
 *   - nothing is opened where driver or devices differ from the daemon's;
 *   - the driver gets a descriptor of its own, whose number differs from the exporter's: it would
 *     take an equal one for its own file.
 */
#include "client/ze/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES_MAX 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct context *contexts;        /* hash by handle */

void context_lock(void)
{
    pthread_mutex_lock(&lock);
}

void context_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

xpurt_result ze_error(const char *call, ze_result_t result)
{
    if (result == ZE_RESULT_SUCCESS)
        return XPURT_SUCCESS;
    return xpurtp_error(result == ZE_RESULT_ERROR_DEVICE_LOST ? XPURT_ERROR_DEVICE_LOST :
                                                                XPURT_ERROR_DRIVER,
                        "%s failed in this process's GPU driver with 0x%x", call, (unsigned)result);
}

/* ---- the same driver, the same devices ------------------------------------------------------------ */

static xpurt_result driver_check(ze_driver_handle_t driver, const struct xpurtp_identity *identity)
{
    ze_driver_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES };
    xpurt_result r = ze_error("zeDriverGetProperties", zeDriverGetProperties(driver, &properties));

    if (r)
        return r;
    if (memcmp(properties.uuid.id, identity->driver_uuid, sizeof(identity->driver_uuid)) ||
        properties.driverVersion != identity->driver_number)
        return xpurtp_error(
            XPURT_ERROR_INVALID_DEVICE,
            "the driver of this process is version 0x%x, that of xpurtd version 0x%x: "
            "handles go between equal builds only",
            (unsigned)properties.driverVersion, (unsigned)identity->driver_number);
    return XPURT_SUCCESS;
}

static bool device_uuid(ze_device_handle_t device, unsigned char ret_uuid[16])
{
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };

    if (zeDeviceGetProperties(device, &properties) != ZE_RESULT_SUCCESS)
        return false;
    memcpy(ret_uuid, properties.uuid.id, 16);
    return true;
}

static xpurt_result devices_check(ze_driver_handle_t driver, const struct xpurtp_identity *identity)
{
    ze_device_handle_t devices[DEVICES_MAX];
    uint32_t n = DEVICES_MAX;
    xpurt_result r = ze_error("zeDeviceGet", zeDeviceGet(driver, &n, devices));
    unsigned char uuid[16];

    if (r)
        return r;
    if ((int)n != identity->device_count)
        return xpurtp_error(
            XPURT_ERROR_INVALID_DEVICE,
            "this process sees %u devices, xpurtd %d: handles need the same ones in "
            "the same order",
            n, identity->device_count);
    for (uint32_t i = 0; i < n; i++)
        if (!device_uuid(devices[i], uuid) || memcmp(uuid, identity->device_uuids[i], 16))
            return xpurtp_error(XPURT_ERROR_INVALID_DEVICE,
                                "device %u of this process is not device %u of xpurtd", i, i);
    return XPURT_SUCCESS;
}

static xpurt_result device_index(ze_device_handle_t device, const struct xpurtp_identity *identity,
                                 int *ret_index)
{
    unsigned char uuid[16];

    for (int i = 0; device_uuid(device, uuid) && i < identity->device_count; i++)
        if (!memcmp(uuid, identity->device_uuids[i], 16)) {
            *ret_index = i;
            return XPURT_SUCCESS;
        }
    return xpurtp_error(XPURT_ERROR_INVALID_DEVICE, "the device is none that xpurtd serves");
}

xpurt_result context_check(const xpurt_ze_context *context, ze_device_handle_t device,
                           int *ret_index)
{
    struct xpurtp_identity identity;
    xpurt_result r;

    if (!context || !context->driver || !context->context)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the context or its driver is null");
    r = xpurtp_identity(&identity);
    if (r == XPURT_SUCCESS)
        r = driver_check(context->driver, &identity);
    if (r == XPURT_SUCCESS)
        r = devices_check(context->driver, &identity);
    if (r == XPURT_SUCCESS && device)
        r = device_index(device, &identity, ret_index);
    return r;
}

/* ---- contexts --------------------------------------------------------------------------------------- */

struct context *context_find(ze_context_handle_t handle)
{
    struct context *context;

    HASH_FIND_PTR(contexts, &handle, context);
    return context;
}

struct context *context_get(const xpurt_ze_context *from)
{
    struct context *context = context_find(from->context);

    if (context)
        return context;
    context = calloc(1, sizeof(*context));
    if (!context)
        return NULL;
    context->handle = from->context;
    context->driver = from->driver;
    HASH_ADD_PTR(contexts, handle, context);
    return context;
}

/* ---- pools -------------------------------------------------------------------------------------------- */

int handle_patch(unsigned char bytes[64], const unsigned char original[64], int fd)
{
    int number, ours;

    memcpy(bytes, original, 64);
    memcpy(&number, original, sizeof(number));
    ours = fcntl(fd, F_DUPFD_CLOEXEC, number < 0 ? 0 : number + 1);
    if (ours < 0)
        return -1;
    memcpy(bytes, &ours, sizeof(ours));
    return ours;
}

static xpurt_result pool_open(struct context *context, const struct xpurtp_pool *pool,
                              struct opened_pool **ret_opened)
{
    ze_ipc_event_pool_handle_t ipc;
    struct opened_pool *opened;
    xpurt_result r;
    int fd;

    opened = calloc(1, sizeof(*opened) + pool->count * sizeof(opened->events[0]));
    fd = handle_patch((unsigned char *)ipc.data, pool->handle, pool->fd);
    if (!opened || fd < 0) {
        free(opened);
        if (fd >= 0)
            close(fd);
        return xpurtp_error(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for an event pool");
    }
    memset(ipc.data + sizeof(fd), 0, 4);
    r = ze_error("zeEventPoolOpenIpcHandle",
                 zeEventPoolOpenIpcHandle(context->handle, ipc, &opened->handle));
    if (r) { /* whose the descriptor is now differs between drivers: left */
        free(opened);
        return r;
    }
    opened->id = pool->id;
    opened->count = pool->count;
    HASH_ADD(hh, context->pools, id, sizeof(opened->id), opened);
    *ret_opened = opened;
    return XPURT_SUCCESS;
}

static void pool_close(struct context *context, struct opened_pool *opened)
{
    HASH_DEL(context->pools, opened);
    for (unsigned i = 0; i < opened->count; i++)
        if (opened->events[i])
            zeEventDestroy(opened->events[i]);
    zeEventPoolCloseIpcHandle(opened->handle);
    free(opened);
}

xpurt_result context_event(struct context *context, const struct xpurtp_pool *pool, unsigned index,
                           ze_event_handle_t *ret_event)
{
    ze_event_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
        .index = index,
        .signal = ZE_EVENT_SCOPE_FLAG_HOST,
        .wait = ZE_EVENT_SCOPE_FLAG_DEVICE,
    };
    struct opened_pool *opened;
    xpurt_result r = XPURT_SUCCESS;

    HASH_FIND(hh, context->pools, &pool->id, sizeof(pool->id), opened);
    if (!opened)
        r = pool_open(context, pool, &opened);
    if (r == XPURT_SUCCESS && !opened->events[index])
        r = ze_error("zeEventCreate", zeEventCreate(opened->handle, &desc, &opened->events[index]));
    if (r == XPURT_SUCCESS)
        *ret_event = opened->events[index];
    return r;
}

bool context_event_find(struct context *context, ze_event_handle_t event, uint64_t *ret_pool,
                        unsigned *ret_index)
{
    struct opened_pool *opened, *next;

    HASH_ITER(hh, context->pools, opened, next)
        for (unsigned i = 0; i < opened->count; i++)
            if (opened->events[i] == event) {
                *ret_pool = opened->id;
                *ret_index = i;
                return true;
            }
    return false;
}

void contexts_abandon(void)
{
    struct opened_pool *opened, *next_opened;
    struct context *context, *next;

    HASH_ITER(hh, contexts, context, next)
        HASH_ITER(hh, context->pools, opened, next_opened)
            for (unsigned i = 0; i < opened->count; i++)
                if (opened->events[i])
                    zeEventHostSignal(opened->events[i]);
}

/* ---- end ------------------------------------------------------------------------------------------------ */

static void context_free(struct context *context)
{
    struct opened_pool *opened, *next_opened;
    struct opened_memory *memory, *next_memory;

    HASH_ITER(hh, context->pools, opened, next_opened)
        pool_close(context, opened);
    HASH_ITER(hh, context->memory, memory, next_memory) {
        HASH_DEL(context->memory, memory);
        zeMemCloseIpcHandle(context->handle, memory->native);
        free(memory);
    }
    HASH_DEL(contexts, context);
    free(context);
}

xpurt_result xpurt_ze_close(const xpurt_ze_context *from)
{
    xpurt_result r = XPURT_SUCCESS;
    struct context *context;

    if (!from || !from->context)
        return xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "the context is null");
    context_lock();
    context = context_find(from->context);
    if (context && context->n_streams)
        r = xpurtp_error(XPURT_ERROR_INVALID_ARGUMENT, "%u streams of the context exist still",
                         context->n_streams);
    else if (context)
        context_free(context);
    context_unlock();
    return r;
}
