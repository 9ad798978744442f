/* SPDX-License-Identifier: MIT */
/* daemon/resource.h: what GPU work may still use after its owner let go of it.
 *
 * Memory, host segments, marker slots and boards begin with a struct resource. A stream holds a
 * reference to each one that its unfinished commands touch, so that "freed" only ever means "freed
 * as soon as nobody uses it". All references are taken and dropped on the loop thread.
 */
#pragma once

#include <assert.h>
#include <stddef.h>

struct resource {
    unsigned refs;
    void (*destroy)(struct resource *resource);
};

static inline void *resource_ref(struct resource *resource)
{
    assert(resource->refs > 0);
    resource->refs++;
    return resource;
}

/* NULL is a no-op. Careful: *resource may be gone afterwards. */
static inline void resource_unref(struct resource *resource)
{
    if (!resource)
        return;
    assert(resource->refs > 0);
    if (--resource->refs == 0)
        resource->destroy(resource);
}
