/* SPDX-License-Identifier: MIT */
/* module.h: modules and the kernels in them. */
#ifndef SOFT_MODULE_H
#define SOFT_MODULE_H

#include "device.h"
#include "opencl.h"

#include <pthread.h>

struct _ze_module_handle_t {
    _Atomic uint32_t refs;              /* the handle and each kernel */
    ze_context_handle_t context;        /* borrowed */
    ze_device_handle_t device;
    const struct opencl *opencl;
    struct spirv spirv;
    opencl_handle program;              /* owned */
};

/* Where an argument is, and how it was set. */
struct argument {
    size_t size;                        /* of the value, or of local memory */
    uint32_t offset;                    /* of the value in bytes[] */
    bool set;
};

/* The arguments of a kernel. Never changed while somebody shares them: launches keep what was set
 * when they were appended. */
struct arguments {
    _Atomic uint32_t refs;
    uint32_t count;
    size_t bytes_size;
    unsigned char *bytes;               /* behind values, in the same block */
    struct argument values[];
};

struct _ze_kernel_handle_t {
    _Atomic uint32_t refs;              /* the handle and each launch */
    ze_module_handle_t module;          /* a reference */
    const struct signature *signature;  /* borrowed from the module */
    opencl_handle kernel;               /* owned; used under the lock */
    pthread_mutex_t lock;
    uint32_t group_size[3], offset[3];
    struct arguments *arguments;        /* a reference */
    ze_kernel_indirect_access_flags_t indirect;
};

void module_unref(ze_module_handle_t module);
void kernel_unref(ze_kernel_handle_t kernel);
void arguments_unref(struct arguments *arguments);

ze_result_t kernel_create(ze_module_handle_t module, const ze_kernel_desc_t *desc,
                          ze_kernel_handle_t *ret_kernel);
ze_result_t kernel_use_group_size(ze_kernel_handle_t kernel, const uint32_t size[3]);
ze_result_t kernel_use_argument(ze_kernel_handle_t kernel, uint32_t index, size_t size,
                                const void *value);

#endif
