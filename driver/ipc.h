/* SPDX-License-Identifier: MIT */
/* ipc.h: memory files and the 64 bytes that name them in another process. */
#ifndef SOFT_IPC_H
#define SOFT_IPC_H

#include "soft.h"

enum { IPC_POOL = 0x5a50, IPC_MEMORY = 0x5a4d, IPC_COUNTER = 0x5a43 };

/* Bytes 0..3 are the descriptor, as in Intel's driver: a receiver that got it over a socket writes
 * its own number there. Everything else is ours. */
struct ipc_handle {
    int32_t fd;
    uint32_t zero;
    uint64_t offset;
    uint64_t size;
    uint64_t inode; /* the file meant: a wrong descriptor is noticed, never used */
    uint32_t device;
    uint32_t kind;
    uint32_t pid;                       /* of the exporter, and what it calls the file: */
    int32_t exporter_fd;
    uint64_t detail;
    uint64_t zero_too;
};
_Static_assert(sizeof(struct ipc_handle) == ZE_MAX_IPC_HANDLE_SIZE, "the size the API fixes");

/* A memory file of a fixed size, close-on-exec. -1 and errno. */
int memory_file(const char *name, size_t size);

/* Builds the handle of an open memory file; false: the descriptor is bad. */
bool ipc_describe(int fd, uint32_t kind, size_t size, struct ipc_handle *ret_handle);

/* A new descriptor of the file a handle means: the one in it, if that is the file; else the
 * exporter's, where the system permits that. -1: neither. @p ret_received: the descriptor in the
 * handle was put there by its receiver. */
int ipc_open(const struct ipc_handle *handle, uint32_t kind, bool *ret_received);

#endif
