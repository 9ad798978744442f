# SPDX-License-Identifier: MIT
# What the tests of xpurt-ddp share. To be sourced behind common.bash.

ddp=$bin/xpurt-ddp

# Every process of every test that follows finds the kernels built. Without an OpenCL runtime for CPUs
# the software device runs no kernels: then the test is skipped, once that was said well.
warm_up() {
    "$ddp" --ranks 4 --epochs 1 --quiet > /dev/null 2> "$folder/warm" && return 0
    expect_text "$folder/warm" 'XPURT_ERROR_UNSUPPORTED: .*install pocl-opencl-icd'
    exit 77
}
