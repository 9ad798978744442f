/* SPDX-License-Identifier: MIT */
/* tests/misuse/functions.h: each public function, and what its arguments are.
 *
 * One line each: how its result is told, its name, one letter for each argument, the arguments. P(i)
 * is argument i as a pointer, N(i) as a number. A function that is not here makes the test fail.
 *
 *   RESULT   returns xpurt_result             GUARD   returns a guard that has a result
 *   ANSWER   returns something that is no error, or nothing
 *
 *   letter   argument                         wrong are                     null
 *   e        an event                         what no live event is         wrong
 *   x        an event to be destroyed         the same, but old ones        nothing is done
 *   v        where an event is                null, what holds a dead one
 *   w        the same                         the same                      one is made there
 *   s        a stream                         what no live stream is        wrong
 *   S        a stream                         what no live stream is        the current one
 *   y        a stream to be destroyed         the same, but old ones        nothing is done
 *   T        a stream that is captured        what no live stream is        wrong
 *   Q        a graph                          what no live graph is         wrong
 *   X        a graph to be destroyed          the same, but old ones        nothing is done
 *   l        a list of streams                null, one with a wrong one
 *   I        a module                         what no live module is        wrong
 *   J        a module to be unloaded          the same, but old ones        nothing is done
 *   K        a kernel                         what no live kernel is        wrong
 *   B        a module's code                  null
 *   N        a kernel's name                  null, another one's
 *   U        three sizes                      null
 *   R        a kernel's arguments             null, memory that is not ours
 *   g        a generator                      what no live generator is     wrong
 *   G        a generator to be destroyed      the same                      nothing is done
 *   o        where the answer goes            null
 *   O        the same                                                       nowhere
 *   h        the handle of an event           null, others' bytes
 *   m        the handle of memory             null, others' bytes
 *   i        bytes to be read                 null
 *   j        a function                       null
 *   d        a device                         negative, too large
 *   D        a device                         too large                     negative: current
 *   f        flags of an event                unknown bits
 *   q        a mode                           what is none
 *   M        device memory to be freed        what is not its start         nothing is done
 *   H        pinned memory to be freed        what is not its start         nothing is done
 *   C        opened memory to be closed       what was not opened           nothing is done
 *   a        an address in device memory      what is not
 *   A        an address in memory of xpurt  what is not                   nothing is done
 *   b        an address in pinned memory      what is not
 *   t        what is copied or filled         null, freed, others'
 *   P        a pitch                          the largest ones
 *   z        a size                           the largest ones
 *   u        a guard                          null
 *   k        the id of a stream               what no stream has
 *   n        any number                                                     (16)
 *   0, 1     any number                                                     (0, 1)
 *   L        the size of a module's code
 *   r        options, or null
 *   p        any pointer
 */
#pragma once

/* clang-format off */
#define FUNCTIONS(RESULT, GUARD, ANSWER) \
    /* base.h */ \
    ANSWER(xpurt_result_name,                    "n",    N(0)) \
    ANSWER(xpurt_result_string,                  "n",    N(0)) \
    ANSWER(xpurt_last_error,                     "") \
    ANSWER(xpurt_version,                        "") \
    RESULT(xpurt_init,                           "") \
    ANSWER(xpurt_is_initialized,                 "") \
    RESULT(xpurt_reset,                          "") \
    RESULT(xpurt_batch_begin,                    "") \
    RESULT(xpurt_batch_end,                      "") \
    RESULT(xpurt_set_transport,                  "q",    (xpurt_transport)N(0)) \
    RESULT(xpurt_set_submit_mode,                "q",    (xpurt_submit_mode)N(0)) \
    RESULT(xpurt_daemon_get_info,                "o",    P(0)) \
    RESULT(xpurt_daemon_counters,                "noo",  N(0), P(1), P(2)) \
    /* device.h */ \
    ANSWER(xpurt_is_available,                   "") \
    ANSWER(xpurt_is_compiled,                    "") \
    ANSWER(xpurt_device_count,                   "") \
    RESULT(xpurt_set_device,                     "D",    N(0)) \
    ANSWER(xpurt_get_device,                     "") \
    ANSWER(xpurt_exchange_device,                "D",    N(0)) \
    ANSWER(xpurt_device_is_used,                 "D",    N(0)) \
    ANSWER(xpurt_maybe_exchange_device,          "D",    N(0)) \
    RESULT(xpurt_device_get_properties,          "do",   N(0), P(1)) \
    RESULT(xpurt_device_get_capability,          "do",   N(0), P(1)) \
    RESULT(xpurt_device_get_ipc_support,         "do",   N(0), P(1)) \
    RESULT(xpurt_device_synchronize,             "d",    N(0)) \
    RESULT(xpurt_device_can_access_peer,         "ddo",  N(0), N(1), P(2)) \
    RESULT(xpurt_mem_get_info,                   "doo",  N(0), P(1), P(2)) \
    /* stream.h */ \
    RESULT(xpurt_stream_create,                  "o",    P(0)) \
    RESULT(xpurt_stream_create_with_priority,    "Dno",  N(0), N(1), P(2)) \
    RESULT(xpurt_stream_get_from_pool,           "Dno",  N(0), N(1), P(2)) \
    RESULT(xpurt_stream_get_default,             "Do",   N(0), P(1)) \
    RESULT(xpurt_stream_get_current,             "Do",   N(0), P(1)) \
    RESULT(xpurt_stream_set_current,             "s",    P(0)) \
    RESULT(xpurt_stream_exchange_current,        "so",   P(0), P(1)) \
    RESULT(xpurt_stream_priority_range,          "OO",   P(0), P(1)) \
    RESULT(xpurt_stream_destroy,                 "y",    P(0)) \
    RESULT(xpurt_stream_get_device,              "so",   P(0), P(1)) \
    RESULT(xpurt_stream_get_priority,            "so",   P(0), P(1)) \
    RESULT(xpurt_stream_get_id,                  "so",   P(0), P(1)) \
    RESULT(xpurt_stream_from_id,                 "kdo",  N(0), N(1), P(2)) \
    RESULT(xpurt_stream_get_native_handle,       "so",   P(0), P(1)) \
    RESULT(xpurt_stream_is_capturing,            "So",   P(0), P(1)) \
    RESULT(xpurt_stream_query,                   "s",    P(0)) \
    RESULT(xpurt_stream_synchronize,             "s",    P(0)) \
    RESULT(xpurt_stream_synchronize_for,         "sn",   P(0), N(1)) \
    RESULT(xpurt_stream_wait_event,              "se",   P(0), P(1)) \
    RESULT(xpurt_stream_wait_stream,             "ss",   P(0), P(1)) \
    RESULT(xpurt_stream_record_event,            "sw",   P(0), P(1)) \
    RESULT(xpurt_stream_wait_generation,         "sen",  P(0), P(1), N(2)) \
    RESULT(xpurt_launch_host_func,               "sjp",  P(0), (xpurt_host_func)N(1), P(2)) \
    /* graph.h */ \
    RESULT(xpurt_graph_begin,                    "s",    P(0)) \
    RESULT(xpurt_graph_end,                      "To",   P(0), P(1)) \
    RESULT(xpurt_graph_launch,                   "Qs",   P(0), P(1)) \
    RESULT(xpurt_graph_replace,                  "QptzO", P(0), P(1), P(2), N(3), P(4)) \
    RESULT(xpurt_graph_get_size,                 "Qo",   P(0), P(1)) \
    RESULT(xpurt_graph_destroy,                  "X",    P(0)) \
    /* event.h */ \
    RESULT(xpurt_event_create,                   "fo",   N(0), P(1)) \
    RESULT(xpurt_event_destroy,                  "x",    P(0)) \
    RESULT(xpurt_event_record,                   "es",   P(0), P(1)) \
    RESULT(xpurt_event_record_once,              "es",   P(0), P(1)) \
    RESULT(xpurt_event_move,                     "vo",   P(0), P(1)) \
    RESULT(xpurt_event_get_id,                   "eo",   P(0), P(1)) \
    RESULT(xpurt_event_get_device,               "eo",   P(0), P(1)) \
    RESULT(xpurt_event_query,                    "e",    P(0)) \
    RESULT(xpurt_event_synchronize,              "e",    P(0)) \
    RESULT(xpurt_event_synchronize_for,          "en",   P(0), N(1)) \
    RESULT(xpurt_event_get_generation,           "eo",   P(0), P(1)) \
    RESULT(xpurt_event_wait_generation,          "enn",  P(0), N(1), N(2)) \
    RESULT(xpurt_event_get_fd,                   "eo",   P(0), P(1)) \
    RESULT(xpurt_event_elapsed_time,             "eeo",  P(0), P(1), P(2)) \
    RESULT(xpurt_event_get_ipc_handle,           "eo",   P(0), P(1)) \
    RESULT(xpurt_event_open_ipc_handle,          "ho",   P(0), P(1)) \
    /* memory.h */ \
    RESULT(xpurt_malloc,                         "oz",   P(0), N(1)) \
    RESULT(xpurt_free,                           "M",    P(0)) \
    RESULT(xpurt_mem_get_ipc_handle,             "ao",   P(0), P(1)) \
    RESULT(xpurt_mem_open_ipc_handle,            "mo",   P(0), P(1)) \
    RESULT(xpurt_mem_close_ipc_handle,           "C",    P(0)) \
    RESULT(xpurt_host_malloc,                    "oz",   P(0), N(1)) \
    RESULT(xpurt_host_free,                      "H",    P(0)) \
    RESULT(xpurt_host_record_stream,             "bs",   P(0), P(1)) \
    ANSWER(xpurt_host_is_pinned,                 "p",    P(0)) \
    RESULT(xpurt_empty_host_cache,               "") \
    RESULT(xpurt_host_memory_stats_get,          "o",    P(0)) \
    RESULT(xpurt_reset_peak_host_memory_stats,   "") \
    RESULT(xpurt_reset_accumulated_host_memory_stats, "") \
    RESULT(xpurt_pointer_get_attributes,         "po",   P(0), P(1)) \
    RESULT(xpurt_pointer_get_device,             "ao",   P(0), P(1)) \
    RESULT(xpurt_memcpy_async,                   "ttzs", P(0), P(1), N(2), P(3)) \
    RESULT(xpurt_memset_async,                   "tnzs", P(0), N(1), N(2), P(3)) \
    RESULT(xpurt_memcpy_2d_async,                "tPtPzzs", P(0), N(1), P(2), N(3), N(4), N(5), P(6)) \
    RESULT(xpurt_memset_d8_async,                "tnzs", P(0), N(1), N(2), P(3)) \
    RESULT(xpurt_memset_d16_async,               "tnzs", P(0), N(1), N(2), P(3)) \
    RESULT(xpurt_memset_d32_async,               "tnzs", P(0), N(1), N(2), P(3)) \
    RESULT(xpurt_memset_2d_d8_async,             "tPnzzs", P(0), N(1), N(2), N(3), N(4), P(5)) \
    RESULT(xpurt_memset_2d_d16_async,            "tPnzzs", P(0), N(1), N(2), N(3), N(4), P(5)) \
    RESULT(xpurt_memset_2d_d32_async,            "tPnzzs", P(0), N(1), N(2), N(3), N(4), P(5)) \
    /* module.h */ \
    RESULT(xpurt_module_load,                    "DBLro", N(0), P(1), N(2), P(3), P(4)) \
    RESULT(xpurt_module_load_with_log, \
           "DBLrnpOo", N(0), P(1), N(2), P(3), N(4), P(5), P(6), P(7)) \
    RESULT(xpurt_module_unload,                  "J",    P(0)) \
    RESULT(xpurt_module_get_kernel_names,        "Inoo", P(0), N(1), P(2), P(3)) \
    RESULT(xpurt_kernel_get,                     "INo",  P(0), P(1), P(2)) \
    RESULT(xpurt_kernel_get_attributes,          "Ko",   P(0), P(1)) \
    RESULT(xpurt_kernel_get_argument,            "K0oo", P(0), N(1), P(2), P(3)) \
    RESULT(xpurt_kernel_suggest_group_size,      "KUo",  P(0), P(1), P(2)) \
    RESULT(xpurt_launch_kernel,                  "KUUR1s", P(0), P(1), P(2), P(3), N(4), P(5)) \
    /* allocator.h */ \
    RESULT(xpurt_malloc_async,                   "ozs",  P(0), N(1), P(2)) \
    RESULT(xpurt_free_async,                     "Ms",   P(0), P(1)) \
    RESULT(xpurt_record_stream,                  "as",   P(0), P(1)) \
    RESULT(xpurt_empty_cache,                    "") \
    RESULT(xpurt_set_memory_fraction,            "D",    1.0, (int)N(0)) \
    RESULT(xpurt_memory_stats_get,               "Do",   N(0), P(1)) \
    RESULT(xpurt_reset_peak_memory_stats,        "D",    N(0)) \
    RESULT(xpurt_reset_accumulated_memory_stats, "D",    N(0)) \
    RESULT(xpurt_memory_snapshot,                "Dnoo", N(0), N(1), P(2), P(3)) \
    /* generator.h */ \
    RESULT(xpurt_generator_create,               "Do",   N(0), P(1)) \
    RESULT(xpurt_generator_destroy,              "G",    P(0)) \
    RESULT(xpurt_generator_get_default,          "Do",   N(0), P(1)) \
    RESULT(xpurt_generator_get_device,           "go",   P(0), P(1)) \
    RESULT(xpurt_generator_manual_seed,          "gn",   P(0), N(1)) \
    RESULT(xpurt_generator_manual_seed_all,      "n",    N(0)) \
    RESULT(xpurt_generator_seed,                 "gO",   P(0), P(1)) \
    RESULT(xpurt_generator_get_seed,             "go",   P(0), P(1)) \
    RESULT(xpurt_generator_set_offset,           "gn",   P(0), N(1)) \
    RESULT(xpurt_generator_get_offset,           "go",   P(0), P(1)) \
    RESULT(xpurt_generator_get_state,            "go",   P(0), P(1)) \
    RESULT(xpurt_generator_set_state,            "giz",  P(0), P(1), N(2)) \
    RESULT(xpurt_generator_philox_engine_inputs, "gnoo", P(0), N(1), P(2), P(3)) \
    /* guard.h */ \
    GUARD(xpurt_device_guard_begin,              "D",    N(0)) \
    GUARD(xpurt_optional_device_guard_begin,     "D",    N(0)) \
    RESULT(xpurt_device_guard_set,               "uD",   P(0), N(1)) \
    ANSWER(xpurt_device_guard_end,               "u",    P(0)) \
    GUARD(xpurt_stream_guard_begin,              "s",    P(0)) \
    RESULT(xpurt_stream_guard_set,               "us",   P(0), P(1)) \
    ANSWER(xpurt_stream_guard_end,               "u",    P(0)) \
    GUARD(xpurt_multi_stream_guard_begin,        "ln",   P(0), N(1)) \
    ANSWER(xpurt_multi_stream_guard_end,         "u",    P(0)) \
    ANSWER(xpurt_guard_table_get,                "")

/* What the table for frameworks adds to the functions above. */
#define TABLE(RESULT, GUARD, ANSWER) \
    ANSWER(unchecked_set_device,                 "D",    N(0)) \
    RESULT(get_stream_from_global_pool,          "Dno",  N(0), N(1), P(2)) \
    ANSWER(destroy_event,                        "xn",   P(0), N(1)) \
    RESULT(record,                               "wsDf", P(0), P(1), N(2), N(3)) \
    RESULT(block,                                "es",   P(0), P(1)) \
    RESULT(record_data_pointer_on_stream,        "As",   P(0), P(1)) \
    RESULT(elapsed_time,                         "eeDo", P(0), P(1), N(2), P(3)) \
    RESULT(event_from_ipc_handle,                "hDo",  P(0), N(1), P(2))
/* clang-format on */
