/* SPDX-License-Identifier: MIT */
#include "ddi.h"
#include "list.h"
const struct ddi_table physical_mem_table, virtual_mem_table, module_table, module_build_log_table, kernel_table, kernel_exp_table, extension_table;
ze_result_t append_launch_kernel(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, ze_event_handle_t signal,
                                 uint32_t wait_count, ze_event_handle_t *waits){(void)list;(void)kernel;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
ze_result_t append_launch_cooperative_kernel(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, ze_event_handle_t signal,
                                 uint32_t wait_count, ze_event_handle_t *waits){(void)list;(void)kernel;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
ze_result_t append_launch_kernel_indirect(ze_command_list_handle_t list, ze_kernel_handle_t kernel,
                                 const ze_group_count_t *groups, ze_event_handle_t signal,
                                 uint32_t wait_count, ze_event_handle_t *waits){(void)list;(void)kernel;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
ze_result_t append_launch_multiple_kernels_indirect(ze_command_list_handle_t list, uint32_t count, ze_kernel_handle_t *kernels,
                                                    const uint32_t *launched,const ze_group_count_t *groups,
                                                    ze_event_handle_t signal, uint32_t wait_count,ze_event_handle_t *waits)
{(void)list;(void)kernels;(void)count;(void)launched;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
ze_result_t append_launch_kernel_with_parameters(ze_command_list_handle_t list, ze_kernel_handle_t kernel, const ze_group_count_t *groups, const void *next,
                                                 ze_event_handle_t signal, uint32_t wait_count, ze_event_handle_t *waits)
{(void)list;(void)kernel;(void)next;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
ze_result_t append_launch_kernel_with_arguments(ze_command_list_handle_t list, ze_kernel_handle_t kernel, ze_group_count_t groups,
                                                newer_group_size_t sizes, void **arguments, const void *next, ze_event_handle_t signal,
                                                uint32_t wait_count, ze_event_handle_t *waits)
{(void)list;(void)kernel;(void)sizes;(void)arguments;(void)next;(void)groups;(void)signal;(void)wait_count;(void)waits;return ddi_unsupported();}
