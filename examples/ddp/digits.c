/* SPDX-License-Identifier: MIT */
/* examples/ddp/digits.c: the images, which of them train, and in which order.
 *
 * Guarantees of this file: a table that is not whole is refused, with the line that is wrong; what is
 * trained on and what is tested have no image in common.
 */
#include "digits.h"

#include "../problem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512
#define VALUE_MAX 16

/* A number and what must follow it. */
static bool parse_value(const char **text, char then, unsigned most, unsigned *ret_value)
{
    unsigned long value;
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    value = strtoul(*text, &end, 10);
    if (value > most || *end != then)
        return false;
    *text = end + 1;
    *ret_value = (unsigned)value;
    return true;
}

static bool parse_image(const char *line, float image[INPUTS], uint32_t *ret_label)
{
    unsigned value;

    for (unsigned i = 0; i < INPUTS; i++) {
        if (!parse_value(&line, ',', VALUE_MAX, &value))
            return false;
        image[i] = (float)value / VALUE_MAX;
    }
    if (!parse_value(&line, '\n', CLASSES - 1, &value))
        return false;
    *ret_label = value;
    return true;
}

static xpurt_result read_images(struct digits *digits, FILE *file, const char *path)
{
    char line[LINE_MAX_BYTES];
    unsigned images = 0;

    for (unsigned number = 1; fgets(line, sizeof(line), file); number++) {
        if (line[0] == '#')
            continue;
        if (images == IMAGES || !parse_image(line, digits->images[images], &digits->labels[images]))
            return problem(XPURT_ERROR_INVALID_ARGUMENT, "%s: line %u is not an image of %u", path,
                           number, IMAGES);
        images++;
    }
    if (ferror(file))
        return problem_system(path, errno);
    if (images < IMAGES)
        return problem(XPURT_ERROR_INVALID_ARGUMENT, "%s has %u images instead of %u", path, images,
                       IMAGES);
    return XPURT_SUCCESS;
}

static void split(struct digits *digits)
{
    unsigned tested = 0, trained = 0;

    for (uint32_t i = 0; i < IMAGES; i++)
        if (i % TEST_EVERY == 0)
            digits->test[tested++] = i;
        else
            digits->train[trained++] = i;
}

xpurt_result digits_load(struct digits *digits, const char *folder)
{
    char path[4096];
    xpurt_result r;
    FILE *file;

    snprintf(path, sizeof(path), "%s/digits.csv", folder);
    file = fopen(path, "re");
    if (!file)
        return problem_system(path, errno);
    r = read_images(digits, file, path);
    fclose(file);
    split(digits);
    return r;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void digits_shuffle(uint32_t order[TRAINED], uint64_t *state)
{
    for (uint32_t place = TRAINED - 1; place > 0; place--) {
        uint32_t other = (uint32_t)(random_next(state) % (place + 1)), image = order[place];

        order[place] = order[other];
        order[other] = image;
    }
}
