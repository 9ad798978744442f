/* SPDX-License-Identifier: MIT */
/* scene.h: what the tests of the software device share. Everything goes through the loader. */
#ifndef SCENE_H
#define SCENE_H

#include <level_zero/ze_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "ze_newer.h"

#define FOREVER UINT64_MAX
#define MILLISECOND UINT64_C(1000000)

/* For plain programs and Criterion tests alike: the process ends, and says where and why. */
#define CHECK(condition) \
    ((condition) ? (void)0 : soft_fail(__FILE__, __LINE__, #condition, ZE_RESULT_SUCCESS))
#define RESULT(expected, call) \
    do { \
        ze_result_t got_ = (call); \
        if (got_ != (expected)) \
            soft_fail(__FILE__, __LINE__, #call, got_); \
    } while (0)
#define OK(call) RESULT(ZE_RESULT_SUCCESS, call)
#define ERROR(name, call) RESULT(ZE_RESULT_ERROR_##name, call)
_Noreturn void soft_fail(const char *file, int line, const char *what, ze_result_t result);

struct soft {
    ze_driver_handle_t driver;
    ze_context_handle_t context;
    uint32_t device_count;
    ze_device_handle_t devices[16];
};
extern struct soft soft;

void soft_open(void);                   /* zeInit, the devices, a context */
void soft_close(void);

/* An entry point the old loader does not export; NULL where handles are wrapped by the loader, for
 * then nobody can call it. */
void *soft_extension(const char *name);
bool soft_handles_are_wrapped(void);
/* The validation layer of the old loader refuses flags that came later. */
bool soft_validates(void);

enum { IN_ORDER = NEWER_COMMAND_QUEUE_FLAG_IN_ORDER };
ze_command_list_handle_t soft_immediate(uint32_t device, uint32_t flags);
ze_command_list_handle_t soft_synchronous(uint32_t device);
ze_command_list_handle_t soft_regular(uint32_t device, uint32_t flags);
ze_command_queue_handle_t soft_queue(uint32_t device);
ze_event_pool_handle_t soft_pool(uint32_t flags, uint32_t count);
ze_event_handle_t soft_event(ze_event_pool_handle_t pool, uint32_t index);
void *soft_device_memory(size_t size);
void *soft_host_memory(size_t size);
void soft_free(void *pointer);

/* Descriptors and threads of this process. */
unsigned soft_descriptors(void);
unsigned soft_threads(void);

/* Passing a descriptor and some bytes between parent and child. */
void soft_send(int socket, const void *data, size_t size, int fd);
int soft_receive(int socket, void *data, size_t size); /* the descriptor, or -1 */
/* Runs @p child in a forked process with one end of a socket; its exit status must be 0. */
struct soft_child {
    int pid, socket;
};
struct soft_child soft_fork(void (*child)(int socket));
void soft_join(struct soft_child *child);

#endif
