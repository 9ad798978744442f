/* SPDX-License-Identifier: MIT */
/* module.c: modules: SPIR-V, or what this driver made of it before.
 *
 * Guarantees of this file:
 *   - a native binary carries the SPIR-V it came from, so that a reloaded module knows its kernels;
 *   - a build log is given for every build that was tried, successful or not;
 *   - without an OpenCL runtime modules are refused as unsupported.
 */
#include "module.h"

#include "ddi.h"

#include <stdio.h>
#include <string.h>

struct native_header {
    char magic[8];
    uint64_t spirv_size, binary_size;
};
#define NATIVE_MAGIC "ZESOFT1"

struct _ze_module_build_log_handle_t {
    char text[1];
};

void module_unref(ze_module_handle_t module)
{
    if (!module || atomic_fetch_sub(&module->refs, 1) != 1)
        return;
    if (module->program)
        module->opencl->clReleaseProgram(module->program);
    spirv_free(&module->spirv);
    free(module);
}

static ze_result_t build_log_new(const char *text, ze_module_build_log_handle_t *ret_log)
{
    size_t size = text ? strlen(text) + 1 : 1;

    if (!ret_log)
        return ZE_RESULT_SUCCESS;
    *ret_log = malloc(size);
    REQUIRE(*ret_log, OUT_OF_HOST_MEMORY);
    memcpy((*ret_log)->text, text ? text : "", size);
    return ZE_RESULT_SUCCESS;
}

/* Level Zero's flags as OpenCL's; what means nothing to a CPU is left out. */
static void translate_flags(const char *flags, char *ret_flags, size_t size)
{
    char *copy = strdup(flags ? flags : ""), *save = NULL;
    size_t used = 0;

    *ret_flags = '\0';
    for (char *flag = copy ? strtok_r(copy, " ", &save) : NULL; flag;
         flag = strtok_r(NULL, " ", &save)) {
        if (strcmp(flag, "-ze-opt-disable") == 0 || strcmp(flag, "-ze-opt-level=0") == 0)
            flag = (char *)(uintptr_t)"-cl-opt-disable";
        if (strncmp(flag, "-cl-", 4) != 0 || used + strlen(flag) + 2 > size)
            continue;
        used += (size_t)sprintf(ret_flags + used, "%s ", flag);
    }
    free(copy);
}

static ze_result_t build_spirv(ze_module_handle_t module, const uint8_t *input, size_t size,
                               const char *build_flags, const ze_module_constants_t *constants,
                               char **ret_log)
{
    char flags[256];

    if (!spirv_read(input, size, &module->spirv)) {
        *ret_log = strdup("not a SPIR-V module");
        return ZE_RESULT_ERROR_MODULE_BUILD_FAILURE;
    }
    for (uint32_t i = 0; constants && i < constants->numConstants; i++)
        spirv_specialize(&module->spirv, constants->pConstantIds[i], constants->pConstantValues[i]);
    translate_flags(build_flags, flags, sizeof(flags));
    module->program = opencl_build_spirv(module->opencl, &module->spirv, flags, ret_log);
    REQUIRE(module->program, MODULE_BUILD_FAILURE);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t build_native(ze_module_handle_t module, const uint8_t *input, size_t size,
                                char **ret_log)
{
    struct native_header header;

    REQUIRE(size >= sizeof(header), INVALID_NATIVE_BINARY);
    memcpy(&header, input, sizeof(header));
    size -= sizeof(header);
    REQUIRE(memcmp(header.magic, NATIVE_MAGIC, sizeof(header.magic)) == 0 &&
                header.spirv_size <= size && header.binary_size == size - header.spirv_size &&
                spirv_read(input + sizeof(header), header.spirv_size, &module->spirv),
            INVALID_NATIVE_BINARY);
    module->program = opencl_build_native(
        module->opencl, input + sizeof(header) + header.spirv_size, header.binary_size, ret_log);
    REQUIRE(module->program, INVALID_NATIVE_BINARY);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t build(ze_module_handle_t module, const ze_module_desc_t *desc, char **ret_log)
{
    const ze_module_program_exp_desc_t *program =
        chain_find(desc->pNext, ZE_STRUCTURE_TYPE_MODULE_PROGRAM_EXP_DESC);

    if (desc->format == ZE_MODULE_FORMAT_NATIVE)
        return build_native(module, desc->pInputModule, desc->inputSize, ret_log);
    if (!program)
        return build_spirv(module, desc->pInputModule, desc->inputSize, desc->pBuildFlags,
                           desc->pConstants, ret_log);
    REQUIRE(program->count == 1, UNSUPPORTED_FEATURE); /* nothing here links several */
    return build_spirv(module, program->pInputModules[0], program->inputSizes[0],
                       program->pBuildFlags ? program->pBuildFlags[0] : NULL,
                       program->pConstants ? program->pConstants[0] : NULL, ret_log);
}

static ze_result_t module_create(ze_context_handle_t context, ze_device_handle_t device,
                                 const ze_module_desc_t *desc, ze_module_handle_t *ret_module,
                                 ze_module_build_log_handle_t *ret_log)
{
    _cleanup_(freep) char *log = NULL;
    const struct opencl *opencl;
    ze_module_handle_t module;
    ze_result_t result, logged;

    ENTER(zeModuleCreate);
    REQUIRE_HANDLE(context && device);
    REQUIRE_POINTER(desc && ret_module);
    REQUIRE((unsigned)desc->format <= ZE_MODULE_FORMAT_NATIVE, INVALID_ENUMERATION);
    if (!chain_find(desc->pNext, ZE_STRUCTURE_TYPE_MODULE_PROGRAM_EXP_DESC)) {
        REQUIRE_POINTER(desc->pInputModule);
        REQUIRE(desc->inputSize > 0, INVALID_SIZE);
    }
    REQUIRE(context_has(context, device), INVALID_ARGUMENT);
    opencl = opencl_get();
    REQUIRE(opencl, UNSUPPORTED_FEATURE);
    module = calloc(1, sizeof(*module));
    REQUIRE(module, OUT_OF_HOST_MEMORY);
    atomic_init(&module->refs, 1);
    module->context = context;
    module->device = device;
    module->opencl = opencl;
    result = build(module, desc, &log);
    logged = build_log_new(log, ret_log);
    if (result == ZE_RESULT_SUCCESS)
        result = logged;
    if (result != ZE_RESULT_SUCCESS) {
        module_unref(module);
        return result;
    }
    *ret_module = module;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t module_destroy(ze_module_handle_t module)
{
    ENTER(zeModuleDestroy);
    REQUIRE_HANDLE(module);
    module_unref(module);
    return ZE_RESULT_SUCCESS;
}

/* Modules that need nothing from each other are linked as they are; nothing here links others. */
static ze_result_t module_dynamic_link(uint32_t count, ze_module_handle_t *modules,
                                       ze_module_build_log_handle_t *ret_log)
{
    ze_result_t result;
    bool imports = false;

    ENTER(zeModuleDynamicLink);
    REQUIRE_POINTER(modules);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(modules[i]);
        imports |= modules[i]->spirv.imports;
    }
    result = build_log_new(imports ? "functions of other modules cannot be linked" : "", ret_log);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    REQUIRE(!imports, MODULE_LINK_FAILURE);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t module_inspect_linkage(ze_linkage_inspection_ext_desc_t *desc, uint32_t count,
                                          ze_module_handle_t *modules,
                                          ze_module_build_log_handle_t *ret_log)
{
    bool imports = false;

    ENTER(zeModuleInspectLinkageExt);
    REQUIRE_POINTER(desc && modules && ret_log);
    REQUIRE(desc->flags <= 0x7, INVALID_ENUMERATION);
    for (uint32_t i = 0; i < count; i++) {
        REQUIRE_HANDLE(modules[i]);
        imports |= modules[i]->spirv.imports;
    }
    imports &= desc->flags & ZE_LINKAGE_INSPECTION_EXT_FLAG_UNRESOLVABLE_IMPORTS ? 1 : 0;
    return build_log_new(imports ? "unresolvable imports" : "", ret_log);
}

static ze_result_t module_get_native_binary(ze_module_handle_t module, size_t *size,
                                            uint8_t *ret_native)
{
    struct native_header header = { .magic = NATIVE_MAGIC };
    _cleanup_(freep) void *binary = NULL;
    size_t binary_size, total;

    ENTER(zeModuleGetNativeBinary);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(size);
    REQUIRE(opencl_native(module->opencl, module->program, &binary, &binary_size),
            OUT_OF_HOST_MEMORY);
    header.spirv_size = module->spirv.word_count * sizeof(uint32_t);
    header.binary_size = binary_size;
    total = sizeof(header) + header.spirv_size + binary_size;
    if (ret_native) {
        REQUIRE(*size >= total, INVALID_SIZE);
        memcpy(ret_native, &header, sizeof(header));
        memcpy(ret_native + sizeof(header), module->spirv.words, header.spirv_size);
        memcpy(ret_native + sizeof(header) + header.spirv_size, binary, binary_size);
    }
    *size = total;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t module_get_kernel_names(ze_module_handle_t module, uint32_t *count,
                                           const char **names)
{
    ENTER(zeModuleGetKernelNames);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(count);
    if (*count == 0 || *count > module->spirv.kernel_count) {
        bool only_count = *count == 0;

        *count = module->spirv.kernel_count;
        if (only_count)
            return ZE_RESULT_SUCCESS;
    }
    for (uint32_t i = 0; names && i < *count; i++)
        names[i] = module->spirv.kernels[i].name;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t module_get_properties(ze_module_handle_t module,
                                         ze_module_properties_t *properties)
{
    ENTER(zeModuleGetProperties);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(properties);
    properties->flags = module->spirv.imports ? ZE_MODULE_PROPERTY_FLAG_IMPORTS : 0;
    return ZE_RESULT_SUCCESS;
}

/* The runtime shows neither its globals nor the addresses of its functions. */
static ze_result_t module_get_global_pointer(ze_module_handle_t module, const char *name,
                                             size_t *ret_size, void **ret_pointer)
{
    ENTER(zeModuleGetGlobalPointer);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(name);
    (void)ret_size;
    (void)ret_pointer;
    return ZE_RESULT_ERROR_INVALID_GLOBAL_NAME;
}

static ze_result_t module_get_function_pointer(ze_module_handle_t module, const char *name,
                                               void **ret_function)
{
    ENTER(zeModuleGetFunctionPointer);
    REQUIRE_HANDLE(module);
    REQUIRE_POINTER(name && ret_function);
    return ZE_RESULT_ERROR_INVALID_FUNCTION_NAME;
}

static ze_result_t build_log_destroy(ze_module_build_log_handle_t log)
{
    ENTER(zeModuleBuildLogDestroy);
    REQUIRE_HANDLE(log);
    free(log);
    return ZE_RESULT_SUCCESS;
}

static ze_result_t build_log_get_string(ze_module_build_log_handle_t log, size_t *size,
                                        char *ret_text)
{
    size_t needed;

    ENTER(zeModuleBuildLogGetString);
    REQUIRE_HANDLE(log);
    REQUIRE_POINTER(size);
    needed = strlen(log->text) + 1;
    if (ret_text) {
        size_t given = *size < needed ? *size : needed;

        memcpy(ret_text, log->text, given);
        if (given > 0)
            ret_text[given - 1] = '\0';
    }
    *size = needed;
    return ZE_RESULT_SUCCESS;
}

const struct ddi_table module_table =
    DDI_TABLE(DDI(ze_module_dditable_t, pfnCreate, 0, module_create),
              DDI(ze_module_dditable_t, pfnDestroy, 0, module_destroy),
              DDI(ze_module_dditable_t, pfnDynamicLink, 0, module_dynamic_link),
              DDI(ze_module_dditable_t, pfnGetNativeBinary, 0, module_get_native_binary),
              DDI(ze_module_dditable_t, pfnGetGlobalPointer, 0, module_get_global_pointer),
              DDI(ze_module_dditable_t, pfnGetKernelNames, 0, module_get_kernel_names),
              DDI(ze_module_dditable_t, pfnGetProperties, 0, module_get_properties),
              DDI(ze_module_dditable_t, pfnGetFunctionPointer, 0, module_get_function_pointer),
              DDI(ze_module_dditable_t, pfnInspectLinkageExt, 3, module_inspect_linkage));

const struct ddi_table module_build_log_table =
    DDI_TABLE(DDI(ze_module_build_log_dditable_t, pfnDestroy, 0, build_log_destroy),
              DDI(ze_module_build_log_dditable_t, pfnGetString, 0, build_log_get_string));
