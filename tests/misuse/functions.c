/* SPDX-License-Identifier: MIT */
/* tests/misuse/functions.c: each public function with each kind of wrong argument.
 *
 * For each argument of each function (functions.h) all others are right, and this one is wrong in
 * every way that its kind can be: null, a random pointer, one to the stack, an object of another
 * type, one that was destroyed, one of before a reset, one of another process, an unknown flag...
 * The call must fail with a sentence that names what is wrong and leave its out-parameters alone;
 * the process goes on, and a bystander never notices. With all arguments right it must not say that
 * one is wrong, so that the test cannot pass because everything is refused.
 *
 *      functions [--list]          the names of the public functions known here
 */
#include "tests/misuse/functions.h"

#include "tests/misuse/bystander.h"
#include "tests/misuse/cast.h"
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- the table --------------------------------------------------------------------------------- */

#define P(i) ((void *)argument[i])
#define N(i) (argument[i])

#define DEFINE_RESULT(name, kinds, ...) \
    static xpurt_result call_##name(const uintptr_t *argument) \
    { \
        (void)argument; \
        return CALL(name)(__VA_ARGS__); \
    }
#define DEFINE_GUARD(name, kinds, ...) \
    static xpurt_result call_##name(const uintptr_t *argument) \
    { \
        return CALL(name)(__VA_ARGS__).result; \
    }
#define DEFINE_ANSWER(name, kinds, ...) \
    static xpurt_result call_##name(const uintptr_t *argument) \
    { \
        (void)argument; \
        (void)CALL(name)(__VA_ARGS__); \
        return XPURT_SUCCESS; \
    }

#define CALL(name) name
FUNCTIONS(DEFINE_RESULT, DEFINE_GUARD, DEFINE_ANSWER)
#undef CALL
#define CALL(name) xpurt_guard_table_get()->name
TABLE(DEFINE_RESULT, DEFINE_GUARD, DEFINE_ANSWER)
#undef CALL

struct function {
    const char *name, *kinds;
    xpurt_result (*call)(const uintptr_t *argument);
    bool tells;                         /* whether it returns errors */
};

#define ROW_RESULT(name, kinds, ...) { #name, kinds, call_##name, true },
#define ROW_ANSWER(name, kinds, ...) { #name, kinds, call_##name, false },

static const struct function functions[] = {
    FUNCTIONS(ROW_RESULT, ROW_RESULT, ROW_ANSWER) /* exported, as many as --list shows */
    { NULL, NULL, NULL, false },
    TABLE(ROW_RESULT, ROW_RESULT, ROW_ANSWER)
};

#define N_FUNCTIONS (sizeof(functions) / sizeof(functions[0]))

/* ---- calling ----------------------------------------------------------------------------------- */

static unsigned failures, calls;

static void complain(const struct function *function, int i, const char *what, const char *why)
{
    failures++;
    fprintf(stderr, "%s, argument %d is %s: %s\n", function->name, i, what, why);
}

/* Out-parameters other than @p except are as they were. */
static bool untouched(const struct function *function, int except)
{
    for (int i = 0; function->kinds[i]; i++)
        for (unsigned k = 0; i != except && function->kinds[i] == 'o' && k < OUT_SIZE; k++)
            if (cast_out[i][k] != OUT_BYTE)
                return false;
    return true;
}

static void call_wrong(const struct function *function, const uintptr_t *arguments, int i,
                       const char *what)
{
    char why[700];
    const char *word = cast_word(function->kinds[i], arguments[i]);
    xpurt_result r;

    (void)xpurt_batch_end();            /* leaves a sentence of its own */
    calls++;
    r = function->call(arguments);
    snprintf(why, sizeof(why), "%s: \"%s\"", xpurt_result_name(r), xpurt_last_error());
    if (!function->tells)
        return;
    if (r < XPURT_ERROR_INVALID_ARGUMENT)
        complain(function, i, what, why);
    else if (strcmp(xpurt_last_error(), "no batch is open") == 0 || !xpurt_last_error()[0])
        complain(function, i, what, "there is no sentence");
    else if (!strstr(xpurt_last_error(), word))
        complain(function, i, what, why);
    else if (!untouched(function, i))
        complain(function, i, what, "an out-parameter was changed");
}

static void arguments_right(const struct function *function, uintptr_t *ret_arguments)
{
    for (int i = 0; function->kinds[i]; i++)
        ret_arguments[i] = cast_right(function->kinds[i], i);
}

/* All right: whatever the call does, it does not complain of an argument. */
static void call_right(const struct function *function)
{
    uintptr_t arguments[ARGUMENTS_MAX] = { 0 };
    xpurt_result r;

    for (const char *kind = function->kinds; *kind; kind++)
        if (!cast_has(*kind))
            return;
    arguments_right(function, arguments);
    calls++;
    r = function->call(arguments);
    if (r >= XPURT_ERROR_INVALID_ARGUMENT && r != XPURT_ERROR_UNSUPPORTED &&
        strcmp(function->name, "xpurt_batch_end"))
        complain(function, -1, "right, like all", xpurt_last_error());
    if (r == XPURT_SUCCESS && strncmp(function->name, "xpurt_module_load", 17) == 0)
        test_ok(xpurt_module_unload(*(xpurt_module **)arguments[strlen(function->kinds) - 1]));
    if (r >= XPURT_ERROR_INVALID_ARGUMENT && !untouched(function, -1))
        complain(function, -1, "right, like all", "it failed, but an out-parameter was changed");
}

static void misuse(const struct function *function, const struct foreign *foreign)
{
    uintptr_t arguments[ARGUMENTS_MAX] = { 0 };
    struct wrongs wrongs;

    test_require(strlen(function->kinds) <= ARGUMENTS_MAX, "%s", function->name);
    cast_make(foreign);
    for (int i = 0; function->kinds[i]; i++) {
        cast_wrong(function->kinds[i], &wrongs);
        for (unsigned k = 0; k < wrongs.count; k++) {
            arguments_right(function, arguments);
            arguments[i] = wrongs.list[k].value;
            call_wrong(function, arguments, i, wrongs.list[k].what);
        }
    }
    call_right(function);
}

/* ---- others ------------------------------------------------------------------------------------ */

/* Has more objects than we do, and keeps them. */
static void be_foreign(int channel, void *data)
{
    struct foreign foreign;

    (void)data;
    for (int i = 0; i < 300; i++) {
        test_ok(xpurt_event_create(0, &foreign.event));
        test_ok(xpurt_generator_create(0, &foreign.generator));
        if (i < 100)
            test_ok(xpurt_stream_create(&foreign.stream));
    }
    test_ok(xpurt_malloc((void **)&foreign.memory, 4096));
    test_send(channel, &foreign, sizeof(foreign));
    test_await(channel);
}

/* What a child inherited: streams are refused, by each function that takes one. */
static void be_forked(int channel, void *data)
{
    (void)channel;
    (void)data;
    for (size_t f = 0; f < N_FUNCTIONS; f++) {
        const struct function *function = &functions[f];
        uintptr_t arguments[ARGUMENTS_MAX] = { 0 };
        const char *at = function->name ? strpbrk(function->kinds, "sSTl") : NULL;

        if (!at || !function->tells)
            continue;
        arguments_right(function, arguments);
        calls++;
        test_expect(XPURT_ERROR_FORKED, function->call(arguments));
        test_require(strstr(xpurt_last_error(), "fork"), "%s: %s", function->name,
                     xpurt_last_error());
    }
    test_require(!xpurt_is_initialized(), "being refused has made a session");
}

static void misuse_after_fork(const struct foreign *foreign)
{
    struct test_peer child;

    cast_make(foreign);
    test_peer_start(&child, be_forked, NULL);
    test_peer_join(&child);
}

static int list(void)
{
    for (const struct function *function = functions; function->name; function++)
        puts(function->name);
    return 0;
}

int main(int argc, char **argv)
{
    struct bystander bystander;
    struct test_daemon xpurtd;
    struct test_peer stranger;
    struct foreign foreign;

    if (argc > 1 && strcmp(argv[1], "--list") == 0)
        return list();
    test_daemon_start(&xpurtd, NULL);
    bystander_start(&bystander);
    test_peer_start(&stranger, be_foreign, NULL);
    test_receive(stranger.channel, &foreign, sizeof(foreign));

    for (size_t i = 0; i < N_FUNCTIONS; i++)
        if (functions[i].name)
            misuse(&functions[i], &foreign);
    misuse_after_fork(&foreign);
    bystander_stop(&bystander);
    test_pass(stranger.channel);
    test_peer_join(&stranger);
    cast_end();
    test_ok(xpurt_reset());
    test_daemon_await_counter("sessions", 1);
    test_daemon_await_counter("handles", 0);
    test_daemon_await_counter("user-allocations", 0);
    test_daemon_await_counter("user-segments", 0);
    test_ok(xpurt_reset());
    printf("%zu functions, %u calls, %u failures\n", N_FUNCTIONS - 1, calls, failures);
    return test_daemon_stop(&xpurtd) || failures ? 1 : 0;
}
