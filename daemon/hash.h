/* SPDX-License-Identifier: MIT */
/* daemon/hash.h: uthash with a hash function whose results no client can foresee, and without its
 * habit of ending the process when there is no memory. */
#pragma once

#include <stddef.h>

/* Draw the secret, before the first table is made. 0 or -errno. */
int hash_init(void);

unsigned hash_keyed(const void *key, size_t size);

#define HASH_FUNCTION(key, size, ret_hash) ((ret_hash) = hash_keyed((key), (size)))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* To be asked after each HASH_ADD(): false when there was no memory for the table. */
#define HASH_ADDED(hh, element) ((element)->hh.tbl != NULL)
