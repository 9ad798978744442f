/* SPDX-License-Identifier: MIT */
/* tests/conformance/soft.c: see soft.h.
 *
 * Guarantees of this file: nothing waits without a bound; whatever fails ends the test process with
 * a message.
 */
#include "tests/conformance/soft.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDLE_BYTES 64                 /* ZE_MAX_IPC_HANDLE_SIZE */
#define SILENCE_MS 60000

struct soft soft;

static bool is_on(const char *variable)
{
    const char *text = getenv(variable);

    return text && strcmp(text, "1") == 0;
}

bool soft_validated(void)
{
    return is_on("ZE_ENABLE_VALIDATION_LAYER");
}

bool soft_intercepted(void)
{
    return is_on("ZE_ENABLE_LOADER_INTERCEPT");
}

void soft_open(void)
{
    ze_context_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC };
    uint32_t count = 1;

    test_require(getenv("ZE_ENABLE_ALT_DRIVERS"), "ZE_ENABLE_ALT_DRIVERS must name libze_soft.so");
    memset(&soft, 0, sizeof(soft));
    REQUIRE_ZE(zeInit(0));
    REQUIRE_ZE(zeDriverGet(&count, &soft.driver));
    soft.device_count = COUNT_OF(soft.devices);
    REQUIRE_ZE(zeDeviceGet(soft.driver, &soft.device_count, soft.devices));
    test_require(soft.device_count > 0, "no device");
    soft.device = soft.devices[0];
    REQUIRE_ZE(zeContextCreate(soft.driver, &desc, &soft.context));
}

void soft_close(void)
{
    REQUIRE_ZE(zeContextDestroy(soft.context));
    memset(&soft, 0, sizeof(soft));
}

void *soft_entry(const char *name)
{
    void *function = NULL;

    test_require(!soft_intercepted(), "%s takes no wrapped handles", name);
    REQUIRE_ZE(zeDriverGetExtensionFunctionAddress(soft.driver, name, &function));
    test_require(function, "%s is null", name);
    return function;
}

/* ---- makers ---------------------------------------------------------------------------------- */

ze_command_list_handle_t soft_immediate_on(ze_device_handle_t device, uint32_t ordinal,
                                           ze_command_queue_mode_t mode,
                                           ze_command_queue_priority_t priority, uint32_t flags)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .ordinal = ordinal,
                                     .flags = flags,
                                     .mode = mode,
                                     .priority = priority };
    ze_command_list_handle_t list;

    REQUIRE_ZE(zeCommandListCreateImmediate(soft.context, device, &desc, &list));
    return list;
}

ze_command_list_handle_t soft_immediate(ze_command_queue_mode_t mode)
{
    return soft_immediate_on(soft.device, 0, mode, ZE_COMMAND_QUEUE_PRIORITY_NORMAL, 0);
}

ze_command_list_handle_t soft_list(uint32_t flags)
{
    ze_command_list_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC, .flags = flags };
    ze_command_list_handle_t list;

    REQUIRE_ZE(zeCommandListCreate(soft.context, soft.device, &desc, &list));
    return list;
}

ze_command_queue_handle_t soft_queue(ze_command_queue_mode_t mode)
{
    ze_command_queue_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC, .mode = mode };
    ze_command_queue_handle_t queue;

    REQUIRE_ZE(zeCommandQueueCreate(soft.context, soft.device, &desc, &queue));
    return queue;
}

ze_event_pool_handle_t soft_pool(uint32_t count, ze_event_pool_flags_t flags)
{
    ze_event_pool_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                  .count = count,
                                  .flags = flags | ZE_EVENT_POOL_FLAG_HOST_VISIBLE };
    ze_event_pool_handle_t pool;

    REQUIRE_ZE(zeEventPoolCreate(soft.context, &desc, 0, NULL, &pool));
    return pool;
}

ze_event_handle_t soft_event(ze_event_pool_handle_t pool, uint32_t index)
{
    ze_event_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
                             .index = index,
                             .signal = ZE_EVENT_SCOPE_FLAG_HOST,
                             .wait = ZE_EVENT_SCOPE_FLAG_HOST };
    ze_event_handle_t event;

    REQUIRE_ZE(zeEventCreate(pool, &desc, &event));
    return event;
}

ze_fence_handle_t soft_fence(ze_command_queue_handle_t queue, ze_fence_flags_t flags)
{
    ze_fence_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_FENCE_DESC, .flags = flags };
    ze_fence_handle_t fence;

    REQUIRE_ZE(zeFenceCreate(queue, &desc, &fence));
    return fence;
}

void *soft_alloc(ze_memory_type_t type, size_t size)
{
    ze_device_mem_alloc_desc_t device = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_host_mem_alloc_desc_t host = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC };
    void *memory = NULL;

    if (type == ZE_MEMORY_TYPE_DEVICE)
        REQUIRE_ZE(zeMemAllocDevice(soft.context, &device, size, 64, soft.device, &memory));
    else if (type == ZE_MEMORY_TYPE_HOST)
        REQUIRE_ZE(zeMemAllocHost(soft.context, &host, size, 64, &memory));
    else
        REQUIRE_ZE(zeMemAllocShared(soft.context, &device, &host, size, 64, soft.device, &memory));
    return memory;
}

void soft_free(void *memory)
{
    REQUIRE_ZE(zeMemFree(soft.context, memory));
}

void soft_finish(ze_command_list_handle_t list)
{
    ze_event_pool_handle_t pool = soft_pool(1, 0);
    ze_event_handle_t event = soft_event(pool, 0);

    REQUIRE_ZE(zeCommandListAppendSignalEvent(list, event));
    REQUIRE_ZE(zeEventHostSynchronize(event, FOREVER));
    REQUIRE_ZE(zeEventDestroy(event));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
}

/* ---- random numbers -------------------------------------------------------------------------- */

uint64_t soft_seed(void)
{
    const char *text = getenv("SOFT_SEED");
    uint64_t seed = 0;

    if (text)
        seed = strtoull(text, NULL, 0);
    else
        test_require(getrandom(&seed, sizeof(seed), 0) == sizeof(seed), "no random numbers");
    printf("SOFT_SEED=0x%llx\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* Splitmix64: any seed is good. */
uint64_t soft_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- handles between processes --------------------------------------------------------------- */

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int soft_handle_fd(const void *handle)
{
    int fd;

    memcpy(&fd, handle, sizeof(fd));
    return fd;
}

void soft_send_handle(int channel, const void *handle)
{
    struct iovec bytes = { (void *)(uintptr_t)handle, HANDLE_BYTES };
    union control control = { .bytes = { 0 } };
    struct msghdr message = { .msg_iov = &bytes,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    int fd = soft_handle_fd(handle);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    test_require(sendmsg(channel, &message, MSG_NOSIGNAL) == HANDLE_BYTES, "sendmsg: %s",
                 strerror(errno));
}

/* Never the number that the exporter has: then the descriptor could not be told from a number that
 * means nothing here. */
static int renumbered(int fd, int not)
{
    int other = fd;

    if (fd == not) {
        other = fcntl(fd, F_DUPFD_CLOEXEC, not+1);
        close(fd);
    }
    test_require(other >= 0, "fcntl: %s", strerror(errno));
    return other;
}

void soft_receive_handle(int channel, void *ret_handle)
{
    struct iovec bytes = { ret_handle, HANDLE_BYTES };
    union control control;
    struct msghdr message = { .msg_iov = &bytes,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    struct pollfd pollfd = { .fd = channel, .events = POLLIN };
    struct cmsghdr *rights;
    int fd;

    test_require(poll(&pollfd, 1, SILENCE_MS) == 1, "the other side is silent");
    test_require(recvmsg(channel, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL) == HANDLE_BYTES,
                 "recvmsg: %s", strerror(errno));
    rights = CMSG_FIRSTHDR(&message);
    test_require(rights && rights->cmsg_type == SCM_RIGHTS, "a handle without descriptor");
    memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
    fd = renumbered(fd, soft_handle_fd(ret_handle));
    memcpy(ret_handle, &fd, sizeof(fd));
}

/* ---- OpenCL ---------------------------------------------------------------------------------- */

bool soft_has_opencl(void)
{
    int (*get_platforms)(unsigned, void **, unsigned *);
    int (*get_devices)(void *, uint64_t, unsigned, void **, unsigned *);
    const uint64_t cpu = 2;             /* CL_DEVICE_TYPE_CPU */
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL), *platforms[8];
    unsigned count = 0, devices = 0;

    if (!library)
        return false;
    *(void **)&get_platforms = dlsym(library, "clGetPlatformIDs");
    *(void **)&get_devices = dlsym(library, "clGetDeviceIDs");
    if (get_platforms(COUNT_OF(platforms), platforms, &count) != 0)
        return false;
    for (unsigned i = 0; i < count && i < COUNT_OF(platforms) && devices == 0; i++)
        get_devices(platforms[i], cpu, 0, NULL, &devices);
    return devices > 0;
}
