/* SPDX-License-Identifier: MIT */
/* cpu.h: facts about the CPU. All are read once; the strings are static. */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <stddef.h>
#include <stdint.h>

#define CPU_CACHES 3                    /* levels */

const char *cpu_name(void);
uint32_t cpu_clock_mhz(void);
uint32_t cpu_vendor_id(void);           /* of PCI; 0: unknown */
uint32_t cpu_simd_width(void);          /* in 32-bit lanes */
uint32_t cpu_caches(size_t ret_sizes[CPU_CACHES]);
size_t cpu_cache_line(void);

#endif
