/* SPDX-License-Identifier: MIT */
/* daemon/spirv.h: whether SPIR-V is valid, and what its kernels take. */
#pragma once

#include "proto/xpurt.pb-c.h"

#include <xpurt/base.h>

#define SPIRV_ARGUMENTS_MAX 255u        /* of a kernel: the specification's limit */
#define SPIRV_ARGUMENT_BYTES_MAX 4096u  /* of all values of a kernel: more than devices take */

/* Check a module and describe its kernels: names, parameters, and why one of them is refused; freed
 * by xpurt__module_contents__free_unpacked(). XPURT_ERROR_BUILD_FAILED: it is not valid, and the log
 * says why. XPURT_ERROR_OUT_OF_HOST_MEMORY: there are no contents at all. */
xpurt_result spirv_read(const uint32_t *words, size_t n_words,
                        Xpurt__ModuleContents **ret_contents);
