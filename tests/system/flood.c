/* SPDX-License-Identifier: MIT */
/* tests/system/flood.c: keys that a client chose so that they meet in a table. */
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <uthash.h>

TestSuite(flood, .timeout = 300);

#define KEYS 30000u
#define MEMORY (UINT64_C(64) << 20)
#define BUCKETS 1024u                   /* a table of KEYS would have as many at least */

/* As uthash does it unless told otherwise. */
static bool meets(uint64_t offset)
{
    unsigned hash;

    HASH_JEN(&offset, sizeof(offset), hash);
    return hash % BUCKETS == 0;
}

static bool any(uint64_t offset)
{
    (void)offset;
    return true;
}

/* Handles for so many places in one piece of memory: what they cost the daemon. */
static uint64_t export_ms(struct scene *scene, bool (*chosen)(uint64_t offset))
{
    struct handle handle;
    uint64_t address, begin, n = 0;
    struct raw raw;

    raw_open(&raw, scene->daemon.socket);
    test_require(raw_memory_alloc(&raw, MEMORY, &address) == 0, "%s", raw.text);
    begin = scene_cpu_ms(scene);
    for (uint64_t offset = 0; offset < MEMORY && n < KEYS; offset++)
        if (chosen(offset)) {
            test_require(raw_memory_export(&raw, address + offset, &handle) == 0, "%s", raw.text);
            n++;
        }
    begin = scene_cpu_ms(scene) - begin;
    test_require(n == KEYS, "only %llu keys", (unsigned long long)n);
    raw_close(&raw);
    return begin;
}

static void offsets(struct scene *scene)
{
    uint64_t usual = export_ms(scene, any), chosen = export_ms(scene, meets);

    test_require(chosen < 4 * usual + 1000, "%llu ms, with other keys %llu ms",
                 (unsigned long long)chosen, (unsigned long long)usual);
}

Test(flood, handles_of_chosen_offsets)
{
    scene_play(offsets, 1);
}
