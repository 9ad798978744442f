/* SPDX-License-Identifier: MIT */
/* client/magazine.c: see magazine.h.
 *
 * Guarantees of this file:
 *   - a block is handed out only if the daemon has not taken it back: one compare-and-swap decides;
 *   - a free and an allocation of the same size by the same stream make no system call;
 *   - what is cached is bounded in blocks and bytes, and is found by stream and size in a step.
 */
#include "client/magazine.h"

#include "client/address.h"
#include "client/memory.h"
#include "client/result.h"
#include "client/table.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <utlist.h>

#define BUCKETS 256u

/* A block with an entry. */
struct slot {
    struct slot *prev, *next;           /* cached: in its bucket */
    uint64_t start;                     /* of its range; 0: the entry is free */
    uint64_t size;                      /* bytes of the block */
    uint64_t rounded;                   /* bytes of a request that it serves */
    uint64_t word;                      /* cached: what we wrote into the entry */
    uint32_t stream;
};

static TABLE struct {
    enum { MAGAZINE_NONE, MAGAZINE_OPENING, MAGAZINE_OPEN, MAGAZINE_UNSUPPORTED } state;
    struct magazine_page *page;         /* NULL: none */
    uint64_t bytes;                     /* cached */
    struct slot slots[MAGAZINE_ENTRIES];
    struct slot *buckets[BUCKETS];
} magazine;

/* ---- having one ------------------------------------------------------------------------------------ */

static xpurt_result page_map(int fd)
{
    struct magazine_page *page;

    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return system_error("the magazine cannot be mapped", -errno);
    if (page->magic != MAGAZINE_MAGIC) {
        munmap(page, sizeof(*page));
        return error_set(XPURT_ERROR_PROTOCOL, "xpurtd sent something that is not a magazine");
    }
    magazine.page = page;
    return XPURT_SUCCESS;
}

static xpurt_result magazine_ask(void)
{
    Xpurt__MagazineOpen open = XPURT__MAGAZINE_OPEN__INIT;
    Xpurt__ToDaemon request = { REQUEST(MAGAZINE_OPEN), .magazine_open = &open };
    struct reply reply = REPLY_NULL;
    xpurt_result r;

    r = connection_request(&request, XPURT__TO_CLIENT__REPLY_MAGAZINE_OPENED, 1, &reply);
    if (r)
        return r;
    r = page_map(reply.fds.fds[0]);
    reply_deinit(&reply);
    return r;
}

xpurt_result magazine_begin(void)
{
    xpurt_result r;

    while (magazine.state == MAGAZINE_OPENING)
        connection_await_change();
    if (magazine.state != MAGAZINE_NONE)
        return XPURT_SUCCESS;

    magazine.state = MAGAZINE_OPENING;
    r = magazine_ask();
    magazine.state = r == XPURT_SUCCESS           ? MAGAZINE_OPEN :
                     r == XPURT_ERROR_UNSUPPORTED ? MAGAZINE_UNSUPPORTED :
                                                    MAGAZINE_NONE;
    connection_changed();
    return r == XPURT_ERROR_UNSUPPORTED ? XPURT_SUCCESS : r;
}

void magazine_end(void)
{
    if (magazine.page)
        munmap(magazine.page, sizeof(*magazine.page));
    memset(&magazine, 0, sizeof(magazine));
}

const struct magazine_finished *magazine_finished(uint32_t device)
{
    return magazine.page ? &magazine.page->finished[device] : NULL;
}

/* ---- slots ----------------------------------------------------------------------------------------- */

static struct slot **bucket_of(uint32_t stream, uint64_t rounded)
{
    uint64_t key = (rounded >> 9) * UINT64_C(0x9e3779b97f4a7c15) + stream * 0x85ebca6bu;

    return &magazine.buckets[(key >> 24) % BUCKETS];
}

static _Atomic uint64_t *entry_of(const struct slot *slot)
{
    return &magazine.page->entries[slot - magazine.slots];
}

static void slot_uncache(struct slot *slot)
{
    struct slot **bucket = bucket_of(slot->stream, slot->rounded);

    DL_DELETE(*bucket, slot);
    magazine.bytes -= slot->size;
    slot->word = 0;
}

/* The block is not ours any more. */
static void slot_lost(struct slot *slot)
{
    struct range *range = ranges_find_any(&addresses, slot->start);

    slot_uncache(slot);
    slot->start = 0;
    if (range)
        range_drop(range);
}

void magazine_enter(const struct range *range, uint32_t stream, uint64_t rounded)
{
    struct slot *slot = &magazine.slots[range->entry - 1];

    if (slot->word)
        slot_lost(slot);
    *slot = (struct slot){
        .start = range->start, .size = range->rounded, .rounded = rounded, .stream = stream
    };
}

bool magazine_put(struct range *range, uint32_t stream)
{
    struct slot *slot, **bucket;

    if (!range->entry || range->exported || range->recorded || range->opens)
        return false;
    slot = &magazine.slots[range->entry - 1];
    if (slot->stream != stream)
        return false;
    slot->word = magazine_word(MAGAZINE_CACHED, connection_position());
    atomic_store_explicit(entry_of(slot), slot->word, memory_order_release);
    bucket = bucket_of(stream, slot->rounded);
    DL_PREPEND(*bucket, slot);
    magazine.bytes += slot->size;
    range->cached = true;
    return true;
}

void magazine_make_room(uint64_t size)
{
    /* All of it: sizes that nobody wants any more shall not stay. */
    if (magazine.bytes + size > MAGAZINE_BYTES_MAX)
        magazine_flush_all();
}

/* The entry is in use again; false: the daemon was first. */
static bool slot_claim(const struct slot *slot, uint64_t requested)
{
    uint64_t word = slot->word;

    return atomic_compare_exchange_strong_explicit(entry_of(slot), &word,
                                                   magazine_word(MAGAZINE_USED, requested),
                                                   memory_order_acquire, memory_order_relaxed);
}

struct range *magazine_take(uint32_t stream, uint64_t rounded, uint64_t requested)
{
    struct slot *slot, *next;
    struct range *range;

    DL_FOREACH_SAFE(*bucket_of(stream, rounded), slot, next) {
        if (slot->stream != stream || slot->rounded != rounded)
            continue;
        if (!slot_claim(slot, requested)) {
            slot_lost(slot);
            continue;
        }
        slot_uncache(slot);
        range = ranges_find_any(&addresses, slot->start);
        range->cached = false;
        range->size = requested;
        return range;
    }
    return NULL;
}

/* ---- giving up ------------------------------------------------------------------------------------- */

static void slot_flush(struct slot *slot)
{
    if (slot_claim(slot, MAGAZINE_COUNTED))
        memory_free_send(slot->start, slot->stream + 1);
    slot_lost(slot);
}

void magazine_flush(uint32_t stream)
{
    connection_batch_begin();
    for (uint32_t i = 0; i < MAGAZINE_ENTRIES && magazine.bytes; i++)
        if (magazine.slots[i].word && magazine.slots[i].stream == stream)
            slot_flush(&magazine.slots[i]);
    (void)connection_batch_end();
    if (!connection_batching())
        (void)connection_flush();
}

void magazine_flush_all(void)
{
    connection_batch_begin();
    for (uint32_t i = 0; i < MAGAZINE_ENTRIES && magazine.bytes; i++)
        if (magazine.slots[i].word)
            slot_flush(&magazine.slots[i]);
    (void)connection_batch_end();
    if (!connection_batching())
        (void)connection_flush();
}

void magazine_forget(uint64_t start, uint64_t size)
{
    for (uint32_t i = 0; i < MAGAZINE_ENTRIES && magazine.bytes; i++) {
        struct slot *slot = &magazine.slots[i];

        if (slot->word && slot->start < start + size && start < slot->start + slot->size)
            slot_lost(slot);
    }
}

void magazine_sweep(void)
{
    for (uint32_t i = 0; i < MAGAZINE_ENTRIES && magazine.bytes; i++) {
        struct slot *slot = &magazine.slots[i];

        if (slot->word && atomic_load_explicit(entry_of(slot), memory_order_relaxed) != slot->word)
            slot_lost(slot);
    }
}
