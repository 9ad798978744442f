/* SPDX-License-Identifier: MIT */
/* Kernels of the tests, compiled to SPIR-V when the tests are built. */

kernel void saxpy(float a, global const float *x, global float *y)
{
    size_t i = get_global_id(0);

    y[i] = a * x[i] + y[i];
}

/* Where each work item is, in one number; all dimensions. */
kernel void places(global ulong *out)
{
    size_t width = get_global_size(0), height = get_global_size(1);
    size_t i = (get_global_id(2) * height + get_global_id(1)) * width + get_global_id(0);

    out[i] = get_group_id(0) | get_group_id(1) << 8 | get_group_id(2) << 16 |
             (ulong)get_local_id(0) << 24 | (ulong)get_local_id(1) << 32 |
             (ulong)get_local_id(2) << 40 | (ulong)get_work_dim() << 48;
}

/* Sums one group's share in local memory. */
kernel void reduce(global const int *values, uint count, global int *sums, local int *shared)
{
    uint id = get_local_id(0), global_id = get_global_id(0);

    shared[id] = global_id < count ? values[global_id] : 0;
    for (uint half_size = get_local_size(0) / 2; half_size > 0; half_size /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_size)
            shared[id] += shared[id + half_size];
    }
    if (id == 0)
        sums[get_group_id(0)] = shared[0];
}

struct mixed {
    char letter;
    short small;
    float4 vector;
    ulong large;
};

struct __attribute__((packed)) tight {
    char letter;
    uint number;
    ushort words[3];
};

/* A value of every size and kind. */
kernel __attribute__((reqd_work_group_size(2, 1, 1))) void values(uchar byte, ushort word, ulong big,
                                                                  double real, float3 three,
                                                                  struct mixed mixed,
                                                                  struct tight tight,
                                                                  constant const int *table,
                                                                  global double *out)
{
    if (get_global_id(0) != 0)
        return;
    out[0] = byte;
    out[1] = word;
    out[2] = big;
    out[3] = real;
    out[4] = three.x + three.y * 10 + three.z * 100;
    out[5] = mixed.letter + mixed.small;
    out[6] = mixed.vector.s0 + mixed.vector.s3 * 10;
    out[7] = mixed.large;
    out[8] = tight.letter + tight.number;
    out[9] = tight.words[2];
    out[10] = table[1];
}

kernel void is_null(global const int *maybe, global int *out)
{
    out[0] = maybe == 0;
}

kernel void increment(global uint *values)
{
    values[get_global_id(0)] += 1;
}

kernel void nothing(void)
{
}

/* Two pieces of local memory, so that their sum is limited. */
kernel void scratch(local char *a, local char *b, global int *out)
{
    a[0] = 1;
    b[0] = 2;
    out[0] = a[0] + b[0];
}

/* Images cannot be passed. */
kernel void image(read_only image2d_t picture, global int *out)
{
    out[0] = get_image_width(picture);
}
