/* SPDX-License-Identifier: MIT */
/* daemon/broker.h: exported handles: which exist, what they name, who may open them. */
#pragma once

#include "daemon/hash.h"
#include "proto/handle.h"

#include <xpurt/base.h>

struct user;

struct broker {
    uint8_t instance[16];               /* of this start of the daemon */
    struct token *tokens;               /* hash by the whole handle */
};

struct token {
    UT_hash_handle hh;
    struct handle handle;
    struct user *user;                  /* borrowed: who exported; pays for it */
    void *object;                       /* borrowed: struct exported or struct memory_lease */
    uint64_t offset;                    /* into memory */
    UT_hash_handle by_offset;           /* in the lease of the memory */
};

/* -errno when the kernel has no random bytes. */
int broker_init(struct broker *broker);
void broker_deinit(struct broker *broker);

/* The user was charged one CHARGE_EXPORTS by the caller. -errno. */
int broker_export(struct broker *broker, struct user *user, enum handle_kind kind, void *object,
                  uint64_t offset, struct token **ret_token);

/* One that nobody has seen yet; its charge stays. */
void broker_discard(struct broker *broker, struct token *token);

/* The handle is stale from now on; gives the charge back. NULL is a no-op. */
void broker_revoke(struct broker *broker, struct token *token);

/* What @p user may open by these bytes; *ret_reason says why not. */
xpurt_result broker_find(struct broker *broker, const struct user *user, enum handle_kind kind,
                         const void *bytes, size_t size, struct token **ret_token,
                         const char **ret_reason);
