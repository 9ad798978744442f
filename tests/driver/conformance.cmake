# SPDX-License-Identifier: MIT
# Conformance: every group of the API through the stock loader, on the fixture soft.h.
# See README.md.

add_library(soft_support STATIC soft.c ../support/peer.c)
target_include_directories(soft_support PUBLIC "${PROJECT_SOURCE_DIR}")
target_link_libraries(soft_support PUBLIC PkgConfig::ze_loader Threads::Threads ${CMAKE_DL_LIBS})
add_dependencies(soft_support ze_soft)

set(conformance_driver "ZE_ENABLE_ALT_DRIVERS=$<TARGET_FILE:ze_soft>")
set(conformance_plain "")
set(conformance_validation ZE_ENABLE_VALIDATION_LAYER=1 ZE_ENABLE_PARAMETER_VALIDATION=1)
set(conformance_intercept ZE_ENABLE_LOADER_INTERCEPT=1)

# The test framework does not look at how its processes end, so that reports of sanitizers and
# memcheck have to be looked for. Objects of skipped tests stay; only wrapped handles make leaks of
# them.
set(conformance_reports "ERROR: AddressSanitizer" "WARNING: ThreadSanitizer" "runtime error:"
    "==[0-9]+== (Invalid|Conditional|Use of|Syscall param|Mismatched|[0-9,]+ .*bytes in)")

# conformance_test(<name> COMMAND <program> [<argument>...] [VARIANT <variant>] [LABELS <label>...])
function(conformance_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "VARIANT" "COMMAND;LABELS")
    if(NOT arg_VARIANT)
        set(arg_VARIANT plain)
    endif()
    set(reports "${conformance_reports}")
    if(NOT arg_VARIANT STREQUAL intercept)
        list(APPEND reports "ERROR: LeakSanitizer")
    endif()
    add_test(NAME conformance.${name}.${arg_VARIANT} COMMAND ${arg_COMMAND})
    set_tests_properties(conformance.${name}.${arg_VARIANT} PROPERTIES
        LABELS "driver;${arg_LABELS}"
        ENVIRONMENT "${conformance_driver};${conformance_${arg_VARIANT}}"
        SKIP_REGULAR_EXPRESSION "no OpenCL runtime for CPUs"
        FAIL_REGULAR_EXPRESSION "${reports}"
        TIMEOUT 300)
endfunction()

# Plain mains: thread sanitizer and the test framework do not go together.
add_executable(conformance_threads threads.c)
target_link_libraries(conformance_threads PRIVATE soft_support)
conformance_test(threads COMMAND conformance_threads LABELS threads)
conformance_test(threads COMMAND conformance_threads LABELS threads VARIANT intercept)

add_executable(conformance_stress stress.c)
target_link_libraries(conformance_stress PRIVATE soft_support)
conformance_test(stress COMMAND conformance_stress --seconds 2 LABELS stress)

if(XPURT_SANITIZE MATCHES "thread")
    return()
endif()

# Why two of them run without some of the variants is said in the files.
set(all_variants plain validation intercept)
set(errors_variants plain validation)
set(counter_variants plain)
foreach(topic IN ITEMS query list event counter memory copy errors fault fork process)
    add_executable(conformance_${topic} ${topic}.c)
    target_link_libraries(conformance_${topic} PRIVATE soft_support PkgConfig::criterion)
    if(NOT DEFINED ${topic}_variants)
        set(${topic}_variants ${all_variants})
    endif()
    foreach(variant IN LISTS ${topic}_variants)
        conformance_test(${topic} COMMAND conformance_${topic} VARIANT ${variant})
    endforeach()
endforeach()

# A representative few under memcheck, where nothing else watches memory: each test of the framework
# is a process, and takes a second there.
find_program(VALGRIND valgrind)
if(VALGRIND AND NOT XPURT_SANITIZE)
    set(memcheck ${VALGRIND} -q --trace-children=yes --error-exitcode=9 --leak-check=full
                 --show-leak-kinds=definite --errors-for-leak-kinds=definite)
    conformance_test(threads_valgrind LABELS valgrind
        COMMAND ${memcheck} $<TARGET_FILE:conformance_threads>)
    conformance_test(stress_valgrind LABELS valgrind
        COMMAND ${memcheck} $<TARGET_FILE:conformance_stress> --seconds 1 --queues 300)
    conformance_test(process_valgrind LABELS valgrind
        COMMAND ${memcheck} $<TARGET_FILE:conformance_process>
                --filter "process/@(device*|what*)")
    conformance_test(memory_valgrind LABELS valgrind
        COMMAND ${memcheck} $<TARGET_FILE:conformance_memory>
                --filter "external/@(a_*|desc*)")
endif()
