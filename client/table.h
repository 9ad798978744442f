/* SPDX-License-Identifier: MIT */
/* client/table.h: where large tables lie.
 *
 * A session touches little of most tables. Were they to lie among the small variables, each of those
 * would cost a page of its own; so tables lie behind all of them (benchmark row memory-session).
 */
#pragma once

#if defined(__x86_64__)
#define TABLE __attribute__((section(".lbss")))
#else
#define TABLE
#endif
