/* SPDX-License-Identifier: MIT */
/* opencl.h: the OpenCL CPU runtime that compiles and runs kernels, loaded when first needed. */
#ifndef SOFT_OPENCL_H
#define SOFT_OPENCL_H

#include "spirv.h"

#define OPENCL_SUCCESS 0

/* The part of OpenCL we use, declared here so that its headers are not needed. */
typedef struct opencl_object *opencl_handle;

struct opencl {
    int32_t (*clGetPlatformIDs)(uint32_t, opencl_handle *, uint32_t *);
    int32_t (*clGetPlatformInfo)(opencl_handle, uint32_t, size_t, void *, size_t *);
    int32_t (*clGetDeviceIDs)(opencl_handle, uint64_t, uint32_t, opencl_handle *, uint32_t *);
    int32_t (*clGetDeviceInfo)(opencl_handle, uint32_t, size_t, void *, size_t *);
    opencl_handle (*clCreateContext)(const intptr_t *, uint32_t, const opencl_handle *, void *,
                                     void *, int32_t *);
    opencl_handle (*clCreateCommandQueue)(opencl_handle, opencl_handle, uint64_t, int32_t *);
    int32_t (*clReleaseCommandQueue)(opencl_handle);
    opencl_handle (*clCreateProgramWithBinary)(opencl_handle, uint32_t, const opencl_handle *,
                                               const size_t *, const unsigned char **, int32_t *,
                                               int32_t *);
    opencl_handle (*clCreateProgramWithIL)(opencl_handle, const void *, size_t, int32_t *);
    int32_t (*clBuildProgram)(opencl_handle, uint32_t, const opencl_handle *, const char *, void *,
                              void *);
    int32_t (*clGetProgramBuildInfo)(opencl_handle, opencl_handle, uint32_t, size_t, void *,
                                     size_t *);
    int32_t (*clGetProgramInfo)(opencl_handle, uint32_t, size_t, void *, size_t *);
    int32_t (*clReleaseProgram)(opencl_handle);
    opencl_handle (*clCreateKernel)(opencl_handle, const char *, int32_t *);
    int32_t (*clGetKernelWorkGroupInfo)(opencl_handle, opencl_handle, uint32_t, size_t, void *,
                                        size_t *);
    int32_t (*clReleaseKernel)(opencl_handle);
    int32_t (*clSetKernelArg)(opencl_handle, uint32_t, size_t, const void *);
    int32_t (*clSetKernelArgSVMPointer)(opencl_handle, uint32_t, const void *);
    int32_t (*clEnqueueNDRangeKernel)(opencl_handle, opencl_handle, uint32_t, const size_t *,
                                      const size_t *, const size_t *, uint32_t, const void *,
                                      void *);
    int32_t (*clFinish)(opencl_handle);

    opencl_handle device, context;
    bool takes_spirv;                   /* else LLVM bitcode, by way of llvm-spirv */
    unsigned llvm;                      /* the version of that bitcode; 0: unknown */
};

/* The runtime; NULL: there is none, and stderr was told once what is missing. */
const struct opencl *opencl_get(void);

/* A queue of the calling thread. NULL: no memory. */
opencl_handle opencl_thread_queue(const struct opencl *opencl);

/* Programs. The log (to be freed; may be NULL) says what went wrong. NULL: it cannot be built. */
opencl_handle opencl_build_spirv(const struct opencl *opencl, const struct spirv *spirv,
                                 const char *flags, char **ret_log);
opencl_handle opencl_build_native(const struct opencl *opencl, const void *binary, size_t size,
                                  char **ret_log);
/* The compiled program (to be freed). False: no memory. */
bool opencl_native(const struct opencl *opencl, opencl_handle program, void **ret_binary,
                   size_t *ret_size);

void opencl_after_fork(void);

#endif
