/* SPDX-License-Identifier: MIT */
/* tests/system/scene.h: a daemon, somebody who works on it undisturbed, and a look at the books.
 *
 * An attack is a function. The scene runs it again and again and checks after each time that the
 * witness is well, and that objects, descriptors and memory of the daemon are what they were.
 */
#pragma once

#include "tests/support/daemon.h"
#include "tests/support/peer.h"
#include "tests/support/raw.h"

#include <pthread.h>
#include <stdatomic.h>

#define SCENE_BOOKS 32

/* What must be the same before and after. */
struct books {
    unsigned n;
    char names[SCENE_BOOKS][56];
    uint64_t values[SCENE_BOOKS];       /* counters of objects alive, and of all that is charged */
    unsigned descriptors;
    uint64_t resident;                  /* KiB */
};

struct scene {
    struct test_daemon daemon;
    struct raw watcher;                 /* asks for the counters */
    struct raw witness;                 /* works all the time, in a thread of its own */
    pthread_t thread;
    _Atomic uint64_t rounds;            /* of work that the witness has done */
    _Atomic bool stop;
    bool gated;
};

/* Start the daemon with these lines in the [limits] section of its configuration (NULL: none). */
void scene_begin(struct scene *scene, const char *limits);

/* The same with test_daemon_start_gated(): fills of streams other than the witness's do not end. */
void scene_begin_gated(struct scene *scene);

/* Stop all; the daemon must leave with status 0. */
void scene_end(struct scene *scene);

/* Run @p attack @p times times. */
void scene_attack(struct scene *scene, void (*attack)(struct scene *scene), unsigned times);

/* Begin, attack, end. */
void scene_play(void (*attack)(struct scene *scene), unsigned times);

void books_read(struct scene *scene, struct books *ret_books);

/* Wait until all is as it was; ends the process with a message when it stays different. */
void books_check(struct scene *scene, const struct books *before);

/* The witness does another round of work now. */
void witness_check(struct scene *scene);

/* Descriptors that the daemon has open, beside those of the software device. */
unsigned scene_descriptors(struct scene *scene);

/* Milliseconds of CPU that the daemon has used: those of a busy machine's clock say little. */
uint64_t scene_cpu_ms(struct scene *scene);

void scene_sleep_ms(long ms);
uint64_t scene_now_ns(void);

/* The commands since the last call brought this error (XPURT_SUCCESS: none), and no other. */
void raw_expect_told(struct raw *raw, xpurt_result result);

/* The same, and stream 0 failed with it; a fresh stream 0 is there afterwards. */
void raw_expect_stream_failed(struct raw *raw, xpurt_result result);
