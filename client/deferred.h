/* SPDX-License-Identifier: MIT */
/* client/deferred.h: points of a batch that wait for their Record to be sent (order rule 1). */
#pragma once

#include "proto/board.h"

/* Remember to store @p point in @p cell; replaces what the cell had. False when there is no room. */
bool deferred_add(struct board_cell *cell, uint64_t point);

/* What will be stored in @p cell; 0: nothing. */
uint64_t deferred_find(const struct board_cell *cell);

/* The cell has another owner from now on. */
void deferred_forget(const struct board_cell *cell);

/* The records were sent: store the points. */
void deferred_publish(void);

/* The records will never be sent. */
void deferred_drop(void);

/* Store @p point now; @p records: how many were made of it. */
void cell_store(struct board_cell *cell, uint64_t point, uint32_t records);
