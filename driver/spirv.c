/* SPDX-License-Identifier: MIT */
/* spirv.c: reading SPIR-V.
 *
 * Guarantees of this file:
 *   - any bytes at all may be given: every length and every id is checked before it is used;
 *   - sizes and alignments of arguments are those of OpenCL C, by which the host passes them.
 */
#include "spirv.h"

#include <string.h>

#define MAGIC 0x07230203u
#define HEADER_WORDS 5u
#define IDS_MAX (1u << 22)              /* the limit of the specification's universal minimum */
#define DEPTH_MAX 32                    /* nesting of types */

enum {
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_TYPE_FUNCTION = 33,
    OP_CONSTANT = 43,
    OP_SPEC_CONSTANT_TRUE = 48,
    OP_SPEC_CONSTANT_FALSE = 49,
    OP_SPEC_CONSTANT = 50,
    OP_FUNCTION = 54,
    OP_DECORATE = 71,
};
enum { MODE_LOCAL_SIZE = 17, MODE_SUBGROUP_SIZE = 35, MODE_SUBGROUPS_PER_WORKGROUP = 36 };
enum { DECORATION_SPEC_ID = 1, DECORATION_CPACKED = 10, DECORATION_LINKAGE = 41 };
enum {
    CLASS_UNIFORM_CONSTANT = 0,
    CLASS_WORKGROUP = 4,
    CLASS_CROSS_WORKGROUP = 5,
    CLASS_FUNCTION = 7,
    CLASS_GENERIC = 8
};
enum { EXECUTION_KERNEL = 6, LINKAGE_IMPORT = 1 };

/* The instruction that defines each id; offsets in words, 0: none. Only while reading. */
struct index {
    const struct spirv *spirv;
    uint32_t *defined;
    uint8_t *packed;
    uint32_t bound;
};

struct layout {
    uint32_t size, alignment;
};

static uint32_t opcode_at(const struct spirv *spirv, size_t at)
{
    return spirv->words[at] & 0xffff;
}

static uint32_t length_at(const struct spirv *spirv, size_t at)
{
    return spirv->words[at] >> 16;
}

/* Iterates over instructions that are wholly inside the module. */
static bool instruction_next(const struct spirv *spirv, size_t *at)
{
    *at = *at ? *at + length_at(spirv, *at) : HEADER_WORDS;
    return *at < spirv->word_count && length_at(spirv, *at) > 0 &&
           length_at(spirv, *at) <= spirv->word_count - *at;
}

/* Which operand is the result id; 0: none of those we look at. */
static uint32_t result_operand(uint32_t opcode)
{
    switch (opcode) {
    case OP_TYPE_BOOL ... OP_TYPE_FUNCTION:
        return 1;
    case OP_CONSTANT:
    case OP_SPEC_CONSTANT_TRUE:
    case OP_SPEC_CONSTANT_FALSE:
    case OP_SPEC_CONSTANT:
    case OP_FUNCTION:
        return 2;
    default:
        return 0;
    }
}

static const uint32_t *definition(const struct index *index, uint32_t id, uint32_t *ret_opcode,
                                  uint32_t *ret_length)
{
    uint32_t at = id < index->bound ? index->defined[id] : 0;

    if (!at)
        return NULL;
    *ret_opcode = opcode_at(index->spirv, at);
    *ret_length = length_at(index->spirv, at);
    return index->spirv->words + at;
}

static bool layout_of(const struct index *index, uint32_t type, int depth,
                      struct layout *ret_layout);

static bool struct_layout(const struct index *index, const uint32_t *words, uint32_t length,
                          int depth, struct layout *ret_layout)
{
    bool packed = words[1] < index->bound && index->packed[words[1]];
    struct layout layout = { 0, 1 }, member;

    for (uint32_t i = 2; i < length; i++) {
        if (!layout_of(index, words[i], depth, &member))
            return false;
        if (packed)
            member.alignment = 1;
        layout.size = ALIGN_UP(layout.size, member.alignment) + member.size;
        if (member.alignment > layout.alignment)
            layout.alignment = member.alignment;
        if (layout.size > IDS_MAX)
            return false;
    }
    layout.size = ALIGN_UP(layout.size, layout.alignment);
    *ret_layout = layout;
    return true;
}

static bool array_layout(const struct index *index, const uint32_t *words, int depth,
                         struct layout *ret_layout)
{
    uint32_t opcode, length;
    const uint32_t *count = definition(index, words[3], &opcode, &length);
    struct layout element;

    if (!count || (opcode != OP_CONSTANT && opcode != OP_SPEC_CONSTANT) || length < 4 ||
        !layout_of(index, words[2], depth, &element))
        return false;
    if (element.size && count[3] > IDS_MAX / element.size)
        return false;
    *ret_layout = (struct layout){ element.size * count[3], element.alignment };
    return true;
}

static bool layout_of(const struct index *index, uint32_t type, int depth,
                      struct layout *ret_layout)
{
    uint32_t opcode, length;
    const uint32_t *words = definition(index, type, &opcode, &length);
    struct layout element;

    if (!words || depth > DEPTH_MAX)
        return false;
    switch (opcode) {
    case OP_TYPE_BOOL:
        *ret_layout = (struct layout){ 1, 1 };
        return true;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        if (length < 3 || (words[2] != 8 && words[2] != 16 && words[2] != 32 && words[2] != 64))
            return false;
        *ret_layout = (struct layout){ words[2] / 8, words[2] / 8 };
        return true;
    case OP_TYPE_VECTOR:
        if (length < 4 || words[3] > 16 || !layout_of(index, words[2], depth + 1, &element))
            return false;
        element.size *= words[3] == 3 ? 4 : words[3]; /* three components take the room of four */
        *ret_layout = (struct layout){ element.size, element.size ? element.size : 1 };
        return true;
    case OP_TYPE_ARRAY:
        return length >= 4 && array_layout(index, words, depth + 1, ret_layout);
    case OP_TYPE_STRUCT:
        return struct_layout(index, words, length, depth + 1, ret_layout);
    case OP_TYPE_POINTER:
        *ret_layout = (struct layout){ sizeof(void *), sizeof(void *) };
        return true;
    default:
        return false;
    }
}

static struct signature_argument argument_of(const struct index *index, uint32_t type)
{
    const struct signature_argument other = { ARGUMENT_OTHER, 0 };
    uint32_t opcode, length;
    const uint32_t *words = definition(index, type, &opcode, &length);
    struct layout layout;

    if (!words)
        return other;
    if (opcode != OP_TYPE_POINTER)
        return layout_of(index, type, 0, &layout) ?
                   (struct signature_argument){ ARGUMENT_VALUE, layout.size } :
                   other;
    if (length < 4)
        return other;
    switch (words[2]) {
    case CLASS_WORKGROUP:
        return (struct signature_argument){ ARGUMENT_LOCAL, 0 };
    case CLASS_UNIFORM_CONSTANT:
    case CLASS_CROSS_WORKGROUP:
    case CLASS_GENERIC:
        return (struct signature_argument){ ARGUMENT_POINTER, sizeof(void *) };
    case CLASS_FUNCTION:                /* a structure passed by value */
        return layout_of(index, words[3], 0, &layout) ?
                   (struct signature_argument){ ARGUMENT_VALUE, layout.size } :
                   other;
    default:
        return other;
    }
}

static bool read_arguments(const struct index *index, uint32_t function,
                           struct signature *signature)
{
    uint32_t opcode, length;
    const uint32_t *words = definition(index, function, &opcode, &length);

    if (!words || opcode != OP_FUNCTION || length < 5)
        return false;
    words = definition(index, words[4], &opcode, &length);
    if (!words || opcode != OP_TYPE_FUNCTION || length < 3)
        return false;
    signature->argument_count = length - 3;
    signature->arguments = calloc(length - 3 + 1, sizeof(*signature->arguments));
    if (!signature->arguments)
        return false;
    for (uint32_t i = 3; i < length; i++)
        signature->arguments[i - 3] = argument_of(index, words[i]);
    return true;
}

/* The length of a literal string that ends inside the instruction; SIZE_MAX: it does not. */
static size_t literal_length(const uint32_t *words, uint32_t length)
{
    size_t bytes = length * sizeof(uint32_t), used = strnlen((const char *)words, bytes);

    return used == bytes ? SIZE_MAX : used;
}

static bool read_entry_point(const struct index *index, size_t at, struct spirv *spirv)
{
    const uint32_t *words = spirv->words + at;
    uint32_t length = length_at(spirv, at);
    struct signature *kernels, *kernel;

    if (length < 4 || words[1] != EXECUTION_KERNEL ||
        literal_length(words + 3, length - 3) == SIZE_MAX)
        return false;
    kernels = realloc(spirv->kernels, (spirv->kernel_count + 1) * sizeof(*kernels));
    if (!kernels)
        return false;
    spirv->kernels = kernels;
    kernel = &kernels[spirv->kernel_count++];
    *kernel = (struct signature){ .name = strdup((const char *)(words + 3)) };
    return kernel->name && read_arguments(index, words[2], kernel);
}

/* Modes come after all entry points and name them by function. */
static void read_execution_mode(struct spirv *spirv, size_t at)
{
    const uint32_t *words = spirv->words + at;
    uint32_t length = length_at(spirv, at), kernel = 0;
    size_t entry = 0;

    if (length < 4)
        return;
    while (instruction_next(spirv, &entry)) {
        if (opcode_at(spirv, entry) != OP_ENTRY_POINT)
            continue;
        if (kernel < spirv->kernel_count && spirv->words[entry + 2] == words[1]) {
            struct signature *signature = &spirv->kernels[kernel];

            if (words[2] == MODE_LOCAL_SIZE && length >= 6)
                memcpy(signature->required_size, words + 3, sizeof(signature->required_size));
            else if (words[2] == MODE_SUBGROUP_SIZE)
                signature->required_subgroup_size = words[3];
            else if (words[2] == MODE_SUBGROUPS_PER_WORKGROUP)
                signature->required_subgroups = words[3];
        }
        kernel++;
    }
}

/* Imported functions that are not part of the language itself must come from another module. */
static bool is_import(const struct index *index, size_t at)
{
    const struct spirv *spirv = index->spirv;
    const uint32_t *words = spirv->words + at;
    uint32_t length = length_at(spirv, at), opcode, unused;
    const char *name = (const char *)(words + 3);

    return length >= 5 && words[2] == DECORATION_LINKAGE && words[length - 1] == LINKAGE_IMPORT &&
           literal_length(words + 3, length - 4) != SIZE_MAX && strncmp(name, "_Z", 2) != 0 &&
           strncmp(name, "__spirv", 7) != 0 && strncmp(name, "llvm.", 5) != 0 &&
           definition(index, words[1], &opcode, &unused) && opcode == OP_FUNCTION;
}

static bool index_build(struct index *index, const struct spirv *spirv)
{
    size_t at = 0;

    index->spirv = spirv;
    index->bound = spirv->words[3];
    if (index->bound > IDS_MAX)
        return false;
    index->defined = calloc(index->bound + 1, sizeof(*index->defined));
    index->packed = calloc(index->bound + 1, 1);
    if (!index->defined || !index->packed)
        return false;
    while (instruction_next(spirv, &at)) {
        uint32_t operand = result_operand(opcode_at(spirv, at)), length = length_at(spirv, at);

        if (operand && length > operand && spirv->words[at + operand] < index->bound)
            index->defined[spirv->words[at + operand]] = (uint32_t)at;
        if (opcode_at(spirv, at) == OP_DECORATE && length >= 3 &&
            spirv->words[at + 2] == DECORATION_CPACKED && spirv->words[at + 1] < index->bound)
            index->packed[spirv->words[at + 1]] = 1;
    }
    return at == spirv->word_count;
}

static bool read_module(const struct index *index, struct spirv *spirv)
{
    size_t at = 0;

    while (instruction_next(spirv, &at))
        if (opcode_at(spirv, at) == OP_ENTRY_POINT && !read_entry_point(index, at, spirv))
            return false;
    at = 0;
    while (instruction_next(spirv, &at)) {
        if (opcode_at(spirv, at) == OP_EXECUTION_MODE)
            read_execution_mode(spirv, at);
        if (opcode_at(spirv, at) == OP_DECORATE)
            spirv->imports |= is_import(index, at);
    }
    return true;
}

bool spirv_read(const void *data, size_t size, struct spirv *ret_spirv)
{
    struct spirv spirv = { .word_count = size / sizeof(uint32_t) };
    struct index index = { 0 };
    bool good = false;

    if (size % sizeof(uint32_t) == 0 && spirv.word_count >= HEADER_WORDS &&
        spirv.word_count < UINT32_MAX) {
        spirv.words = malloc(size);
        if (spirv.words) {
            memcpy(spirv.words, data, size);
            if (spirv.words[0] == __builtin_bswap32(MAGIC))
                for (size_t i = 0; i < spirv.word_count; i++)
                    spirv.words[i] = __builtin_bswap32(spirv.words[i]);
            good = spirv.words[0] == MAGIC && index_build(&index, &spirv) &&
                   read_module(&index, &spirv);
        }
    }
    free(index.defined);
    free(index.packed);
    if (good)
        *ret_spirv = spirv;
    else
        spirv_free(&spirv);
    return good;
}

void spirv_free(struct spirv *spirv)
{
    for (uint32_t i = 0; i < spirv->kernel_count; i++) {
        free(spirv->kernels[i].name);
        free(spirv->kernels[i].arguments);
    }
    free(spirv->kernels);
    free(spirv->words);
    *spirv = (struct spirv){ 0 };
}

const struct signature *spirv_kernel(const struct spirv *spirv, const char *name)
{
    for (uint32_t i = 0; i < spirv->kernel_count; i++)
        if (strcmp(spirv->kernels[i].name, name) == 0)
            return &spirv->kernels[i];
    return NULL;
}

/* Writes a value over a constant's literal; narrow literals fill a word. */
static void write_literal(struct spirv *spirv, size_t at, const struct index *index,
                          const void *value)
{
    uint32_t opcode, length, width;
    const uint32_t *type = definition(index, spirv->words[at + 1], &opcode, &length);

    if (!type || (opcode != OP_TYPE_INT && opcode != OP_TYPE_FLOAT) || length < 3)
        return;
    width = type[2] / 8;
    if (width > (length_at(spirv, at) - 3) * sizeof(uint32_t))
        return;
    memset(spirv->words + at + 3, 0, (length_at(spirv, at) - 3) * sizeof(uint32_t));
    memcpy(spirv->words + at + 3, value, width);
}

void spirv_specialize(struct spirv *spirv, uint32_t id, const void *value)
{
    struct index index = { 0 };
    uint32_t target, opcode;
    size_t at = 0;

    if (!index_build(&index, spirv))
        goto out;
    while (instruction_next(spirv, &at)) {
        const uint32_t *words = spirv->words + at;

        if (opcode_at(spirv, at) != OP_DECORATE || length_at(spirv, at) < 4 ||
            words[2] != DECORATION_SPEC_ID || words[3] != id || words[1] >= index.bound ||
            !index.defined[words[1]])
            continue;
        target = index.defined[words[1]];
        opcode = opcode_at(spirv, target);
        if (opcode == OP_SPEC_CONSTANT && length_at(spirv, target) >= 4)
            write_literal(spirv, target, &index, value);
        else if (opcode == OP_SPEC_CONSTANT_TRUE || opcode == OP_SPEC_CONSTANT_FALSE)
            spirv->words[target] =
                (spirv->words[target] & ~0xffffu) |
                (*(const uint8_t *)value ? OP_SPEC_CONSTANT_TRUE : OP_SPEC_CONSTANT_FALSE);
    }
out:
    free(index.defined);
    free(index.packed);
}
