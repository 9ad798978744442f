/* SPDX-License-Identifier: MIT */
/* daemon/segment.c: see segment.h.
 *
 * Guarantees of this file:
 *   - its size is sealed: no client can take pages away under a copy of ours;
 *   - it stays mapped until its last unfinished use is over, and charged until it is not mapped any
 *     more;
 *   - unmapping what is large does not hold up the loop.
 */
#include "daemon/segment.h"
#include "daemon/memory.h"
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENT_ROUNDING 4096u

/* ---- giving back ----------------------------------------------------------------------------------- */

/* Its own little object, because the segment's account is closed only when it is done. */
struct release {
    uv_work_t work;
    struct user *user;
    void *bytes;
    uint64_t size;
};

static void release_run(uv_work_t *work)
{
    struct release *release = work->data;

    munmap(release->bytes, release->size);
}

static void release_account(const struct release *release)
{
    user_discharge(release->user, CHARGE_SEGMENTS, 1);
    user_discharge(release->user, CHARGE_HOST_MEMORY, release->size);
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

/* ---- making ---------------------------------------------------------------------------------------- */

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
    segment->id = segment_id(session);
    HASH_ADD(hh, session->segments, id, sizeof(segment->id), segment);
    if (!HASH_ADDED(hh, segment)) {
        free(segment);
        return -ENOMEM;
    }
    fd = segment_map(segment);
    if (fd < 0) {
        HASH_DEL(session->segments, segment);
        free(segment);
        return fd;
    }
    segment->resource.refs = 1;
    segment->resource.destroy = segment_destroy;
    segment->user = user_ref(session->user);
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
