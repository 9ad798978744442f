/* SPDX-License-Identifier: MIT */
/* daemon/worker.h: xpurtd as a build worker, see build.h. */
#pragma once

/* Build what is in descriptor 3; does not return. */
void worker_run(void) __attribute__((noreturn));
