/* SPDX-License-Identifier: MIT */
/* daemon/log.h: what people read: one line an entry, priorities as journald wants them. */
#pragma once

#include <syslog.h>

void log_set_level(int level);

/* printf to stderr with "<level>" in front when journald reads it, with the level's name else. */
void log_write(int level, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

#define log_error(...) log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
