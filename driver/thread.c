/* SPDX-License-Identifier: MIT */
/* thread.c: starting a thread of the driver. Signals of the application are blocked in it, so that
 * a handler never runs on a thread the application does not know.
 */
#include "thread.h"

#include <pthread.h>
#include <signal.h>

#define STACK_BYTES (8u << 20) /* kernels are compiled on first launch, and a compiler recurses */

bool thread_start(const char *name, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int r;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attributes, run, argument);
    if (r == 0)
        pthread_setname_np(thread, name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return r == 0;
}
