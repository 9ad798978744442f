/* SPDX-License-Identifier: MIT */
/* driver.c: the driver object.
 *
 * Guarantees of this file:
 *   - the environment is read at the first initialisation of a process and not again;
 *   - initialising starts no thread and opens nothing; a forked child may use the driver at once,
 *     and finds its queues empty.
 */
#include "ddi.h"
#include "device.h"
#include "memory.h"
#include "opencl.h"
#include "queue.h"
#include "worker.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct _ze_driver_handle_t soft_driver;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t stamp_bits = 64;
static uint64_t stamp_mask = UINT64_MAX;
static struct _ze_context_handle_t default_context;

uint64_t clock_ticks(void)
{
    return clock_ns() & stamp_mask;
}

uint32_t clock_bits(void)
{
    return stamp_bits;
}

uint32_t cpu_count(void)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        return (uint32_t)CPU_COUNT(&cpus);
    return (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
}

static uint32_t environment_number(const char *name, uint32_t least, uint32_t most,
                                   uint32_t otherwise)
{
    const char *text = getenv(name);
    char *end;
    unsigned long value;

    if (!text || !*text)
        return otherwise;
    value = strtoul(text, &end, 10);
    if (*end || value < least || value > most) {
        fprintf(stderr, "ze_soft: %s must be a number from %u to %u\n", name, least, most);
        return otherwise;
    }
    return (uint32_t)value;
}

/* ZE_AFFINITY_MASK: the devices to show, e.g. "0,2"; "1.0" means device 1, which has one tile. */
static uint32_t affinity_mask(uint32_t count)
{
    const char *text = getenv("ZE_AFFINITY_MASK");
    uint32_t mask = 0;
    char *end;

    if (!text || !*text)
        return (uint32_t)((UINT64_C(1) << count) - 1);
    for (; *text; text = *end ? end + 1 : end) {
        unsigned long index = strtoul(text, &end, 10);

        if (end != text && index < count)
            mask |= 1u << index;
        end += strcspn(end, ",");
    }
    return mask;
}

static void before_fork(void)
{
    queues_before_fork();
    memory_before_fork();
}

static void after_fork_parent(void)
{
    memory_after_fork();
    queues_after_fork(false);
}

static void after_fork_child(void)
{
    memory_after_fork();
    queues_after_fork(true);
    cell_after_fork();
    worker_after_fork();
    listen_after_fork();
    opencl_after_fork();
}

static void initialise(void)
{
    uint32_t count =
        environment_number("ZE_SOFT_DEVICES", 1, SOFT_MAX_DEVICES, SOFT_DEFAULT_DEVICES);
    uint32_t mask = affinity_mask(count);

    fault_configure(getenv("ZE_SOFT_FAULT"));
    stamp_bits = environment_number("ZE_SOFT_TIMESTAMP_BITS", 16, 64, 64);
    stamp_mask = UINT64_MAX >> (64 - stamp_bits);
    soft_driver.memory_total = fault_memory_limit();
    if (soft_driver.memory_total == 0)
        soft_driver.memory_total =
            (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < count; i++)
        if (mask >> i & 1)
            soft_driver.devices[soft_driver.device_count++].index = i;
    default_context =
        (struct _ze_context_handle_t){ &soft_driver,
                                       (uint32_t)((UINT64_C(1) << soft_driver.device_count) - 1) };
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

ze_result_t driver_init(ze_init_flags_t flags)
{
    pthread_once(&once, initialise);
    ENTER(zeInit);
    REQUIRE(flags <= 0x3, INVALID_ENUMERATION);
    REQUIRE(flags != ZE_INIT_FLAG_VPU_ONLY, UNINITIALIZED);
    REQUIRE(soft_driver.device_count > 0, UNINITIALIZED);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t one_driver(uint32_t *count, ze_driver_handle_t *drivers)
{
    if (*count == 0 || !drivers) {
        *count = 1;
        return ZE_RESULT_SUCCESS;
    }
    *count = 1;
    drivers[0] = &soft_driver;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t driver_init_drivers(uint32_t *count, ze_driver_handle_t *drivers,
                                       newer_init_driver_type_desc_t *desc)
{
    pthread_once(&once, initialise);
    ENTER(zeInitDrivers);
    REQUIRE_POINTER(count && desc);
    REQUIRE(desc->flags != 0, INVALID_ENUMERATION);
    if (!(desc->flags & NEWER_INIT_DRIVER_TYPE_FLAG_GPU) || soft_driver.device_count == 0) {
        *count = 0;
        return ZE_RESULT_SUCCESS;
    }
    return one_driver(count, drivers);
}

static ze_result_t driver_get(uint32_t *count, ze_driver_handle_t *drivers)
{
    ENTER(zeDriverGet);
    REQUIRE_POINTER(count);
    return one_driver(count, drivers);
}

static ze_result_t driver_get_api_version(ze_driver_handle_t driver, ze_api_version_t *ret_version)
{
    ENTER(zeDriverGetApiVersion);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(ret_version);
    *ret_version = (ze_api_version_t)DRIVER_API;
    return ZE_RESULT_SUCCESS;
}

/* The same in all processes of one build: only those may exchange handles. */
static void driver_uuid(uint8_t id[ZE_MAX_DRIVER_UUID_SIZE])
{
    static const char name[ZE_MAX_DRIVER_UUID_SIZE] = "xpurt-ze-soft";
    uint32_t version = DRIVER_VERSION;

    memcpy(id, name, ZE_MAX_DRIVER_UUID_SIZE);
    memcpy(id + ZE_MAX_DRIVER_UUID_SIZE - sizeof(version), &version, sizeof(version));
}

static ze_result_t driver_get_properties(ze_driver_handle_t driver,
                                         ze_driver_properties_t *properties)
{
    ze_driver_memory_free_ext_properties_t *policies;

    ENTER(zeDriverGetProperties);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(properties);
    driver_uuid(properties->uuid.id);
    properties->driverVersion = DRIVER_VERSION;
    policies = chain_find(properties->pNext, ZE_STRUCTURE_TYPE_DRIVER_MEMORY_FREE_EXT_PROPERTIES);
    if (policies)
        policies->freePolicies = ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE |
                                 ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_DEFER_FREE;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t driver_get_ipc_properties(ze_driver_handle_t driver,
                                             ze_driver_ipc_properties_t *properties)
{
    ENTER(zeDriverGetIpcProperties);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(properties);
    properties->flags = ZE_IPC_PROPERTY_FLAG_MEMORY | ZE_IPC_PROPERTY_FLAG_EVENT_POOL;
    return ZE_RESULT_SUCCESS;
}

static const ze_driver_extension_properties_t extensions[] = {
    { "ZE_extension_memory_free_policies", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_device_memory_properties", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_linkage_inspection", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_subgroups", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_eu_count", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_device_ip_version", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_kernel_max_group_size_properties", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_event_query_kernel_timestamps", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_device_cache_line_size", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_external_memmap_sysmem", ZE_MAKE_VERSION(1, 0) },
    { "ZE_extension_device_usablemem_size_properties", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_event_query_timestamps", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_event_pool_counter_based", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_relaxed_allocation_limits", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_module_program", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_global_offset", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_scheduling_hints", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_immediate_command_list_append", ZE_MAKE_VERSION(1, 0) },
    { "ZE_experimental_command_list_clone", ZE_MAKE_VERSION(1, 0) },
};

static ze_result_t driver_get_extension_properties(ze_driver_handle_t driver, uint32_t *count,
                                                   ze_driver_extension_properties_t *properties)
{
    ENTER(zeDriverGetExtensionProperties);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > ARRAY_SIZE(extensions)) {
        bool only_count = *count == 0;

        *count = ARRAY_SIZE(extensions);
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    if (properties)
        memcpy(properties, extensions, *count * sizeof(*properties));
    return ZE_RESULT_SUCCESS;
}

static ze_result_t driver_get_extension_function(ze_driver_handle_t driver, const char *name,
                                                 void **ret_function)
{
    ddi_function function;

    ENTER(zeDriverGetExtensionFunctionAddress);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(name && ret_function);
    function = ddi_find(name);
    REQUIRE(function, INVALID_ARGUMENT);
    *ret_function = (void *)function;
    return ZE_RESULT_SUCCESS;
}

/* Results say all there is to say. */
static ze_result_t driver_get_last_error(ze_driver_handle_t driver, const char **ret_text)
{
    ENTER(zeDriverGetLastErrorDescription);
    REQUIRE_HANDLE(driver);
    REQUIRE_POINTER(ret_text);
    *ret_text = "";
    return ZE_RESULT_SUCCESS;
}

static ze_context_handle_t driver_get_default_context(ze_driver_handle_t driver)
{
    return driver ? &default_context : NULL;
}

const struct ddi_table global_table =
    DDI_TABLE(DDI(ze_global_dditable_t, pfnInit, 0, driver_init),
              DDI_NEWER("zeInitDrivers", 1, 10, driver_init_drivers));

const struct ddi_table driver_table = DDI_TABLE(
    DDI(ze_driver_dditable_t, pfnGet, 0, driver_get),
    DDI(ze_driver_dditable_t, pfnGetApiVersion, 0, driver_get_api_version),
    DDI(ze_driver_dditable_t, pfnGetProperties, 0, driver_get_properties),
    DDI(ze_driver_dditable_t, pfnGetIpcProperties, 0, driver_get_ipc_properties),
    DDI(ze_driver_dditable_t, pfnGetExtensionProperties, 0, driver_get_extension_properties),
    DDI(ze_driver_dditable_t, pfnGetExtensionFunctionAddress, 1, driver_get_extension_function),
    DDI_NEWER("zeDriverGetLastErrorDescription", 6, 6, driver_get_last_error),
    DDI_UNSUPPORTED(7, 13),             /* ray tracing */
    DDI_NEWER("zeDriverGetDefaultContext", 8, 14, driver_get_default_context));
