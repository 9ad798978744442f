/* SPDX-License-Identifier: MIT */
/* tests/front/process.c: start, watch and end an xpurtd. No wait here is without a bound. */
#include "process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define ARGUMENTS_MAX 16

char test_folder[32];

void test_folder_make(void)
{
    strcpy(test_folder, "/tmp/xpurt-front-XXXXXX");
    cr_assert_not_null(mkdtemp(test_folder));
}

void test_folder_remove(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf '%s'", test_folder);
    cr_assert_eq(system(command), 0);
}

const char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", test_folder, name);
    return path;
}

static int notify_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* In the child: become xpurtd. */
static void become(const struct process *process, const char *notify_path, const char **arguments)
{
    const char *program = getenv("XPURTD");
    int log = open(process->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    char pid[16];

    prctl(PR_SET_PDEATHSIG, SIGKILL);   /* nothing stays behind a test that failed */
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    unsetenv("XDG_RUNTIME_DIR");
    setenv("NOTIFY_SOCKET", notify_path, 1);
    for (unsigned i = 0; process->environment[i]; i++)
        putenv((char *)process->environment[i]);
    if (process->listen_fd) {
        snprintf(pid, sizeof(pid), "%d", getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        if (process->listen_fd == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(process->listen_fd, 3);
    }
    execv(program, (char **)arguments);
    _exit(127);
}

void process_start(struct process *process, ...)
{
    static unsigned started;
    const char *arguments[ARGUMENTS_MAX] = { "xpurtd" };
    unsigned count = 1;
    bool config = false;
    char name[32];
    const char *notify_path;
    va_list list;

    cr_assert_not_null(getenv("XPURTD"), "XPURTD names the daemon under test");
    va_start(list, process);
    while ((arguments[count] = va_arg(list, const char *))) {
        config |= strcmp(arguments[count++], "--config") == 0;
        cr_assert_lt(count, ARGUMENTS_MAX - 2);
    }
    va_end(list);
    if (!config) {
        arguments[count++] = "--config";
        arguments[count++] = "/dev/null";
        arguments[count] = NULL;
    }

    snprintf(name, sizeof(name), "log%u", started);
    strcpy(process->log, in_folder(name));
    snprintf(name, sizeof(name), "notify%u", started++);
    notify_path = in_folder(name);
    process->notify = notify_socket(notify_path);

    process->pid = fork();
    cr_assert_geq(process->pid, 0);
    if (process->pid == 0)
        become(process, notify_path, arguments);
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    cr_assert_geq(process->pidfd, 0);
}

static bool has_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    return at && (at == text || at[-1] == '\n');
}

bool process_tells(struct process *process, const char *line)
{
    struct pollfd fds[] = {
        { .fd = process->notify, .events = POLLIN },
        { .fd = process->pidfd, .events = POLLIN },
    };
    char text[1024];

    while (poll(fds, 2, PATIENCE_MS) > 0) {
        ssize_t n = recv(process->notify, text, sizeof(text) - 1, MSG_DONTWAIT);

        if (n < 0 && fds[1].revents)
            return false;
        text[n < 0 ? 0 : n] = '\0';
        if (has_line(text, line))
            return true;
    }
    return false;
}

int process_end(struct process *process)
{
    struct pollfd end = { .fd = process->pidfd, .events = POLLIN };
    bool in_time = poll(&end, 1, PATIENCE_MS) == 1;
    int status;

    if (!in_time)
        kill(process->pid, SIGKILL);
    cr_assert_eq(waitpid(process->pid, &status, 0), process->pid);
    close(process->pidfd);
    close(process->notify);
    process->pid = 0;

    if (!in_time)
        return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

const char *process_log(const struct process *process)
{
    static char text[16384];
    int fd = open(process->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    cr_assert_geq(n, 0);
    text[n] = '\0';
    close(fd);
    return text;
}

bool socket_answers(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers;

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return answers;
}
