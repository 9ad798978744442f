/* SPDX-License-Identifier: MIT */
/* daemon/memory.c: device memory and host segments.
 *
 * Guarantees of this file:
 *   - an address is accepted only inside a live allocation that the session allocated or opened,
 *     with all bytes of the range;
 *   - memory goes back to the driver when its last lease and its last unfinished use are over;
 *   - freeing or making large pieces does not hold up the loop: it runs in libuv's pool.
 */
#include "daemon/memory.h"
#include "daemon/gpu.h"
#include "daemon/log.h"
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_ROUNDING 512u              /* allocations are whole multiples, for honest accounts */
#define MEMORY_LARGE (UINT64_C(64) << 20) /* slower than a hundred commands: off the loop */
#define SEGMENT_ROUNDING 4096u

/* ---- the tree of a user's allocations --------------------------------------------------------------- */

/* Ranges that overlap compare equal: a one-byte range finds the allocation around it. */
static int range_compare(const void *left, const void *right)
{
    const struct allocation *a = left, *b = right;

    if (a->address + a->size <= b->address)
        return -1;
    return a->address >= b->address + b->size;
}

static struct allocation *allocation_find(struct user *user, uint64_t address)
{
    struct allocation wanted = { .address = address, .size = 1 };
    struct allocation **found = tfind(&wanted, &user->allocations, range_compare);

    return found ? *found : NULL;
}

/* ---- giving back -------------------------------------------------------------------------------------- */

/* Its own little object, because the allocation's account is closed only when it is done. */
struct release {
    uv_work_t work;
    struct user *user;
    void *bytes;                        /* a host segment, or NULL: device memory */
    uint32_t device;
    uint64_t address;
    uint64_t size;
};

static void release_run(uv_work_t *work)
{
    struct release *release = work->data;

    if (release->bytes)
        munmap(release->bytes, release->size);
    else if (gpu_memory_free(release->user->context, release->device, release->address,
                             release->size))
        log_error("cannot free device memory: %s", gpu_error());
}

static void release_account(const struct release *release)
{
    user_discharge(release->user, release->bytes ? CHARGE_SEGMENTS : CHARGE_ALLOCATIONS, 1);
    user_discharge(release->user, release->bytes ? CHARGE_HOST_MEMORY : CHARGE_MEMORY,
                   release->size);
    user_unref(release->user);
}

static void release_done(uv_work_t *work, int status)
{
    (void)status;
    release_account(work->data);
    free(work->data);
}

/* Takes over the reference to the user. */
static void release_start(struct release *release)
{
    struct release *later;

    if (release->size >= MEMORY_LARGE && (later = malloc(sizeof(*later)))) {
        *later = *release;
        later->work.data = later;
        if (uv_queue_work(release->user->loop, &later->work, release_run, release_done) == 0)
            return;
        free(later);
    }
    release->work.data = release;
    release_run(&release->work);
    release_account(release);
}

static void allocation_destroy(struct resource *resource)
{
    struct allocation *allocation = (struct allocation *)resource;
    struct release release = {
        .user = allocation->user,
        .device = allocation->device,
        .address = allocation->address,
        .size = allocation->size,
    };

    tdelete(allocation, &allocation->user->allocations, range_compare);
    free(allocation);
    release_start(&release);
}

static void segment_destroy(struct resource *resource)
{
    struct segment *segment = (struct segment *)resource;
    struct release release = {
        .user = segment->user,
        .size = segment->size,
        .bytes = segment->bytes,
    };

    free(segment);
    release_start(&release);
}

/* ---- allocating ---------------------------------------------------------------------------------------- */

static struct memory_lease *lease_of(struct session *session, const struct allocation *allocation)
{
    struct memory_lease *lease;

    HASH_FIND(hh, session->memory, &allocation->address, sizeof(allocation->address), lease);
    return lease;
}

static bool lease_add(struct session *session, struct allocation *allocation)
{
    struct memory_lease *lease = lease_of(session, allocation);

    if (!lease) {
        lease = calloc(1, sizeof(*lease));
        if (!lease)
            return false;
        lease->address = allocation->address;
        lease->allocation = resource_ref(&allocation->resource);
        HASH_ADD(hh, session->memory, address, sizeof(lease->address), lease);
    }
    lease->count++;
    return true;
}

static void tokens_revoke(struct session *session, struct memory_lease *lease)
{
    struct token *token, *next;

    HASH_ITER(by_offset, lease->tokens, token, next) {
        HASH_DELETE(by_offset, lease->tokens, token);
        broker_revoke(&session->runtime->broker, token);
    }
}

static void lease_free(struct session *session, struct memory_lease *lease)
{
    tokens_revoke(session, lease);
    HASH_DEL(session->memory, lease);
    if (lease->charged)
        user_discharge(session->user, CHARGE_LEASES, 1);
    resource_unref(&lease->allocation->resource);
    free(lease);
}

/* One allocation under way, maybe in libuv's pool. */
struct request {
    uv_work_t work;
    struct session *session;            /* counted in n_requests */
    struct gpu_context *context;        /* borrowed: of the session's user */
    uint32_t serial;
    uint32_t device;
    uint64_t size;
    uint64_t address;
    xpurt_result result;
    char error[160];
};

static void request_run(uv_work_t *work)
{
    struct request *request = work->data;

    request->result =
        gpu_memory_new(request->context, request->device, request->size, &request->address);
    if (request->result)
        snprintf(request->error, sizeof(request->error), "%s", gpu_error());
}

/* Into the tree, with the session as its first user; gives @p address back where that fails. */
static xpurt_result allocation_new(struct request *request)
{
    struct session *session = request->session;
    struct allocation *allocation;

    allocation = calloc(1, sizeof(*allocation));
    if (!allocation)
        goto fail;
    allocation->resource.refs = 1;
    allocation->resource.destroy = allocation_destroy;
    allocation->address = request->address;
    allocation->size = request->size;
    allocation->device = request->device;
    if (!tsearch(allocation, &session->user->allocations, range_compare))
        goto fail;
    allocation->user = user_ref(session->user);

    /* Freed on the spot when the session died meanwhile, or when there is no memory for a lease. */
    if (session->state == SESSION_READY && !lease_add(session, allocation))
        request->result = XPURT_ERROR_OUT_OF_HOST_MEMORY;
    resource_unref(&allocation->resource);
    return request->result;

fail:
    free(allocation);
    gpu_memory_free(request->context, request->device, request->address, request->size);
    user_discharge(session->user, CHARGE_ALLOCATIONS, 1);
    user_discharge(session->user, CHARGE_MEMORY, request->size);
    return XPURT_ERROR_OUT_OF_HOST_MEMORY;
}

static void request_answer(struct request *request)
{
    struct session *session = request->session;
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryAllocated allocated = XPURT__MEMORY_ALLOCATED__INIT;

    if (request->result) {
        user_discharge(session->user, CHARGE_ALLOCATIONS, 1);
        user_discharge(session->user, CHARGE_MEMORY, request->size);
        session_error(
            session, request->serial, 0, request->result,
            "cannot allocate %" PRIu64 " bytes on device %u, %" PRIu64 " are held by this user: %s",
            request->size, request->device, session->user->charged[CHARGE_MEMORY], request->error);
        return;
    }
    if (allocation_new(request)) {
        session_error(session, request->serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    allocated.address = request->address;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_ALLOCATED;
    reply.memory_allocated = &allocated;
    session_reply(session, request->serial, &reply, NULL, 0);
}

static void request_done(uv_work_t *work, int status)
{
    struct request *request = work->data;
    struct session *session = request->session;

    (void)status;
    request_answer(request);
    free(request);
    session->n_requests--;
    session_settle(session);
}

void memory_alloc(struct session *session, uint32_t serial, const Xpurt__MemoryAlloc *message)
{
    struct gpu *gpu = session->runtime->gpu;
    struct request request = {
        .session = session,
        .serial = serial,
        .device = message->device,
        .error = "no GPU context could be made",
    };
    struct request *later;

    if (message->device >= gpu_device_count(gpu)) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_DEVICE, "there is no device %u",
                      message->device);
        return;
    }
    if (message->size == 0 ||
        message->size > gpu_device_properties(gpu, message->device)->max_allocation) {
        session_error(session, serial, 0,
                      message->size ? XPURT_ERROR_OUT_OF_MEMORY : XPURT_ERROR_INVALID_ARGUMENT,
                      "cannot allocate %" PRIu64
                      " bytes in one piece; device %u allows 1 to %" PRIu64,
                      message->size, message->device,
                      gpu_device_properties(gpu, message->device)->max_allocation);
        return;
    }

    request.size = (message->size + MEMORY_ROUNDING - 1) / MEMORY_ROUNDING * MEMORY_ROUNDING;
    if (!session_charge(session, serial, CHARGE_ALLOCATIONS, 1))
        return;
    if (!session_charge(session, serial, CHARGE_MEMORY, request.size)) {
        user_discharge(session->user, CHARGE_ALLOCATIONS, 1);
        return;
    }

    request.result = user_context(session->user, &request.context);
    if (request.result) {
        request_answer(&request);
        return;
    }

    if (request.size >= MEMORY_LARGE && (later = malloc(sizeof(*later)))) {
        *later = request;
        later->work.data = later;
        if (uv_queue_work(session->user->loop, &later->work, request_run, request_done) == 0) {
            session->n_requests++;
            return;
        }
        free(later);
    }
    request.work.data = &request;
    request_run(&request.work);
    request_answer(&request);
}

void memory_free(struct session *session, const Xpurt__MemoryFree *command)
{
    struct memory_lease *lease;

    HASH_FIND(hh, session->memory, &command->address, sizeof(command->address), lease);
    if (!lease) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not the start of memory of this process", command->address);
        return;
    }
    if (--lease->count == 0)
        lease_free(session, lease);
}

void memory_info(struct session *session, uint32_t serial, const Xpurt__MemoryInfo *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryAmount amount = XPURT__MEMORY_AMOUNT__INIT;
    struct gpu *gpu = session->runtime->gpu;
    uint64_t held;

    if (request->device >= gpu_device_count(gpu)) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_DEVICE, "there is no device %u",
                      request->device);
        return;
    }
    amount.total = gpu_device_properties(gpu, request->device)->total_memory;
    held = gpu_memory_held(gpu, request->device);
    amount.free = held < amount.total ? amount.total - held : 0;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_AMOUNT;
    reply.memory_amount = &amount;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- sharing ---------------------------------------------------------------------------------------------- */

/* The session's lease of the allocation around @p address. */
static struct memory_lease *lease_find(struct session *session, uint64_t address)
{
    struct allocation *allocation = allocation_find(session->user, address);

    return allocation ? lease_of(session, allocation) : NULL;
}

/* The handle for @p offset: the one made before, or a new one. NULL: the client was told. */
static struct token *token_get(struct session *session, uint32_t serial, struct memory_lease *lease,
                               uint64_t offset)
{
    struct token *token;

    HASH_FIND(by_offset, lease->tokens, &offset, sizeof(offset), token);
    if (token)
        return token;

    if (!session_charge(session, serial, CHARGE_EXPORTS, 1))
        return NULL;
    if (broker_export(&session->runtime->broker, session->user, HANDLE_MEMORY, lease, offset,
                      &token) < 0) {
        user_discharge(session->user, CHARGE_EXPORTS, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon cannot make a handle");
        return NULL;
    }
    HASH_ADD(by_offset, lease->tokens, offset, sizeof(token->offset), token);
    return token;
}

void memory_export(struct session *session, uint32_t serial, const Xpurt__MemoryExport *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Handle handle = XPURT__HANDLE__INIT;
    struct memory_lease *lease = lease_find(session, request->address);
    struct token *token;

    if (!lease) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not in memory of this process", request->address);
        return;
    }
    token = token_get(session, serial, lease, request->address - lease->address);
    if (!token)
        return;
    handle.handle.data = (uint8_t *)&token->handle;
    handle.handle.len = sizeof(token->handle);
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HANDLE;
    reply.handle = &handle;
    session_reply(session, serial, &reply, NULL, 0);
}

void memory_open(struct session *session, uint32_t serial, const Xpurt__MemoryOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryOpened opened = XPURT__MEMORY_OPENED__INIT;
    struct allocation *allocation;
    struct token *token;
    const char *reason;
    xpurt_result result;
    bool is_new;

    result = broker_find(&session->runtime->broker, session->user, HANDLE_MEMORY,
                         request->handle.data, request->handle.len, &token, &reason);
    if (result) {
        session_error(session, serial, 0, result, "%s", reason);
        return;
    }
    allocation = ((struct memory_lease *)token->object)->allocation;
    is_new = !lease_of(session, allocation);
    if (is_new && !session_charge(session, serial, CHARGE_LEASES, 1))
        return;
    if (!lease_add(session, allocation)) {
        user_discharge(session->user, CHARGE_LEASES, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    if (is_new)
        lease_of(session, allocation)->charged = true;
    opened.address = allocation->address + token->offset;
    opened.start = allocation->address;
    opened.size = allocation->size;
    opened.device = allocation->device;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_OPENED;
    reply.memory_opened = &opened;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- host segments ----------------------------------------------------------------------------------------- */

static int segment_map(struct segment *segment)
{
    int fd, r;

    fd = memfd_create("xpurt-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    r = ftruncate(fd, (off_t)segment->size);
    if (r == 0)
        r = fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (r == 0) {
        segment->bytes = mmap(NULL, segment->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (segment->bytes == MAP_FAILED)
            r = -1;
    }
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static bool segment_charge(struct session *session, uint32_t serial, uint64_t size)
{
    if (!session_charge(session, serial, CHARGE_SEGMENTS, 1))
        return false;
    if (session_charge(session, serial, CHARGE_HOST_MEMORY, size))
        return true;
    user_discharge(session->user, CHARGE_SEGMENTS, 1);
    return false;
}

/* Not 0, which means device memory, and not in use. */
static uint32_t segment_id(struct session *session)
{
    struct segment *segment;

    do {
        session->last_segment++;
        HASH_FIND(hh, session->segments, &session->last_segment, sizeof(session->last_segment),
                  segment);
    } while (!session->last_segment || segment);
    return session->last_segment;
}

/* The segment's descriptor for the client, or -errno. */
static int segment_new(struct session *session, uint64_t size, struct segment **ret_segment)
{
    struct segment *segment;
    int fd;

    segment = calloc(1, sizeof(*segment));
    if (!segment)
        return -ENOMEM;
    segment->size = size;
    fd = segment_map(segment);
    if (fd < 0) {
        free(segment);
        return fd;
    }
    segment->resource.refs = 1;
    segment->resource.destroy = segment_destroy;
    segment->user = user_ref(session->user);
    segment->id = segment_id(session);
    HASH_ADD(hh, session->segments, id, sizeof(segment->id), segment);
    *ret_segment = segment;
    return fd;
}

void host_alloc(struct session *session, uint32_t serial, const Xpurt__HostAlloc *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__HostAllocated allocated = XPURT__HOST_ALLOCATED__INIT;
    struct segment *segment;
    uint64_t size;
    int fd;

    if (request->size == 0 || request->size > INT64_MAX - SEGMENT_ROUNDING) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "cannot allocate %" PRIu64 " bytes of host memory", request->size);
        return;
    }
    size = (request->size + SEGMENT_ROUNDING - 1) / SEGMENT_ROUNDING * SEGMENT_ROUNDING;
    if (!segment_charge(session, serial, size))
        return;

    fd = segment_new(session, size, &segment);
    if (fd < 0) {
        user_discharge(session->user, CHARGE_SEGMENTS, 1);
        user_discharge(session->user, CHARGE_HOST_MEMORY, size);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "cannot allocate %" PRIu64 " bytes of host memory: %s", request->size,
                      strerror(-fd));
        return;
    }
    allocated.segment = segment->id;
    allocated.size = segment->size;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HOST_ALLOCATED;
    reply.host_allocated = &allocated;
    session_reply(session, serial, &reply, &fd, 1);
    close(fd);
}

void host_free(struct session *session, const Xpurt__HostFree *command)
{
    struct segment *segment;

    HASH_FIND(hh, session->segments, &command->segment, sizeof(command->segment), segment);
    if (!segment) {
        session_error(session, 0, 0, XPURT_ERROR_INVALID_ADDRESS, "there is no segment %u",
                      command->segment);
        return;
    }
    HASH_DEL(session->segments, segment);
    resource_unref(&segment->resource);
}

/* ---- for Level Zero contexts of clients -------------------------------------------------------------------- */

void memory_native(struct session *session, uint32_t serial, const Xpurt__MemoryNative *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__NativeMemory native = XPURT__NATIVE_MEMORY__INIT;
    struct memory_lease *lease = lease_find(session, request->address);
    uint8_t bytes[64];
    xpurt_result result;
    int fd;

    if (!lease || request->address - lease->address >= lease->allocation->size) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not inside device memory of this process",
                      request->address);
        return;
    }
    result = gpu_memory_handle(session->user->context, lease->address, bytes, &fd);
    if (result) {
        session_error(session, serial, 0, result, "no native handle: %s", gpu_error());
        return;
    }
    native.handle = (ProtobufCBinaryData){ sizeof(bytes), bytes };
    native.start = lease->address;
    native.size = lease->allocation->size;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_NATIVE_MEMORY;
    reply.native_memory = &native;
    session_reply(session, serial, &reply, &fd, 1);
}

/* ---- using --------------------------------------------------------------------------------------------------- */

static bool range_inside(uint64_t begin, uint64_t size, uint64_t inner, uint64_t inner_size)
{
    return inner >= begin && inner - begin <= size && inner_size <= size - (inner - begin);
}

xpurt_result memory_locate(struct session *session, const Xpurt__Location *location, uint64_t size,
                           void **ret_bytes, struct resource **ret_resource)
{
    struct memory_lease *lease;
    struct segment *segment;

    if (!location)
        return XPURT_ERROR_INVALID_ADDRESS;

    if (location->segment) {
        HASH_FIND(hh, session->segments, &location->segment, sizeof(location->segment), segment);
        if (!segment || !range_inside(0, segment->size, location->offset, size))
            return XPURT_ERROR_INVALID_ADDRESS;
        *ret_bytes = (char *)segment->bytes + location->offset;
        *ret_resource = &segment->resource;
        return XPURT_SUCCESS;
    }

    lease = lease_find(session, location->offset);
    if (!lease || !range_inside(lease->address, lease->allocation->size, location->offset, size))
        return XPURT_ERROR_INVALID_ADDRESS;
    *ret_bytes = (void *)(uintptr_t)location->offset;
    *ret_resource = &lease->allocation->resource;
    return XPURT_SUCCESS;
}

void memory_end(struct session *session)
{
    struct memory_lease *lease, *next_lease;
    struct segment *segment, *next_segment;

    HASH_ITER(hh, session->memory, lease, next_lease)
        lease_free(session, lease);
    HASH_ITER(hh, session->segments, segment, next_segment) {
        HASH_DEL(session->segments, segment);
        resource_unref(&segment->resource);
    }
}
