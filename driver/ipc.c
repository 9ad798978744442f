/* SPDX-License-Identifier: MIT */
/* ipc.c: memory files and the 64 bytes that name them in another process.
 *
 * Guarantees of this file:
 *   - every file is sealed against shrinking, and only sealed files are opened: no process can make
 *     another die of SIGBUS;
 *   - a handle whose descriptor is not the file it was made of is never followed blindly;
 *   - the process's limit of descriptors is raised, as far as it may, only when it is reached.
 */
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* A program with more allocations than the usual 1024 descriptors is not to fail for that. */
static bool raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

int memory_file(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 && errno == EMFILE && raise_descriptor_limit())
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        return fd;
    close(fd);
    return -1;
}

bool ipc_describe(int fd, uint32_t kind, size_t size, struct ipc_handle *ret_handle)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return false;
    *ret_handle = (struct ipc_handle){
        .fd = fd,
        .size = size,
        .inode = status.st_ino,
        .device = (uint32_t)status.st_dev,
        .kind = kind,
        .pid = (uint32_t)getpid(),
        .exporter_fd = fd,
    };
    return true;
}

static bool is_the_file(int fd, const struct ipc_handle *handle)
{
    struct stat status;
    int seals;

    if (fd < 0 || fstat(fd, &status) < 0 || status.st_ino != handle->inode ||
        (uint32_t)status.st_dev != handle->device)
        return false;
    seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS && status.st_size >= 0 &&
           handle->offset <= (uint64_t)status.st_size &&
           handle->size <= (uint64_t)status.st_size - handle->offset;
}

static int fetch_from_exporter(const struct ipc_handle *handle)
{
    int process = (int)syscall(SYS_pidfd_open, (pid_t)handle->pid, 0), fd;

    if (process < 0)
        return -1;
    fd = (int)syscall(SYS_pidfd_getfd, process, handle->exporter_fd, 0);
    close(process);
    if (fd >= 0 && !is_the_file(fd, handle)) {
        close(fd);
        return -1;
    }
    return fd;
}

int ipc_open(const struct ipc_handle *handle, uint32_t kind, bool *ret_received)
{
    *ret_received = false;
    if (handle->kind != kind || handle->size == 0)
        return -1;
    if (!is_the_file(handle->fd, handle))
        return fetch_from_exporter(handle);
    *ret_received = handle->fd != handle->exporter_fd;
    return fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);
}
