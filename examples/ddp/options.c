/* SPDX-License-Identifier: MIT */
/* examples/ddp/options.c: the command line of xpurt-ddp.
 *
 * Guarantees of this file: a struct options that was parsed without error holds values in range.
 */
#include "options.h"

#include "digits.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: xpurt-ddp [OPTION]...\n"
    "Train a classifier of handwritten digits in several processes at once, to show how processes\n"
    "reduce over GPU memory that they share.\n"
    "\n"
    "  --ranks N        processes, 1 to 8 (default 2)\n"
    "  --epochs N       times that each image is learned from, 1 to 10000 (default 30)\n"
    "  --batch N        images of a step over all ranks, 16 to 1437 (default 64)\n"
    "  --rate X         learning rate, above 0 and up to 10 (default 0.1)\n"
    "  --seed N         decides the order of the images (default 1)\n"
    "  --data FOLDER    where digits.csv and ddp.spv are (default: those installed)\n"
    "  --quiet          print the result only, not each epoch\n"
    "  --json           print the result as one JSON object\n"
    "  --help\n"
    "\n"
    "How it works. Each step has a batch of images; each rank takes its share of it and computes the\n"
    "gradient of its share on its own stream, into its own slot of a buffer that all ranks share.\n"
    "Then it records an event for each other rank, makes its stream wait for theirs, adds up all\n"
    "slots in the order of the ranks and corrects its own copy of the weights; so all copies stay\n"
    "equal, and the result does not depend on the number of ranks beyond rounding. Shared events\n"
    "are all that orders the ranks: a stream may wait for a record that the other process has not\n"
    "made yet, so the host submits a whole epoch and waits once, at its end.\n"
    "\n"
    "What is printed. For each epoch the mean loss and the share of right guesses, each image judged\n"
    "before the step that learns from it; at the end the share of right guesses of the 360 images\n"
    "that nothing was learned from. images/s counts all ranks together. \"waiting\" is the share of\n"
    "its time from the beginning to the end of an epoch that the stream of a rank waited for others,\n"
    "by timing events in front of the waits and behind them.\n"
    "\n"
    "The daemon is found as by every program: $XPURT_SOCKET, $XDG_RUNTIME_DIR/xpurtd.sock,\n"
    "/run/xpurtd/xpurtd.sock.\n"
    "\n"
    "Exit status: 0 good; 1 failed; 2 wrong option; 3 a rank was lost (XPURT_ERROR_PEER_LOST); 4 the\n"
    "daemon was lost (XPURT_ERROR_DAEMON_LOST); 5 the ranks ended with different weights. With\n"
    "several ranks it is the highest of theirs.\n";

enum {
    OPTION_RANKS = 256,
    OPTION_EPOCHS,
    OPTION_BATCH,
    OPTION_RATE,
    OPTION_SEED,
    OPTION_DATA,
    OPTION_QUIET,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "ranks", required_argument, NULL, OPTION_RANKS },
    { "epochs", required_argument, NULL, OPTION_EPOCHS },
    { "batch", required_argument, NULL, OPTION_BATCH },
    { "rate", required_argument, NULL, OPTION_RATE },
    { "seed", required_argument, NULL, OPTION_SEED },
    { "data", required_argument, NULL, OPTION_DATA },
    { "quiet", no_argument, NULL, OPTION_QUIET },
    { "json", no_argument, NULL, OPTION_JSON },
    { "help", no_argument, NULL, OPTION_HELP },
    { 0 },
};

static int usage_error(const char *problem)
{
    if (problem)
        fprintf(stderr, "xpurt-ddp: %s\n", problem);
    fprintf(stderr, "Try 'xpurt-ddp --help'.\n");
    return -EINVAL;
}

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
    unsigned long long number;
    char *end;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno || text[0] < '0' || text[0] > '9' || *end || number < least || number > most)
        return false;
    *ret_number = number;
    return true;
}

static bool parse_count(const char *text, unsigned least, unsigned most, unsigned *ret_count)
{
    uint64_t number;

    if (!parse_number(text, least, most, &number))
        return false;
    *ret_count = (unsigned)number;
    return true;
}

static bool parse_rate(const char *text, float *ret_rate)
{
    char *end;
    float rate = strtof(text, &end);

    if (end == text || *end || !isnormal(rate) || rate <= 0 || rate > 10)
        return false;
    *ret_rate = rate;
    return true;
}

/* What is wrong with an option, or NULL. */
static const char *set_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case OPTION_RANKS:
        return parse_count(value, 1, RANKS_MAX, &options->ranks) ?
                   NULL :
                   "--ranks: expected a number from 1 to 8";
    case OPTION_EPOCHS:
        return parse_count(value, 1, EPOCHS_MAX, &options->epochs) ?
                   NULL :
                   "--epochs: expected a number from 1 to 10000";
    case OPTION_BATCH:
        return parse_count(value, BATCH_MIN, TRAINED, &options->batch) ?
                   NULL :
                   "--batch: expected a number from 16 to 1437";
    case OPTION_RATE:
        return parse_rate(value, &options->rate) ? NULL : "--rate: expected a number up to 10";
    case OPTION_SEED:
        return parse_number(value, 0, UINT64_MAX, &options->seed) ? NULL :
                                                                    "--seed: expected a number";
    case OPTION_DATA:
        if (strlen(value) >= sizeof(options->folder))
            return "--data: the name is too long";
        strcpy(options->folder, value);
        return NULL;
    case OPTION_QUIET:
        options->quiet = true;
        return NULL;
    default:
        options->json = true;
        return NULL;
    }
}

/* Beside this program, where it was installed as where it was built. */
static void find_folder(char *folder, size_t size)
{
    char program[2048] = "";
    char *slash;

    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
        return;
    slash = strrchr(program, '/');
    if (slash)
        snprintf(folder, size, "%.*s/" DDP_FOLDER, (int)(slash - program), program);
}

int options_parse(struct options *options, int argc, char **argv)
{
    const char *problem;
    int option;

    *options = (struct options){ .ranks = 2, .epochs = 30, .batch = 64, .rate = 0.1f, .seed = 1 };
    find_folder(options->folder, sizeof(options->folder));
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
    return 0;
}
