/* SPDX-License-Identifier: MIT */
/* daemon/main.c: xpurtd: start, signals, the service manager, stop.
 *
 * Guarantees of this file:
 *   - READY is told only when clients are served, and exit status 0 means that all that clients had
 *     submitted was finished;
 *   - a configuration that cannot be read never replaces one that could;
 *   - unless a watchdog is asked for there is no timer: nobody is woken for nothing.
 */
#include "daemon/gpu.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/server.h"
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define SCHED_FLAG_RESET_ON_FORK 1      /* of sched_setattr(2) */
#define SLICE_NS 100000                 /* the shortest there is */

struct daemon {
    struct options options;
    struct config config;
    struct listener listener;
    struct gpu *gpu;
    struct server *server;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hangup;
    uv_poll_t watchdog;
    int watchdog_fd;                    /* a timer of the kernel; < 0: no watchdog */
    bool loop_open;
    bool stopping;
};

#define DAEMON_NULL { .listener = LISTENER_NULL, .watchdog_fd = -1 }

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

/* ---- stopping ------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* From here on nothing of ours keeps the loop alive. */
static void on_server_closed(void *data)
{
    struct daemon *daemon = data;

    close_handle((uv_handle_t *)&daemon->terminate, NULL);
    close_handle((uv_handle_t *)&daemon->interrupt, NULL);
    close_handle((uv_handle_t *)&daemon->hangup, NULL);
    if (daemon->watchdog_fd >= 0)
        close_handle((uv_handle_t *)&daemon->watchdog, NULL);
}

static void on_stop(uv_signal_t *handle, int signal_number)
{
    struct daemon *daemon = handle->data;

    if (daemon->stopping) {
        log_warning("%s again: leaving at once", strsignal(signal_number));
        _exit(EXIT_FAILURE);
    }
    daemon->stopping = true;
    log_notice("%s: finishing what was submitted", strsignal(signal_number));
    sd_notify(0, "STOPPING=1\nSTATUS=Finishing what was submitted");
    listener_close(&daemon->listener);
    server_close(daemon->server, on_server_closed, daemon);
}

/* ---- reading the configuration again -------------------------------------------------------- */

static bool same_path(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void warn_fixed(const char *key, bool changed)
{
    if (changed)
        log_warning("%s has changed: ignored until restart", key);
}

static void reload(struct daemon *daemon)
{
    struct config *now = &daemon->config;
    struct config fresh;

    if (options_config(&daemon->options, &fresh) < 0) {
        log_error("the configuration stays as it was");
        return;
    }
    warn_fixed("device", fresh.device != now->device);
    warn_fixed("socket", !same_path(fresh.socket, now->socket));
    warn_fixed("socket-mode", fresh.socket_mode != now->socket_mode);
    warn_fixed("soft-driver", !same_path(fresh.soft_driver, now->soft_driver));

    now->limits = fresh.limits;         /* the server looks at them anew for each charge */
    now->log_level = fresh.log_level;
    config_deinit(&fresh);
    log_set_level(now->log_level);
    log_notice("configuration read again");
}

static void on_hangup(uv_signal_t *handle, int signal_number)
{
    struct timespec now;

    (void)signal_number;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    reload(handle->data);
    sd_notify(0, "READY=1");
}

/* ---- starting ------------------------------------------------------------------------------- */

/* Each client takes a few descriptors; nothing here uses select(2), so more does no harm. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            log_warning("RLIMIT_NOFILE: %s", strerror(errno));
    }
}

static void on_watchdog(uv_poll_t *poll, int status, int events)
{
    const struct daemon *daemon = poll->data;
    uint64_t times;

    (void)status;
    (void)events;
    (void)!read(daemon->watchdog_fd, &times, sizeof(times)); /* or it would be told again at once */
    sd_notify(0, "WATCHDOG=1");
}

/* Twice in the time that systemd gives us. No timer of the loop: with one it reads the clock before each
 * sleep, which is in the way of who wakes us up (bells.c). */
static int start_watchdog(struct daemon *daemon, uint64_t within_us)
{
    const uint64_t every_us = within_us / 2;
    const struct timespec every = { .tv_sec = (time_t)(every_us / 1000000),
                                    .tv_nsec = (long)(every_us % 1000000 * 1000) };
    const struct itimerspec times = { .it_interval = every, .it_value = { .tv_nsec = 1 } };
    int r;

    daemon->watchdog_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (daemon->watchdog_fd < 0 || timerfd_settime(daemon->watchdog_fd, 0, &times, NULL) < 0)
        return -errno;
    r = uv_poll_init(&daemon->loop, &daemon->watchdog, daemon->watchdog_fd);
    if (r < 0)
        return r;
    daemon->watchdog.data = daemon;
    return uv_poll_start(&daemon->watchdog, UV_READABLE, on_watchdog);
}

static int start_loop(struct daemon *daemon)
{
    uv_signal_t *const handles[] = { &daemon->terminate, &daemon->interrupt, &daemon->hangup };
    uint64_t watchdog_us = 0;
    int r;

    r = uv_loop_init(&daemon->loop);
    if (r < 0)
        return r;
    daemon->loop_open = true;

    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]) && r == 0; i++) {
        uv_signal_init(&daemon->loop, handles[i]);
        handles[i]->data = daemon;
        r = uv_signal_start(handles[i], signals[i] == SIGHUP ? on_hangup : on_stop, signals[i]);
    }
    if (r == 0 && sd_watchdog_enabled(1, &watchdog_us) > 0)
        r = start_watchdog(daemon, watchdog_us);
    return r;
}

static int daemon_open(struct daemon *daemon)
{
    int fd, r;

    signal(SIGPIPE, SIG_IGN);           /* a reader of our log may go away */
    log_set_level(daemon->config.log_level);
    raise_descriptor_limit();

    r = listener_open(&daemon->listener, &daemon->config);
    if (r < 0)
        return r;
    r = start_loop(daemon);
    if (r < 0) {
        log_error("event loop: %s", strerror(-r));
        return r;
    }
    r = gpu_open(&daemon->config, &daemon->gpu);
    if (r < 0)
        return r;

    r = server_new(&daemon->loop, daemon->gpu, &daemon->config, &daemon->server);
    while (r == 0 && (fd = listener_take(&daemon->listener)) >= 0)
        r = server_listen(daemon->server, fd);
    if (r < 0)
        log_error("server: %s", strerror(-r));
    return r;
}

/* A short slice. Who rings us goes on behind what it asked for, not before: that takes some
 * microseconds, and is then not waited for. It also ends our turn soon where others want the CPU.
 * Where the kernel knows no slices (before Linux 6.12), or does not let us, all stays as it is. */
static void shorten_slice(void)
{
    struct {                            /* sched_attr; many C libraries do not have it */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attr = { 0 };

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
        return;
    attr.runtime = SLICE_NS;
    attr.flags |= SCHED_FLAG_RESET_ON_FORK; /* workers compute */
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void daemon_run(struct daemon *daemon)
{
    const char *path = daemon->listener.path ? daemon->listener.path : "the socket of systemd";

    log_notice("ready on %s", path);
    sd_notifyf(0, "READY=1\nSTATUS=Serving on %s", path);
    shorten_slice();
    server_run(daemon->server);
    log_notice("done");
}

/* Safe after any failure of daemon_open(). */
static void daemon_deinit(struct daemon *daemon)
{
    listener_close(&daemon->listener);
    if (daemon->loop_open) {
        if (daemon->server && !daemon->stopping)
            server_close(daemon->server, on_server_closed, daemon);
        if (daemon->server) {
            server_run(daemon->server);
        } else {
            uv_walk(&daemon->loop, close_handle, NULL);
            uv_run(&daemon->loop, UV_RUN_DEFAULT);
        }
    }
    server_free(daemon->server);
    gpu_close(daemon->gpu);
    if (daemon->loop_open && uv_loop_close(&daemon->loop) < 0)
        assert(!"every handle was closed");
    if (daemon->watchdog_fd >= 0)
        close(daemon->watchdog_fd);
    config_deinit(&daemon->config);
}

static int check_config(const struct config *config)
{
    config_print(config, stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : -EIO;
}

int main(int argc, char **argv)
{
    struct daemon daemon = DAEMON_NULL;
    int r;

    r = options_parse(&daemon.options, argc, argv); /* > 0: help was printed */
    if (r)
        return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    if (daemon.options.build_worker)
        worker_run();                   /* does not return */

    r = options_config(&daemon.options, &daemon.config);
    if (r == 0 && daemon.options.check) {
        r = check_config(&daemon.config);
    } else if (r == 0) {
        r = daemon_open(&daemon);       /* sockets, loop, driver */
        if (r == 0)
            daemon_run(&daemon);        /* until SIGTERM */
    }
    daemon_deinit(&daemon);             /* safe after any failure above */
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
