/* SPDX-License-Identifier: MIT */
/* tests/unit/user.c: accounts. */
#include "daemon/user.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(user, .timeout = 30);

static struct limits limits;
static struct user *users;

static struct user *get(uid_t uid)
{
    struct user *user = NULL;

    cr_assert_eq(user_get(&users, uid, NULL, &limits, NULL, &user), 0);
    return user;
}

Test(user, one_for_each_uid)
{
    struct user *a = get(1000), *b = get(1001), *again = get(1000);

    cr_assert_eq(a, again);
    cr_assert_neq(a, b);
    user_unref(again);
    user_unref(a);
    cr_assert_eq(HASH_COUNT(users), 1);
    user_unref(b);
    cr_assert_null(users);
    user_unref(NULL);
}

Test(user, exactly_the_limit)
{
    struct user *user;

    limits.user_streams = 3;
    user = get(0);
    for (int i = 0; i < 3; i++)
        cr_assert(user_charge(user, CHARGE_STREAMS, 1));
    cr_assert_not(user_charge(user, CHARGE_STREAMS, 1));
    cr_assert(user_charge(user, CHARGE_STREAMS, 0));
    user_discharge(user, CHARGE_STREAMS, 1);
    cr_assert_not(user_charge(user, CHARGE_STREAMS, 2));
    cr_assert(user_charge(user, CHARGE_STREAMS, 1));
    user_discharge(user, CHARGE_STREAMS, 3);
    user_unref(user);
}

Test(user, amounts_do_not_wrap)
{
    struct user *user;

    limits.user_memory = UINT64_MAX;
    user = get(0);
    cr_assert(user_charge(user, CHARGE_MEMORY, UINT64_MAX - 1));
    cr_assert_not(user_charge(user, CHARGE_MEMORY, 2));
    cr_assert_not(user_charge(user, CHARGE_MEMORY, UINT64_MAX));
    cr_assert(user_charge(user, CHARGE_MEMORY, 1));
    cr_assert_not(user_charge(user, CHARGE_MEMORY, 1));
    user_discharge(user, CHARGE_MEMORY, UINT64_MAX);
    user_unref(user);
}

/* The configuration was read again while things were charged. */
Test(user, a_limit_lowered_below_what_is_charged)
{
    struct user *user;

    limits.user_exports = 10;
    user = get(0);
    cr_assert(user_charge(user, CHARGE_EXPORTS, 8));
    limits.user_exports = 5;
    cr_assert_not(user_charge(user, CHARGE_EXPORTS, 1));
    user_discharge(user, CHARGE_EXPORTS, 4);
    cr_assert(user_charge(user, CHARGE_EXPORTS, 1));
    cr_assert_not(user_charge(user, CHARGE_EXPORTS, 1));
    user_discharge(user, CHARGE_EXPORTS, 5);
    user_unref(user);
}

#define SLACK (UINT64_C(22) << 20)      /* a segment of each size may have been begun */

/* Each kind has a limit of its own, named user_<name>. */
Test(user, kinds_have_their_own_limits)
{
    for (unsigned i = 0; i < CHARGE_COUNT; i++) {
        memset(&limits, 0, sizeof(limits));
        for (unsigned k = 0; k < CHARGE_COUNT; k++)
            cr_assert_eq(charge_limit(&limits, k), k == CHARGE_RESERVED ? SLACK : 0);
        cr_assert(strlen(charge_name(i)) > 0);
        for (unsigned k = 0; k < i; k++)
            cr_assert_str_neq(charge_name(i), charge_name(k));
    }
    limits.user_sessions = 1;
    limits.user_streams = 2;
    limits.user_exports = 3;
    limits.user_leases = 4;
    limits.user_allocations = 5;
    limits.user_segments = 6;
    limits.user_memory = 7;
    limits.user_host_memory = 8;
    cr_assert_eq(charge_limit(&limits, CHARGE_SESSIONS), 1);
    cr_assert_eq(charge_limit(&limits, CHARGE_STREAMS), 2);
    cr_assert_eq(charge_limit(&limits, CHARGE_EXPORTS), 3);
    cr_assert_eq(charge_limit(&limits, CHARGE_LEASES), 4);
    cr_assert_eq(charge_limit(&limits, CHARGE_ALLOCATIONS), 5);
    cr_assert_eq(charge_limit(&limits, CHARGE_SEGMENTS), 6);
    cr_assert_eq(charge_limit(&limits, CHARGE_MEMORY), 7);
    cr_assert_eq(charge_limit(&limits, CHARGE_RESERVED), 7 + SLACK);
    cr_assert_eq(charge_limit(&limits, CHARGE_HOST_MEMORY), 8);
    limits.user_memory = UINT64_MAX - 1;
    cr_assert_eq(charge_limit(&limits, CHARGE_RESERVED), UINT64_MAX);
}
