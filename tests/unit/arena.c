/* SPDX-License-Identifier: MIT */
/* tests/unit/arena.c: the memory a frame is decoded into, and its budget. */
#include "daemon/arena.h"
#include "proto/frame.h"
#include "proto/xpurt.pb-c.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

TestSuite(arena, .timeout = 30);

static struct arena arena;

static void *take(size_t size)
{
    return arena.allocator.alloc(arena.allocator.allocator_data, size);
}

Test(arena, pieces_are_aligned_and_apart)
{
    unsigned char *before = NULL;

    cr_assert_eq(arena_init(&arena, 4096), 0);
    for (size_t size = 1; size < 64; size++) {
        unsigned char *piece = take(size);

        cr_assert_not_null(piece);
        cr_assert_eq((uintptr_t)piece % alignof(max_align_t), 0);
        cr_assert(!before || piece >= before + size - 1);
        memset(piece, 0xff, size);
        before = piece;
    }
    arena_deinit(&arena);
}

Test(arena, the_budget_ends)
{
    cr_assert_eq(arena_init(&arena, 256), 0);
    cr_assert_null(take(257));
    cr_assert_null(take(SIZE_MAX));
    cr_assert_null(take(SIZE_MAX - 14), "rounding up must not wrap");
    cr_assert_not_null(take(240));
    cr_assert_not_null(take(16));
    cr_assert_null(take(1));
    arena_reset(&arena);
    cr_assert_not_null(take(256));
    arena.allocator.free(arena.allocator.allocator_data, arena.bytes); /* nothing happens */
    cr_assert_null(take(1));
    arena_deinit(&arena);
}

/* A frame of thousands of commands decodes within the budget the daemon gives, and one that needs
 * more fails to decode, at whatever point the budget ends. */
Test(arena, decoding_with_any_budget)
{
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Command command = XPURT__COMMAND__INIT, *commands[400];
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;
    static uint8_t bytes[FRAME_PAYLOAD_MAX];
    bool decoded = false;
    size_t size;

    record.stream = 3;
    record.value = 1u << 20;
    command.body_case = XPURT__COMMAND__BODY_RECORD;
    command.record = &record;
    for (size_t i = 0; i < 400; i++)
        commands[i] = &command;
    message.n_commands = 400;
    message.commands = commands;
    size = xpurt__to_daemon__pack(&message, bytes);

    for (size_t budget = 0; !decoded; budget += 512) {
        Xpurt__ToDaemon *back;

        cr_assert_lt(budget, 400u << 10);
        cr_assert_eq(arena_init(&arena, budget + 1), 0);
        back = xpurt__to_daemon__unpack(&arena.allocator, size, bytes);
        decoded = back;
        if (back) {
            cr_assert_eq(back->n_commands, 400);
            cr_assert_eq(back->commands[399]->record->value, 1u << 20);
        }
        arena_deinit(&arena);
    }
}
