# SPDX-License-Identifier: MIT
# OpenCL C to SPIR-V, where clang and llvm-spirv are there (XPURT_SPIRV then):
#
#   xpurt_spirv(<name> SOURCE <file.cl> OUTPUT <file.spv> [DEPENDS <file>...])
#
# makes the target <name>. Optimising is left to the device's compiler: the passes of LLVM put the blocks
# of many loops in an order that SPIR-V forbids, and llvm-spirv leaves them there.

find_program(SOFT_CLANG NAMES clang-14 clang)
find_program(SOFT_LLVM_SPIRV NAMES llvm-spirv-14 llvm-spirv)
set(XPURT_SPIRV OFF)
if(SOFT_CLANG AND SOFT_LLVM_SPIRV)
    set(XPURT_SPIRV ON)
endif()

function(xpurt_spirv name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE;OUTPUT" "DEPENDS")
    add_custom_command(OUTPUT ${arg_OUTPUT}
        COMMAND ${SOFT_CLANG} -cl-std=CL2.0 -target spir64 -Xclang -finclude-default-header -O2
                -Xclang -disable-llvm-passes -emit-llvm -c ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SOURCE} -o ${arg_OUTPUT}.bc
        COMMAND ${SOFT_LLVM_SPIRV} ${arg_OUTPUT}.bc -o ${arg_OUTPUT}
        DEPENDS ${arg_SOURCE} ${arg_DEPENDS}
        VERBATIM)
    add_custom_target(${name} DEPENDS ${arg_OUTPUT})
endfunction()
