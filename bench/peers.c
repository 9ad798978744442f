/* SPDX-License-Identifier: MIT */
/* bench/peers.c: peers that need nothing but the kernel and the C library.
 *
 * Guarantees of this file: a peer does as little as the job allows, never less; what it does is
 * done by real processes where the job is between processes.
 */
#include "bench/peers.h"
#include "bench/child.h"
#include "bench/clock.h"
#include "bench/record.h"
#include "bench/row.h"
#include "bench/samples.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- memory ------------------------------------------------------------------------------------- */

static int load(void)
{
    static _Atomic uint64_t line = 1;
    static _Atomic uint64_t *volatile opaque = &line; /* so that the load is done each time */

    return atomic_load_explicit(opaque, memory_order_acquire) == 0;
}

int peer_load(double seconds, double *ret_ns)
{
    return time_calls(load, seconds, ret_ns);
}

static int allocate(void)
{
    void *volatile memory = malloc(64);

    free(memory);
    return 0;
}

int peer_malloc(double seconds, double *ret_ns)
{
    return time_calls(allocate, seconds, ret_ns);
}

struct part {
    char *to;
    const char *from;
    size_t size;
};

static void *copy_part(void *data)
{
    const struct part *part = data;

    memcpy(part->to, part->from, part->size);
    __asm__ volatile("" : : "r"(part->to) : "memory");
    return NULL;
}

/* Starting the thread counts: whoever does this by hand pays for it too. */
static void copy_in_two(const struct part *whole)
{
    struct part half = { whole->to, whole->from, whole->size / 2 };
    struct part rest = { whole->to + half.size, whole->from + half.size, whole->size - half.size };
    pthread_t thread;

    if (pthread_create(&thread, NULL, copy_part, &rest)) {
        row_fail("there is no second thread for memcpy");
        return;
    }
    copy_part(&half);
    pthread_join(thread, NULL);
}

/* The median of many times @p copies copies. */
static int measure_memcpy(size_t size, unsigned threads, unsigned copies, double seconds,
                          double *ret_gb_per_second)
{
    char *from = malloc(size), *to = malloc(size);
    struct part whole = { to, from, size };
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds), begin;

    if (!from || !to) {
        free(from);
        free(to);
        return row_fail("no memory for memcpy");
    }
    memset(from, 1, size);
    memset(to, 2, size);
    do {
        begin = now_ns();
        for (unsigned i = 0; i < copies; i++)
            if (threads == 2)
                copy_in_two(&whole);
            else
                copy_part(&whole);
        samples_add(&samples, (double)(now_ns() - begin));
    } while (begin < end);
    *ret_gb_per_second = (double)(size * copies) / samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    free(from);
    free(to);
    return 0;
}

int peer_memcpy_256m(double seconds, double *ret_gb_per_second)
{
    return measure_memcpy(256u << 20, 1, 1, seconds, ret_gb_per_second);
}

int peer_memcpy_256m_2(double seconds, double *ret_gb_per_second)
{
    return measure_memcpy(256u << 20, 2, 1, seconds, ret_gb_per_second);
}

int peer_memcpy_16m(double seconds, double *ret_gb_per_second)
{
    return measure_memcpy(16u << 20, 1, 1, seconds, ret_gb_per_second);
}

int peer_memcpy_1k(double seconds, double *ret_gb_per_second)
{
    return measure_memcpy(1024, 1, CALLS_PER_LOOK, seconds, ret_gb_per_second);
}

/* ---- there and back ----------------------------------------------------------------------------- */

static struct child echo = CHILD_NULL, futex_echo = CHILD_NULL;

static struct {
    _Atomic uint32_t there, back;
} *words;

static int echo_bytes(int socket)
{
    char byte;

    while (recv(socket, &byte, 1, 0) == 1)
        if (send(socket, &byte, 1, MSG_NOSIGNAL) != 1)
            break;
    return 0;
}

static int echo_words(int socket)
{
    (void)socket;
    for (uint32_t seen = 0; !row_failed(); seen++) {
        while (atomic_load(&words->there) == seen)
            word_sleep(&words->there, seen);
        atomic_fetch_add(&words->back, 1);
        word_wake(&words->back);
    }
    return 0;
}

int peer_echo_open(void)
{
    words = shared_memory(sizeof(*words));
    if (!words || child_start(&echo, echo_bytes) < 0 || child_start(&futex_echo, echo_words) < 0)
        return -1;
    return 0;
}

void peer_echo_close(void)
{
    child_stop(&echo);
    child_stop(&futex_echo);
}

static int socket_round_trip(void)
{
    char byte = 'x';

    if (tell_bytes(echo.socket, &byte, 1) < 0)
        return -1;
    return hear_bytes(echo.socket, &byte, 1);
}

static int futex_round_trip(void)
{
    uint32_t seen = atomic_load(&words->back);

    atomic_fetch_add(&words->there, 1);
    word_wake(&words->there);
    while (atomic_load(&words->back) == seen)
        word_sleep(&words->back, seen);
    return 0;
}

static int round_trips(int (*round_trip)(void), uint64_t pause_ns, double seconds, double *ret_ns)
{
    struct samples samples = SAMPLES_NULL;
    uint64_t end = deadline_ns(seconds);
    int r;

    do {
        double begin;

        if (pause_ns)
            sleep_ns(pause_ns);
        begin = moment_ns();
        r = round_trip();
        samples_add(&samples, moment_ns() - begin);
    } while (r == 0 && now_ns() < end);
    *ret_ns = samples_quantile(&samples, 0.5);
    samples_deinit(&samples);
    return r;
}

int peer_socket(double seconds, double *ret_ns)
{
    return round_trips(socket_round_trip, 0, seconds, ret_ns);
}

int peer_socket_asleep(double seconds, double *ret_ns)
{
    return round_trips(socket_round_trip, ASLEEP_NS, seconds, ret_ns);
}

int peer_futex(double seconds, double *ret_ns)
{
    return round_trips(futex_round_trip, 0, seconds, ret_ns);
}

int peer_futex_asleep(double seconds, double *ret_ns)
{
    return round_trips(futex_round_trip, ASLEEP_NS, seconds, ret_ns);
}

/* ---- one way -------------------------------------------------------------------------------------- */

static struct child reader = CHILD_NULL;
static _Atomic uint64_t *bytes_read;

/* As a daemon reads: wait for many, then take what is there. */
static int read_bytes(int socket)
{
    static char buffer[65536];
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ssize_t n = 1;

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0)
        return row_fail("epoll: %s", strerror(errno));
    while (n > 0) {
        epoll_wait(epoll, &event, 1, -1);
        n = recv(socket, buffer, sizeof(buffer), 0);
        if (n > 0)
            atomic_fetch_add(bytes_read, (uint64_t)n);
    }
    return 0;
}

int peer_send_open(void)
{
    bytes_read = shared_memory(sizeof(*bytes_read));
    return bytes_read ? child_start(&reader, read_bytes) : -1;
}

void peer_send_close(void)
{
    child_stop(&reader);
}

int peer_send(double seconds, double *ret_ns)
{
    static uint64_t sent;
    char frame[RECORD_FRAME_SIZE] = { 0 };
    uint64_t end = deadline_ns(seconds), spent = 0, calls = 0, begin;

    do {
        begin = now_ns();
        for (unsigned i = 0; i < RECORD_BURST; i++)
            if (tell_bytes(reader.socket, frame, sizeof(frame)) < 0)
                return -1;
        spent += now_ns() - begin;
        calls += RECORD_BURST;
        sent += RECORD_BURST * sizeof(frame);
        while (atomic_load(bytes_read) < sent && !row_failed())
            sched_yield();
    } while (begin < end);
    *ret_ns = (double)spent / (double)calls;
    return 0;
}
