/* SPDX-License-Identifier: MIT */
/* daemon/stock.c: see stock.h.
 *
 * Guarantees of this file: no more is kept than was asked for.
 */
#include "daemon/stock.h"

#include <stdlib.h>

void *stock_take(struct stock *stock, size_t size)
{
    void *piece = stock->pieces;

    if (!piece)
        return malloc(size);
    stock->pieces = *(void **)piece;
    stock->n--;
    return piece;
}

void stock_give(struct stock *stock, void *piece, unsigned most)
{
    if (stock->n == most) {
        free(piece);
        return;
    }
    *(void **)piece = stock->pieces;
    stock->pieces = piece;
    stock->n++;
}

void stock_deinit(struct stock *stock)
{
    while (stock->n)
        free(stock_take(stock, 0));
}
