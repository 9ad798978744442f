/* SPDX-License-Identifier: MIT */
/* tests/unit/lookout.c: a sleep on a word ends with the word, with what the set has, and with time. */
#include "daemon/lookout.h"

#include "proto/board.h"

#include <criterion/criterion.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define VALUE 5
#define SOON_US 20000

static struct lookout lookout;
static int set, fd;                     /* the set has something when the eventfd was written to */
static _Atomic uint32_t word = VALUE;

static void begin(void)
{
    struct epoll_event event = { .events = EPOLLIN };

    set = epoll_create1(EPOLL_CLOEXEC);
    fd = eventfd(0, EFD_CLOEXEC);
    cr_assert_eq(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), 0);
    cr_assert_eq(lookout_init(&lookout, set), 0);
}

static void end(void)
{
    lookout_deinit(&lookout);
    close(fd);
    close(set);
}

TestSuite(lookout, .init = begin, .fini = end, .timeout = 60);

static void *write_soon(void *arg)
{
    usleep(SOON_US);
    eventfd_write(fd, 1);
    return arg;
}

static void *wake_soon(void *arg)
{
    usleep(SOON_US);
    atomic_store(&word, VALUE + 1);
    board_wake(&word);
    return arg;
}

/* Sleeps without an end, while another thread does that. */
static bool sleep_beside(void *(*thread_main)(void *arg))
{
    pthread_t thread;
    bool seen;

    cr_assert_eq(pthread_create(&thread, NULL, thread_main, NULL), 0);
    seen = lookout_sleep(&lookout, VALUE, -1);
    pthread_join(thread, NULL);
    return seen;
}

Test(lookout, tells_of_the_set)
{
    lookout_begin(&lookout, &word);
    cr_assert(sleep_beside(write_soon));
}

Test(lookout, is_told_of_the_word)
{
    lookout_begin(&lookout, &word);
    cr_assert_not(sleep_beside(wake_soon));
    cr_assert_not(lookout_sleep(&lookout, VALUE, -1), "it is another value by now");
}

/* And is told again, by each sleep, until somebody looks. */
Test(lookout, what_was_seen_before_the_sleep_ends_it)
{
    uint32_t watching;

    lookout_begin(&lookout, &word);
    watching = atomic_load(&lookout.state);
    eventfd_write(fd, 1);
    while (atomic_load(&lookout.state) == watching)
        usleep(10);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(lookout_sleep(&lookout, VALUE, -1));
}

Test(lookout, ends_with_time)
{
    struct timespec before, after;

    lookout_begin(&lookout, &word);
    clock_gettime(CLOCK_MONOTONIC, &before);
    cr_assert_not(lookout_sleep(&lookout, VALUE, 1020));
    clock_gettime(CLOCK_MONOTONIC, &after);
    cr_assert_geq(
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 1019);
}

/* Again and again; what the set has while it is not watched is told of later. */
Test(lookout, begins_again)
{
    eventfd_t value;

    for (unsigned i = 0; i < 100; i++) {
        eventfd_write(fd, 1);
        lookout_begin(&lookout, &word);
        cr_assert(lookout_sleep(&lookout, VALUE, -1));
        lookout_end(&lookout);
        eventfd_read(fd, &value);
        lookout_begin(&lookout, &word);
        cr_assert_not(lookout_sleep(&lookout, VALUE, 1));
        lookout_end(&lookout);
    }
}
