/* SPDX-License-Identifier: MIT */
/* proto/hot.h: HOT marks the functions of the way of a Record, from the caller to who waits for it.
 *
 * They lie side by side, in a few pages. Who was asleep finds neither their bytes in the caches nor
 * their pages in the TLB, and the wait for those is most of what such a hand-off costs: together
 * they take a twelfth off it (xpurt-bench, handoff-asleep).
 */
#pragma once

#define HOT __attribute__((hot))
