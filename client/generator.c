/* SPDX-License-Identifier: MIT */
/* client/generator.c: seeds and offsets for the Philox family.
 *
 * Guarantees of this file:
 *   - offsets are multiples of 4, and no two calls of philox_engine_inputs get the same numbers;
 *   - the connection's lock guards all: a generator is made only where there was a session, so a
 *     fork never copies one in the middle of a change.
 */
#include "client/connection.h"
#include "client/device.h"
#include "client/pool.h"
#include "client/result.h"
#include "client/session.h"

#include <xpurt/device.h>
#include <xpurt/generator.h>

#include <errno.h>
#include <sys/random.h>

#define GENERATORS_MAX 65536u
#define SEED_BITS 53                    /* a double holds them exactly */
#define PHILOX_STEP 4u                  /* numbers that one round gives */

struct xpurt_generator {
    struct pool_object object;
    uint64_t seed;
    uint64_t offset;
    uint32_t device;
    bool is_default;
};

_Static_assert(sizeof(struct xpurt_generator) <= POOL_OBJECT_SIZE, "fits its place in the pool");

static struct pool generators = { .capacity = GENERATORS_MAX };
static xpurt_generator *defaults[XPURT_DEVICES_MAX];

/* ---- checks -------------------------------------------------------------------------------------- */

/* Take the lock if @p generator can be used. Without XPURT_SUCCESS the lock is not held. */
static xpurt_result generator_enter(xpurt_generator *generator)
{
    if (!generator)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the generator is null");
    connection_lock();
    if (pool_mark_of(&generators, generator) == POOL_LIVE)
        return XPURT_SUCCESS;
    connection_unlock();
    return error_set(XPURT_ERROR_INVALID_HANDLE, "%p is not a live generator", (void *)generator);
}

static xpurt_result nowhere(const char *what)
{
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "there is nowhere to put the %s", what);
}

static xpurt_result offset_check(uint64_t offset)
{
    if (offset % PHILOX_STEP == 0)
        return XPURT_SUCCESS;
    return error_set(XPURT_ERROR_INVALID_ARGUMENT, "an offset is a multiple of %u, %llu is not",
                     PHILOX_STEP, (unsigned long long)offset);
}

/* ---- making --------------------------------------------------------------------------------------- */

static xpurt_result seed_draw(uint64_t *ret_seed)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return system_error("no random seed", -errno);
    *ret_seed = seed >> (64 - SEED_BITS);
    return XPURT_SUCCESS;
}

/* The lock is held. */
static xpurt_result generator_new(uint32_t device, uint64_t seed, xpurt_generator **ret_generator)
{
    xpurt_generator *generator = pool_take(&generators);

    if (!generator)
        return error_set(XPURT_ERROR_OUT_OF_HOST_MEMORY, "there is no room for another generator");
    generator->seed = seed;
    generator->offset = 0;
    generator->device = device;
    generator->is_default = false;
    *ret_generator = generator;
    return XPURT_SUCCESS;
}

/* The lock is held. */
static xpurt_result default_find(uint32_t device, xpurt_generator **ret_generator)
{
    uint64_t seed = 0;
    xpurt_result r = XPURT_SUCCESS;

    if (!defaults[device]) {
        r = seed_draw(&seed);
        if (r == XPURT_SUCCESS)
            r = generator_new(device, seed, &defaults[device]);
        if (r == XPURT_SUCCESS)
            defaults[device]->is_default = true;
    }
    if (r == XPURT_SUCCESS)
        *ret_generator = defaults[device];
    return r;
}

xpurt_result xpurt_generator_create(int device, xpurt_generator **ret_generator)
{
    xpurt_result r;

    if (!ret_generator)
        return nowhere("generator");

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    r = generator_new((uint32_t)device, XPURT_DEFAULT_SEED, ret_generator);
    session_leave();
    return r;
}

xpurt_result xpurt_generator_get_default(int device, xpurt_generator **ret_generator)
{
    xpurt_result r;

    if (!ret_generator)
        return nowhere("generator");

    device = device_choose(device);
    r = device_enter(device);
    if (r)
        return r;
    r = default_find((uint32_t)device, ret_generator);
    session_leave();
    return r;
}

xpurt_result xpurt_generator_destroy(xpurt_generator *generator)
{
    xpurt_result r;

    if (!generator)
        return XPURT_SUCCESS;

    r = generator_enter(generator);
    if (r)
        return r;
    if (generator->is_default)
        r = error_set(XPURT_ERROR_INVALID_ARGUMENT,
                      "the default generator of device %u cannot be destroyed", generator->device);
    else
        pool_give(&generators, &generator->object);
    connection_unlock();
    return r;
}

/* ---- seed and offset --------------------------------------------------------------------------------- */

static xpurt_result position_set(xpurt_generator *generator, uint64_t seed, uint64_t offset)
{
    xpurt_result r = generator_enter(generator);

    if (r)
        return r;
    generator->seed = seed;
    generator->offset = offset;
    connection_unlock();
    return XPURT_SUCCESS;
}

static xpurt_result position_get(xpurt_generator *generator, uint64_t *ret_seed,
                                 uint64_t *ret_offset)
{
    xpurt_result r = generator_enter(generator);

    if (r)
        return r;
    *ret_seed = generator->seed;
    *ret_offset = generator->offset;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_generator_get_device(xpurt_generator *generator, int *ret_device)
{
    xpurt_result r;

    if (!ret_device)
        return nowhere("device");

    r = generator_enter(generator);
    if (r)
        return r;
    *ret_device = (int)generator->device;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_generator_manual_seed(xpurt_generator *generator, uint64_t seed)
{
    return position_set(generator, seed, 0);
}

xpurt_result xpurt_generator_manual_seed_all(uint64_t seed)
{
    xpurt_result r = xpurt_init();
    int count = xpurt_device_count();

    for (int device = 0; device < count && r == XPURT_SUCCESS; device++) {
        xpurt_generator *generator = NULL;

        r = xpurt_generator_get_default(device, &generator);
        if (r == XPURT_SUCCESS)
            r = xpurt_generator_manual_seed(generator, seed);
    }
    return r;
}

xpurt_result xpurt_generator_seed(xpurt_generator *generator, uint64_t *ret_seed)
{
    uint64_t seed = 0;
    xpurt_result r;

    r = seed_draw(&seed);
    if (r == XPURT_SUCCESS)
        r = position_set(generator, seed, 0);
    if (r == XPURT_SUCCESS && ret_seed)
        *ret_seed = seed;
    return r;
}

xpurt_result xpurt_generator_get_seed(xpurt_generator *generator, uint64_t *ret_seed)
{
    uint64_t offset;

    return ret_seed ? position_get(generator, ret_seed, &offset) : nowhere("seed");
}

xpurt_result xpurt_generator_get_offset(xpurt_generator *generator, uint64_t *ret_offset)
{
    uint64_t seed;

    return ret_offset ? position_get(generator, &seed, ret_offset) : nowhere("offset");
}

xpurt_result xpurt_generator_set_offset(xpurt_generator *generator, uint64_t offset)
{
    xpurt_result r = offset_check(offset);

    if (r == XPURT_SUCCESS)
        r = generator_enter(generator);
    if (r)
        return r;
    generator->offset = offset;
    connection_unlock();
    return XPURT_SUCCESS;
}

xpurt_result xpurt_generator_philox_engine_inputs(xpurt_generator *generator, uint64_t count,
                                                  uint64_t *ret_seed, uint64_t *ret_offset)
{
    xpurt_result r;

    if (!ret_seed || !ret_offset)
        return nowhere("seed and offset");
    if (count > UINT64_MAX - (PHILOX_STEP - 1))
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "no kernel draws %llu numbers",
                         (unsigned long long)count);

    r = generator_enter(generator);
    if (r)
        return r;
    *ret_seed = generator->seed;
    *ret_offset = generator->offset;
    generator->offset += (count + PHILOX_STEP - 1) / PHILOX_STEP * PHILOX_STEP;
    connection_unlock();
    return XPURT_SUCCESS;
}

/* ---- state -------------------------------------------------------------------------------------------- */

static void little_endian_write(unsigned char bytes[8], uint64_t number)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
}

static uint64_t little_endian_read(const unsigned char bytes[8])
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

xpurt_result xpurt_generator_get_state(xpurt_generator *generator,
                                       unsigned char ret_state[XPURT_GENERATOR_STATE_SIZE])
{
    uint64_t seed, offset;
    xpurt_result r;

    if (!ret_state)
        return nowhere("state");

    r = position_get(generator, &seed, &offset);
    if (r)
        return r;
    little_endian_write(ret_state, seed);
    little_endian_write(ret_state + 8, offset);
    return XPURT_SUCCESS;
}

xpurt_result xpurt_generator_set_state(xpurt_generator *generator, const unsigned char *state,
                                       size_t size)
{
    uint64_t offset;
    xpurt_result r;

    if (!state)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT, "the state is null");
    if (size != XPURT_GENERATOR_STATE_SIZE && size != 8)
        return error_set(XPURT_ERROR_INVALID_ARGUMENT,
                         "wrong size: a state has %d bytes or 8, not %zu",
                         XPURT_GENERATOR_STATE_SIZE, size);

    offset = size == 8 ? 0 : little_endian_read(state + 8);
    r = offset_check(offset);
    return r ? r : position_set(generator, little_endian_read(state), offset);
}
