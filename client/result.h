/* SPDX-License-Identifier: MIT */
/* client/result.h: how a call fails: a code and, for the calling thread, a sentence. */
#pragma once

#include <xpurt/base.h>

/* Remember the sentence for xpurt_last_error() and return @p result. */
xpurt_result error_set(xpurt_result result, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
