/* SPDX-License-Identifier: MIT */
/* daemon/transfer.h: copies and fills on their way to the GPU. */
#pragma once

#include "proto/xpurt.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

struct resource;
struct session;
struct stream;
struct work;

/* Check a command and give it to the stream, which fails when something is wrong. */
void copy_submit(struct session *session, struct stream *stream, const Xpurt__Copy *copy);
void fill_submit(struct session *session, struct stream *stream, const Xpurt__Fill *fill);
void copy_rows_submit(struct session *session, struct stream *stream, const Xpurt__CopyRows *copy);
void fill_rows_submit(struct session *session, struct stream *stream, const Xpurt__FillRows *fill);

/* Uses of `size` bytes at `from` become uses of as many at `to`. */
struct move {
    uintptr_t from, to;
    uint64_t size;
    bool on_device;                     /* `to` is: where kernels may use it */
    struct resource *resource;          /* borrowed: what `to` lies in */
};

/* Move one use of @p extent bytes, and the reference that keeps them. 1, or 0: it lies elsewhere.
 * -EINVAL: only part of it would move. */
int move_use(const struct move *move, uintptr_t *address, uint64_t extent, struct resource **hold);

/* Move what a checked copy or fill uses; how many uses were moved. -EINVAL: *ret_reason says why
 * that cannot be. */
int transfer_move(struct work *work, const struct move *move, const char **ret_reason);
