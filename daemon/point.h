/* SPDX-License-Identifier: MIT */
/* daemon/point.h: where a point of whomever's timeline stands, and what to say about it. */
#pragma once

#include <xpurt/base.h>

#include <stddef.h>
#include <stdint.h>

struct gpu_slot;
struct runtime;
struct user;

/* Where a point stands. LOST: it will not be reached. REFUSED: another user's, or nobody's. */
enum point_state { POINT_REACHED, POINT_RUNNING, POINT_UNSUBMITTED, POINT_LOST, POINT_REFUSED };

/* Where @p point stands, for a stream of @p user. RUNNING: *ret_slot is signalled then. */
enum point_state point_look(struct runtime *runtime, struct user *user, uint64_t point,
                            struct gpu_slot **ret_slot);

/* Why a point that is LOST will not be reached, as those who wait for it are told. */
xpurt_result point_error(struct runtime *runtime, uint64_t point);

/* Whose @p point is, for a message. */
void point_describe(struct runtime *runtime, uint64_t point, char *text, size_t size);

/* How a sentence about a point that is LOST ends. */
const char *point_fate(struct runtime *runtime, uint64_t point);
