/* SPDX-License-Identifier: MIT */
/* daemon/ring.c: see ring.h.
 *
 * Guarantees of this file:
 *   - nobody can shrink the memory (it would be a SIGBUS for us);
 *   - a frame is copied out before it is looked at, header and all, and never read again; one that
 *     is not whole is refused;
 *   - a bell whose flags the client has changed cannot make us wait: it is read without waiting
 *     whatever they are, and never written to.
 */
#include "daemon/ring.h"

#include "proto/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define COPY_CHUNK 4096u                /* as much as a turn takes, of small frames */

static int memory_make(size_t size)
{
    int fd, r;

    fd = memfd_create("xpurt-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int client_rings_new(uint32_t to_daemon, uint32_t to_client, struct client_rings **ret_rings,
                     int ret_fds[2])
{
    struct client_rings *rings;
    int memory, r;

    if (!ring_size_good(to_daemon) || !ring_size_good(to_client))
        return -EINVAL;
    rings = calloc(1, sizeof(*rings));
    if (!rings)
        return -ENOMEM;
    rings->bell.fd = -1;

    memory = memory_make(rings_bytes(to_daemon, to_client));
    r = memory < 0 ? memory : rings_map(memory, to_daemon, to_client, &rings->rings);
    if (r == 0) {
        rings->bell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = rings->bell.fd < 0 ? -errno : 0;
    }
    if (r < 0) {
        if (memory >= 0)
            close(memory);
        client_rings_free(rings);
        return r;
    }
    rings->bell.asleep = &rings->rings.to_daemon.shared->asleep;
    ring_sleep(&rings->rings.to_daemon);
    ret_fds[0] = memory;
    ret_fds[1] = rings->bell.fd;
    *ret_rings = rings;
    return 0;
}

void client_rings_free(struct client_rings *rings)
{
    if (!rings)
        return;
    rings_unmap(&rings->rings);
    if (rings->bell.fd >= 0)
        close(rings->bell.fd);
    free(rings->rest);
    free(rings);
}

int client_rings_send(struct client_rings *rings, const uint8_t *payload, size_t size,
                      bool *ret_bell)
{
    struct frame_header header = { .length = (uint32_t)size };
    struct ring *ring = &rings->rings.to_client;
    uint8_t *out = ring_at(ring, ring->position);
    int r;

    r = ring_room(ring, FRAME_HEADER_SIZE + size);
    if (r <= 0)
        return r;
    frame_header_write(out, &header);
    memcpy(out + FRAME_HEADER_SIZE, payload, size);
    *ret_bell = ring_publish(ring, FRAME_HEADER_SIZE + size) != RING_AWAKE;
    return 1;
}

HOT ssize_t client_rings_copy(struct client_rings *rings, uint64_t limit,
                              uint8_t out[FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX])
{
    struct ring *ring = &rings->rings.to_daemon;
    const uint8_t *in = ring_at(ring, ring->position);
    size_t available, copied, frame;
    struct frame_header header;

    if (ring_look(ring, &available) < 0)
        return -EPROTO;
    if (available > limit - ring->position)
        available = (size_t)(limit - ring->position);
    if (!available)
        return 0;

    copied = available < COPY_CHUNK ? available : COPY_CHUNK;
    memcpy(out, in, copied);
    if (copied < FRAME_HEADER_SIZE || frame_header_read(out, &header) < 0 || header.fds)
        return -EPROTO;
    frame = FRAME_HEADER_SIZE + header.length;
    if (frame > available)
        return -EPROTO;
    if (frame > copied) {
        memcpy(out + copied, in + copied, frame - copied);
        copied = frame;
    }
    return (ssize_t)copied;
}

int client_rings_keep(struct client_rings *rings, const uint8_t *bytes, size_t size)
{
    uint8_t *rest = malloc(size);

    if (!rest)
        return -ENOMEM;
    memcpy(rest, bytes, size);
    free(rings->rest);
    rings->rest = rest;
    rings->rest_begin = 0;
    rings->rest_end = size;
    return 0;
}

void client_rings_hear(struct client_rings *rings)
{
    uint64_t rung;
    struct iovec iov = { &rung, sizeof(rung) };

    (void)preadv2(rings->bell.fd, &iov, 1, -1, RWF_NOWAIT);
}
