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

/* Pieces of both operands for 32 or 16 bytes of k from their tiles in shared memory. */
template <int FM, int ROW> LF_DEV void lf_load_a(uint32_t a[FM][4], const char *tile, int row, int at) {
    int lane = lf_lane();
#pragma unroll
    for (int i = 0; i < FM; i++)
        lf_load_matrices<false>(a[i], tile + (row + 16 * i + lane % 16) * ROW + at + lane / 16 * 16);
}
template <int FM, int ROW> LF_DEV void lf_load_a(uint32_t a[FM][2], const char *tile, int row, int at) {
#pragma unroll
    for (int i = 0; i < FM; i += 2) {
        uint32_t r[4];
        lf_load_matrices<false>(r, tile + (row + 16 * i + lf_lane() % (FM > 1 ? 32 : 16)) * ROW + at);
        a[i][0] = r[0], a[i][1] = r[1];
        if (i + 1 < FM) a[i + 1][0] = r[2], a[i + 1][1] = r[3];
    }
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
template <int FN, int ROW> LF_DEV void lf_load_b(uint32_t b[FN][1], const char *tile, int column, int at) {
#pragma unroll
    for (int i = 0; i < FN; i += 4) {
        uint32_t r[4];
        lf_load_matrices<false>(r, tile + (column + 8 * i + lf_lane()) * ROW + at);
        b[i][0] = r[0], b[i + 1][0] = r[1], b[i + 2][0] = r[2], b[i + 3][0] = r[3];
    }
}
LF_DEV void lf_mma_s8(int c[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { lf_mma_s8_k32(c, a, b); }
LF_DEV void lf_mma_s8(int c[4], const uint32_t (&a)[2], const uint32_t (&b)[1]) { lf_mma_s8_k16(c, a[0], a[1], b[0]); }

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
/* Its columns once more, of which nothing was kept. */
LF_DEV void lf_find_columns_again(const lf_many &p, int columns, lf_tile_place *at) {
    int number = lf_fresh((int)blockIdx.y);
    if (p.pairs) {
        int4 tile = p.tiles[number];
        at->first = tile.y, at->count = tile.z;
    } else {
        at->first = number * columns, at->count = p.few.columns - at->first;
    }
}
/* The row of x, and of the result, of the tile's column c; columns that do not exist read the last one. */
LF_DEV int lf_column_of(const lf_many &p, const lf_tile_place &at, int c) {
    int i = at.first + (c < at.count ? c : at.count - 1);
    return p.pairs ? p.pairs[i] : i;
}

template <int FM, int FN> LF_DEV void lf_clear_tile(float c[FM][FN][4]) {
#pragma unroll
    for (int i = 0; i < FM; i++)
#pragma unroll
        for (int j = 0; j < FN; j++) c[i][j][0] = c[i][j][1] = c[i][j][2] = c[i][j][3] = 0.0f;
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

/* What a thread brings of the two slices of a step: one of them, s. Of formats whose slices share bytes, 16 values of either: s
   is then the first, and the scales are those of slice s + half. `late`: what serves the steps of a whole block, upper bits
   and scales, is read when it is wanted, mostly from the first-level cache, and takes no registers over a step. */
template <class Block, bool late> struct lf_share {
    enum { shared = 0 };
    lf_slice<Block> slice;
    LF_IN void fetch(const Block *b, int s, int) { slice.fetch(b, s); }
    LF_IN void unfold(const Block *, int s, int, uint32_t q[8], float *scale, float *bias) { slice.unfold(s, q, scale, bias); }
};
template <bool late> struct lf_share<lf_q4_k, late> {
    enum { shared = 1 };
    lf_aligned<4, 16> qs, head;
    LF_IN void fetch(const lf_q4_k *b, int s, int half) {
        qs.fetch(b->qs + s * 16 + half * 16);
        if (!late) head.fetch(b);
    }
    LF_IN void unfold(const lf_q4_k *b, int s, int half, uint32_t q[8], float *scale, float *bias) {
        if (late) head.fetch(b);
        lf_six_bit_scales(head, s + half, scale, bias);
#pragma unroll
        for (int i = 0; i < 4; i++) q[i] = qs.get(i) & 0x0f0f0f0fu, q[i + 4] = qs.get(i) >> 4 & 0x0f0f0f0fu;
    }
};
template <bool late> struct lf_share<lf_q5_k, late> {
    enum { shared = 1 };
    lf_aligned<4, 16> qs, qh, head;
    LF_IN void fetch_block(const lf_q5_k *b, int half) { head.fetch(b), qh.fetch(b->qh + half * 16); }
    LF_IN void fetch(const lf_q5_k *b, int s, int half) {
        qs.fetch(b->qs + s * 16 + half * 16);
        if (!late) fetch_block(b, half);
    }
    LF_IN void unfold(const lf_q5_k *b, int s, int half, uint32_t q[8], float *scale, float *bias) {
        if (late) fetch_block(b, half);
        lf_six_bit_scales(head, s + half, scale, bias);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t upper = qh.get(i) >> s;
            q[i] = (qs.get(i) & 0x0f0f0f0fu) | (upper & 0x01010101u) << 4;
            q[i + 4] = (qs.get(i) >> 4 & 0x0f0f0f0fu) | (upper & 0x02020202u) << 3;
        }
    }
};
template <bool late> struct lf_share<lf_q3_k, late> {
    enum { shared = 1 };
    lf_aligned<4, 2> qs, hmask;
    uint32_t low, high;
    uint16_t d;
    LF_IN void fetch_block(const lf_q3_k *b, int t, int half) {
        hmask.fetch(b->hmask + half * 16);
        low = lf_pair(b->scales + 2 * t % 8), high = lf_pair(b->scales + 8 + 2 * t % 4), d = b->d;
    }
    LF_IN void fetch(const lf_q3_k *b, int s, int half) {
        qs.fetch(b->qs + s / 4 * 32 + half * 16);
        if (!late) fetch_block(b, s + half, half);
    }
    LF_IN void unfold(const lf_q3_k *b, int s, int half, uint32_t q[8], float *scale, float *) {
        if (late) fetch_block(b, s + half, half);
        lf_q3_scales(low, high, d, s + half, scale);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t two = qs.get(i) >> s % 4 * 2, mask = hmask.get(i) >> s;
            q[i] = lf_less((two & 0x03030303u) | (mask & 0x01010101u) << 2, 0x04040404u);
            q[i + 4] = lf_less((two >> 2 & 0x03030303u) | (mask & 0x02020202u) << 1, 0x04040404u);
        }
    }
};

template <class Block, int COLUMNS> struct lf_many_room {
    enum {
        w = LF_TILE * LF_TILE_ROW, x = COLUMNS * LF_TILE_ROW, scales = 2 * lf_of<Block>::groups * LF_TILE * 4,
        biases = lf_of<Block>::biased ? scales : 0, metas = COLUMNS * 16, stage = w + x + scales + biases + metas, bytes = 2 * stage,
        /* Of threads, as shared memory can hold; narrow tiles compute little between two steps, and wait in turn. */
        blocks = LF_SM < 800 ? (bytes > 32 << 10 ? 1 : 2) : COLUMNS < 64 ? 3 : 2
    };
};

template <class Block, int COLUMNS>
LF_KERNEL void __launch_bounds__(LF_MANY_THREADS, (lf_many_room<Block, COLUMNS>::blocks)) lf_many_columns(lf_many p) {
    lf_begin();
    typedef lf_of<Block> of;
    typedef lf_many_room<Block, COLUMNS> room_of;
    typedef lf_tile_of<COLUMNS> tile_of;
    enum { FM = tile_of::FM, FN = tile_of::FN, per_block = of::values / 32, G = of::groups, late = COLUMNS >= 64 };
    LF_SHARED(room);
    lf_tile_place at;
    if (!lf_find_tile(p, COLUMNS, &at)) return;
    int t = (int)threadIdx.x, lane = lf_lane(), slices = p.few.k / 32, steps = (slices + 1) / 2;
    int first_row = (int)blockIdx.x * LF_TILE;
    int warp_row = lf_warp() / tile_of::across * FM * 16, warp_column = lf_warp() % tile_of::across * FN * 8;

    /* This thread's share of weights: of row t / 2, half of every step's. */
    int my_row = first_row + t / 2 < p.few.parts[0].n ? first_row + t / 2 : p.few.parts[0].n - 1, half = t % 2;
    const Block *blocks = (const Block *)(at.w + my_row * p.few.row_bytes);
    lf_share<Block, late> share; /* narrow tiles have registers, and little to do while they wait */
    auto fetch_weights = [&](int step) {
        int s = lf_fresh(share.shared ? 2 * step : 2 * step + half);
        if (s < slices) share.fetch(blocks + s / per_block, s % per_block, half);
    };
    auto store_weights = [&](int step, char *stage) {
        int s = lf_fresh(share.shared ? 2 * step : 2 * step + half);
        if (s >= slices) return;
        uint32_t q[8];
        float scale[G], bias[G];
        share.unfold(blocks + s / per_block, s % per_block, half, q, scale, bias);
        uint4 *to = (uint4 *)(stage + t / 2 * LF_TILE_ROW) + (share.shared ? half : 2 * half);
        to[0] = make_uint4(q[0], q[1], q[2], q[3]);
        to[share.shared ? 2 : 1] = make_uint4(q[4], q[5], q[6], q[7]);
        float *scales = (float *)(stage + room_of::w + room_of::x) + half * G * LF_TILE + t / 2;
#pragma unroll
        for (int g = 0; g < G; g++) {
            scales[g * LF_TILE] = scale[g];
            if (of::biased) scales[room_of::scales / 4 + g * LF_TILE] = bias[g];
        }
    };
    /* Columns: two threads copy four times 16 bytes of a row, and one of them the two scales. */
    const char *column = 0;
    if (t < 2 * COLUMNS) {
        int c = lf_column_of(p, at, t / 2);
        column = p.few.x + c / p.few.pairs_a_row * p.few.x_stride;
    }
    auto copy_columns = [&](int step, char *stage) {
        if (t < 2 * COLUMNS) {
            const char *from = column + step * LF_STEP_BYTES + 16 * half;
            char *to = stage + room_of::w + t / 2 * LF_TILE_ROW + 16 * half;
            lf_copy_async(to, from), lf_copy_async(to + 32, from + 32);
            if (!half) lf_copy_async(stage + room_of::stage - room_of::metas + 8 * t, column + 32 * (int64_t)slices + 16 * step);
        }
        lf_copy_commit();
    };

    float sums[FM][FN][4];
    lf_clear_tile<FM, FN>(sums);

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
#pragma unroll 1
        for (int h = 0; h < 2; h++) {
            if (2 * step + h >= slices) break;
            /* Between two scales of a row, of which there are one or two: what is held for the other waits. */
#pragma unroll 1
            for (int g = 0; g < G; g++) {
                uint32_t a[FM][G == 1 ? 4 : 2], b[G == 1 ? 2 : 4][G == 1 ? 2 : 1];
                float by[FM][2], plus[FM][2];
                lf_load_a<FM, LF_TILE_ROW>(a, stage, warp_row, 32 * h + 16 * g);
#pragma unroll
                for (int i = 0; i < FM; i++)
#pragma unroll
                    for (int v = 0; v < 2; v++) {
                        int from = (h * G + g) * LF_TILE + warp_row + 16 * i + 8 * v + lane / 4;
                        by[i][v] = scales[from];
                        if (of::biased) plus[i][v] = scales[room_of::scales / 4 + from];
                    }
#pragma unroll
                for (int j = 0; j < FN; j++) {
                    __syncwarp(); /* loads of later columns wait, and need no registers yet */
                    if (j % (2 * G) == 0) lf_load_b<2 * G, LF_TILE_ROW>(b, stage + room_of::w, warp_column + 8 * j, 32 * h + 16 * g);
                    float x[2], less[2], sum[2];
#pragma unroll
                    for (int u = 0; u < 2; u++) {
                        lf_a8_meta meta = metas[2 * (warp_column + 8 * j + lane % 4 * 2 + u) + h];
                        x[u] = lf_float(meta.x & ~3u); /* two bits less, so that the next product is exact */
                        less[u] = x[u] * -LF_MAGIC;
                        if (of::biased) sum[u] = x[u] * (float)(G == 1 ? lf_a8_sum(meta, 0) + lf_a8_sum(meta, 1) : lf_a8_sum(meta, g));
                    }
#pragma unroll
                    for (int i = 0; i < FM; i++) {
                        int c[4];
                        lf_mma_s8(c, a[i], b[j % (2 * G)]);
#pragma unroll
                        for (int v = 0; v < 4; v++) {
                            float dot = fmaf(__int_as_float(c[v]), x[v % 2], less[v % 2]);
                            sums[i][j][v] = fmaf(dot, by[i][v / 2], sums[i][j][v]);
                            if (of::biased) sums[i][j][v] = fmaf(plus[i][v / 2], sum[v % 2], sums[i][j][v]);
                        }
                    }
                }
            }
        }
        if (step + 1 < steps) store_weights(step + 1, next);
    }
    if (late && share.shared) {
        lf_find_columns_again(p, COLUMNS, &at);
        int warp = lf_fresh_thread() / LF_WARP, row = lf_fresh((int)blockIdx.x) * LF_TILE + warp / tile_of::across * FM * 16;
        lf_put_tile<FM, FN>(p, at, sums, row, warp % tile_of::across * FN * 8);
    } else {
        lf_put_tile<FM, FN>(p, at, sums, first_row + warp_row, warp_column);
    }
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
