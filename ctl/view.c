/* SPDX-License-Identifier: MIT */
/* ctl/view.c: see view.h.
 *
 * Guarantees of this file: nothing is changed by looking: no stream, event or memory is made.
 */
#include "ctl/view.h"

static xpurt_result peers_read(int device, int n_devices, uint64_t *ret_peers)
{
    xpurt_result r = XPURT_SUCCESS;

    for (int peer = 0; peer < n_devices && r == XPURT_SUCCESS; peer++) {
        int access = 0;

        r = xpurt_device_can_access_peer(device, peer, &access);
        if (access && peer != device)
            *ret_peers |= UINT64_C(1) << peer;
    }
    return r;
}

static xpurt_result device_read(int index, int n_devices, struct view_device *ret_device)
{
    xpurt_result r = xpurt_device_get_properties(index, &ret_device->properties);

    if (r == XPURT_SUCCESS)
        r = xpurt_device_get_capability(index, &ret_device->capability);
    if (r == XPURT_SUCCESS)
        r = xpurt_device_get_ipc_support(index, &ret_device->ipc);
    if (r == XPURT_SUCCESS)
        r = xpurt_mem_get_info(index, &ret_device->memory_free, &ret_device->memory_total);
    if (r == XPURT_SUCCESS)
        r = peers_read(index, n_devices, &ret_device->peers);
    return r;
}

xpurt_result view_read(struct view *ret_view)
{
    xpurt_result r;

    *ret_view = (struct view){ .n_devices = 0 };
    r = xpurt_daemon_get_info(&ret_view->daemon);
    if (r == XPURT_SUCCESS)
        r = xpurt_stream_priority_range(&ret_view->priority_least, &ret_view->priority_greatest);
    if (r == XPURT_SUCCESS)
        r = xpurt_daemon_counters(VIEW_COUNTERS_MAX, ret_view->counters, &ret_view->n_counters);
    if (ret_view->n_counters > VIEW_COUNTERS_MAX)
        ret_view->n_counters = VIEW_COUNTERS_MAX;
    if (r == XPURT_SUCCESS)
        ret_view->n_devices = xpurt_device_count();
    for (int i = 0; i < ret_view->n_devices && r == XPURT_SUCCESS; i++)
        r = device_read(i, ret_view->n_devices, &ret_view->devices[i]);
    return r;
}
