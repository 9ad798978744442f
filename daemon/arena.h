/* SPDX-License-Identifier: MIT */
/* daemon/arena.h: memory for one decoded frame, with a budget. */
#pragma once

#include <protobuf-c/protobuf-c.h>

struct arena {
    ProtobufCAllocator allocator;       /* pass &arena->allocator to protobuf-c */
    size_t used;
    size_t size;
    unsigned char *bytes;
};

int arena_init(struct arena *arena, size_t size); /* -ENOMEM */
void arena_deinit(struct arena *arena);

/* Everything got from the arena is gone. */
static inline void arena_reset(struct arena *arena)
{
    arena->used = 0;
}
