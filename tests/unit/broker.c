/* SPDX-License-Identifier: MIT */
/* tests/unit/broker.c: which bytes open what, for whom, and until when. */
#include "daemon/broker.h"
#include "daemon/user.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(broker, .timeout = 30);

static struct limits limits = { .user_exports = 1000 };
static struct user *users, *owner, *stranger;
static struct broker broker;
static int object;

static void begin(void)
{
    cr_assert_eq(broker_init(&broker), 0);
    cr_assert_eq(user_get(&users, 1, NULL, &limits, NULL, &owner), 0);
    cr_assert_eq(user_get(&users, 2, NULL, &limits, NULL, &stranger), 0);
}

static struct token *export(enum handle_kind kind, uint64_t offset)
{
    struct token *token;

    cr_assert(user_charge(owner, CHARGE_EXPORTS, 1));
    cr_assert_eq(broker_export(&broker, owner, kind, &object, offset, &token), 0);
    return token;
}

static xpurt_result find(const struct user *user, enum handle_kind kind, const void *bytes,
                         size_t size)
{
    struct token *token = NULL;
    const char *reason = NULL;
    xpurt_result result = broker_find(&broker, user, kind, bytes, size, &token, &reason);

    cr_assert_not_null(reason);
    if (result == XPURT_SUCCESS) {
        cr_assert_eq(token->object, &object);
        cr_assert_arr_eq(&token->handle, bytes, sizeof(token->handle));
    }
    return result;
}

Test(broker, opens_for_its_user_only, .init = begin)
{
    struct token *token = export(HANDLE_EVENT, 0);
    struct handle handle = token->handle;

    cr_assert_eq(find(owner, HANDLE_EVENT, &handle, sizeof(handle)), XPURT_SUCCESS);
    cr_assert_eq(find(stranger, HANDLE_EVENT, &handle, sizeof(handle)), XPURT_ERROR_PERMISSION);
    cr_assert_eq(find(owner, HANDLE_MEMORY, &handle, sizeof(handle)), XPURT_ERROR_INVALID_HANDLE);
    broker_revoke(&broker, token);
    cr_assert_eq(find(owner, HANDLE_EVENT, &handle, sizeof(handle)), XPURT_ERROR_STALE_HANDLE);
    cr_assert_eq(owner->charged[CHARGE_EXPORTS], 0);
    broker_revoke(&broker, NULL);
    broker_deinit(&broker);
}

Test(broker, any_altered_byte_is_refused, .init = begin)
{
    struct token *token = export(HANDLE_MEMORY, 100);

    for (size_t i = 0; i < sizeof(struct handle); i++)
        for (int bit = 0; bit < 8; bit++) {
            struct handle handle = token->handle;

            ((uint8_t *)&handle)[i] ^= (uint8_t)(1 << bit);
            cr_assert_neq(find(owner, HANDLE_MEMORY, &handle, sizeof(handle)), XPURT_SUCCESS,
                          "bit %d of byte %zu", bit, i);
        }
    broker_revoke(&broker, token);
    broker_deinit(&broker);
}

Test(broker, wrong_sizes, .init = begin)
{
    struct token *token = export(HANDLE_EVENT, 0);
    uint8_t longer[sizeof(struct handle) + 1];

    memcpy(longer, &token->handle, sizeof(struct handle));
    longer[sizeof(struct handle)] = 0;
    cr_assert_eq(find(owner, HANDLE_EVENT, longer, sizeof(longer)), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(find(owner, HANDLE_EVENT, longer, 63), XPURT_ERROR_INVALID_HANDLE);
    cr_assert_eq(find(owner, HANDLE_EVENT, NULL, 0), XPURT_ERROR_INVALID_HANDLE);
    broker_revoke(&broker, token);
    broker_deinit(&broker);
}

/* Another start of the daemon: stale, not wrong. */
Test(broker, another_instance, .init = begin)
{
    struct token *token = export(HANDLE_EVENT, 0);
    struct handle handle = token->handle;
    uint8_t before[16];

    broker_revoke(&broker, token);
    broker_deinit(&broker);
    memcpy(before, broker.instance, sizeof(before));
    cr_assert_eq(broker_init(&broker), 0);
    cr_assert_arr_neq(broker.instance, before, sizeof(before));
    cr_assert_eq(find(owner, HANDLE_EVENT, &handle, sizeof(handle)), XPURT_ERROR_STALE_HANDLE);
}

Test(broker, handles_differ, .init = begin)
{
    struct token *tokens[500];

    for (size_t i = 0; i < 500; i++)
        tokens[i] = export(HANDLE_EVENT, 0);
    for (size_t i = 0; i < 500; i++)
        for (size_t k = 0; k < i; k++)
            cr_assert_arr_neq(&tokens[i]->handle, &tokens[k]->handle, sizeof(struct handle));
    for (size_t i = 0; i < 500; i++)
        broker_revoke(&broker, tokens[i]);
    broker_deinit(&broker);
}
