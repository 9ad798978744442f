/* SPDX-License-Identifier: MIT */
/* proto/board.c: sleeping and waking on words of a board.
 *
 * Guarantees of this file: a bump of the word before board_wake() is never slept through, because
 * the kernel compares the word under the same lock that the waker takes.
 */
#include "proto/board.h"

#include "proto/hot.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

HOT bool board_wake(_Atomic uint32_t *word)
{
    return syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) > 0;
}

HOT void board_sleep(const _Atomic uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
    struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / 1000000000u),
        .tv_nsec = (long)(timeout_ns % 1000000000u),
    };

    (void)syscall(SYS_futex, (const uint32_t *)word, FUTEX_WAIT, seen,
                  timeout_ns == UINT64_MAX ? NULL : &timeout, NULL, 0);
}
