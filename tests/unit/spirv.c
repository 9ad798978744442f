/* SPDX-License-Identifier: MIT */
/* tests/unit/spirv.c: kernels as SPIR-V describes them: what compilers for OpenCL C never write too. */
#include "daemon/spirv.h"

#include <xpurt/module.h>

#define kDefaultMaxIdBound unit_max_id_bound /* in C the header defines it in each file */

#include <criterion/criterion.h>
#include <spirv-tools/libspirv.h>
#include <stdio.h>
#include <string.h>

static Xpurt__ModuleContents *contents;

static void fini(void)
{
    if (contents)
        xpurt__module_contents__free_unpacked(contents, NULL);
}

TestSuite(spirv, .fini = fini);

static xpurt_result read_words(const uint32_t *words, size_t n)
{
    fini();
    contents = NULL;
    return spirv_read(words, n, &contents);
}

static xpurt_result read_text(const char *text)
{
    spv_context context = spvContextCreate(SPV_ENV_UNIVERSAL_1_4);
    spv_diagnostic diagnostic = NULL;
    spv_binary binary = NULL;
    xpurt_result result;

    cr_assert_eq(spvTextToBinary(context, text, strlen(text), &binary, &diagnostic), SPV_SUCCESS,
                 "%s", diagnostic ? diagnostic->error : "");
    result = read_words(binary->code, binary->wordCount);
    spvBinaryDestroy(binary);
    spvDiagnosticDestroy(diagnostic);
    spvContextDestroy(context);
    return result;
}

/* A module with one kernel that takes these types. */
static xpurt_result read_kernel(const char *decorations, const char *types, const char *parameters)
{
    static const char head[] = "OpCapability Kernel\nOpCapability Addresses\nOpCapability Linkage\n"
                               "OpCapability Int64\nOpCapability Int8\nOpCapability Int16\n"
                               "OpCapability Float64\nOpCapability Vector16\n"
                               "OpCapability ImageBasic\nOpCapability LiteralSampler\n"
                               "OpMemoryModel Physical64 OpenCL\n"
                               "OpEntryPoint Kernel %main \"main\"\n";
    static const char base[] = "%void = OpTypeVoid\n%char = OpTypeInt 8 0\n"
                               "%short = OpTypeInt 16 0\n%int = OpTypeInt 32 0\n"
                               "%long = OpTypeInt 64 0\n%float = OpTypeFloat 32\n";
    char text[8192], functions[2048] = "", given[1024] = "", copy[512], *save = NULL;
    int n = 0;

    snprintf(copy, sizeof(copy), "%s", parameters);
    for (char *type = strtok_r(copy, " ", &save); type; type = strtok_r(NULL, " ", &save)) {
        snprintf(functions + strlen(functions), sizeof(functions) - strlen(functions),
                 "%%p%d = OpFunctionParameter %s\n", n++, type);
        snprintf(given + strlen(given), sizeof(given) - strlen(given), " %s", type);
    }
    snprintf(text, sizeof(text),
             "%s%s%s%s%%type = OpTypeFunction %%void%s\n%%main = OpFunction %%void None %%type\n%s"
             "%%label = OpLabel\nOpReturn\nOpFunctionEnd\n",
             head, decorations, base, types, given, functions);
    return read_text(text);
}

static void expect_parameter(size_t index, xpurt_arg_kind kind, uint32_t size)
{
    const Xpurt__Parameter *parameter;

    cr_assert_lt(index, contents->kernels[0]->n_parameters);
    parameter = contents->kernels[0]->parameters[index];
    cr_assert_eq(parameter->kind, kind, "%zu: kind %u", index, parameter->kind);
    cr_assert_eq(parameter->size, size, "%zu: size %u", index, parameter->size);
}

Test(spirv, pointers_by_storage_class)
{
    cr_assert_eq(read_kernel("",
                             "%g = OpTypePointer CrossWorkgroup %int\n"
                             "%c = OpTypePointer UniformConstant %int\n"
                             "%l = OpTypePointer Workgroup %int\n",
                             "%g %c %l %long"),
                 XPURT_SUCCESS, "%s", contents->log);
    cr_assert_str_eq(contents->kernels[0]->name, "main");
    cr_assert_str_eq(contents->kernels[0]->refused, "");
    expect_parameter(0, XPURT_ARG_POINTER, 8);
    expect_parameter(1, XPURT_ARG_POINTER, 8);
    expect_parameter(2, XPURT_ARG_LOCAL, 0);
    expect_parameter(3, XPURT_ARG_BYTES, 8);
}

Test(spirv, values_have_the_sizes_of_opencl)
{
    static const char types[] = "%v3 = OpTypeVector %float 3\n%v16 = OpTypeVector %char 16\n"
                                "%three = OpConstant %int 3\n%array = OpTypeArray %short %three\n"
                                "%mixed = OpTypeStruct %char %v3 %array\n"
                                "%tight = OpTypeStruct %char %long %char\n"
                                "%byvalue = OpTypePointer Function %tight\n";

    cr_assert_eq(read_kernel("OpDecorate %tight CPacked\n", types,
                             "%char %v3 %v16 %array %mixed %tight %byvalue"),
                 XPURT_SUCCESS, "%s", contents->log);
    cr_assert_str_eq(contents->kernels[0]->refused, "");
    expect_parameter(0, XPURT_ARG_BYTES, 1);
    expect_parameter(1, XPURT_ARG_BYTES, 16);
    expect_parameter(2, XPURT_ARG_BYTES, 16);
    expect_parameter(3, XPURT_ARG_BYTES, 6);
    expect_parameter(4, XPURT_ARG_BYTES, 48);
    expect_parameter(5, XPURT_ARG_BYTES, 10);
    expect_parameter(6, XPURT_ARG_BYTES, 10);
}

/* What could carry an address that nobody checks, or what nobody can pass. */
Test(spirv, refused_parameters)
{
    static const char *const types[] = {
        "%g = OpTypePointer CrossWorkgroup %int\n%s = OpTypeStruct %int %g\n"
        "%bad = OpTypePointer Function %s\n",
        "%g = OpTypePointer CrossWorkgroup %int\n%bad = OpTypeStruct %int %g\n",
        "%bad = OpTypeSampler\n",
        "%bad = OpTypeImage %void 2D 0 0 0 0 Unknown ReadOnly\n",
        "%huge = OpConstant %int 5000\n%bad = OpTypeArray %char %huge\n",
        "%huge = OpConstant %long 0x100000001\n%bad = OpTypeArray %char %huge\n",
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        cr_assert_eq(read_kernel("", types[i], "%int %bad"), XPURT_SUCCESS, "%zu: %s", i,
                     contents->log);
        cr_assert(strstr(contents->kernels[0]->refused, "argument 1"), "%zu: %s", i,
                  contents->kernels[0]->refused);
    }
    cr_assert_eq(read_kernel("", "%n = OpConstant %int 4096\n%large = OpTypeArray %char %n\n",
                             "%large %char"),
                 XPURT_SUCCESS);
    cr_assert(strstr(contents->kernels[0]->refused, "4097"), "%s", contents->kernels[0]->refused);
}

Test(spirv, refused_modules)
{
    static const uint32_t magic_only[] = { 0x07230203 };

    cr_assert_eq(read_text("OpCapability Kernel\nOpCapability Addresses\nOpCapability Linkage\n"
                           "OpMemoryModel Physical32 OpenCL\n"),
                 XPURT_ERROR_BUILD_FAILED);
    cr_assert(strstr(contents->log, "64-bit"), "%s", contents->log);
    cr_assert_eq(read_words(magic_only, 0), XPURT_ERROR_BUILD_FAILED);
    cr_assert_eq(read_words(magic_only, 1), XPURT_ERROR_BUILD_FAILED);
    cr_assert(contents->log[0]);
    cr_assert_eq(read_text("OpCapability Kernel\n%1 = OpTypeInt 32 0\n"), XPURT_ERROR_BUILD_FAILED);
    cr_assert_eq(contents->n_kernels, 0);
}

/* A library has none. */
Test(spirv, a_module_without_kernels)
{
    cr_assert_eq(read_text("OpCapability Kernel\nOpCapability Addresses\nOpCapability Linkage\n"
                           "OpMemoryModel Physical64 OpenCL\n"),
                 XPURT_SUCCESS);
    cr_assert_eq(contents->n_kernels, 0);
}
