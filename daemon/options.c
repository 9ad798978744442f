/* SPDX-License-Identifier: MIT */
/* daemon/options.c: the command line, and the order in which it and the file decide.
 *
 * Guarantees of this file:
 *   - a struct options that was parsed without error holds valid values only;
 *   - the default file may be missing; a file that was named must be there.
 */
#include "daemon/options.h"
#include "daemon/build.h"
#include "daemon/log.h"
#include "proto/frame.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FILE XPURT_SYSCONFDIR "/xpurt/xpurtd.ini"

static const char help[] =
    "Usage: xpurtd [OPTION]...\n"
    "Own the GPUs of this machine and let processes share events and memory of them.\n"
    "\n"
    "  --device auto|gpu|soft  gpu: Level Zero GPUs or nothing; soft: the software device;\n"
    "                          auto (default): GPUs where there are any, else soft\n"
    "  --socket PATH           listen there; default: $XDG_RUNTIME_DIR/xpurtd.sock, for root\n"
    "                          and without that variable /run/xpurtd/xpurtd.sock\n"
    "  --config FILE           default: " DEFAULT_FILE ", if it exists\n"
    "  --log-level LEVEL       error, warning, notice, info (default) or debug\n"
    "  --check-config          print the configuration that would be used, then leave\n"
    "  --version\n"
    "  --help\n"
    "\n"
    "Options override the file. A socket passed by systemd is used instead of --socket.\n"
    "SIGTERM and SIGINT: finish what was submitted and leave; a second one: leave at once.\n"
    "SIGHUP: read the file again; limits and the log level change, the rest needs a restart.\n"
    "Exit status: 0 done, 1 failed, 2 wrong option.\n";

enum {
    OPTION_DEVICE = 256,
    OPTION_SOCKET,
    OPTION_CONFIG,
    OPTION_LOG_LEVEL,
    OPTION_CHECK,
    OPTION_BUILD_WORKER,                /* for xpurtd itself: see build.h */
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "device", required_argument, NULL, OPTION_DEVICE },
    { "socket", required_argument, NULL, OPTION_SOCKET },
    { "config", required_argument, NULL, OPTION_CONFIG },
    { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
    { "check-config", no_argument, NULL, OPTION_CHECK },
    { BUILD_WORKER_OPTION + 2, no_argument, NULL, OPTION_BUILD_WORKER },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "help", no_argument, NULL, OPTION_HELP },
    { 0 },
};

static int usage_error(void)
{
    fprintf(stderr, "Try 'xpurtd --help'.\n");
    return -EINVAL;
}

/* Let the options that were given override @p config. */
static int options_apply(const struct options *options, struct config *config)
{
    const struct {
        const char *key, *value;
    } given[] = {
        { "device", options->device },
        { "socket", options->socket },
        { "log-level", options->log_level },
    };

    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        const char *problem;

        if (!given[i].value)
            continue;
        problem = config_set(config, "daemon", given[i].key, given[i].value);
        if (problem) {
            fprintf(stderr, "xpurtd: --%s %s: %s\n", given[i].key, given[i].value, problem);
            return -EINVAL;
        }
    }
    return 0;
}

static int options_check(const struct options *options)
{
    struct config scratch;
    int r;

    config_init(&scratch);
    r = options_apply(options, &scratch);
    config_deinit(&scratch);
    return r < 0 ? usage_error() : 0;
}

int options_parse(struct options *options, int argc, char **argv)
{
    int option;

    *options = (struct options){ 0 };
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case OPTION_DEVICE:
            options->device = optarg;
            break;
        case OPTION_SOCKET:
            options->socket = optarg;
            break;
        case OPTION_CONFIG:
            options->file = optarg;
            break;
        case OPTION_LOG_LEVEL:
            options->log_level = optarg;
            break;
        case OPTION_CHECK:
            options->check = true;
            break;
        case OPTION_BUILD_WORKER:
            options->build_worker = true;
            break;
        case OPTION_VERSION:
            printf("xpurtd %s (protocol %u.%u)\n", XPURT_VERSION, FRAME_MAJOR, FRAME_MINOR);
            return 1;
        case OPTION_HELP:
            fputs(help, stdout);
            return 1;
        default:
            return usage_error();       /* getopt has said what is wrong */
        }
    }
    if (optind < argc) {
        fprintf(stderr, "xpurtd: unexpected argument '%s'\n", argv[optind]);
        return usage_error();
    }
    return options_check(options);
}

int options_config(const struct options *options, struct config *ret_config)
{
    struct config config;
    int r = 0;

    config_init(&config);
    if (options->file)
        r = config_read(&config, options->file);
    else if (access(DEFAULT_FILE, F_OK) == 0)
        r = config_read(&config, DEFAULT_FILE);
    if (r == 0)
        r = options_apply(options, &config);
    if (r == 0)
        r = config_complete(&config);
    if (r < 0) {
        config_deinit(&config);
        return r;
    }

    *ret_config = config;
    return 0;
}
