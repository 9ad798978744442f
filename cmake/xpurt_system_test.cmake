# SPDX-License-Identifier: MIT
# Tests against a real daemon. Each runs three times: as it is, under the validation layer of the
# Level Zero loader, and with the loader wrapping every handle.
#
#   xpurt_system_test(<name> COMMAND <target or program> [<argument>...]
#                     [TIMEOUT <seconds>] [LABELS <label>...])

function(xpurt_system_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND;LABELS")
    if(NOT arg_COMMAND OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "xpurt_system_test(${name}): wrong arguments")
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()

    set(environment "")
    set(environment-validation ZE_ENABLE_VALIDATION_LAYER=1 ZE_ENABLE_PARAMETER_VALIDATION=1)
    set(environment-intercept ZE_ENABLE_LOADER_INTERCEPT=1)
    foreach(suffix IN ITEMS "" -validation -intercept)
        add_test(NAME ${name}${suffix} COMMAND ${arg_COMMAND})
        set_tests_properties(${name}${suffix} PROPERTIES
            LABELS "system;${arg_LABELS}"
            TIMEOUT ${arg_TIMEOUT}
            ENVIRONMENT "${environment${suffix}}")
    endforeach()
endfunction()
