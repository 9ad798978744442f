/* SPDX-License-Identifier: MIT */
/* client/external.h: what is put on a list of the caller's own. The lock is held. */
#pragma once

#include "client/native.h"

struct external {
    const struct xpurtp_backend *backend; /* borrowed: of libxpurt-ze */
    void *list;                           /* its own */
    void *native;                         /* the caller's command list */
    unsigned waits;                       /* since the last record */
    struct native_use last;               /* of the last record */
    uint64_t last_point;
};

/* Put a record of @p point on the list: the claimed slot @p use is signalled there. */
xpurt_result external_record(struct external *external, const struct native_use *use,
                             uint64_t point, uint64_t stamp);

/* Let what comes later on the list of stream @p index wait for @p point, which has no slot that the
 * process may look at, or has one: then it is used. The lock is free meanwhile. */
xpurt_result external_wait(struct external *external, uint32_t index, uint64_t point);

/* Whether the list is past the record of @p point, its last one: the daemon will see that too. */
bool external_done(struct external *external, uint64_t point);

/* There should be a record before the next wait: each wait keeps a slot from others until then. */
bool external_should_record(const struct external *external);

/* The stream is destroyed. */
void external_free(struct external *external);
