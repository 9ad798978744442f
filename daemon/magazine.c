/* SPDX-License-Identifier: MIT */
/* daemon/magazine.c: see magazine.h and proto/magazine.h.
 *
 * Guarantees of this file: what a client writes into its magazine can only make the daemon take
 * back, or not take back, blocks of that client; nothing read there is an index, an address or a
 * size that anything is done with.
 */
#include "daemon/magazine.h"
#include "daemon/account.h"
#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(struct magazine_page) % 4096 == 0, "whole pages");

/* The descriptor for the client, or -errno. */
static int page_make(struct magazine_page **ret_page)
{
    void *map = MAP_FAILED;
    int fd, r;

    fd = memfd_create("xpurt-magazine", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, sizeof(struct magazine_page)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        map = mmap(NULL, sizeof(struct magazine_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        r = -errno;
        close(fd);
        return r;
    }
    *ret_page = map;
    return fd;
}

static struct magazine *magazine_new(int *ret_fd)
{
    struct magazine *magazine = calloc(1, sizeof(*magazine));

    if (!magazine)
        return NULL;
    *ret_fd = page_make(&magazine->page);
    if (*ret_fd < 0) {
        free(magazine);
        return NULL;
    }
    magazine->page->magic = MAGAZINE_MAGIC;
    while (magazine->n_free < MAGAZINE_ENTRIES) {
        magazine->free[magazine->n_free] = (uint16_t)(MAGAZINE_ENTRIES - 1 - magazine->n_free);
        magazine->n_free++;
    }
    return magazine;
}

void magazine_open(struct session *session, uint32_t serial)
{
    Xpurt__ToClient reply = XPURT__TO_CLIENT__INIT;
    Xpurt__MagazineOpened opened = XPURT__MAGAZINE_OPENED__INIT;
    struct account *account = account_get(session);
    int fd = -1;

    /* One that nothing was ever in may be asked for again: it could not be mapped. */
    if (session->magazine && session->magazine->n_free == MAGAZINE_ENTRIES) {
        account->page = NULL;
        magazine_free(session);
    }
    if (session->magazine) {
        session_error(session, serial, 0, XPURT_ERROR_INVALID_ARGUMENT,
                      "this process has its magazine already");
        return;
    }
    if (account)
        session->magazine = magazine_new(&fd);
    if (!session->magazine) {
        session_error(session, serial, 0, XPURT_ERROR_OUT_OF_HOST_MEMORY,
                      "the daemon has no memory or descriptor for a magazine");
        return;
    }
    account->page = session->magazine->page;
    reply.reply_case = XPURT__TO_CLIENT__REPLY_MAGAZINE_OPENED;
    reply.magazine_opened = &opened;
    session_reply(session, serial, &reply, &fd, 1);
    close(fd);
}

void magazine_free(struct session *session)
{
    if (!session->magazine)
        return;
    munmap(session->magazine->page, sizeof(*session->magazine->page));
    free(session->magazine);
    session->magazine = NULL;
}

void magazine_enter(struct session *session, struct memory_lease *lease, uint64_t requested)
{
    struct magazine *magazine = session->magazine;

    if (!magazine || !magazine->n_free || lease->block->size > MAGAZINE_BLOCK_MAX)
        return;
    lease->entry = 1u + magazine->free[--magazine->n_free];
    magazine->leases[lease->entry - 1] = lease;
    magazine->used[(lease->entry - 1) / 64] |= UINT64_C(1) << (lease->entry - 1) % 64;
    atomic_store_explicit(&magazine->page->entries[lease->entry - 1],
                          magazine_word(MAGAZINE_USED, requested), memory_order_release);
}

void magazine_leave(struct session *session, struct memory_lease *lease)
{
    struct magazine *magazine = session->magazine;

    if (!lease->entry)
        return;
    atomic_store_explicit(&magazine->page->entries[lease->entry - 1],
                          magazine_word(MAGAZINE_GONE, 0), memory_order_release);
    magazine->leases[lease->entry - 1] = NULL;
    magazine->used[(lease->entry - 1) / 64] &= ~(UINT64_C(1) << (lease->entry - 1) % 64);
    magazine->free[magazine->n_free++] = (uint16_t)(lease->entry - 1);
    lease->entry = 0;
}

/* The daemon has run all commands that the client gave away before it freed the block. */
static bool caught_up(const struct session *session, uint64_t position)
{
    return position <= session->position;
}

/* The first entry from @p at on that has a lease; MAGAZINE_ENTRIES: none. Most have none in most
 * processes, and one that has no memory left looks at those of all. */
static unsigned used_from(const struct magazine *magazine, unsigned at)
{
    uint64_t mask = UINT64_MAX << at % 64;

    for (unsigned word = at / 64; word < MAGAZINE_ENTRIES / 64; word++, mask = UINT64_MAX)
        if (magazine->used[word] & mask)
            return word * 64 + (unsigned)__builtin_ctzll(magazine->used[word] & mask);
    return MAGAZINE_ENTRIES;
}

struct memory_lease *magazine_reclaim(struct session *session, unsigned *at)
{
    struct magazine *magazine = session->magazine;

    if (!magazine || magazine->n_free == MAGAZINE_ENTRIES)
        return NULL;
    for (; (*at = used_from(magazine, *at)) < MAGAZINE_ENTRIES; ++*at) {
        _Atomic uint64_t *entry = &magazine->page->entries[*at];
        uint64_t word = atomic_load_explicit(entry, memory_order_acquire);

        if (magazine_state(word) == MAGAZINE_CACHED && caught_up(session, magazine_value(word)) &&
            atomic_compare_exchange_strong(entry, &word, magazine_word(MAGAZINE_GONE, 0)))
            return magazine->leases[*at];
    }
    return NULL;
}

bool magazine_counted(const struct session *session, const struct memory_lease *lease)
{
    return lease->entry && atomic_load_explicit(&session->magazine->page->entries[lease->entry - 1],
                                                memory_order_acquire) ==
                               magazine_word(MAGAZINE_USED, MAGAZINE_COUNTED);
}

xpurt_block_state magazine_look(const struct session *session, const struct memory_lease *lease,
                                uint64_t *ret_requested)
{
    uint64_t word = atomic_load_explicit(&session->magazine->page->entries[lease->entry - 1],
                                         memory_order_acquire);

    if (magazine_state(word) == MAGAZINE_USED && magazine_value(word) <= lease->block->size)
        *ret_requested = magazine_value(word);
    return magazine_state(word) == MAGAZINE_CACHED ? XPURT_BLOCK_CACHED : XPURT_BLOCK_ALLOCATED;
}
