/* SPDX-License-Identifier: MIT */
/* xpurt-info: what it prints is what the API says, in both forms; every way out has its status. */
#include "tests/support/daemon.h"
#include "tests/support/peer.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX 65536

static struct test_daemon xpurtd;

static void start(void)
{
    test_daemon_start(&xpurtd, NULL);
}

static void stop(void)
{
    cr_assert_eq(test_daemon_stop(&xpurtd), 0);
}

TestSuite(info, .init = start, .fini = stop);
TestSuite(alone);

/* ---- running it -------------------------------------------------------------------------------- */

static char out[TEXT_MAX], err[TEXT_MAX]; /* of the last run */

static void take(int fd, char ret_text[TEXT_MAX])
{
    ssize_t n = pread(fd, ret_text, TEXT_MAX - 1, 0);

    cr_assert_geq(n, 0);
    ret_text[n] = '\0';
    close(fd);
}

/* The exit status. @p output: a file instead of `out`. */
static int run_into(const char *output, const char *const arguments[])
{
    const char *argv[8] = { "xpurt-info" };
    int out_fd = output ? open(output, O_WRONLY | O_CLOEXEC) : memfd_create("out", MFD_CLOEXEC);
    int err_fd = memfd_create("err", MFD_CLOEXEC), status;
    pid_t pid;

    for (int i = 0; arguments[i]; i++)
        argv[i + 1] = arguments[i];
    cr_assert(out_fd >= 0 && err_fd >= 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(out_fd, STDOUT_FILENO);
        dup2(err_fd, STDERR_FILENO);
        execv(XPURT_INFO, (char *const *)argv);
        _exit(127);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (output)
        close(out_fd);
    else
        take(out_fd, out);
    take(err_fd, err);
    cr_assert(WIFEXITED(status), "it ended with 0x%x: %s", (unsigned)status, err);
    return WEXITSTATUS(status);
}

#define run(...) run_into(NULL, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

/* ---- JSON -------------------------------------------------------------------------------------- */

static json_object *parse(void)
{
    json_tokener *tokener = json_tokener_new();
    json_object *page;

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    page = json_tokener_parse_ex(tokener, out, (int)strlen(out) + 1);
    cr_assert_not_null(page, "%s in: %s", json_tokener_error_desc(json_tokener_get_error(tokener)),
                       out);
    json_tokener_free(tokener);
    return page;
}

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;

    cr_assert(json_object_object_get_ex(object, name, &value), "%s is missing", name);
    return value;
}

static uint64_t number(json_object *object, const char *name)
{
    json_object *value = member(object, name);

    cr_assert(json_object_is_type(value, json_type_int), "%s is no number", name);
    return json_object_get_uint64(value);
}

static const char *text(json_object *object, const char *name)
{
    json_object *value = member(object, name);

    cr_assert(json_object_is_type(value, json_type_string), "%s is no text", name);
    return json_object_get_string(value);
}

static bool flag(json_object *object, const char *name)
{
    json_object *value = member(object, name);

    cr_assert(json_object_is_type(value, json_type_boolean), "%s is no flag", name);
    return json_object_get_boolean(value);
}

static void hex(const unsigned char *bytes, size_t size, char *ret_text)
{
    for (size_t i = 0; i < size; i++)
        sprintf(ret_text + 2 * i, "%02x", bytes[i]);
}

static void check_daemon(json_object *page)
{
    json_object *daemon = member(page, "daemon");
    xpurt_daemon_info info;
    char instance[33];

    test_ok(xpurt_daemon_get_info(&info));
    hex(info.instance, sizeof(info.instance), instance);
    cr_assert_str_eq(text(page, "library_version"), xpurt_version());
    cr_assert_str_eq(text(daemon, "version"), info.version);
    cr_assert_str_eq(text(daemon, "instance"), instance);
    cr_assert_str_eq(text(daemon, "socket"), xpurtd.socket);
    cr_assert_neq(number(daemon, "session"), info.session); /* its own, not ours */
}

/* Every limit that the daemon counts is there, and what this process uses is in it. */
static void check_limits(json_object *page)
{
    json_object *limits = member(page, "limits_of_this_user");
    xpurt_counter counters[128];
    size_t count = 0, seen = 0;

    test_ok(xpurt_daemon_counters(128, counters, &count));
    for (size_t i = 0; i < count; i++) {
        const char *name = counters[i].name;
        json_object *limit;

        if (strncmp(name, "limit-user-", 11))
            continue;
        seen++;
        for (char *dash = strchr(counters[i].name + 11, '-'); dash; dash = strchr(dash, '-'))
            *dash = '_';
        limit = member(limits, name + 11);
        if (counters[i].value == UINT64_MAX)
            cr_assert_null(member(limit, "limit"));
        else
            cr_assert_eq(number(limit, "limit"), counters[i].value, "%s", name);
    }
    cr_assert_eq(seen, (size_t)json_object_object_length(limits));
    cr_assert_geq(seen, 8);
    cr_assert_eq(number(member(limits, "streams"), "in_use"), 3);
    cr_assert_eq(number(member(limits, "memory"), "in_use"), 1 << 20);
    cr_assert_eq(number(member(limits, "sessions"), "in_use"), 2); /* ours and its own */
}

static void check_device(json_object *device, int index)
{
    json_object *memory = member(device, "memory"), *compute = member(device, "compute");
    json_object *sizes = member(compute, "sub_group_sizes");
    xpurt_device_properties properties;
    uint64_t free_bytes, total;
    char uuid[33], vendor[16];

    test_ok(xpurt_device_get_properties(index, &properties));
    test_ok(xpurt_mem_get_info(index, &free_bytes, &total));
    hex(properties.uuid, sizeof(properties.uuid), uuid);
    snprintf(vendor, sizeof(vendor), "0x%04x", properties.vendor_id);
    cr_assert_eq(number(device, "index"), (uint64_t)index);
    cr_assert_str_eq(text(device, "name"), properties.name);
    cr_assert_str_eq(text(device, "kind"), "software");
    cr_assert_str_eq(text(device, "architecture"), "software");
    cr_assert_str_eq(text(device, "vendor"), vendor);
    cr_assert_str_eq(text(device, "uuid"), uuid);
    cr_assert_str_eq(text(device, "driver_version"), properties.driver_version);
    cr_assert_eq(number(memory, "total"), total);
    cr_assert_eq(number(memory, "free"), free_bytes);
    cr_assert_eq(number(memory, "largest_allocation"), properties.max_allocation);
    cr_assert_eq(number(memory, "local_memory_of_a_group"), properties.local_memory);
    cr_assert_eq(number(compute, "compute_units"), properties.compute_units);
    cr_assert_eq(number(compute, "clock_mhz"), properties.clock_mhz);
    cr_assert_eq(number(compute, "largest_work_group"), properties.max_group_size);
    cr_assert_eq(flag(compute, "half_precision"), properties.fp16);
    cr_assert_eq(flag(compute, "double_precision"), properties.fp64);
    cr_assert_eq(flag(compute, "64_bit_atomics"), properties.atomic64);
    cr_assert_eq(flag(member(compute, "data_types"), "float32"), true);
    cr_assert_eq(json_object_array_length(sizes), properties.sub_group_size_count);
    for (uint32_t i = 0; i < properties.sub_group_size_count; i++)
        cr_assert_eq(json_object_get_uint64(json_object_array_get_idx(sizes, i)),
                     properties.sub_group_sizes[i]);
}

static void check_sharing(json_object *device, int index)
{
    json_object *sharing = member(device, "sharing_between_processes");
    json_object *peers = member(device, "peers");
    int access;

    cr_assert_str_eq(text(sharing, "events"), "shared board");
    cr_assert_str_eq(text(sharing, "memory"), "held by the daemon");
    cr_assert_str_eq(text(sharing, "native_events"), "level zero handle");
    cr_assert_str_eq(text(sharing, "native_memory"), "level zero handle");
    test_ok(xpurt_device_can_access_peer(index, !index, &access));
    cr_assert_eq(json_object_array_length(peers), (size_t)access);
    if (access)
        cr_assert_eq(json_object_get_int(json_object_array_get_idx(peers, 0)), !index);
}

static void use_something(void)
{
    xpurt_stream *stream;
    void *memory;

    for (int i = 0; i < 3; i++)
        test_ok(xpurt_stream_create(&stream));
    test_ok(xpurt_malloc(&memory, 1 << 20));
}

Test(info, json_says_what_the_api_says)
{
    json_object *page, *devices;

    use_something();
    cr_assert_eq(run("--json"), 0, "%s", err);
    cr_assert_str_empty(err);
    page = parse();
    check_daemon(page);
    check_limits(page);
    cr_assert_eq(json_object_get_int(member(member(page, "stream_priorities"), "least")), 1);
    cr_assert_eq(json_object_get_int(member(member(page, "stream_priorities"), "greatest")), -1);
    cr_assert_eq(number(page, "device_count"), (uint64_t)xpurt_device_count());
    devices = member(page, "devices");
    cr_assert_eq(json_object_array_length(devices), (size_t)xpurt_device_count());
    for (int i = 0; i < xpurt_device_count(); i++) {
        check_device(json_object_array_get_idx(devices, (size_t)i), i);
        check_sharing(json_object_array_get_idx(devices, (size_t)i), i);
    }
    json_object_put(page);
}

Test(info, one_device)
{
    json_object *page, *devices, *other;

    cr_assert_eq(run("--json", "--device", "1"), 0, "%s", err);
    page = parse();
    devices = member(page, "devices");
    cr_assert_eq(json_object_array_length(devices), 1);
    check_device(json_object_array_get_idx(devices, 0), 1);
    cr_assert_not(json_object_object_get_ex(page, "daemon", &other));
    json_object_put(page);

    cr_assert_eq(run("--device", "1"), 0, "%s", err);
    cr_assert(strstr(out, "Device 1\n") && !strstr(out, "Device 0\n") && !strstr(out, "Daemon"));
    cr_assert_eq(run("--device", "2"), 2);
    cr_assert_str_empty(out);
    cr_assert(strstr(err, "there is no device 2: xpurtd serves 2"), "%s", err);
}

/* ---- text -------------------------------------------------------------------------------------- */

/* Whether the text has a line "label : value". */
static bool line(const char *label, const char *value)
{
    size_t length = strlen(label);

    for (const char *at = strstr(out, label); at; at = strstr(at + 1, label)) {
        const char *colon = at + length + strspn(at + length, " ");

        if (strncmp(colon, ": ", 2) == 0 && strncmp(colon + 2, value, strlen(value)) == 0 &&
            colon[2 + strlen(value)] == '\n')
            return true;
    }
    return false;
}

Test(info, text_says_the_same)
{
    xpurt_device_properties properties;

    use_something();
    test_ok(xpurt_device_get_properties(0, &properties));
    cr_assert_eq(run(), 0, "%s", err);
    cr_assert_str_empty(err);
    cr_assert(line("Socket", xpurtd.socket), "%s", out);
    cr_assert(line("Name", properties.name), "%s", out);
    cr_assert(line("In use", "1 MiB"), "%s", out);
    cr_assert(line("Limit", "none"), "%s", out);
    cr_assert(line("Limit", "16 GiB"), "%s", out);
    cr_assert(line("Limit", "256 MiB"), "%s", out);
    cr_assert(line("Events", "shared board"), "%s", out);
    cr_assert(strstr(out, "\nDevice 0\n") && strstr(out, "\nDevice 1\n"), "%s", out);
}

Test(info, leaves_nothing_behind)
{
    test_ok(xpurt_init());
    for (int i = 0; i < 3; i++)
        cr_assert_eq(run(), 0, "%s", err);
    test_daemon_await_counter("sessions", 1);
    cr_assert_eq(test_daemon_counter("streams"), 0);
    cr_assert_eq(test_daemon_counter("user-leases"), 0);
    cr_assert_eq(test_daemon_counter("user-allocations"), 0);
    cr_assert_eq(test_daemon_counter("user-segments"), 0);
}

/* ---- ways out ---------------------------------------------------------------------------------- */

Test(alone, no_daemon)
{
    setenv("XPURT_SOCKET", "/nowhere/at/all", 1);
    cr_assert_eq(run(), 3);
    cr_assert_str_empty(out);
    cr_assert(strstr(err, "xpurt-info: ") == err && strstr(err, "/nowhere/at/all"), "%s", err);
    cr_assert_eq(run("--json"), 3);
    cr_assert_str_empty(out);

    unsetenv("XPURT_SOCKET");
    setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
    cr_assert_eq(run("--device", "0"), 3);
    cr_assert(strstr(err, "/nowhere/xpurtd.sock") && strstr(err, "/run/xpurtd/xpurtd.sock"), "%s",
              err);
}

Test(alone, help_and_version_need_no_daemon)
{
    char version[64];

    setenv("XPURT_SOCKET", "/nowhere/at/all", 1);
    cr_assert_eq(run("--help"), 0);
    cr_assert(strstr(out, "Usage: xpurt-info") && strstr(out, "Exit status"), "%s", out);
    cr_assert_str_empty(err);
    snprintf(version, sizeof(version), "xpurt-info %s\n", xpurt_version());
    cr_assert_eq(run("--version"), 0);
    cr_assert_str_eq(out, version);
}

Test(alone, wrong_options)
{
    static const char *const wrong[][3] = {
        { "--colour" },
        { "-x" },
        { "0" },
        { "--device" },
        { "--device", "-1" },
        { "--device=" },
        { "--device=1x" },
        { "--device", "64" },
        { "--json=yes" },
        { "--device= 1" },
        { "--json", "--device=99999999999999999999" },
    };

    setenv("XPURT_SOCKET", "/nowhere/at/all", 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(run_into(NULL, wrong[i]), 2, "%s", wrong[i][0]);
        cr_assert_str_empty(out);
        cr_assert(strstr(err, "Try 'xpurt-info --help'."), "%s: %s", wrong[i][0], err);
    }
}

Test(info, what_cannot_be_written_is_told)
{
    static const char *const ways[][2] = { { NULL }, { "--json" }, { "--help" }, { "--version" } };

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        cr_assert_eq(run_into("/dev/full", ways[i]), 1, "%s", err);
        cr_assert(strstr(err, "cannot be written"), "%s", err);
    }
}
