/* SPDX-License-Identifier: MIT */
/* ctl/main.c: xpurt-info.
 *
 * Guarantees of this file: standard output holds a whole answer or nothing, and the exit status
 * says which.
 */
#include "ctl/describe.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "Usage: xpurt-info [OPTION]...\n"
    "Tell what a process of this user sees of xpurtd: the daemon, the limits in force with what is\n"
    "in use of them, and the devices.\n"
    "\n"
    "  --device N   only that device\n"
    "  --json       for programs: one JSON object\n"
    "  --version\n"
    "  --help\n"
    "\n"
    "What is printed. Daemon: its version, the random number that names this start of it (handles\n"
    "of another start are stale), the socket it was found at, and the caller's session. Stream\n"
    "priorities: the numbers that xpurt_stream_create_with_priority() tells apart. Limits of this\n"
    "user: counted over all processes of the uid, the one that asks included; the daemon's\n"
    "configuration sets them. Devices, each with:\n"
    "  Kind           software (the CPU stands in for a GPU), integrated or discrete\n"
    "  Memory         Free is what is left for everybody, now\n"
    "  Peers          devices whose memory its kernels can use\n"
    "  Sharing        how events and memory get from one process to another:\n"
    "                 shared board       memory that the daemon keeps up to date\n"
    "                 held by the daemon for all processes of the user\n"
    "                 level zero handle  the driver's own\n"
    "                 none               not at all\n"
    "                 \"Native\" is for programs with a Level Zero context outside xpurt.\n"
    "\n"
    "JSON has the same labels in small letters with \"_\" between words. Memory is in bytes, flags\n"
    "are true or false, and a limit that does not exist is null.\n"
    "\n"
    "Looking makes a session for that moment, but no stream, event or memory.\n"
    "\n"
    "Environment: $XPURT_SOCKET names the daemon's socket; without it $XDG_RUNTIME_DIR/xpurtd.sock\n"
    "and then /run/xpurtd/xpurtd.sock are tried.\n"
    "\n"
    "Exit status: 0 done; 1 failed; 2 wrong option, or no such device; 3 no daemon answers.\n";

enum {
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_NO_DAEMON = 3,
};

enum {
    OPTION_DEVICE = 256,
    OPTION_JSON,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "device", required_argument, NULL, OPTION_DEVICE },
    { "json", no_argument, NULL, OPTION_JSON },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "help", no_argument, NULL, OPTION_HELP },
    { 0 },
};

struct options {
    int device;
    bool json;
};

static int usage_error(const char *problem)
{
    if (problem)
        fprintf(stderr, "xpurt-info: %s\n", problem);
    fputs("Try 'xpurt-info --help'.\n", stderr);
    return -EINVAL;
}

static bool parse_device(const char *text, int *ret_device)
{
    long number;
    char *end;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || text[0] < '0' || text[0] > '9' || *end || number >= XPURT_DEVICES_MAX)
        return false;
    *ret_device = (int)number;
    return true;
}

/* > 0: printed what was asked for; < 0: said what is wrong. */
static int options_parse(struct options *options, int argc, char **argv)
{
    int option;

    *options = (struct options){ .device = DESCRIBE_ALL };
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        switch (option) {
        case OPTION_DEVICE:
            if (!parse_device(optarg, &options->device))
                return usage_error("--device: expected a number from 0 to 63");
            break;
        case OPTION_JSON:
            options->json = true;
            break;
        case OPTION_VERSION:
            printf("xpurt-info %s\n", xpurt_version());
            return 1;
        case OPTION_HELP:
            fputs(help, stdout);
            return 1;
        default:
            return usage_error(NULL);   /* getopt has said what is wrong */
        }
    if (optind < argc)
        return usage_error("there is an argument that belongs to no option");
    return 0;
}

static int finish(bool written)
{
    if (written)
        return EXIT_SUCCESS;
    fputs("xpurt-info: standard output cannot be written\n", stderr);
    return STATUS_FAILED;
}

static int show(const struct options *options)
{
    static struct view view;
    xpurt_result r = view_read(&view);
    struct page page;

    if (r) {
        fprintf(stderr, "xpurt-info: %s\n", xpurt_last_error());
        return r == XPURT_ERROR_NO_DAEMON ? STATUS_NO_DAEMON : STATUS_FAILED;
    }
    if (options->device >= view.n_devices) {
        fprintf(stderr, "xpurt-info: there is no device %d: xpurtd serves %d\n", options->device,
                view.n_devices);
        return STATUS_USAGE;
    }
    page_begin(&page, options->json);
    describe(&page, &view, options->device);
    return finish(page_end(&page));
}

int main(int argc, char **argv)
{
    struct options options;
    int r = options_parse(&options, argc, argv);

    if (r < 0)
        return STATUS_USAGE;
    return r ? finish(fflush(stdout) == 0 && !ferror(stdout)) : show(&options);
}
