/* SPDX-License-Identifier: MIT */
/* proto/command.c: see command.h.
 *
 * Guarantees of this file: nothing is read beyond the given size; what is not surely a Record or a
 * Wait of today's schema is left to protobuf-c, unknown fields and odd lengths included.
 */
#include "proto/command.h"

#include "proto/hot.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define VARINT 0u
#define FIXED64 1u
#define BYTES 2u
#define TAG(field, wire) ((uint8_t)((field) << 3 | (wire)))

#define COMMANDS TAG(1, BYTES)          /* ToDaemon.commands */
#define RECORD TAG(1, BYTES)            /* Command.record */
#define WAIT TAG(2, BYTES)              /* Command.wait */
#define FIELDS 4                        /* Record has 1 to 3, Wait 1 and 2 */

/* The tag of each field in the byte of its number. */
#define FIELD_TAG(field, wire) ((uint32_t)TAG(field, wire) << 8 * (field))
#define RECORD_TAGS (FIELD_TAG(1, VARINT) | FIELD_TAG(2, VARINT) | FIELD_TAG(3, FIXED64))
#define WAIT_TAGS (FIELD_TAG(1, VARINT) | FIELD_TAG(2, FIXED64))

HOT static uint8_t *put_varint(uint8_t *out, unsigned field, uint64_t value)
{
    if (!value)
        return out;                     /* as protobuf does */
    *out++ = TAG(field, VARINT);
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

HOT static uint8_t *put_fixed64(uint8_t *out, unsigned field, uint64_t value)
{
    if (!value)
        return out;
    *out++ = TAG(field, FIXED64);
    value = htole64(value);
    memcpy(out, &value, sizeof(value));
    return out + sizeof(value);
}

/* The lengths in front of a body that ends at @p end; the bytes of all. */
HOT static size_t finish(uint8_t *out, uint8_t kind, const uint8_t *end)
{
    out[0] = COMMANDS;
    out[1] = (uint8_t)(end - out - 2);
    out[2] = kind;
    out[3] = (uint8_t)(end - out - 4);
    return (size_t)(end - out);
}

HOT size_t command_put_record(uint8_t *out, uint32_t stream, uint64_t value, uint64_t stamp)
{
    uint8_t *end = out + 4;

    end = put_varint(end, 1, stream);
    end = put_varint(end, 2, value);
    end = put_fixed64(end, 3, stamp);
    return finish(out, RECORD, end);
}

size_t command_put_wait(uint8_t *out, uint32_t stream, uint64_t point)
{
    uint8_t *end = out + 4;

    end = put_varint(end, 1, stream);
    end = put_fixed64(end, 2, point);
    return finish(out, WAIT, end);
}

/* NULL: not a varint of 64 bits at most. */
HOT static const uint8_t *take_varint(const uint8_t *in, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; in < end && shift < 63; shift += 7) {
        value |= (uint64_t)(*in & 0x7f) << shift;
        if (!(*in++ & 0x80)) {
            *ret_value = value;
            return in;
        }
    }
    return NULL;
}

/* Fields that have the wire types of @p tags; false when there are others. */
HOT static bool take_fields(const uint8_t *in, const uint8_t *end, uint32_t tags,
                            uint64_t values[FIELDS])
{
    while (in && in < end) {
        unsigned field = *in >> 3;

        if (!field || field >= FIELDS || *in != (uint8_t)(tags >> 8 * field))
            return false;
        if (*in++ == TAG(field, VARINT)) {
            in = take_varint(in, end, &values[field]);
        } else {
            if (end - in < 8)
                return false;
            memcpy(&values[field], in, 8);
            values[field] = le64toh(values[field]);
            in += 8;
        }
    }
    return in;
}

HOT size_t command_take(const uint8_t *in, size_t size, struct command *ret_command)
{
    uint64_t values[FIELDS] = { 0 };
    struct command command = { .kind = COMMAND_OTHER };
    const uint8_t *body;
    uint64_t length;

    if (size < 2 || in[0] != COMMANDS)
        return 0;
    body = take_varint(in + 1, in + size, &length);
    if (!body || length > (size_t)(in + size - body))
        return 0;
    command.bytes = body;
    command.size = (size_t)length;
    if (length >= 2 && (body[0] == RECORD || body[0] == WAIT) && body[1] + 2u == length) {
        bool record = body[0] == RECORD;

        if (take_fields(body + 2, body + length, record ? RECORD_TAGS : WAIT_TAGS, values)) {
            command.kind = record ? COMMAND_RECORD : COMMAND_WAIT;
            command.stream = (uint32_t)values[1];
            command.value = values[2];
            command.stamp = values[3];
        }
    }
    *ret_command = command;
    return (size_t)(body - in) + command.size;
}
