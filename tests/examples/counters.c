/* SPDX-License-Identifier: MIT */
/* tests/examples/counters.c: print what the daemon has in use, one "name value" in each line.
 *
 * Counters that only ever grow and limits are left out, so that two outputs can be compared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xpurt/xpurt.h>

#define COUNTERS_MAX 128

static int in_use(const char *name)
{
    static const char *const names[] = { "sessions", "streams", "boards", "handles", "queued" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return 1;
    return strncmp(name, "user-", 5) == 0 && strcmp(name, "user-reserved") != 0; /* a cache */
}

int main(void)
{
    xpurt_counter counters[COUNTERS_MAX];
    size_t count = 0, printed = 0;
    xpurt_result r = xpurt_daemon_counters(COUNTERS_MAX, counters, &count);

    if (r) {
        fprintf(stderr, "%s: %s\n", xpurt_result_name(r), xpurt_last_error());
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count && i < COUNTERS_MAX; i++) {
        if (!in_use(counters[i].name))
            continue;
        printf("%s %" PRIu64 "\n", counters[i].name, counters[i].value);
        printed++;
    }
    return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}
