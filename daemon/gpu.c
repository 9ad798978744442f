/* SPDX-License-Identifier: MIT */
/* daemon/gpu.c: finding the devices, contexts and memory.
 *
 * Guarantees of this file:
 *   - which driver the loader gets is decided before its first use, and said in the log;
 *   - calls newer than the loader we were built with are looked up at run time;
 *   - every number that reaches the driver was checked for zero and overflow before.
 */
#include "daemon/gpu_internal.h"
#include "daemon/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_ALIGNMENT 512            /* of device memory: what frameworks round to */

static _Thread_local char error_text[160];

const char *gpu_error(void)
{
    return error_text;
}

static xpurt_result result_of(ze_result_t result)
{
    switch (result) {
    case ZE_RESULT_SUCCESS:
        return XPURT_SUCCESS;
    case ZE_RESULT_ERROR_DEVICE_LOST:
        return XPURT_ERROR_DEVICE_LOST;
    case ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY:
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    case ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY:
    case ZE_RESULT_ERROR_UNSUPPORTED_SIZE:
        return XPURT_ERROR_OUT_OF_MEMORY;
    case ZE_RESULT_ERROR_MODULE_BUILD_FAILURE:
    case ZE_RESULT_ERROR_MODULE_LINK_FAILURE:
        return XPURT_ERROR_BUILD_FAILED;
    default:
        return XPURT_ERROR_DRIVER;
    }
}

xpurt_result gpu_check(const char *call, ze_result_t result)
{
    if (result != ZE_RESULT_SUCCESS)
        snprintf(error_text, sizeof(error_text), "%s failed in the GPU driver with 0x%x", call,
                 (unsigned)result);
    return result_of(result);
}

/* ---- which driver --------------------------------------------------------------------------- */

/* In a child, because the loader decides once a process: does it find a GPU? */
static bool gpu_found_by_loader(void)
{
    int status;
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        ze_driver_handle_t drivers[8];
        uint32_t n_drivers = 8;
        bool found = false;

        if (zeInit(ZE_INIT_FLAG_GPU_ONLY) == ZE_RESULT_SUCCESS &&
            zeDriverGet(&n_drivers, drivers) == ZE_RESULT_SUCCESS)
            for (uint32_t i = 0; i < n_drivers && !found; i++) {
                uint32_t n_devices = 0;

                found = zeDeviceGet(drivers[i], &n_devices, NULL) == ZE_RESULT_SUCCESS && n_devices;
            }
        _exit(found ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* The software driver: named by the operator, beside us in a build tree, or installed. */
static int soft_driver_find(const struct config *config, char path[PATH_MAX])
{
    static const char *const beside[] = { "../lib/libze_soft.so", "../lib/xpurt/libze_soft.so" };
    char self[PATH_MAX];
    ssize_t n;

    if (config->soft_driver)
        return realpath(config->soft_driver, path) ? 0 : -errno;

    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        const char *folder;

        self[n] = '\0';
        folder = dirname(self);
        for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
            char candidate[PATH_MAX + 32];

            snprintf(candidate, sizeof(candidate), "%s/%s", folder, beside[i]);
            if (realpath(candidate, path))
                return 0;
        }
    }
    return realpath(XPURT_SOFT_DRIVER, path) ? 0 : -errno;
}

static int soft_driver_use(const struct config *config)
{
    char path[PATH_MAX];
    int r;

    r = soft_driver_find(config, path);
    if (r < 0) {
        log_error("cannot find the software driver libze_soft.so%s%s: %s",
                  config->soft_driver ? " at " : "", config->soft_driver ? config->soft_driver : "",
                  strerror(-r));
        return r;
    }
    if (setenv("ZE_ENABLE_ALT_DRIVERS", path, 1) < 0)
        return -errno;
    log_debug("software driver: %s", path);
    return 0;
}

static int driver_choose(const struct config *config)
{
    switch (config->device) {
    case DEVICE_SOFT:
        return soft_driver_use(config);
    case DEVICE_GPU:
        return 0;
    case DEVICE_AUTO:
        if (getenv("ZE_ENABLE_ALT_DRIVERS") || gpu_found_by_loader())
            return 0;
        log_notice("no GPU found: falling back to the software device (slow; for development)");
        return soft_driver_use(config);
    }
    return -EINVAL;
}

/* ---- devices -------------------------------------------------------------------------------- */

/* The first queue group that computes and copies. */
static bool queue_group_find(struct gpu_device *device)
{
    ze_command_queue_group_properties_t groups[16];
    const uint32_t wanted =
        ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE | ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY;
    uint32_t n = 16;

    memset(groups, 0, sizeof(groups));
    for (uint32_t i = 0; i < n; i++)
        groups[i].stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES;
    if (zeDeviceGetCommandQueueGroupProperties(device->handle, &n, groups) != ZE_RESULT_SUCCESS)
        return false;

    for (uint32_t i = 0; i < n; i++)
        if ((groups[i].flags & wanted) == wanted && groups[i].numQueues) {
            device->ordinal = i;
            device->queues = groups[i].numQueues;
            return true;
        }
    return false;
}

static void properties_read_compute(struct gpu_device *device)
{
    xpurt_device_properties *properties = &device->properties;
    ze_device_compute_properties_t compute = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_COMPUTE_PROPERTIES,
    };

    if (zeDeviceGetComputeProperties(device->handle, &compute) != ZE_RESULT_SUCCESS)
        return;
    device->launch_limits = (struct gpu_launch_limits){
        .groups = { compute.maxGroupCountX, compute.maxGroupCountY, compute.maxGroupCountZ },
        .group_size = { compute.maxGroupSizeX, compute.maxGroupSizeY, compute.maxGroupSizeZ },
    };
    properties->max_group_size = compute.maxTotalGroupSize;
    properties->local_memory = compute.maxSharedLocalMemory;
    properties->sub_group_size_count = compute.numSubGroupSizes < 8 ? compute.numSubGroupSizes : 8;
    memcpy(properties->sub_group_sizes, compute.subGroupSizes,
           properties->sub_group_size_count * sizeof(uint32_t));
}

static void properties_read_module(ze_device_handle_t handle, xpurt_device_properties *properties)
{
    ze_device_module_properties_t module = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MODULE_PROPERTIES,
    };

    if (zeDeviceGetModuleProperties(handle, &module) != ZE_RESULT_SUCCESS)
        return;
    properties->fp16 = !!(module.flags & ZE_DEVICE_MODULE_FLAG_FP16);
    properties->fp64 = !!(module.flags & ZE_DEVICE_MODULE_FLAG_FP64);
    properties->atomic64 = !!(module.flags & ZE_DEVICE_MODULE_FLAG_INT64_ATOMICS);
}

static void properties_read_memory(ze_device_handle_t handle, xpurt_device_properties *properties)
{
    ze_device_memory_properties_t memories[16];
    uint32_t n = 16;

    memset(memories, 0, sizeof(memories));
    for (uint32_t i = 0; i < n; i++)
        memories[i].stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES;
    if (zeDeviceGetMemoryProperties(handle, &n, memories) != ZE_RESULT_SUCCESS)
        return;
    for (uint32_t i = 0; i < n; i++)
        properties->total_memory += memories[i].totalSize;
}

static void properties_read_driver(ze_driver_handle_t handle, xpurt_device_properties *properties)
{
    ze_driver_properties_t driver = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES };
    ze_driver_ipc_properties_t ipc = { .stype = ZE_STRUCTURE_TYPE_DRIVER_IPC_PROPERTIES };

    if (zeDriverGetProperties(handle, &driver) == ZE_RESULT_SUCCESS)
        snprintf(properties->driver_version, sizeof(properties->driver_version), "%u.%u.%u",
                 driver.driverVersion >> 24, (driver.driverVersion >> 16) & 0xff,
                 driver.driverVersion & 0xffff);
    if (zeDriverGetIpcProperties(handle, &ipc) == ZE_RESULT_SUCCESS) {
        properties->ipc_events = !!(ipc.flags & ZE_IPC_PROPERTY_FLAG_EVENT_POOL);
        properties->ipc_memory = !!(ipc.flags & ZE_IPC_PROPERTY_FLAG_MEMORY);
    }
}

static bool device_read(struct gpu *gpu, ze_device_handle_t handle, struct gpu_device *device)
{
    xpurt_device_properties *properties = &device->properties;
    ze_device_properties_t core = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2 };

    memset(device, 0, sizeof(*device));
    device->handle = handle;
    if (zeDeviceGetProperties(handle, &core) != ZE_RESULT_SUCCESS || !queue_group_find(device))
        return false;

    snprintf(properties->name, sizeof(properties->name), "%.127s", core.name);
    memcpy(properties->uuid, core.uuid.id, sizeof(properties->uuid));
    properties->vendor_id = core.vendorId;
    properties->device_id = core.deviceId;
    properties->max_allocation = core.maxMemAllocSize;
    properties->compute_units = core.numSlices * core.numSubslicesPerSlice * core.numEUsPerSubslice;
    properties->clock_mhz = core.coreClockRate;
    properties->integrated = !!(core.flags & ZE_DEVICE_PROPERTY_FLAG_INTEGRATED);
    properties->software = core.type == ZE_DEVICE_TYPE_CPU;
    properties_read_compute(device);
    properties_read_module(handle, properties);
    properties_read_memory(handle, properties);
    properties_read_driver(gpu->driver, properties);

    device->clock.ticks_per_second = core.timerResolution ? core.timerResolution : 1000000000;
    device->clock.bits = core.timestampValidBits ? core.timestampValidBits : 64;
    pthread_mutex_init(&device->clock.lock, NULL);
    return true;
}

static bool device_wanted(const struct config *config, ze_device_handle_t handle)
{
    ze_device_properties_t core = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };

    return zeDeviceGetProperties(handle, &core) == ZE_RESULT_SUCCESS &&
           (config->device != DEVICE_GPU || core.type == ZE_DEVICE_TYPE_GPU);
}

/* Take the devices of @p driver; contexts belong to one driver, so only one is used. */
static bool driver_read(struct gpu *gpu, const struct config *config, ze_driver_handle_t driver)
{
    ze_driver_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES };
    ze_device_handle_t handles[GPU_DEVICES_MAX];
    uint32_t n = GPU_DEVICES_MAX;
    ze_api_version_t api = 0;

    if (zeDeviceGet(driver, &n, handles) != ZE_RESULT_SUCCESS)
        return false;

    gpu->driver = driver;
    if (zeDriverGetProperties(driver, &properties) == ZE_RESULT_SUCCESS) {
        memcpy(gpu->uuid, properties.uuid.id, sizeof(gpu->uuid));
        gpu->number = properties.driverVersion;
    }
    for (uint32_t i = 0; i < n; i++)
        if (device_wanted(config, handles[i]) &&
            device_read(gpu, handles[i], &gpu->devices[gpu->n_devices]))
            gpu->n_devices++;

    /* The in-order flag came with zeCommandListHostSynchronize, in 1.6 of loader and driver. */
    gpu->in_order = zeDriverGetApiVersion(driver, &api) == ZE_RESULT_SUCCESS &&
                    api >= (ze_api_version_t)ZE_MAKE_VERSION(1, 6) &&
                    dlsym(RTLD_DEFAULT, "zeCommandListHostSynchronize");
    return gpu->n_devices > 0;
}

static void peers_read(struct gpu *gpu)
{
    for (unsigned i = 0; i < gpu->n_devices; i++)
        for (unsigned k = 0; k < gpu->n_devices; k++) {
            ze_bool_t there = i == k, back = i == k;

            if (i != k) {
                zeDeviceCanAccessPeer(gpu->devices[i].handle, gpu->devices[k].handle, &there);
                zeDeviceCanAccessPeer(gpu->devices[k].handle, gpu->devices[i].handle, &back);
            }
            if (there && back)
                gpu->devices[i].peers |= UINT64_C(1) << k;
        }
}

static int drivers_read(struct gpu *gpu, const struct config *config)
{
    ze_driver_handle_t drivers[8];
    uint32_t n = 8;
    ze_result_t result;

    result = zeInit(0);
    if (result == ZE_RESULT_SUCCESS)
        result = zeDriverGet(&n, drivers);
    if (result != ZE_RESULT_SUCCESS) {
        log_error("the Level Zero loader finds no driver (0x%x)%s", (unsigned)result,
                  config->device == DEVICE_GPU ? "; --device soft runs without a GPU" : "");
        return -ENODEV;
    }

    for (uint32_t i = 0; i < n; i++)
        if (driver_read(gpu, config, drivers[i])) {
            peers_read(gpu);
            return 0;
        }
    log_error("no usable device: the Level Zero drivers found have none%s",
              config->device == DEVICE_GPU ? " of type GPU" : "");
    return -ENODEV;
}

int gpu_open(const struct config *config, struct gpu **ret_gpu)
{
    int r = driver_choose(config);

    return r < 0 ? r : gpu_open_inherited(config, ret_gpu);
}

int gpu_open_inherited(const struct config *config, struct gpu **ret_gpu)
{
    struct gpu *gpu;
    int r;

    gpu = calloc(1, sizeof(*gpu));
    if (!gpu)
        return -ENOMEM;

    gpu->choice = config->device;
    r = drivers_read(gpu, config);
    if (r < 0) {
        gpu_close(gpu);
        return r;
    }

    for (unsigned i = 0; i < gpu->n_devices; i++)
        log_info("device %u: %s, driver %s, %" PRIu64 " MiB", i, gpu->devices[i].properties.name,
                 gpu->devices[i].properties.driver_version,
                 gpu->devices[i].properties.total_memory >> 20);
    *ret_gpu = gpu;
    return 0;
}

void gpu_close(struct gpu *gpu)
{
    if (!gpu)
        return;
    for (unsigned i = 0; i < gpu->n_devices; i++)
        pthread_mutex_destroy(&gpu->devices[i].clock.lock);
    free(gpu);
}

enum device_choice gpu_device_choice(const struct gpu *gpu)
{
    return gpu->choice;
}

unsigned gpu_device_count(const struct gpu *gpu)
{
    return gpu->n_devices;
}

const xpurt_device_properties *gpu_device_properties(const struct gpu *gpu, unsigned device)
{
    return &gpu->devices[device].properties;
}

const uint8_t *gpu_driver_uuid(const struct gpu *gpu)
{
    return gpu->uuid;
}

uint32_t gpu_driver_number(const struct gpu *gpu)
{
    return gpu->number;
}

const struct gpu_launch_limits *gpu_device_launch_limits(const struct gpu *gpu, unsigned device)
{
    return &gpu->devices[device].launch_limits;
}

uint64_t gpu_device_peers(const struct gpu *gpu, unsigned device)
{
    return gpu->devices[device].peers;
}

/* ---- contexts and memory --------------------------------------------------------------------- */

xpurt_result gpu_context_new(struct gpu *gpu, struct gpu_context **ret_context)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    struct gpu_context *context;
    xpurt_result result;

    context = calloc(1, sizeof(*context));
    if (!context)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;

    context->gpu = gpu;
    result = gpu_check("zeContextCreate", zeContextCreate(gpu->driver, &desc, &context->handle));
    if (result) {
        free(context);
        return result;
    }
    *ret_context = context;
    return XPURT_SUCCESS;
}

void gpu_context_free(struct gpu_context *context)
{
    if (!context)
        return;
    gpu_slots_free(context);
    if (!atomic_load(&context->keep))
        zeContextDestroy(context->handle);
    free(context);
}

xpurt_result gpu_memory_new(struct gpu_context *context, unsigned device, uint64_t size,
                            uint64_t *ret_address)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *address = NULL;
    xpurt_result result;

    result = gpu_check("zeMemAllocDevice",
                       zeMemAllocDevice(context->handle, &desc, size, MEMORY_ALIGNMENT,
                                        context->gpu->devices[device].handle, &address));
    if (result)
        return result;
    atomic_fetch_add(&context->gpu->devices[device].held, size);
    *ret_address = (uint64_t)(uintptr_t)address;
    return XPURT_SUCCESS;
}

xpurt_result gpu_memory_free(struct gpu_context *context, unsigned device, uint64_t address,
                             uint64_t size)
{
    atomic_fetch_sub(&context->gpu->devices[device].held, size);
    return gpu_check("zeMemFree", zeMemFree(context->handle, (void *)(uintptr_t)address));
}

void gpu_context_keep(struct gpu_context *context)
{
    atomic_store(&context->keep, true);
}

uint64_t gpu_memory_held(const struct gpu *gpu, unsigned device)
{
    return atomic_load(&gpu->devices[device].held);
}
