/* SPDX-License-Identifier: MIT */
/* launch.c: appending kernel launches.
 *
 * Guarantees of this file:
 *   - a launch uses the arguments and group size its kernel had when it was appended;
 *   - counts that are given indirectly are read when the launch runs, not before;
 *   - a kernel that the runtime cannot start loses the device: there is no other way to report it.
 */
#include "list.h"
#include "module.h"

#include <stdio.h>
#include <string.h>

#define LAUNCH_WEIGHT (UINT64_C(1) << 40) /* never short: nobody knows what a kernel does */

/* One kernel, ready to run: references to it and its arguments, sizes. */
struct launch {
    ze_kernel_handle_t kernel;
    struct arguments *arguments;
    uint32_t size[3], offset[3];
};

struct launches {
    struct command head;
    ze_device_handle_t device;
    ze_group_count_t groups;            /* when counts is NULL */
    const ze_group_count_t *counts;     /* read when it runs */
    const uint32_t *limit;              /* how many of the kernels to launch; NULL: all */
    uint32_t count;
    struct launch *launches;
};

static int32_t apply_arguments(const struct launch *launch)
{
    const struct opencl *opencl = launch->kernel->module->opencl;
    const struct signature *signature = launch->kernel->signature;
    const struct arguments *arguments = launch->arguments;
    int32_t error = OPENCL_SUCCESS;
    void *pointer;

    for (uint32_t i = 0; i < arguments->count && error == OPENCL_SUCCESS; i++) {
        const unsigned char *bytes = arguments->bytes + arguments->values[i].offset;

        switch (signature->arguments[i].kind) {
        case ARGUMENT_POINTER:
            memcpy(&pointer, bytes, sizeof(pointer));
            error = opencl->clSetKernelArgSVMPointer(launch->kernel->kernel, i, pointer);
            break;
        case ARGUMENT_LOCAL:
            error =
                opencl->clSetKernelArg(launch->kernel->kernel, i, arguments->values[i].size, NULL);
            break;
        default:
            error =
                opencl->clSetKernelArg(launch->kernel->kernel, i, arguments->values[i].size, bytes);
        }
    }
    return error;
}

static int32_t launch_one(const struct launch *launch, const ze_group_count_t *groups)
{
    const struct opencl *opencl = launch->kernel->module->opencl;
    const uint32_t counts[3] = { groups->groupCountX, groups->groupCountY, groups->groupCountZ };
    opencl_handle queue = opencl_thread_queue(opencl);
    size_t global[3], local[3], offset[3];
    int32_t error;

    for (size_t i = 0; i < 3; i++) {
        local[i] = launch->size[i];
        global[i] = local[i] * counts[i];
        offset[i] = launch->offset[i];
    }
    if (global[0] == 0 || global[1] == 0 || global[2] == 0)
        return OPENCL_SUCCESS;
    if (!queue)
        return -1;
    pthread_mutex_lock(&launch->kernel->lock);
    error = apply_arguments(launch);
    if (error == OPENCL_SUCCESS)
        error = opencl->clEnqueueNDRangeKernel(queue, launch->kernel->kernel, 3, offset, global,
                                               local, 0, NULL, NULL);
    pthread_mutex_unlock(&launch->kernel->lock);
    return error == OPENCL_SUCCESS ? opencl->clFinish(queue) : error;
}

static void launches_run(struct command *command)
{
    struct launches *self = (struct launches *)command;
    uint32_t count = self->count;
    int32_t error;

    if (self->limit && *self->limit < count)
        count = *self->limit;
    for (uint32_t i = 0; i < count; i++) {
        error = launch_one(&self->launches[i], self->counts ? &self->counts[i] : &self->groups);
        if (error == OPENCL_SUCCESS)
            continue;
        fprintf(stderr,
                "ze_soft: kernel %s cannot be launched (OpenCL error %d); the device is lost\n",
                self->launches[i].kernel->signature->name, error);
        atomic_store(&self->device->lost, true);
        return;
    }
}

static bool launches_retain(struct command *copy)
{
    struct launches *self = (struct launches *)copy;
    struct launch *launches = malloc(self->count * sizeof(*launches));

    if (!launches)
        return false;
    self->launches = memcpy(launches, self->launches, self->count * sizeof(*launches));
    for (uint32_t i = 0; i < self->count; i++) {
        atomic_fetch_add(&launches[i].kernel->refs, 1);
        atomic_fetch_add(&launches[i].arguments->refs, 1);
    }
    return true;
}

static void launches_discard(struct command *copy)
{
    struct launches *self = (struct launches *)copy;

    for (uint32_t i = 0; i < self->count; i++) {
        arguments_unref(self->launches[i].arguments);
        kernel_unref(self->launches[i].kernel);
    }
    free(self->launches);
}

static const struct operation operation = {
    .name = "kernel",
    .size = sizeof(struct launches),
    .run = launches_run,
    .retain = launches_retain,
    .discard = launches_discard,
};

static ze_result_t launch_prepare(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                  struct launch *ret_launch)
{
    REQUIRE_HANDLE(kernel);
    REQUIRE(list->ordinal == GROUP_COMPUTE, INVALID_COMMAND_LIST_TYPE);
    for (uint32_t i = 0; i < kernel->arguments->count; i++)
        REQUIRE(kernel->arguments->values[i].set, INVALID_ARGUMENT);
    *ret_launch = (struct launch){ .kernel = kernel, .arguments = kernel->arguments };
    memcpy(ret_launch->size, kernel->group_size, sizeof(ret_launch->size));
    memcpy(ret_launch->offset, kernel->offset, sizeof(ret_launch->offset));
    return ZE_RESULT_SUCCESS;
}

static ze_result_t append_launch(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, bool indirect,
                                 ze_event_handle_t signal, uint32_t wait_count,
                                 ze_event_handle_t *waits)
{
    struct launch launch;
    struct launches command = {
        .head = { .operation = &operation, .weight = LAUNCH_WEIGHT },
        .count = 1,
        .launches = &launch,
    };
    ze_result_t result;

    REQUIRE_HANDLE(list && kernel);
    REQUIRE_POINTER(groups);
    result = launch_prepare(list, kernel, &launch);
    if (result != ZE_RESULT_SUCCESS)
        return result;
    command.device = list->device;
    if (indirect)
        command.counts = groups;
    else
        command.groups = *groups;
    return list_append(list, &command.head, signal, wait_count, waits);
}

ze_result_t append_launch_kernel(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, ze_event_handle_t signal,
                                 uint32_t wait_count, ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendLaunchKernel);
    return append_launch(list, kernel, groups, false, signal, wait_count, waits);
}

/* Groups that wait for each other must all run at once. */
static bool fits_cooperatively(const ze_group_count_t *groups)
{
    uint64_t most = cpu_count();

    return groups->groupCountX <= most && groups->groupCountY <= most &&
           groups->groupCountZ <= most &&
           (uint64_t)groups->groupCountX * groups->groupCountY * groups->groupCountZ <= most;
}

ze_result_t append_launch_cooperative_kernel(ze_command_list_handle_t list,
                                             ze_kernel_handle_t kernel,
                                             const ze_group_count_t *groups,
                                             ze_event_handle_t signal, uint32_t wait_count,
                                             ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendLaunchCooperativeKernel);
    REQUIRE_HANDLE(list && kernel);
    REQUIRE_POINTER(groups);
    REQUIRE(fits_cooperatively(groups), INVALID_ARGUMENT);
    return append_launch(list, kernel, groups, false, signal, wait_count, waits);
}

ze_result_t append_launch_kernel_indirect(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                          const ze_group_count_t *groups, ze_event_handle_t signal,
                                          uint32_t wait_count, ze_event_handle_t *waits)
{
    ENTER(zeCommandListAppendLaunchKernelIndirect);
    return append_launch(list, kernel, groups, true, signal, wait_count, waits);
}

ze_result_t append_launch_multiple_kernels_indirect(ze_command_list_handle_t list, uint32_t count,
                                                    ze_kernel_handle_t *kernels,
                                                    const uint32_t *launched,
                                                    const ze_group_count_t *groups,
                                                    ze_event_handle_t signal, uint32_t wait_count,
                                                    ze_event_handle_t *waits)
{
    _cleanup_(freep) struct launch *launches = NULL;
    struct launches command = {
        .head = { .operation = &operation, .weight = LAUNCH_WEIGHT },
        .counts = groups,
        .limit = launched,
        .count = count,
    };
    ze_result_t result;

    ENTER(zeCommandListAppendLaunchMultipleKernelsIndirect);
    REQUIRE_HANDLE(list);
    REQUIRE_POINTER(kernels && launched && groups);
    launches = calloc(count ? count : 1, sizeof(*launches));
    REQUIRE(launches, OUT_OF_HOST_MEMORY);
    for (uint32_t i = 0; i < count; i++) {
        result = launch_prepare(list, kernels[i], &launches[i]);
        if (result != ZE_RESULT_SUCCESS)
            return result;
    }
    command.device = list->device;
    command.launches = launches;
    return list_append(list, &command.head, signal, wait_count, waits);
}

ze_result_t append_launch_kernel_with_parameters(ze_command_list_handle_t list,
                                                 ze_kernel_handle_t kernel,
                                                 const ze_group_count_t *groups, const void *next,
                                                 ze_event_handle_t signal, uint32_t wait_count,
                                                 ze_event_handle_t *waits)
{
    const newer_append_cooperative_desc_t *cooperative =
        chain_find(next, NEWER_STRUCTURE_TYPE_COMMAND_LIST_APPEND_PARAM_COOPERATIVE_DESC);

    ENTER(zeCommandListAppendLaunchKernelWithParameters);
    REQUIRE_POINTER(groups);
    REQUIRE(!cooperative || !cooperative->isCooperative || fits_cooperatively(groups),
            INVALID_ARGUMENT);
    return append_launch(list, kernel, groups, false, signal, wait_count, waits);
}

ze_result_t append_launch_kernel_with_arguments(ze_command_list_handle_t list,
                                                ze_kernel_handle_t kernel, ze_group_count_t groups,
                                                newer_group_size_t sizes, void **arguments,
                                                const void *next, ze_event_handle_t signal,
                                                uint32_t wait_count, ze_event_handle_t *waits)
{
    ze_result_t result;

    ENTER(zeCommandListAppendLaunchKernelWithArguments);
    REQUIRE_HANDLE(list && kernel);
    REQUIRE_POINTER(arguments || kernel->arguments->count == 0);
    result = kernel_use_group_size(
        kernel, (const uint32_t[]){ sizes.groupSizeX, sizes.groupSizeY, sizes.groupSizeZ });
    for (uint32_t i = 0; result == ZE_RESULT_SUCCESS && i < kernel->arguments->count; i++) {
        const struct signature_argument *argument = &kernel->signature->arguments[i];

        REQUIRE_POINTER(arguments[i]);
        result = argument->kind == ARGUMENT_LOCAL ?
                     kernel_use_argument(kernel, i, *(const size_t *)arguments[i], NULL) :
                     kernel_use_argument(kernel, i, argument->size, arguments[i]);
    }
    if (result != ZE_RESULT_SUCCESS)
        return result;
    return append_launch_kernel_with_parameters(list, kernel, &groups, next, signal, wait_count,
                                                waits);
}
