/* SPDX-License-Identifier: MIT */
/* kernel.c: kernels and their arguments.
 *
 * Guarantees of this file:
 *   - an argument is copied when it is set; launches keep the arguments they were appended with;
 *   - sizes are checked against the kernel's own signature.
 */
#include "module.h"

#include "ddi.h"

#include <stdio.h>
#include <string.h>

#define GROUP_SIZE_MAX 4096u /* as in the device's compute properties */
#define SUGGESTED_MAX 256u   /* enough to hide the cost of a group, small enough to spread */
enum { KERNEL_LOCAL_MEM_SIZE = 0x11b2, KERNEL_PRIVATE_MEM_SIZE = 0x11b4 };

void arguments_unref(struct arguments *arguments)
{
    if (arguments && atomic_fetch_sub(&arguments->refs, 1) == 1)
        free(arguments);
}

static struct arguments *arguments_alloc(uint32_t count, size_t bytes_size)
{
    size_t head = sizeof(struct arguments) + count * sizeof(struct argument);
    struct arguments *arguments = calloc(1, head + bytes_size);

    if (!arguments)
        return NULL;
    atomic_init(&arguments->refs, 1);
    arguments->count = count;
    arguments->bytes_size = bytes_size;
    arguments->bytes = (unsigned char *)arguments + head;
    return arguments;
}

static struct arguments *arguments_new(const struct signature *signature)
{
    struct arguments *arguments;
    size_t offset = 0;

    for (uint32_t i = 0; i < signature->argument_count; i++)
        offset += signature->arguments[i].size;
    arguments = arguments_alloc(signature->argument_count, offset);
    offset = 0;
    for (uint32_t i = 0; arguments && i < signature->argument_count; i++) {
        arguments->values[i].offset = (uint32_t)offset;
        arguments->values[i].size = signature->arguments[i].size;
        offset += signature->arguments[i].size;
    }
    return arguments;
}

/* Makes the kernel's arguments its own, so that they may change. */
static bool arguments_detach(ze_kernel_handle_t kernel)
{
    struct arguments *shared = kernel->arguments, *own;

    if (atomic_load(&shared->refs) == 1)
        return true;
    own = arguments_alloc(shared->count, shared->bytes_size);
    if (!own)
        return false;
    memcpy(own->values, shared->values, shared->count * sizeof(*own->values));
    memcpy(own->bytes, shared->bytes, shared->bytes_size);
    kernel->arguments = own;
    arguments_unref(shared);
    return true;
}

void kernel_unref(ze_kernel_handle_t kernel)
{
    if (!kernel || atomic_fetch_sub(&kernel->refs, 1) != 1)
        return;
    if (kernel->kernel)
        kernel->module->opencl->clReleaseKernel(kernel->kernel);
    arguments_unref(kernel->arguments);
    pthread_mutex_destroy(&kernel->lock);
    module_unref(kernel->module);
    free(kernel);
}

ze_result_t kernel_create(ze_module_handle_t module, const ze_kernel_desc_t *desc,
                          ze_kernel_handle_t *ret_kernel)
{
    const struct signature *signature;
    ze_kernel_handle_t kernel;
    int32_t error;

    ENTER(zeKernelCreate);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(desc && desc->pKernelName && ret_kernel);
    REQUIRE(desc->flags <= 0x3, INVALID_ENUMERATION);
    signature = spirv_kernel(&module->spirv, desc->pKernelName);
    REQUIRE(signature, INVALID_KERNEL_NAME);
    REQUIRE(!module->spirv.imports, INVALID_MODULE_UNLINKED);
    for (uint32_t i = 0; i < signature->argument_count; i++)
        REQUIRE(signature->arguments[i].kind != ARGUMENT_OTHER, UNSUPPORTED_FEATURE);
    kernel = calloc(1, sizeof(*kernel));
    REQUIRE(kernel, OUT_OF_HOST_MEMORY);
    atomic_init(&kernel->refs, 1);
    atomic_fetch_add(&module->refs, 1);
    kernel->module = module;
    kernel->signature = signature;
    pthread_mutex_init(&kernel->lock, NULL);
    for (size_t i = 0; i < 3; i++)
        kernel->group_size[i] = signature->required_size[i] ? signature->required_size[i] : 1;
    kernel->arguments = arguments_new(signature);
    kernel->kernel = module->opencl->clCreateKernel(module->program, desc->pKernelName, &error);
    if (!kernel->kernel || !kernel->arguments) {
        ze_result_t result = kernel->kernel ? ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY :
                                              ZE_RESULT_ERROR_INVALID_KERNEL_NAME;

        kernel_unref(kernel);
        return result;
    }
    *ret_kernel = kernel;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_destroy(ze_kernel_handle_t kernel)
{
    ENTER(zeKernelDestroy);
    REQUIRE_HANDLE(kernel);
    kernel_unref(kernel);
    return ZE_RESULT_SUCCESS;
}

ze_result_t kernel_use_group_size(ze_kernel_handle_t kernel, const uint32_t size[3])
{
    uint64_t total = (uint64_t)size[0] * size[1];

    REQUIRE(size[0] && size[1] && size[2], INVALID_GROUP_SIZE_DIMENSION);
    REQUIRE(total <= GROUP_SIZE_MAX && total * size[2] <= GROUP_SIZE_MAX,
            INVALID_GROUP_SIZE_DIMENSION);
    for (size_t i = 0; i < 3; i++)
        REQUIRE(!kernel->signature->required_size[i] ||
                    kernel->signature->required_size[i] == size[i],
                INVALID_GROUP_SIZE_DIMENSION);
    memcpy(kernel->group_size, size, sizeof(kernel->group_size));
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_set_group_size(ze_kernel_handle_t kernel, uint32_t x, uint32_t y,
                                         uint32_t z)
{
    ENTER(zeKernelSetGroupSize);
    REQUIRE_HANDLE(kernel);
    return kernel_use_group_size(kernel, (const uint32_t[]){ x, y, z });
}

/* The largest size up to @p most that divides the global size without rest. */
static uint32_t largest_divisor(uint32_t global, uint32_t most)
{
    for (uint32_t size = global < most ? global : most; size > 1; size--)
        if (global % size == 0)
            return size;
    return 1;
}

static ze_result_t kernel_suggest_group_size(ze_kernel_handle_t kernel, uint32_t x, uint32_t y,
                                             uint32_t z, uint32_t *ret_x, uint32_t *ret_y,
                                             uint32_t *ret_z)
{
    const uint32_t *required;

    ENTER(zeKernelSuggestGroupSize);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(ret_x && ret_y && ret_z);
    REQUIRE(x && y && z, INVALID_GLOBAL_WIDTH_DIMENSION);
    required = kernel->signature->required_size;
    *ret_x = required[0] ? required[0] : largest_divisor(x, SUGGESTED_MAX);
    *ret_y = required[1] ? required[1] : largest_divisor(y, SUGGESTED_MAX / *ret_x);
    *ret_z = required[2] ? required[2] : largest_divisor(z, SUGGESTED_MAX / (*ret_x * *ret_y));
    return ZE_RESULT_SUCCESS;
}

/* Groups that wait for each other must all run at once: one per CPU. */
static ze_result_t kernel_suggest_cooperative(ze_kernel_handle_t kernel, uint32_t *ret_count)
{
    ENTER(zeKernelSuggestMaxCooperativeGroupCount);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(ret_count);
    *ret_count = cpu_count();
    return ZE_RESULT_SUCCESS;
}

ze_result_t kernel_use_argument(ze_kernel_handle_t kernel, uint32_t index, size_t size,
                                const void *value)
{
    const struct signature_argument *argument;
    struct argument *own;

    REQUIRE(index < kernel->signature->argument_count, INVALID_KERNEL_ARGUMENT_INDEX);
    argument = &kernel->signature->arguments[index];
    REQUIRE(argument->kind == ARGUMENT_LOCAL ? size > 0 : size == argument->size,
            INVALID_KERNEL_ARGUMENT_SIZE);
    REQUIRE(arguments_detach(kernel), OUT_OF_HOST_MEMORY);
    own = &kernel->arguments->values[index];
    own->set = true;
    own->size = size;
    if (argument->kind == ARGUMENT_LOCAL)
        return ZE_RESULT_SUCCESS;
    if (value)
        memcpy(kernel->arguments->bytes + own->offset, value, size);
    else
        memset(kernel->arguments->bytes + own->offset, 0, size);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_set_argument_value(ze_kernel_handle_t kernel, uint32_t index, size_t size,
                                             const void *value)
{
    ENTER(zeKernelSetArgumentValue);
    REQUIRE_HANDLE(kernel);
    return kernel_use_argument(kernel, index, size, value);
}

static ze_result_t kernel_set_indirect_access(ze_kernel_handle_t kernel,
                                              ze_kernel_indirect_access_flags_t flags)
{
    ENTER(zeKernelSetIndirectAccess);
    REQUIRE_HANDLE(kernel);
    REQUIRE(flags <= 0x7, INVALID_ENUMERATION);
    kernel->indirect = flags;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_get_indirect_access(ze_kernel_handle_t kernel,
                                              ze_kernel_indirect_access_flags_t *ret_flags)
{
    ENTER(zeKernelGetIndirectAccess);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(ret_flags);
    *ret_flags = kernel->indirect;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_get_source_attributes(ze_kernel_handle_t kernel, uint32_t *size,
                                                char **ret_text)
{
    static char none[1];

    ENTER(zeKernelGetSourceAttributes);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(size);
    *size = sizeof(none);               /* SPIR-V does not keep them */
    if (ret_text)
        *ret_text = none;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_set_cache_config(ze_kernel_handle_t kernel, ze_cache_config_flags_t flags)
{
    ENTER(zeKernelSetCacheConfig);
    REQUIRE_HANDLE(kernel);
    REQUIRE(flags <= 0x3, INVALID_ENUMERATION);
    return ZE_RESULT_SUCCESS;           /* a wish; a CPU's caches are not divided */
}

static uint32_t work_group_info(ze_kernel_handle_t kernel, uint32_t what)
{
    const struct opencl *opencl = kernel->module->opencl;
    uint64_t value = 0;

    pthread_mutex_lock(&kernel->lock);
    opencl->clGetKernelWorkGroupInfo(kernel->kernel, opencl->device, what, sizeof(value), &value,
                                     NULL);
    pthread_mutex_unlock(&kernel->lock);
    return (uint32_t)value;
}

static void kernel_chain(void *chain)
{
    ze_kernel_preferred_group_size_properties_t *preferred =
        chain_find(chain, ZE_STRUCTURE_TYPE_KERNEL_PREFERRED_GROUP_SIZE_PROPERTIES);
    newer_kernel_max_group_size_ext_properties_t *largest =
        chain_find(chain, NEWER_STRUCTURE_TYPE_KERNEL_MAX_GROUP_SIZE_EXT_PROPERTIES);

    if (preferred)
        preferred->preferredMultiple = 1;
    if (largest)
        largest->maxGroupSize = GROUP_SIZE_MAX;
}

static ze_result_t kernel_get_properties(ze_kernel_handle_t kernel,
                                         ze_kernel_properties_t *properties)
{
    const struct signature *signature;

    ENTER(zeKernelGetProperties);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(properties);
    signature = kernel->signature;
    *properties = (ze_kernel_properties_t){
        .stype = properties->stype,
        .pNext = properties->pNext,
        .numKernelArgs = signature->argument_count,
        .requiredGroupSizeX = signature->required_size[0],
        .requiredGroupSizeY = signature->required_size[1],
        .requiredGroupSizeZ = signature->required_size[2],
        .requiredNumSubGroups = signature->required_subgroups,
        .requiredSubgroupSize = signature->required_subgroup_size,
        .maxSubgroupSize = 1,
        .maxNumSubgroups = GROUP_SIZE_MAX,
        .localMemSize = work_group_info(kernel, KERNEL_LOCAL_MEM_SIZE),
        .privateMemSize = work_group_info(kernel, KERNEL_PRIVATE_MEM_SIZE),
    };
    snprintf((char *)properties->uuid.kid, sizeof(properties->uuid.kid), "%s", signature->name);
    kernel_chain(properties->pNext);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_get_name(ze_kernel_handle_t kernel, size_t *size, char *ret_name)
{
    size_t needed;

    ENTER(zeKernelGetName);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(size);
    needed = strlen(kernel->signature->name) + 1;
    if (ret_name) {
        size_t given = *size < needed ? *size : needed;

        memcpy(ret_name, kernel->signature->name, given);
        if (given > 0)
            ret_name[given - 1] = '\0';
    }
    *size = needed;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_set_global_offset(ze_kernel_handle_t kernel, uint32_t x, uint32_t y,
                                            uint32_t z)
{
    ENTER(zeKernelSetGlobalOffsetExp);
    REQUIRE_HANDLE(kernel);
    memcpy(kernel->offset, (const uint32_t[]){ x, y, z }, sizeof(kernel->offset));
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_scheduling_hint(ze_kernel_handle_t kernel,
                                          ze_scheduling_hint_exp_desc_t *hint)
{
    ENTER(zeKernelSchedulingHintExp);
    REQUIRE_HANDLE(kernel);
    REQUIRE_POINTER(hint);
    REQUIRE(hint->flags <= 0x7, INVALID_ENUMERATION);
    return ZE_RESULT_SUCCESS;           /* a hint; groups are scheduled by the runtime */
}

#define KERNEL(member, since, entry) DDI(ze_kernel_dditable_t, member, since, entry)

const struct ddi_table kernel_table = DDI_TABLE(
    KERNEL(pfnCreate, 0, kernel_create), KERNEL(pfnDestroy, 0, kernel_destroy),
    KERNEL(pfnSetCacheConfig, 0, kernel_set_cache_config),
    KERNEL(pfnSetGroupSize, 0, kernel_set_group_size),
    KERNEL(pfnSuggestGroupSize, 0, kernel_suggest_group_size),
    KERNEL(pfnSuggestMaxCooperativeGroupCount, 0, kernel_suggest_cooperative),
    KERNEL(pfnSetArgumentValue, 0, kernel_set_argument_value),
    KERNEL(pfnSetIndirectAccess, 0, kernel_set_indirect_access),
    KERNEL(pfnGetIndirectAccess, 0, kernel_get_indirect_access),
    KERNEL(pfnGetSourceAttributes, 0, kernel_get_source_attributes),
    KERNEL(pfnGetProperties, 0, kernel_get_properties), KERNEL(pfnGetName, 0, kernel_get_name));

const struct ddi_table kernel_exp_table = DDI_TABLE(
    DDI(ze_kernel_exp_dditable_t, pfnSetGlobalOffsetExp, 1, kernel_set_global_offset),
    DDI(ze_kernel_exp_dditable_t, pfnSchedulingHintExp, 2, kernel_scheduling_hint),
    DDI_UNSUPPORTED(2, 11), DDI_UNSUPPORTED(3, 14)); /* binaries and allocations of one kernel */
