/* SPDX-License-Identifier: MIT */
/* daemon/log.c: lines on stderr.
 *
 * Guarantees of this file:
 *   - an entry is one line and one write(2): threads never mix theirs;
 *   - control characters (names come from clients) are replaced: nobody forges an entry;
 *   - an entry below the level costs one load.
 */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024u

static atomic_int threshold = LOG_INFO;

static const char *const level_names[] = {
    [LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
    [LOG_ERR] = "error",       [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info",       [LOG_DEBUG] = "debug",
};

void log_set_level(int level)
{
    atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

/* journald names the device and inode of the stream it reads, so that a redirected stderr is not
 * taken for it. */
static bool journald_reads(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_write(int level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    size_t start, length;
    int saved_errno = errno;            /* callers log first and return it then */
    va_list args;
    int n;

    if (level > atomic_load_explicit(&threshold, memory_order_relaxed))
        return;

    if (journald_reads())
        n = snprintf(line, sizeof(line), "<%d>", level);
    else
        n = snprintf(line, sizeof(line), "xpurtd: %s: ", level_names[level & LOG_PRIMASK]);
    start = (size_t)n;

    va_start(args, format);
    n = vsnprintf(line + start, sizeof(line) - start - 1, format, args);
    va_end(args);
    if (n < 0)
        return;

    length = start + (size_t)n;
    if (length > sizeof(line) - 2)
        length = sizeof(line) - 2;      /* cut, with room for the newline */
    for (size_t i = start; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == '\x7f')
            line[i] = '?';
    line[length++] = '\n';

    (void)!write(STDERR_FILENO, line, length);
    errno = saved_errno;
}
