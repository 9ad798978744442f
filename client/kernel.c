/* SPDX-License-Identifier: MIT */
/* client/kernel.c: kernels and their launches.
 *
 * Guarantees of this file: a launch is sent only when counts, sizes, kinds and addresses are what
 * the kernel takes, so that a mistake costs a return code and not the stream.
 */
#include "client/device.h"
#include "client/module.h"
#include "client/place.h"
#include "client/result.h"
#include "client/stream.h"

#include <stdio.h>
#include <string.h>

#define KERNELS_MAX 262144u
#define ARGUMENTS_MAX 255u              /* of a kernel: SPIR-V's limit */

struct xpurt_kernel {
    struct pool_object object;
    uint32_t number;                    /* in its module */
    xpurt_module *module;               /* borrowed: ends us */
    const Xpurt__Kernel *described;     /* borrowed from the module */
};

_Static_assert(sizeof(struct xpurt_kernel) <= POOL_OBJECT_SIZE, "fits its place in the pool");

static struct pool kernels = { .capacity = KERNELS_MAX };

void kernels_outdate(void)
{
    pool_outdate(&kernels);
}

void kernels_end(xpurt_module *module)
{
    for (size_t i = 0; i < module->contents->n_kernels; i++)
        if (module->kernels[i])
            pool_give(&kernels, &module->kernels[i]->object);
}

/* The lock is held. */
static xpurt_result kernel_check(xpurt_kernel *kernel)
{
    if (!kernel)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the kernel is null");
    if (pool_mark_of(&kernels, kernel) != POOL_LIVE)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a kernel of a loaded module",
                         (void *)kernel);
    return module_check(kernel->module);
}

/* ---- finding and asking --------------------------------------------------------------------- */

static xpurt_result not_found(const xpurt_module *module, const char *name)
{
    const Xpurt__ModuleContents *contents = module->contents;
    char names[300] = "";
    size_t used = 0;

    for (size_t i = 0; i < contents->n_kernels && used < sizeof(names) - 1; i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
                                 contents->kernels[i]->name);
    return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                     "there is no kernel '%s' in the module; it has %s", name,
                     used ? names : "none");
}

/* The lock is held. */
static xpurt_result kernel_get(xpurt_module *module, size_t number, xpurt_kernel **ret_kernel)
{
    const Xpurt__Kernel *described = module->contents->kernels[number];
    xpurt_kernel *kernel = module->kernels[number];

    if (described->refused[0])
        return error_set(XPURT_ERROR_UNSUPPORTED, "kernel '%s' cannot be launched: %s",
                         described->name, described->refused);
    if (!kernel) {
        kernel = pool_take(&kernels);
        if (!kernel)
            return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for another kernel");
        kernel->number = (uint32_t)number;
        kernel->module = module;
        kernel->described = described;
        module->kernels[number] = kernel;
    }
    *ret_kernel = kernel;
    return XPURT_SUCCESS;
}

xpurt_result xpurt_kernel_get(xpurt_module *module, const char *name, xpurt_kernel **ret_kernel)
{
    xpurt_result r;
    size_t i = 0;

    if (!name || !ret_kernel)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "no name, or nowhere to put the kernel");
    connection_lock();
    r = module_check(module);
    if (r == XPURT_SUCCESS) {
        while (i < module->contents->n_kernels &&
               strcmp(module->contents->kernels[i]->name, name) != 0)
            i++;
        r = i < module->contents->n_kernels ? kernel_get(module, i, ret_kernel) :
                                              not_found(module, name);
    }
    connection_unlock();
    return r;
}

xpurt_result xpurt_kernel_get_attributes(xpurt_kernel *kernel,
                                         xpurt_kernel_attributes *ret_attributes)
{
    const Xpurt__Kernel *from;
    xpurt_result r;

    if (!ret_attributes)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the attributes");
    connection_lock();
    r = kernel_check(kernel);
    if (r == XPURT_SUCCESS) {
        from = kernel->described;
        *ret_attributes = (xpurt_kernel_attributes){
            .argument_count = (uint32_t)from->n_parameters,
            .max_group_size = from->max_group_size,
            .preferred_multiple = from->preferred_multiple,
            .sub_group_size = from->sub_group_size,
            .required_sub_group_size = from->required_sub_group_size,
            .required_group_size = { from->required_group_size->x, from->required_group_size->y,
                                     from->required_group_size->z },
            .local_memory = from->local_memory,
            .private_memory = from->private_memory,
        };
    }
    connection_unlock();
    return r;
}

xpurt_result xpurt_kernel_get_argument(xpurt_kernel *kernel, uint32_t index,
                                       xpurt_arg_kind *ret_kind, size_t *ret_size)
{
    xpurt_result r;

    if (!ret_kind || !ret_size)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put kind and size");
    connection_lock();
    r = kernel_check(kernel);
    if (r == XPURT_SUCCESS && index >= kernel->described->n_parameters)
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT, "kernel '%s' has %zu arguments, there is no %u",
                      kernel->described->name, kernel->described->n_parameters, index);
    if (r == XPURT_SUCCESS) {
        *ret_kind = (xpurt_arg_kind)kernel->described->parameters[index]->kind;
        *ret_size = kernel->described->parameters[index]->size;
    }
    connection_unlock();
    return r;
}

static Xpurt__Extent extent_of(const uint32_t size[3])
{
    Xpurt__Extent extent = XPURT__EXTENT__INIT;

    extent.x = size[0];
    extent.y = size[1];
    extent.z = size[2];
    return extent;
}

static xpurt_result suggest(const xpurt_kernel *kernel, const uint32_t global[3],
                            uint32_t ret_group[3])
{
    Xpurt__KernelSuggest message = XPURT__KERNEL_SUGGEST__INIT;
    Xpurt__ToDaemon request = { REQUEST(KERNEL_SUGGEST), .kernel_suggest = &message };
    Xpurt__Extent extent = extent_of(global);
    struct reply reply = REPLY_NULL;
    const Xpurt__Extent *group;
    xpurt_result r;

    message.module = kernel->module->id;
    message.kernel = kernel->number;
    message.global = &extent;
    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_KERNEL_SUGGESTED, 0, &reply);
    if (r)
        return r;
    group = reply.message->kernel_suggested->group_size;
    if (group) {
        ret_group[0] = group->x;
        ret_group[1] = group->y;
        ret_group[2] = group->z;
    } else {
        r = error_set(XPURT_ERROR_PROTOCOL, "xpurtd suggests nothing");
    }
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_kernel_suggest_group_size(xpurt_kernel *kernel, const uint32_t global[3],
                                             uint32_t ret_group[3])
{
    xpurt_result r;

    if (!global || !ret_group || !global[0] || !global[1] || !global[2])
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "a size is null, a dimension is 0, or there is nowhere to put the "
                         "answer");
    r = session_enter();
    if (r)
        return r;
    r = kernel_check(kernel);
    if (r == XPURT_SUCCESS)
        r = suggest(kernel, global, ret_group);
    session_leave();
    return r;
}

/* ---- launching; the lock is held ------------------------------------------------------------ */

static xpurt_result sizes_check(const Xpurt__Kernel *kernel, const uint32_t groups[3],
                                const uint32_t group_size[3])
{
    const Xpurt__Extent *extent = kernel->required_group_size;
    const uint32_t required[3] = { extent->x, extent->y, extent->z };
    uint64_t items = 1;

    if (!groups || !group_size)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "a size is null");
    for (unsigned i = 0; i < 3; i++) {
        if (!groups[i] || !group_size[i])
            return error_set(XPURT_ERROR_INVALID_ARGUMENT, "dimension %u has no %s", i,
                             groups[i] ? "work items" : "groups");
        if (required[i] && required[i] != group_size[i])
            return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                             "kernel '%s' requires groups of %u x %u x %u", kernel->name,
                             required[0], required[1], required[2]);
        items *= group_size[i];
        if (items > kernel->max_group_size)
            return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                             "groups of %u x %u x %u; kernel '%s' allows %u work items",
                             group_size[0], group_size[1], group_size[2], kernel->name,
                             kernel->max_group_size);
    }
    return XPURT_SUCCESS;
}

static const char *kind_name(uint32_t kind)
{
    return kind == XPURT_ARG_POINTER ? "a device address" :
           kind == XPURT_ARG_BYTES   ? "a value" :
           kind == XPURT_ARG_LOCAL   ? "local memory" :
                                       "of no known kind";
}

/* @p local: bytes of it that are left. */
static xpurt_result argument_check(const Xpurt__Kernel *kernel, size_t index, const xpurt_arg *arg,
                                   uint64_t *local)
{
    const Xpurt__Parameter *parameter = kernel->parameters[index];

    if ((uint32_t)arg->kind != parameter->kind)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "argument %zu of kernel '%s' is %s, given is one that is %s", index,
                         kernel->name, kind_name(parameter->kind), kind_name((uint32_t)arg->kind));
    if (parameter->size && arg->size != parameter->size)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "argument %zu of kernel '%s' has %u bytes, given are %zu", index,
                         kernel->name, parameter->size, arg->size);
    if (arg->kind == XPURT_ARG_BYTES && !arg->data)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "argument %zu of kernel '%s' has no value",
                         index, kernel->name);
    if (arg->kind == XPURT_ARG_POINTER && arg->data && !memory_on_device(arg->data))
        return error_set(XPURT_ERROR_INVALID_ADDRESS,
                         "argument %zu of kernel '%s': %p is not in device memory of this process",
                         index, kernel->name, arg->data);
    if (arg->kind != XPURT_ARG_LOCAL)
        return XPURT_SUCCESS;
    if (!arg->size || arg->size > *local)
        return error_set(
            XPURT_ERROR_INVALID_ARGUMENT,
            "argument %zu of kernel '%s': %zu bytes of local memory, of which %llu are "
            "left",
            index, kernel->name, arg->size, (unsigned long long)*local);
    *local -= arg->size;
    return XPURT_SUCCESS;
}

static void argument_fill(Xpurt__Argument *argument, const xpurt_arg *arg)
{
    xpurt__argument__init(argument);
    switch (arg->kind) {
    case XPURT_ARG_POINTER:
        argument->value_case = XPURT__ARGUMENT__VALUE_ADDRESS;
        argument->address = (uintptr_t)arg->data;
        break;
    case XPURT_ARG_BYTES:
        argument->value_case = XPURT__ARGUMENT__VALUE_BYTES;
        argument->bytes.len = arg->size;
        argument->bytes.data = (uint8_t *)(uintptr_t)arg->data;
        break;
    case XPURT_ARG_LOCAL:
        argument->value_case = XPURT__ARGUMENT__VALUE_LOCAL;
        argument->local = arg->size;
        break;
    }
}

static xpurt_result launch(const xpurt_kernel *kernel, const uint32_t groups[3],
                           const uint32_t group_size[3], const xpurt_arg *args, size_t n_args,
                           xpurt_stream *stream)
{
    const Xpurt__Kernel *described = kernel->described;
    Xpurt__Argument arguments[ARGUMENTS_MAX], *pointers[ARGUMENTS_MAX];
    Xpurt__Extent n_groups = extent_of(groups), size = extent_of(group_size);
    Xpurt__Launch message = XPURT__LAUNCH__INIT;
    uint64_t local = device_local_memory(kernel->module->device);

    local = described->local_memory < local ? local - described->local_memory : 0;
    for (size_t i = 0; i < n_args; i++) {
        xpurt_result r = argument_check(described, i, &args[i], &local);

        if (r)
            return r;
        argument_fill(&arguments[i], &args[i]);
        pointers[i] = &arguments[i];
    }
    message.stream = stream_index(stream);
    message.module = kernel->module->id;
    message.kernel = kernel->number;
    message.groups = &n_groups;
    message.group_size = &size;
    message.n_arguments = n_args;
    message.arguments = pointers;
    return stream_command_large(stream, &(Xpurt__Command){ COMMAND(LAUNCH), .launch = &message });
}

xpurt_result xpurt_launch_kernel(xpurt_kernel *kernel, const uint32_t groups[3],
                                 const uint32_t group_size[3], const xpurt_arg *args, size_t n_args,
                                 xpurt_stream *stream)
{
    xpurt_result r;

    r = stream_enter(stream);
    if (r)
        return r;
    r = kernel_check(kernel);
    if (r == XPURT_SUCCESS)
        r = sizes_check(kernel->described, groups, group_size);
    if (r == XPURT_SUCCESS && kernel->module->device != stream_device(stream))
        r = error_set(XPURT_ERROR_INVALID_DEVICE,
                      "the module was built for device %u, the stream is on device %u",
                      kernel->module->device, stream_device(stream));
    if (r == XPURT_SUCCESS &&
        (n_args != kernel->described->n_parameters || n_args > ARGUMENTS_MAX || (n_args && !args)))
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT,
                      "kernel '%s' takes %zu arguments, given are %zu", kernel->described->name,
                      kernel->described->n_parameters, n_args);
    if (r == XPURT_SUCCESS)
        r = launch(kernel, groups, group_size, args, n_args, stream);
    session_leave();
    return r;
}
