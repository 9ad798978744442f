/* SPDX-License-Identifier: MIT */
/* bench/fresh.h: what the programs for the rows about fresh processes tell, by their standard input. */
#pragma once

#include "bench/clock.h"
#include "bench/executed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fresh_times {
    uint64_t main_ns;                   /* main() began, */
    uint64_t done_ns;                   /* and this is when all was done */
};

/* The beginning of main(): when that was. */
static inline uint64_t fresh_begin(void)
{
    uint64_t main_ns = now_ns();

    end_with_starter();
    return main_ns;
}

/* The end of main(). */
static inline int fresh_tell(uint64_t main_ns)
{
    struct fresh_times times = { main_ns, now_ns() };

    return write(STDIN_FILENO, &times, sizeof(times)) == sizeof(times) ? EXIT_SUCCESS :
                                                                         EXIT_FAILURE;
}

static inline int fresh_fail(const char *what, const char *why)
{
    fprintf(stderr, "xpurt-bench %s: %s\n", what, why);
    return EXIT_FAILURE;
}
