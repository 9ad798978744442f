/* SPDX-License-Identifier: MIT */
/* Memory: allocations, what is known of an address, other people's memory, virtual memory. */
#include "tests/conformance/soft.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const ze_memory_type_t kinds[] = { ZE_MEMORY_TYPE_DEVICE, ZE_MEMORY_TYPE_HOST,
                                          ZE_MEMORY_TYPE_SHARED };

TestSuite(memory, .init = soft_open, .fini = soft_close);
TestSuite(external, .init = soft_open, .fini = soft_close);
TestSuite(virtual, .init = soft_open, .fini = soft_close);

static ze_memory_allocation_properties_t properties_of(const void *pointer,
                                                       ze_device_handle_t *ret_device)
{
    ze_memory_allocation_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES
    };

    *ret_device = NULL;
    REQUIRE_ZE(zeMemGetAllocProperties(soft.context, pointer, &properties, ret_device));
    return properties;
}

/* ---- allocations ----------------------------------------------------------------------------- */

Test(memory, kinds_and_properties)
{
    ze_memory_allocation_properties_t all[COUNT_OF(kinds)];
    ze_device_handle_t device;
    void *memory[COUNT_OF(kinds)];

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        memory[i] = soft_alloc(kinds[i], 5000);
        all[i] = properties_of((char *)memory[i] + 4999, &device);
        cr_assert_eq(all[i].type, kinds[i]);
        cr_assert_eq(device, kinds[i] == ZE_MEMORY_TYPE_HOST ? NULL : soft.device);
        cr_assert_gt(all[i].pageSize, 0);
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(all[i].id, all[j].id);
    }
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        soft_free(memory[i]);
        cr_assert_eq(properties_of(memory[i], &device).type, ZE_MEMORY_TYPE_UNKNOWN);
    }
}

Test(memory, of_strangers_is_unknown)
{
    ze_device_handle_t device = soft.device;
    int local = 0;
    size_t size;
    void *base;

    cr_assert_eq(properties_of(&local, &device).type, ZE_MEMORY_TYPE_UNKNOWN);
    cr_assert_null(device);
    cr_assert_neq(zeMemGetAddressRange(soft.context, &local, &base, &size), ZE_RESULT_SUCCESS);
    cr_assert_neq(zeMemFree(soft.context, &local), ZE_RESULT_SUCCESS);
}

Test(memory, alignment)
{
    ze_device_mem_alloc_desc_t device_desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_host_mem_alloc_desc_t host_desc = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC };
    void *memory[3];

    for (size_t alignment = 1; alignment <= 4u << 20; alignment <<= 1) {
        REQUIRE_ZE(
            zeMemAllocDevice(soft.context, &device_desc, 100, alignment, soft.device, &memory[0]));
        REQUIRE_ZE(zeMemAllocHost(soft.context, &host_desc, 100, alignment, &memory[1]));
        REQUIRE_ZE(zeMemAllocShared(soft.context, &device_desc, &host_desc, 100, alignment, NULL,
                                    &memory[2]));
        for (size_t i = 0; i < COUNT_OF(memory); i++) {
            cr_assert_eq((uintptr_t)memory[i] % alignment, 0);
            memset(memory[i], 1, 100);
            soft_free(memory[i]);
        }
    }
}

Test(memory, every_flag)
{
    for (uint32_t flags = 0; flags <= 3; flags++) {
        ze_device_mem_alloc_desc_t device_desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC,
                                                   .flags = flags };
        ze_host_mem_alloc_desc_t host_desc = { .stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC,
                                               .flags = flags };
        void *memory;

        REQUIRE_ZE(zeMemAllocDevice(soft.context, &device_desc, 64, 0, soft.device, &memory));
        soft_free(memory);
        REQUIRE_ZE(zeMemAllocHost(soft.context, &host_desc, 64, 0, &memory));
        soft_free(memory);
        REQUIRE_ZE(
            zeMemAllocShared(soft.context, &device_desc, &host_desc, 64, 0, soft.device, &memory));
        soft_free(memory);
    }
}

Test(memory, address_range)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        char *memory = soft_alloc(kinds[i], 12345);
        void *base = NULL;
        size_t size = 0;

        REQUIRE_ZE(zeMemGetAddressRange(soft.context, memory + 12344, &base, &size));
        cr_assert_eq(base, memory);
        cr_assert_geq(size, 12345);
        base = NULL;
        REQUIRE_ZE(zeMemGetAddressRange(soft.context, memory, &base, NULL));
        REQUIRE_ZE(zeMemGetAddressRange(soft.context, memory, NULL, &size));
        cr_assert_eq(base, memory);
        soft_free(memory);
    }
}

Test(memory, is_freed_once)
{
    char *memory = soft_alloc(ZE_MEMORY_TYPE_HOST, 100);

    cr_assert_neq(zeMemFree(soft.context, memory + 1), ZE_RESULT_SUCCESS, "not its beginning");
    soft_free(memory);
    cr_assert_neq(zeMemFree(soft.context, memory), ZE_RESULT_SUCCESS);
}

Test(memory, more_than_there_is)
{
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC };
    ze_device_properties_t properties = { .stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES };
    void *memory = NULL;

    REQUIRE_ZE(zeDeviceGetProperties(soft.device, &properties));
    cr_assert_eq(zeMemAllocDevice(soft.context, &desc, properties.maxMemAllocSize + 1, 0,
                                  soft.device, &memory),
                 ZE_RESULT_ERROR_UNSUPPORTED_SIZE);
    cr_assert_null(memory);
}

/* Random sizes, freed in random order: every address is found, none twice. */
Test(memory, many_allocations)
{
    enum { COUNT = 500 };
    struct {
        char *base;
        size_t size;
    } all[COUNT];
    uint64_t random = soft_seed();

    for (size_t i = 0; i < COUNT; i++) {
        all[i].size = 1 + soft_random(&random) % 100000;
        all[i].base = soft_alloc(kinds[i % COUNT_OF(kinds)], all[i].size);
    }
    for (size_t i = 0; i < 4 * COUNT; i++) {
        size_t one = soft_random(&random) % COUNT;
        void *base = NULL;

        REQUIRE_ZE(zeMemGetAddressRange(
            soft.context, all[one].base + soft_random(&random) % all[one].size, &base, NULL));
        cr_assert_eq(base, all[one].base);
    }
    for (size_t left = COUNT; left > 0; left--) {
        size_t one = soft_random(&random) % left;

        soft_free(all[one].base);
        all[one] = all[left - 1];
    }
}

static void free_with(ze_driver_memory_free_policy_ext_flags_t policy, void *memory)
{
    ze_memory_free_ext_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_MEMORY_FREE_EXT_DESC,
                                       .freePolicy = policy };

    REQUIRE_ZE(zeMemFreeExt(soft.context, &desc, memory));
}

Test(memory, deferred_free_waits_for_its_users)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    uint32_t *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4096), result = 0;
    ze_event_pool_handle_t pool = soft_pool(1, 0);
    ze_event_handle_t gate = soft_event(pool, 0);

    *memory = 99;
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, &result, memory, 4, NULL, 1, &gate));
    free_with(ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_DEFER_FREE, memory);
    REQUIRE_ZE(zeEventHostSignal(gate));
    soft_finish(list);
    cr_assert_eq(result, 99);
    REQUIRE_ZE(zeCommandListDestroy(list));
    REQUIRE_ZE(zeEventDestroy(gate));
    REQUIRE_ZE(zeEventPoolDestroy(pool));
}

Test(memory, blocking_free_waits)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    const size_t size = 8 << 20;
    char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, size), *copied = calloc(1, size);

    memset(memory, 3, size);
    REQUIRE_ZE(zeCommandListAppendMemoryCopy(list, copied, memory, size, NULL, 0, NULL));
    free_with(ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE, memory);
    cr_assert_eq(copied[size - 1], 3);
    REQUIRE_ZE(zeCommandListDestroy(list));
    free(copied);
    free_with(0, soft_alloc(ZE_MEMORY_TYPE_HOST, 10));
}

Test(memory, prefetch_and_advice_change_nothing)
{
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    uint32_t *memory = soft_alloc(ZE_MEMORY_TYPE_SHARED, 4096);

    *memory = 7;
    REQUIRE_ZE(zeCommandListAppendMemoryPrefetch(list, memory, 4096));
    for (unsigned advice = 0; advice <= ZE_MEMORY_ADVICE_BIAS_UNCACHED; advice++)
        REQUIRE_ZE(zeCommandListAppendMemAdvise(list, soft.device, memory, 4096,
                                                (ze_memory_advice_t)advice));
    cr_assert_eq(*memory, 7);
    soft_free(memory);
    REQUIRE_ZE(zeCommandListDestroy(list));
}

/* ---- memory of others ------------------------------------------------------------------------ */

Test(external, a_handle_opened_here_is_another_mapping)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        ze_ipc_mem_handle_t handle, again;
        uint32_t *memory = soft_alloc(kinds[i], 4096);
        void *first, *second, *base;
        ze_device_handle_t device;
        size_t size;

        REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &handle));
        REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &again));
        cr_assert_eq(soft_handle_fd(&handle), soft_handle_fd(&again), "one descriptor for all");
        REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &first));
        REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &second));
        cr_assert(first != second && first != memory, "each open gives its own mapping");
        *(uint32_t *)first = 11 + (uint32_t)i;
        cr_assert_eq(*memory, 11 + i);
        cr_assert_eq(*(uint32_t *)second, 11 + i);
        cr_assert_neq(properties_of(first, &device).type, ZE_MEMORY_TYPE_UNKNOWN);
        REQUIRE_ZE(zeMemGetAddressRange(soft.context, (char *)first + 4095, &base, &size));
        cr_assert_eq(base, first);
        cr_assert_eq(size, 4096);
        cr_assert_neq(zeMemFree(soft.context, first), ZE_RESULT_SUCCESS, "closed, not freed");
        REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, first));
        cr_assert_neq(zeMemCloseIpcHandle(soft.context, first), ZE_RESULT_SUCCESS);
        soft_free(memory);
        *(uint32_t *)second = 1;        /* still there: its owner is gone, its user is not */
        REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, second));
    }
}

Test(external, only_whole_allocations_are_shared)
{
    ze_ipc_mem_handle_t handle;
    int local = 0;

    cr_assert_neq(zeMemGetIpcHandle(soft.context, &local, &handle), ZE_RESULT_SUCCESS);
}

/* Nothing but the file the handle was made of is ever mapped. */
Test(external, a_wrong_descriptor_is_refused)
{
    char *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4096);
    ze_ipc_mem_handle_t handle;
    int wrong = open("/dev/zero", O_RDWR | O_CLOEXEC);
    void *opened;

    REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &handle));
    memcpy(handle.data, &wrong, sizeof(wrong));
    if (zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &opened) == ZE_RESULT_SUCCESS) {
        memory[0] = 33;                 /* found by other means: then it is the right one */
        cr_assert_eq(*(char *)opened, 33);
        REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, opened));
    }
    memset(&handle, 0x41, sizeof(handle));
    cr_assert_neq(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &opened),
                  ZE_RESULT_SUCCESS);
    memset(&handle, 0, sizeof(handle));
    cr_assert_neq(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &opened),
                  ZE_RESULT_SUCCESS);
    cr_assert_eq(close(wrong), 0);
    soft_free(memory);
}

Test(external, descriptors_are_exported_and_imported)
{
    ze_external_memory_export_fd_t export = { .stype = ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_EXPORT_FD,
                                              .flags = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD };
    ze_memory_allocation_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES, .pNext = &export
    };
    ze_external_memory_import_fd_t import = { .stype = ZE_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMPORT_FD,
                                              .flags = ZE_EXTERNAL_MEMORY_TYPE_FLAG_OPAQUE_FD };
    ze_device_mem_alloc_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC,
                                        .pNext = &import };
    uint32_t *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 8192);
    void *imported;

    REQUIRE_ZE(zeMemGetAllocProperties(soft.context, memory, &properties, NULL));
    cr_assert_geq(export.fd, 0);
    import.fd = export.fd;
    REQUIRE_ZE(zeMemAllocDevice(soft.context, &desc, 8192, 0, soft.device, &imported));
    memory[5] = 55;
    cr_assert_eq(((uint32_t *)imported)[5], 55);
    cr_assert_neq(zeMemAllocDevice(soft.context, &desc, 8 << 20, 0, soft.device, &imported),
                  ZE_RESULT_SUCCESS, "more than the file holds");
    soft_free(imported);
    soft_free(memory);
    close(export.fd);
}

Test(external, host_pointers_are_made_known)
{
    ze_result_t (*import)(ze_driver_handle_t, void *, size_t);
    ze_result_t (*release)(ze_driver_handle_t, void *);
    ze_result_t (*get_base)(ze_driver_handle_t, void *, void **);
    ze_device_handle_t device;
    void *base = NULL;
    char *own;

    if (soft_intercepted())
        cr_skip_test("wrapped handles");
    import = soft_entry("zexDriverImportExternalPointer");
    release = soft_entry("zexDriverReleaseImportedPointer");
    get_base = soft_entry("zexDriverGetHostPointerBaseAddress");
    own = malloc(10000);
    REQUIRE_ZE(import(soft.driver, own, 10000));
    cr_assert_eq(properties_of(own + 9999, &device).type, ZE_MEMORY_TYPE_HOST);
    REQUIRE_ZE(get_base(soft.driver, own + 5000, &base));
    cr_assert_eq(base, own);
    cr_assert_neq(import(soft.driver, own + 100, 100), ZE_RESULT_SUCCESS, "known already");
    REQUIRE_ZE(release(soft.driver, own));
    cr_assert_eq(properties_of(own, &device).type, ZE_MEMORY_TYPE_UNKNOWN);
    cr_assert_neq(get_base(soft.driver, own, &base), ZE_RESULT_SUCCESS);
    cr_assert_neq(release(soft.driver, own), ZE_RESULT_SUCCESS);
    memset(own, 1, 10000);              /* it was never taken away */
    free(own);
}

static size_t open_descriptors(void)
{
    size_t count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(external, no_descriptor_is_left_behind)
{
    size_t before = open_descriptors();

    for (int i = 0; i < 50; i++) {
        void *memory = soft_alloc(ZE_MEMORY_TYPE_DEVICE, 4096), *opened;
        ze_event_pool_handle_t pool = soft_pool(4, ZE_EVENT_POOL_FLAG_IPC), other;
        ze_ipc_event_pool_handle_t pool_handle;
        ze_ipc_mem_handle_t handle;

        REQUIRE_ZE(zeMemGetIpcHandle(soft.context, memory, &handle));
        REQUIRE_ZE(zeMemOpenIpcHandle(soft.context, soft.device, handle, 0, &opened));
        REQUIRE_ZE(zeMemCloseIpcHandle(soft.context, opened));
        soft_free(memory);
        REQUIRE_ZE(zeEventPoolGetIpcHandle(pool, &pool_handle));
        REQUIRE_ZE(zeEventPoolOpenIpcHandle(soft.context, pool_handle, &other));
        REQUIRE_ZE(zeEventPoolCloseIpcHandle(other));
        REQUIRE_ZE(zeEventPoolDestroy(pool));
    }
    cr_assert_eq(open_descriptors(), before);
}

/* ---- virtual memory -------------------------------------------------------------------------- */

static sigjmp_buf escape;

static void on_fault(int signal)
{
    siglongjmp(escape, signal);
}

static bool can(bool write, volatile char *address)
{
    struct sigaction fault = { .sa_handler = on_fault }, before;
    bool possible = false;

    sigaction(SIGSEGV, &fault, &before);
    if (sigsetjmp(escape, 1) == 0) {
        char byte = *address;

        if (write)
            *address = byte;
        possible = true;
    }
    sigaction(SIGSEGV, &before, NULL);
    return possible;
}

static ze_physical_mem_handle_t physical(size_t size)
{
    ze_physical_mem_desc_t desc = { .stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC, .size = size };
    ze_physical_mem_handle_t memory;

    REQUIRE_ZE(zePhysicalMemCreate(soft.context, soft.device, &desc, &memory));
    return memory;
}

/* The validation layer of 1.4 insists on an address, of which the specification says that it may be
 * null; any will do, as it is a wish. */
static void *reserve(size_t size)
{
    void *range = NULL;

    REQUIRE_ZE(zeVirtualMemReserve(soft.context, soft_validated() ? (void *)(1ul << 30) : NULL,
                                   size, &range));
    return range;
}

static size_t page_size(void)
{
    size_t page = 0;

    REQUIRE_ZE(zeVirtualMemQueryPageSize(soft.context, soft.device, 1 << 20, &page));
    cr_assert(page > 0 && (page & (page - 1)) == 0);
    return page;
}

Test(virtual, one_physical_page_at_two_addresses)
{
    const size_t page = page_size();
    ze_physical_mem_handle_t memory = physical(2 * page);
    void *range;
    char *base;

    range = reserve(8 * page);
    base = range;
    cr_assert_not(can(false, base), "reserved is not mapped");
    REQUIRE_ZE(zeVirtualMemMap(soft.context, base, 2 * page, memory, 0,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    REQUIRE_ZE(zeVirtualMemMap(soft.context, base + 4 * page, page, memory, page,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY));
    base[page] = 42;
    cr_assert_eq(base[4 * page], 42);
    cr_assert_not(can(true, base + 4 * page));
    cr_assert_not(can(false, base + 2 * page));
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, base, 2 * page));
    cr_assert_not(can(false, base));
    cr_assert_eq(base[4 * page], 42);
    REQUIRE_ZE(zePhysicalMemDestroy(soft.context, memory));
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, base + 4 * page, page));
    REQUIRE_ZE(zeVirtualMemFree(soft.context, base, 8 * page));
}

Test(virtual, access_of_every_page)
{
    const size_t page = page_size();
    ze_physical_mem_handle_t memory = physical(4 * page);
    ze_memory_access_attribute_t access = ZE_MEMORY_ACCESS_ATTRIBUTE_NONE;
    size_t size = 0;
    void *range;
    char *base;

    range = reserve(4 * page);
    base = range;
    REQUIRE_ZE(zeVirtualMemMap(soft.context, base, 4 * page, memory, 0,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    REQUIRE_ZE(zeVirtualMemGetAccessAttribute(soft.context, base, 4 * page, &access, &size));
    cr_assert_eq(access, ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE);
    cr_assert_eq(size, 4 * page);
    REQUIRE_ZE(zeVirtualMemSetAccessAttribute(soft.context, base + page, page,
                                              ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY));
    REQUIRE_ZE(zeVirtualMemSetAccessAttribute(soft.context, base + 2 * page, page,
                                              ZE_MEMORY_ACCESS_ATTRIBUTE_NONE));
    cr_assert(can(true, base));
    cr_assert(can(false, base + page) && !can(true, base + page));
    cr_assert_not(can(false, base + 2 * page));
    cr_assert(can(true, base + 3 * page));
    REQUIRE_ZE(zeVirtualMemGetAccessAttribute(soft.context, base, 4 * page, &access, &size));
    cr_assert_eq(size, page, "the next page is another matter");
    REQUIRE_ZE(zeVirtualMemGetAccessAttribute(soft.context, base + page, 3 * page, &access, &size));
    cr_assert_eq(access, ZE_MEMORY_ACCESS_ATTRIBUTE_READONLY);
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, base, 4 * page));
    REQUIRE_ZE(zeVirtualMemFree(soft.context, base, 4 * page));
    REQUIRE_ZE(zePhysicalMemDestroy(soft.context, memory));
}

Test(virtual, commands_use_it)
{
    const size_t page = page_size();
    ze_command_list_handle_t list = soft_immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    ze_physical_mem_handle_t memory = physical(page);
    void *range;

    range = reserve(page);
    REQUIRE_ZE(zeVirtualMemMap(soft.context, range, page, memory, 0,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    REQUIRE_ZE(zeCommandListAppendMemoryFill(list, range, "\x07", 1, page, NULL, 0, NULL));
    cr_assert_eq(((char *)range)[page - 1], 7);
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, range, page));
    REQUIRE_ZE(zeVirtualMemFree(soft.context, range, page));
    REQUIRE_ZE(zePhysicalMemDestroy(soft.context, memory));
    REQUIRE_ZE(zeCommandListDestroy(list));
}

Test(virtual, what_is_taken_cannot_be_mapped_again)
{
    const size_t page = page_size();
    ze_physical_mem_handle_t memory = physical(page);
    void *range;

    range = reserve(page);
    REQUIRE_ZE(zeVirtualMemMap(soft.context, range, page, memory, 0,
                               ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    cr_assert_neq(
        zeVirtualMemMap(soft.context, range, page, memory, 0, ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE),
        ZE_RESULT_SUCCESS);
    cr_assert_neq(zeVirtualMemFree(soft.context, range, 2 * page), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, range, page));
    REQUIRE_ZE(zeVirtualMemFree(soft.context, range, page));
    cr_assert_neq(zeVirtualMemFree(soft.context, range, page), ZE_RESULT_SUCCESS);
    REQUIRE_ZE(zePhysicalMemDestroy(soft.context, memory));
}

/* Random pages of two physical memories behind random pages of one range, against a table. */
Test(virtual, random_maps)
{
    enum { PAGES = 32 };
    const size_t page = page_size();
    ze_physical_mem_handle_t memory = physical(PAGES * page);
    int behind[PAGES];
    uint64_t random = soft_seed();
    void *range;
    char *base;

    range = reserve(PAGES * page);
    base = range;
    for (int i = 0; i < PAGES; i++)
        behind[i] = -1;
    for (int step = 0; step < 500; step++) {
        size_t at = soft_random(&random) % PAGES, source = soft_random(&random) % PAGES;

        if (behind[at] >= 0) {
            cr_assert_eq(base[at * page], (char)(behind[at] + 1));
            REQUIRE_ZE(zeVirtualMemUnmap(soft.context, base + at * page, page));
            behind[at] = -1;
        } else {
            REQUIRE_ZE(zeVirtualMemMap(soft.context, base + at * page, page, memory, source * page,
                                       ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
            base[at * page] = (char)(source + 1);
            behind[at] = (int)source;
        }
    }
    REQUIRE_ZE(zeVirtualMemUnmap(soft.context, base, PAGES * page));
    REQUIRE_ZE(zeVirtualMemFree(soft.context, base, PAGES * page));
    REQUIRE_ZE(zePhysicalMemDestroy(soft.context, memory));
}
