/* SPDX-License-Identifier: MIT */
/* daemon/dependence.c: see dependence.h.
 *
 * Guarantees of this file: what depends on a stream is found without a look at any other; in steady
 * state nothing is allocated.
 */
#include "daemon/dependence.h"
#include "daemon/runtime.h"
#include "daemon/stream.h"

#include <stdlib.h>
#include <utlist.h>

#define SPARE_MAX 4096u                 /* kept for the next wait */

static struct dependence *spare_take(struct runtime *runtime)
{
    struct dependence *spare = runtime->spare_dependences;

    if (!spare)
        return malloc(sizeof(*spare));
    runtime->spare_dependences = spare->next;
    runtime->n_spare_dependences--;
    return spare;
}

struct dependence *dependence_new(struct stream *waiter, uint64_t position, struct stream *source,
                                  uint64_t value)
{
    struct dependence *dependence = spare_take(waiter->runtime);

    if (!dependence)
        return NULL;
    *dependence = (struct dependence){
        .waiter = waiter,
        .position = position,
        .source = source,
        .value = value,
    };
    DL_APPEND(source->dependents, dependence);
    return dependence;
}

void dependence_free(struct dependence *dependence)
{
    struct runtime *runtime;

    if (!dependence)
        return;
    runtime = dependence->waiter->runtime;
    if (dependence->source)
        DL_DELETE(dependence->source->dependents, dependence);
    if (runtime->n_spare_dependences == SPARE_MAX) {
        free(dependence);
        return;
    }
    dependence->next = runtime->spare_dependences;
    runtime->spare_dependences = dependence;
    runtime->n_spare_dependences++;
}

void dependences_end(struct stream *source)
{
    while (source->dependents) {
        struct dependence *first = source->dependents;

        DL_DELETE(source->dependents, first);
        first->source = NULL;
    }
}

void dependences_deinit(struct runtime *runtime)
{
    while (runtime->spare_dependences) {
        struct dependence *spare = runtime->spare_dependences;

        runtime->spare_dependences = spare->next;
        free(spare);
    }
}
