/* SPDX-License-Identifier: MIT */
/* tests/driver/scene.c: see scene.h. */
#include "scene.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct soft soft;

void soft_fail(const char *file, int line, const char *what, ze_result_t result)
{
    fprintf(stderr, "%s:%d: %s (0x%x)\n", file, line, what, (unsigned)result);
    abort();
}

void soft_open(void)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    uint32_t count = 1;

    OK(zeInit(0));
    OK(zeDriverGet(&count, &soft.driver));
    CHECK(count == 1);
    soft.device_count = 0;
    OK(zeDeviceGet(soft.driver, &soft.device_count, NULL));
    CHECK(soft.device_count > 0 && soft.device_count <= 16);
    OK(zeDeviceGet(soft.driver, &soft.device_count, soft.devices));
    OK(zeContextCreate(soft.driver, &desc, &soft.context));
}

void soft_close(void)
{
    OK(zeContextDestroy(soft.context));
}

bool soft_handles_are_wrapped(void)
{
    return getenv("ZE_ENABLE_LOADER_INTERCEPT");
}

bool soft_validates(void)
{
    return getenv("ZE_ENABLE_PARAMETER_VALIDATION");
}

void *soft_extension(const char *name)
{
    void *function = NULL;

    if (soft_handles_are_wrapped())
        return NULL;
    OK(zeDriverGetExtensionFunctionAddress(soft.driver, name, &function));
    return function;
}

ze_command_list_handle_t soft_immediate(uint32_t device, uint32_t flags)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .flags = flags,
                                     .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS };
    ze_command_list_handle_t list;

    OK(zeCommandListCreateImmediate(soft.context, soft.devices[device], &desc, &list));
    return list;
}

ze_command_list_handle_t soft_synchronous(uint32_t device)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .mode = ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS };
    ze_command_list_handle_t list;

    OK(zeCommandListCreateImmediate(soft.context, soft.devices[device], &desc, &list));
    return list;
}

ze_command_list_handle_t soft_regular(uint32_t device, uint32_t flags)
{
    ze_command_list_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC, .flags = flags };
    ze_command_list_handle_t list;

    OK(zeCommandListCreate(soft.context, soft.devices[device], &desc, &list));
    return list;
}

ze_command_queue_handle_t soft_queue(uint32_t device)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS };
    ze_command_queue_handle_t queue;

    OK(zeCommandQueueCreate(soft.context, soft.devices[device], &desc, &queue));
    return queue;
}

ze_event_pool_handle_t soft_pool(uint32_t flags, uint32_t count)
{
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                  .flags = flags | ZE_EVENT_POOL_FLAG_HOST_VISIBLE,
                                  .count = count };
    ze_event_pool_handle_t pool;

    OK(zeEventPoolCreate(soft.context, &desc, 0, NULL, &pool));
    return pool;
}

ze_event_handle_t soft_event(ze_event_pool_handle_t pool, uint32_t index)
{
    ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC, .index = index };
    ze_event_handle_t event;

    OK(zeEventCreate(pool, &desc, &event));
    return event;
}

void *soft_device_memory(size_t size)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *pointer;

    OK(zeMemAllocDevice(soft.context, &desc, size, 0, soft.devices[0], &pointer));
    return pointer;
}

void *soft_host_memory(size_t size)
{
    ze_host_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC };
    void *pointer;

    OK(zeMemAllocHost(soft.context, &desc, size, 0, &pointer));
    return pointer;
}

void soft_free(void *pointer)
{
    OK(zeMemFree(soft.context, pointer));
}

static unsigned entries(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    CHECK(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

unsigned soft_descriptors(void)
{
    return entries("/proc/self/fd");
}

unsigned soft_threads(void)
{
    return entries("/proc/self/task") - 2;
}

void soft_send(int socket, const void *data, size_t size, int fd)
{
    struct iovec vector = { (void *)(uintptr_t)data, size };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS } };
    struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    CHECK(sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)size);
}

int soft_receive(int socket, void *data, size_t size)
{
    struct iovec vector = { data, size };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = { .msg_iov = &vector,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    int fd = -1;

    CHECK(recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) == (ssize_t)size);
    if (CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

struct soft_child soft_fork(void (*child)(int socket))
{
    int sockets[2];
    pid_t pid;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(sockets[0]);
        child(sockets[1]);
        _exit(0);
    }
    close(sockets[1]);
    return (struct soft_child){ pid, sockets[0] };
}

void soft_join(struct soft_child *child)
{
    int status;

    close(child->socket);
    CHECK(waitpid(child->pid, &status, 0) == child->pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
