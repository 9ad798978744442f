/* SPDX-License-Identifier: MIT */
/**
 * @file generator.h
 * Generators: the seed and offset that kernels of the Philox family of random numbers start from.
 *
 * A generator belongs to this process and needs the daemon only to know that its device exists. A
 * forked child goes on with copies of its parent's generators: what both draw is the same until
 * one of them is seeded.
 */
#ifndef XPURT_GENERATOR_H
#define XPURT_GENERATOR_H

#include <xpurt/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xpurt_generator xpurt_generator;

/** The seed of a generator that was not seeded. */
#define XPURT_DEFAULT_SEED UINT64_C(67280421310721)

/** Bytes of a generator's state: seed, then offset, each little endian. */
#define XPURT_GENERATOR_STATE_SIZE 16

/**
 * Make a generator with the seed XPURT_DEFAULT_SEED and offset 0.
 * @param device  its index; negative: the current one
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_DEVICE; XPURT_ERROR_OUT_OF_HOST_MEMORY; or why there
 *         is no connection
 * @note thread-safe, as are all calls of this file.
 */
XPURT_API xpurt_result xpurt_generator_create(int device, xpurt_generator **ret_generator);

/**
 * Destroy a generator. Null is a no-op.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT for a default one
 */
XPURT_API xpurt_result xpurt_generator_destroy(xpurt_generator *generator);

/**
 * The default generator of @p device (negative: the current one), made on first use with a random
 * seed. It lives as long as the process, also through xpurt_reset().
 * @return as xpurt_generator_create()
 * @note Like torch.xpu.default_generators.
 */
XPURT_API xpurt_result xpurt_generator_get_default(int device, xpurt_generator **ret_generator);

/** The device of a generator. XPURT_ERROR_INVALID_HANDLE, XPURT_ERROR_INVALID_ARGUMENT. */
XPURT_API xpurt_result xpurt_generator_get_device(xpurt_generator *generator, int *ret_device);

/** Set the seed, and the offset to 0. */
XPURT_API xpurt_result xpurt_generator_manual_seed(xpurt_generator *generator, uint64_t seed);

/**
 * manual_seed for the default generators of all devices, also those that were not made yet.
 * @return XPURT_SUCCESS, or why there is no connection
 * @note Like torch.xpu.manual_seed_all.
 */
XPURT_API xpurt_result xpurt_generator_manual_seed_all(uint64_t seed);

/**
 * Set the seed to a random number of 53 bits, which a double holds exactly, and the offset to 0.
 * @param ret_seed  the number drawn; may be null
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_SYSTEM
 */
XPURT_API xpurt_result xpurt_generator_seed(xpurt_generator *generator, uint64_t *ret_seed);

/** The seed set last. */
XPURT_API xpurt_result xpurt_generator_get_seed(xpurt_generator *generator, uint64_t *ret_seed);

/** Set the offset; XPURT_ERROR_INVALID_ARGUMENT unless it is a multiple of 4. */
XPURT_API xpurt_result xpurt_generator_set_offset(xpurt_generator *generator, uint64_t offset);
XPURT_API xpurt_result xpurt_generator_get_offset(xpurt_generator *generator, uint64_t *ret_offset);

/**
 * The state, to be kept or set elsewhere.
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_HANDLE; XPURT_ERROR_INVALID_ARGUMENT
 */
XPURT_API xpurt_result xpurt_generator_get_state(
    xpurt_generator *generator, unsigned char ret_state[XPURT_GENERATOR_STATE_SIZE]);

/**
 * Set the state.
 * @param size  XPURT_GENERATOR_STATE_SIZE, or 8: a seed alone, with offset 0
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT for a wrong size and for an offset that is
 *         no multiple of 4; XPURT_ERROR_INVALID_HANDLE
 */
XPURT_API xpurt_result xpurt_generator_set_state(xpurt_generator *generator,
                                                 const unsigned char *state, size_t size);

/**
 * What a kernel that draws up to @p count numbers in each thread starts from. The generator moves
 * on by @p count rounded up to a multiple of 4, so no two kernels draw the same numbers.
 * @param ret_seed    the seed
 * @param ret_offset  the offset before
 * @return XPURT_SUCCESS; XPURT_ERROR_INVALID_ARGUMENT; XPURT_ERROR_INVALID_HANDLE
 * @note Like at::CUDAGeneratorImpl::philox_engine_inputs.
 */
XPURT_API xpurt_result xpurt_generator_philox_engine_inputs(xpurt_generator *generator,
                                                            uint64_t count, uint64_t *ret_seed,
                                                            uint64_t *ret_offset);

#ifdef __cplusplus
}
#endif

#endif
