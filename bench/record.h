/* SPDX-License-Identifier: MIT */
/* bench/record.h: what rows and peers about recording have in common. */
#pragma once

/* Calls timed at a time: few enough that no socket is full, so that the caller's cost is measured
 * and not the reader's speed. */
#define RECORD_BURST 64

/* Bytes of a frame with one Record on the first stream: header 8, command 2, body 2, value 4. So large
 * are values from the 16,384th to the two millionth record, which is most of a row. */
#define RECORD_FRAME_SIZE 16

/* A pause after which everybody who can sleep does. */
#define ASLEEP_NS 1000000
