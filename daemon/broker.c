/* SPDX-License-Identifier: MIT */
/* daemon/broker.c: exported handles.
 *
 * Guarantees of this file:
 *   - a handle opens only while its object lives, only in this instance, only for the user who
 *     exported it, and only if every one of its 64 bytes is as it was given out;
 *   - a handle cannot be guessed: 40 of its bytes are random.
 */
#include "daemon/broker.h"
#include "daemon/user.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int broker_init(struct broker *broker)
{
    broker->tokens = NULL;
    if (getrandom(broker->instance, sizeof(broker->instance), 0) != sizeof(broker->instance))
        return -errno;
    return 0;
}

void broker_deinit(struct broker *broker)
{
    assert(!broker->tokens);
    (void)broker;
}

int broker_export(struct broker *broker, struct user *user, enum handle_kind kind, void *object,
                  uint64_t offset, struct token **ret_token)
{
    struct token *token;

    token = calloc(1, sizeof(*token));
    if (!token)
        return -ENOMEM;

    token->handle.magic = HANDLE_MAGIC;
    token->handle.kind = kind;
    memcpy(token->handle.instance, broker->instance, sizeof(broker->instance));
    if (getrandom(token->handle.token, sizeof(token->handle.token), 0) !=
        sizeof(token->handle.token)) {
        free(token);
        return -EIO;
    }
    token->user = user;
    token->object = object;
    token->offset = offset;
    HASH_ADD(hh, broker->tokens, handle, sizeof(token->handle), token);
    if (!HASH_ADDED(hh, token)) {
        free(token);
        return -ENOMEM;
    }
    *ret_token = token;
    return 0;
}

void broker_discard(struct broker *broker, struct token *token)
{
    HASH_DEL(broker->tokens, token);
    free(token);
}

void broker_revoke(struct broker *broker, struct token *token)
{
    if (!token)
        return;
    user_discharge(token->user, CHARGE_EXPORTS, 1);
    broker_discard(broker, token);
}

xpurt_result broker_find(struct broker *broker, const struct user *user, enum handle_kind kind,
                         const void *bytes, size_t size, struct token **ret_token,
                         const char **ret_reason)
{
    struct handle handle;
    struct token *token;

    *ret_reason = "these bytes are no handle of that kind";
    if (size != sizeof(handle))
        return XPURT_ERROR_INVALID_HANDLE;
    memcpy(&handle, bytes, sizeof(handle));
    if (handle.magic != HANDLE_MAGIC || handle.kind != kind)
        return XPURT_ERROR_INVALID_HANDLE;

    *ret_reason = "the handle was made by another start of the daemon";
    if (memcmp(handle.instance, broker->instance, sizeof(handle.instance)) != 0)
        return XPURT_ERROR_STALE_HANDLE;

    *ret_reason = "what the handle names is gone, with its process or before it";
    HASH_FIND(hh, broker->tokens, &handle, sizeof(handle), token);
    if (!token)
        return XPURT_ERROR_STALE_HANDLE;

    *ret_reason = "the handle belongs to another user";
    if (token->user != user)
        return XPURT_ERROR_PERMISSION;

    *ret_token = token;
    return XPURT_SUCCESS;
}
