/* SPDX-License-Identifier: MIT */
/* bench/report.h: what people and programs get to read. */
#pragma once

#include "bench/row.h"

#include <stdio.h>

/* What is measured and on what. */
struct machine {
    char cpu[128];
    long cpus;
    char kernel[160];
    bool virtual;                       /* a virtual machine, as far as the CPU tells */
    char device[128];
    double load;                        /* of the last minute, before we began */
};

void machine_describe(struct machine *ret_machine);

void table_begin(const struct machine *machine, unsigned runs, double seconds);
void table_row(const struct row *row, struct outcome *outcome);

/* Says what came of the promises, of @p all or of those that were measured, which goals were missed, and
 * what could not be measured; true if all could. */
bool table_end(bool all);

/* Written at the end, as one object. */
void json_begin(const struct machine *machine, unsigned runs, double seconds);
void json_row(const struct row *row, const struct outcome *outcome);
void json_end(FILE *file);
