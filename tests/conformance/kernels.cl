/* SPDX-License-Identifier: MIT */
/* Kernels of the tests, compiled to SPIR-V when the tests are built. */

kernel void saxpy(float a, global const float *x, global float *y)
{
    size_t i = get_global_id(0);

    y[i] = a * x[i] + y[i];
}

/* Sums one work group's share in local memory. */
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

kernel void multiply(global const float *a, global const float *b, global float *c, uint size)
{
    size_t row = get_global_id(1), column = get_global_id(0);
    float sum = 0;

    for (uint k = 0; k < size; k++)
        sum += a[row * size + k] * b[k * size + column];
    c[row * size + column] = sum;
}

struct mixed {
    char letter;
    short small;
    float4 vector;
    ulong large;
};

/* Arguments of every size. */
kernel __attribute__((reqd_work_group_size(4, 2, 1))) void arguments(uchar byte, ushort word, ulong big,
                                                                      double real, float3 three,
                                                                      struct mixed mixed,
                                                                      global double *out)
{
    if (get_global_id(0) == 0 && get_global_id(1) == 0) {
        out[0] = byte;
        out[1] = word;
        out[2] = big;
        out[3] = real;
        out[4] = three.x + three.y * 10 + three.z * 100;
        out[5] = mixed.letter;
        out[6] = mixed.small;
        out[7] = mixed.vector.s0 + mixed.vector.s3 * 10;
        out[8] = mixed.large;
        out[9] = get_global_size(0) * 1000 + get_global_size(1) * 100 + get_global_size(2);
    }
}

kernel void identify(global uint *out)
{
    out[get_global_id(0) - get_global_offset(0)] = get_global_id(0);
}

kernel void increment(global uint *values)
{
    values[get_global_id(0)] += 1;
}
