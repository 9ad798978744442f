/* SPDX-License-Identifier: MIT */
/* client/module.c: modules: SPIR-V to the daemon, what is in it back.
 *
 * Guarantees of this file: the daemon gets a copy of the SPIR-V that nobody can change; what it says
 * of the module is checked before it is used.
 */
#include "client/module.h"

#include "client/device.h"
#include "client/result.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODULES_MAX 65536u              /* those of before a fork or reset included */
#define CONTENTS_MAX (256 << 20)        /* no daemon builds that much */

_Static_assert(sizeof(struct xpurt_module) <= POOL_OBJECT_SIZE, "fits its place in the pool");

static struct pool modules = { .capacity = MODULES_MAX };

void modules_end(enum session_end why)
{
    if (why != SESSION_RESET)
        return;
    pool_outdate(&modules);
    kernels_outdate();
}

xpurt_result module_check(xpurt_module *module)
{
    if (!module)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the module is null");
    if (pool_mark_of(&modules, module) != POOL_LIVE)
        return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live module", (void *)module);
    if (module->epoch != session.epoch)
        return error_set(XPURT_ERROR_FORKED, "the module was loaded before fork(): it belongs to "
                                             "the parent process");
    return XPURT_SUCCESS;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* A file that holds the SPIR-V and cannot change, or -errno. */
static int spirv_file(const void *spirv, size_t size)
{
    int fd = memfd_create("xpurt-spirv", MFD_CLOEXEC | MFD_ALLOW_SEALING), r = 0;

    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < size && r == 0;) {
        ssize_t n = write(fd, (const char *)spirv + done, size - done);

        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            r = -errno;
    }
    if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        r = -errno;
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

/* Kernels have all that others look at. */
static bool contents_valid(const Xpurt__ModuleContents *contents)
{
    for (size_t i = 0; i < contents->n_kernels; i++)
        if (!contents->kernels[i]->refused[0] && !contents->kernels[i]->required_group_size)
            return false;
    return true;
}

static Xpurt__ModuleContents *contents_read(int fd)
{
    Xpurt__ModuleContents *contents = NULL;
    struct stat status;
    uint8_t *bytes;

    if (fstat(fd, &status) < 0 || status.st_size < 0 || status.st_size > CONTENTS_MAX)
        return NULL;
    bytes = malloc((size_t)status.st_size + 1);
    if (bytes && pread(fd, bytes, (size_t)status.st_size, 0) == status.st_size)
        contents = xpurt__module_contents__unpack(NULL, (size_t)status.st_size, bytes);
    free(bytes);
    if (contents && !contents_valid(contents)) {
        xpurt__module_contents__free_unpacked(contents, NULL);
        contents = NULL;
    }
    return contents;
}

static void unload_send(uint32_t id)
{
    Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;

    unload.module = id;
    (void)connection_command(&(Xpurt__Command){ COMMAND(MODULE_UNLOAD), .module_unload = &unload });
}

/* Takes over the contents on success. The lock is held. */
static xpurt_result module_new(uint32_t id, uint32_t device, Xpurt__ModuleContents *contents,
                               xpurt_module **ret_module)
{
    struct xpurt_kernel **kernels = calloc(contents->n_kernels + 1, sizeof(*kernels));
    xpurt_module *module = kernels ? pool_take(&modules) : NULL;

    if (!module) {
        free(kernels);
        unload_send(id);
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for another module");
    }
    module->epoch = session.epoch;
    module->id = id;
    module->device = device;
    module->contents = contents;
    module->kernels = kernels;
    device_use(device);
    *ret_module = module;
    return XPURT_SUCCESS;
}

/* The module, or why there is none, out of what the daemon said. */
static xpurt_result module_take(const struct reply *reply, uint32_t device,
                                Xpurt__ModuleContents *contents, xpurt_module **ret_module)
{
    const Xpurt__ModuleLoaded *loaded = reply->message->module_loaded;

    if (loaded->code)
        return error_set((xpurt_result)loaded->code, "%s", loaded->text);
    return module_new(loaded->module, device, contents, ret_module);
}

static void log_copy(const Xpurt__ModuleContents *contents, size_t capacity, char *ret_log,
                     size_t *ret_log_size)
{
    size_t size = contents ? strlen(contents->log) : 0, room = capacity ? capacity - 1 : 0;

    if (ret_log_size)
        *ret_log_size = size;
    if (!capacity)
        return;
    if (size < room)
        room = size;
    if (room)
        memcpy(ret_log, contents->log, room);
    ret_log[room] = '\0';
}

/* The lock is held, and free while the daemon builds. */
static xpurt_result load(uint32_t device, int fd, const char *options, size_t capacity,
                         char *ret_log, size_t *ret_log_size, xpurt_module **ret_module)
{
    Xpurt__ModuleLoad message = XPURT__MODULE_LOAD__INIT;
    Xpurt__ToDaemon request = { REQUEST(MODULE_LOAD), .module_load = &message };
    Xpurt__ModuleContents *contents;
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    message.device = device;
    message.options = (char *)(uintptr_t)options;
    r = connection_request_long(&request, fd, XPURT__TO_CLIENT__REPLY_MODULE_LOADED, 1, &reply);
    if (r)
        return r;
    contents = contents_read(reply.fds.fds[0]);
    log_copy(contents, capacity, ret_log, ret_log_size);
    r = contents || reply.message->module_loaded->code ?
            module_take(&reply, device, contents, ret_module) :
            error_set(XPURT_ERROR_PROTOCOL,
                      "xpurtd describes a module in a way nobody understands");
    if (r && contents)
        xpurt__module_contents__free_unpacked(contents, NULL);
    reply_deinit(&reply);
    return r;
}

xpurt_result xpurt_module_load_with_log(int device, const void *spirv, size_t size,
                                        const char *options, size_t capacity, char *ret_log,
                                        size_t *ret_log_size, xpurt_module **ret_module)
{
    xpurt_result r;
    int fd;

    if (!ret_module || !spirv || !size || (capacity && !ret_log))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "no SPIR-V, or nowhere to put the module");
    if (options && strlen(options) > 4096)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the options have more than 4096 bytes");
    log_copy(NULL, capacity, ret_log, ret_log_size);

    device = device_choose(device);
    fd = spirv_file(spirv, size);
    if (fd < 0)
        return system_error("the module cannot be handed over", fd);
    r = device_enter(device);
    if (r == XPURT_SUCCESS) {
        r = load((uint32_t)device, fd, options ? options : "", capacity, ret_log, ret_log_size,
                 ret_module);
        session_leave();
    }
    close(fd);
    return r;
}

xpurt_result xpurt_module_load(int device, const void *spirv, size_t size, const char *options,
                               xpurt_module **ret_module)
{
    return xpurt_module_load_with_log(device, spirv, size, options, 0, NULL, NULL, ret_module);
}

xpurt_result xpurt_module_unload(xpurt_module *module)
{
    xpurt_result r = XPURT_SUCCESS;
    uint32_t mark;

    if (!module)
        return XPURT_SUCCESS;
    connection_lock();
    mark = pool_mark_of(&modules, module);
    if (mark == POOL_FREE) {
        r = error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a module", (void *)module);
    } else {
        if (mark == POOL_LIVE && module->epoch == session.epoch &&
            connection_state() == CONNECTION_READY)
            unload_send(module->id);
        kernels_end(module);
        free(module->kernels);
        xpurt__module_contents__free_unpacked(module->contents, NULL);
        pool_give(&modules, &module->object);
    }
    connection_unlock();
    return r;
}

xpurt_result xpurt_module_get_kernel_names(xpurt_module *module, size_t capacity,
                                           const char **ret_names, size_t *ret_count)
{
    xpurt_result r;

    if (!ret_count || (capacity && !ret_names))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the names");
    connection_lock();
    r = module_check(module);
    if (r == XPURT_SUCCESS) {
        *ret_count = module->contents->n_kernels;
        for (size_t i = 0; i < *ret_count && i < capacity; i++)
            ret_names[i] = module->contents->kernels[i]->name;
    }
    connection_unlock();
    return r;
}
