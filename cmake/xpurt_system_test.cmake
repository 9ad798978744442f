# SPDX-License-Identifier: MIT
# Tests against a real daemon. Each runs several times: as it is; with all commands by the ring; under
# the validation layer of the Level Zero loader, and with the loader wrapping every handle, both with
# all commands by the socket. RAW: its clients do not use libxpurt, and decide for themselves.
#
#   xpurt_system_test(<name> [RAW] COMMAND <target or program> [<argument>...]
#                     [TIMEOUT <seconds>] [SKIP <status that says skipped>] [LABELS <label>...])

function(xpurt_system_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "RAW" "TIMEOUT;SKIP" "COMMAND;LABELS")
    if(NOT arg_COMMAND OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "xpurt_system_test(${name}): wrong arguments")
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()

    set(environment "")
    set(environment-ring XPURT_TRANSPORT=ring)
    set(environment-validation ZE_ENABLE_VALIDATION_LAYER=1 ZE_ENABLE_PARAMETER_VALIDATION=1
                               XPURT_TRANSPORT=socket)
    set(environment-intercept ZE_ENABLE_LOADER_INTERCEPT=1 XPURT_TRANSPORT=socket)
    set(suffixes "" -ring -validation -intercept)
    if(arg_RAW)
        list(REMOVE_ITEM suffixes -ring)
    endif()
    foreach(suffix IN LISTS suffixes)
        add_test(NAME ${name}${suffix} COMMAND ${arg_COMMAND})
        set_tests_properties(${name}${suffix} PROPERTIES
            LABELS "system;${arg_LABELS}"
            TIMEOUT ${arg_TIMEOUT}
            ENVIRONMENT "${environment${suffix}}")
        if(arg_SKIP)
            set_tests_properties(${name}${suffix} PROPERTIES SKIP_RETURN_CODE ${arg_SKIP})
        endif()
    endforeach()
endfunction()
