/* SPDX-License-Identifier: MIT */
/* daemon/stock.h: pieces of memory of one size, of which some that came back are kept for those to
 * come: what is taken and given all the time costs no allocation then. */
#pragma once

#include <stddef.h>

struct stock {
    void *pieces;                       /* each begins with a pointer to the next one */
    unsigned n;
};

/* A piece of @p size bytes, the same for all of a stock; NULL: no memory. */
void *stock_take(struct stock *stock, size_t size);

/* Keep it, unless there are @p most already. */
void stock_give(struct stock *stock, void *piece, unsigned most);

/* Free what is kept. */
void stock_deinit(struct stock *stock);
