/* SPDX-License-Identifier: MIT */
/* thread.h: the driver's own threads: detached, small, deaf to the application's signals. */
#ifndef SOFT_THREAD_H
#define SOFT_THREAD_H

#include <stdbool.h>

bool thread_start(const char *name, void *(*run)(void *), void *argument);

#endif
