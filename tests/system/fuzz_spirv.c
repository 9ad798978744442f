/* SPDX-License-Identifier: MIT */
/* tests/system/fuzz_spirv.c: modules that are nearly right.
 *
 *   system_fuzz_spirv [SECONDS [SEED]]
 *
 * Real SPIR-V with bits turned, words replaced, ends cut, instructions moved, doubled and taken from
 * elsewhere, and random bytes, is loaded by several clients, some of which hang up meanwhile. It is
 * not launched: what a kernel does on a CPU nobody can check. The daemon must live, a client beside it
 * must not notice, and in the end everything has to be given back. A plain program, so that it runs
 * under every sanitizer.
 */
#include "tests/system/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ATTACKERS 4
#define WORDS_MAX (1u << 18)
#define HEADER_WORDS 5u
#define ANSWER_MS 120000

static const char limits[] = "user-builds = 3\nbuild-timeout-ms = 20000\nuser-module-cache = 1M\n";

static uint32_t original[WORDS_MAX];
static uint32_t original_words;
static _Atomic bool stop;

struct attacker {
    struct scene *scene;
    struct raw raw;
    uint64_t seed;
    uint64_t sent, built, refused, left;
    uint32_t words[2 * WORDS_MAX];
    uint32_t n;
};

static struct attacker attackers[ATTACKERS];

static uint32_t roll(struct attacker *attacker)
{
    attacker->seed ^= attacker->seed << 13;
    attacker->seed ^= attacker->seed >> 7;
    attacker->seed ^= attacker->seed << 17;
    return (uint32_t)(attacker->seed >> 16);
}

static uint32_t below(struct attacker *attacker, uint32_t n)
{
    return n ? roll(attacker) % n : 0;
}

/* ---- mutations ------------------------------------------------------------------------------- */

/* Where an instruction begins, if lengths still hold. */
static uint32_t instruction(struct attacker *attacker)
{
    uint32_t steps = below(attacker, 2000), at = HEADER_WORDS;

    while (steps-- && at < attacker->n) {
        uint32_t length = attacker->words[at] >> 16;

        if (!length || length > attacker->n - at)
            break;
        at = at + length < attacker->n ? at + length : HEADER_WORDS;
    }
    return at < attacker->n ? at : 0;
}

static uint32_t length_at(const struct attacker *attacker, uint32_t at)
{
    uint32_t length = attacker->words[at] >> 16;

    return length <= attacker->n - at ? length : attacker->n - at;
}

static void words_insert(struct attacker *attacker, uint32_t at, const uint32_t *words, uint32_t n)
{
    if (n > 2 * WORDS_MAX - attacker->n)
        return;
    memmove(attacker->words + at + n, attacker->words + at, (attacker->n - at) * 4);
    memcpy(attacker->words + at, words, n * 4);
    attacker->n += n;
}

static void words_remove(struct attacker *attacker, uint32_t at, uint32_t n)
{
    memmove(attacker->words + at, attacker->words + at + n, (attacker->n - at - n) * 4);
    attacker->n -= n;
}

static void mutate(struct attacker *attacker)
{
    uint32_t at = below(attacker, attacker->n), other, n, kept[1024];

    switch (below(attacker, 10)) {
    case 0:                             /* a bit */
        attacker->words[at] ^= 1u << below(attacker, 32);
        break;
    case 1:                             /* a word that means something elsewhere */
        attacker->words[at] = attacker->words[below(attacker, attacker->n)];
        break;
    case 2:                             /* numbers that are special */
        attacker->words[at] = (uint32_t[]){ 0,          1,        0x7fffffff, 0x80000000,
                                            UINT32_MAX, 0x3fffff, 0x10000 }[below(attacker, 7)];
        break;
    case 3:                             /* an id or literal beside */
        attacker->words[at] += below(attacker, 5) - 2u;
        break;
    case 4:                             /* cut */
        attacker->n = 1 + below(attacker, attacker->n);
        break;
    case 5:                             /* an instruction less */
        at = instruction(attacker);
        words_remove(attacker, at, length_at(attacker, at));
        break;
    case 6:                             /* one twice, somewhere */
    case 7:
        at = instruction(attacker);
        other = instruction(attacker);
        n = length_at(attacker, at);
        if (n > 1024)
            break;
        memcpy(kept, attacker->words + at, n * 4);
        words_insert(attacker, other, kept, n);
        break;
    case 8:                             /* another operand of an instruction */
        at = instruction(attacker);
        n = length_at(attacker, at);
        if (n > 1)
            attacker->words[at + 1 + below(attacker, n - 1)] =
                below(attacker, 2) ? below(attacker, 300) : roll(attacker);
        break;
    default:                            /* another instruction with the same operands */
        at = instruction(attacker);
        attacker->words[at] = (attacker->words[at] & 0xffff0000) | below(attacker, 330);
        break;
    }
}

static void module_make(struct attacker *attacker)
{
    uint32_t mutations = 1u << below(attacker, 6);

    memcpy(attacker->words, original, original_words * 4);
    attacker->n = original_words;
    if (below(attacker, 20) == 0) {     /* nothing of it but the header */
        attacker->n = HEADER_WORDS + below(attacker, 1000);
        for (uint32_t i = HEADER_WORDS; i < attacker->n; i++)
            attacker->words[i] = roll(attacker);
    }
    while (mutations-- && attacker->n)
        mutate(attacker);
}

/* ---- loading --------------------------------------------------------------------------------- */

static void module_send(struct attacker *attacker)
{
    Xpurt__ModuleLoad load = XPURT__MODULE_LOAD__INIT;
    Xpurt__ToDaemon request = { RAW_REQUEST(MODULE_LOAD), .module_load = &load };
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t frame[FRAME_HEADER_SIZE + 256];
    struct frame_header header = { .fds = 1 };
    size_t size = attacker->n * 4u;

    if (size && below(attacker, 50) == 0)
        size -= below(attacker, 4);
    test_require(fd >= 0 && write(fd, attacker->words, size) == (ssize_t)size, "memfd");
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    load.device = below(attacker, 2);
    load.options = (char *)(below(attacker, 4) ? "" : "-ze-opt-disable");
    request.serial = ++attacker->raw.serial;
    header.length = (uint32_t)xpurt__to_daemon__get_packed_size(&request);
    frame_header_write(frame, &header);
    xpurt__to_daemon__pack(&request, frame + FRAME_HEADER_SIZE);
    test_require(raw_send_fds(&attacker->raw, frame, FRAME_HEADER_SIZE + header.length, &fd, 1) ==
                     0,
                 "the daemon hung up");
    close(fd);
    attacker->sent++;
}

/* The answer; what was built is given back. */
static void answer_take(struct attacker *attacker)
{
    Xpurt__ModuleUnload unload = XPURT__MODULE_UNLOAD__INIT;
    const Xpurt__ToClient *reply;

    do
        test_require(raw_receive(&attacker->raw, ANSWER_MS) == RAW_FRAME, "no answer");
    while (!attacker->raw.reply->serial);
    reply = attacker->raw.reply;
    if (reply->reply_case == XPURT__TO_CLIENT__REPLY_MODULE_LOADED && !reply->module_loaded->code) {
        attacker->built++;
        unload.module = reply->module_loaded->module;
        raw_send_command(&attacker->raw,
                         &(Xpurt__Command){ RAW_COMMAND(MODULE_UNLOAD), .module_unload = &unload });
        return;
    }
    attacker->refused++;
    if (reply->reply_case == XPURT__TO_CLIENT__REPLY_ERROR)
        test_require(attacker->raw.error == XPURT_ERROR_BUILD_FAILED, "%d: %s",
                     (int)attacker->raw.error, attacker->raw.text);
    else
        test_require(reply->module_loaded->text[0], "refused without a reason");
}

static void *attack(void *data)
{
    struct attacker *attacker = data;

    while (!atomic_load(&stop)) {
        uint32_t life = 1 + below(attacker, 40);

        raw_open(&attacker->raw, attacker->scene->daemon.socket);
        while (life-- && !atomic_load(&stop)) {
            module_make(attacker);
            module_send(attacker);
            if (below(attacker, 30) == 0) {
                attacker->left++;       /* and gone, while it is built */
                break;
            }
            answer_take(attacker);
        }
        raw_close(&attacker->raw);
    }
    return NULL;
}

static void original_read(void)
{
    FILE *file = fopen(KERNELS_SPV, "re");

    test_require(file, "%s: %s", KERNELS_SPV, strerror(errno));
    original_words = (uint32_t)fread(original, 4, WORDS_MAX, file);
    fclose(file);
    test_require(original_words > HEADER_WORDS, "%s is empty", KERNELS_SPV);
}

int main(int argc, char **argv)
{
    unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : scene_now_ns();
    uint64_t sent = 0, built = 0, refused = 0, left = 0;
    static struct scene scene;
    pthread_t threads[ATTACKERS];
    struct books before;

    printf("system_fuzz_spirv %lu 0x%llx\n", seconds, (unsigned long long)seed);
    fflush(stdout);
    original_read();
    scene_begin(&scene, limits);
    books_read(&scene, &before);
    for (unsigned i = 0; i < ATTACKERS; i++) {
        attackers[i].scene = &scene;
        attackers[i].seed = (seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        test_require(pthread_create(&threads[i], NULL, attack, &attackers[i]) == 0, "a thread");
    }
    for (unsigned long i = 0; i < 10 * seconds; i++) {
        scene_sleep_ms(100);
        witness_check(&scene);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < ATTACKERS; i++) {
        pthread_join(threads[i], NULL);
        sent += attackers[i].sent;
        built += attackers[i].built;
        refused += attackers[i].refused;
        left += attackers[i].left;
    }
    books_check(&scene, &before);
    witness_check(&scene);
    printf("%llu modules: %llu refused, %llu built, %llu given up; %llu rounds of the witness\n",
           (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)built,
           (unsigned long long)left, (unsigned long long)scene.rounds);
    scene_end(&scene);
    return 0;
}
