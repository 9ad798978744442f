/* SPDX-License-Identifier: MIT */
/* tests/system/scene.c: see scene.h. */
#include "tests/system/scene.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BOUND_MS 30000
#define WITNESS_STREAM 7
#define WITNESS_BYTES 65536u
#define RESIDENT_SLACK_KIB 6144         /* arenas of malloc, pages of a stack: not a leak */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_TELLS false              /* sanitizers keep what was freed */
#else
#define MEMORY_TELLS true
#endif

void scene_sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

uint64_t scene_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the witness ----------------------------------------------------------------------------- */

/* From device memory to the host and back: what comes out must be what went in. */
static void witness_round(struct scene *scene, uint32_t segment, uint32_t *bytes, uint64_t memory,
                          uint32_t round)
{
    struct raw *raw = &scene->witness;

    for (uint32_t i = 0; i < WITNESS_BYTES / 8; i++)
        bytes[i] = round + i;
    raw_copy(raw, WITNESS_STREAM, 0, memory, segment, 0, WITNESS_BYTES / 2);
    raw_copy(raw, WITNESS_STREAM, segment, WITNESS_BYTES / 2, 0, memory, WITNESS_BYTES / 2);
    raw_record(raw, WITNESS_STREAM);
    test_require(raw_finish(raw, WITNESS_STREAM) == XPURT_SUCCESS, "the witness is disturbed");
    for (uint32_t i = 0; i < WITNESS_BYTES / 8; i++)
        test_require(bytes[WITNESS_BYTES / 8 + i] == round + i, "the witness's memory is wrong");
}

static void *witness_run(void *data)
{
    struct scene *scene = data;
    struct raw *raw = &scene->witness;
    uint32_t segment;
    uint64_t memory;
    void *bytes;

    raw_stream_create(raw, WITNESS_STREAM, 0);
    test_require(raw_memory_alloc(raw, WITNESS_BYTES, &memory) == 0, "%s", raw->text);
    test_require(raw_host_alloc(raw, WITNESS_BYTES, &segment, &bytes) == 0, "%s", raw->text);
    while (!atomic_load(&scene->stop)) {
        witness_round(scene, segment, bytes, memory, (uint32_t)scene->rounds);
        atomic_fetch_add(&scene->rounds, 1);
        if (scene->rounds % 64 == 0)
            raw_settle(raw);            /* takes in what the daemon has to say: nothing */
        test_require(raw->errors == 0, "the witness was told: %s", raw->text);
        scene_sleep_ms(1);
    }
    return NULL;
}

void witness_check(struct scene *scene)
{
    uint64_t before = atomic_load(&scene->rounds),
             deadline = scene_now_ns() + BOUND_MS * 1000000ull;

    while (atomic_load(&scene->rounds) < before + 2) {
        test_require(scene_now_ns() < deadline, "the witness cannot work any more");
        scene_sleep_ms(1);
    }
}

/* ---- the books ------------------------------------------------------------------------------- */

/* The software device backs memory by files and keeps some for later; what clients hold of it is in
 * the counters. */
static bool counts(DIR *folder, const char *name)
{
    char target[128];
    ssize_t n = readlinkat(dirfd(folder), name, target, sizeof(target) - 1);

    target[n > 0 ? n : 0] = '\0';       /* nothing: ., .., or closed meanwhile */
    return n > 0 && !strstr(target, "ze_soft-");
}

unsigned scene_descriptors(struct scene *scene)
{
    const struct dirent *entry;
    char path[64];
    unsigned n = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)scene->daemon.pid);
    folder = opendir(path);
    test_require(folder, "%s: %s", path, strerror(errno));
    while ((entry = readdir(folder)))
        n += counts(folder, entry->d_name);
    closedir(folder);
    return n;
}

uint64_t scene_cpu_ms(struct scene *scene)
{
    unsigned long long user = 0, system = 0;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)scene->daemon.pid);
    file = fopen(path, "re");
    test_require(file, "%s: %s", path, strerror(errno));
    test_require(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                        &user, &system) == 2,
                 "%s cannot be read", path);
    fclose(file);
    return (user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}

static uint64_t resident_kib(pid_t pid)
{
    unsigned long long kib = 0;
    char path[64], line[128];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    test_require(file, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

/* Objects alive and what is charged for them; not what only counts up. */
static bool belongs_in_books(const char *name)
{
    static const char *const alive[] = { "sessions", "streams", "boards", "handles", "queued" };

    for (size_t i = 0; i < sizeof(alive) / sizeof(alive[0]); i++)
        if (strcmp(name, alive[i]) == 0)
            return true;
    if (strcmp(name, "user-reserved") == 0)
        return false;                   /* kept for whoever wants memory next */
    return strncmp(name, "user-", 5) == 0;
}

void books_read(struct scene *scene, struct books *ret_books)
{
    const Xpurt__Counters *counters;

    memset(ret_books, 0, sizeof(*ret_books));
    raw_settle(&scene->watcher);
    counters = scene->watcher.reply->counters;
    for (size_t i = 0; i < counters->n_counters && ret_books->n < SCENE_BOOKS; i++) {
        if (!belongs_in_books(counters->counters[i]->name))
            continue;
        snprintf(ret_books->names[ret_books->n], sizeof(ret_books->names[0]), "%s",
                 counters->counters[i]->name);
        ret_books->values[ret_books->n++] = counters->counters[i]->value;
    }
    test_require(ret_books->n >= 10, "the daemon counts too little");
    ret_books->descriptors = scene_descriptors(scene);
    ret_books->resident = resident_kib(scene->daemon.pid);
}

/* The first difference, or NULL. */
static const char *books_differ(const struct books *before, const struct books *now, char *text,
                                size_t size)
{
    for (unsigned i = 0; i < before->n; i++)
        if (before->values[i] != now->values[i]) {
            snprintf(text, size, "%s: %llu before, %llu now", before->names[i],
                     (unsigned long long)before->values[i], (unsigned long long)now->values[i]);
            return text;
        }
    if (before->descriptors != now->descriptors) {
        snprintf(text, size, "descriptors: %u before, %u now", before->descriptors,
                 now->descriptors);
        return text;
    }
    return NULL;
}

void books_check(struct scene *scene, const struct books *before)
{
    uint64_t deadline = scene_now_ns() + BOUND_MS * 1000000ull;
    char text[128];

    for (;;) {
        struct books now;

        books_read(scene, &now);
        if (!books_differ(before, &now, text, sizeof(text)))
            return;
        test_require(scene_now_ns() < deadline, "%s", text);
        scene_sleep_ms(5);
    }
}

/* ---- the scene ------------------------------------------------------------------------------- */

static void scene_people(struct scene *scene)
{
    raw_open(&scene->watcher, scene->daemon.socket);
    raw_open(&scene->witness, scene->daemon.socket);
    test_require(pthread_create(&scene->thread, NULL, witness_run, scene) == 0, "pthread_create");
    witness_check(scene);
}

void scene_begin(struct scene *scene, const char *limits)
{
    char ini[] = "/tmp/xpurt-test-ini-XXXXXX";
    const char *arguments[] = { "--config", ini, "--log-level", "error", NULL };
    int fd;

    memset(scene, 0, sizeof(*scene));
    fd = mkstemp(ini);
    test_require(fd >= 0, "mkstemp: %s", strerror(errno));
    dprintf(fd, "[limits]\n%s\n", limits ? limits : "");
    close(fd);
    test_daemon_start(&scene->daemon, arguments);
    unlink(ini);
    scene_people(scene);
}

void scene_begin_gated(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    test_daemon_start_gated(&scene->daemon);
    scene_people(scene);
}

void scene_end(struct scene *scene)
{
    atomic_store(&scene->stop, true);
    pthread_join(scene->thread, NULL);
    raw_close(&scene->witness);
    raw_close(&scene->watcher);
    test_require(test_daemon_stop(&scene->daemon) == 0, "the daemon did not leave with status 0");
}

void scene_attack(struct scene *scene, void (*attack)(struct scene *scene), unsigned times)
{
    struct books before, after;

    books_read(scene, &before);
    attack(scene);                      /* the first time makes caches grow */
    books_check(scene, &before);
    witness_check(scene);

    books_read(scene, &after);
    for (unsigned i = 1; i < times; i++) {
        attack(scene);
        books_check(scene, &before);
    }
    witness_check(scene);
    before.resident = after.resident;
    books_read(scene, &after);
    test_require(!MEMORY_TELLS || after.resident < before.resident + RESIDENT_SLACK_KIB,
                 "memory: %llu KiB before, %llu KiB now", (unsigned long long)before.resident,
                 (unsigned long long)after.resident);
}

void scene_play(void (*attack)(struct scene *scene), unsigned times)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    test_require(scene, "out of memory");
    scene_begin(scene, NULL);
    scene_attack(scene, attack, times);
    scene_end(scene);
    free(scene);
}

/* ---- what a client was told -------------------------------------------------------------------- */

void raw_expect_told(struct raw *raw, xpurt_result result)
{
    raw_settle(raw);
    test_require(raw->errors == (result != XPURT_SUCCESS) && (!result || raw->error == result),
                 "%u errors, the last one %d: %s", raw->errors, (int)raw->error, raw->text);
    raw->errors = 0;
}

void raw_expect_stream_failed(struct raw *raw, xpurt_result result)
{
    const struct board_timeline *timeline = &raw->progress->timelines[0];

    raw_expect_told(raw, result);
    test_require(raw_status(raw, 0) == result, "the timeline says %d", (int)raw_status(raw, 0));
    raw_stream_destroy(raw, 0);
    raw_settle(raw);
    for (int i = 0; atomic_load(&timeline->state) != TIMELINE_FREE; i++) {
        test_require(i < 30000, "a destroyed stream is not free");
        scene_sleep_ms(1);
    }
    if (raw->values[0] < atomic_load(&timeline->last))
        raw->values[0] = atomic_load(&timeline->last);
    raw_stream_create(raw, 0, 0);
    raw_expect_told(raw, XPURT_SUCCESS);
}
