/* SPDX-License-Identifier: MIT */
/* daemon/launch.c: launches are checked here, and nowhere after.
 *
 * Guarantees of this file:
 *   - each argument has the kind and size of the kernel's parameter, so that an address is always
 *     passed as one, and lies in live memory of the caller;
 *   - counts and sizes are within what device and kernel allow;
 *   - a launch holds the module and the memory it was given until it is done.
 */
#include "daemon/launch.h"
#include "daemon/session.h"
#include "daemon/transfer.h"

#include <xpurt/module.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory for launches: without asking for any where one has just ended ----------------------- */

#define SMALL 512u                      /* bytes: some ten arguments */
#define SPARE_MAX 256u                  /* small ones kept: those of a turn */

/* @p size bytes that say so, and no more yet; NULL: no memory. */
static struct launch *launch_alloc(struct runtime *runtime, size_t size)
{
    struct launch *launch =
        size <= SMALL ? stock_take(&runtime->spare_launches, SMALL) : malloc(size);

    if (!launch)
        return NULL;
    launch->size = size;
    launch->runtime = runtime;
    return launch;
}

void launch_free(struct launch *launch)
{
    struct runtime *runtime = launch->runtime;

    while (launch->n_holds)
        resource_unref(launch->holds[--launch->n_holds]);
    if (launch->size <= SMALL)
        stock_give(&runtime->spare_launches, launch, SPARE_MAX);
    else
        free(launch);
}

/* ---- sizes -------------------------------------------------------------------------------------- */

static bool extent_read(const Xpurt__Extent *extent, const uint32_t most[3], uint32_t ret_extent[3])
{
    if (!extent)
        return false;
    ret_extent[0] = extent->x;
    ret_extent[1] = extent->y;
    ret_extent[2] = extent->z;
    for (unsigned i = 0; i < 3; i++)
        if (ret_extent[i] == 0 || ret_extent[i] > most[i])
            return false;
    return true;
}

static bool sizes_check(struct stream *stream, struct launch *launch, const Xpurt__Launch *message)
{
    const struct gpu_launch_limits *limits =
        gpu_device_launch_limits(stream->runtime->gpu, stream->device);
    const struct gpu_kernel_properties *kernel = gpu_kernel_properties(launch->kernel);
    uint64_t items = 1;
    bool all_fit = true;

    if (!extent_read(message->groups, limits->groups, launch->groups) ||
        !extent_read(message->group_size, limits->group_size, launch->group_size)) {
        stream_fail(
            stream, XPURT_ERROR_INVALID_ARGUMENT,
            "launch: a dimension has no groups or work items, or more than device %u allows",
            stream->device);
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        const uint32_t required = kernel->required_group_size[i];

        items *= launch->group_size[i]; /* below 2^64: each was checked, see the next line */
        all_fit = all_fit && items <= kernel->max_group_size &&
                  (!required || required == launch->group_size[i]);
    }
    if (!all_fit) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "launch: groups of %u x %u x %u; the kernel allows %u work items, and requires "
                    "%u x %u x %u (0: any)",
                    launch->group_size[0], launch->group_size[1], launch->group_size[2],
                    kernel->max_group_size, kernel->required_group_size[0],
                    kernel->required_group_size[1], kernel->required_group_size[2]);
        return false;
    }
    for (unsigned i = 0; i < 3; i++)
        all_fit = all_fit && !__builtin_mul_overflow(items, launch->groups[i], &items);
    if (!all_fit)
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT, "launch: 2^64 work items or more");
    return all_fit;
}

/* ---- arguments ---------------------------------------------------------------------------------- */

/* Which kind an argument is sent as; 0: none. */
static uint32_t kind_of(const Xpurt__Argument *argument)
{
    switch (argument->value_case) {
    case XPURT__ARGUMENT__VALUE_ADDRESS:
        return XPURT_ARG_POINTER;
    case XPURT__ARGUMENT__VALUE_BYTES:
        return XPURT_ARG_BYTES;
    case XPURT__ARGUMENT__VALUE_LOCAL:
        return XPURT_ARG_LOCAL;
    default:
        return 0;
    }
}

/* A place for each argument's value, in order; NULL: no memory. */
static struct launch *launch_new(struct runtime *runtime, const struct kernel *kernel)
{
    unsigned n = kernel->n_parameters;
    struct launch *launch;
    size_t size;

    size = sizeof(*launch) + (n + 1) * sizeof(struct resource *) + n * sizeof(struct gpu_argument);
    for (unsigned i = 0; i < n; i++)
        size += kernel->parameters[i].size;
    launch = launch_alloc(runtime, size);
    if (!launch)
        return NULL;
    launch->kernel = kernel->gpu;
    launch->parameters = kernel->parameters;
    launch->n_holds = launch->n_arguments = 0;
    launch->holds = (struct resource **)(launch + 1);
    launch->arguments = (struct gpu_argument *)(launch->holds + n + 1);
    return launch;
}

static void hold(struct launch *launch, struct resource *resource)
{
    launch->holds[launch->n_holds++] = resource_ref(resource);
}

static bool address_take(struct session *session, struct stream *stream, struct launch *launch,
                         uint64_t address, uint8_t *value)
{
    Xpurt__Location location = XPURT__LOCATION__INIT;
    struct resource *resource;
    void *bytes;

    location.offset = address;
    memcpy(value, &address, sizeof(address));
    if (!address)
        return true;
    if (memory_locate(session, &location, 1, &bytes, &resource)) {
        stream_fail(stream, XPURT_ERROR_INVALID_ADDRESS,
                    "launch: argument %u, 0x%" PRIx64 ", is not in device memory of this process",
                    launch->n_arguments, address);
        return false;
    }
    hold(launch, resource);
    return true;
}

/* The value of the next argument goes to @p value, if it has one. */
static bool argument_take(struct session *session, struct stream *stream, struct launch *launch,
                          const struct parameter *parameter, const Xpurt__Argument *argument,
                          uint8_t *value, uint64_t *local)
{
    struct gpu_argument *taken = &launch->arguments[launch->n_arguments];
    uint64_t size = parameter->size;

    if (kind_of(argument) != parameter->kind ||
        (parameter->kind == XPURT_ARG_BYTES && argument->bytes.len != size)) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "launch: argument %u is not of the kind and size that the kernel takes",
                    launch->n_arguments);
        return false;
    }
    if (parameter->kind == XPURT_ARG_LOCAL) {
        size = argument->local;
        value = NULL;
        if (size == 0 || size > *local) {
            stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                        "launch: argument %u, %" PRIu64 " bytes of local memory, of which %" PRIu64
                        " are left",
                        launch->n_arguments, size, *local);
            return false;
        }
        *local -= size;
    } else if (parameter->kind == XPURT_ARG_BYTES) {
        memcpy(value, argument->bytes.data, size);
    } else if (!address_take(session, stream, launch, argument->address, value)) {
        return false;
    }
    taken->value = value;
    taken->size = size;
    launch->n_arguments++;
    return true;
}

/* What device and kernel leave for arguments. */
static uint64_t local_memory(const struct stream *stream, const struct launch *launch)
{
    uint64_t all = gpu_device_properties(stream->runtime->gpu, stream->device)->local_memory;
    uint64_t own = gpu_kernel_properties(launch->kernel)->local_memory;

    return own < all ? all - own : 0;
}

static bool arguments_take(struct session *session, struct stream *stream, struct launch *launch,
                           const struct kernel *kernel, const Xpurt__Launch *message)
{
    uint8_t *value = (uint8_t *)(launch->arguments + kernel->n_parameters);
    uint64_t local = local_memory(stream, launch);

    if (message->n_arguments != kernel->n_parameters) {
        stream_fail(stream, XPURT_ERROR_INVALID_ARGUMENT,
                    "launch: %zu arguments, the kernel takes %u", message->n_arguments,
                    kernel->n_parameters);
        return false;
    }
    for (unsigned i = 0; i < kernel->n_parameters; i++) {
        if (!argument_take(session, stream, launch, &kernel->parameters[i], message->arguments[i],
                           value, &local))
            return false;
        value += kernel->parameters[i].size;
    }
    return true;
}

/* ---- the launch --------------------------------------------------------------------------------- */

/* The kernel that is meant; NULL: the stream fails. */
static const struct kernel *kernel_find(struct session *session, struct stream *stream,
                                        const Xpurt__Launch *message, struct module **ret_module)
{
    struct module *module = module_find(session, message->module);

    if (!module || message->kernel >= module->n_kernels || !module->kernels[message->kernel].gpu) {
        stream_fail(stream, XPURT_ERROR_INVALID_HANDLE,
                    "launch: there is no kernel %u in module %u", message->kernel, message->module);
        return NULL;
    }
    if (module->device != stream->device) {
        stream_fail(stream, XPURT_ERROR_INVALID_DEVICE,
                    "launch: the module was built for device %u, the stream is on device %u",
                    module->device, stream->device);
        return NULL;
    }
    *ret_module = module;
    return &module->kernels[message->kernel];
}

void launch_submit(struct session *session, struct stream *stream, const Xpurt__Launch *message)
{
    struct work work = { .kind = WORK_LAUNCH };
    const struct kernel *kernel;
    struct module *module;

    if (stream->failed || !(kernel = kernel_find(session, stream, message, &module)))
        return;
    work.launch = launch_new(session->runtime, kernel);
    if (!work.launch) {
        stream_fail(stream, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
        return;
    }
    hold(work.launch, &module->resource);
    if (sizes_check(stream, work.launch, message) &&
        arguments_take(session, stream, work.launch, kernel, message))
        stream_submit(stream, &work);
    else
        launch_free(work.launch);
}

/* ---- in graphs ---------------------------------------------------------------------------------- */

struct launch *launch_clone(const struct launch *launch)
{
    struct launch *clone = launch_alloc(launch->runtime, launch->size);
    ptrdiff_t distance = (char *)clone - (const char *)launch;

    if (!clone)
        return NULL;
    memcpy(clone, launch, launch->size); /* the runtime too, which is the same */
    clone->holds = (struct resource **)((char *)launch->holds + distance);
    clone->arguments = (struct gpu_argument *)((char *)launch->arguments + distance);
    for (unsigned i = 0; i < clone->n_arguments; i++)
        if (clone->arguments[i].value)
            clone->arguments[i].value = (const char *)launch->arguments[i].value + distance;
    for (unsigned i = 0; i < clone->n_holds; i++)
        resource_ref(clone->holds[i]);
    return clone;
}

int launch_move(struct launch *launch, const struct move *move)
{
    struct resource **hold = &launch->holds[1]; /* behind the module: one for each address */
    int moved = 0;

    for (unsigned i = 0; i < launch->n_arguments; i++) {
        uintptr_t address;

        if (launch->parameters[i].kind != XPURT_ARG_POINTER)
            continue;
        memcpy(&address, launch->arguments[i].value, sizeof(address));
        if (!address)
            continue;
        if (move_use(move, &address, 1, hold++) == 0)
            continue;
        if (!move->on_device)
            return -EINVAL;
        memcpy((void *)(uintptr_t)launch->arguments[i].value, &address, sizeof(address));
        moved++;
    }
    return moved;
}
