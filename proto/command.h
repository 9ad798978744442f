/* SPDX-License-Identifier: MIT */
/* proto/command.h: Record and Wait to and from bytes, and what commands may hold.
 *
 * Nearly all commands are one of these two. The bytes are those that protobuf-c writes and reads;
 * writing one takes a third of the time, and a frame of them is done in half (xpurt-bench,
 * record-wait-batched).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COMMAND_SIZE_MAX 40u            /* of what the two functions below write */
#define GRAPH_LAUNCH_MAX 256u           /* commands that one GraphLaunch runs: about a turn */

/* Write ToDaemon.commands with one Record or Wait in it; returns the bytes written. */
size_t command_put_record(uint8_t *out, uint32_t stream, uint64_t value, uint64_t stamp);
size_t command_put_wait(uint8_t *out, uint32_t stream, uint64_t point);

struct command {
    enum { COMMAND_RECORD, COMMAND_WAIT, COMMAND_OTHER } kind;
    uint32_t stream;
    uint64_t value;                     /* of Record; of Wait: the point */
    uint64_t stamp;                     /* of Record */
    const uint8_t *bytes;               /* the Command itself, for protobuf-c when it is another */
    size_t size;
};

/* Read the ToDaemon.commands at the beginning of @p in. The bytes read; 0: there is none, or it is
 * written in a way that only protobuf-c understands. */
size_t command_take(const uint8_t *in, size_t size, struct command *ret_command);
