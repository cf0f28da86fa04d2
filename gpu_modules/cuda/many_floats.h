/* Products of many columns as half floats of either kind, on matrix units with f32 sums: tiles of 128 weight rows by 32 or
   128 columns, 128 bytes of k a step.

   Activations become half floats under a power of two a row, so that none overflows; for bfloat16 weights two of them,
   whose sum keeps 16 bits: the product is then taken twice. Weights in a block format are written out as half floats, a part
   that the second-level cache holds at a time, on cards whose units add half floats in f32 at full speed. */
#ifndef LF_MANY_FLOATS_H
#define LF_MANY_FLOATS_H
#include "many.h"

enum { LF_FLOAT_THREADS = 128, LF_FLOAT_STEP = 128, LF_FLOAT_ROW = LF_FLOAT_STEP + 16, LF_WIDE_PART = 16 << 20, LF_MANY_LEAST = 33 };

/* The power of two that brings a row's largest magnitude below 2^14. */
LF_DEV float lf_power_for(float most) {
    int exponent = (int)(lf_bits(most) >> 23) - 127;
    if (!(most > 0.0f) || exponent > 127) return 1.0f;
    return lf_float((uint32_t)(127 + (exponent < -100 ? 100 : 13 - exponent)) << 23);
}

/* A block of threads a row: `halves` holds rows of k half floats, and `plane` behind them the second parts; `scales` what to
   multiply a column's result with. */
template <bool brain> LF_KERNEL void lf_narrow_rows(lf_floats_at x, uint16_t *halves, float *scales, int k, int64_t plane) {
    lf_begin();
    __shared__ float room[LF_WARP];
    const float *from = lf_row_at(x, blockIdx.x);
    uint16_t *to = halves + (int64_t)blockIdx.x * k;
    float by = 1.0f;
    if (!brain) {
        float most = 0.0f;
        for (int i = (int)threadIdx.x; i < k; i += (int)blockDim.x) most = fmaxf(most, fabsf(from[i]));
        by = lf_power_for(lf_max_block(most, room));
        if (threadIdx.x == 0) scales[blockIdx.x] = 1.0f / by;
    }
    for (int i = (int)threadIdx.x; i < k; i += (int)blockDim.x) {
        float v = from[i] * by;
        if (brain) {
            uint32_t high = lf_to_bf16(v);
            to[i] = (uint16_t)high;
            to[plane + i] = (uint16_t)lf_to_bf16(v - lf_float(high << 16));
        } else {
            to[i] = lf_to_half(v);
        }
    }
}

#ifndef __HIPCC__
/* The same for activations in integer form. */
LF_KERNEL void lf_narrow_integers(const char *x, int64_t x_stride, uint16_t *halves, float *scales, int k) {
    lf_begin();
    __shared__ float room[LF_WARP];
    int slices = k / 32;
    const char *row = x + blockIdx.x * x_stride;
    const lf_a8_meta *metas = lf_a8_metas(row, slices);
    uint32_t *to = (uint32_t *)(halves + (int64_t)blockIdx.x * k);
    float most = 0.0f;
    for (int s = (int)threadIdx.x; s < slices; s += (int)blockDim.x) most = fmaxf(most, lf_a8_scale(metas[s]));
    float by = lf_power_for(127.0f * lf_max_block(most, room));
    if (threadIdx.x == 0) scales[blockIdx.x] = 1.0f / by;
    for (int i = (int)threadIdx.x; i < k / 4; i += (int)blockDim.x) {
        uint32_t four = ((const uint32_t *)row)[i];
        float scale = lf_a8_scale(metas[i / 8]) * by;
        to[2 * i] = lf_half2(scale * lf_byte(four, 0), scale * lf_byte(four, 1));
        to[2 * i + 1] = lf_half2(scale * lf_byte(four, 2), scale * lf_byte(four, 3));
    }
}
#endif

/* Weights as half floats: a thread decodes a slice, and all of them write what they have in order. */
template <class Block> LF_KERNEL void __launch_bounds__(128) lf_widen_weights(const Block *from, uint4 *to, int64_t slices) {
    lf_begin();
    enum { per_block = lf_of<Block>::values / 32, row = 80 };
    __shared__ __align__(16) char room[128 * row];
    int t = (int)threadIdx.x;
    int64_t first = (int64_t)blockIdx.x * 128, s = first + t;
    if (s < slices) {
        float y[32];
        lf_floats(from + s / per_block, (int)(s % per_block), y);
#pragma unroll
        for (int i = 0; i < 4; i++)
            *(uint4 *)(room + t * row + 16 * i) = make_uint4(lf_half2(y[8 * i], y[8 * i + 1]), lf_half2(y[8 * i + 2], y[8 * i + 3]),
                                                            lf_half2(y[8 * i + 4], y[8 * i + 5]), lf_half2(y[8 * i + 6], y[8 * i + 7]));
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = t + 128 * i;
        if (first + at / 4 < slices) to[first * 4 + at] = *(const uint4 *)(room + at / 4 * row + at % 4 * 16);
    }
}

/* How a tile is shared by four warps. */
template <int COLUMNS> struct lf_float_tile {
    enum { across = COLUMNS >= 64 ? 2 : 1, down = 4 / across, FM = LF_TILE / down / 16, FN = COLUMNS / across / 8,
           stage = (LF_TILE + COLUMNS) * LF_FLOAT_ROW };
};

template <bool brain, int COLUMNS, int STAGES>
LF_KERNEL void __launch_bounds__(LF_FLOAT_THREADS, 2) lf_many_floats(lf_many p, const float *scales, int64_t plane) {
    lf_begin();
    typedef lf_float_tile<COLUMNS> tile_of;
    enum { FM = tile_of::FM, FN = tile_of::FN, W = LF_TILE / 16, X = COLUMNS / 16 };
    LF_SHARED(room);
    lf_tile_place at;
    lf_find_tile(p, COLUMNS, &at);
    int t = (int)threadIdx.x, steps = p.few.k * 2 / LF_FLOAT_STEP, all = brain ? 2 * steps : steps;
    int first_row = (int)blockIdx.x * LF_TILE, n = p.few.parts[0].n;
    int warp_row = lf_warp() / tile_of::across * FM * 16, warp_column = lf_warp() % tile_of::across * FN * 8;
    /* This thread copies the t%8-th 16 bytes of every sixteenth row and column. */
    auto copy = [&](int i) {
        if (i < all) {
            int64_t step = (int64_t)(i < steps ? i : i - steps) * LF_FLOAT_STEP + t % 8 * 16;
            const char *x = p.few.x + (i < steps ? 0 : plane * 2) + step, *w = at.w + step;
            char *to = room + i % STAGES * tile_of::stage + t / 8 * LF_FLOAT_ROW + t % 8 * 16;
#pragma unroll
            for (int j = 0; j < W; j++) {
                int row = first_row + t / 8 + 16 * j;
                lf_copy_async(to + 16 * j * LF_FLOAT_ROW, w + (row < n ? row : n - 1) * p.few.row_bytes);
            }
#pragma unroll
            for (int j = 0; j < X; j++) {
                int c = t / 8 + 16 * j;
                lf_copy_async(to + (LF_TILE + 16 * j) * LF_FLOAT_ROW, x + (at.first + (c < at.count ? c : at.count - 1)) * p.few.x_stride);
            }
        }
        lf_copy_commit();
    };
    float sums[FM][FN][4];
    lf_clear_tile<FM, FN>(sums);
    for (int i = 0; i < STAGES - 1; i++) copy(i);
    for (int step = 0; step < all; step++) {
        lf_copy_wait<STAGES - 2>();
        __syncthreads();
        copy(step + STAGES - 1);
        const char *stage = room + step % STAGES * tile_of::stage;
#pragma unroll
        for (int h = 0; h < LF_FLOAT_STEP / 32; h++) {
            uint32_t a[FM][4], b[FN][2];
            lf_load_a<FM, LF_FLOAT_ROW>(a, stage, warp_row, 32 * h);
            lf_load_b<FN, LF_FLOAT_ROW>(b, stage + LF_TILE * LF_FLOAT_ROW, warp_column, 32 * h);
#pragma unroll
            for (int i = 0; i < FM; i++)
#pragma unroll
                for (int j = 0; j < FN; j++) {
                    if (brain)
                        lf_mma_bf16(sums[i][j], a[i], b[j]);
                    else
                        lf_mma_f16(sums[i][j], a[i], b[j]);
                }
        }
    }
    lf_copy_wait<0>();
    if (!brain) {
#pragma unroll
        for (int j = 0; j < FN; j++)
#pragma unroll
            for (int u = 0; u < 2; u++) {
                int c = warp_column + 8 * j + lf_lane() % 4 * 2 + u;
                float by = scales[at.first + (c < at.count ? c : at.count - 1)];
#pragma unroll
                for (int i = 0; i < FM; i++) sums[i][j][u] *= by, sums[i][j][2 + u] *= by;
            }
    }
    lf_put_tile<FM, FN>(p, at, sums, first_row + warp_row, warp_column);
}

#ifdef __HIPCC__
template <bool brain> static bool lf_many_floats_of(const lf_call *, lf_few, const lf_view *) { return false; }
static bool lf_many_wide(const lf_call *, lf_few, int) { return false; }
#else
/* Launch with as many stages as shared memory holds; false where it holds not even two. */
template <bool brain> static bool lf_launch_floats(lf_device *d, const lf_few *p, const float *scales, int64_t plane) {
    lf_many many = {*p, 0, 0, 0};
    int n = p->parts[0].n, columns = lf_tile_columns(d, n, p->columns);
    size_t stage = columns == 128 ? (size_t)lf_float_tile<128>::stage : (size_t)lf_float_tile<32>::stage;
    if ((int64_t)stage * 2 > d->shared) columns = 32, stage = lf_float_tile<32>::stage;
    dim3 grid((unsigned)lf_ceil(n, LF_TILE), (unsigned)lf_ceil(p->columns, columns));
    lf_alone alone;
    auto *kernel = columns == 128 ? lf_many_floats<brain, 128, 3> : lf_many_floats<brain, 32, 4>;
    size_t room = stage * (columns == 128 ? 3 : 4);
    if (!lf_allow_shared(d, kernel, room)) {
        kernel = columns == 128 ? lf_many_floats<brain, 128, 2> : lf_many_floats<brain, 32, 2>;
        room = stage * 2;
        if (!lf_allow_shared(d, kernel, room)) return false;
    }
    LF_LAUNCH(kernel, grid, dim3(LF_FLOAT_THREADS), room, d->stream, many, scales, plane);
    return true;
}

/* Many columns with f16 or bf16 weights; false where the shapes, the card or the format want the kernels of few columns. */
template <bool brain> static bool lf_many_floats_of(const lf_call *call, lf_few p, const lf_view *x) {
    lf_device *d = lf_device_of(call);
    if (!lf_has_matrices(d) || (brain && d->code < 80) || p.k % 64 || (((uintptr_t)p.parts[0].w | (uintptr_t)p.row_bytes) & 15)) return false;
    int64_t plane = (int64_t)p.columns * p.k, bytes = plane * 2 * (brain ? 2 : 1);
    char *scratch = lf_scratch(call, bytes + p.columns * 4);
    float *scales = (float *)(scratch + bytes);
    LF_LAUNCH(lf_narrow_rows<brain>, dim3((unsigned)p.columns), dim3(256), 0, d->stream, lf_rows_at(x), (uint16_t *)scratch, scales, p.k, plane);
    p.x = scratch, p.x_stride = (int64_t)p.k * 2;
    return lf_launch_floats<brain>(d, &p, scales, plane);
}

/* Cards whose units add half floats in f32 as fast as in f16. */
static bool lf_is_wide(const lf_device *d) {
    int sm = 10 * d->major + d->minor;
    return sm == 80 || sm == 90 || sm == 100 || sm == 103;
}

template <class Block> static void lf_widen_part(lf_device *d, const char *from, char *to, int64_t slices) {
    LF_LAUNCH(lf_widen_weights<Block>, dim3((unsigned)lf_ceil(slices, 128)), dim3(128), 0, d->stream, (const Block *)from, (uint4 *)to, slices);
}

/* Many columns with weights in a block format, as half floats; false where int8 serves better. */
static bool lf_many_wide(const lf_call *call, lf_few p, int dtype) {
    lf_device *d = lf_device_of(call);
    if (!lf_is_wide(d) || p.k % 64 || p.row_bytes != lf_size_of(dtype, p.k)) return false;
    int n = p.parts[0].n, rows = LF_WIDE_PART / p.k / LF_TILE * LF_TILE;
    if (rows < LF_TILE) rows = LF_TILE;
    if (rows > n) rows = n;
    int64_t bytes = (int64_t)p.columns * p.k * 2, scales_bytes = ((int64_t)p.columns * 4 + 255) / 256 * 256;
    char *scratch = lf_scratch(call, bytes + scales_bytes + (int64_t)rows * p.k * 2);
    float *scales = (float *)(scratch + bytes);
    const char *w = p.parts[0].w;
    LF_LAUNCH(lf_narrow_integers, dim3((unsigned)p.columns), dim3(256), 0, d->stream, p.x, p.x_stride, (uint16_t *)scratch, scales, p.k);
    lf_few part = p;
    part.x = scratch, part.x_stride = (int64_t)p.k * 2, part.row_bytes = (int64_t)p.k * 2;
    for (int first = 0; first < n; first += rows) {
        int count = n - first < rows ? n - first : rows;
        part.parts[0].w = scratch + bytes + scales_bytes, part.parts[0].n = count, part.parts[0].out = p.parts[0].out + first;
        switch (dtype) {
#define X(name, NAME, block, group, biased)                                                                                      \
        case LF_##NAME:                                                                                                          \
            lf_widen_part<lf_##name>(d, w + first * p.row_bytes, (char *)part.parts[0].w, (int64_t)count * p.k / 32);            \
            break;
            LF_QUANTS(X)
#undef X
        }
        if (!lf_launch_floats<false>(d, &part, scales, 0)) return false;
    }
    return true;
}
#endif
#endif
