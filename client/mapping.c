/* SPDX-License-Identifier: MIT */
/* client/mapping.c: see mapping.h.
 *
 * Guarantees of this file:
 *   - a mapping belongs to a segment in the table of client/address.c and goes with it, so that it
 *     never shows memory of another segment that came to the same addresses;
 *   - one that is used stays until that use is over, whatever happens to the segment;
 *   - the daemon is asked once for each segment, also when it refuses;
 *   - mappings are bounded, and a child of fork() has none.
 */
#include "client/mapping.h"

#include "client/address.h"
#include "client/result.h"

#include <errno.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23          /* older C libraries lack the name */
#endif

/* A descriptor each, where the driver is to know of accesses; a process may have 1024 of these. */
#define MAPPINGS_MAX 256u

/* Away from where the kernel places mappings by itself: device addresses often are such, of the daemon,
 * and what is mapped here should not lie where the next segment wants to be (see range_add()). */
#define PLACES_BEGIN UINT64_C(0x210000000000)
#define PLACES_SIZE (UINT64_C(1) << 44)

#define UNIT ((uint64_t)512 << 10)      /* of a mapping, that is made ready at once */

struct mapping {
    struct mapping *prev, *next;        /* least recently used first */
    uint64_t start, size;               /* of the segment */
    enum { MAPPING_ASKED, MAPPING_MADE, MAPPING_REFUSED } state;
    bool attached;                      /* its segment knows it */
    uint32_t uses;
    int fd;                             /* takes mapping_access(); -1: nobody has to know */
    unsigned char *bytes;               /* MAPPING_MADE */
    _Atomic bool prepared[];            /* for the CPU: what begins in that UNIT */
};

static struct mapping *mappings;
static unsigned n_made;
static uint64_t places_used;

/* ---- ends ------------------------------------------------------------------------------------------ */

static void mapping_free(struct mapping *mapping)
{
    if (mapping->state == MAPPING_MADE)
        n_made--;
    if (mapping->bytes)
        munmap(mapping->bytes, mapping->size);
    if (mapping->fd >= 0)
        close(mapping->fd);
    DL_DELETE(mappings, mapping);
    free(mapping);
}

void mapping_detach(struct mapping *mapping)
{
    if (!mapping)
        return;
    mapping->attached = false;
    if (!mapping->uses)
        mapping_free(mapping);
}

void mapping_give(struct mapping *mapping)
{
    mapping->uses--;
    if (!mapping->uses && !mapping->attached)
        mapping_free(mapping);
}

void mappings_end(enum session_end why)
{
    struct mapping *mapping, *next;

    DL_FOREACH_SAFE(mappings, mapping, next) {
        if (why != SESSION_FORKED)
            continue;                   /* they go with the addresses, or with their last use */
        mapping->bytes = NULL;          /* this is a child, where they are not */
        mapping->uses = 0;
        if (!mapping->attached)
            mapping_free(mapping);
    }
}

/* Room for one more. False: all are in use. */
static bool mappings_make_room(void)
{
    struct mapping *mapping;

    if (n_made < MAPPINGS_MAX)
        return true;
    DL_FOREACH(mappings, mapping) {
        struct range *segment;

        if (mapping->state != MAPPING_MADE || mapping->uses)
            continue;
        segment = segment_find(mapping->start);
        segment->mapping = NULL;        /* one that nobody uses is attached */
        mapping_free(mapping);
        return true;
    }
    return false;
}

/* ---- making one -------------------------------------------------------------------------------------- */

/* What a descriptor of the driver's says to an access. */
static int access_tell(int fd, bool begins, bool reads)
{
    struct dma_buf_sync sync = {
        .flags = (begins ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END) |
                 (reads ? DMA_BUF_SYNC_READ : DMA_BUF_SYNC_WRITE),
    };
    int r;

    do {
        r = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
    } while (r < 0 && (errno == EINTR || errno == EAGAIN));
    return r < 0 ? -errno : 0;
}

/* Whether the driver wants to know of accesses: it does for a dma-buf. 0, 1 or -errno. */
static int access_needed(int fd)
{
    int r = access_tell(fd, true, true);

    if (r == -ENOTTY)
        return 0;
    if (r == 0)
        r = access_tell(fd, false, true);
    return r < 0 ? r : 1;
}

/* A place for @p size bytes, if it is still free. */
static void *place_hint(uint64_t size)
{
    uint64_t place;

    if (sizeof(void *) < 8 || size > PLACES_SIZE)
        return NULL;
    if (size > PLACES_SIZE - places_used)
        places_used = 0;
    place = PLACES_BEGIN + places_used;
    places_used += (size + (2u << 20) - 1) / (2u << 20) * (2u << 20);
    if (places_used > PLACES_SIZE)
        places_used = PLACES_SIZE;
    return (void *)(uintptr_t)place;
}

/* Map the part of @p fd that the handle tells. The descriptor stays the caller's. NULL: it cannot be. */
static unsigned char *bytes_map(const ProtobufCBinaryData *handle, int fd, uint64_t size)
{
    uint64_t offset;
    off_t end = lseek(fd, 0, SEEK_END);
    void *bytes;

    if (handle->len != 64)
        return NULL;
    memcpy(&offset, handle->data + 8, sizeof(offset));
    if (end < 0 || offset > (uint64_t)end || size > (uint64_t)end - offset)
        return NULL;                    /* touching what lies behind the end is deadly */
    bytes = mmap(place_hint(size), size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (bytes == MAP_FAILED)
        return NULL;
    if (madvise(bytes, size, MADV_DONTFORK) < 0) {
        munmap(bytes, size);
        return NULL;
    }
    (void)madvise(bytes, size, MADV_DONTDUMP);
    return bytes;
}

/* The answer to what was asked for @p mapping. False: it is of no use. */
static bool mapping_make(struct mapping *mapping, struct reply *reply)
{
    const Xpurt__NativeMemory *memory = reply->message->native_memory;
    int needed;

    if (memory->start != mapping->start || memory->size != mapping->size)
        return false;
    needed = access_needed(reply->fds.fds[0]);
    if (needed < 0)
        return false;
    mapping->bytes = bytes_map(&memory->handle, reply->fds.fds[0], mapping->size);
    if (!mapping->bytes)
        return false;
    if (needed) {
        mapping->fd = reply->fds.fds[0];
        reply->fds.count = 0;
    }
    return true;
}

/* Ask the daemon. What it refuses is no error of the caller's call. */
static void mapping_ask(struct mapping *mapping, uint64_t address)
{
    Xpurt__MemoryNative native = XPURT__MEMORY_NATIVE__INIT;
    Xpurt__ToDaemon request = { REQUEST(MEMORY_NATIVE), .memory_native = &native };
    struct reply reply = REPLY_NULL;
    char former[512];
    bool made = false;

    snprintf(former, sizeof(former), "%s", xpurt_last_error());
    native.address = address;
    if (connection_request(&request, XPURT__TO_CLIENT__REPLY_NATIVE_MEMORY, 1, &reply))
        (void)error_set(XPURT_SUCCESS, "%s", former);
    else if (mapping->attached)         /* else the answer may be about what is there now */
        made = mappings_make_room() && mapping_make(mapping, &reply);
    reply_deinit(&reply);
    mapping->state = made ? MAPPING_MADE : MAPPING_REFUSED;
    n_made += made;
}

static struct mapping *mapping_new(struct range *segment, uint64_t address)
{
    struct mapping *mapping = calloc(1, sizeof(*mapping) + segment->size / UNIT + 1);

    if (!mapping)
        return NULL;
    mapping->start = segment->start;
    mapping->size = segment->size;
    mapping->state = MAPPING_ASKED;
    mapping->attached = true;
    mapping->uses = 1;
    mapping->fd = -1;
    DL_APPEND(mappings, mapping);
    segment->mapping = mapping;
    mapping_ask(mapping, address);
    return mapping;
}

/* ---- using ------------------------------------------------------------------------------------------- */

bool mapping_possible(uint64_t address)
{
    const struct range *segment = segment_find(address);

    return segment && !(segment->mapping && segment->mapping->state == MAPPING_REFUSED);
}

struct mapping *mapping_take(uint64_t address)
{
    struct range *segment = segment_find(address);
    struct mapping *mapping = segment ? segment->mapping : NULL;

    if (!segment)
        return NULL;
    if (mapping)
        mapping->uses++;
    else
        mapping = mapping_new(segment, address);
    if (!mapping)
        return NULL;
    if (mapping->state != MAPPING_MADE ||
        !mapping->attached) {           /* or another thread asks just now */
        mapping_give(mapping);
        return NULL;
    }
    DL_DELETE(mappings, mapping);
    DL_APPEND(mappings, mapping);
    return mapping;
}

/* One call instead of a fault for each page: of a new mapping 256 MiB are written in 31 ms, not 46. What
 * the kernel refuses is left to faults. */
static void pages_prepare(unsigned char *bytes, size_t size)
{
    size_t before = (uintptr_t)bytes % (size_t)getpagesize();

    (void)madvise(bytes - before, size + before, MADV_POPULATE_WRITE);
}

void *mapping_at(struct mapping *mapping, uint64_t address, size_t size)
{
    uint64_t offset = address - mapping->start;
    unsigned char *bytes = mapping->bytes + offset;

    if (!atomic_exchange_explicit(&mapping->prepared[offset / UNIT], true, memory_order_relaxed))
        pages_prepare(bytes, size);
    return bytes;
}

xpurt_result mapping_access(const struct mapping *mapping, bool begins, bool reads)
{
    int r = mapping->fd < 0 ? 0 : access_tell(mapping->fd, begins, reads);

    return r < 0 ? system_error("the driver refuses access to its memory", r) : XPURT_SUCCESS;
}
