/* SPDX-License-Identifier: MIT */
/* soft.h: what every file of the software device uses.
 *
 * A Level Zero handle is a pointer to the object itself: `struct _ze_event_handle_t` is defined by
 * the file that owns events, and so on. No handle is ever cast.
 */
#ifndef SOFT_H
#define SOFT_H

#include <level_zero/ze_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "fault.h"
#include "ze_newer.h"

#define SOFT_MAX_DEVICES 16    /* ZE_SOFT_DEVICES is cut to it; affinity masks fit in 32 bits */
#define SOFT_DEFAULT_DEVICES 2 /* enough to test what goes across devices */
#define SOFT_SHORT_BYTES (32u << 10)    /* a copy of this size costs less than waking a worker */
#define SOFT_PAGE 4096u

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define ALIGN_UP(value, alignment) \
    (((value) + ((alignment) - 1)) & ~((__typeof__(value))(alignment) - 1))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define _cleanup_(function) __attribute__((cleanup(function)))
#define TAKE(pointer) \
    ({ \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL; \
        taken_; \
    })

/* The first line of every entry point: here a configured fault answers instead of the function. */
#define ENTER(function) \
    do { \
        if (UNLIKELY(fault_armed)) { \
            ze_result_t injected_ = fault_call(#function); \
            if (injected_ != ZE_RESULT_SUCCESS) \
                return injected_; \
        } \
    } while (0)

/* The checks the specification names for a function, in its order. */
#define REQUIRE(condition, code) \
    do { \
        if (UNLIKELY(!(condition))) \
            return ZE_RESULT_ERROR_##code; \
    } while (0)
#define REQUIRE_HANDLE(handle) REQUIRE(handle, INVALID_NULL_HANDLE)
#define REQUIRE_POINTER(pointer) REQUIRE(pointer, INVALID_NULL_POINTER)

static inline uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What all structures that can be chained through pNext begin with. */
struct chained {
    ze_structure_type_t stype;
    void *pNext;
};

static inline void *chain_find(const void *chain, uint32_t stype)
{
    for (const struct chained *link = chain; link; link = link->pNext)
        if ((uint32_t)link->stype == stype)
            return (void *)link;
    return NULL;
}

static inline void freep(void *pointer)
{
    free(*(void **)pointer);
}

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline bool is_power_of_two(size_t value)
{
    return value && !(value & (value - 1));
}

#endif
