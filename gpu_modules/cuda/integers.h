/* Activations in integer form as this module lays them: a row's int8, then for each 32 of them the scale and the sums. */
#ifndef LF_INTEGERS_H
#define LF_INTEGERS_H
#include "a8.h"
#include "host.h"

/* Of 32 values: the scale's bits; the sums of the first and the second 16 of q, as two int16. */
typedef uint2 lf_a8_meta;

LF_DEV const char *lf_a8_values(const char *row, int s) { return row + 32 * s; }
LF_DEV const lf_a8_meta *lf_a8_metas(const char *row, int slices) { return (const lf_a8_meta *)(row + 32 * (int64_t)slices); }
LF_DEV float lf_a8_scale(lf_a8_meta m) { return lf_float(m.x); }
LF_DEV int lf_a8_sum(lf_a8_meta m, int half) { return (int16_t)(m.y >> 16 * half); }

/* lf_a8_stride, for a kernel. */
LF_DEV int64_t lf_a8_stride_of(int k) { return ((int64_t)((k + 31) / 32) * LF_A8_BLOCK_BYTES + 63) / 64 * 64; }

/* Four values of block s of a row at `to`, which eight neighbouring lanes treat together; `lane` is one of the eight. */
LF_DEV void lf_quantize_four(const float v[4], char *to, int slices, int s, int lane, bool write) {
    float most = fmaxf(fmaxf(fabsf(v[0]), fabsf(v[1])), fmaxf(fabsf(v[2]), fabsf(v[3])));
    float scale = lf_max_lanes(most, 8) / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    uint32_t word = 0;
    int sum = 0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        int q = (int)rintf(v[j] * inverse);
        sum += q;
        word |= (uint32_t)(q & 255) << 8 * j;
    }
    sum += __shfl_xor_sync(LF_ALL, sum, 1, LF_WARP);
    sum += __shfl_xor_sync(LF_ALL, sum, 2, LF_WARP);
    int other = __shfl_xor_sync(LF_ALL, sum, 4, LF_WARP);
    if (!write) return;
    ((uint32_t *)to)[8 * s + lane] = word;
    if (lane == 0)
        ((lf_a8_meta *)(to + 32 * (int64_t)slices))[s] = make_uint2(lf_bits(scale), (uint32_t)(sum & 0xffff) | (uint32_t)other << 16);
}

/* Eight threads a block of 32 values. */
LF_KERNEL void lf_quantize(lf_floats_at x, char *out, int64_t out_stride, int k, int64_t rows) {
    lf_begin();
    int slices = (k + 31) / 32;
    int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 8, row = at / slices;
    int s = (int)(at % slices), lane = (int)(threadIdx.x % 8), i = 32 * s + 4 * lane;
    float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (row < rows) {
        const float *from = lf_row_at(x, row);
        for (int j = 0; j < 4; j++) v[j] = i + j < k ? from[i + j] : 0.0f;
    }
    lf_quantize_four(v, out + row * out_stride, slices, s, lane, row < rows);
}
#endif
