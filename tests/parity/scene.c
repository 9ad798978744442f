/* SPDX-License-Identifier: MIT */
/* tests/parity/scene.c: see scene.h.
 *
 * Guarantees of this file: whatever fails here ends the test process with a sentence.
 */
#include "tests/parity/scene.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct test_daemon xpurtd;
int n_devices, last_device;

/* As the software driver counts, without asking the daemon: many tests begin before that. */
void scene_count_devices(void)
{
    const char *wanted = getenv("ZE_SOFT_DEVICES");

    n_devices = wanted ? atoi(wanted) : DEVICES_MAX;
    test_require(n_devices == 1 || n_devices == 2, "over one or two devices, not %d", n_devices);
    last_device = n_devices - 1;
}

void scene_start(void)
{
    /* Not "auto", which would make rings, and with them descriptors, while a test counts those. */
    setenv("XPURT_TRANSPORT", "socket", 0);
    scene_count_devices();
    test_daemon_start_gated(&xpurtd);
}

void scene_stop(void)
{
    test_require(test_daemon_stop(&xpurtd) == 0, "the daemon ended badly");
}

xpurt_stream *stream_on(int device)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_create_with_priority(device, 0, &stream));
    return stream;
}

xpurt_event *event_with(unsigned flags)
{
    xpurt_event *event;

    test_ok(xpurt_event_create(flags, &event));
    return event;
}

unsigned char *memory_on(int device, size_t size)
{
    int before = xpurt_get_device();
    void *memory;

    test_ok(xpurt_set_device(device));
    test_ok(xpurt_malloc(&memory, size));
    test_ok(xpurt_set_device(before));
    return memory;
}

void occupy(xpurt_stream *stream)
{
    int device;

    test_ok(xpurt_stream_get_device(stream, &device));
    test_ok(xpurt_memset_async(memory_on(device, 64), 1, 64, stream));
}

bool stream_done(xpurt_stream *stream)
{
    xpurt_result r = xpurt_stream_query(stream);

    test_require(r == XPURT_SUCCESS || r == XPURT_NOT_READY, "%s", xpurt_last_error());
    return r == XPURT_SUCCESS;
}

uint64_t stream_id_of(xpurt_stream *stream)
{
    uint64_t id;

    test_ok(xpurt_stream_get_id(stream, &id));
    return id;
}

xpurt_stream *current_on(int device)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_get_current(device, &stream));
    return stream;
}

xpurt_stream *default_on(int device)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_get_default(device, &stream));
    return stream;
}

xpurt_stream *pooled_on(int device, int priority)
{
    xpurt_stream *stream;

    test_ok(xpurt_stream_get_from_pool(device, priority, &stream));
    return stream;
}

void event_send(int channel, xpurt_event *event)
{
    xpurt_event_handle handle;

    test_ok(xpurt_event_get_ipc_handle(event, &handle));
    test_send(channel, &handle, sizeof(handle));
}

xpurt_event *event_receive(int channel)
{
    xpurt_event_handle handle;
    xpurt_event *event;

    test_receive(channel, &handle, sizeof(handle));
    test_ok(xpurt_event_open_ipc_handle(&handle, &event));
    return event;
}

/* Not the files behind device memory: what is cached of that stays. */
static bool counts(DIR *dir, const char *name)
{
    char target[128];
    ssize_t n = readlinkat(dirfd(dir), name, target, sizeof(target) - 1);

    target[n > 0 ? n : 0] = '\0';
    return !strstr(target, "ze_soft-");
}

static unsigned entries_of(pid_t pid, const char *folder)
{
    const struct dirent *entry;
    char path[64];
    unsigned n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, folder);
    dir = opendir(path);
    test_require(dir, "%s cannot be read", path);
    while ((entry = readdir(dir)))
        n += counts(dir, entry->d_name);
    closedir(dir);
    return n;
}

struct footprint footprint_of(pid_t pid)
{
    return (struct footprint){ entries_of(pid, "fd"), entries_of(pid, "task") };
}

void footprint_check(pid_t pid, struct footprint before)
{
    struct footprint now = { 0 };

    for (int tries = 0; tries < 6000; tries++) {
        now = footprint_of(pid);
        if (now.descriptors <= before.descriptors && now.threads <= before.threads)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    test_fail(__FILE__, __LINE__, "the footprint",
              "%u descriptors and %u threads, before %u and %u", now.descriptors, now.threads,
              before.descriptors, before.threads);
}

bool said(const char *text)
{
    return strstr(xpurt_last_error(), text) != NULL;
}
