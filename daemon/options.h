/* SPDX-License-Identifier: MIT */
/* daemon/options.h: the command line. */
#pragma once

#include "daemon/config.h"

/* Borrowed from argv; NULL where not given. */
struct options {
    const char *file;
    const char *device;
    const char *socket;
    const char *log_level;
    bool check;                         /* print the effective configuration and leave */
    bool build_worker;                  /* be one, see worker.h: nothing else counts */
};

/* 0; > 0: help or version was printed; -EINVAL: what is wrong was printed, with a hint. */
int options_parse(struct options *options, int argc, char **argv);

/* Defaults, then the file, then the options; complete. -errno; the reason is logged. */
int options_config(const struct options *options, struct config *ret_config);
