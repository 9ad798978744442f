/* SPDX-License-Identifier: MIT */
/* daemon/hash.c: SipHash-1-3.
 *
 * Guarantees of this file: clients choose many of the keys that the daemon looks up; whatever they
 * choose, lists of the tables stay short.
 */
#include "daemon/hash.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static uint64_t secret[2];

int hash_init(void)
{
    return getrandom(secret, sizeof(secret), 0) == sizeof(secret) ? 0 : -EIO;
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void stir(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    stir(v);
    v[0] ^= word;
}

unsigned hash_keyed(const void *key, size_t size)
{
    uint64_t v[4] = { secret[0] ^ UINT64_C(0x736f6d6570736575),
                      secret[1] ^ UINT64_C(0x646f72616e646f6d),
                      secret[0] ^ UINT64_C(0x6c7967656e657261),
                      secret[1] ^ UINT64_C(0x7465646279746573) };
    const unsigned char *bytes = key;
    uint64_t word, last = (uint64_t)size << 56;

    for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        absorb(v, word);
    }
    for (size_t i = 0; i < size; i++)
        last |= (uint64_t)bytes[i] << 8 * i;
    absorb(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        stir(v);
    return (unsigned)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}
