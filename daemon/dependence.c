/* SPDX-License-Identifier: MIT */
/* daemon/dependence.c: see dependence.h.
 *
 * Guarantees of this file: what depends on a stream is found without a look at any other; in steady
 * state nothing is allocated.
 */
#include "daemon/dependence.h"
#include "daemon/runtime.h"
#include "daemon/stream.h"

#include <utlist.h>

#define SPARE_MAX 4096u                 /* kept for the next wait */

struct dependence *dependence_new(struct stream *waiter, uint64_t position, struct stream *source,
                                  uint64_t value)
{
    struct dependence *dependence =
        stock_take(&waiter->runtime->spare_dependences, sizeof(*dependence));

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
    stock_give(&runtime->spare_dependences, dependence, SPARE_MAX);
}

void dependences_end(struct stream *source)
{
    while (source->dependents) {
        struct dependence *first = source->dependents;

        DL_DELETE(source->dependents, first);
        first->source = NULL;
    }
}
