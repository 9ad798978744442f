/* SPDX-License-Identifier: MIT */
/* daemon/lookout.h: sleeping on a word of shared memory, without being deaf to what an epoll set watches.
 *
 * To be woken by a word takes the kernel less than by a descriptor of an epoll set, from the waker's call
 * to the return of who slept. But a thread sleeps on one or the other. So while we sleep on the word
 * another thread watches the set, and wakes us when it has something. That is a detour: it pays for who
 * is mostly woken by the word.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lookout {
    int set;                            /* an epoll set, borrowed */
    int stir;                           /* an eventfd: look at `state` */
    bool started;
    pthread_t thread, sleeper;
    _Atomic(_Atomic uint32_t *) word;   /* what we sleep on */
    _Atomic uint32_t state;             /* enum lookout_state of lookout.c */
    _Atomic bool asleep;
};

/* Starts the thread, which rests. From now on SIGURG, of which there is no other use, interrupts a thread.
 * -errno. */
int lookout_init(struct lookout *lookout, int set);

/* Safe on zeroes, too. */
void lookout_deinit(struct lookout *lookout);

/* Have the set watched, for sleeps of the calling thread on @p word. */
void lookout_begin(struct lookout *lookout, _Atomic uint32_t *word);

/* Sleep until somebody wakes the word, the set has something, or @p timeout_ms (-1: none) are over; not at
 * all when the word does not hold @p value. True: the set has something. Who may write to the word, or sleep
 * there, can wake us, and keep us from being woken by the set for some milliseconds. */
bool lookout_sleep(struct lookout *lookout, uint32_t value, int timeout_ms);

/* The set is not to be watched any more. */
void lookout_end(struct lookout *lookout);
