/* SPDX-License-Identifier: MIT */
/* examples/options.c: the command line of xpurt-handoff.
 *
 * Guarantees of this file: a struct options that was parsed without error holds values that fit
 * each other.
 */
#include "options.h"

#include "ring.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS_MAX 256
#define REPEAT_MAX 1000

static const char help[] =
    "Usage: xpurt-handoff --input FILE --output FILE [OPTION]...\n"
    "       xpurt-handoff --role producer --connect SOCKET --input FILE [OPTION]...\n"
    "       xpurt-handoff --role consumer --connect SOCKET --output FILE [OPTION]...\n"
    "Copy a file through GPU memory that two processes share, to show what xpurt is for.\n"
    "\n"
    "  --input FILE     what the producer reads\n"
    "  --output FILE    what the consumer writes; with --pairs N: FILE.0, FILE.1, ...\n"
    "  --block SIZE     bytes in a device buffer, maybe with K, M or G (default 1M, at most 1G)\n"
    "  --slots K        device buffers in the ring, 1 to 64 (default 4)\n"
    "  --pairs N        N producers and N consumers at once, all of the same input (default 1)\n"
    "  --repeat N       do it N times; the fastest run of each way is printed (default 1)\n"
    "  --device N       device to use (default 0)\n"
    "  --no-compare     leave out the run without shared events\n"
    "  --json           print the result as one JSON object\n"
    "  --role ROLE      be the producer or the consumer only; the other one runs in another shell\n"
    "  --connect SOCKET where the two meet: the producer listens there, in either order of start.\n"
    "                   Block size and slots are the producer's\n"
    "  --help\n"
    "\n"
    "How it works. The producer copies each block to a device buffer and records the event\n"
    "`ready`; the consumer's stream waits for `ready`, copies the block out and records `free`, for\n"
    "which the producer's stream waits before it fills that buffer again. The sides exchange\n"
    "64-byte handles at the start (two events and a buffer for each slot) and a page of shared\n"
    "memory with two counters: rounds recorded, rounds released. A host looks at them to learn that\n"
    "the other one has submitted its part, so that it can submit its own; it never waits for the\n"
    "GPU work of the other side. It does wait for its own copies before it touches its staging\n"
    "memory.\n"
    "\n"
    "What is printed. Hand-offs are blocks, from the moment both sides are set up until the output\n"
    "is closed. ready-to-seen is the time from the producer's call that records `ready` until a\n"
    "thread of the consumer that does nothing but wait for the event has returned: the copy to the\n"
    "device is part of it. The old way is the same job with the same files, buffers and copies,\n"
    "but each host synchronises the device and sends a message over a socketpair for each block.\n"
    "Outputs are compared with the input after each run, if both are regular files.\n"
    "\n"
    "The daemon is found as by every program: $XPURT_SOCKET, $XDG_RUNTIME_DIR/xpurtd.sock,\n"
    "/run/xpurtd/xpurtd.sock.\n"
    "\n"
    "Exit status: 0 good; 1 failed; 2 wrong option; 3 the other process was lost\n"
    "(XPURT_ERROR_PEER_LOST); 4 the daemon was lost (XPURT_ERROR_DAEMON_LOST); 5 an output\n"
    "differs from the input. With several processes it is the highest of theirs; one that was\n"
    "killed by a signal counts 1. Unless the status is 0 no output is known to be complete.\n";

enum {
    OPTION_INPUT = 256,
    OPTION_OUTPUT,
    OPTION_BLOCK,
    OPTION_SLOTS,
    OPTION_PAIRS,
    OPTION_REPEAT,
    OPTION_DEVICE,
    OPTION_NO_COMPARE,
    OPTION_JSON,
    OPTION_ROLE,
    OPTION_CONNECT,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "input", required_argument, NULL, OPTION_INPUT },
    { "output", required_argument, NULL, OPTION_OUTPUT },
    { "block", required_argument, NULL, OPTION_BLOCK },
    { "slots", required_argument, NULL, OPTION_SLOTS },
    { "pairs", required_argument, NULL, OPTION_PAIRS },
    { "repeat", required_argument, NULL, OPTION_REPEAT },
    { "device", required_argument, NULL, OPTION_DEVICE },
    { "no-compare", no_argument, NULL, OPTION_NO_COMPARE },
    { "json", no_argument, NULL, OPTION_JSON },
    { "role", required_argument, NULL, OPTION_ROLE },
    { "connect", required_argument, NULL, OPTION_CONNECT },
    { "help", no_argument, NULL, OPTION_HELP },
    { 0 },
};

static int usage_error(const char *problem)
{
    if (problem)
        fprintf(stderr, "xpurt-handoff: %s\n", problem);
    fprintf(stderr, "Try 'xpurt-handoff --help'.\n");
    return -EINVAL;
}

/* A number from @p least to @p most, maybe with a suffix of @p suffixes: powers of 1024. */
static bool parse_number(const char *text, const char *suffixes, uint64_t least, uint64_t most,
                         uint64_t *ret_number)
{
    unsigned long long number;
    const char *suffix;
    unsigned shift = 0;
    char *end;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno || text[0] < '0' || text[0] > '9')
        return false;
    if (*end) {
        suffix = strchr(suffixes, *end);
        if (!suffix || end[1])
            return false;
        shift = 10 * ((unsigned)(suffix - suffixes) + 1);
    }
    if (number > most >> shift || number << shift < least)
        return false;
    *ret_number = number << shift;
    return true;
}

static const char *set_role(struct options *options, const char *value)
{
    if (strcmp(value, "producer") == 0)
        options->role = ROLE_PRODUCER;
    else if (strcmp(value, "consumer") == 0)
        options->role = ROLE_CONSUMER;
    else
        return "--role: expected producer or consumer";
    return NULL;
}

/* What is wrong with an option, or NULL. */
static const char *set_option(struct options *options, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case OPTION_INPUT:
        options->input = value;
        return NULL;
    case OPTION_OUTPUT:
        options->output = value;
        return NULL;
    case OPTION_BLOCK:
        if (!parse_number(value, "KMG", 1, RING_BLOCK_MAX, &options->block))
            return "--block: expected a size from 1 to 1G";
        return NULL;
    case OPTION_SLOTS:
        if (!parse_number(value, "", 1, RING_SLOTS_MAX, &number))
            return "--slots: expected a number from 1 to 64";
        options->slots = (unsigned)number;
        return NULL;
    case OPTION_PAIRS:
        if (!parse_number(value, "", 1, PAIRS_MAX, &number))
            return "--pairs: expected a number from 1 to 256";
        options->pairs = (unsigned)number;
        return NULL;
    case OPTION_REPEAT:
        if (!parse_number(value, "", 1, REPEAT_MAX, &number))
            return "--repeat: expected a number from 1 to 1000";
        options->repeat = (unsigned)number;
        return NULL;
    case OPTION_DEVICE:
        if (!parse_number(value, "", 0, INT_MAX, &number))
            return "--device: expected a number, from 0";
        options->device = (int)number;
        return NULL;
    case OPTION_NO_COMPARE:
        options->compare = false;
        return NULL;
    case OPTION_JSON:
        options->json = true;
        return NULL;
    case OPTION_CONNECT:
        options->connect = value;
        return NULL;
    default:
        return set_role(options, value);
    }
}

/* What does not fit together, or NULL. */
static const char *options_check(const struct options *options)
{
    if (options->role != ROLE_BOTH && !options->connect)
        return "--role needs --connect";
    if (options->role == ROLE_BOTH && options->connect)
        return "--connect needs --role";
    if (options->role != ROLE_BOTH && (options->pairs != 1 || options->repeat != 1))
        return "--pairs and --repeat are for both roles in one command";
    if (options->role != ROLE_CONSUMER && !options->input)
        return "--input is missing";
    if (options->role != ROLE_PRODUCER && !options->output)
        return "--output is missing";
    return NULL;
}

int options_parse(struct options *options, int argc, char **argv)
{
    const char *problem;
    int option;

    *options =
        (struct options){ .block = 1 << 20, .slots = 4, .pairs = 1, .repeat = 1, .compare = true };
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (option == '?')
            return usage_error(NULL);   /* getopt has said what is wrong */
        problem = set_option(options, option, optarg);
        if (problem)
            return usage_error(problem);
    }
    if (optind < argc)
        return usage_error("there is an argument that belongs to no option");
    problem = options_check(options);
    return problem ? usage_error(problem) : 0;
}
