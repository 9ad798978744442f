/* SPDX-License-Identifier: MIT */
/* tests/misuse/cast.h: for each kind of argument (functions.h) what is right and what is wrong. */
#pragma once

#include <xpurt/xpurt.h>

#include <stdbool.h>
#include <stdint.h>

#define ARGUMENTS_MAX 8
#define WRONG_MAX 64
#define OUT_SIZE 16384
#define OUT_BYTE 0xa5

/* What another process has: addresses that mean nothing here. */
struct foreign {
    xpurt_event *event;
    xpurt_stream *stream;
    xpurt_generator *generator;
    unsigned char *memory;
};

struct wrongs {
    struct {
        uintptr_t value;
        const char *what;
    } list[WRONG_MAX];
    unsigned count;
};

/* Where answers go, one for each argument; all OUT_BYTE after cast_make(). */
extern unsigned char cast_out[ARGUMENTS_MAX][OUT_SIZE];

/* A new session with something right of each kind, and something wrong. */
void cast_make(const struct foreign *foreign);

/* Unload what holds memory of this process until it is unloaded. */
void cast_end(void);

/* Whether there is something right of that kind: modules need a compiler and a runtime. */
bool cast_has(char kind);

/* What is right for argument @p i. */
uintptr_t cast_right(char kind, int i);

/* Every way in which it can be wrong. */
void cast_wrong(char kind, struct wrongs *ret_wrongs);

/* What the sentence about a wrong one must mention. */
const char *cast_word(char kind, uintptr_t wrong);
