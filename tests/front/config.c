/* SPDX-License-Identifier: MIT */
/* tests/front/config.c: options and configuration: what is accepted, what is refused, and how. */
#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[] = "/tmp/xpurt-config-XXXXXX";
static struct config config;

static void init(void)
{
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    close(fd);
    config_init(&config);
}

static void fini(void)
{
    unlink(path);
    config_deinit(&config);
}

TestSuite(front_config, .init = init, .fini = fini);

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

/* What config_read() says on stderr about a file with @p text, from behind the file's name on. */
static char *complaint(const char *text)
{
    static char log[2048];
    int kept = dup(STDERR_FILENO);
    int capture = memfd_create("log", MFD_CLOEXEC);
    char *from;
    ssize_t n;
    int r;

    write_file(text);
    dup2(capture, STDERR_FILENO);
    r = config_read(&config, path);
    dup2(kept, STDERR_FILENO);
    close(kept);
    cr_assert_eq(r, -EINVAL, "%s: %d", text, r);

    n = pread(capture, log, sizeof(log) - 1, 0);
    close(capture);
    cr_assert_gt(n, 0);
    log[n] = '\0';
    cr_assert_eq(strncmp(log, "xpurtd: error: ", 15), 0, "%s", log);
    from = strstr(log, path);
    cr_assert_not_null(from, "%s", log);
    return from + strlen(path);
}

static uint64_t amount(const char *text)
{
    const char *problem = config_set(&config, "limits", "user-memory", text);

    cr_assert_null(problem, "%s: %s", text, problem);
    return config.limits.user_memory;
}

Test(front_config, amounts)
{
    cr_assert_eq(amount("0"), 0);
    cr_assert_eq(amount("17"), 17);
    cr_assert_eq(amount("3K"), 3 * 1024);
    cr_assert_eq(amount("3M"), 3 << 20);
    cr_assert_eq(amount("16G"), UINT64_C(16) << 30);
    cr_assert_eq(amount("2T"), UINT64_C(2) << 40);
    cr_assert_eq(amount("18446744073709551615"), UINT64_MAX);
    cr_assert_eq(amount("unlimited"), UINT64_MAX);
}

Test(front_config, wrong_values_change_nothing)
{
    static const char *const wrong[][3] = {
        { "limits", "user-memory", "" },
        { "limits", "user-memory", "-1" },
        { "limits", "user-memory", "1k" },
        { "limits", "user-memory", "1KB" },
        { "limits", "user-memory", "0x10" },
        { "limits", "user-memory", " 1" },
        { "limits", "user-memory", "18446744073709551616" },
        { "limits", "user-memory", "18014398509481984K" },
        { "limits", "sessions", "0" },
        { "limits", "sessions", "4097" },
        { "limits", "hello-timeout-ms", "0" },
        { "limits", "hello-timeout-ms", "3G" },
        { "limits", "nonsense", "1" },
        { "daemon", "device", "cpu" },
        { "daemon", "device", "" },
        { "daemon", "socket", "" },
        { "daemon", "socket-mode", "8" },
        { "daemon", "socket-mode", "-6" },
        { "daemon", "socket-mode", "1777" },
        { "daemon", "log-level", "verbose" },
        { "daemon", "log-level", "7" },
        { "daemon", "", "x" },
        { "", "device", "soft" },
        { "Daemon", "device", "soft" },
    };
    struct config before = config;
    char long_path[200];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not_null(config_set(&config, wrong[i][0], wrong[i][1], wrong[i][2]), "%s %s = %s",
                           wrong[i][0], wrong[i][1], wrong[i][2]);

    memset(long_path, 'x', sizeof(long_path));
    long_path[108] = '\0';
    cr_assert_not_null(config_set(&config, "daemon", "socket", long_path));
    cr_assert_eq(memcmp(&config, &before, sizeof(config)), 0);

    long_path[107] = '\0';
    cr_assert_null(config_set(&config, "daemon", "socket", long_path));
}

Test(front_config, file)
{
    write_file("# a comment\n"
               "; another\n"
               "[daemon]\n"
               "device = soft     ; behind a value\n"
               "  log_level=debug\n"    /* neither indentation nor _ matters */
               "socket = /tmp/x y\r\n"
               "socket-mode: 0640\n"
               "\n"
               "[limits]\n"
               "user-streams = 7\n"
               "user_streams = 8\n"      /* the last one counts */
               "hello-timeout-ms = 1K"); /* no newline at the end */
    cr_assert_eq(config_read(&config, path), 0);
    cr_assert_eq(config.device, DEVICE_SOFT);
    cr_assert_eq(config.log_level, LOG_DEBUG);
    cr_assert_str_eq(config.socket, "/tmp/x y");
    cr_assert_eq(config.socket_mode, 0640);
    cr_assert_eq(config.limits.user_streams, 8);
    cr_assert_eq(config.limits.hello_timeout_ms, 1024);
    cr_assert_eq(config.limits.user_exports, 65536);
}

Test(front_config, complaints_name_file_and_line)
{
    char line[400];

    cr_assert_str_eq(complaint("[daemon]\n\ndevice = cpu\nlog-level = none\n"),
                     ":3: [daemon] device = cpu: expected auto, gpu or soft\n");
    cr_assert_str_eq(complaint("[daemon]\ncolour = red\n"),
                     ":2: [daemon] colour = red: unknown key\n");
    cr_assert_str_eq(complaint("# one\n[queue]\nsize = 1\n"),
                     ":3: [queue] size = 1: unknown section\n");
    cr_assert_str_eq(complaint("device = soft\n"), ":1: [] device = soft: unknown section\n");
    cr_assert_str_eq(complaint("[daemon]\ndevice soft\n"),
                     ":2: expected [section], name = value, or a comment\n");
    cr_assert_str_eq(complaint("[daemon\n"),
                     ":1: expected [section], name = value, or a comment\n");
    cr_assert_str_eq(complaint("[limits]\nuser-memory = 1X\n"),
                     ":2: [limits] user-memory = 1X: "
                     "expected a number, maybe with K, M, G or T, or unlimited\n");

    memset(line, 'x', sizeof(line));
    memcpy(line, "\n[daemon]\nsocket = ", 19);
    line[sizeof(line) - 1] = '\0';
    cr_assert_str_eq(complaint(line), ":3: the line is too long\n");
    cr_assert_null(config.socket);
}

Test(front_config, nobody_forges_a_log_entry)
{
    cr_assert_str_eq(complaint("[daemon]\ndevice = \033[1m\177\n"),
                     ":2: [daemon] device = ?[1m?: expected auto, gpu or soft\n");
}

Test(front_config, missing_file)
{
    unlink(path);
    cr_assert_eq(config_read(&config, path), -ENOENT);
    cr_assert_eq(config_read(&config, "/"), -EIO);
}

Test(front_config, print_and_read_back)
{
    char *first = NULL, *second = NULL;
    struct config again;
    size_t size;
    FILE *file;

    cr_assert_null(config_set(&config, "daemon", "device", "gpu"));
    cr_assert_null(config_set(&config, "daemon", "soft-driver", "/opt/libze_soft.so"));
    cr_assert_null(config_set(&config, "daemon", "socket-mode", "0660"));
    cr_assert_null(config_set(&config, "limits", "user-streams", "12K"));
    cr_assert_eq(config_complete(&config), 0);

    file = open_memstream(&first, &size);
    config_print(&config, file);
    fclose(file);

    write_file(first);
    config_init(&again);
    cr_assert_eq(config_read(&again, path), 0);
    file = open_memstream(&second, &size);
    config_print(&again, file);
    fclose(file);

    cr_assert_str_eq(first, second);
    cr_assert_not_null(strstr(first, "user-streams = 12288\n"));
    cr_assert_not_null(strstr(first, "user-memory = unlimited\n"));
    config_deinit(&again);
    free(first);
    free(second);
}

Test(front_config, socket_of_a_user_and_of_the_machine)
{
    struct config user;

    setenv("XDG_RUNTIME_DIR", "/tmp/runtime", 1);
    if (geteuid() == 0) {
        cr_assert_eq(config_complete(&config), 0);
        cr_assert_str_eq(config.socket, "/run/xpurtd/xpurtd.sock");
        cr_assert_eq(config.socket_mode, 0666);
        cr_assert_eq(seteuid(65534), 0);
    }

    config_init(&user);
    cr_assert_eq(config_complete(&user), 0);
    cr_assert_str_eq(user.socket, "/tmp/runtime/xpurtd.sock");
    cr_assert_eq(user.socket_mode, 0600);
    config_deinit(&user);

    unsetenv("XDG_RUNTIME_DIR");
    config_init(&user);
    cr_assert_eq(config_complete(&user), 0);
    cr_assert_str_eq(user.socket, "/run/xpurtd/xpurtd.sock");
    cr_assert_eq(user.socket_mode, 0666, "the service runs as a user, for all");
    config_deinit(&user);

    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);    /* to remove the file */
}

Test(front_config, options_override_the_file)
{
    char *argv[] = { "xpurtd", "--config", path, "--log-level=error", "--socket", "/tmp/s", NULL };
    struct options options;
    struct config effective;

    write_file("[daemon]\ndevice = soft\nlog-level = debug\nsocket = /tmp/file\n");
    cr_assert_eq(options_parse(&options, 6, argv), 0);
    cr_assert_eq(options.check, false);
    cr_assert_eq(options_config(&options, &effective), 0);
    cr_assert_eq(effective.device, DEVICE_SOFT);
    cr_assert_eq(effective.log_level, LOG_ERR);
    cr_assert_str_eq(effective.socket, "/tmp/s");
    config_deinit(&effective);
}

Test(front_config, a_named_file_must_exist)
{
    char *argv[] = { "xpurtd", "--config", path, NULL };
    struct options options;
    struct config untouched = config;

    unlink(path);
    cr_assert_eq(options_parse(&options, 3, argv), 0);
    cr_assert_eq(options_config(&options, &untouched), -ENOENT);
    cr_assert_eq(memcmp(&untouched, &config, sizeof(config)), 0);
}
