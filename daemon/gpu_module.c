/* SPDX-License-Identifier: MIT */
/* daemon/gpu_module.c: modules and kernels of Level Zero.
 *
 * Guarantees of this file:
 *   - SPIR-V reaches a compiler in gpu_build() only; what is loaded is native code;
 *   - nothing here is shared between modules: different ones may be used by different threads.
 */
#include "daemon/gpu_internal.h"

#include <stdlib.h>

#define LOG_BYTES_MAX (1u << 20)        /* of a compiler: what is beyond helps nobody */

struct gpu_module {
    ze_module_handle_t handle;
    uint32_t device_group_size;
};

/* Drivers say so of all modules when they run no kernels. */
static xpurt_result check(const char *call, ze_result_t result)
{
    xpurt_result checked = gpu_check(call, result);

    return result == ZE_RESULT_ERROR_UNSUPPORTED_FEATURE ? XPURT_ERROR_UNSUPPORTED : checked;
}

/* ---- in a build worker, whose end frees everything ------------------------------------------------- */

struct gpu_build {
    ze_module_handle_t module;
    ze_module_build_log_handle_t log;
};

xpurt_result gpu_build(struct gpu_context *context, unsigned device, const void *spirv, size_t size,
                       const char *options, struct gpu_build **ret_build)
{
    const ze_module_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
        .format = ZE_MODULE_FORMAT_IL_SPIRV,
        .inputSize = size,
        .pInputModule = spirv,
        .pBuildFlags = options,
    };
    struct gpu_build *build;

    build = calloc(1, sizeof(*build));
    if (!build)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    *ret_build = build;
    return check("zeModuleCreate",
                 zeModuleCreate(context->handle, context->gpu->devices[device].handle, &desc,
                                &build->module, &build->log));
}

char *gpu_build_log(struct gpu_build *build)
{
    size_t size = 0;
    char *text;

    if (!build->log || zeModuleBuildLogGetString(build->log, &size, NULL) != ZE_RESULT_SUCCESS)
        return NULL;
    if (size > LOG_BYTES_MAX)
        size = LOG_BYTES_MAX;
    text = calloc(1, size + 1);
    if (text && zeModuleBuildLogGetString(build->log, &size, text) != ZE_RESULT_SUCCESS)
        text[0] = '\0';
    return text;
}

xpurt_result gpu_build_native(struct gpu_build *build, void **ret_native, size_t *ret_size)
{
    void *native = NULL;
    xpurt_result result;
    size_t size = 0;

    result = check("zeModuleGetNativeBinary", zeModuleGetNativeBinary(build->module, &size, NULL));
    if (!result && !(native = malloc(size)))
        result = XPURT_ERROR_OUT_OF_HOST_MEMORY;
    if (!result)
        result =
            check("zeModuleGetNativeBinary", zeModuleGetNativeBinary(build->module, &size, native));
    if (result) {
        free(native);
        return result;
    }
    *ret_native = native;
    *ret_size = size;
    return XPURT_SUCCESS;
}

/* ---- in the daemon ---------------------------------------------------------------------------------- */

xpurt_result gpu_module_new(struct gpu_context *context, unsigned device, const void *native,
                            size_t size, struct gpu_module **ret_module)
{
    const struct gpu_device *gpu_device = &context->gpu->devices[device];
    const ze_module_desc_t desc = {
        .stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
        .format = ZE_MODULE_FORMAT_NATIVE,
        .inputSize = size,
        .pInputModule = native,
    };
    struct gpu_module *module;
    xpurt_result result;

    module = calloc(1, sizeof(*module));
    if (!module)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    module->device_group_size = gpu_device->properties.max_group_size;
    result = gpu_check(
        "zeModuleCreate for native code",
        zeModuleCreate(context->handle, gpu_device->handle, &desc, &module->handle, NULL));
    if (result) {
        free(module);
        return result;
    }
    *ret_module = module;
    return XPURT_SUCCESS;
}

void gpu_module_free(struct gpu_module *module)
{
    if (!module)
        return;
    zeModuleDestroy(module->handle);
    free(module);
}

static ze_result_t properties_read(struct gpu_kernel *kernel, uint32_t device_group_size)
{
    ze_kernel_preferred_group_size_properties_t preferred = {
        .stype = ZE_STRUCTURE_TYPE_KERNEL_PREFERRED_GROUP_SIZE_PROPERTIES,
    };
    ze_kernel_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_KERNEL_PROPERTIES,
        .pNext = &preferred,
    };
    uint64_t most;
    ze_result_t result;

    result = zeKernelGetProperties(kernel->handle, &properties);
    if (result)
        return result;
    /* Registers may allow a kernel less than the device allows. */
    most = (uint64_t)properties.maxSubgroupSize * properties.maxNumSubgroups;
    kernel->properties = (struct gpu_kernel_properties){
        .argument_count = properties.numKernelArgs,
        .max_group_size = most && most < device_group_size ? (uint32_t)most : device_group_size,
        .preferred_multiple = preferred.preferredMultiple ? preferred.preferredMultiple : 1,
        .sub_group_size = properties.maxSubgroupSize,
        .required_sub_group_size = properties.requiredSubgroupSize,
        .required_group_size = { properties.requiredGroupSizeX, properties.requiredGroupSizeY,
                                 properties.requiredGroupSizeZ },
        .local_memory = properties.localMemSize,
        .private_memory = properties.privateMemSize,
    };
    return ZE_RESULT_SUCCESS;
}

xpurt_result gpu_kernel_new(struct gpu_module *module, const char *name,
                            struct gpu_kernel **ret_kernel)
{
    const ze_kernel_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = name };
    struct gpu_kernel *kernel;
    xpurt_result result;

    kernel = calloc(1, sizeof(*kernel));
    if (!kernel)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    result = check("zeKernelCreate", zeKernelCreate(module->handle, &desc, &kernel->handle));
    if (result) {
        free(kernel);
        return result;
    }
    result = check("zeKernelGetProperties", properties_read(kernel, module->device_group_size));
    if (result) {
        gpu_kernel_free(kernel);
        return result;
    }
    *ret_kernel = kernel;
    return XPURT_SUCCESS;
}

void gpu_kernel_free(struct gpu_kernel *kernel)
{
    if (!kernel)
        return;
    zeKernelDestroy(kernel->handle);
    free(kernel);
}

const struct gpu_kernel_properties *gpu_kernel_properties(const struct gpu_kernel *kernel)
{
    return &kernel->properties;
}

xpurt_result gpu_kernel_suggest(struct gpu_kernel *kernel, const uint32_t global[3],
                                uint32_t ret_group[3])
{
    return check("zeKernelSuggestGroupSize",
                 zeKernelSuggestGroupSize(kernel->handle, global[0], global[1], global[2],
                                          &ret_group[0], &ret_group[1], &ret_group[2]));
}
