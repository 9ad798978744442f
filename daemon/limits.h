/* SPDX-License-Identifier: MIT */
/* daemon/limits.h: every limit of the daemon: name, default, reason.
 *
 * Limits marked "user" are charged to the uid of the peer, summed over its sessions, and given
 * back when the object or the session goes. They can be set in the [limits] section of the
 * configuration under the name of the field.
 */
#pragma once

#include <stdint.h>

/* clang-format off */
/*    field               default                   reason */
#define LIMITS(X) \
    X(user_sessions,      1024)                  /* half the file descriptors of the service */ \
    X(user_streams,       16384)                 /* 32 for each of 512 workers */ \
    X(user_exports,       65536)                 /* handles: a token each in the daemon */ \
    X(user_leases,        262144)                /* opened events and memory, boards mapped */ \
    X(user_watches,       16384)                 /* points polled: a descriptor each */ \
    X(user_allocations,   262144)                /* pieces of device memory */ \
    X(user_segments,      4096)                  /* host segments: a mapping each */ \
    X(user_native_slots,  65536)                 /* events shared with other contexts */ \
    X(user_memory,        UINT64_MAX)            /* bytes in use; the device ends it; of segments \
                                                    22 MiB more */ \
    X(user_host_memory,   UINT64_C(17179869184)) /* bytes, pinned: 16 GiB */ \
    X(user_ring_bytes,    UINT64_C(268435456))   /* shared memory of rings: 256 KiB for 1024 sessions */ \
    X(user_modules,       4096)                  /* loaded, by each session that has it */ \
    X(user_module_memory, UINT64_C(1073741824))  /* bytes: SPIR-V and what was built: 1 GiB */ \
    X(user_module_cache,  UINT64_C(67108864))    /* bytes of modules nobody uses now: 64 MiB */ \
    X(user_graph_commands, 262144)               /* captured: some 130 bytes each; of \
                                                    launches as in user_queued */ \
    X(user_builds,        2)                     /* compilers at a time: others wait their turn */ \
    X(graph_commands,     16384)                 /* of one: replacing memory copies it in a turn */ \
    X(user_queued,        262144)                /* commands waiting for others' records; of launches, \
                                                    256 bytes count as one more */ \
    X(user_unfinished,    262144)                /* uses of memory and events that the GPU has not \
                                                    done: then who has most is read no more */ \
    X(session_out_bytes,  1048576)               /* unread replies: a client that never reads */ \
    X(module_bytes,       UINT64_C(16777216))    /* of SPIR-V: the loop copies and compares it */ \
    X(build_timeout_ms,   60000)                 /* a compiler that does not end is killed */ \
    X(build_memory,       UINT64_C(4294967296))  /* bytes a compiler may use: 4 GiB */ \
    X(hello_timeout_ms,   5000)                  /* connected and silent: closed */ \
    X(ring_spin_us,       50)                    /* looking at a ring that fell silent, before the \
                                                    bell has to be rung; 0: never */ \
    X(sessions,           4096)                  /* board slots; the packing of a point */
/* clang-format on */

struct limits {
#define X(field, value) uint64_t field;
    LIMITS(X)
#undef X
};
