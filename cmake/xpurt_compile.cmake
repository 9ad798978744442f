# SPDX-License-Identifier: MIT
# How everything is compiled. Sanitizers: -DXPURT_SANITIZE=address,undefined or =thread.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

set(XPURT_SANITIZE "" CACHE STRING "Sanitizers for every target: address,undefined or thread")
option(XPURT_WERROR "Treat warnings as errors" ON)

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER "${CCACHE}")
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
endif()

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wundef -Wformat=2
                    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
                    $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(XPURT_WERROR)
    add_compile_options(-Werror)
endif()
add_compile_options(-fno-plt)             # everything is bound at the start
add_link_options(-Wl,-z,now -Wl,-z,relro)

if(XPURT_SANITIZE)
    add_compile_options(-fsanitize=${XPURT_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${XPURT_SANITIZE})
else()
    add_link_options(-Wl,--no-undefined)
endif()
