/* SPDX-License-Identifier: MIT */
/* daemon/config.h: what the operator decides: options override the file, the file the defaults. */
#pragma once

#include "daemon/limits.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum device_choice {
    DEVICE_AUTO,                        /* GPUs where the loader finds any, else software */
    DEVICE_GPU,                         /* GPUs or nothing */
    DEVICE_SOFT,                        /* the software device */
};

#define CONFIG_MODE_UNSET ((mode_t)~0u)

struct config {
    enum device_choice device;
    int log_level;                      /* syslog.h: LOG_ERR .. LOG_DEBUG */
    mode_t socket_mode;                 /* CONFIG_MODE_UNSET until config_complete() */
    char *socket;                       /* path; NULL until config_complete() */
    char *soft_driver;                  /* path of libze_soft.so; NULL: beside the daemon */
    struct limits limits;
};

/* The defaults. */
void config_init(struct config *config);

/* Set one key: NULL, or a phrase that says what is wrong ("expected ..."). In names, - and _ are
 * the same. */
const char *config_set(struct config *config, const char *section, const char *key,
                       const char *value);

/* Set what the INI file @p path says. -errno; the reason is logged with file and line. */
int config_read(struct config *config, const char *path);

/* Fill what nobody decided: the socket's path and mode. */
int config_complete(struct config *config);

/* As an INI file that config_read() takes. */
void config_print(const struct config *config, FILE *file);

void config_deinit(struct config *config);
