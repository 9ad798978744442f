/* SPDX-License-Identifier: MIT */
/* daemon/gpu.h: the GPUs, as the rest of the daemon sees them. Only gpu*.c call Level Zero.
 *
 * Functions return XPURT_SUCCESS or what went wrong; gpu_error() has the sentence. Everything runs
 * on the loop thread, except where it says otherwise.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/resource.h"

#include <xpurt/device.h>

#define GPU_DEVICES_MAX 64u             /* bits of xpurt.Device.peers */

struct gpu;
struct gpu_context;
struct gpu_kernel;
struct gpu_list;
struct gpu_module;
struct gpu_slot;

/* ---- devices -------------------------------------------------------------------------------- */

/* Find the devices that @p config asks for. -errno; the reason is logged. */
int gpu_open(const struct config *config, struct gpu **ret_gpu);

/* The same in a program that was started by one that has opened them: the choice of the driver is in
 * the environment. */
int gpu_open_inherited(const struct config *config, struct gpu **ret_gpu);
void gpu_close(struct gpu *gpu);

enum device_choice gpu_device_choice(const struct gpu *gpu); /* that it was opened with */
unsigned gpu_device_count(const struct gpu *gpu);
const struct xpurt_device_properties *gpu_device_properties(const struct gpu *gpu, unsigned device);
uint64_t gpu_device_peers(const struct gpu *gpu, unsigned device); /* bit d: reaches d */

/* What a launch may ask of a device, in each dimension. */
struct gpu_launch_limits {
    uint32_t groups[3];
    uint32_t group_size[3];
};

const struct gpu_launch_limits *gpu_device_launch_limits(const struct gpu *gpu, unsigned device);

/* The sentence about the last failure on this thread. */
const char *gpu_error(void);

/* ---- one user's view: a Level Zero context ---------------------------------------------------- */

xpurt_result gpu_context_new(struct gpu *gpu, struct gpu_context **ret_context);
void gpu_context_free(struct gpu_context *context); /* all that came from it is freed before */

/* Any thread. */
xpurt_result gpu_memory_new(struct gpu_context *context, unsigned device, uint64_t size,
                            uint64_t *ret_address);
xpurt_result gpu_memory_free(struct gpu_context *context, unsigned device, uint64_t address,
                             uint64_t size);

/* Fill memory with zeros and wait until it is done. In libuv's pool: it takes as long as it takes. */
xpurt_result gpu_memory_clear(struct gpu_context *context, unsigned device, uint64_t address,
                              uint64_t size);

/* Never destroy the context: memory is left in it that nobody else must get. Any thread. */
void gpu_context_keep(struct gpu_context *context);

/* Bytes of a device that are allocated through us now. */
uint64_t gpu_memory_held(const struct gpu *gpu, unsigned device);

/* ---- modules and kernels ------------------------------------------------------------------------ */

/* Compile SPIR-V. Compilers may crash: in a process of its own. A driver may keep a log of a failure,
 * too; gpu_build_log() is the text, the caller's to free, or NULL. */
struct gpu_build;

xpurt_result gpu_build(struct gpu_context *context, unsigned device, const void *spirv, size_t size,
                       const char *options, struct gpu_build **ret_build);
char *gpu_build_log(struct gpu_build *build);
xpurt_result gpu_build_native(struct gpu_build *build, void **ret_native, size_t *ret_size);

/* Load native code. Any thread. */
xpurt_result gpu_module_new(struct gpu_context *context, unsigned device, const void *native,
                            size_t size, struct gpu_module **ret_module);
void gpu_module_free(struct gpu_module *module); /* its kernels are freed before; any thread */

struct gpu_kernel_properties {
    uint32_t argument_count;
    uint32_t max_group_size;
    uint32_t preferred_multiple;
    uint32_t sub_group_size;
    uint32_t required_sub_group_size;
    uint32_t required_group_size[3];
    uint32_t local_memory;
    uint32_t private_memory;
};

xpurt_result gpu_kernel_new(struct gpu_module *module, const char *name,
                            struct gpu_kernel **ret_kernel); /* any thread */
void gpu_kernel_free(struct gpu_kernel *kernel);             /* any thread */
const struct gpu_kernel_properties *gpu_kernel_properties(const struct gpu_kernel *kernel);
xpurt_result gpu_kernel_suggest(struct gpu_kernel *kernel, const uint32_t global[3],
                                uint32_t ret_group[3]);

/* An argument: `size` bytes; without a value: so many of local memory. */
struct gpu_argument {
    const void *value;
    size_t size;
};

/* ---- lists: in-order queues ------------------------------------------------------------------- */

xpurt_result gpu_list_new(struct gpu_context *context, unsigned device, int priority,
                          struct gpu_list **ret_list);

/* One that a client runs in its own context: nothing can be put on it, it only has a device. */
xpurt_result gpu_list_new_external(struct gpu_context *context, unsigned device,
                                   struct gpu_list **ret_list);
void gpu_list_free(struct gpu_list *list); /* everything in it is done */

xpurt_result gpu_list_copy(struct gpu_list *list, void *to, const void *from, uint64_t size);
xpurt_result gpu_list_fill(struct gpu_list *list, void *to, uint32_t pattern, unsigned width,
                           uint64_t size);

/* Rows, which begin `pitch` bytes after one another. */
struct gpu_rows {
    void *start;
    uint32_t pitch;
};

xpurt_result gpu_list_copy_rows(struct gpu_list *list, const struct gpu_rows *to,
                                const struct gpu_rows *from, uint32_t width, uint32_t height);
xpurt_result gpu_list_fill_rows(struct gpu_list *list, const struct gpu_rows *to, uint32_t pattern,
                                unsigned pattern_width, uint32_t width, uint32_t height);

/* All arguments of the kernel; they are copied. */
xpurt_result gpu_list_launch(struct gpu_list *list, struct gpu_kernel *kernel,
                             const uint32_t groups[3], const uint32_t group_size[3],
                             const struct gpu_argument *arguments, unsigned n_arguments);

/* Later commands run after @p slot is done. */
xpurt_result gpu_list_wait(struct gpu_list *list, struct gpu_slot *slot);

/* @p slot is done once all earlier commands are; with @p timing it also notes when. */
xpurt_result gpu_list_mark(struct gpu_list *list, struct gpu_slot *slot, bool timing);

/* ---- slots: what a marker signals --------------------------------------------------------------- */

/* A slot not done; as a resource: goes back to the context, reset, when nobody refers to it. */
xpurt_result gpu_slot_new(struct gpu_context *context, struct gpu_slot **ret_slot);
struct resource *gpu_slot_resource(struct gpu_slot *slot);

/* XPURT_SUCCESS, XPURT_NOT_READY, or XPURT_ERROR_DEVICE_LOST. Any thread. */
xpurt_result gpu_slot_done(struct gpu_slot *slot);

/* Wait until that is no more XPURT_NOT_READY, or @p timeout_ns. Whether that spins or sleeps is up to
 * the driver. Any thread. */
void gpu_slot_await(struct gpu_slot *slot, uint64_t timeout_ns);

/* Signal the slot from here: whoever waits for it goes on. Any thread. */
void gpu_slot_release(struct gpu_slot *slot);

/* When a timing mark of @p list was reached, on the device's clock. Any thread. */
uint64_t gpu_slot_nanoseconds(struct gpu_slot *slot, struct gpu_list *list);

/* ---- shared pools: slots that lists of other processes' contexts signal and wait for -------------- */

struct gpu_pool;

/* A pool of @p count slots, none of which anybody refers to. @p idle: the last reference to a slot
 * was dropped; what becomes of it is up to the callee. */
xpurt_result gpu_pool_new(struct gpu_context *context, unsigned count,
                          void (*idle)(void *owner, unsigned index), void *owner,
                          struct gpu_pool **ret_pool);
void gpu_pool_free(struct gpu_pool *pool);

/* The first reference to a slot, or another one. */
struct gpu_slot *gpu_pool_take(struct gpu_pool *pool, unsigned index);
bool gpu_pool_idle(struct gpu_pool *pool, unsigned index);

/* Host-signal, or make it read "not done" again; whether that went well. */
void gpu_pool_signal(struct gpu_pool *pool, unsigned index);
bool gpu_pool_reset(struct gpu_pool *pool, unsigned index);

/* What other processes open: the 64 bytes, and the descriptor that must travel with them (borrowed). */
int gpu_pool_handle(struct gpu_pool *pool, const void **ret_bytes);

/* The same for the allocation of @p size bytes that begins at @p address; the driver keeps the descriptor.
 * Fails where it names more than that. */
xpurt_result gpu_memory_handle(struct gpu_context *context, uint64_t address, uint64_t size,
                               uint8_t ret_bytes[64], int *ret_fd);

/* Who may open handles of ours: this build of the driver. */
const uint8_t *gpu_driver_uuid(const struct gpu *gpu);
uint32_t gpu_driver_number(const struct gpu *gpu);
