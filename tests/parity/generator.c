/* SPDX-License-Identifier: MIT */
/* Parity, generators. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(generators, .init = scene_start, .fini = scene_stop);

static xpurt_generator *generator_on(int device)
{
    xpurt_generator *generator;

    test_ok(xpurt_generator_create(device, &generator));
    return generator;
}

static xpurt_generator *standard_on(int device)
{
    xpurt_generator *generator;

    test_ok(xpurt_generator_get_default(device, &generator));
    return generator;
}

static uint64_t seed_of(xpurt_generator *generator)
{
    uint64_t seed;

    test_ok(xpurt_generator_get_seed(generator, &seed));
    return seed;
}

static uint64_t offset_of(xpurt_generator *generator)
{
    uint64_t offset;

    test_ok(xpurt_generator_get_offset(generator, &offset));
    return offset;
}

static uint64_t advance(xpurt_generator *generator, uint64_t count)
{
    uint64_t seed, offset;

    test_ok(xpurt_generator_philox_engine_inputs(generator, count, &seed, &offset));
    test_require(seed == seed_of(generator), "another seed");
    return offset;
}

Test(generators, parity_N1_seeds)
{
    xpurt_generator *generator = generator_on(last_device);
    uint64_t drawn, again;
    int device;

    cr_assert_eq(XPURT_DEFAULT_SEED, UINT64_C(67280421310721));
    cr_assert_eq(seed_of(generator), XPURT_DEFAULT_SEED);
    cr_assert_eq(offset_of(generator), 0);
    test_ok(xpurt_generator_get_device(generator, &device));
    cr_assert_eq(device, last_device);

    advance(generator, 8);
    test_ok(xpurt_generator_manual_seed(generator, UINT64_MAX));
    cr_assert_eq(seed_of(generator), UINT64_MAX);
    cr_assert_eq(offset_of(generator), 0);
    advance(generator, 8);
    test_ok(xpurt_generator_seed(generator, &drawn));
    cr_assert_eq(seed_of(generator), drawn);
    cr_assert_eq(offset_of(generator), 0);
    cr_assert_eq((uint64_t)(double)drawn, drawn);
    test_ok(xpurt_generator_seed(generator, &again));
    cr_assert_neq(drawn, again);        /* once in 2^53 runs */
    test_ok(xpurt_generator_seed(generator, NULL));
    cr_assert_neq(seed_of(generator), again);
}

Test(generators, parity_N1_default_generators)
{
    xpurt_generator *zero, *one;

    test_ok(xpurt_set_device(last_device));
    zero = standard_on(0);
    one = standard_on(-1);
    cr_assert_eq(zero == one, n_devices == 1);
    cr_assert_eq(standard_on(0), zero);
    cr_assert_eq(standard_on(last_device), one);
    if (n_devices == 2)
        cr_assert_neq(seed_of(zero), seed_of(one));
    cr_assert_neq(seed_of(zero), XPURT_DEFAULT_SEED);
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_destroy(zero));
    cr_assert(said("device 0"));
    test_ok(xpurt_generator_manual_seed(zero, 5));
    test_ok(xpurt_reset());
    cr_assert_eq(standard_on(0), zero);
    cr_assert_eq(seed_of(zero), 5);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_generator_get_default(n_devices, &one));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_generator_create(n_devices, &one));
}

Test(generators, parity_N1_manual_seed_all)
{
    xpurt_generator *own = generator_on(0), *zero = standard_on(0);

    advance(zero, 1);
    test_ok(xpurt_generator_manual_seed_all(42));
    cr_assert_eq(seed_of(zero), 42);
    cr_assert_eq(offset_of(zero), 0);
    cr_assert_eq(seed_of(standard_on(last_device)), 42); /* also one that was not made yet */
    cr_assert_eq(seed_of(own), XPURT_DEFAULT_SEED);
}

Test(generators, parity_N2_state)
{
    static const unsigned char wanted[XPURT_GENERATOR_STATE_SIZE] = {
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x0c, 0xff, 0, 0, 0, 0, 0, 0x80,
    };
    unsigned char state[XPURT_GENERATOR_STATE_SIZE + 8] = { 0 }, odd[XPURT_GENERATOR_STATE_SIZE];
    xpurt_generator *generator = generator_on(0), *copy = generator_on(last_device);

    test_ok(xpurt_generator_manual_seed(generator, UINT64_C(0x0102030405060708)));
    test_ok(xpurt_generator_set_offset(generator, UINT64_C(0x800000000000ff0c)));
    test_ok(xpurt_generator_get_state(generator, state));
    cr_assert_arr_eq(state, wanted, sizeof(wanted));
    test_ok(xpurt_generator_set_state(copy, state, XPURT_GENERATOR_STATE_SIZE));
    cr_assert_eq(seed_of(copy), seed_of(generator));
    cr_assert_eq(offset_of(copy), offset_of(generator));

    test_ok(xpurt_generator_set_state(copy, state, 8));
    cr_assert_eq(seed_of(copy), seed_of(generator));
    cr_assert_eq(offset_of(copy), 0);
    for (size_t size = 0; size <= sizeof(state); size++) {
        if (size == 8 || size == XPURT_GENERATOR_STATE_SIZE)
            continue;
        test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_set_state(copy, state, size));
        cr_assert(said("wrong size"));
    }
    memcpy(odd, wanted, sizeof(odd));
    odd[8] = 0x0d;
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_set_state(copy, odd, sizeof(odd)));
    cr_assert_eq(offset_of(copy), 0);
}

Test(generators, parity_N3_engine_inputs)
{
    xpurt_generator *generator = generator_on(0);
    uint64_t seed = 7, offset = 7;

    cr_assert_eq(advance(generator, 1), 0);
    cr_assert_eq(advance(generator, 4), 4);
    cr_assert_eq(advance(generator, 5), 8);
    cr_assert_eq(advance(generator, 0), 16);
    cr_assert_eq(advance(generator, 3), 16);
    cr_assert_eq(offset_of(generator), 20);
    for (unsigned i = 1; i < 4; i++)
        test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_set_offset(generator, 20 + i));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_generator_philox_engine_inputs(generator, UINT64_MAX, &seed, &offset));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT,
                xpurt_generator_philox_engine_inputs(generator, 1, &seed, NULL));
    cr_assert(seed == 7 && offset == 7);
    cr_assert_eq(offset_of(generator), 20);

    /* The end of the numbers is the beginning; still a multiple of 4. */
    test_ok(xpurt_generator_set_offset(generator, UINT64_MAX - 3));
    cr_assert_eq(advance(generator, 6), UINT64_MAX - 3);
    cr_assert_eq(offset_of(generator), 4);
}

Test(generators, parity_N1_handles_are_checked)
{
    xpurt_generator *generator = generator_on(0), *wrong = (xpurt_generator *)(void *)&xpurtd;
    unsigned char state[XPURT_GENERATOR_STATE_SIZE];
    uint64_t number;

    test_ok(xpurt_generator_destroy(NULL));
    test_ok(xpurt_generator_destroy(generator));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_generator_destroy(generator));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_generator_get_seed(generator, &number));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_generator_get_state(wrong, state));
    test_expect(XPURT_ERROR_INVALID_HANDLE, xpurt_generator_manual_seed(wrong, 1));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_manual_seed(NULL, 1));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_get_state(generator_on(0), NULL));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_generator_create(0, NULL));
}

static void goes_on(int channel, void *data)
{
    uint64_t offset = advance(data, 4);

    test_send(channel, &offset, sizeof(offset));
}

/* A child goes on with a copy: what parent and child draw is the same until one is seeded. */
Test(generators, parity_N1_after_a_fork)
{
    xpurt_generator *generator = standard_on(0);
    struct test_peer child;
    uint64_t there;

    advance(generator, 4);
    test_peer_start(&child, goes_on, generator);
    test_receive(child.channel, &there, sizeof(there));
    test_peer_join(&child);
    cr_assert_eq(there, 4);
    cr_assert_eq(advance(generator, 4), 4);
}
