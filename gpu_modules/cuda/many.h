/* Products of many columns on matrix units: tiles of 128 weight rows by 32 or 128 columns, 64 bytes of k a step.

   Weights in a block format are unfolded to int8 in shared memory, with their scales; the integer sum of 32 values is exact
   and enters an f32 sum times both scales, in the order of k. Loads of the next step are under way while one is multiplied. */
#ifndef LF_MANY_H
#define LF_MANY_H
#include "few.h"

enum { LF_TILE = 128, LF_STEP_BYTES = 64, LF_TILE_ROW = LF_STEP_BYTES + 16, LF_MANY_THREADS = 256 };

/* One product; or those of all experts: a tile is then a run of the pairs that chose one, as lf_sort_pairs lists them. */
typedef struct {
    lf_few few;
    const int32_t *pairs; /* sorted by expert, or 0 */
    const int4 *tiles;    /* expert, first, count */
    const int32_t *n_tiles;
} lf_many;

/* How a tile of COLUMNS columns is shared by eight warps: each has FM x FN pieces of 16 x 8. */
template <int COLUMNS> struct lf_tile_of {
    enum { across = COLUMNS >= 64 ? 2 : 1, down = 8 / across, FM = LF_TILE / down / 16, FN = COLUMNS / across / 8 };
};

/* Pieces of both operands for 32 bytes of k from their tiles in shared memory. */
template <int FM, int ROW> LF_DEV void lf_load_a(uint32_t a[FM][4], const char *tile, int row, int at) {
    int lane = lf_lane();
#pragma unroll
    for (int i = 0; i < FM; i++)
        lf_load_matrices<false>(a[i], tile + (row + 16 * i + lane % 16) * ROW + at + lane / 16 * 16);
}
template <int FN, int ROW> LF_DEV void lf_load_b(uint32_t b[FN][2], const char *tile, int column, int at) {
    int lane = lf_lane();
#pragma unroll
    for (int i = 0; i < FN; i += 2) {
        uint32_t r[4];
        lf_load_matrices<false>(r, tile + (column + 8 * i + lane / 16 * 8 + lane % 8) * ROW + at + lane / 8 % 2 * 16);
        b[i][0] = r[0], b[i][1] = r[1], b[i + 1][0] = r[2], b[i + 1][1] = r[3];
    }
}

/* Where a tile's columns come from and go to. */
typedef struct {
    const char *w;
    int first, count;
} lf_tile_place;
LF_DEV bool lf_find_tile(const lf_many &p, int columns, lf_tile_place *at) {
    if (!p.pairs) {
        at->w = p.few.parts[0].w;
        at->first = (int)blockIdx.y * columns;
        at->count = p.few.columns - at->first;
        return true;
    }
    if ((int)blockIdx.y >= *p.n_tiles) return false;
    int4 tile = p.tiles[blockIdx.y];
    at->w = p.few.parts[0].w + tile.x * p.few.expert_bytes;
    at->first = tile.y, at->count = tile.z;
    return true;
}
/* The row of x, and of the result, of the tile's column c; columns that do not exist read the last one. */
LF_DEV int lf_column_of(const lf_many &p, const lf_tile_place &at, int c) {
    int i = at.first + (c < at.count ? c : at.count - 1);
    return p.pairs ? p.pairs[i] : i;
}

template <int FM, int FN> LF_DEV void lf_put_tile(const lf_many &p, const lf_tile_place &at, float c[FM][FN][4], int row, int column) {
    int lane = lf_lane();
#pragma unroll
    for (int j = 0; j < FN; j++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int t = column + 8 * j + lane % 4 * 2 + h;
            if (t >= at.count) continue;
            float *out = p.few.parts[0].out + lf_column_of(p, at, t) * p.few.parts[0].out_stride;
#pragma unroll
            for (int i = 0; i < FM; i++)
#pragma unroll
                for (int v = 0; v < 2; v++) {
                    int r = row + 16 * i + 8 * v + lane / 4;
                    if (r < p.few.parts[0].n) out[r] = c[i][j][2 * v + h];
                }
        }
}

template <class Block, int COLUMNS> struct lf_many_room {
    enum {
        w = LF_TILE * LF_TILE_ROW, x = COLUMNS * LF_TILE_ROW, scales = 2 * lf_of<Block>::groups * LF_TILE * 4,
        biases = lf_of<Block>::biased ? scales : 0, metas = COLUMNS * 16, stage = w + x + scales + biases + metas, bytes = 2 * stage
    };
};

template <class Block, int COLUMNS>
LF_KERNEL void __launch_bounds__(LF_MANY_THREADS, 2) lf_many_columns(lf_many p) {
    lf_begin();
    typedef lf_of<Block> of;
    typedef lf_many_room<Block, COLUMNS> room_of;
    typedef lf_tile_of<COLUMNS> tile_of;
    enum { FM = tile_of::FM, FN = tile_of::FN, per_block = of::values / 32, G = of::groups };
    LF_SHARED(room);
    lf_tile_place at;
    if (!lf_find_tile(p, COLUMNS, &at)) return;
    int t = (int)threadIdx.x, lane = lf_lane(), slices = p.few.k / 32, steps = (slices + 1) / 2;
    int first_row = (int)blockIdx.x * LF_TILE;
    int warp_row = lf_warp() / tile_of::across * FM * 16, warp_column = lf_warp() % tile_of::across * FN * 8;

    /* This thread's slice of weights: row t / 2, every second slice. */
    int my_row = first_row + t / 2 < p.few.parts[0].n ? first_row + t / 2 : p.few.parts[0].n - 1, half = t % 2;
    const Block *blocks = (const Block *)(at.w + my_row * p.few.row_bytes);
    lf_slice<Block> slice;
    auto fetch_weights = [&](int step) {
        int s = 2 * step + half;
        if (s < slices) slice.fetch(blocks + s / per_block, s % per_block);
    };
    auto store_weights = [&](int step, char *stage) {
        int s = 2 * step + half;
        if (s >= slices) return;
        uint32_t q[8];
        float scale[G], bias[G];
        slice.unfold(s % per_block, q, scale, bias);
        uint4 *to = (uint4 *)(stage + t / 2 * LF_TILE_ROW + 32 * half);
        to[0] = make_uint4(q[0], q[1], q[2], q[3]);
        to[1] = make_uint4(q[4], q[5], q[6], q[7]);
        float *scales = (float *)(stage + room_of::w + room_of::x) + half * G * LF_TILE + t / 2;
#pragma unroll
        for (int g = 0; g < G; g++) {
            scales[g * LF_TILE] = scale[g];
            if (of::biased) scales[room_of::scales / 4 + g * LF_TILE] = bias[g];
        }
    };
    /* Columns: four copies of 16 bytes a row and one of the two scales. */
    auto copy_columns = [&](int step, char *stage) {
        for (int i = t; i < COLUMNS * 5; i += LF_MANY_THREADS) {
            int c = i / 5, part = i % 5, column = lf_column_of(p, at, c);
            const char *row = p.few.x + column / p.few.pairs_a_row * p.few.x_stride;
            if (part < 4)
                lf_copy_async(stage + room_of::w + c * LF_TILE_ROW + 16 * part, row + step * LF_STEP_BYTES + 16 * part);
            else
                lf_copy_async(stage + room_of::stage - room_of::metas + 16 * c, lf_a8_metas(row, slices) + 2 * step);
        }
        lf_copy_commit();
    };

    float sums[FM][FN][4];
#pragma unroll
    for (int i = 0; i < FM; i++)
#pragma unroll
        for (int j = 0; j < FN; j++)
#pragma unroll
            for (int v = 0; v < 4; v++) sums[i][j][v] = 0.0f;

    fetch_weights(0);
    copy_columns(0, room);
    store_weights(0, room);
    for (int step = 0; step < steps; step++) {
        char *stage = room + step % 2 * room_of::stage, *next = room + (step + 1) % 2 * room_of::stage;
        lf_copy_wait<0>();
        __syncthreads();
        if (step + 1 < steps) {
            fetch_weights(step + 1);
            copy_columns(step + 1, next);
        }
        const float *scales = (const float *)(stage + room_of::w + room_of::x);
        const lf_a8_meta *metas = (const lf_a8_meta *)(stage + room_of::stage - room_of::metas);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (2 * step + h >= slices) break;
            uint32_t a[FM][4], b[2][2];
            lf_load_a<FM, LF_TILE_ROW>(a, stage, warp_row, 32 * h);
            float by[FM][2][G], plus[FM][2][G];
#pragma unroll
            for (int i = 0; i < FM; i++)
#pragma unroll
                for (int v = 0; v < 2; v++)
#pragma unroll
                    for (int g = 0; g < G; g++) {
                        int from = (h * G + g) * LF_TILE + warp_row + 16 * i + 8 * v + lane / 4;
                        by[i][v][g] = scales[from];
                        if (of::biased) plus[i][v][g] = scales[room_of::scales / 4 + from];
                    }
#pragma unroll
            for (int j = 0; j < FN; j++) {
                __syncwarp(); /* loads of later columns wait, and need no registers yet */
                if (j % 2 == 0) lf_load_b<2, LF_TILE_ROW>(b, stage + room_of::w, warp_column + 8 * j, 32 * h);
                float x[2], less[2], sum[2][G];
#pragma unroll
                for (int u = 0; u < 2; u++) {
                    lf_a8_meta meta = metas[2 * (warp_column + 8 * j + lane % 4 * 2 + u) + h];
                    x[u] = lf_float(meta.x & ~3u); /* two bits less, so that the next product is exact */
                    less[u] = x[u] * -LF_MAGIC;
                    if (of::biased) {
                        if (G == 1) {
                            sum[u][0] = x[u] * (float)(lf_a8_sum(meta, 0) + lf_a8_sum(meta, 1));
                        } else {
                            sum[u][0] = x[u] * (float)lf_a8_sum(meta, 0);
                            sum[u][G - 1] = x[u] * (float)lf_a8_sum(meta, 1);
                        }
                    }
                }
#pragma unroll
                for (int i = 0; i < FM; i++)
#pragma unroll
                    for (int g = 0; g < G; g++) {
                        int c[4];
                        if (G == 1)
                            lf_mma_s8_k32(c, a[i], b[j % 2]);
                        else
                            lf_mma_s8_k16(c, a[i][2 * g], a[i][2 * g + 1], b[j % 2][g]);
#pragma unroll
                        for (int v = 0; v < 4; v++) {
                            float dot = fmaf(__int_as_float(c[v]), x[v % 2], less[v % 2]);
                            sums[i][j][v] = fmaf(dot, by[i][v / 2][g], sums[i][j][v]);
                            if (of::biased) sums[i][j][v] = fmaf(plus[i][v / 2][g], sum[v % 2][g], sums[i][j][v]);
                        }
                    }
            }
        }
        if (step + 1 < steps) store_weights(step + 1, next);
    }
    lf_put_tile<FM, FN>(p, at, sums, first_row + warp_row, warp_column);
}

/* Columns a tile: wide ones where enough of them keep the card busy. */
static int lf_tile_columns(const lf_device *d, int n, int64_t columns) {
    int64_t wide = (int64_t)lf_ceil(n, LF_TILE) * lf_ceil(columns, 128);
    return columns > 64 && 2 * wide >= d->processors ? 128 : 32;
}

#ifdef __HIPCC__
template <class Block> static void lf_many_of(lf_device *, const lf_many *, int, int) {}
#else
template <class Block, int COLUMNS> static void lf_launch_many(lf_device *d, const lf_many *p, int tiles) {
    auto *kernel = lf_many_columns<Block, COLUMNS>;
    size_t bytes = lf_many_room<Block, COLUMNS>::bytes;
    if (!lf_allow_shared(d, kernel, bytes)) return lf_refuse(d, "a product needs more shared memory than the card has");
    lf_alone alone;
    LF_LAUNCH(kernel, dim3((unsigned)lf_ceil(p->few.parts[0].n, LF_TILE), (unsigned)tiles), dim3(LF_MANY_THREADS), bytes, d->stream, *p);
}
template <class Block> static void lf_many_of(lf_device *d, const lf_many *p, int columns, int tiles) {
    if (columns == 128)
        lf_launch_many<Block, 128>(d, p, tiles);
    else
        lf_launch_many<Block, 32>(d, p, tiles);
}
#endif

static void lf_many_product(lf_device *d, int dtype, const lf_many *p, int columns, int tiles) {
    switch (dtype) {
#define X(name, NAME, block, group, biased) case LF_##NAME: lf_many_of<lf_##name>(d, p, columns, tiles); return;
        LF_QUANTS(X)
#undef X
    }
}
#endif
