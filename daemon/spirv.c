/* SPDX-License-Identifier: MIT */
/* daemon/spirv.c: SPIR-V, by SPIRV-Tools.
 *
 * Guarantees of this file:
 *   - kernels are described only of a module that the validator has accepted;
 *   - a kernel whose arguments cannot be checked one by one (images, pointers inside structures) is
 *     refused, with the reason;
 *   - sizes are those by which OpenCL passes arguments.
 * The validator is a large program: this runs in a build worker, not in the daemon itself.
 */
#include "daemon/spirv.h"

#include <xpurt/module.h>

#include <spirv-tools/libspirv.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_OPENCL_MAX 0x10200u     /* of SPIR-V: the newest that OpenCL 2.2 names */
#define KERNELS_MAX 4096u
#define NAME_MAX_BYTES 1024u

/* Numbers of the SPIR-V specification; Debian's SPIRV-Tools come without a header of them. */
enum {
    OP_MEMORY_MODEL = 14,
    OP_ENTRY_POINT = 15,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_TYPE_FUNCTION = 33,
    OP_CONSTANT = 43,
    OP_SPEC_CONSTANT = 50,
    OP_FUNCTION = 54,
    OP_DECORATE = 71,
    OP_GROUP_DECORATE = 74,
};
enum { ADDRESSING_PHYSICAL64 = 2, MODEL_KERNEL = 6, DECORATION_CPACKED = 10 };
enum { STORAGE_CONSTANT = 0, STORAGE_LOCAL = 4, STORAGE_GLOBAL = 5, STORAGE_FUNCTION = 7 };

/* What is known of an id. */
struct id {
    enum { ID_OTHER, ID_VALUE, ID_POINTER, ID_FUNCTION_TYPE, ID_FUNCTION, ID_CONSTANT } kind;
    bool packed;                        /* a structure without gaps */
    uint32_t size, alignment;           /* of a value */
    uint32_t storage;                   /* of a pointer */
    uint32_t other;                     /* pointer: to that type; function: its type; constant: its
                                           number; function type: where its parameters begin */
    uint32_t count;                     /* function type: of parameters */
};

struct entry {
    uint32_t function;
    char *name;
};

struct reader {
    struct id *ids;
    uint32_t bound;
    uint32_t *parameters;               /* of all function types, one after the other */
    size_t n_parameters;
    struct entry *entries;
    size_t n_entries;
    uint32_t addressing;
};

/* ---- instructions ------------------------------------------------------------------------------- */

/* The validator has seen that ids are below the bound; that is checked again where it costs nothing. */
static struct id *id_at(struct reader *reader, uint32_t id)
{
    return &reader->ids[id < reader->bound ? id : 0];
}

static void value_set(struct id *id, uint64_t size, uint32_t alignment)
{
    if (size == 0 || size > SPIRV_ARGUMENT_BYTES_MAX)
        return;                         /* stays ID_OTHER */
    id->kind = ID_VALUE;
    id->size = (uint32_t)size;
    id->alignment = alignment;
}

static void read_vector(struct reader *reader, const spv_parsed_instruction_t *in, struct id *id)
{
    const struct id *component = id_at(reader, in->words[2]);
    uint32_t count = in->words[3] == 3 ? 4 : in->words[3]; /* three take the room of four */

    if (component->kind == ID_VALUE && count <= 16)
        value_set(id, component->size * count, component->size * count);
}

static void read_array(struct reader *reader, const spv_parsed_instruction_t *in, struct id *id)
{
    const struct id *element = id_at(reader, in->words[2]), *count = id_at(reader, in->words[3]);

    if (element->kind == ID_VALUE && count->kind == ID_CONSTANT)
        value_set(id, (uint64_t)element->size * count->other, element->alignment);
}

static uint64_t round_up(uint64_t size, uint32_t alignment)
{
    return (size + alignment - 1) / alignment * alignment;
}

static void read_struct(struct reader *reader, const spv_parsed_instruction_t *in, struct id *id)
{
    uint32_t largest = 1;
    uint64_t size = 0;

    for (uint32_t i = 2; i < in->num_words; i++) {
        const struct id *member = id_at(reader, in->words[i]);
        uint32_t alignment = id->packed ? 1 : member->alignment;

        if (member->kind != ID_VALUE)
            return;                     /* a pointer, say, which nobody could check */
        size = round_up(size, alignment) + member->size;
        if (alignment > largest)
            largest = alignment;
    }
    value_set(id, round_up(size, largest), largest);
}

static spv_result_t read_function_type(struct reader *reader, const spv_parsed_instruction_t *in,
                                       struct id *id)
{
    uint32_t count = in->num_words - 3u, *parameters;

    parameters =
        realloc(reader->parameters, (reader->n_parameters + count + 1) * sizeof(*parameters));
    if (!parameters)
        return SPV_ERROR_OUT_OF_MEMORY;
    reader->parameters = parameters;
    memcpy(parameters + reader->n_parameters, in->words + 3, count * sizeof(*parameters));
    id->kind = ID_FUNCTION_TYPE;
    id->other = (uint32_t)reader->n_parameters;
    id->count = count;
    reader->n_parameters += count;
    return SPV_SUCCESS;
}

static spv_result_t read_entry(struct reader *reader, const spv_parsed_instruction_t *in)
{
    const char *name = (const char *)(in->words + 3);
    struct entry *entries;

    if (in->words[1] != MODEL_KERNEL)
        return SPV_SUCCESS;
    entries = realloc(reader->entries, (reader->n_entries + 1) * sizeof(*entries));
    if (!entries)
        return SPV_ERROR_OUT_OF_MEMORY;
    reader->entries = entries;
    entries[reader->n_entries].function = in->words[2];
    entries[reader->n_entries].name = strndup(name, (in->num_words - 3u) * sizeof(uint32_t));
    return entries[reader->n_entries++].name ? SPV_SUCCESS : SPV_ERROR_OUT_OF_MEMORY;
}

static void read_constant(const spv_parsed_instruction_t *in, struct id *id)
{
    id->kind = ID_CONSTANT;
    id->other = in->num_words > 4 && in->words[4] ? UINT32_MAX : in->words[3];
}

static void read_group_decorate(struct reader *reader, const spv_parsed_instruction_t *in)
{
    for (uint32_t i = 2; i < in->num_words; i++)
        id_at(reader, in->words[i])->packed |= id_at(reader, in->words[1])->packed;
}

static spv_result_t on_header(void *data, spv_endianness_t endian, uint32_t magic, uint32_t version,
                              uint32_t generator, uint32_t bound, uint32_t reserved)
{
    struct reader *reader = data;

    (void)endian, (void)magic, (void)version, (void)generator, (void)reserved;
    reader->bound = bound;
    reader->ids = calloc((size_t)bound + 1, sizeof(*reader->ids));
    return reader->ids ? SPV_SUCCESS : SPV_ERROR_OUT_OF_MEMORY;
}

static spv_result_t on_instruction(void *data, const spv_parsed_instruction_t *in)
{
    struct reader *reader = data;
    struct id *id = id_at(reader, in->result_id);

    switch (in->opcode) {
    case OP_MEMORY_MODEL:
        reader->addressing = in->words[1];
        break;
    case OP_ENTRY_POINT:
        return read_entry(reader, in);
    case OP_DECORATE:
        if (in->words[2] == DECORATION_CPACKED)
            id_at(reader, in->words[1])->packed = true;
        break;
    case OP_GROUP_DECORATE:
        read_group_decorate(reader, in);
        break;
    case OP_TYPE_BOOL:
        value_set(id, 1, 1);
        break;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        value_set(id, in->words[2] / 8, in->words[2] / 8);
        break;
    case OP_TYPE_VECTOR:
        read_vector(reader, in, id);
        break;
    case OP_TYPE_ARRAY:
        read_array(reader, in, id);
        break;
    case OP_TYPE_STRUCT:
        read_struct(reader, in, id);
        break;
    case OP_TYPE_POINTER:
        id->kind = ID_POINTER;
        id->storage = in->words[2];
        id->other = in->words[3];
        break;
    case OP_TYPE_FUNCTION:
        return read_function_type(reader, in, id);
    case OP_CONSTANT:
    case OP_SPEC_CONSTANT:
        read_constant(in, id);
        break;
    case OP_FUNCTION:
        id->kind = ID_FUNCTION;
        id->other = in->words[4];
        break;
    default:
        break;
    }
    return SPV_SUCCESS;
}

/* ---- kernels ------------------------------------------------------------------------------------ */

/* False: not one that can be passed and checked. */
static bool parameter_read(struct reader *reader, uint32_t type, Xpurt__Parameter *parameter)
{
    const struct id *id = id_at(reader, type);

    if (id->kind == ID_POINTER && id->storage == STORAGE_LOCAL) {
        parameter->kind = XPURT_ARG_LOCAL;
        return true;
    }
    if (id->kind == ID_POINTER &&
        (id->storage == STORAGE_GLOBAL || id->storage == STORAGE_CONSTANT)) {
        parameter->kind = XPURT_ARG_POINTER;
        parameter->size = sizeof(uint64_t);
        return true;
    }
    if (id->kind == ID_POINTER && id->storage == STORAGE_FUNCTION)
        id = id_at(reader, id->other);  /* a structure passed by value */
    parameter->kind = XPURT_ARG_BYTES;
    parameter->size = id->size;
    return id->kind == ID_VALUE;
}

static bool refuse(Xpurt__Kernel *kernel, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* False: no memory. */
static bool refuse(Xpurt__Kernel *kernel, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vasprintf(&kernel->refused, format, args);
    va_end(args);
    if (n < 0)
        kernel->refused = (char *)protobuf_c_empty_string;
    return n >= 0;
}

static bool parameters_read(struct reader *reader, const struct id *type, Xpurt__Kernel *kernel)
{
    uint64_t bytes = 0;

    kernel->parameters = calloc(type->count + 1, sizeof(*kernel->parameters));
    if (!kernel->parameters)
        return false;
    for (uint32_t i = 0; i < type->count; i++) {
        Xpurt__Parameter *parameter = malloc(sizeof(*parameter));

        if (!parameter)
            return false;
        xpurt__parameter__init(parameter);
        kernel->parameters[kernel->n_parameters++] = parameter;
        if (!parameter_read(reader, reader->parameters[type->other + i], parameter))
            return refuse(
                kernel,
                "argument %u is an image, a sampler, a structure with a pointer in it, or "
                "something else that cannot be passed",
                i);
        bytes += parameter->size;
    }
    if (bytes > SPIRV_ARGUMENT_BYTES_MAX)
        return refuse(kernel, "its arguments take %llu bytes, %u are allowed",
                      (unsigned long long)bytes, SPIRV_ARGUMENT_BYTES_MAX);
    return true;
}

static bool kernel_read(struct reader *reader, struct entry *entry, Xpurt__Kernel *kernel)
{
    const struct id *function = id_at(reader, entry->function), *type;

    xpurt__kernel__init(kernel);
    kernel->name = entry->name;
    entry->name = NULL;
    type = id_at(reader, function->other);
    if (function->kind != ID_FUNCTION || type->kind != ID_FUNCTION_TYPE ||
        type->count > SPIRV_ARGUMENTS_MAX)
        return refuse(kernel, "it has more than %u arguments", SPIRV_ARGUMENTS_MAX);
    return parameters_read(reader, type, kernel);
}

static bool kernels_read(struct reader *reader, Xpurt__ModuleContents *contents)
{
    contents->kernels = calloc(reader->n_entries + 1, sizeof(*contents->kernels));
    if (!contents->kernels)
        return false;
    for (size_t i = 0; i < reader->n_entries; i++) {
        Xpurt__Kernel *kernel = malloc(sizeof(*kernel));

        if (!kernel)
            return false;
        contents->kernels[contents->n_kernels++] = kernel;
        if (!kernel_read(reader, &reader->entries[i], kernel))
            return false;
    }
    return true;
}

/* ---- the module --------------------------------------------------------------------------------- */

static xpurt_result invalid(Xpurt__ModuleContents *contents, const char *reason)
{
    contents->log = strdup(reason);
    if (!contents->log)
        contents->log = (char *)protobuf_c_empty_string;
    return XPURT_ERROR_BUILD_FAILED;
}

/* What no validator knows: what we can pass on. */
static xpurt_result check(const struct reader *reader, Xpurt__ModuleContents *contents)
{
    if (reader->addressing != ADDRESSING_PHYSICAL64)
        return invalid(contents, "the module is not for 64-bit addresses (target spir64)");
    if (reader->n_entries > KERNELS_MAX)
        return invalid(contents, "the module has more than 4096 kernels");
    for (size_t i = 0; i < reader->n_entries; i++)
        if (strlen(reader->entries[i].name) > NAME_MAX_BYTES)
            return invalid(contents, "the name of a kernel is longer than 1024 bytes");
    return XPURT_SUCCESS;
}

static xpurt_result parse(spv_context context, const uint32_t *words, size_t n_words,
                          struct reader *reader, Xpurt__ModuleContents *contents)
{
    spv_diagnostic diagnostic = NULL;
    spv_result_t failed;
    xpurt_result result;

    failed = spvValidateBinary(context, words, n_words, &diagnostic);
    if (failed) {
        result = invalid(contents, diagnostic ? diagnostic->error : "not a valid SPIR-V module");
    } else {
        failed = spvBinaryParse(context, reader, words, n_words, on_header, on_instruction, NULL);
        result = failed ? XPURT_ERROR_OUT_OF_HOST_MEMORY : check(reader, contents);
    }
    spvDiagnosticDestroy(diagnostic);
    if (!result && !kernels_read(reader, contents))
        result = XPURT_ERROR_OUT_OF_HOST_MEMORY;
    return result;
}

static void reader_deinit(struct reader *reader)
{
    for (size_t i = 0; i < reader->n_entries; i++)
        free(reader->entries[i].name);
    free(reader->entries);
    free(reader->parameters);
    free(reader->ids);
}

/* The rules of OpenCL where they are written for that version, else those of every module. */
static spv_target_env environment_of(const uint32_t *words, size_t n_words)
{
    return n_words > 1 && words[1] <= VERSION_OPENCL_MAX ? SPV_ENV_OPENCL_2_2 :
                                                           SPV_ENV_UNIVERSAL_1_6;
}

xpurt_result spirv_read(const uint32_t *words, size_t n_words, Xpurt__ModuleContents **ret_contents)
{
    Xpurt__ModuleContents *contents = malloc(sizeof(*contents));
    struct reader reader = { 0 };
    spv_context context;
    xpurt_result result;

    if (!contents)
        return XPURT_ERROR_OUT_OF_HOST_MEMORY;
    xpurt__module_contents__init(contents);
    context = spvContextCreate(environment_of(words, n_words));
    result = parse(context, words, n_words, &reader, contents);
    spvContextDestroy(context);
    reader_deinit(&reader);
    if (result == XPURT_ERROR_OUT_OF_HOST_MEMORY) {
        xpurt__module_contents__free_unpacked(contents, NULL);
        return result;
    }
    *ret_contents = contents;
    return result;
}
