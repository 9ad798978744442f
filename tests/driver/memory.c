/* SPDX-License-Identifier: MIT */
/* Memory of all kinds, its properties, and address ranges mapped by hand. */
#include "scene.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

TestSuite(memory, .init = soft_open, .fini = soft_close, .timeout = 60);

static ze_memory_type_t type_of(const void *pointer, uint64_t *ret_id,
                                ze_device_handle_t *ret_device)
{
    ze_memory_allocation_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES
    };

    OK(zeMemGetAllocProperties(soft.context, pointer, &properties, ret_device));
    *ret_id = properties.id;
    return properties.type;
}

Test(memory, kinds_are_told_apart)
{
    ze_device_mem_alloc_desc_t device_desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_host_mem_alloc_desc_t host_desc = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC };
    char *device = soft_device_memory(100), *host = soft_host_memory(100), plain[100];
    ze_device_handle_t owner;
    uint64_t a, b, c;
    void *shared;

    OK(zeMemAllocShared(soft.context, &device_desc, &host_desc, 100, 0, soft.devices[1], &shared));
    CHECK(type_of(device + 99, &a, &owner) == ZE_MEMORY_TYPE_DEVICE && owner == soft.devices[0]);
    CHECK(type_of(host, &b, NULL) == ZE_MEMORY_TYPE_HOST);
    CHECK(type_of(shared, &c, &owner) == ZE_MEMORY_TYPE_SHARED && owner == soft.devices[1]);
    CHECK(a != b && b != c && a != c);
    CHECK(type_of(plain, &a, NULL) == ZE_MEMORY_TYPE_UNKNOWN);
    soft_free(device);
    soft_free(host);
    soft_free(shared);
    CHECK(type_of(device, &a, NULL) == ZE_MEMORY_TYPE_UNKNOWN);
}

Test(memory, ranges_are_found_from_inside)
{
    char *memory = soft_device_memory(12345);
    void *base = NULL;
    size_t size = 0;

    OK(zeMemGetAddressRange(soft.context, memory + 12344, &base, &size));
    CHECK(base == memory && size == 12345);
    OK(zeMemGetAddressRange(soft.context, memory, NULL, &size));
    ERROR(INVALID_ARGUMENT, zeMemGetAddressRange(soft.context, &base, &base, &size));
    OK(zeContextMakeMemoryResident(soft.context, soft.devices[0], memory, 12345));
    OK(zeContextEvictMemory(soft.context, soft.devices[0], memory, 12345));
    soft_free(memory);
}

Test(memory, alignment_is_kept)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    void *pointer;

    for (size_t alignment = 1; alignment <= 64 << 20; alignment *= 2) {
        OK(zeMemAllocDevice(soft.context, &desc, 5000, alignment, soft.devices[0], &pointer));
        CHECK((uintptr_t)pointer % alignment == 0);
        memset(pointer, 1, 5000);
        soft_free(pointer);
    }
    ERROR(UNSUPPORTED_ALIGNMENT,
          zeMemAllocDevice(soft.context, &desc, 5000, 48, soft.devices[0], &pointer));
    ERROR(UNSUPPORTED_SIZE, zeMemAllocDevice(soft.context, &desc, 0, 0, soft.devices[0], &pointer));
    ERROR(UNSUPPORTED_SIZE,
          zeMemAllocDevice(soft.context, &desc, SIZE_MAX / 2, 0, soft.devices[0], &pointer));
    desc.flags = 0x100;
    ERROR(INVALID_ENUMERATION,
          zeMemAllocDevice(soft.context, &desc, 5000, 0, soft.devices[0], &pointer));
}

Test(memory, only_what_is_owned_is_freed)
{
    char *memory = soft_device_memory(8192), plain[16];

    ERROR(INVALID_ARGUMENT, zeMemFree(soft.context, memory + 4096));
    ERROR(INVALID_ARGUMENT, zeMemFree(soft.context, plain));
    soft_free(memory);
    ERROR(INVALID_ARGUMENT, zeMemFree(soft.context, memory));
}

Test(memory, deferred_free_waits_for_the_queues)
{
    ze_memory_free_ext_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MEMORY_FREE_EXT_DESC,
                                       .freePolicy =
                                           ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_DEFER_FREE };
    ze_event_pool_handle_t pool = soft_pool(0, 2);
    ze_event_handle_t gate = soft_event(pool, 0), done = soft_event(pool, 1);
    ze_command_list_handle_t list = soft_immediate(0, 0);
    char *from = soft_device_memory(4096), *to = soft_host_memory(4096);

    strcpy(from, "still there");
    OK(zeCommandListAppendMemoryCopy(list, to, from, 4096, done, 1, &gate));
    OK(zeMemFreeExt(soft.context, &desc, from));
    ERROR(INVALID_ARGUMENT, zeMemFree(soft.context, from));
    OK(zeEventHostSignal(gate));
    OK(zeEventHostSynchronize(done, FOREVER));
    CHECK(strcmp(to, "still there") == 0);
    from = soft_device_memory(4096);
    desc.freePolicy = ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE;
    OK(zeMemFreeExt(soft.context, &desc, from));
    OK(zeCommandListDestroy(list));
    OK(zeEventDestroy(gate));
    OK(zeEventDestroy(done));
    OK(zeEventPoolDestroy(pool));
    soft_free(to);
}

Test(memory, descriptors_are_exported_and_imported)
{
    ze_external_memory_export_desc_t export_desc = {
        .stype = ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_EXPORT_DESC,
        .flags = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD
    };
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC,
                                        .pNext = &export_desc };
    ze_external_memory_export_fd_t export_fd = { .stype =
                                                     ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_EXPORT_FD,
                                                 .flags = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD,
                                                 .fd = -1 };
    ze_memory_allocation_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES, .pNext = &export_fd
    };
    ze_external_memory_import_fd_t import = { .stype = ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD,
                                              .flags = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD };
    unsigned before = soft_descriptors();
    char *first, *second;

    OK(zeMemAllocDevice(soft.context, &desc, 4096, 0, soft.devices[0], (void **)&first));
    OK(zeMemGetAllocProperties(soft.context, first, &properties, NULL));
    CHECK(export_fd.fd >= 0);
    import.fd = export_fd.fd;
    desc.pNext = &import;
    OK(zeMemAllocDevice(soft.context, &desc, 4096, 0, soft.devices[0], (void **)&second));
    CHECK(first != second);
    strcpy(first, "one memory");
    CHECK(strcmp(second, "one memory") == 0);
    soft_free(first);
    CHECK(strcmp(second, "one memory") == 0);
    soft_free(second);
    close(export_fd.fd);
    CHECK(soft_descriptors() == before);
}

Test(memory, external_host_pointers_are_known)
{
    typedef ze_result_t (*import_t)(ze_driver_handle_t, void *, size_t);
    typedef ze_result_t (*release_t)(ze_driver_handle_t, void *);
    typedef ze_result_t (*base_t)(ze_driver_handle_t, void *, void **);
    import_t import = (import_t)soft_extension("zexDriverImportExternalPointer");
    release_t release = (release_t)soft_extension("zexDriverReleaseImportedPointer");
    base_t base = (base_t)soft_extension("zexDriverGetHostPointerBaseAddress");
    static char plain[10000];
    void *found = NULL;
    uint64_t id;

    if (!import)
        cr_skip_test("handles are wrapped");
    OK(import(soft.driver, plain, sizeof(plain)));
    ERROR(INVALID_ARGUMENT, import(soft.driver, plain + 5, 10));
    CHECK(type_of(plain + 9999, &id, NULL) == ZE_MEMORY_TYPE_HOST);
    OK(base(soft.driver, plain + 77, &found));
    CHECK(found == plain);
    OK(release(soft.driver, plain));
    ERROR(INVALID_ARGUMENT, release(soft.driver, plain));
    ERROR(INVALID_ARGUMENT, base(soft.driver, plain, &found));
}

Test(memory, virtual_ranges)
{
    ze_physical_mem_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC };
    ze_memory_access_attribute_t access;
    ze_physical_mem_handle_t physical;
    size_t page, size;
    char *range;

    OK(zeVirtualMemQueryPageSize(soft.context, soft.devices[0], 1 << 20, &page));
    desc.size = 2 * page;
    OK(zePhysicalMemCreate(soft.context, soft.devices[0], &desc, &physical));
    /* The layer of the old loader insists on a start, which is only a wish. */
    OK(zeVirtualMemReserve(soft.context, soft_validates() ? (void *)(page * 0x100000) : NULL,
                           8 * page, (void **)&range));

    OK(zeVirtualMemMap(soft.context, range, 2 * page, physical, 0,
                       ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    OK(zeVirtualMemMap(soft.context, range + 4 * page, page, physical, page,
                       ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    strcpy(range + page, "twice");
    CHECK(strcmp(range + 4 * page, "twice") == 0);
    ERROR(INVALID_ARGUMENT, zeVirtualMemMap(soft.context, range + page, page, physical, 0,
                                            ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    ERROR(INVALID_ARGUMENT, zeVirtualMemMap(soft.context, range + 6 * page, 2 * page, physical,
                                            page, ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    ERROR(UNSUPPORTED_SIZE, zeVirtualMemMap(soft.context, range + 6 * page, page / 2, physical, 0,
                                            ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));

    OK(zeVirtualMemSetAccessAttribute(soft.context, range + page, page,
                                      ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY));
    OK(zeVirtualMemGetAccessAttribute(soft.context, range, 8 * page, &access, &size));
    CHECK(access == ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE && size == page);
    OK(zeVirtualMemGetAccessAttribute(soft.context, range + page, 7 * page, &access, &size));
    CHECK(access == ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY && size == page);
    OK(zeVirtualMemGetAccessAttribute(soft.context, range + 2 * page, 6 * page, &access, &size));
    CHECK(access == ZE_MEMORY_ACCESS_ATTRIBUTE_NONE && size == 2 * page);

    OK(zePhysicalMemDestroy(soft.context, physical));
    CHECK(strcmp(range + 4 * page, "twice") == 0);
    OK(zeVirtualMemUnmap(soft.context, range, 2 * page));
    OK(zeVirtualMemGetAccessAttribute(soft.context, range, 8 * page, &access, &size));
    CHECK(access == ZE_MEMORY_ACCESS_ATTRIBUTE_NONE && size == 4 * page);
    ERROR(INVALID_ARGUMENT, zeVirtualMemFree(soft.context, range, page));
    OK(zeVirtualMemFree(soft.context, range, 8 * page));
    ERROR(INVALID_ARGUMENT, zeVirtualMemFree(soft.context, range, 8 * page));
}

/* More allocations than the usual limit of descriptors: all apart, all zero. */
Test(memory, ten_thousand_small_allocations)
{
    enum { COUNT = 10000 };
    static uint32_t *memory[COUNT];
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < COUNT + 100)
        cr_skip_test("not so many descriptors here");
    limit.rlim_cur = 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        memory[i] = soft_device_memory(i % 9000 + 4);
        CHECK(memory[i][0] == 0);
        memory[i][0] = i + 1;
    }
    for (uint32_t i = 0; i < COUNT; i += 2)
        soft_free(memory[i]);
    for (uint32_t i = 0; i < COUNT; i += 2) {
        memory[i] = soft_device_memory(100);
        CHECK(memory[i][0] == 0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(memory[i][0] == (i % 2 ? i + 1 : 0));
        soft_free(memory[i]);
    }
}

Test(memory, nothing_leaks)
{
    unsigned before;

    soft_free(soft_device_memory(1));
    before = soft_descriptors();
    for (int i = 0; i < 100; i++) {
        ze_event_pool_handle_t pool = soft_pool(ZE_EVENT_POOL_FLAG_IPC, 10);

        soft_free(soft_device_memory(100000));
        OK(zeEventPoolDestroy(pool));
    }
    CHECK(soft_descriptors() == before);
}
