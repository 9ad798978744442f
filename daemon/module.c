/* SPDX-License-Identifier: MIT */
/* daemon/module.c: modules from request to unloading.
 *
 * Guarantees of this file:
 *   - the same SPIR-V with the same options for the same device is built once for a user, however
 *     many sessions ask for it, and stays built as long as one of them has it;
 *   - SPIR-V is copied before anybody looks at it, and everything is charged before it is made;
 *   - a build that nobody waits for any more is ended; the loop never waits for one;
 *   - what is idle costs a user at most user-module-cache bytes, and ends with the last session.
 */
#include "daemon/module.h"
#include "daemon/log.h"
#include "daemon/session.h"

#include <xpurt/module.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#define OPTIONS_BYTES_MAX 4096u
#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct module_request {
    struct module_request *prev, *next;
    struct session *session;            /* borrowed: module_end() removes us */
    uint32_t serial;
};

static void builds_start(struct user *user);

/* ---- what is built -------------------------------------------------------------------------------- */

/* Two modules are the same when this is: device, options, SPIR-V. */
static const void *module_key(const struct module *module)
{
    return &module->source->device_choice;
}

static unsigned module_key_size(const struct module *module)
{
    return (unsigned)(module->source_size - offsetof(struct build_source, device_choice));
}

static bool read_all(int fd, void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (char *)bytes + done, size - done, (off_t)done);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* With zeros behind them, to whole words. */
static size_t options_size(const Xpurt__ModuleLoad *request)
{
    return (strlen(request->options) / sizeof(uint32_t) + 1) * sizeof(uint32_t);
}

static void source_fill(struct build_source *source, struct session *session,
                        const Xpurt__ModuleLoad *request, uint64_t spirv_size)
{
    const struct runtime *runtime = session->runtime;
    const struct limits *limits = runtime->limits;

    source->memory_limit = limits->build_memory;
    source->cpu_limit = limits->build_timeout_ms / 1000 + 1;
    source->device_choice = gpu_device_choice(runtime->gpu);
    source->device = request->device;
    memcpy(source->uuid, gpu_device_properties(runtime->gpu, request->device)->uuid,
           sizeof(source->uuid));
    source->options_size = options_size(request);
    source->spirv_size = spirv_size;
    memcpy(source + 1, request->options, strlen(request->options));
}

/* Copy what the client gave into a file of our own that nobody can change. 0 or -errno. */
static int source_make(struct module *module, struct session *session,
                       const Xpurt__ModuleLoad *request, int spirv_fd, uint64_t spirv_size)
{
    struct build_source *source;
    bool filled;

    module->source_fd = memfd_create("xpurt-source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (module->source_fd < 0 || ftruncate(module->source_fd, (off_t)module->source_size) < 0)
        return -errno;
    source =
        mmap(NULL, module->source_size, PROT_READ | PROT_WRITE, MAP_SHARED, module->source_fd, 0);
    if (source == MAP_FAILED)
        return -errno;
    source_fill(source, session, request, spirv_size);
    filled = read_all(spirv_fd, (void *)(uintptr_t)build_spirv(source), spirv_size);
    munmap(source, module->source_size);
    if (!filled)
        return -EIO;

    if (fcntl(module->source_fd, F_ADD_SEALS, ALL_SEALS | F_SEAL_SEAL) < 0)
        return -errno;
    source = mmap(NULL, module->source_size, PROT_READ, MAP_PRIVATE, module->source_fd, 0);
    if (source == MAP_FAILED)
        return -errno;
    module->source = source;
    return 0;
}

static void source_fd_close(struct module *module)
{
    if (module->source_fd >= 0)
        close(module->source_fd);
    module->source_fd = -1;
}

/* ---- giving back ---------------------------------------------------------------------------------- */

static void kernels_free(struct kernel *kernels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gpu_kernel_free(kernels[i].gpu);
        free(kernels[i].parameters);
    }
    free(kernels);
}

/* Maybe in libuv's pool. */
static void module_free_gpu(struct module *module)
{
    kernels_free(module->kernels, module->n_kernels);
    gpu_module_free(module->gpu);
    module->kernels = NULL;
    module->n_kernels = 0;
    module->gpu = NULL;
}

static void module_free(struct module *module)
{
    source_fd_close(module);
    if (module->source)
        munmap((void *)(uintptr_t)module->source, module->source_size);
    free(module->contents);
    user_unref(module->user);
    free(module);
}

static void on_release_run(uv_work_t *work)
{
    module_free_gpu(work->data);
}

static void on_release_done(uv_work_t *work, int status)
{
    (void)status;
    module_free(work->data);
}

/* Nothing but the reference to the user is left in its books. */
static void module_release(struct module *module)
{
    module->work.data = module;
    if (module->gpu &&
        uv_queue_work(module->user->loop, &module->work, on_release_run, on_release_done) == 0)
        return;
    module_free_gpu(module);
    module_free(module);
}

/* Forget it; it is freed when nothing of it runs any more. */
static void module_abandon(struct module *module)
{
    HASH_DEL(module->user->modules, module);
    switch (module->state) {
    case MODULE_WAITING:
        DL_DELETE(module->user->waiting_modules, module);
        module_free(module);
        break;
    case MODULE_BUILDING:
        module->abandoned = true;
        build_cancel(module->build);
        break;
    case MODULE_LOADING:
        module->abandoned = true;
        break;
    case MODULE_READY:
        module_release(module);
        break;
    }
}

/* ---- idle ones ------------------------------------------------------------------------------------ */

/* The oldest goes, with a reference to the user again until it has gone. */
static void idle_drop(struct user *user)
{
    struct module *module = user->idle_modules;

    DL_DELETE(user->idle_modules, module);
    user->idle_bytes -= module->charged;
    user_ref(user);
    module_abandon(module);
}

static void idle_trim(struct user *user, uint64_t most)
{
    while (user->idle_bytes > most)
        idle_drop(user);
}

/* Nobody uses it. */
static void module_idle(struct resource *resource)
{
    struct module *module = (struct module *)resource;
    struct user *user = module->user;
    uint64_t most = user->limits->user_module_cache;

    user_discharge(user, CHARGE_MODULE_MEMORY, module->charged);
    if (module->state != MODULE_READY || module->result || !user->n_sessions ||
        module->charged > most) {
        module_abandon(module);
        return;
    }
    idle_trim(user, most - module->charged);
    DL_APPEND(user->idle_modules, module);
    user->idle_bytes += module->charged;
    user_unref(user);
}

/* It is charged already. */
static void idle_revive(struct module *module)
{
    struct user *user = user_ref(module->user);

    DL_DELETE(user->idle_modules, module);
    user->idle_bytes -= module->charged;
    module->resource.refs = 1;
}

/* ---- answering ------------------------------------------------------------------------------------ */

/* Not in use. */
static uint32_t lease_id(struct session *session)
{
    do
        session->last_module++;
    while (!session->last_module || module_find(session, session->last_module));
    return session->last_module;
}

/* A file with the module's contents, or -errno. */
static int contents_open(const struct module *module)
{
    int fd = memfd_create("xpurt-module", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    if (write(fd, module->contents, module->contents_size) == (ssize_t)module->contents_size &&
        fcntl(fd, F_ADD_SEALS, ALL_SEALS | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -EIO;
}

/* NULL: no memory. */
static struct module_lease *lease_new(struct session *session, struct module *module)
{
    struct module_lease *lease = calloc(1, sizeof(*lease));

    if (!lease)
        return NULL;
    lease->id = lease_id(session);
    lease->module = module;
    HASH_ADD(hh, session->modules, id, sizeof(lease->id), lease);
    if (HASH_ADDED(hh, lease))
        return lease;
    free(lease);
    return NULL;
}

/* Takes over the reference to the module and the charge for it. */
static void answer(struct session *session, uint32_t serial, struct module *module)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__ModuleLoaded loaded = XPURT__MODULE_LOADED__INIT;
    struct module_lease *lease = NULL;
    int fd = contents_open(module);

    if (fd >= 0 && !module->result)
        lease = lease_new(session, module);
    if (fd < 0 || (!module->result && !lease)) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "no memory or descriptor for an answer");
    } else {
        loaded.code = module->result;
        loaded.text = module->text;
        if (lease)
            loaded.module = lease->id;
        reply.reply_case = XPURT__TO_CLIENT__REPLY_MODULE_LOADED;
        reply.module_loaded = &loaded;
        session_reply(session, serial, &reply, &fd, 1);
    }
    if (!lease) {
        user_discharge(session->user, CHARGE_MODULES, 1);
        resource_unref(&module->resource);
    }
    if (fd >= 0)
        close(fd);
}

static void requests_answer(struct module *module)
{
    struct module_request *request, *next;

    DL_FOREACH_SAFE(module->requests, request, next) {
        bool last = !next;

        DL_DELETE(module->requests, request);
        answer(request->session, request->serial, module);
        free(request);
        if (last)
            return;                     /* careful: *module may be gone */
    }
}

/* ---- loading: in libuv's pool --------------------------------------------------------------------- */

static void kernel_describe(Xpurt__Kernel *kernel, const struct gpu_kernel_properties *properties,
                            Xpurt__Extent *extent)
{
    kernel->max_group_size = properties->max_group_size;
    kernel->preferred_multiple = properties->preferred_multiple;
    kernel->sub_group_size = properties->sub_group_size;
    kernel->required_sub_group_size = properties->required_sub_group_size;
    kernel->local_memory = properties->local_memory;
    kernel->private_memory = properties->private_memory;
    extent->x = properties->required_group_size[0];
    extent->y = properties->required_group_size[1];
    extent->z = properties->required_group_size[2];
}

/* A worker is not believed: launches copy values to where these sizes say there is room. */
static bool parameters_sound(const Xpurt__Kernel *described)
{
    for (size_t i = 0; i < described->n_parameters; i++)
        if (described->parameters[i]->kind == XPURT_ARG_POINTER &&
            described->parameters[i]->size != sizeof(uint64_t))
            return false;
    return true;
}

/* The kernel of the driver that fits the description; else the reason why it is refused. */
static bool kernel_load(struct module *module, struct kernel *kernel, Xpurt__Kernel *described)
{
    char reason[200] = "";

    if (described->refused[0])
        return true;
    if (!parameters_sound(described)) {
        snprintf(reason, sizeof(reason), "the compiler's description of it is wrong");
    } else if (gpu_kernel_new(module->gpu, described->name, &kernel->gpu)) {
        snprintf(reason, sizeof(reason), "%s", gpu_error());
    } else if (gpu_kernel_properties(kernel->gpu)->argument_count != described->n_parameters) {
        snprintf(reason, sizeof(reason), "the driver counts %u arguments, its SPIR-V has %zu",
                 gpu_kernel_properties(kernel->gpu)->argument_count, described->n_parameters);
        gpu_kernel_free(kernel->gpu);
        kernel->gpu = NULL;
    }
    if (reason[0]) {
        described->refused = strdup(reason);
        return described->refused;
    }

    described->required_group_size = malloc(sizeof(*described->required_group_size));
    kernel->parameters = calloc(described->n_parameters + 1, sizeof(*kernel->parameters));
    if (!described->required_group_size || !kernel->parameters)
        return false;
    xpurt__extent__init(described->required_group_size);
    kernel_describe(described, gpu_kernel_properties(kernel->gpu), described->required_group_size);
    kernel->n_parameters = (uint32_t)described->n_parameters;
    for (uint32_t i = 0; i < kernel->n_parameters; i++) {
        kernel->parameters[i].kind = described->parameters[i]->kind;
        kernel->parameters[i].size = described->parameters[i]->size;
    }
    return true;
}

static bool kernels_load(struct module *module, Xpurt__ModuleContents *contents)
{
    module->kernels = calloc(contents->n_kernels + 1, sizeof(*module->kernels));
    if (!module->kernels)
        return false;
    module->n_kernels = contents->n_kernels;
    for (size_t i = 0; i < module->n_kernels; i++)
        if (!kernel_load(module, &module->kernels[i], contents->kernels[i]))
            return false;
    return true;
}

/* Of one that failed there is only the log. */
static bool contents_pack(struct module *module, Xpurt__ModuleContents *contents)
{
    size_t n_kernels = contents->n_kernels;

    if (module->result)
        contents->n_kernels = 0;
    module->contents_size = xpurt__module_contents__get_packed_size(contents);
    module->contents = malloc(module->contents_size + 1);
    if (module->contents)
        xpurt__module_contents__pack(contents, module->contents);
    contents->n_kernels = n_kernels;
    return module->contents;
}

static void fail(struct module *module, xpurt_result result, const char *text)
{
    module->result = result;
    snprintf(module->text, sizeof(module->text), "%s", text);
}

static void on_load_run(uv_work_t *work)
{
    struct module *module = work->data;
    struct build_result built;

    build_read(&module->end, &built);
    if (built.result)
        fail(module, built.result, built.text);
    if (!module->result && !built.contents)
        fail(module, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
    if (!module->result) {
        module->result = gpu_module_new(module->user->context, module->device, built.native,
                                        built.native_size, &module->gpu);
        if (module->result)
            fail(module, module->result, gpu_error());
        else if (!kernels_load(module, built.contents))
            fail(module, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
    }
    if (built.contents && !contents_pack(module, built.contents) && !module->result)
        fail(module, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
    module->native_size = built.native_size;
    build_result_deinit(&built);
}

/* What it came to be is charged too. */
static void charge_rest(struct module *module)
{
    uint64_t rest = module->native_size + module->contents_size;

    if (module->result)
        return;
    if (user_charge(module->user, CHARGE_MODULE_MEMORY, rest)) {
        module->charged += rest;
        return;
    }
    module->result = XPURT_ERROR_QUOTA;
    snprintf(module->text, sizeof(module->text),
             "limit user-module-memory: the module takes %" PRIu64 " bytes more when it is built",
             rest);
}

static void on_load_done(uv_work_t *work, int status)
{
    struct module *module = work->data;

    (void)status;
    if (module->abandoned) {
        module_release(module);
        return;
    }
    module->state = MODULE_READY;
    charge_rest(module);
    requests_answer(module);
}

/* ---- building ------------------------------------------------------------------------------------- */

static void on_built(void *data, struct build_end *end)
{
    struct module *module = data;
    struct user *user = user_ref(module->user);

    module->build = NULL;
    module->end = *end;
    user->n_builds--;
    source_fd_close(module);
    module->state = MODULE_LOADING;
    module->work.data = module;
    if (module->abandoned ||
        uv_queue_work(user->loop, &module->work, on_load_run, on_load_done) < 0) {
        struct build_result unused;

        build_read(end, &unused);
        build_result_deinit(&unused);
        fail(module, XPURT_ERROR_OUT_OF_HOST_MEMORY, "the daemon is out of memory");
        on_load_done(&module->work, 0);
    }
    builds_start(user);
    user_unref(user);
}

/* As many at a time as the user may have. */
static void builds_start(struct user *user)
{
    struct module *module;

    while (user->n_builds < user->limits->user_builds && (module = user->waiting_modules)) {
        int r = build_start(user->loop, module->source_fd, user->limits->build_timeout_ms, on_built,
                            module, &module->build);

        DL_DELETE(user->waiting_modules, module);
        if (r == 0) {
            module->state = MODULE_BUILDING;
            module->runtime->counters.builds++;
            user->n_builds++;
            continue;
        }
        fail(module, XPURT_ERROR_SYSTEM, "no process for the compiler could be started");
        module->state = MODULE_READY;
        requests_answer(module);
    }
}

/* ---- requests ------------------------------------------------------------------------------------- */

/* The size of the SPIR-V in @p fd: it must be a file whose bytes cannot change, and which can be read
 * without waiting for anybody. 0: refused, and the client was told. */
static uint64_t spirv_size(struct session *session, uint32_t serial, int fd)
{
    uint64_t limit = session->runtime->limits->module_bytes;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;

    if (seals < 0 || (seals & ALL_SEALS) != ALL_SEALS || fstat(fd, &status) < 0) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "a module comes in a memfd sealed against writing, shrinking and growing");
        return 0;
    }
    if (status.st_size <= 0 || status.st_size % (off_t)sizeof(uint32_t)) {
        session_error(session, serial, 0, XPURT_ERROR_BUILD_FAILED,
                      "%" PRId64 " bytes are no SPIR-V: it consists of words of 4 bytes",
                      (int64_t)status.st_size);
        return 0;
    }
    if ((uint64_t)status.st_size > limit) {
        session_error(session, serial, 0, XPURT_ERROR_QUOTA,
                      "limit module-bytes: the module has %" PRId64 " bytes, %" PRIu64
                      " are allowed",
                      (int64_t)status.st_size, limit);
        return 0;
    }
    return (uint64_t)status.st_size;
}

/* Not charged, not in the table. NULL: the client was told. */
static struct module *module_new(struct session *session, uint32_t serial,
                                 const Xpurt__ModuleLoad *request, int fd, uint64_t size)
{
    struct module *module;
    int r = -ENOMEM;

    module = calloc(1, sizeof(*module));
    if (module) {
        module->resource.refs = 1;
        module->resource.destroy = module_idle;
        module->user = user_ref(session->user);
        module->runtime = session->runtime;
        module->device = request->device;
        module->source_size = sizeof(struct build_source) + options_size(request) + size;
        module->charged = module->source_size;
        r = source_make(module, session, request, fd, size);
        if (r == 0)
            return module;
        module_free(module);
    }
    session_error(session, serial, 0, XPURT_ERROR_SYSTEM, "the module cannot be read: %s",
                  strerror(-r));
    return NULL;
}

/* A reference to the module that is the same as @p fresh, or to itself; takes it over. NULL: the user
 * may not have so much, or there is no memory; the client was told. */
static struct module *module_share(struct session *session, uint32_t serial, struct module *fresh)
{
    struct user *user = session->user;
    struct module *module;

    HASH_FIND(hh, user->modules, module_key(fresh), module_key_size(fresh), module);
    if (module && module->resource.refs) {
        module_free(fresh);
        return resource_ref(&module->resource);
    }
    if (!session_charge(session, serial, CHARGE_MODULE_MEMORY,
                        (module ? module : fresh)->charged)) {
        module_free(fresh);
        return NULL;
    }
    if (module) {
        module_free(fresh);
        idle_revive(module);
        return module;
    }
    HASH_ADD_KEYPTR(hh, user->modules, module_key(fresh), module_key_size(fresh), fresh);
    if (!HASH_ADDED(hh, fresh)) {
        user_discharge(user, CHARGE_MODULE_MEMORY, fresh->charged);
        module_free(fresh);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return NULL;
    }
    DL_APPEND(user->waiting_modules, fresh);
    return fresh;
}

/* Answer when it is there. Takes over the reference. */
static bool module_await(struct session *session, uint32_t serial, struct module *module)
{
    struct module_request *request;

    if (module->state == MODULE_READY) {
        answer(session, serial, module);
        return true;
    }
    request = calloc(1, sizeof(*request));
    if (!request) {
        resource_unref(&module->resource);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return false;
    }
    request->session = session;
    request->serial = serial;
    DL_APPEND(module->requests, request);
    builds_start(session->user);
    return true;
}

static bool context_make(struct session *session, uint32_t serial)
{
    struct gpu_context *context;
    xpurt_result result = user_context(session->user, &context);

    if (result)
        session_error(session, serial, 0, result, "no GPU context could be made: %s", gpu_error());
    return !result;
}

static void module_request(struct session *session, uint32_t serial,
                           const Xpurt__ModuleLoad *request, int fd)
{
    uint64_t size = spirv_size(session, serial, fd);
    struct module *module;

    if (!size || !context_make(session, serial) ||
        !session_charge(session, serial, CHARGE_MODULES, 1))
        return;
    module = module_new(session, serial, request, fd, size);
    if (module)
        module = module_share(session, serial, module);
    if (!module || !module_await(session, serial, module))
        user_discharge(session->user, CHARGE_MODULES, 1);
}

void module_load(struct session *session, uint32_t serial, const Xpurt__ModuleLoad *request)
{
    int fd = frame_fds_take(session->fds);

    if (request->device >= gpu_device_count(session->runtime->gpu))
        session_error(session, serial, 0, XPURT_ERROR_INVALID_DEVICE, "there is no device %u",
                      request->device);
    else if (strlen(request->options) > OPTIONS_BYTES_MAX)
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "the options have %zu bytes, %u are allowed", strlen(request->options),
                      OPTIONS_BYTES_MAX);
    else
        module_request(session, serial, request, fd);
    close(fd);
}

struct module *module_find(struct session *session, uint32_t id)
{
    struct module_lease *lease;

    HASH_FIND(hh, session->modules, &id, sizeof(id), lease);
    return lease ? lease->module : NULL;
}

static void lease_free(struct session *session, struct module_lease *lease)
{
    HASH_DEL(session->modules, lease);
    user_discharge(session->user, CHARGE_MODULES, 1);
    resource_unref(&lease->module->resource);
    free(lease);
}

void module_unload(struct session *session, const Xpurt__ModuleUnload *command)
{
    struct module_lease *lease;

    HASH_FIND(hh, session->modules, &command->module, sizeof(command->module), lease);
    if (lease)
        lease_free(session, lease);
    else
        session_error(session, 0, 0, XPURT_ERROR_INVALID_HANDLE, "there is no module %u",
                      command->module);
}

void kernel_suggest(struct session *session, uint32_t serial, const Xpurt__KernelSuggest *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__KernelSuggested suggested = XPURT__KERNEL_SUGGESTED__INIT;
    Xpurt__Extent extent = XPURT__EXTENT__INIT;
    struct module *module = module_find(session, request->module);
    const Xpurt__Extent *global = request->global;
    uint32_t group[3] = { 0 };
    xpurt_result result;

    if (!module || request->kernel >= module->n_kernels || !module->kernels[request->kernel].gpu) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_HANDLE,
                      "there is no kernel %u in module %u", request->kernel, request->module);
        return;
    }
    if (!global || !global->x || !global->y || !global->z) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "no dimension may have 0 work items");
        return;
    }
    result = gpu_kernel_suggest(module->kernels[request->kernel].gpu,
                                (uint32_t[]){ global->x, global->y, global->z }, group);
    if (result) {
        session_error(session, serial, 0, result, "%s", gpu_error());
        return;
    }
    extent.x = group[0];
    extent.y = group[1];
    extent.z = group[2];
    suggested.group_size = &extent;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_KERNEL_SUGGESTED;
    reply.kernel_suggested = &suggested;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- the end of a session ------------------------------------------------------------------------- */

static void requests_drop(struct session *session, struct module *module)
{
    struct module_request *request, *next;

    resource_ref(&module->resource);
    DL_FOREACH_SAFE(module->requests, request, next) {
        if (request->session != session)
            continue;
        DL_DELETE(module->requests, request);
        free(request);
        user_discharge(session->user, CHARGE_MODULES, 1);
        resource_unref(&module->resource);
    }
    resource_unref(&module->resource);
}

void module_end(struct session *session)
{
    struct user *user = session->user;
    struct module_lease *lease, *next_lease;
    struct module *module, *next_module;

    HASH_ITER(hh, session->modules, lease, next_lease)
        lease_free(session, lease);
    HASH_ITER(hh, user->modules, module, next_module)
        if (module->requests)
            requests_drop(session, module);
    if (!user->n_sessions)
        idle_trim(user, 0);
}
