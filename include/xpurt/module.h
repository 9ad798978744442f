/* SPDX-License-Identifier: MIT */
/**
 * @file module.h
 * Modules and kernels: code in SPIR-V, built for a device by the daemon, launched on streams.
 *
 * A kernel belongs to its module and needs no release. Modules and kernels belong to the process
 * that loaded them; after fork() and xpurt_reset() they have to be loaded again. Processes of one
 * user that load the same module share what was built. docs/kernels.md says how SPIR-V is made.
 */
#ifndef XPURT_MODULE_H
#define XPURT_MODULE_H

#include <xpurt/base.h>
#include <xpurt/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xpurt_module xpurt_module;
typedef struct xpurt_kernel xpurt_kernel;

/**
 * Load a module: have SPIR-V checked and built for a device. The same bytes with the same options
 * for the same device are built once for all processes of a user.
 *
 * @param device      its index; negative: the current one
 * @param spirv       may be released when the call returns
 * @param size        bytes
 * @param options     for the driver's compiler, such as "-ze-opt-level=2"; null: none
 * @param ret_module  to be given to xpurt_module_unload()
 * @return XPURT_SUCCESS; XPURT_ERROR_BUILD_FAILED, and xpurt_last_error() has the first lines of
 *         the log; XPURT_ERROR_UNSUPPORTED when the device runs no kernels; XPURT_ERROR_QUOTA;
 *         XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_INVALID_ARGUMENT
 * @note thread-safe; waits for the build, which takes from milliseconds to seconds. Like
 *       cuModuleLoadData and zeModuleCreate.
 */
XPURT_API xpurt_result xpurt_module_load(int device, const void *spirv, size_t size,
                                         const char *options, xpurt_module **ret_module);

/**
 * The same, with the log of the compiler, which there may be after success as well.
 *
 * @param capacity      bytes of @p ret_log
 * @param ret_log       filled with as much of the log as fits, and a zero behind it, whatever the
 *                      result; null when @p capacity is 0
 * @param ret_log_size  bytes of the whole log, without the zero; may be null
 * @note Like cuModuleLoadDataEx with a log buffer, and zeModuleBuildLogGetString.
 */
XPURT_API xpurt_result xpurt_module_load_with_log(int device, const void *spirv, size_t size,
                                                  const char *options, size_t capacity,
                                                  char *ret_log, size_t *ret_log_size,
                                                  xpurt_module **ret_module);

/**
 * Unload a module; its kernels are gone. Launches already submitted still run.
 * @return XPURT_SUCCESS, also for null and for a module of before a fork or reset;
 *         XPURT_ERROR_INVALID_HANDLE
 * @note thread-safe; never waits. Like cuModuleUnload and zeModuleDestroy.
 */
XPURT_API xpurt_result xpurt_module_unload(xpurt_module *module);

/**
 * The names of the kernels of a module.
 * @param capacity   how many @p ret_names has room for
 * @param ret_names  filled with at most @p capacity names, which live as long as the module; may be
 *                   null when @p capacity is 0
 * @param ret_count  how many there are, maybe more than @p capacity
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_HANDLE
 * @note thread-safe; no round trip. Like zeModuleGetKernelNames and cuModuleEnumerateFunctions.
 */
XPURT_API xpurt_result xpurt_module_get_kernel_names(xpurt_module *module, size_t capacity,
                                                     const char **ret_names, size_t *ret_count);

/**
 * A kernel of a module by its name. Asking again gives the same one.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT when there is none of that name;
 *         XPURT_ERROR_UNSUPPORTED for a kernel that cannot be launched, such as one that takes an
 *         image; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED
 * @note thread-safe; no round trip. Like cuModuleGetFunction and zeKernelCreate.
 */
XPURT_API xpurt_result xpurt_kernel_get(xpurt_module *module, const char *name,
                                        xpurt_kernel **ret_kernel);

/** What a kernel needs and allows, see xpurt_kernel_get_attributes(). */
typedef struct xpurt_kernel_attributes {
    uint32_t argument_count;
    uint32_t max_group_size;            /**< work items of a group, over all dimensions */
    uint32_t preferred_multiple;        /**< group sizes that are multiples of it run best */
    uint32_t sub_group_size;            /**< the largest it uses */
    uint32_t required_sub_group_size;   /**< 0: none is required */
    uint32_t required_group_size[3];    /**< zeros: none is required */
    uint64_t local_memory;              /**< bytes for each group, without XPURT_ARG_LOCAL */
    uint64_t private_memory;            /**< bytes for each work item */
    uint32_t reserved[8];
} xpurt_kernel_attributes;

/**
 * What a kernel needs and allows.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_HANDLE
 * @note thread-safe; no round trip. Like cuFuncGetAttribute and zeKernelGetProperties.
 */
XPURT_API xpurt_result xpurt_kernel_get_attributes(xpurt_kernel *kernel,
                                                   xpurt_kernel_attributes *ret_attributes);

/** How an argument is passed. Values are part of the ABI and of the wire protocol. */
typedef enum xpurt_arg_kind {
    XPURT_ARG_POINTER = 1,              /**< device memory: `global` and `constant` pointers */
    XPURT_ARG_BYTES = 2,                /**< a value: a number, a vector, a structure */
    XPURT_ARG_LOCAL = 3                 /**< local memory: `local` pointers */
} xpurt_arg_kind;

/**
 * How argument number @p index of a kernel is passed.
 * @param ret_size  bytes of the value or the pointer; 0 for local memory, whose size the launch
 *                  gives
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT for an index that is too large;
 *         XPURT_ERROR_INVALID_HANDLE
 * @note thread-safe; no round trip. Like cuFuncGetParamInfo.
 */
XPURT_API xpurt_result xpurt_kernel_get_argument(xpurt_kernel *kernel, uint32_t index,
                                                 xpurt_arg_kind *ret_kind, size_t *ret_size);

/**
 * A group size that suits a kernel and divides @p global.
 * @param global     work items in each dimension, not 0; 1 in those that are not used
 * @param ret_group  work items of a group in each dimension
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_HANDLE;
 *         XPURT_ERROR_FORKED
 * @note thread-safe; one round trip. Like zeKernelSuggestGroupSize; in the place of
 *       cuOccupancyMaxPotentialBlockSize.
 */
XPURT_API xpurt_result xpurt_kernel_suggest_group_size(xpurt_kernel *kernel,
                                                       const uint32_t global[3],
                                                       uint32_t ret_group[3]);

/** One argument of a launch; see xpurt_arg_pointer() and its neighbours. */
typedef struct xpurt_arg {
    xpurt_arg_kind kind;
    size_t size;                        /**< bytes of the value, or of local memory for a group */
    const void *data;                   /**< XPURT_ARG_BYTES: the value, which is copied;
                                           XPURT_ARG_POINTER: the device address; may be null */
} xpurt_arg;

/** A device address, anywhere inside live device memory of the caller; or null. */
static inline xpurt_arg xpurt_arg_pointer(const void *ptr)
{
    xpurt_arg arg;

    arg.kind = XPURT_ARG_POINTER;
    arg.size = sizeof(ptr);
    arg.data = ptr;
    return arg;
}

/** The @p size bytes at @p value; they are read by xpurt_launch_kernel(). */
static inline xpurt_arg xpurt_arg_bytes(const void *value, size_t size)
{
    xpurt_arg arg;

    arg.kind = XPURT_ARG_BYTES;
    arg.size = size;
    arg.data = value;
    return arg;
}

/** @p size bytes of local memory for each group. */
static inline xpurt_arg xpurt_arg_local(size_t size)
{
    xpurt_arg arg;

    arg.kind = XPURT_ARG_LOCAL;
    arg.size = size;
    arg.data = NULL;
    return arg;
}

/**
 * Run a kernel in stream order, on the device of the stream.
 *
 * What the library can see to be wrong (arguments that do not match the kernel, sizes beyond the
 * device's, addresses that are not the caller's) is refused at once, and the stream goes on. What
 * only the driver can see fails the stream, as with every command.
 *
 * Each pointer argument keeps its allocation alive until the kernel is done. A kernel may follow
 * only the pointers it was given as arguments: memory whose address it finds elsewhere need not be
 * reachable, and may be gone.
 *
 * @param groups      in each dimension, not 0; 1 in those that are not used
 * @param group_size  work items of a group in each dimension, likewise
 * @param args        all arguments of the kernel in their order; may be null when there are none
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_ADDRESS;
 *         XPURT_ERROR_INVALID_DEVICE when the module was built for another device than the
 *         stream's; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_FORKED; errors of the stream
 * @note thread-safe; no round trip. Like cuLaunchKernel and zeCommandListAppendLaunchKernel.
 */
XPURT_API xpurt_result xpurt_launch_kernel(xpurt_kernel *kernel, const uint32_t groups[3],
                                           const uint32_t group_size[3], const xpurt_arg *args,
                                           size_t n_args, xpurt_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
