/* SPDX-License-Identifier: MIT */
/* proto/cpu.h: which CPU the caller runs on, as rings and boards say it.
 *
 * sched_getcpu(3) reads the same word of the thread's memory; but a call into another library costs who
 * was asleep a page and lines of code that are in no cache.
 */
#pragma once

#include <sched.h>
#include <stdint.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

/* 1 + its number. It is a hint: the caller may be somewhere else by the time it looks at it. */
static inline uint32_t cpu_here(void)
{
    int cpu = -1;

#ifdef RSEQ_SIG                         /* the C library keeps what the kernel says there */
    cpu = (int)((const volatile struct rseq *)((const char *)__builtin_thread_pointer() +
                                               __rseq_offset))
              ->cpu_id;
#endif
    if (cpu < 0)                        /* it does not, here */
        cpu = sched_getcpu();
    return (uint32_t)cpu + 1;
}
