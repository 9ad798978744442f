/* SPDX-License-Identifier: MIT */
/* ddi.c: what the loader calls to get the driver's entry points.
 *
 * Guarantees of this file:
 *   - never more is written than a loader of the version it names has room for;
 *   - the getters of the tools (zet) and system (zes) interfaces exist, because old loaders insist
 *     on them, and leave their tables empty: a CPU has no metrics, fans or firmware to offer.
 */
#include "ddi.h"

#include <string.h>

#define GETTER __attribute__((visibility("default")))

ze_result_t ddi_unsupported(void)
{
    return ZE_RESULT_ERROR_UNSUPPORTED_FEATURE;
}

static ze_result_t ddi_fill(ze_api_version_t version, ddi_function *slots,
                            const struct ddi_table *table)
{
    REQUIRE_POINTER(slots);
    REQUIRE(ZE_MAJOR_VERSION(version) == 1, UNSUPPORTED_VERSION);
    for (size_t i = 0; table && i < table->count; i++)
        if (table->entries[i].minor <= ZE_MINOR_VERSION(version) && table->entries[i].function)
            slots[i] = table->entries[i].function;
    return ZE_RESULT_SUCCESS;
}

#define CORE_TABLE(Name, table_type, table) \
    GETTER ze_result_t ZE_APICALL zeGet##Name##ProcAddrTable(ze_api_version_t version, \
                                                             table_type *slots) \
    { \
        return ddi_fill(version, (ddi_function *)(void *)slots, &table); \
    }

CORE_TABLE(Global, ze_global_dditable_t, global_table)
CORE_TABLE(Driver, ze_driver_dditable_t, driver_table)
CORE_TABLE(Device, ze_device_dditable_t, device_table)
CORE_TABLE(DeviceExp, ze_device_exp_dditable_t, device_exp_table)
CORE_TABLE(Context, ze_context_dditable_t, context_table)
CORE_TABLE(CommandQueue, ze_command_queue_dditable_t, command_queue_table)
CORE_TABLE(CommandList, ze_command_list_dditable_t, command_list_table)
CORE_TABLE(Fence, ze_fence_dditable_t, fence_table)
CORE_TABLE(EventPool, ze_event_pool_dditable_t, event_pool_table)
CORE_TABLE(Event, ze_event_dditable_t, event_table)
CORE_TABLE(EventExp, ze_event_exp_dditable_t, event_exp_table)
CORE_TABLE(Mem, ze_mem_dditable_t, mem_table)
CORE_TABLE(PhysicalMem, ze_physical_mem_dditable_t, physical_mem_table)
CORE_TABLE(VirtualMem, ze_virtual_mem_dditable_t, virtual_mem_table)
CORE_TABLE(Module, ze_module_dditable_t, module_table)
CORE_TABLE(ModuleBuildLog, ze_module_build_log_dditable_t, module_build_log_table)
CORE_TABLE(Kernel, ze_kernel_dditable_t, kernel_table)
CORE_TABLE(KernelExp, ze_kernel_exp_dditable_t, kernel_exp_table)
CORE_TABLE(Image, ze_image_dditable_t, image_table)
CORE_TABLE(ImageExp, ze_image_exp_dditable_t, image_exp_table)
CORE_TABLE(Sampler, ze_sampler_dditable_t, sampler_table)
CORE_TABLE(FabricVertexExp, ze_fabric_vertex_exp_dditable_t, fabric_vertex_exp_table)
CORE_TABLE(FabricEdgeExp, ze_fabric_edge_exp_dditable_t, fabric_edge_exp_table)

/* Getters that the headers of 1.4 do not declare, and those of tables that stay empty. */
#define OTHER_TABLE(name, table) \
    GETTER ze_result_t ZE_APICALL name(ze_api_version_t version, void *slots); \
    GETTER ze_result_t ZE_APICALL name(ze_api_version_t version, void *slots) \
    { \
        return ddi_fill(version, slots, table); \
    }
#define EMPTY_TOOLS(Name) OTHER_TABLE(zetGet##Name##ProcAddrTable, NULL)
#define EMPTY_SYSMAN(Name) OTHER_TABLE(zesGet##Name##ProcAddrTable, NULL)

#if !defined(ZE_API_VERSION_CURRENT_M)
OTHER_TABLE(zeGetCommandListExpProcAddrTable, &command_list_exp_table)
#else
CORE_TABLE(CommandListExp, ze_command_list_exp_dditable_t, command_list_exp_table)
#endif

EMPTY_TOOLS(Device)
EMPTY_TOOLS(Context)
EMPTY_TOOLS(CommandList)
EMPTY_TOOLS(Module)
EMPTY_TOOLS(Kernel)
EMPTY_TOOLS(Metric)
EMPTY_TOOLS(MetricGroup)
EMPTY_TOOLS(MetricGroupExp)
EMPTY_TOOLS(MetricStreamer)
EMPTY_TOOLS(MetricQueryPool)
EMPTY_TOOLS(MetricQuery)
EMPTY_TOOLS(TracerExp)
EMPTY_TOOLS(Debug)

EMPTY_SYSMAN(Driver)
EMPTY_SYSMAN(Device)
EMPTY_SYSMAN(Scheduler)
EMPTY_SYSMAN(PerformanceFactor)
EMPTY_SYSMAN(Power)
EMPTY_SYSMAN(Frequency)
EMPTY_SYSMAN(Engine)
EMPTY_SYSMAN(Standby)
EMPTY_SYSMAN(Firmware)
EMPTY_SYSMAN(Memory)
EMPTY_SYSMAN(FabricPort)
EMPTY_SYSMAN(Temperature)
EMPTY_SYSMAN(Psu)
EMPTY_SYSMAN(Fan)
EMPTY_SYSMAN(Led)
EMPTY_SYSMAN(Ras)
EMPTY_SYSMAN(Diagnostics)

static const struct ddi_table *const tables[] = {
    &extension_table,  &global_table,    &driver_table,           &device_table,
    &event_table,      &mem_table,       &command_list_table,     &command_queue_table,
    &event_pool_table, &kernel_table,    &command_list_exp_table, &physical_mem_table,
    &kernel_exp_table, &event_exp_table,
};

ddi_function ddi_find(const char *name)
{
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            if (tables[t]->entries[i].name && strcmp(tables[t]->entries[i].name, name) == 0)
                return tables[t]->entries[i].function;
    return NULL;
}
