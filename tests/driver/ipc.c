/* SPDX-License-Identifier: MIT */
/* Events and memory between processes. */
#include "scene.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

TestSuite(ipc, .timeout = 60);

enum { EVENTS = 4, BYTES = 100000 };

/* As a receiver does it: its own descriptor in bytes 0..3, never the exporter's number. */
static void put_descriptor(void *handle, int fd)
{
    int original, moved;

    memcpy(&original, handle, sizeof(original));
    moved = fcntl(fd, F_DUPFD_CLOEXEC, original + 1);
    CHECK(moved >= 0);
    close(fd);
    memcpy(handle, &moved, sizeof(moved));
    memset((char *)handle + sizeof(moved), 0, 4);
}

static int descriptor_of(const void *handle)
{
    int fd;

    memcpy(&fd, handle, sizeof(fd));
    return fd;
}

static ze_event_pool_handle_t receive_pool(int socket)
{
    ze_ipc_event_pool_handle_t handle;
    int fd = soft_receive(socket, &handle, sizeof(handle));
    ze_event_pool_handle_t pool;

    put_descriptor(&handle, fd);
    OK(zeEventPoolOpenIpcHandle(soft.context, handle, &pool));
    CHECK(fcntl(descriptor_of(&handle), F_GETFD) == -1); /* consumed */
    return pool;
}

static void send_pool(int socket, ze_event_pool_handle_t pool)
{
    ze_ipc_event_pool_handle_t handle;
    char second[sizeof(handle)];

    OK(zeEventPoolGetIpcHandle(pool, &handle));
    memcpy(second, &handle, sizeof(second));
    OK(zeEventPoolGetIpcHandle(pool, &handle));
    CHECK(memcmp(second, &handle, sizeof(handle)) == 0);
    CHECK(memcmp(handle.data + 4, "\0\0\0\0", 4) == 0);
    soft_send(socket, &handle, sizeof(handle), descriptor_of(&handle));
}

/* Echoes: waits on the host for event 0, signals 1; a queue waits for 2, copies, signals 3. */
static void echo(int socket)
{
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t events[EVENTS];
    char from[16] = "copied", to[16] = "";
    unsigned descriptors;

    soft_open();
    soft_free(soft_device_memory(1));
    descriptors = soft_descriptors();
    pool = receive_pool(socket);
    for (uint32_t i = 0; i < EVENTS; i++)
        events[i] = soft_event(pool, i);
    list = soft_immediate(0, 0);
    OK(zeCommandListAppendMemoryCopy(list, to, from, sizeof(to), events[3], 1, &events[2]));
    OK(zeEventHostSynchronize(events[0], FOREVER));
    OK(zeEventHostSignal(events[1]));
    OK(zeEventHostSynchronize(events[3], FOREVER));
    CHECK(strcmp(to, "copied") == 0);
    for (uint32_t i = 0; i < EVENTS; i++)
        OK(zeEventDestroy(events[i]));
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolCloseIpcHandle(pool));
    CHECK(soft_descriptors() == descriptors);
    soft_close();
}

static void ping(struct soft_child *child)
{
    ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_IPC, EVENTS);
    ze_command_list_handle_t list = soft_immediate(0, 0);
    ze_event_handle_t events[EVENTS];

    for (uint32_t i = 0; i < EVENTS; i++)
        events[i] = soft_event(pool, i);
    send_pool(child->socket, pool);
    OK(zeCommandListAppendSignalEvent(list, events[0]));
    OK(zeCommandListAppendSignalEvent(list, events[2]));
    OK(zeEventHostSynchronize(events[1], FOREVER));
    OK(zeCommandListAppendWaitOnEvents(list, 1, &events[3]));
    OK(zeEventHostSynchronize(events[3], FOREVER));
    soft_join(child);
    for (uint32_t i = 0; i < EVENTS; i++) {
        OK(zeEventQueryStatus(events[i]));
        OK(zeEventDestroy(events[i]));
    }
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolDestroy(pool));
}

Test(ipc, events_reach_another_process)
{
    struct soft_child child = soft_fork(echo);

    soft_open();
    ping(&child);
    soft_close();
}

Test(ipc, a_forked_child_initialises_afresh)
{
    struct soft_child child;
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t gate;

    soft_open();
    list = soft_immediate(0, 0);
    pool = soft_pool(0, 1);
    gate = soft_event(pool, 0);
    soft_free(soft_device_memory(1 << 20));
    OK(zeCommandListAppendWaitOnEvents(list, 1, &gate)); /* stays in the parent */
    child = soft_fork(echo);
    ping(&child);
    OK(zeEventHostSignal(gate));
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(gate));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

/* Queues wait for events that only the other side signals, many times: the listener at work. */
static void relay(int socket)
{
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t ours, theirs;

    soft_open();
    pool = receive_pool(socket);
    ours = soft_event(pool, 0);
    theirs = soft_event(pool, 1);
    list = soft_immediate(0, 0);
    for (int i = 0; i < 2000; i++) {
        OK(zeCommandListAppendWaitOnEvents(list, 1, &ours));
        OK(zeCommandListAppendEventReset(list, ours));
        OK(zeCommandListAppendSignalEvent(list, theirs));
    }
    soft_send(socket, "", 1, -1);
    CHECK(soft_receive(socket, &(char){ 0 }, 1) == -1);
    OK(zeEventDestroy(ours));
    OK(zeEventDestroy(theirs));
    OK(zeCommandListDestroy(list));
    OK(zeEventPoolCloseIpcHandle(pool));
    soft_close();
}

Test(ipc, queues_of_two_processes_take_turns)
{
    struct soft_child child = soft_fork(relay);
    ze_event_handle_t theirs, ours;
    ze_event_pool_handle_t pool;

    soft_open();
    pool = soft_pool(ZE_EVENT_POOL_FLAG_IPC, 2);
    theirs = soft_event(pool, 0);
    ours = soft_event(pool, 1);
    send_pool(child.socket, pool);
    soft_receive(child.socket, &(char){ 0 }, 1);
    for (int i = 0; i < 2000; i++) {
        OK(zeEventHostSignal(theirs));
        OK(zeEventHostSynchronize(ours, FOREVER));
        OK(zeEventHostReset(ours));
    }
    soft_send(child.socket, "", 1, -1);
    soft_join(&child);
    OK(zeEventDestroy(ours));
    OK(zeEventDestroy(theirs));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

/* One pool opened again in its own process: two views of the same events. */
Test(ipc, opening_in_the_same_process)
{
    ze_event_pool_handle_t pool, again;
    ze_ipc_event_pool_handle_t handle;
    ze_event_handle_t event, same, done;
    ze_command_list_handle_t list;

    soft_open();
    pool = soft_pool(ZE_EVENT_POOL_FLAG_IPC, 2);
    OK(zeEventPoolGetIpcHandle(pool, &handle));
    OK(zeEventPoolOpenIpcHandle(soft.context, handle, &again));
    CHECK(fcntl(descriptor_of(&handle), F_GETFD) != -1); /* the exporter's own: untouched */
    event = soft_event(pool, 0);
    same = soft_event(again, 0);
    done = soft_event(pool, 1);
    list = soft_immediate(0, 0);
    OK(zeCommandListAppendBarrier(list, done, 1, &same));
    OK(zeEventHostSignal(event));
    OK(zeEventHostSynchronize(done, FOREVER));
    OK(zeEventQueryStatus(same));
    ERROR(INVALID_ARGUMENT, zeEventPoolGetIpcHandle(again, &handle));
    ERROR(INVALID_ARGUMENT, zeEventPoolCloseIpcHandle(pool));
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(event));
    OK(zeEventDestroy(same));
    OK(zeEventDestroy(done));
    OK(zeEventPoolCloseIpcHandle(again));
    OK(zeEventPoolDestroy(pool));
    soft_close();
}

static void open_memory(int socket)
{
    ze_ipc_mem_handle_t handle;
    char *one, *two;
    void *base;
    size_t size;
    int fd;

    soft_open();
    fd = soft_receive(socket, &handle, sizeof(handle));
    put_descriptor(&handle, fd);
    OK(zeMemOpenIpcHandle(soft.context, soft.devices[0], handle, 0, (void **)&one));
    OK(zeMemOpenIpcHandle(soft.context, soft.devices[1], handle, 0, (void **)&two));
    CHECK(one != two);
    CHECK(fcntl(descriptor_of(&handle), F_GETFD) != -1); /* not consumed */
    close(descriptor_of(&handle));
    OK(zeMemGetAddressRange(soft.context, one + 50, &base, &size));
    CHECK(base == one && size == BYTES);
    CHECK(one[0] == 'o' && two[BYTES - 1] == 'z');
    memset(one, 'c', 10);
    CHECK(two[9] == 'c');
    ERROR(INVALID_ARGUMENT, zeMemFree(soft.context, one));
    ERROR(INVALID_ARGUMENT, zeMemGetIpcHandle(soft.context, one, &handle));
    OK(zeMemCloseIpcHandle(soft.context, one));
    CHECK(two[9] == 'c');
    OK(zeMemCloseIpcHandle(soft.context, two));
    ERROR(INVALID_ARGUMENT, zeMemCloseIpcHandle(soft.context, two));
    soft_close();
}

Test(ipc, memory_by_descriptor)
{
    struct soft_child child = soft_fork(open_memory);
    ze_ipc_mem_handle_t handle, again;
    char *memory;

    soft_open();
    memory = soft_device_memory(BYTES);
    memory[0] = 'o';
    memory[BYTES - 1] = 'z';
    OK(zeMemGetIpcHandle(soft.context, memory + 7, &handle));
    OK(zeMemGetIpcHandle(soft.context, memory, &again));
    CHECK(memcmp(&handle, &again, sizeof(handle)) == 0);
    ERROR(INVALID_ARGUMENT, zeMemCloseIpcHandle(soft.context, memory));
    soft_send(child.socket, &handle, sizeof(handle), descriptor_of(&handle));
    soft_join(&child);
    CHECK(memory[0] == 'c' && memory[9] == 'c' && memory[10] == 0);
    soft_free(memory);
    soft_close();
}

/* With the 64 bytes alone, where the system lets a process take another's descriptors. */
static void open_by_bytes(int socket)
{
    ze_ipc_mem_handle_t handle;
    ze_result_t result;
    char *memory;

    soft_open();
    CHECK(soft_receive(socket, &handle, sizeof(handle)) == -1);
    result = zeMemOpenIpcHandle(soft.context, soft.devices[0], handle, 0, (void **)&memory);
    if (result == ZE_RESULT_SUCCESS) {
        CHECK(memory[5] == 'b');
        OK(zeMemCloseIpcHandle(soft.context, memory));
    } else {
        CHECK(result == ZE_RESULT_ERROR_INVALID_ARGUMENT);
    }
    handle.data[24] ^= 1;               /* names another file now */
    ERROR(INVALID_ARGUMENT,
          zeMemOpenIpcHandle(soft.context, soft.devices[0], handle, 0, (void **)&memory));
    soft_close();
}

Test(ipc, memory_by_its_bytes_alone)
{
    struct soft_child child = soft_fork(open_by_bytes);
    ze_ipc_mem_handle_t handle;
    char *memory;

    prctl(PR_SET_PTRACER, child.pid, 0, 0, 0);
    soft_open();
    memory = soft_device_memory(BYTES);
    memory[5] = 'b';
    OK(zeMemGetIpcHandle(soft.context, memory, &handle));
    soft_send(child.socket, &handle, sizeof(handle), -1);
    soft_join(&child);
    soft_free(memory);
    soft_close();
}

static void open_small(int socket)
{
    ze_ipc_mem_handle_t handle;
    char *memory;
    int fd;

    soft_open();
    fd = soft_receive(socket, &handle, sizeof(handle));
    put_descriptor(&handle, fd);
    OK(zeMemOpenIpcHandle(soft.context, soft.devices[0], handle, 0, (void **)&memory));
    close(descriptor_of(&handle));
    CHECK(strcmp(memory, "small") == 0);
    soft_send(socket, "", 1, -1);
    soft_receive(socket, &(char){ 0 }, 1);
    CHECK(strcmp(memory, "small") == 0); /* freed over there, not taken from us */
    OK(zeMemCloseIpcHandle(soft.context, memory));
    soft_close();
}

Test(ipc, small_memory_stays_with_who_opened_it)
{
    struct soft_child child = soft_fork(open_small);
    ze_ipc_mem_handle_t handle;
    char *before, *memory, *after;

    soft_open();
    before = soft_device_memory(100);
    memory = soft_device_memory(100);
    strcpy(memory, "small");
    OK(zeMemGetIpcHandle(soft.context, memory, &handle));
    soft_send(child.socket, &handle, sizeof(handle), descriptor_of(&handle));
    soft_receive(child.socket, &(char){ 0 }, 1);
    soft_free(memory);
    soft_free(before);
    after = soft_device_memory(8192);
    memset(after, 'x', 8192);
    soft_send(child.socket, "", 1, -1);
    soft_join(&child);
    soft_free(after);
    soft_close();
}

/* The exporter is gone; what it shared is not. */
static void export_and_leave(int socket)
{
    ze_ipc_mem_handle_t handle;
    char *memory;

    soft_open();
    memory = soft_device_memory(BYTES);
    memory[77] = 'l';
    OK(zeMemGetIpcHandle(soft.context, memory, &handle));
    soft_send(socket, &handle, sizeof(handle), descriptor_of(&handle));
    _exit(0);
}

Test(ipc, memory_outlives_its_owner)
{
    struct soft_child child = soft_fork(export_and_leave);
    ze_ipc_mem_handle_t handle;
    char *memory;
    int fd;

    soft_open();
    fd = soft_receive(child.socket, &handle, sizeof(handle));
    soft_join(&child);
    put_descriptor(&handle, fd);
    OK(zeMemOpenIpcHandle(soft.context, soft.devices[0], handle, 0, (void **)&memory));
    close(descriptor_of(&handle));
    CHECK(memory[77] == 'l');
    OK(zeMemCloseIpcHandle(soft.context, memory));
    soft_close();
}
