/* SPDX-License-Identifier: MIT */
/* daemon/memory_share.c: device memory of a session in other processes, and in contexts of its own.
 *
 * Guarantees of this file:
 *   - a session hands on only memory that it has a lease of itself;
 *   - for an address it has one handle, which is refused as soon as that lease is gone;
 *   - who opens memory has it until it frees it, whatever becomes of who exported it.
 */
#include "daemon/account.h"
#include "daemon/allocator.h"
#include "daemon/gpu.h"
#include "daemon/memory_internal.h"
#include "daemon/session.h"

#include <inttypes.h>

/* ---- handles --------------------------------------------------------------------------------------- */

/* The handle for @p offset: the one made before, or a new one. NULL: the client was told. */
static struct token *token_get(struct session *session, uint32_t serial, struct memory_lease *lease,
                               uint64_t offset)
{
    struct token *token;

    HASH_FIND(by_offset, lease->tokens, &offset, sizeof(offset), token);
    if (token)
        return token;

    if (!session_charge(session, serial, CHARGE_EXPORTS, 1))
        return NULL;
    if (broker_export(&session->runtime->broker, session->user, HANDLE_MEMORY, lease, offset,
                      &token) < 0) {
        user_discharge(session->user, CHARGE_EXPORTS, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon cannot make a handle");
        return NULL;
    }
    HASH_ADD(by_offset, lease->tokens, offset, sizeof(token->offset), token);
    if (!HASH_ADDED(by_offset, token)) {
        broker_revoke(&session->runtime->broker, token);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon cannot make a handle");
        return NULL;
    }
    return token;
}

void memory_export(struct session *session, uint32_t serial, const Xpurt__MemoryExport *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__Handle handle = XPURT__HANDLE__INIT;
    struct memory_lease *lease = memory_lease_find(session, request->address);
    struct token *token;

    if (!lease) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not in memory of this process", request->address);
        return;
    }
    token = token_get(session, serial, lease, request->address - lease->address);
    if (!token)
        return;
    handle.handle.data = (uint8_t *)&token->handle;
    handle.handle.len = sizeof(token->handle);
    reply.reply_case = XPURT__TO_CLIENT__REPLY_HANDLE;
    reply.handle = &handle;
    session_reply(session, serial, &reply, NULL, 0);
}

void memory_open(struct session *session, uint32_t serial, const Xpurt__MemoryOpen *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryOpened opened = XPURT__MEMORY_OPENED__INIT;
    struct block *block;
    struct token *token;
    const char *reason;
    xpurt_result result;
    bool is_new;

    result = broker_find(&session->runtime->broker, session->user, HANDLE_MEMORY,
                         request->handle.data, request->handle.len, &token, &reason);
    if (result) {
        session_error(session, serial, 0, result, "%s", reason);
        return;
    }
    block = ((struct memory_lease *)token->object)->block;
    is_new = !memory_lease_of(session, block);
    if (!account_get(session)) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    if (is_new && !session_charge(session, serial, CHARGE_LEASES, 1))
        return;
    if (!memory_lease_add(session, block)) {
        user_discharge(session->user, CHARGE_LEASES, 1);
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY, "out of memory");
        return;
    }
    if (is_new) {
        memory_lease_of(session, block)->charged = true;
        block->shared = true;
    }
    opened.address = block->address + token->offset;
    opened.start = block->address;
    opened.size = block->size;
    opened.device = block->slab->allocator->device;
    opened.segment = block->slab->address;
    opened.segment_size = block->slab->size;
    opened.owner = block->account ? (int32_t)block->account->pid : 0;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_OPENED;
    reply.memory_opened = &opened;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- for Level Zero contexts of clients ------------------------------------------------------------ */

void memory_native(struct session *session, uint32_t serial, const Xpurt__MemoryNative *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__NativeMemory native = XPURT__NATIVE_MEMORY__INIT;
    struct memory_lease *lease = memory_lease_find(session, request->address);
    uint8_t bytes[64];
    xpurt_result result;
    int fd;

    if (!lease || request->address - lease->address >= lease->block->size) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ADDRESS,
                      "0x%" PRIx64 " is not inside device memory of this process",
                      request->address);
        return;
    }
    result = gpu_memory_handle(session->user->context, lease->block->slab->address,
                               lease->block->slab->size, bytes, &fd);
    if (result) {
        session_error(session, serial, 0, result, "no native handle: %s", gpu_error());
        return;
    }
    native.handle = (ProtobufCBinaryData){ sizeof(bytes), bytes };
    native.start = lease->block->slab->address;
    native.size = lease->block->slab->size;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_NATIVE_MEMORY;
    reply.native_memory = &native;
    session_reply(session, serial, &reply, &fd, 1);
}
