/* SPDX-License-Identifier: MIT */
/* ze_newer.h: the part of Level Zero after API 1.4 that the driver serves.
 *
 * Everything has a name of its own (NEWER_, newer_), so that the header means the same whether the
 * installed Level Zero headers know these declarations already or not.
 */
#ifndef ZE_NEWER_H
#define ZE_NEWER_H

#include <level_zero/ze_api.h>

/* structure types */
#define NEWER_STRUCTURE_TYPE_DEVICE_IP_VERSION_EXT 0x1000fu
#define NEWER_STRUCTURE_TYPE_KERNEL_MAX_GROUP_SIZE_EXT_PROPERTIES 0x10013u
#define NEWER_STRUCTURE_TYPE_COUNTER_BASED_EVENT_POOL_EXP_DESC 0x20014u
#define NEWER_STRUCTURE_TYPE_INIT_DRIVER_TYPE_DESC 0x20021u
#define NEWER_STRUCTURE_TYPE_DEVICE_CACHELINE_SIZE_EXT 0x20028u
#define NEWER_STRUCTURE_TYPE_COMMAND_LIST_APPEND_PARAM_COOPERATIVE_DESC 0x20036u
#define NEWER_STRUCTURE_TYPE_EXTERNAL_MEMMAP_SYSMEM_EXT_DESC 0x20037u
#define NEWER_STRUCTURE_TYPE_EVENT_COUNTER_BASED_DESC 0x2003au
#define NEWER_STRUCTURE_TYPE_DEVICE_USABLEMEM_SIZE_EXT_PROPERTIES 0x20041u

/* flags */
#define NEWER_COMMAND_QUEUE_FLAGS 0x7u  /* explicit only, in order, copy offload hint */
#define NEWER_COMMAND_QUEUE_FLAG_IN_ORDER 0x2u
#define NEWER_COMMAND_LIST_FLAGS 0x3fu
#define NEWER_COMMAND_LIST_FLAG_RELAXED_ORDERING 0x1u
#define NEWER_COMMAND_LIST_FLAG_IN_ORDER 0x8u
#define NEWER_COMMAND_LIST_FLAG_EXP_CLONEABLE 0x10u
#define NEWER_EVENT_POOL_FLAGS 0xfu
#define NEWER_EVENT_POOL_FLAG_KERNEL_MAPPED_TIMESTAMP 0x8u
#define NEWER_INIT_DRIVER_TYPE_FLAG_GPU 0x1u
#define NEWER_EVENT_COUNTER_BASED_FLAGS 0x3fu
#define NEWER_EVENT_COUNTER_BASED_FLAG_IMMEDIATE 0x1u
#define NEWER_EVENT_COUNTER_BASED_FLAG_NON_IMMEDIATE 0x2u
#define NEWER_EVENT_COUNTER_BASED_FLAG_HOST_VISIBLE 0x4u
#define NEWER_EVENT_COUNTER_BASED_FLAG_IPC 0x8u
#define NEWER_EVENT_COUNTER_BASED_FLAG_DEVICE_TIMESTAMP 0x10u
#define NEWER_EVENT_COUNTER_BASED_FLAG_HOST_TIMESTAMP 0x20u

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    uint32_t flags;
} newer_init_driver_type_desc_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    uint32_t flags;
} newer_event_pool_counter_based_exp_desc_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    uint32_t flags;
    ze_event_scope_flags_t signal;
    ze_event_scope_flags_t wait;
} newer_event_counter_based_desc_t;

typedef struct {
    char data[ZE_MAX_IPC_HANDLE_SIZE];
} newer_ipc_event_counter_based_handle_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    uint32_t ipVersion;
} newer_device_ip_version_ext_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    size_t cacheLineSize;
} newer_device_cache_line_size_ext_t;

typedef struct {
    ze_structure_type_t stype;
    void *pNext;
    uint64_t currUsableMemSize;
} newer_device_usablemem_size_ext_properties_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    void *pSystemMemory;
    uint64_t size;
} newer_external_memmap_sysmem_ext_desc_t;

typedef struct {
    ze_structure_type_t stype;
    void *pNext;
    uint32_t maxGroupSize;
} newer_kernel_max_group_size_ext_properties_t;

typedef struct {
    ze_structure_type_t stype;
    const void *pNext;
    ze_bool_t isCooperative;
} newer_append_cooperative_desc_t;

typedef struct {
    uint32_t groupSizeX;
    uint32_t groupSizeY;
    uint32_t groupSizeZ;
} newer_group_size_t;

typedef struct {
    uint64_t kernelStart;
    uint64_t kernelEnd;
} newer_synchronized_timestamp_data_ext_t;

typedef struct {
    newer_synchronized_timestamp_data_ext_t global;
    newer_synchronized_timestamp_data_ext_t context;
} newer_synchronized_timestamp_result_ext_t;

typedef struct {
    ze_structure_type_t stype;
    void *pNext;
    ze_kernel_timestamp_result_t *pKernelTimestampsBuffer;
    newer_synchronized_timestamp_result_ext_t *pSynchronizedTimestampsBuffer;
} newer_event_query_kernel_timestamps_results_ext_properties_t;

typedef struct {
    ze_structure_type_t stype;
    void *pNext;
    uint32_t vector_width_size;
    uint32_t preferred[7];              /* char, short, int, long, float, double, half */
    uint32_t native[7];
} newer_device_vector_width_properties_ext_t;

typedef struct {
    ze_structure_type_t stype;
    void *pNext;
    uint64_t id;
    uint64_t size;
} newer_physical_mem_properties_t;

#endif
