/* SPDX-License-Identifier: MIT */
/* examples/ddp/model.c: a rank's copy of the classifier, and the kernels that work on it.
 *
 * Guarantees of this file: nothing between model_begin() and model_end() waits for the device; all
 * that is computed is computed by the kernels of ddp.cl.
 */
#include "model.h"

#include "../problem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPIRV_MAX (1u << 20)

/* ---- making it ------------------------------------------------------------------------------- */

static xpurt_result spirv_read(const char *folder, unsigned char *spirv, size_t *ret_size)
{
    char path[4608];
    FILE *file;

    snprintf(path, sizeof(path), "%s/ddp.spv", folder);
    file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return problem(XPURT_ERROR_SYSTEM,
                       "%s is not there: where xpurt is built, clang and llvm-spirv make it (on "
                       "Debian: clang-14, llvm-spirv-14)",
                       path);
    if (!file)
        return problem_system(path, errno);
    *ret_size = fread(spirv, 1, SPIRV_MAX, file);
    fclose(file);
    return XPURT_SUCCESS;
}

static xpurt_result kernels_load(struct model *model, const char *folder)
{
    unsigned char *spirv = malloc(SPIRV_MAX);
    size_t size = 0;
    xpurt_result r;

    r = spirv ? spirv_read(folder, spirv, &size) : problem_system("the kernels", ENOMEM);
    if (r == XPURT_SUCCESS)
        r = xpurt_module_load(-1, spirv, size, NULL, &model->module);
    free(spirv);
    if (r == XPURT_ERROR_UNSUPPORTED)
        return problem(r,
                       "%s. The software device runs kernels by an OpenCL runtime for CPUs: on "
                       "Debian install pocl-opencl-icd, ocl-icd-libopencl1 and llvm-spirv-14, then "
                       "start xpurtd again",
                       xpurt_last_error());
    if (r == XPURT_SUCCESS)
        r = xpurt_kernel_get(model->module, "forward", &model->forward);
    if (r == XPURT_SUCCESS)
        r = xpurt_kernel_get(model->module, "backward", &model->backward);
    if (r == XPURT_SUCCESS)
        r = xpurt_kernel_get(model->module, "update", &model->update);
    return r;
}

static xpurt_result device_new(void **ret_memory, size_t size, const void *content,
                               xpurt_stream *stream)
{
    xpurt_result r = xpurt_malloc(ret_memory, size);

    if (r)
        return r;
    if (content)
        return xpurt_memcpy_async(*ret_memory, content, size, stream);
    return xpurt_memset_async(*ret_memory, 0, size, stream);
}

static xpurt_result memory_create(struct model *model, const struct digits *digits)
{
    const struct {
        void **memory;
        size_t size;
        const void *content;
    } all[] = {
        { &model->images, sizeof(digits->images), digits->images },
        { &model->labels, sizeof(digits->labels), digits->labels },
        { &model->order, TRAINED * sizeof(uint32_t), digits->train },
        { &model->deltas, sizeof(float[TRAINED][DELTA]), NULL },
        { &model->weights, sizeof(float[WEIGHTS]), NULL },
        { &model->velocity, sizeof(float[WEIGHTS]), NULL },
        { &model->totals, sizeof(struct totals), NULL },
    };
    xpurt_result r = XPURT_SUCCESS;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && r == XPURT_SUCCESS; i++)
        r = device_new(all[i].memory, all[i].size, all[i].content, model->stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_host_malloc((void **)&model->new_order, TRAINED * sizeof(uint32_t));
    if (r == XPURT_SUCCESS)
        r = xpurt_host_malloc((void **)&model->got, sizeof(*model->got));
    if (r == XPURT_SUCCESS)
        memcpy(model->new_order, digits->train, sizeof(digits->train));
    return r;
}

xpurt_result model_create(struct model *model, const struct options *options,
                          const struct digits *digits)
{
    xpurt_result r;

    *model = (struct model){ 0 };
    r = kernels_load(model, options->folder);
    if (r == XPURT_SUCCESS)
        r = xpurt_stream_create(&model->stream);
    if (r == XPURT_SUCCESS)
        r = memory_create(model, digits);
    return r;
}

xpurt_result model_share(struct model *model, unsigned ranks, xpurt_mem_handle *ret_handle)
{
    xpurt_result r =
        device_new(&model->slots, 2 * ranks * sizeof(float[SLOT]), NULL, model->stream);

    if (r)
        return r;
    return xpurt_mem_get_ipc_handle(model->slots, ret_handle);
}

xpurt_result model_open(struct model *model, const xpurt_mem_handle *handle)
{
    model->slots_opened = true;
    return xpurt_mem_open_ipc_handle(handle, &model->slots);
}

void model_close(struct model *model)
{
    void *const memory[] = { model->images,  model->labels,   model->order, model->deltas,
                             model->weights, model->velocity, model->totals };

    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
        xpurt_free(memory[i]);
    if (model->slots && model->slots_opened)
        xpurt_mem_close_ipc_handle(model->slots);
    else
        xpurt_free(model->slots);
    xpurt_host_free(model->new_order);
    xpurt_host_free(model->got);
    xpurt_stream_destroy(model->stream);
    xpurt_module_unload(model->module);
    *model = (struct model){ 0 };
}

/* ---- work ------------------------------------------------------------------------------------ */

static xpurt_result launch(struct model *model, xpurt_kernel *kernel, uint32_t items,
                           const xpurt_arg *args, size_t n_args)
{
    const uint32_t groups[3] = { (items + GROUP - 1) / GROUP, 1, 1 };
    const uint32_t group_size[3] = { GROUP, 1, 1 };

    return xpurt_launch_kernel(kernel, groups, group_size, args, n_args, model->stream);
}

static float *slot_at(const struct model *model, unsigned slot)
{
    return (float *)model->slots + (size_t)slot * SLOT;
}

xpurt_result model_begin(struct model *model)
{
    xpurt_result r;

    r = xpurt_memcpy_async(model->order, model->new_order, TRAINED * sizeof(uint32_t),
                           model->stream);
    if (r == XPURT_SUCCESS)
        r = xpurt_memset_async(model->totals, 0, sizeof(struct totals), model->stream);
    return r;
}

xpurt_result model_gradient(struct model *model, struct share share, unsigned slot)
{
    const xpurt_arg forward[] = {
        xpurt_arg_pointer(model->images),
        xpurt_arg_pointer(model->labels),
        xpurt_arg_pointer(model->order),
        xpurt_arg_bytes(&share.begin, sizeof(share.begin)),
        xpurt_arg_bytes(&share.count, sizeof(share.count)),
        xpurt_arg_pointer(model->weights),
        xpurt_arg_pointer(model->deltas),
    };
    const xpurt_arg backward[] = {
        xpurt_arg_pointer(model->images),
        xpurt_arg_pointer(model->order),
        xpurt_arg_bytes(&share.begin, sizeof(share.begin)),
        xpurt_arg_bytes(&share.count, sizeof(share.count)),
        xpurt_arg_pointer(model->deltas),
        xpurt_arg_pointer(slot_at(model, slot)),
    };
    xpurt_result r = XPURT_SUCCESS;

    if (share.count)
        r = launch(model, model->forward, share.count, forward, 7);
    if (r == XPURT_SUCCESS)
        r = launch(model, model->backward, SLOT, backward, 6);
    return r;
}

xpurt_result model_update(struct model *model, unsigned slot, unsigned ranks, unsigned batch,
                          float rate)
{
    const float scale = 1.0f / (float)batch, momentum = MOMENTUM;
    const uint32_t count = ranks;
    const xpurt_arg args[] = {
        xpurt_arg_pointer(slot_at(model, slot)),      xpurt_arg_bytes(&count, sizeof(count)),
        xpurt_arg_bytes(&scale, sizeof(scale)),       xpurt_arg_bytes(&rate, sizeof(rate)),
        xpurt_arg_bytes(&momentum, sizeof(momentum)), xpurt_arg_pointer(model->weights),
        xpurt_arg_pointer(model->velocity),           xpurt_arg_pointer(model->totals),
    };

    return launch(model, model->update, SLOT, args, 8);
}

xpurt_result model_warm_up(struct model *model, unsigned slot)
{
    xpurt_result r = model_gradient(model, (struct share){ 0, 1 }, slot);

    if (r == XPURT_SUCCESS)
        r = model_update(model, slot, 0, 1, 0);
    return r ? r : xpurt_stream_synchronize(model->stream);
}

xpurt_result model_end(struct model *model)
{
    return xpurt_memcpy_async(model->got, model->totals, sizeof(*model->got), model->stream);
}

/* ---- what came out --------------------------------------------------------------------------- */

xpurt_result model_test(struct model *model, const struct digits *digits, unsigned slot,
                        unsigned *ret_right)
{
    float right;
    xpurt_result r;

    r = xpurt_memcpy_async(model->order, digits->test, sizeof(digits->test), model->stream);
    if (r == XPURT_SUCCESS)
        r = model_gradient(model, (struct share){ 0, TESTED }, slot);
    if (r == XPURT_SUCCESS)             /* to ordinary memory: returns when it is there */
        r = xpurt_memcpy_async(&right, slot_at(model, slot) + WEIGHTS + 1, sizeof(right),
                               model->stream);
    if (r == XPURT_SUCCESS)
        *ret_right = (unsigned)right;
    return r;
}

xpurt_result model_fingerprint(struct model *model, uint64_t *ret_fingerprint)
{
    uint64_t fingerprint = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    unsigned char weights[sizeof(float[WEIGHTS])];
    xpurt_result r = xpurt_memcpy_async(weights, model->weights, sizeof(weights), model->stream);

    if (r)
        return r;
    for (size_t i = 0; i < sizeof(weights); i++)
        fingerprint = (fingerprint ^ weights[i]) * UINT64_C(0x100000001b3);
    *ret_fingerprint = fingerprint;
    return XPURT_SUCCESS;
}
