/* SPDX-License-Identifier: MIT */
/* tests/examples/reference.c: what xpurt-ddp should learn, computed apart from it: one thread, plain C,
 * double precision, nothing of its code.
 *
 *   test-ddp-reference DIGITS_CSV EPOCHS BATCH RATE SEED
 *
 * Prints "epoch <mean loss> <share of right guesses>" for each epoch, then "test <share>". */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 1797, PIXELS = 64, DIGITS = 10 };

static double pixels[ROWS][PIXELS + 1];
static int digit[ROWS];
static double weight[DIGITS][PIXELS + 1], speed[DIGITS][PIXELS + 1], slope[DIGITS][PIXELS + 1];

static int load(const char *path)
{
    FILE *file = fopen(path, "re");
    int rows = 0, c, value;

    if (!file)
        return -1;
    while ((c = getc(file)) == '#')
        while ((c = getc(file)) != '\n' && c != EOF)
            ;
    ungetc(c, file);
    for (; rows < ROWS; rows++) {
        for (int i = 0; i < PIXELS; i++) {
            if (fscanf(file, "%d,", &value) != 1)
                break;
            pixels[rows][i] = value / 16.0;
        }
        pixels[rows][PIXELS] = 1;
        if (fscanf(file, "%d", &digit[rows]) != 1)
            break;
    }
    fclose(file);
    return rows == ROWS ? 0 : -1;
}

/* The chances of each digit by the weights there are now; the most likely one. */
static int guess(const double *image, double *chance)
{
    double all = 0;
    int best = 0;

    for (int d = 0; d < DIGITS; d++) {
        chance[d] = 0;
        for (int i = 0; i <= PIXELS; i++)
            chance[d] += weight[d][i] * image[i];
        if (chance[d] > chance[best])
            best = d;
    }
    for (int d = 0; d < DIGITS; d++)
        all += chance[d] = exp(chance[d]);
    for (int d = 0; d < DIGITS; d++)
        chance[d] /= all;
    return best;
}

static void learn(const int *rows, int count, double rate, double *loss, int *right)
{
    double chance[DIGITS];

    for (int n = 0; n < count; n++) {
        const double *image = pixels[rows[n]];
        int truth = digit[rows[n]];

        *right += guess(image, chance) == truth;
        *loss -= log(chance[truth]);
        chance[truth] -= 1;
        for (int d = 0; d < DIGITS; d++)
            for (int i = 0; i <= PIXELS; i++)
                slope[d][i] += chance[d] * image[i] / count;
    }
    for (int d = 0; d < DIGITS; d++)
        for (int i = 0; i <= PIXELS; i++) {
            speed[d][i] = 0.9 * speed[d][i] + slope[d][i];
            weight[d][i] -= rate * speed[d][i];
            slope[d][i] = 0;
        }
}

/* splitmix64 */
static uint64_t draw(uint64_t *seed)
{
    uint64_t x = (*seed += 0x9e3779b97f4a7c15u);

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

int main(int argc, char **argv)
{
    int order[ROWS], count = 0, tested = 0, right = 0, epochs, batch;
    double rate, chance[DIGITS];
    uint64_t seed;

    if (argc != 6 || load(argv[1]) < 0) {
        fprintf(stderr, "usage: %s DIGITS_CSV EPOCHS BATCH RATE SEED\n", argv[0]);
        return EXIT_FAILURE;
    }
    epochs = atoi(argv[2]);
    batch = atoi(argv[3]);
    rate = strtod(argv[4], NULL);
    seed = strtoull(argv[5], NULL, 10);

    for (int row = 0; row < ROWS; row++)
        if (row % 5)
            order[count++] = row;
    for (int epoch = 0; epoch < epochs; epoch++) {
        double loss = 0;

        right = 0;
        for (int i = count - 1; i > 0; i--) {
            int j = (int)(draw(&seed) % (uint64_t)(i + 1)), row = order[i];

            order[i] = order[j];
            order[j] = row;
        }
        for (int i = 0; i < count; i += batch)
            learn(order + i, count - i < batch ? count - i : batch, rate, &loss, &right);
        printf("epoch %.9f %.9f\n", loss / count, (double)right / count);
    }
    right = 0;
    for (int row = 0; row < ROWS; row += 5, tested++)
        right += guess(pixels[row], chance) == digit[row];
    printf("test %.9f\n", (double)right / tested);
    return EXIT_SUCCESS;
}
