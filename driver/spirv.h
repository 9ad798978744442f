/* SPDX-License-Identifier: MIT */
/* spirv.h: what has to be known of a SPIR-V module: its kernels, their arguments, its constants. */
#ifndef SOFT_SPIRV_H
#define SOFT_SPIRV_H

#include "soft.h"

enum argument_kind {
    ARGUMENT_VALUE,                     /* bytes: scalars, vectors, structures */
    ARGUMENT_POINTER,                   /* an address in any memory */
    ARGUMENT_LOCAL,                     /* a size of local memory */
    ARGUMENT_OTHER,                     /* images, samplers: refused */
};

struct signature_argument {
    enum argument_kind kind;
    uint32_t size;                      /* bytes; of a value or pointer */
};

struct signature {
    char *name;
    uint32_t argument_count;
    struct signature_argument *arguments;
    uint32_t required_size[3];          /* group size; 0: free */
    uint32_t required_subgroups, required_subgroup_size;
};

struct spirv {
    uint32_t *words;                    /* owned, in native byte order */
    size_t word_count;
    uint32_t kernel_count;
    struct signature *kernels;
    bool imports;                       /* functions of other modules are missing */
};

/* Reads a module (copied). False: it is not well-formed SPIR-V, or there is no memory. */
bool spirv_read(const void *data, size_t size, struct spirv *ret_spirv);
void spirv_free(struct spirv *spirv);
const struct signature *spirv_kernel(const struct spirv *spirv, const char *name);

/* Gives the specialization constant @p id its value. Unknown constants are ignored, as they may
 * have been optimised away. */
void spirv_specialize(struct spirv *spirv, uint32_t id, const void *value);

#endif
