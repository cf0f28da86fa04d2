/* Kernels of products with weights, and the integer form of activations. */

/* Operands: out, x. A simdgroup makes a block of 32. */
LF_KERNEL(lf_quantize_rows) {
    uint blocks = (uint)a.of[1].ne[0] / 32, at = group.x * (threads / LF_SIMD) + thread_index / LF_SIMD, lane = thread_index % LF_SIMD;
    if (at >= blocks * lf_rows(a.of[1])) return;
    uint r = at / blocks, block = at % blocks;
    float x = lf_floats(b1, a.of[1], r)[32 * block + lane], scale = simd_max(abs(x)) / 127.0f;
    device lf_integers *out = (device lf_integers *)(b0 + lf_row_at(a.of[0], r)) + block;
    out->q[lane] = (int8_t)rint(x * (scale > 0.0f ? 1.0f / scale : 0.0f));
    if (lane == 0) out->scale = scale;
}

/* The product of a block of weights with the same values of up to LF_FEW columns, added to their sums. */
template <class Block>
static inline void lf_add_block(device const Block *b, int i, device const char *x, int64_t column, int columns, thread float *sum) {
    typedef lf_of<Block> of;
    int8_t w[of::values];
    float scale[of::groups], bias[of::groups];
    of::unpack(b, w, scale, bias);
    for (int c = 0; c < columns; c++) {
        device const lf_integers *y = (device const lf_integers *)(x + c * column) + i * (of::values / 32);
        for (int g = 0; g < (int)of::groups; g++) {
            int dot = 0, all = 0;
            for (int j = 0; j < (int)of::of_group; j++) {
                int q = y[g * of::of_group / 32].q[g * of::of_group % 32 + j];
                dot += q * w[g * of::of_group + j];
                if (of::biased) all += q;
            }
            float part = scale[g] * (float)dot;
            if (of::biased) part = fma(bias[g], (float)all, part);
            sum[c] = fma(y[g * of::of_group / 32].scale, part, sum[c]);
        }
    }
}

/* Row of weights times columns: each lane takes every 32nd block, then lanes are added. The same for any number of columns. */
template <class Block>
static void lf_few_of(device const char *w, int n, device const char *x, int64_t column, int columns, uint lane, thread float *sum) {
    for (int i = (int)lane; i < n / (int)lf_of<Block>::values; i += LF_SIMD)
        lf_add_block((device const Block *)w + i, i, x, column, columns, sum);
}
static void lf_few_quantized(int dtype, device const char *w, int n, device const char *x, int64_t column, int columns, uint lane,
                             thread float *sum) {
    switch (dtype) {
#define X(name, NAME, size, group, biased) case LF_##NAME: lf_few_of<lf_##name>(w, n, x, column, columns, lane, sum); break;
        LF_QUANTS(X)
#undef X
    }
}
static void lf_few_floats(int dtype, device const char *w, int n, device const char *x, int64_t column, int columns, uint lane,
                          thread float *sum) {
    for (int i = (int)lane; i < n; i += LF_SIMD) {
        float y = lf_float_at(dtype, w, i);
        for (int c = 0; c < columns; c++) sum[c] = fma(y, ((device const float *)(x + c * column))[i], sum[c]);
    }
}

/* Operands: out, x, w. A simdgroup has a row of weights and up to LF_FEW columns. */
template <bool integers> LF_KERNEL(lf_few) {
    constant lf_shape &w = a.of[2];
    int row = (int)(group.x * LF_FEW_SIMDS + thread_index / LF_SIMD), first = (int)group.y * LF_FEW;
    if (row >= w.ne[1]) return;
    int columns = min((int)LF_FEW, a.of[0].ne[1] - first);
    uint lane = thread_index % LF_SIMD;
    device char *x = b1 + first * a.of[1].step[1], *weights = b2 + row * w.step[1];
    float sum[LF_FEW];
    for (int c = 0; c < LF_FEW; c++) sum[c] = 0;
    if (integers) lf_few_quantized(w.dtype, weights, w.ne[0], x, a.of[1].step[1], columns, lane, sum);
    else lf_few_floats(w.dtype, weights, w.ne[0], x, a.of[1].step[1], columns, lane, sum);
    for (int c = 0; c < columns; c++) {
        float all = simd_sum(sum[c]);
        if (lane == 0) ((device float *)(b0 + (first + c) * a.of[0].step[1]))[row] = all;
    }
}
LF_MADE("lf_few_floats_rows", lf_few<false>)
LF_MADE("lf_few_integers_rows", lf_few<true>)

/* Operands: out, x, w. A threadgroup makes a tile of 32 rows of weights by 32 columns, by matrices of 8 by 8. */
template <bool integers> LF_KERNEL(lf_many) {
    constant lf_shape &w = a.of[2];
    int n = w.ne[1], t = a.of[0].ne[1], k = w.ne[0], row = (int)group.x * LF_TILE, column = (int)group.y * LF_TILE;
    int part = (int)thread_index / LF_SIMD, mine = (int)thread_index / 4, piece = (int)thread_index % 4 * 8;
    threadgroup float *left = room, *right = room + LF_TILE * LF_TILE;
    simdgroup_float8x8 sum[4], u, v;
    for (int i = 0; i < 4; i++) sum[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int at = 0; at < k; at += LF_TILE) {
        int count = min((int)LF_TILE, k - at);
        if (thread_index < LF_TILE) { /* a thread opens 32 weights of its row */
            float y[32];
            bool in = row + (int)thread_index < n;
            if (in) lf_slice(w.dtype, b2 + (row + (int)thread_index) * w.step[1], at / 32, count, y);
            for (int i = 0; i < 32; i++) left[thread_index * LF_TILE + i] = in && i < count ? y[i] : 0.0f;
        }
        device char *x = b1 + (column + mine) * a.of[1].step[1];
        for (int i = piece; i < piece + 8; i++) {
            float y = 0;
            if (column + mine < t && i < count)
                y = integers ? (float)((device lf_integers *)x)[at / 32].q[i] * ((device lf_integers *)x)[at / 32].scale
                             : ((device float *)x)[at + i];
            right[mine * LF_TILE + i] = y;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = 0; i < LF_TILE; i += 8) { /* a simdgroup has 8 columns and all rows of the tile */
            simdgroup_load(u, right + part * 8 * LF_TILE + i, LF_TILE);
            for (int r = 0; r < 4; r++) {
                simdgroup_load(v, left + r * 8 * LF_TILE + i, LF_TILE, ulong2(0), true);
                simdgroup_multiply_accumulate(sum[r], u, v, sum[r]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int r = 0; r < 4; r++) simdgroup_store(sum[r], room + part * 8 * LF_TILE + r * 8, LF_TILE);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = (int)thread_index; i < LF_TILE * LF_TILE; i += (int)threads) {
        int c = column + i / LF_TILE, r = row + i % LF_TILE;
        if (c < t && r < n) ((device float *)(b0 + c * a.of[0].step[1]))[r] = room[i];
    }
}
LF_MADE("lf_many_floats_rows", lf_many<false>)
LF_MADE("lf_many_integers_rows", lf_many<true>)
