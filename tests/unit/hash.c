/* SPDX-License-Identifier: MIT */
/* tests/unit/hash.c: the hash function of the daemon's tables. */
#include "daemon/hash.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

TestSuite(hash, .timeout = 30);

/* Each bit of the key, and its length, changes half of the bits, whatever the secret. */
Test(hash, every_bit_counts)
{
    unsigned char key[24] = { 0 };
    uint64_t changed = 0, tries = 0;

    for (int secret = 0; secret < 20; secret++) {
        cr_assert_eq(hash_init(), 0);
        for (size_t size = 0; size < sizeof(key); size++) {
            unsigned before = hash_keyed(key, size);

            cr_assert_eq(before, hash_keyed(key, size));
            changed += (unsigned)__builtin_popcount(before ^ hash_keyed(key, size + 1));
            tries++;
            for (size_t bit = 0; bit < 8 * size; bit++) {
                key[bit / 8] ^= (unsigned char)(1u << bit % 8);
                changed += (unsigned)__builtin_popcount(before ^ hash_keyed(key, size));
                key[bit / 8] ^= (unsigned char)(1u << bit % 8);
                tries++;
            }
        }
    }
    cr_assert(changed > tries * 15 && changed < tries * 17, "%g bits of 32",
              (double)changed / (double)tries);
}

/* What meets with one secret does not with the next. */
Test(hash, nobody_can_foresee_it)
{
    enum { KEYS = 100000, BUCKETS = 256 };
    uint64_t met[KEYS / BUCKETS / 2];
    unsigned n = 0, again = 0;

    cr_assert_eq(hash_init(), 0);
    for (uint64_t key = 0; n < sizeof(met) / sizeof(met[0]) && key < KEYS; key++)
        if (hash_keyed(&key, sizeof(key)) % BUCKETS == 0)
            met[n++] = key;
    cr_assert_gt(n, 100);
    cr_assert_eq(hash_init(), 0);
    for (unsigned i = 0; i < n; i++)
        again += hash_keyed(&met[i], sizeof(met[i])) % BUCKETS == 0;
    cr_assert_lt(again, 20, "%u of %u", again, n);
}
