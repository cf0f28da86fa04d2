/* Products of few columns with weights that are floats: a warp a row, f32 sums. */
#ifndef LF_FEW_FLOATS_H
#define LF_FEW_FLOATS_H
#include "few.h"

/* Eight weights (four of f32), from 16 bytes. */
LF_DEV void lf_widen(const lf_f32 *w, float y[8]) {
    float4 a = ((const float4 *)w)[0], b = ((const float4 *)w)[1];
    y[0] = a.x, y[1] = a.y, y[2] = a.z, y[3] = a.w, y[4] = b.x, y[5] = b.y, y[6] = b.z, y[7] = b.w;
}
LF_DEV void lf_widen(const lf_f16 *w, float y[8]) {
    uint4 a = *(const uint4 *)w;
    uint32_t word[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < 4; i++) y[2 * i] = lf_half((uint16_t)word[i]), y[2 * i + 1] = lf_half((uint16_t)(word[i] >> 16));
}
LF_DEV void lf_widen(const lf_bf16 *w, float y[8]) {
    uint4 a = *(const uint4 *)w;
    uint32_t word[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < 4; i++) y[2 * i] = lf_float(word[i] << 16), y[2 * i + 1] = lf_float(word[i] & 0xffff0000u);
}
LF_DEV float lf_one(const lf_f32 *w) { return w->x; }
LF_DEV float lf_one(const lf_f16 *w) { return lf_half(w->x); }
LF_DEV float lf_one(const lf_bf16 *w) { return lf_float((uint32_t)w->x << 16); }

/* Wide: rows of weights and of x begin on multiples of 16 bytes; the last values of a row are taken one by one. */
template <class Value, int COLUMNS, bool wide>
LF_KERNEL void __launch_bounds__(LF_FEW_WARPS *LF_WARP, 4) lf_few_floats(lf_few p) {
    lf_begin();
    int row = (int)blockIdx.x * LF_FEW_WARPS + lf_warp(), lane = lf_lane();
    const lf_part &mine = p.parts[0];
    if (row >= mine.n) return;
    const char *w = mine.w, *x = p.x;
    float *out = mine.out + row;
    int columns = lf_go_to_group<COLUMNS>(p, mine, &w, &x, &out);
    const Value *weights = (const Value *)(w + row * p.row_bytes);
    float sums[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
    int eights = wide ? p.k / 8 : 0;
#pragma unroll 4
    for (int i = lane; i < eights; i += LF_WARP) {
        float y[8];
        lf_widen(weights + 8 * i, y);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            if (COLUMNS > 1 && c >= columns) break;
            const float4 *v = (const float4 *)(x + c * p.x_stride) + 2 * i;
            float4 a = v[0], b = v[1];
            float s = sums[c];
            s = fmaf(y[0], a.x, s), s = fmaf(y[1], a.y, s), s = fmaf(y[2], a.z, s), s = fmaf(y[3], a.w, s);
            s = fmaf(y[4], b.x, s), s = fmaf(y[5], b.y, s), s = fmaf(y[6], b.z, s), s = fmaf(y[7], b.w, s);
            sums[c] = s;
        }
    }
    for (int i = 8 * eights + lane; i < p.k; i += LF_WARP) {
        float y = lf_one(weights + i);
        for (int c = 0; c < COLUMNS && c < columns; c++) sums[c] = fmaf(y, ((const float *)(x + c * p.x_stride))[i], sums[c]);
    }
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        float sum = lf_sum_lanes(sums[c]);
        if (lane == 0 && c < columns) out[c * mine.out_stride] = sum;
    }
}

template <class Value> static void lf_few_floats_of(lf_device *d, const lf_few *p, int pairs) {
    bool wide = (((uintptr_t)p->parts[0].w | (uintptr_t)p->x | (uintptr_t)p->row_bytes | (uintptr_t)p->x_stride |
                  (uintptr_t)p->expert_bytes) & 15) == 0;
    int columns = p->ids ? 1 : p->columns;
    auto *kernel = columns == 1 ? (wide ? lf_few_floats<Value, 1, true> : lf_few_floats<Value, 1, false>)
                                : (wide ? lf_few_floats<Value, 8, true> : lf_few_floats<Value, 8, false>);
    int groups = p->ids ? pairs : columns == 1 ? 1 : lf_ceil(columns, 8);
    LF_LAUNCH(kernel, dim3((unsigned)lf_ceil(p->parts[0].n, LF_FEW_WARPS), (unsigned)groups), dim3(LF_FEW_WARPS * LF_WARP), 0, d->stream, *p);
}
#endif
