/* SPDX-License-Identifier: MIT */
/* memory.h: allocations, found by any address inside them. */
#ifndef SOFT_MEMORY_H
#define SOFT_MEMORY_H

#include "device.h"

enum allocation_origin {
    ORIGIN_ALLOCATED,                   /* zeMemAlloc*: a memory file of ours */
    ORIGIN_OPENED,                      /* zeMemOpenIpcHandle: a mapping of somebody else's */
    ORIGIN_IMPORTED,                    /* from a descriptor the application gave us */
    ORIGIN_HOST_POINTER,                /* the application's own memory, made known to us */
    ORIGIN_RESERVED,                    /* virtual addresses, see virtual.c */
};

struct allocation {
    char *base;
    size_t size;                        /* as asked for; the mapping is whole pages */
    ze_memory_type_t type;
    enum allocation_origin origin;
    ze_context_handle_t context;        /* borrowed; NULL: known to all (host pointers) */
    ze_device_handle_t device;          /* NULL for host memory */
    uint64_t id;
    int fd;                             /* -1: none */
    _Atomic uint32_t holds;             /* freeing and the queues it waits for */
};

/* Takes the lock of all allocations; what is found stays until it is given back. */
struct allocation *memory_find(const void *pointer);
void memory_unlock(void);
bool memory_covers(const void *pointer, size_t size);

/* Registers and takes over an allocation; false: no memory or not a new range. */
bool memory_insert(struct allocation *allocation);
/* Unregisters the allocation that begins at @p pointer, if it is of that origin. */
struct allocation *memory_remove(ze_context_handle_t context, const void *pointer,
                                 enum allocation_origin origin);
void allocation_free(struct allocation *allocation);

/* Maps @p size bytes of a file at a multiple of @p alignment; NULL: cannot. */
void *memory_map(int fd, size_t size, size_t alignment);
uint64_t memory_next_id(void);

ze_result_t mem_get_ipc_handle(ze_context_handle_t context, const void *pointer,
                               ze_ipc_mem_handle_t *handle);
ze_result_t mem_get_ipc_handle_with_properties(ze_context_handle_t context, const void *pointer,
                                               void *next, ze_ipc_mem_handle_t *handle);
ze_result_t mem_put_ipc_handle(ze_context_handle_t context, ze_ipc_mem_handle_t handle);
ze_result_t mem_open_ipc_handle(ze_context_handle_t context, ze_device_handle_t device,
                                ze_ipc_mem_handle_t handle, ze_ipc_memory_flags_t flags,
                                void **pointer);
ze_result_t mem_close_ipc_handle(ze_context_handle_t context, const void *pointer);

void memory_before_fork(void);
void memory_after_fork(void);

#endif
