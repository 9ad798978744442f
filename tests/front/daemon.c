/* SPDX-License-Identifier: MIT */
/* tests/front/daemon.c: how xpurtd starts, is told things, and stops. */
#include "process.h"

#include <xpurt/xpurt.h>

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(front_daemon, .init = test_folder_make, .fini = test_folder_remove);

static char *socket_path(void)
{
    static char path[128];

    strcpy(path, in_folder("socket"));
    return path;
}

static void start(struct process *process)
{
    process_start(process, "--device", "soft", "--socket", socket_path(), NULL);
}

static void start_and_wait(struct process *process)
{
    start(process);
    cr_assert(process_tells(process, "READY=1"), "%s", process_log(process));
}

static void stop(struct process *process)
{
    kill(process->pid, SIGTERM);
    cr_assert_eq(process_end(process), 0, "%s", process_log(process));
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static int bound_socket(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

#define assert_log(process, text) \
    cr_assert_not_null(strstr(process_log(process), text), "'%s' is missing in:\n%s", text, \
                       process_log(process))

/* ---- options --------------------------------------------------------------------------------- */

Test(front_daemon, help_version)
{
    struct process help = { 0 }, version = { 0 };

    process_start(&help, "--help", NULL);
    cr_assert_eq(process_end(&help), 0);
    assert_log(&help, "Usage: xpurtd");
    assert_log(&help, "--check-config");

    process_start(&version, "--version", NULL);
    cr_assert_eq(process_end(&version), 0);
    assert_log(&version, "xpurtd ");
    assert_log(&version, xpurt_version());
}

Test(front_daemon, wrong_options_end_with_2_and_a_hint)
{
    static const char *const wrong[][3] = {
        { "--colour", NULL },  { "--device", "cpu", NULL }, { "--log-level=all", NULL },
        { "--socket=", NULL }, { "--config", NULL }, /* without a value */
        { "file.ini", NULL },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct process process = { 0 };

        /* A --config in front, so that the last argument stays the last. */
        process_start(&process, "--config", "/dev/null", wrong[i][0], wrong[i][1], NULL);
        cr_assert_eq(process_end(&process), 2, "%s", process_log(&process));
        assert_log(&process, "Try 'xpurtd --help'.");
    }
}

Test(front_daemon, check_config)
{
    struct process good = { 0 }, bad = { 0 };
    const char *file = in_folder("ini");
    char expected[256];

    write_file(file, "[limits]\nuser-host-memory = 2G\n");
    process_start(&good, "--config", file, "--socket", "/tmp/x", "--check-config", NULL);
    cr_assert_eq(process_end(&good), 0);
    assert_log(&good, "socket = /tmp/x\n");
    assert_log(&good, "user-host-memory = 2147483648\n");

    write_file(file, "[limits]\nuser-host-memory = two\n");
    process_start(&bad, "--config", file, "--check-config", NULL);
    cr_assert_eq(process_end(&bad), 1);
    snprintf(expected, sizeof(expected), "%s:2: ", file);
    assert_log(&bad, expected);
}

/* The example names every key with its default: without the ';' it changes nothing. */
Test(front_daemon, example_configuration)
{
    struct process defaults = { 0 }, example = { 0 };
    const char *file = in_folder("ini");
    char command[512], expected[4096];

    snprintf(command, sizeof(command), "sed 's/^;//' '%s' > '%s'", getenv("XPURTD_INI"), file);
    cr_assert_eq(system(command), 0);

    process_start(&defaults, "--check-config", NULL);
    cr_assert_eq(process_end(&defaults), 0);
    snprintf(expected, sizeof(expected), "%s", process_log(&defaults));
    process_start(&example, "--config", file, "--check-config", NULL);
    cr_assert_eq(process_end(&example), 0);
    cr_assert_str_eq(process_log(&example), expected);

    for (char *line = strtok(expected, "\n"); line; line = strtok(NULL, "\n")) {
        if (!strchr(line, '='))
            continue;
        *strchr(line, '=') = '\0';
        snprintf(command, sizeof(command), "grep -q '^;%s*=' '%s'", line, getenv("XPURTD_INI"));
        cr_assert_eq(system(command), 0, "the example lacks %s", line);
    }
}

/* ---- the socket ------------------------------------------------------------------------------ */

Test(front_daemon, starts_and_stops)
{
    static const int signals[] = { SIGTERM, SIGINT };

    for (size_t i = 0; i < 2; i++) {
        struct process process = { 0 };

        start_and_wait(&process);
        cr_assert(socket_answers(socket_path()));
        assert_log(&process, socket_path());

        kill(process.pid, signals[i]);
        cr_assert(process_tells(&process, "STOPPING=1"));
        cr_assert_eq(process_end(&process), 0, "%s", process_log(&process));
        cr_assert_neq(access(socket_path(), F_OK), 0, "the socket is still there");
        cr_assert_neq(access(in_folder("socket.lock"), F_OK), 0, "the lock is still there");
    }
}

Test(front_daemon, second_daemon_refuses)
{
    struct process first = { 0 }, second = { 0 };
    char expected[256];

    start_and_wait(&first);
    start(&second);
    cr_assert_eq(process_end(&second), 1);
    snprintf(expected, sizeof(expected), "another xpurtd answers on %s\n", socket_path());
    assert_log(&second, expected);
    cr_assert(socket_answers(socket_path()));
    stop(&first);
}

Test(front_daemon, of_many_at_once_one_wins)
{
    struct process processes[6] = { 0 };
    unsigned ready = 0;

    close(bound_socket(socket_path(), SOCK_STREAM)); /* stale: all want to replace it */
    for (unsigned i = 0; i < 6; i++)
        start(&processes[i]);
    for (unsigned i = 0; i < 6; i++) {
        if (process_tells(&processes[i], "READY=1")) {
            ready++;
        } else {
            cr_assert_eq(process_end(&processes[i]), 1, "%s", process_log(&processes[i]));
            assert_log(&processes[i], "another xpurtd answers");
        }
    }
    cr_assert_eq(ready, 1);
    cr_assert(socket_answers(socket_path()));
    for (unsigned i = 0; i < 6; i++)
        if (processes[i].pid)
            stop(&processes[i]);
}

/* Between its checks and its bind a daemon answers nobody yet: only the lock keeps others out. */
Test(front_daemon, the_lock_decides)
{
    struct process process = { 0 };
    int lock = open(in_folder("socket.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_eq(flock(lock, LOCK_EX), 0);
    start(&process);
    cr_assert_eq(process_end(&process), 1);
    assert_log(&process, "another xpurtd answers");
    cr_assert_neq(access(socket_path(), F_OK), 0);
    close(lock);

    start_and_wait(&process);           /* the file alone, left by a crash, keeps nobody out */
    stop(&process);
}

Test(front_daemon, stale_socket_is_replaced)
{
    struct process first = { 0 }, second = { 0 };

    start_and_wait(&first);
    kill(first.pid, SIGKILL);
    cr_assert_eq(process_end(&first), -SIGKILL);
    cr_assert_eq(access(socket_path(), F_OK), 0);

    start_and_wait(&second);
    assert_log(&second, "replacing the stale socket");
    cr_assert(socket_answers(socket_path()));
    stop(&second);
}

Test(front_daemon, what_is_no_socket_is_not_replaced)
{
    struct process process = { 0 };
    struct stat st;

    write_file(socket_path(), "precious");
    start(&process);
    cr_assert_eq(process_end(&process), 1);
    assert_log(&process, "is not a socket");
    cr_assert_eq(stat(socket_path(), &st), 0);
    cr_assert(S_ISREG(st.st_mode) && st.st_size == 8);
}

Test(front_daemon, a_socket_of_somebody_else_is_not_removed)
{
    struct process process = { 0 };
    int fd;

    start_and_wait(&process);
    cr_assert_eq(unlink(socket_path()), 0);
    fd = bound_socket(socket_path(), SOCK_STREAM);
    stop(&process);
    cr_assert_eq(access(socket_path(), F_OK), 0);
    close(fd);
}

Test(front_daemon, missing_folder)
{
    struct process process = { 0 };

    process_start(&process, "--device", "soft", "--socket", in_folder("none/of/these/socket"),
                  NULL);
    cr_assert_eq(process_end(&process), 1);
    assert_log(&process, "No such file or directory");
}

Test(front_daemon, mode_of_the_socket)
{
    struct process usual = { 0 }, configured = { 0 };
    const char *file = in_folder("ini");
    struct stat st;

    start_and_wait(&usual);
    cr_assert_eq(stat(socket_path(), &st), 0);
    cr_assert_eq(st.st_mode & 07777, geteuid() == 0 ? 0666 : 0600);
    stop(&usual);

    write_file(file, "[daemon]\ndevice = soft\nsocket-mode = 0640\n");
    process_start(&configured, "--config", file, "--socket", socket_path(), NULL);
    cr_assert(process_tells(&configured, "READY=1"));
    cr_assert_eq(stat(socket_path(), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0640);
    stop(&configured);
}

/* ---- the service manager --------------------------------------------------------------------- */

Test(front_daemon, socket_activation)
{
    struct process process = { 0 }, other = { 0 };
    int fd = bound_socket(socket_path(), SOCK_STREAM);

    cr_assert_eq(listen(fd, 8), 0);
    process.listen_fd = fd;
    process_start(&process, "--device", "soft", "--socket", in_folder("unused"), NULL);
    cr_assert(process_tells(&process, "READY=1"), "%s", process_log(&process));
    close(fd);
    cr_assert(socket_answers(socket_path()));
    cr_assert_neq(access(in_folder("unused"), F_OK), 0);

    start(&other);                      /* there is no lock, but somebody who answers */
    cr_assert_eq(process_end(&other), 1);
    assert_log(&other, "another xpurtd answers");

    stop(&process);
    cr_assert_eq(access(socket_path(), F_OK), 0, "the socket belongs to systemd");
}

Test(front_daemon, socket_activation_refuses_other_sockets)
{
    struct process datagram = { 0 }, deaf = { 0 };
    int fd;

    fd = bound_socket(in_folder("datagram"), SOCK_DGRAM);
    datagram.listen_fd = fd;
    process_start(&datagram, "--device", "soft", NULL);
    cr_assert_eq(process_end(&datagram), 1);
    assert_log(&datagram, "not a listening Unix stream socket");
    close(fd);

    fd = bound_socket(in_folder("deaf"), SOCK_STREAM);
    deaf.listen_fd = fd;
    process_start(&deaf, "--device", "soft", NULL);
    cr_assert_eq(process_end(&deaf), 1);
    close(fd);
}

Test(front_daemon, watchdog)
{
    struct process process = { .environment = { "WATCHDOG_USEC=400000" } };

    start_and_wait(&process);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(process_tells(&process, "WATCHDOG=1"));
    stop(&process);
}

Test(front_daemon, priorities_for_journald)
{
    struct process process = { 0 };
    char stream[64], path[128];
    struct stat st;

    /* journald would name the pipe it reads; here that is the file the first daemon logs to. */
    strcpy(path, in_folder("log0"));
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    cr_assert_eq(stat(path, &st), 0);
    snprintf(stream, sizeof(stream), "JOURNAL_STREAM=%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    process.environment[0] = stream;
    start_and_wait(&process);
    cr_assert_str_eq(process.log, path);
    stop(&process);
    assert_log(&process, "<5>ready on ");
    cr_assert_null(strstr(process_log(&process), "notice"));
}

/* ---- reading the configuration again --------------------------------------------------------- */

static void reload(struct process *process)
{
    kill(process->pid, SIGHUP);
    cr_assert(process_tells(process, "RELOADING=1"), "%s", process_log(process));
    cr_assert(process_tells(process, "READY=1"), "%s", process_log(process));
}

/* What a process that connects now and exports an event gets. */
static xpurt_result export_anew(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        xpurt_event_handle handle;
        xpurt_event *event;
        xpurt_result result;

        setenv("XPURT_SOCKET", socket_path(), 1);
        result = xpurt_event_create(XPURT_EVENT_INTERPROCESS, &event);
        if (result == XPURT_SUCCESS)
            result = xpurt_event_get_ipc_handle(event, &handle);
        _exit(result);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    return (xpurt_result)WEXITSTATUS(status);
}

Test(front_daemon, hangup_reads_the_configuration_again)
{
    struct process process = { 0 };
    const char *file = in_folder("ini");
    char expected[256];

    write_file(file, "[daemon]\ndevice = soft\n");
    process_start(&process, "--config", file, "--socket", socket_path(), NULL);
    cr_assert(process_tells(&process, "READY=1"), "%s", process_log(&process));
    cr_assert_eq(export_anew(), XPURT_SUCCESS, "%s", process_log(&process));

    write_file(file, "[daemon]\ndevice = soft\n[limits]\nuser-exports = 0\n");
    reload(&process);
    assert_log(&process, "configuration read again");
    cr_assert_eq(export_anew(), XPURT_ERROR_QUOTA, "%s", process_log(&process));

    write_file(file, "[daemon]\ndevice = soft\n\nnonsense\n");
    reload(&process);
    snprintf(expected, sizeof(expected), "%s:4: ", file);
    assert_log(&process, expected);
    assert_log(&process, "the configuration stays as it was");
    cr_assert_eq(export_anew(), XPURT_ERROR_QUOTA, "%s", process_log(&process));

    write_file(file, "[daemon]\ndevice = auto\nsocket-mode = 0600\nlog-level = error\n");
    reload(&process);
    assert_log(&process, "device has changed: ignored until restart");
    cr_assert_eq(export_anew(), XPURT_SUCCESS, "%s", process_log(&process));
    stop(&process);
    cr_assert_null(strstr(process_log(&process), "notice: done"), "the log level has not changed");
}
