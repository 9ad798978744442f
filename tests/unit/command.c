/* SPDX-License-Identifier: MIT */
/* tests/unit/command.c: the hand-written codec against protobuf-c, with random and damaged input. */
#include "proto/command.h"
#include "proto/xpurt.pb-c.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 300000

/* Of any length, so that every varint size comes up. */
static uint64_t random_value(void)
{
    uint64_t value = 0;

    for (int i = 0; i < 5; i++)
        value = value << 15 ^ (uint64_t)rand();
    return value >> (rand() % 64);
}

struct sample {
    bool is_record;
    uint32_t stream;
    uint64_t value, stamp;              /* of a Wait: the point is in `value` */
};

static struct sample sample_draw(void)
{
    struct sample sample = { .is_record = rand() % 2, .stream = (uint32_t)random_value() };

    sample.value = random_value() >> 1; /* the codec leaves varints of ten bytes to protobuf-c */
    if (sample.is_record && rand() % 2)
        sample.stamp = random_value();
    if (rand() % 8 == 0)
        sample.stream = 0;
    return sample;
}

static size_t write_ours(const struct sample *sample, uint8_t *out)
{
    return sample->is_record ?
               command_put_record(out, sample->stream, sample->value, sample->stamp) :
               command_put_wait(out, sample->stream, sample->value);
}

static size_t write_theirs(const struct sample *sample, uint8_t *out)
{
    Xpurt__ToDaemon message = XPURT__TO_DAEMON__INIT;
    Xpurt__Command command = XPURT__COMMAND__INIT, *commands = &command;
    Xpurt__Record record = XPURT__RECORD__INIT;
    Xpurt__Wait wait = XPURT__WAIT__INIT;

    if (sample->is_record) {
        record.stream = sample->stream;
        record.value = sample->value;
        record.stamp = sample->stamp;
        command.body_case = XPURT__COMMAND__BODY_RECORD;
        command.record = &record;
    } else {
        wait.stream = sample->stream;
        wait.point = sample->value;
        command.body_case = XPURT__COMMAND__BODY_WAIT;
        command.wait = &wait;
    }
    message.n_commands = 1;
    message.commands = &commands;
    return xpurt__to_daemon__pack(&message, out);
}

Test(command, writes_what_protobuf_writes)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct sample sample = sample_draw();
        uint8_t ours[64], theirs[64];
        size_t size = write_ours(&sample, ours);

        cr_assert_leq(size, COMMAND_SIZE_MAX);
        cr_assert_eq(size, write_theirs(&sample, theirs));
        cr_assert_arr_eq(ours, theirs, size);
    }
}

Test(command, reads_what_it_wrote_and_nothing_shorter)
{
    for (int i = 0; i < ROUNDS / 10; i++) {
        struct sample sample = sample_draw();
        struct command command;
        uint8_t bytes[64];
        size_t size = write_ours(&sample, bytes);

        cr_assert_eq(command_take(bytes, size, &command), size);
        cr_assert_eq(command.kind, sample.is_record ? COMMAND_RECORD : COMMAND_WAIT);
        cr_assert_eq(command.stream, sample.stream);
        cr_assert_eq(command.value, sample.value);
        cr_assert_eq(command.stamp, sample.stamp);
        for (size_t k = 0; k < size; k++)
            cr_assert_eq(command_take(bytes, k, &command), 0);
    }
}

/* What we take for a Record or a Wait protobuf-c reads alike. */
static void compare(const struct command *ours, const uint8_t *bytes, size_t size)
{
    Xpurt__ToDaemon *message = xpurt__to_daemon__unpack(NULL, size, bytes);
    Xpurt__Command *theirs;

    cr_assert(message && message->n_commands == 1);
    theirs = message->commands[0];
    if (ours->kind == COMMAND_RECORD) {
        cr_assert_eq(theirs->body_case, XPURT__COMMAND__BODY_RECORD);
        cr_assert_eq(theirs->record->stream, ours->stream);
        cr_assert_eq(theirs->record->value, ours->value);
        cr_assert_eq(theirs->record->stamp, ours->stamp);
    } else {
        cr_assert_eq(theirs->body_case, XPURT__COMMAND__BODY_WAIT);
        cr_assert_eq(theirs->wait->stream, ours->stream);
        cr_assert_eq(theirs->wait->point, ours->value);
    }
    xpurt__to_daemon__free_unpacked(message, NULL);
}

Test(command, reads_damaged_bytes_as_protobuf_does)
{
    unsigned compared = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct sample sample = sample_draw();
        struct command command;
        uint8_t bytes[64];
        size_t size = write_ours(&sample, bytes), used;

        bytes[(size_t)rand() % size] ^= (uint8_t)(1 << rand() % 8);
        used = command_take(bytes, size, &command);
        if (used && command.kind != COMMAND_OTHER) {
            compare(&command, bytes, used);
            compared++;
        }
    }
    cr_assert_gt(compared, ROUNDS / 10);
}
