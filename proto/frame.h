/* SPDX-License-Identifier: MIT */
/* proto/frame.h: how messages travel over the Unix socket.
 *
 * A frame is an 8-byte header, little endian, and a protobuf message. Descriptors ride as
 * SCM_RIGHTS with the header's first byte. Both sides send and receive with these functions; none
 * of them ever blocks on a descriptor that is non-blocking.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MAJOR 1u                  /* both sides must agree */
#define FRAME_MINOR 0u

#define FRAME_HEADER_SIZE 8u
#define FRAME_PAYLOAD_MAX 65536u        /* thousands of commands; larger claims close the client */
#define FRAME_FDS_MAX 4u                /* the largest message (EventOpened) carries two */

struct frame_header {
    uint32_t length;                    /* of the payload */
    uint16_t fds;                       /* descriptors with this frame */
    uint16_t flags;                     /* none yet: 0 */
};

void frame_header_write(uint8_t out[FRAME_HEADER_SIZE], const struct frame_header *header);

/* 0, or -EPROTO if the header breaks a rule (length, fds, flags): the stream is lost then. */
int frame_header_read(const uint8_t in[FRAME_HEADER_SIZE], struct frame_header *ret_header);

/* The descriptors that came with received bytes. */
struct frame_fds {
    unsigned count;
    int fds[FRAME_FDS_MAX];
};

void frame_fds_close(struct frame_fds *fds);

/* Take one descriptor: the first that came. -1 when there is none. */
int frame_fds_take(struct frame_fds *fds);

/* One sendmsg(2), SIGPIPE suppressed. Bytes sent (maybe fewer than asked), or -errno; -EAGAIN when
 * the socket is full. The descriptors go with the first byte. */
ssize_t frame_send(int socket, const void *bytes, size_t size, const int *fds, unsigned n_fds);

/* One recvmsg(2). Bytes received, 0 at end of file, or -errno. New descriptors (close-on-exec) are
 * added to @p fds; -EPROTO when more came than FRAME_FDS_MAX, -EMFILE when this process has no room for
 * them: all of them are closed. */
ssize_t frame_receive(int socket, void *bytes, size_t size, struct frame_fds *fds);
