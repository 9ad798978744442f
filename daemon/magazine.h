/* SPDX-License-Identifier: MIT */
/* daemon/magazine.h: the daemon's side of proto/magazine.h. */
#pragma once

#include "proto/magazine.h"
#include "daemon/memory.h"

#include <xpurt/allocator.h>

struct session;

struct magazine {
    struct magazine_page *page;         /* shared with the client, who may write anything */
    struct memory_lease *leases[MAGAZINE_ENTRIES]; /* borrowed; NULL: the entry is free */
    uint64_t used[MAGAZINE_ENTRIES / 64];          /* a bit for each entry with a lease */
    uint16_t free[MAGAZINE_ENTRIES];               /* entries without one */
    unsigned n_free;
};

void magazine_open(struct session *session, uint32_t serial);
void magazine_free(struct session *session);

/* Give the lease an entry if there is one. */
void magazine_enter(struct session *session, struct memory_lease *lease, uint64_t requested);
void magazine_leave(struct session *session, struct memory_lease *lease);

/* The next lease that its client has freed and that no command under way uses; its entry is the
 * daemon's now. NULL: none from entry *at on. */
struct memory_lease *magazine_reclaim(struct session *session, unsigned *at);

/* Whether the client has counted the lease as freed before. */
bool magazine_counted(const struct session *session, const struct memory_lease *lease);

/* What the client says of a lease with an entry. */
xpurt_block_state magazine_look(const struct session *session, const struct memory_lease *lease,
                                uint64_t *ret_requested);
