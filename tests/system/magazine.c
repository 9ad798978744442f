/* SPDX-License-Identifier: MIT */
/* tests/system/magazine.c: clients that misuse the caching allocator: requests about memory that is
 * not theirs, and whatever one can write into a magazine. */
#include "proto/magazine.h"
#include "tests/system/scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(magazine, .timeout = 300);

enum { BLOCKS = 64 };

struct client {
    struct raw raw;
    struct magazine_page *page;
    uint64_t addresses[BLOCKS];
    uint32_t entries[BLOCKS];
};

static xpurt_result open_magazine(struct client *client)
{
    Xpurt__MagazineOpen open = XPURT__MAGAZINE_OPEN__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MAGAZINE_OPEN), .magazine_open = &open };
    xpurt_result r = raw_result(&client->raw, &request);

    if (r)
        return r;
    test_require(client->raw.fds.count == 1, "no descriptor");
    test_require(ftruncate(client->raw.fds.fds[0], 4096) < 0, "it can be cut");
    test_require(ftruncate(client->raw.fds.fds[0], 1 << 20) < 0, "it can grow");
    client->page = mmap(NULL, sizeof(*client->page), PROT_READ | PROT_WRITE, MAP_SHARED,
                        client->raw.fds.fds[0], 0);
    test_require(client->page != MAP_FAILED, "mmap");
    return r;
}

static xpurt_result alloc_for(struct client *client, uint32_t stream, uint64_t size, unsigned i)
{
    Xpurt__MemoryAlloc alloc = XPURT__MEMORY_ALLOC__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_ALLOC), .memory_alloc = &alloc };
    xpurt_result r;

    alloc.stream = 1 + stream;
    alloc.size = size;
    r = raw_result(&client->raw, &request);
    if (r)
        return r;
    client->addresses[i] = client->raw.reply->memory_allocated->address;
    client->entries[i] = client->raw.reply->memory_allocated->entry;
    return r;
}

static struct client *client_new(struct scene *scene)
{
    struct client *client = calloc(1, sizeof(*client));

    test_require(client, "no memory");
    raw_open(&client->raw, scene->daemon.socket);
    raw_stream_create(&client->raw, 0, 0);
    test_require(open_magazine(client) == 0, "%s", client->raw.text);
    return client;
}

static void client_free(struct client *client)
{
    raw_close(&client->raw);
    munmap(client->page, sizeof(*client->page));
    free(client);
}

static void trim(struct client *client)
{
    Xpurt__MemoryTrim trim = XPURT__MEMORY_TRIM__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_TRIM), .memory_trim = &trim };

    test_require(raw_result(&client->raw, &request) == 0, "%s", client->raw.text);
}

static void free_for(struct client *client, uint64_t address, uint32_t stream)
{
    Xpurt__MemoryFree memory_free = XPURT__MEMORY_FREE__INIT;
    Xpurt__Command command = { RAW_COMMAND(MEMORY_FREE), .memory_free = &memory_free };

    memory_free.address = address;
    memory_free.stream = stream;
    raw_send_command(&client->raw, &command);
}

static void expect_told(struct client *client, xpurt_result result)
{
    raw_settle(&client->raw);
    test_require(client->raw.errors == 1 && client->raw.error == result, "%u errors, %d: %s",
                 client->raw.errors, (int)client->raw.error, client->raw.text);
    client->raw.errors = 0;
}

/* ---- what is written into it ------------------------------------------------------------------------ */

/* All kinds of words into all entries, while memory is wanted, given back and looked at. */
static void scribbles(struct scene *scene)
{
    static const uint64_t values[] = { 0, 1, 100, UINT64_MAX >> 2, UINT64_C(1) << 40 };
    struct client *client = client_new(scene), *other = client_new(scene);

    for (unsigned i = 0; i < BLOCKS; i++)
        test_require(alloc_for(client, 0, 1 + i * 999, i) == 0, "%s", client->raw.text);
    for (unsigned state = 0; state < 4; state++)
        for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            for (unsigned e = 0; e < MAGAZINE_ENTRIES; e++)
                atomic_store(&client->page->entries[e], magazine_word(state, values[v]));
            memset(client->page->finished, 0xff, sizeof(client->page->finished));
            client->page->magic = 0;
            trim(other);                /* the daemon reads all of it */
            raw_settle(&client->raw);
            test_require(alloc_for(client, 0, 4096, v) == 0, "%s", client->raw.text);
            raw_fill(&client->raw, 0, 0, client->addresses[v], 4096, 7, 1);
            raw_record(&client->raw, 0);
            test_require(raw_finish(&client->raw, 0) == 0, "%s", client->raw.text);
        }
    raw_settle(&other->raw);
    test_require(!other->raw.errors, "%s", other->raw.text);
    client_free(client);
    client_free(other);
}

Test(magazine, scribbles)
{
    scene_play(scribbles, 5);
}

/* A block that a client calls freed and goes on using is taken from it, and from nobody else. */
static void lies_about_freedom(struct scene *scene)
{
    struct client *client = client_new(scene), *other = client_new(scene);
    _Atomic uint64_t *entry;

    test_require(alloc_for(client, 0, 30 << 20, 0) == 0, "%s", client->raw.text);
    test_require(client->entries[0], "no entry");
    entry = &client->page->entries[client->entries[0] - 1];
    test_require(atomic_load(entry) == magazine_word(MAGAZINE_USED, 30 << 20), "another word");

    /* Commands are still to come, it says: not taken. */
    atomic_store(entry, magazine_word(MAGAZINE_CACHED, 1 << 30));
    trim(other);
    test_require(atomic_load(entry) == magazine_word(MAGAZINE_CACHED, 1 << 30), "taken too early");
    raw_fill(&client->raw, 0, 0, client->addresses[0], 4096, 7, 1);
    raw_settle(&client->raw);
    test_require(!client->raw.errors, "%s", client->raw.text);

    atomic_store(entry, magazine_word(MAGAZINE_CACHED, 1));
    test_require(alloc_for(other, 0, 30 << 20, 0) == 0, "%s", other->raw.text);
    test_require(atomic_load(entry) == magazine_word(MAGAZINE_GONE, 0), "not taken");
    test_require(other->addresses[0] == client->addresses[0], "not given");
    raw_fill(&client->raw, 0, 0, client->addresses[0], 4096, 7, 1);
    expect_told(client, XPURT_ERROR_INVALID_ADDRESS);
    raw_fill(&other->raw, 0, 0, other->addresses[0], 4096, 7, 1);
    raw_record(&other->raw, 0);
    test_require(raw_finish(&other->raw, 0) == 0, "%s", other->raw.text);
    client_free(client);
    client_free(other);
}

Test(magazine, lies_about_freedom)
{
    scene_play(lies_about_freedom, 10);
}

/* ---- requests ----------------------------------------------------------------------------------------- */

static void strange_requests(struct scene *scene)
{
    struct client *client = client_new(scene), *other = client_new(scene);
    Xpurt__MemorySnapshot snapshot = XPURT__MEMORY_SNAPSHOT__INIT;
    Xpurt__ToDaemon snapshot_request = { RAW_REQUEST(MEMORY_SNAPSHOT),
                                         .memory_snapshot = &snapshot };
    Xpurt__MemoryStats stats = XPURT__MEMORY_STATS__INIT;
    Xpurt__ToDaemon stats_request = { RAW_REQUEST(MEMORY_STATS), .memory_stats = &stats };
    Xpurt__MemoryRecord record = XPURT__MEMORY_RECORD__INIT;
    Xpurt__Command record_command = { RAW_COMMAND(MEMORY_RECORD), .memory_record = &record };
    Xpurt__MemoryLimit limit = XPURT__MEMORY_LIMIT__INIT;
    Xpurt__Command limit_command = { RAW_COMMAND(MEMORY_LIMIT), .memory_limit = &limit };

    test_require(alloc_for(client, 0, 5000, 0) == 0, "%s", client->raw.text);
    test_require(open_magazine(client) == XPURT_ERROR_INVALID_ARGUMENT, "a second magazine");
    free_for(client, client->addresses[0], 1);
    for (int i = 0; i < 3; i++)         /* an empty one does not count: it may have been lost */
        test_require(open_magazine(client) == 0, "%s", client->raw.text);
    client->raw.errors = 0;
    test_require(alloc_for(client, 1, 100, 0) == XPURT_ERROR_INVALID_HANDLE, "no such stream");
    test_require(alloc_for(client, UINT32_MAX - 1, 100, 0) == XPURT_ERROR_INVALID_HANDLE, "none");
    test_require(alloc_for(client, 0, UINT64_MAX, 0) == XPURT_ERROR_OUT_OF_MEMORY, "2^64 - 1");
    test_require(alloc_for(client, 0, UINT64_C(1) << 63, 0) == XPURT_ERROR_OUT_OF_MEMORY, "2^63");
    test_require(alloc_for(client, 0, 0, 0) == XPURT_ERROR_INVALID_ARGUMENT, "0 bytes");
    snapshot.device = stats.device = UINT32_MAX;
    test_require(raw_result(&client->raw, &snapshot_request) == XPURT_ERROR_INVALID_DEVICE, "2^32");
    test_require(raw_result(&client->raw, &stats_request) == XPURT_ERROR_INVALID_DEVICE, "2^32");
    snapshot.device = 0;
    snapshot.after = UINT64_MAX;
    test_require(raw_result(&client->raw, &snapshot_request) == 0, "%s", client->raw.text);
    test_require(client->raw.reply->memory_blocks->n_blocks == 0, "behind the end");
    client->raw.errors = 0;

    test_require(alloc_for(other, 0, 5000, 0) == 0, "%s", other->raw.text);
    record.address = other->addresses[0];
    raw_send_command(&client->raw, &record_command);
    expect_told(client, XPURT_ERROR_INVALID_ADDRESS);
    free_for(client, other->addresses[0], 1);
    expect_told(client, XPURT_ERROR_INVALID_ADDRESS);
    limit.device = 64;
    raw_send_command(&client->raw, &limit_command);
    expect_told(client, XPURT_ERROR_INVALID_DEVICE);

    test_require(alloc_for(client, 0, 5000, 0) == 0, "%s", client->raw.text);
    record.address = client->addresses[0];
    record.stream = 77;
    raw_send_command(&client->raw, &record_command);
    expect_told(client, XPURT_ERROR_INVALID_HANDLE);
    free_for(client, client->addresses[0], 78);
    expect_told(client, XPURT_ERROR_INVALID_HANDLE); /* and it is freed */
    free_for(client, client->addresses[0], 1);
    expect_told(client, XPURT_ERROR_INVALID_ADDRESS);
    free_for(other, other->addresses[0], 1);
    raw_settle(&other->raw);
    test_require(!other->raw.errors, "%s", other->raw.text);
    client_free(client);
    client_free(other);
}

Test(magazine, strange_requests)
{
    scene_play(strange_requests, 10);
}

/* ---- floods ------------------------------------------------------------------------------------------ */

static void send_trim(struct raw *raw)
{
    Xpurt__MemoryTrim trim_message = XPURT__MEMORY_TRIM__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_TRIM), .memory_trim = &trim_message };

    request.serial = ++raw->serial;
    raw_send_message(raw, &request);
}

/* Replies to @p n trims. */
static unsigned receive_trims(struct raw *raw, unsigned n)
{
    unsigned refused = 0;

    while (n--) {
        test_require(raw_receive(raw, 10000) == RAW_FRAME, "a trim is not answered");
        refused += raw->reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR;
    }
    return refused;
}

/* Requests that have to wait cost the daemon memory: there is a limit. */
static void many_trims(struct scene *scene)
{
    enum { TRIMS = 2000 };
    struct client *client = client_new(scene);
    unsigned refused = 0;

    /* Where the memory is cleared before they have all come, once more. */
    for (unsigned i = 0; i < 50 && !refused; i++) {
        test_require(alloc_for(client, 0, 256 << 20, 0) == 0, "%s", client->raw.text);
        free_for(client, client->addresses[0], 1);
        for (unsigned k = 0; k < TRIMS; k++)
            send_trim(&client->raw);
        refused = receive_trims(&client->raw, TRIMS);
    }
    test_require(refused && refused < TRIMS, "%u of %u are refused", refused, TRIMS);
    trim(client);
    client_free(client);
}

Test(magazine, many_trims)
{
    scene_play(many_trims, 3);
}

/* Each of many processes has a magazine, and one asks again and again for what they keep: nothing. */
static void many_magazines(struct scene *scene)
{
    enum { CLIENTS = 900, ASKS = 1000 };
    struct client **clients = calloc(CLIENTS, sizeof(*clients));
    uint64_t alone, among_many;

    test_require(clients, "no memory");
    clients[0] = client_new(scene);
    alone = scene_cpu_ms(scene);
    for (unsigned i = 0; i < ASKS; i++)
        trim(clients[0]);
    alone = scene_cpu_ms(scene) - alone;
    for (unsigned i = 1; i < CLIENTS; i++)
        clients[i] = client_new(scene);
    among_many = scene_cpu_ms(scene);
    for (unsigned i = 0; i < ASKS; i++)
        trim(clients[0]);
    among_many = scene_cpu_ms(scene) - among_many;
    for (unsigned i = 0; i < CLIENTS; i++)
        client_free(clients[i]);
    free(clients);
    test_require(among_many < 4 * alone + 300, "%llu ms, alone %llu ms",
                 (unsigned long long)among_many, (unsigned long long)alone);
}

Test(magazine, many_of_them)
{
    scene_play(many_magazines, 1);
}

/* ---- death ---------------------------------------------------------------------------------------------- */

/* Gone with memory in use, cached, pending, recorded, and with an answer under way. */
static void dies(struct scene *scene)
{
    Xpurt__MemoryTrim trim_message = XPURT__MEMORY_TRIM__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MEMORY_TRIM), .memory_trim = &trim_message };
    struct client *client = client_new(scene);

    for (unsigned i = 0; i < BLOCKS; i++) {
        test_require(alloc_for(client, 0, 1 + (uint64_t)i * 400000, i) == 0, "%s",
                     client->raw.text);
        raw_fill(&client->raw, 0, 0, client->addresses[i], 1, 1, 1);
        if (i % 4 == 0)
            free_for(client, client->addresses[i], 1);
        if (i % 4 == 1)
            atomic_store(&client->page->entries[client->entries[i] - 1],
                         magazine_word(MAGAZINE_CACHED, 0));
    }
    request.serial = 12345;
    raw_send_message(&client->raw, &request);
    client_free(client);
}

Test(magazine, dies)
{
    scene_play(dies, 20);
}
