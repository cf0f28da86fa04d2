/* Products of few columns: a warp reads rows of weights once, through shared memory, and multiplies them with every column.

   Whatever a block's size, weights come in copies of 16 bytes, some stages ahead. Lane l sums slices l, l + 32, ... in order;
   then the lanes are added. A column's result does not depend on how many columns there are. */
#ifndef LF_FEW_H
#define LF_FEW_H
#include "host.h"
#include "integers.h"
#include "slices.h"

enum { LF_FEW_WARPS = 4, LF_STAGES = 4, LF_FEW_MOST = 8 };

/* Weights and result of one product; its blocks of threads are those from `first_block` on. */
typedef struct {
    const char *w;
    float *out;
    int64_t out_stride;
    int32_t n, first_block;
} lf_part;

/* Up to LF_PARTS products of the same activations with weights of one format; or one product for each pair of a row and an
   expert: then blockIdx.y counts pairs, else groups of columns. */
enum { LF_PARTS = 4 };
typedef struct {
    lf_part parts[LF_PARTS];
    const char *x;
    const int32_t *ids; /* the expert of each pair, or 0 */
    int64_t row_bytes, expert_bytes, x_stride;
    int32_t n_parts, k, columns, pairs_a_row;
} lf_few;

/* Move on to where this block's pair, or its group of columns, has its weights, activations and results; returns how many
   columns are left from there on. */
template <int COLUMNS> LF_DEV int lf_go_to_group(const lf_few &p, const lf_part &mine, const char **w, const char **x, float **out) {
    if (p.ids) {
        *w += p.ids[blockIdx.y] * p.expert_bytes;
        *x += blockIdx.y / p.pairs_a_row * p.x_stride;
        *out += blockIdx.y * mine.out_stride;
        return COLUMNS;
    }
    *x += blockIdx.y * COLUMNS * p.x_stride;
    *out += blockIdx.y * COLUMNS * mine.out_stride;
    return p.columns - (int)blockIdx.y * COLUMNS;
}

/* Bytes of 32 slices, and of the place where they are put with what lies before and after them in pieces of 16. */
template <class Block> struct lf_chunk {
    enum { bytes = 1024 / lf_of<Block>::values * (int)sizeof(Block), stage = (bytes + 15 + 15) / 16 * 16 };
};

/* 32 activations of one column. */
typedef struct {
    uint4 low, high;
    lf_a8_meta meta;
} lf_a8_slice;
LF_DEV lf_a8_slice lf_load_slice(const char *row, int s, int slices) {
    const uint4 *values = (const uint4 *)lf_a8_values(row, s);
    lf_a8_slice x = {values[0], values[1], lf_a8_metas(row, slices)[s]};
    return x;
}

/* Add a slice's share of a product to the sum. */
template <class Block> LF_DEV float lf_add_slice(const uint32_t q[8], const float *scale, const float *bias, const lf_a8_slice &x, float sum) {
    typedef lf_of<Block> of;
    int a = __dp4a((int)q[0], (int)x.low.x, 0), b = __dp4a((int)q[4], (int)x.high.x, 0);
    a = __dp4a((int)q[1], (int)x.low.y, a), b = __dp4a((int)q[5], (int)x.high.y, b);
    a = __dp4a((int)q[2], (int)x.low.z, a), b = __dp4a((int)q[6], (int)x.high.z, b);
    a = __dp4a((int)q[3], (int)x.low.w, a), b = __dp4a((int)q[7], (int)x.high.w, b);
    float by = lf_a8_scale(x.meta);
    if (of::groups == 1) {
        sum = fmaf((float)(a + b), scale[0] * by, sum);
        if (of::biased) sum = fmaf(bias[0], by * (float)(lf_a8_sum(x.meta, 0) + lf_a8_sum(x.meta, 1)), sum);
    } else {
        sum = fmaf((float)a, scale[0] * by, sum);
        if (of::biased) sum = fmaf(bias[0], by * (float)lf_a8_sum(x.meta, 0), sum);
        sum = fmaf((float)b, scale[of::groups - 1] * by, sum);
        if (of::biased) sum = fmaf(bias[of::groups - 1], by * (float)lf_a8_sum(x.meta, 1), sum);
    }
    return sum;
}

/* Blocks of threads at once: a fifth would cost registers that eight columns need on the newest cards. */
template <int COLUMNS> struct lf_few_blocks {
    enum { at_once = COLUMNS == 8 && LF_SM >= 1000 ? 4 : 5 };
};

template <class Block, int COLUMNS, int ROWS>
LF_KERNEL void __launch_bounds__(LF_FEW_WARPS *LF_WARP, lf_few_blocks<COLUMNS>::at_once) lf_few_columns(lf_few p) {
    typedef lf_of<Block> of;
    enum { per_block = of::values / 32, bytes = lf_chunk<Block>::bytes, stage = lf_chunk<Block>::stage, all = ROWS * LF_STAGES * stage };
    LF_SHARED(room);
    if (p.ids) lf_begin();
    int part = 0, lane = lf_lane(), slices = p.k / 32, chunks = (slices + 31) / 32;
    while (part + 1 < p.n_parts && (int)blockIdx.x >= p.parts[part + 1].first_block) part++;
    const lf_part &mine = p.parts[part];
    int first = (((int)blockIdx.x - mine.first_block) * LF_FEW_WARPS + lf_warp()) * ROWS;
    if (first >= mine.n) return;
    const char *w = mine.w + first * p.row_bytes, *x = p.x;
    float *out = mine.out + first;
    int columns = lf_go_to_group<COLUMNS>(p, mine, &w, &x, &out);

    /* Each row from the multiple of 16 at or before its first byte; rows that do not exist are the last one again. */
    const char *start[ROWS];
    uint32_t skew[ROWS];
    char *warp_room = room + lf_warp() * all;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const char *row = w + (first + r < mine.n ? r : mine.n - 1 - first) * p.row_bytes;
        skew[r] = (uint32_t)((uintptr_t)row & 15);
        start[r] = row - skew[r] + 16 * lane;
    }
    auto bring = [&](int chunk) {
        if (chunk < chunks) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                uint32_t from = (uint32_t)chunk * bytes + skew[r], end = from + bytes, last = (uint32_t)p.row_bytes + skew[r];
                if (last < end) end = last;
                from &= ~15u;
                char *to = warp_room + (chunk % LF_STAGES * ROWS + r) * stage + 16 * lane;
#pragma unroll
                for (int i = 0; i < stage; i += 16 * LF_WARP)
                    if (from + (uint32_t)(i + 16 * lane) < end && i + 16 * lane < stage) lf_copy_async(to + i, start[r] + from + i);
            }
        }
        lf_copy_commit();
    };
#pragma unroll
    for (int i = 0; i < LF_STAGES - 1; i++) bring(i);
    if (!p.ids) lf_begin(); /* weights do not change: they may come before the op ahead is done */

    float sums[ROWS][COLUMNS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) sums[r][c] = 0.0f;
    for (int chunk = 0; chunk < chunks; chunk++) {
        int s = 32 * chunk + lane;
        bool some = s < slices;
        lf_a8_slice one;
        if (COLUMNS == 1 && some) one = lf_load_slice(x, s, slices);
        lf_copy_wait<LF_STAGES - 2>();
        __syncwarp();
        bring(chunk + LF_STAGES - 1);
        if (!some) continue;
        uint32_t q[ROWS][8];
        float scale[ROWS][of::groups], bias[ROWS][of::groups];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const char *at = warp_room + (chunk % LF_STAGES * ROWS + r) * stage + (((uint32_t)chunk * bytes + skew[r]) & 15u);
            lf_slice<Block> slice;
            slice.fetch((const Block *)at + lane / per_block, lane % per_block);
            slice.unfold(lane % per_block, q[r], scale[r], bias[r]);
        }
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            if (COLUMNS > 1 && c >= columns) break;
            if (COLUMNS > 1) one = lf_load_slice(x + c * p.x_stride, s, slices);
#pragma unroll
            for (int r = 0; r < ROWS; r++) sums[r][c] = lf_add_slice<Block>(q[r], scale[r], bias[r], one, sums[r][c]);
        }
    }
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        if (COLUMNS > 1 && c >= columns) break;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float sum = lf_sum_lanes(sums[r][c]);
            if (lane == 0 && first + r < mine.n) out[c * mine.out_stride + r] = sum;
        }
    }
    lf_copy_wait<0>();
}

/* Share the parts out over blocks of threads, of which each takes `rows` rows; returns how many there are. */
static int lf_count_blocks(lf_few *p, int rows) {
    int blocks = 0;
    for (int i = 0; i < p->n_parts; i++) {
        p->parts[i].first_block = blocks;
        blocks += lf_ceil(p->parts[i].n, rows);
    }
    return blocks;
}

template <class Block, int COLUMNS, int ROWS> static void lf_launch_few(lf_device *d, lf_few *p, int groups) {
    size_t shared = (size_t)LF_FEW_WARPS * LF_STAGES * ROWS * lf_chunk<Block>::stage;
    int blocks = lf_count_blocks(p, LF_FEW_WARPS * ROWS);
    LF_LAUNCH((lf_few_columns<Block, COLUMNS, ROWS>), dim3((unsigned)blocks, (unsigned)groups), dim3(LF_FEW_WARPS * LF_WARP), shared,
              d->stream, *p);
}

/* All columns, up to eight at a time; or all pairs. */
template <class Block> static void lf_few_of(lf_device *d, lf_few *p, int pairs) {
    int64_t rows = 0;
    for (int i = 0; i < p->n_parts; i++) rows += p->parts[i].n;
    if (p->ids || p->columns == 1) {
        int groups = p->ids ? pairs : 1;
        if (rows * groups >= (int64_t)d->processors * 16) /* enough for two rows a warp */
            lf_launch_few<Block, 1, 2>(d, p, groups);
        else
            lf_launch_few<Block, 1, 1>(d, p, groups);
    } else if (p->columns <= 4) {
        lf_launch_few<Block, 4, 2>(d, p, 1);
    } else {
        lf_launch_few<Block, 8, 2>(d, p, lf_ceil(p->columns, 8));
    }
}
#endif
