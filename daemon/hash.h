/* SPDX-License-Identifier: MIT */
/* daemon/hash.h: uthash with a hash function whose results no client can foresee. */
#pragma once

#include <stddef.h>

/* Draw the secret, before the first table is made. 0 or -errno. */
int hash_init(void);

unsigned hash_keyed(const void *key, size_t size);

#define HASH_FUNCTION(key, size, ret_hash) ((ret_hash) = hash_keyed((key), (size)))
#include <uthash.h>
