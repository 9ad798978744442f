/* SPDX-License-Identifier: MIT */
/* daemon/account.c: see account.h.
 *
 * Guarantees of this file: a block is in exactly one account from its allocation until nobody has to
 * wait for it any more, or until only others than the one who allocated it have it.
 */
#include "daemon/account.h"
#include "daemon/gpu.h"
#include "daemon/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

struct account *account_get(struct session *session)
{
    unsigned n = gpu_device_count(session->runtime->gpu);
    struct account *account = session->account;

    if (account)
        return account;
    account = calloc(1, sizeof(*account) + n * sizeof(account->devices[0]));
    if (!account)
        return NULL;
    account->refs = 1;
    account->user = session->user;
    account->session = session;
    account->pid = session->pid;
    snprintf(account->name, sizeof(account->name), "%s", session->name);
    for (unsigned i = 0; i < n; i++)
        account->devices[i].limit = UINT64_MAX;
    DL_APPEND(session->user->accounts, account);
    session->account = account;
    return account;
}

void account_unref(struct account *account)
{
    if (!account || --account->refs)
        return;
    DL_DELETE(account->user->accounts, account);
    free(account);
}

void account_orphan(struct account *account)
{
    if (!account)
        return;
    account->session = NULL;
    account->page = NULL;
    account_unref(account);
}

void account_charge(struct account *account, struct block *block)
{
    account->refs++;
    account->devices[block->slab->allocator->device].bytes += block->size;
    block->account = account;
}

void account_drop(struct block *block)
{
    struct account *account = block->account;

    if (!account)
        return;
    account->devices[block->slab->allocator->device].bytes -= block->size;
    block->account = NULL;
    account_unref(account);
}

void account_finish(struct block *block)
{
    struct magazine_page *page = block->account ? block->account->page : NULL;
    struct magazine_finished *finished;
    unsigned class = !block->slab->small;

    if (page) {
        finished = &page->finished[block->slab->allocator->device];
        atomic_fetch_add_explicit(&finished->bytes[class], block->size, memory_order_relaxed);
        atomic_fetch_add_explicit(&finished->blocks[class], 1, memory_order_release);
    }
    account_drop(block);
}
