/* SPDX-License-Identifier: MIT */
/* Parity, devices. */
#include "tests/parity/scene.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

TestSuite(devices, .init = scene_start, .fini = scene_stop);

/* Whether a file is mapped whose name has @p part. */
static bool mapped(const char *part)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    bool found = false;
    char line[512];

    cr_assert_not_null(maps);
    while (!found && fgets(line, sizeof(line), maps))
        found = strstr(line, part);
    fclose(maps);
    return found;
}

static void count_and_use(int channel, void *data)
{
    xpurt_stream *stream;

    (void)channel;
    (void)data;
    test_require(xpurt_device_count() == n_devices, "%d devices", xpurt_device_count());
    stream = stream_on(last_device);
    occupy(stream);
    test_ok(xpurt_stream_synchronize(stream));
}

Test(devices, parity_D1_count_makes_no_context_and_harms_no_fork)
{
    struct test_peer child;

    cr_assert_eq(xpurt_device_count(), n_devices);
    cr_assert_not(mapped("libze_"));
    cr_assert_not(xpurt_device_is_used(0));
    cr_assert_not(xpurt_device_is_used(last_device));
    test_gate_open(&xpurtd);
    test_peer_start(&child, count_and_use, NULL);
    test_peer_join(&child);
    cr_assert_eq(xpurt_device_count(), n_devices);
    test_daemon_await_counter("streams", 0); /* the daemon learns of the end in its own time */
}

Test(devices, parity_D1_count_is_zero_when_the_daemon_is_gone)
{
    size_t n_counters;

    cr_assert_eq(xpurt_device_count(), n_devices);
    test_daemon_kill(&xpurtd);
    test_expect(XPURT_ERROR_DAEMON_LOST, xpurt_daemon_counters(0, NULL, &n_counters));
    cr_assert_eq(xpurt_device_count(), 0);
    test_ok(xpurt_reset());
    cr_assert_eq(xpurt_device_count(), 0);
    test_daemon_start_again(&xpurtd, NULL);
    cr_assert_eq(xpurt_device_count(), n_devices);
}

static void *look_from_another_thread(void *arg)
{
    (void)arg;
    test_require(xpurt_get_device() == 0, "a new thread begins with device %d", xpurt_get_device());
    return NULL;
}

Test(devices, parity_D2_set_and_exchange)
{
    pthread_t thread;
    char wanted[32];

    cr_assert_eq(xpurt_get_device(), 0);
    test_ok(xpurt_set_device(last_device));
    test_ok(xpurt_set_device(-1));
    test_ok(xpurt_set_device(INT_MIN));
    cr_assert_eq(xpurt_get_device(), last_device);
    cr_assert_eq(pthread_create(&thread, NULL, look_from_another_thread, NULL), 0);
    pthread_join(thread, NULL);

    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_set_device(n_devices));
    snprintf(wanted, sizeof(wanted), "no device %d: xpurtd serves %d", n_devices, n_devices);
    cr_assert(said(wanted), "%s", xpurt_last_error());
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_set_device(INT_MAX));
    cr_assert_eq(xpurt_exchange_device(-1), -1);
    cr_assert_eq(xpurt_exchange_device(n_devices), -1);
    cr_assert_eq(xpurt_get_device(), last_device);
    cr_assert_eq(xpurt_exchange_device(0), last_device);
    cr_assert_eq(xpurt_exchange_device(last_device), 0);
    cr_assert_eq(xpurt_maybe_exchange_device(-1), -1);
}

Test(devices, parity_D2_maybe_exchange_skips_what_was_never_used)
{
    void *memory;

    if (n_devices < 2)
        cr_skip_test("needs two devices");
    cr_assert_eq(xpurt_maybe_exchange_device(-1), -1);
    cr_assert_eq(xpurt_maybe_exchange_device(1), 0);
    cr_assert_eq(xpurt_get_device(), 0);
    cr_assert_not(xpurt_is_initialized());

    occupy(stream_on(1));
    cr_assert(xpurt_device_is_used(1));
    cr_assert_not(xpurt_device_is_used(0));
    cr_assert_eq(xpurt_maybe_exchange_device(1), 0);
    cr_assert_eq(xpurt_get_device(), 1);
    cr_assert_eq(xpurt_maybe_exchange_device(0), 1); /* not used: stays */
    cr_assert_eq(xpurt_get_device(), 1);
    cr_assert_eq(xpurt_maybe_exchange_device(7), 1); /* nor was one that does not exist */
    cr_assert_eq(xpurt_get_device(), 1);

    test_ok(xpurt_set_device(0));
    test_ok(xpurt_malloc(&memory, 64));
    test_ok(xpurt_set_device(1));
    cr_assert_eq(xpurt_maybe_exchange_device(0), 1);
    cr_assert_eq(xpurt_get_device(), 0);

    test_ok(xpurt_reset());
    cr_assert_not(xpurt_device_is_used(0));
    cr_assert_not(xpurt_device_is_used(-3));
    cr_assert_eq(xpurt_device_count(), 2);
    cr_assert_not(xpurt_device_is_used(1));
}

Test(devices, parity_D3_capability_and_architecture)
{
    for (int i = 0; i < n_devices; i++) {
        xpurt_device_properties properties;
        xpurt_device_capability capability;

        test_ok(xpurt_device_get_properties(i, &properties));
        test_ok(xpurt_device_get_capability(i, &capability));
        cr_assert(properties.name[0] && properties.driver_version[0]);
        cr_assert(properties.vendor_id && properties.clock_mhz && properties.max_group_size);
        cr_assert(properties.total_memory && properties.compute_units);
        cr_assert_leq(properties.integrated, 1);

        cr_assert_str_eq(capability.architecture, "software");
        cr_assert(capability.data_types & XPURT_FLOAT32);
        cr_assert(capability.data_types & XPURT_INT64);
        cr_assert_eq(!!(capability.data_types & XPURT_FLOAT16), properties.fp16);
        cr_assert_eq(!!(capability.data_types & XPURT_FLOAT64), properties.fp64);
        cr_assert_eq(capability.atomic64, properties.atomic64);
        cr_assert_gt(capability.sub_group_size_count, 0);
        cr_assert_eq(capability.sub_group_sizes[0], properties.sub_group_sizes[0]);
    }
    test_expect(
        XPURT_ERROR_INVALID_DEVICE,
        xpurt_device_get_capability(n_devices, &(xpurt_device_capability){ .data_types = 0 }));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_device_get_capability(0, NULL));
}

Test(devices, parity_D4_streams_of_the_library_too)
{
    xpurt_stream *streams[] = { stream_on(0), default_on(0), pooled_on(0, -1), pooled_on(0, 1) };
    xpurt_stream *elsewhere = default_on(last_device);

    for (int i = 0; i < 4; i++)
        occupy(streams[i]);
    if (n_devices == 2)
        test_ok(xpurt_device_synchronize(1)); /* has nothing to do */
    for (int i = 0; i < 4; i++)
        cr_assert_not(stream_done(streams[i]));
    test_gate_open(&xpurtd);
    test_ok(xpurt_device_synchronize(0));
    for (int i = 0; i < 4; i++)
        cr_assert(stream_done(streams[i]));
    cr_assert(stream_done(elsewhere));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_synchronize(n_devices));
}

Test(devices, parity_D5_peers_are_symmetric_and_memory_is_counted)
{
    enum { SIZE = 1 << 22 };
    uint64_t before, after, total, again;
    int there, back;

    for (int i = 0; i < n_devices; i++)
        for (int k = 0; k < n_devices; k++) {
            test_ok(xpurt_device_can_access_peer(i, k, &there));
            test_ok(xpurt_device_can_access_peer(k, i, &back));
            cr_assert_eq(there, back);
            cr_assert(there || i != k);
        }
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_can_access_peer(n_devices, 0, &there));
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_can_access_peer(0, n_devices, &there));

    test_ok(xpurt_mem_get_info(0, &before, &total));
    memory_on(0, SIZE);
    test_ok(xpurt_mem_get_info(0, &after, &again));
    cr_assert_eq(total, again);
    cr_assert_geq(before - after, SIZE);
}

Test(devices, parity_D6_what_can_be_shared_and_how)
{
    xpurt_device_properties properties;
    xpurt_ipc_support support;

    test_ok(xpurt_device_get_properties(0, &properties));
    test_ok(xpurt_device_get_ipc_support(0, &support));
    cr_assert_eq(support.events, XPURT_IPC_BOARD);
    cr_assert_eq(support.memory, XPURT_IPC_DAEMON);
    cr_assert_eq(support.native_events, XPURT_IPC_LEVEL_ZERO); /* the software driver can */
    cr_assert_eq(support.native_memory, XPURT_IPC_LEVEL_ZERO);
    cr_assert(properties.ipc_events && properties.ipc_memory);
    test_expect(XPURT_ERROR_INVALID_DEVICE, xpurt_device_get_ipc_support(n_devices, &support));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_device_get_ipc_support(0, NULL));
}

Test(devices, parity_D7_available_compiled_initialized)
{
    cr_assert(xpurt_is_compiled());
    cr_assert_eq(xpurt_get_device(), 0);
    cr_assert_not(xpurt_is_initialized());
    cr_assert(xpurt_is_available());
    cr_assert(xpurt_is_initialized());
    test_ok(xpurt_set_device(last_device));
    cr_assert_eq(xpurt_get_device(), last_device);
    test_ok(xpurt_reset());
    cr_assert_not(xpurt_is_initialized());
}

static void looks_at_opened(int channel, void *data)
{
    xpurt_pointer_attributes attributes;
    xpurt_mem_handle handle;
    void *memory;
    int device;

    (void)data;
    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, &memory));
    test_ok(xpurt_pointer_get_attributes(memory, &attributes));
    test_ok(xpurt_pointer_get_device(memory, &device));
    test_require(device == last_device && attributes.device == device, "on device %d", device);
    test_require(attributes.kind == XPURT_POINTER_DEVICE && attributes.opened, "not opened");
    test_require((char *)memory - (char *)attributes.base == 100, "other base");
    test_require(attributes.size == 4096, "%llu bytes", (unsigned long long)attributes.size);
    test_require(xpurt_device_is_used(last_device), "opening memory is using its device");
}

Test(devices, parity_D7_device_of_a_pointer)
{
    xpurt_pointer_attributes attributes = { .kind = XPURT_POINTER_HOST };
    unsigned char *memory;
    xpurt_mem_handle handle;
    struct test_peer peer;
    int device = -7;
    void *pinned;

    test_peer_start(&peer, looks_at_opened, NULL);
    memory = memory_on(last_device, 4096);
    test_ok(xpurt_pointer_get_device(memory + 4095, &device));
    cr_assert_eq(device, last_device);
    test_ok(xpurt_pointer_get_attributes(memory + 17, &attributes));
    cr_assert_eq(attributes.kind, XPURT_POINTER_DEVICE);
    cr_assert_eq(attributes.base, memory);
    cr_assert_eq(attributes.size, 4096);
    cr_assert_not(attributes.opened);
    test_ok(xpurt_mem_get_ipc_handle(memory + 100, &handle));
    test_send(peer.channel, &handle, sizeof(handle));
    test_peer_join(&peer);

    test_ok(xpurt_host_malloc(&pinned, 100));
    test_ok(xpurt_pointer_get_attributes(pinned, &attributes));
    cr_assert_eq(attributes.kind, XPURT_POINTER_HOST);
    cr_assert_eq(attributes.device, -1);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_pointer_get_device(pinned, &device));

    test_ok(xpurt_pointer_get_attributes(&device, &attributes));
    cr_assert_eq(attributes.kind, XPURT_POINTER_UNKNOWN);
    cr_assert_null(attributes.base);
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_pointer_get_device(&device, &device));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_pointer_get_device(memory + 4096, &device));
    test_expect(XPURT_ERROR_INVALID_ARGUMENT, xpurt_pointer_get_device(memory, NULL));
    test_ok(xpurt_free(memory));
    test_expect(XPURT_ERROR_INVALID_ADDRESS, xpurt_pointer_get_device(memory, &device));
    cr_assert_eq(device, last_device);
}
