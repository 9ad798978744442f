/* SPDX-License-Identifier: MIT */
/* daemon/report.c: statistics, snapshots, and the sentence about memory that cannot be had.
 *
 * Guarantees of this file: a client learns of other users' memory only how much it is in all.
 */
#include "daemon/report.h"
#include "daemon/account.h"
#include "daemon/cache.h"
#include "daemon/magazine.h"
#include "daemon/session.h"
#include "proto/gauge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HOLDERS_NAMED 3                 /* that fit into a sentence */
#define SNAPSHOT_PAGE 500               /* blocks that fit into a frame */

static bool device_known(struct session *session, uint32_t serial, uint32_t device)
{
    if (device < gpu_device_count(session->runtime->gpu))
        return true;
    session_error(session, serial, 0, XPURT_ERROR_INVALID_DEVICE, "there is no device %u", device);
    return false;
}

/* ---- who has what ---------------------------------------------------------------------------------- */

static uint64_t device_free(const struct gpu *gpu, uint32_t device)
{
    uint64_t total = gpu_device_properties(gpu, device)->total_memory;
    uint64_t held = gpu_memory_held(gpu, device);

    return held < total ? total - held : 0;
}

void memory_info(struct session *session, uint32_t serial, const Xpurt__MemoryInfo *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryAmount amount = XPURT__MEMORY_AMOUNT__INIT;
    struct gpu *gpu = session->runtime->gpu;

    if (!device_known(session, serial, request->device))
        return;
    amount.total = gpu_device_properties(gpu, request->device)->total_memory;
    amount.free = device_free(gpu, request->device);
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_AMOUNT;
    reply.memory_amount = &amount;
    session_reply(session, serial, &reply, NULL, 0);
}

/* By bytes, then by pid. */
static bool holds_less(const struct account *a, const struct account *b, uint32_t device)
{
    uint64_t left = a->devices[device].bytes, right = b->devices[device].bytes;

    return left < right || (left == right && a->pid < b->pid);
}

/* Of the other processes the one that holds most, but less than @p last; NULL: none. */
static const struct account *next_holder(const struct session *session, uint32_t device,
                                         const struct account *last)
{
    const struct account *account, *best = NULL;

    for (account = session->user->accounts; account; account = account->next)
        if (account != session->account && account->devices[device].bytes &&
            (!last || holds_less(account, last, device)) &&
            (!best || holds_less(best, account, device)))
            best = account;
    return best;
}

/* ", 4096 by process 12 (worker), ..." */
static void holders_describe(const struct session *session, uint32_t device, char *text,
                             size_t size)
{
    const struct account *holder = NULL;
    uint64_t others = 0;
    size_t used = 0;

    text[0] = '\0';
    for (const struct account *a = session->user->accounts; a; a = a->next)
        others += a == session->account ? 0 : a->devices[device].bytes;
    for (unsigned i = 0; i < HOLDERS_NAMED; i++) {
        holder = next_holder(session, device, holder);
        if (!holder)
            break;
        others -= holder->devices[device].bytes;
        used += (size_t)snprintf(text + used, size - used, ", %" PRIu64 " by process %d (%.15s)",
                                 holder->devices[device].bytes, (int)holder->pid, holder->name);
    }
    if (others)
        snprintf(text + used, size - used, ", %" PRIu64 " by other processes", others);
}

void memory_refuse(struct session *session, uint32_t serial, uint32_t device, uint64_t size,
                   xpurt_result result, const char *reason)
{
    struct gpu *gpu = session->runtime->gpu;
    const struct user *user = session->user;
    const struct allocator *allocator = user->allocators ? &user->allocators[device] : NULL;
    uint64_t reserved = allocator ? allocator->reserved[XPURT_MEMORY_ALL].current : 0;
    uint64_t own = session->account ? session->account->devices[device].bytes : 0;
    uint64_t used = 0, held = gpu_memory_held(gpu, device);
    char holders[256];

    for (const struct account *a = user->accounts; a; a = a->next)
        used += a->devices[device].bytes;
    holders_describe(session, device, holders, sizeof(holders));
    session_error(session, serial, 0, result,
                  "cannot allocate %" PRIu64 " bytes on device %u: of %" PRIu64 " bytes %" PRIu64
                  " are free, %" PRIu64 " are in use by this process%s, %" PRIu64
                  " are cached, %" PRIu64 " belong to other users: %s",
                  size, device, gpu_device_properties(gpu, device)->total_memory,
                  device_free(gpu, device), own, holders, reserved > used ? reserved - used : 0,
                  held > reserved ? held - reserved : 0, reason);
}

/* ---- statistics ------------------------------------------------------------------------------------ */

static void stats_add(Xpurt__MemoryStat *messages, const xpurt_memory_stat *stats)
{
    for (unsigned i = 0; i < XPURT_MEMORY_POOLS; i++) {
        xpurt__memory_stat__init(&messages[i]);
        messages[i].current = stats[i].current;
        messages[i].peak = stats[i].peak;
        messages[i].allocated = stats[i].allocated;
        messages[i].freed = stats[i].freed;
    }
}

void memory_stats(struct session *session, uint32_t serial, const Xpurt__MemoryStats *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryStatistics answer = XPURT__MEMORY_STATISTICS__INIT;
    Xpurt__MemoryStat messages[4 * XPURT_MEMORY_POOLS], *pointers[4 * XPURT_MEMORY_POOLS];
    struct user *user = session->user;
    struct account *account;
    struct allocator *allocator;
    unsigned n = 0;

    if (!device_known(session, serial, request->device))
        return;
    account = account_get(session);
    allocator = cache_allocator(user, request->device);
    if (!account || !allocator) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    xpurt_memory_stat *const stats[] = { allocator->segments, allocator->reserved, allocator->split,
                                         allocator->split_bytes };

    for (unsigned i = 0; i < 4; i++) {
        gauge_reset(stats[i], request->reset_peak, request->reset_accumulated);
        stats_add(&messages[n], stats[i]);
        for (unsigned k = 0; k < XPURT_MEMORY_POOLS; k++, n++)
            pointers[n] = &messages[n];
    }
    if (request->reset_accumulated)
        account->devices[request->device].retries = account->devices[request->device].ooms = 0;
    answer.n_stats = n;
    answer.stats = pointers;
    answer.retries = account->devices[request->device].retries;
    answer.ooms = account->devices[request->device].ooms;
    answer.driver_allocations = user->driver_allocations;
    answer.driver_frees = user->driver_frees;
    answer.scrubbed_bytes = user->scrubbed_bytes;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_STATISTICS;
    reply.memory_statistics = &answer;
    session_reply(session, serial, &reply, NULL, 0);
}

/* ---- snapshots ------------------------------------------------------------------------------------- */

struct page {
    size_t n;
    Xpurt__MemoryBlock messages[SNAPSHOT_PAGE];
    Xpurt__MemoryBlock *pointers[SNAPSHOT_PAGE];
};

/* The lease of the session that allocated the block; NULL: it let go. */
static const struct memory_lease *owner_lease(const struct block *block)
{
    const struct session *session = block->account ? block->account->session : NULL;
    const struct memory_lease *lease = NULL;

    if (session)
        HASH_FIND(hh, session->memory, &block->address, sizeof(block->address), lease);
    return lease;
}

static void block_describe(const struct block *block, Xpurt__MemoryBlock *message)
{
    const struct memory_lease *lease = owner_lease(block);

    xpurt__memory_block__init(message);
    message->address = block->address;
    message->size = block->size;
    message->requested = block->requested;
    message->segment = block->slab->address;
    message->segment_size = block->slab->size;
    message->small = block->slab->small;
    message->owner = block->account ? (int32_t)block->account->pid : 0;
    message->state = block->state == BLOCK_FREE ? XPURT_BLOCK_INACTIVE :
                     block->state == BLOCK_USED ? XPURT_BLOCK_ALLOCATED :
                                                  XPURT_BLOCK_PENDING_FREE;
    if (block->order)
        message->stream = 1 + point_stream(block->order - 1);
    if (lease)
        message->stream = lease->stream;
    if (lease && lease->entry)
        message->state = magazine_look(block->account->session, lease, &message->requested);
}

void memory_snapshot(struct session *session, uint32_t serial, const Xpurt__MemorySnapshot *request)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MemoryBlocks answer = XPURT__MEMORY_BLOCKS__INIT;
    const struct slab *slab = NULL;
    struct page *page;

    if (!device_known(session, serial, request->device))
        return;
    page = calloc(1, sizeof(*page));
    if (!page) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon is out of memory");
        return;
    }
    if (session->user->allocators)
        slab = session->user->allocators[request->device].slabs;
    for (; slab && !answer.more; slab = slab->next) {
        if (slab->address + slab->size <= request->after)
            continue;
        for (const struct block *block = slab->first; block && !answer.more; block = block->next) {
            if (block->address <= request->after)
                continue;
            if (page->n == SNAPSHOT_PAGE) {
                answer.more = true;
                break;
            }
            page->pointers[page->n] = &page->messages[page->n];
            block_describe(block, &page->messages[page->n++]);
        }
    }
    answer.n_blocks = page->n;
    answer.blocks = page->pointers;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MEMORY_BLOCKS;
    reply.memory_blocks = &answer;
    session_reply(session, serial, &reply, NULL, 0);
    free(page);
}
