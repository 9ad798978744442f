# SPDX-License-Identifier: MIT
# The libraries xpurt stands on. Debian gives most of them as pkg-config files only.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv>=1.44) # uv_backend_timeout() knows of new watchers
pkg_check_modules(protobuf_c REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(ze_loader REQUIRED IMPORTED_TARGET libze_loader)
pkg_check_modules(json_c REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(inih REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(libsystemd REQUIRED IMPORTED_TARGET libsystemd)
enable_language(CXX)                    # SPIRV-Tools are a C++ library behind a C interface
find_package(SPIRV-Tools REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
if(BUILD_TESTING)
    pkg_check_modules(criterion REQUIRED IMPORTED_TARGET criterion)
endif()
