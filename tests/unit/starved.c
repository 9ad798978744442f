/* SPDX-License-Identifier: MIT */
/* tests/unit/starved.c: tables of the daemon when there is no memory: an error, and they stay good.
 * Linked so that malloc() and calloc() of the daemon come here. */
#include "daemon/broker.h"
#include "daemon/user.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(starved, .timeout = 60);

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static unsigned calls, every;           /* this one fails; 0: none */

static bool fails(void)
{
    return every && ++calls % every == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

#define TOKENS 3000

/* So many that the table grows, and each time it may not. The first takes three pieces. */
static void exports(struct user *user)
{
    static struct token *tokens[TOKENS];
    struct broker broker;
    unsigned refused = 0;

    cr_assert_eq(broker_init(&broker), 0);
    for (unsigned i = 0; i < TOKENS; i++) {
        int r = broker_export(&broker, user, HANDLE_EVENT, &tokens[i], i, &tokens[i]);

        cr_assert(r == 0 || r == -ENOMEM, "%d", r);
        if (r)
            tokens[i] = NULL;
        refused += r != 0;
    }
    cr_assert(!every || refused, "nothing was refused");
    cr_assert_lt(refused, TOKENS);
    cr_assert_eq(HASH_COUNT(broker.tokens), TOKENS - refused);
    for (unsigned i = 0; i < TOKENS; i++) {
        struct token *found = NULL;
        const char *reason;

        if (!tokens[i])
            continue;
        cr_assert_eq(broker_find(&broker, user, HANDLE_EVENT, &tokens[i]->handle,
                                 sizeof(tokens[i]->handle), &found, &reason),
                     XPURT_SUCCESS);
        cr_assert_eq(found, tokens[i]);
        broker_discard(&broker, tokens[i]);
    }
    broker_deinit(&broker);
}

Test(starved, tables_stay_good)
{
    struct user *users = NULL, *user;
    struct limits limits = { 0 };

    cr_assert_eq(user_get(&users, 0, NULL, &limits, NULL, &user), 0);
    for (every = 4; every < 20; every++)
        exports(user);
    every = 0;
    exports(user);
    user_unref(user);
}

/* The first of all makes the table, which takes several pieces. */
Test(starved, the_first_one)
{
    struct limits limits = { 0 };

    for (every = 1; every < 8; every++) {
        struct user *users = NULL, *user = NULL;
        int r;

        calls = 0;
        r = user_get(&users, 0, NULL, &limits, NULL, &user);
        cr_assert(r == (every <= 3 ? -ENOMEM : 0), "call %u fails: %d", every, r);
        cr_assert_eq(users, user);
        user_unref(user);
    }
    every = 0;
}
