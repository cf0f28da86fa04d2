/* Products with float weights: lanes are values of k. */
#ifndef LF_FLOATS_H
#define LF_FLOATS_H
#include "rows_of.h"
#include "panel.h"

#define LF_ROWS_A_TURN 32 /* what a thread's scratch memory has room for, as floats */
#define LF_FEWER_ROWS 8   /* where there are few rows for the threads */
#define LF_FLOAT_ROWS 4   /* of a tile */
#if LF_W == 16
#define LF_FLOAT_COLUMNS 6 /* with 32 registers */
#define LF_FLOAT_CASES LF_TILE_CASE(1) LF_TILE_CASE(2) LF_TILE_CASE(3) LF_TILE_CASE(4) LF_TILE_CASE(5) LF_TILE_CASE(6)
#else
#define LF_FLOAT_COLUMNS 3 /* with 16 */
#define LF_FLOAT_CASES LF_TILE_CASE(1) LF_TILE_CASE(2) LF_TILE_CASE(3)
#endif
#define LF_FLOAT_FEW (4 * LF_FLOAT_COLUMNS) /* so many columns do not pay for weights brought into place */
#define LF_STRETCH 512 /* values of k whose activations stay in the first cache */

LF_INLINE lf_vf lf_load_weight(int dtype, const void *row, int64_t i) {
    if (dtype == LF_F16) return lf_load_f16((const uint16_t *)row + i);
    if (dtype == LF_BF16) return lf_load_bf16((const uint16_t *)row + i);
    return lf_load((const float *)row + i);
}

LF_INLINE float lf_weight(int dtype, const void *row, int64_t i) {
    if (dtype == LF_F16) return lf_half(((const uint16_t *)row)[i]);
    if (dtype == LF_BF16) return lf_float((uint32_t)((const uint16_t *)row)[i] << 16);
    return ((const float *)row)[i];
}

/* The last values of a row, fewer than a vector has, and zeros. */
LF_INLINE lf_vf lf_last_weights(int dtype, const void *row, int32_t i, int32_t k) {
    float rest[LF_W] = {0};
    for (int32_t j = i; j < k; j++) rest[j - i] = lf_weight(dtype, row, j);
    return lf_load(rest);
}

/* A matrix of float weights or a part of it, `stride` bytes from row to row, and its product with `t` columns. */
typedef struct {
    const char *w;
    int64_t stride;
    const float *x;
    int64_t x_stride;
    float *out;
    int64_t out_stride;
    int32_t k, t;
    int64_t jump; /* bytes from the end of a turn's rows to those that the same thread is likely to take next */
    int32_t turn; /* rows that a thread takes at a time */
} lf_float_product;

/* Sums of a tile's rows x columns, lanes not yet added. Each has an accumulator of its own, so a tile's size changes no bit. */
typedef lf_vf lf_float_sums[LF_FLOAT_ROWS][LF_FLOAT_COLUMNS];

/* Add `count` values of k to a tile's sums, or begin them; weight rows are `stride` bytes apart, a row's vectors `step`.
   Meanwhile as many bytes are asked for at `ask`, if that is somewhere: between the loads, as a burst would hold these up. */
LF_INLINE void lf_float_tile(int dtype, const char *w, int64_t stride, int64_t step, const float *x, int64_t x_stride,
                             int32_t count, lf_float_sums sums, int begin, int rows, int columns, const char *ask) {
    lf_vf acc[LF_FLOAT_ROWS * LF_FLOAT_COLUMNS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
        for (int c = 0; c < columns; c++) acc[r * columns + c] = begin ? lf_set(0) : sums[r][c];
    for (int32_t i = 0; i + LF_W <= count; i += LF_W, w += step) {
        lf_vf v[LF_FLOAT_ROWS];
        if (ask)
            for (int64_t b = 0; b < rows * step; b += 64, ask += 64) __builtin_prefetch(ask, 0, LF_ASK_INTO);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) v[r] = lf_load_weight(dtype, w + r * stride, 0);
#pragma GCC unroll 6
        for (int c = 0; c < columns; c++) {
            lf_vf xc = lf_load(x + c * x_stride + i);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) acc[r * columns + c] = lf_fma(v[r], xc, acc[r * columns + c]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 6
        for (int c = 0; c < columns; c++) sums[r][c] = acc[r * columns + c];
}

/* Add what is behind the last whole vector of k to a tile's sums, and put them. Not inlined: with it in each of the tiles gcc
   kept sums in memory, and all was half as fast. */
static __attribute__((noinline)) void lf_float_finish(int dtype, const lf_float_product *p, int64_t row, int32_t column,
                                                      lf_float_sums sums, int rows, int columns) {
    int32_t whole = p->k / LF_W * LF_W;
    float *out = p->out + column * p->out_stride + row;
    if (whole == p->k && rows == LF_FLOAT_ROWS) {
        for (int c = 0; c < columns; c++, out += p->out_stride) {
            const lf_vf of[LF_FLOAT_ROWS] = {sums[0][c], sums[1][c], sums[2][c], sums[3][c]};
            lf_put_sums(out, of);
        }
        return;
    }
    for (int r = 0; r < rows; r++) {
        lf_vf rest = whole < p->k ? lf_last_weights(dtype, p->w + (row + r) * p->stride, whole, p->k) : lf_set(0);
        for (int c = 0; c < columns; c++) {
            lf_vf sum = sums[r][c];
            if (whole < p->k) sum = lf_fma(rest, lf_load_some(p->x + (column + c) * p->x_stride + whole, p->k - whole), sum);
            out[c * p->out_stride + r] = lf_sum(sum);
        }
    }
}

/* The rows that this thread comes to when it is at `row`. A row is too short for the processor to foresee much of the next. */
LF_INLINE const char *lf_rows_after(const lf_float_product *p, int64_t row) {
    return p->w + row * p->stride + (row % p->turn ? 0 : p->jump);
}

/* A tile from the weights as they lie in memory. */
LF_INLINE void lf_float_direct(int dtype, const lf_float_product *p, int64_t row, int32_t column, int rows, int columns) {
    lf_float_sums sums;
    int64_t step = LF_W * (dtype == LF_F32 ? 4 : 2);
    const char *ask = rows == LF_FLOAT_ROWS && !column ? lf_rows_after(p, row + rows) : 0; /* later columns find them near */
    lf_float_tile(dtype, p->w + row * p->stride, p->stride, step, p->x + column * p->x_stride, p->x_stride, p->k, sums, 1, rows,
                  columns, ask);
    lf_float_finish(dtype, p, row, column, sums, rows, columns);
}

/* Rows begin .. end with all columns. */
LF_INLINE void lf_float_rows(int dtype, const lf_float_product *p, int64_t begin, int64_t end) {
    for (int32_t c = 0, some; c < p->t; c += some) {
        some = lf_some_columns(p->t - c, LF_FLOAT_COLUMNS);
        for (int64_t r = begin, rows; r < end; r += rows) {
            rows = r + LF_FLOAT_ROWS <= end ? LF_FLOAT_ROWS : 1;
#define LF_TILE_CASE(columns)                                                                                     \
    if (some == columns && rows == 1) lf_float_direct(dtype, p, r, c, 1, columns);                                \
    if (some == columns && rows > 1) lf_float_direct(dtype, p, r, c, LF_FLOAT_ROWS, columns);
            LF_FLOAT_CASES
#undef LF_TILE_CASE
        }
    }
}

/* Rows of a format that is known only now. */
static void lf_float_each(int dtype, const lf_float_product *p, int64_t begin, int64_t end) {
    if (dtype == LF_F16) lf_float_rows(LF_F16, p, begin, end);
    if (dtype == LF_BF16) lf_float_rows(LF_BF16, p, begin, end);
    if (dtype == LF_F32) lf_float_rows(LF_F32, p, begin, end);
}

/* A pass of some columns over weights that lie as floats: [rows / 4][k][4][LF_W]. A stretch of k of these columns stays in the
   first cache while all rows pass. */
LF_INLINE void lf_float_pass(int dtype, const lf_float_product *p, const float *floats, int64_t begin, int64_t end,
                             int32_t column, int columns) {
    const int64_t group = (int64_t)LF_FLOAT_ROWS * sizeof(float), vector = LF_W * sizeof(float);
    lf_float_sums sums[LF_ROWS_A_TURN / LF_FLOAT_ROWS];
    int32_t whole = p->k / LF_W * LF_W;
    for (int32_t k = 0; k < whole || !k; k += LF_STRETCH) {
        int32_t count = whole - k < LF_STRETCH ? whole - k : LF_STRETCH;
        const char *w = (const char *)floats + k * group;
        for (int64_t r = begin; r + LF_FLOAT_ROWS <= end; r += LF_FLOAT_ROWS, w += whole * group) {
            lf_vf(*at)[LF_FLOAT_COLUMNS] = sums[(r - begin) / LF_FLOAT_ROWS];
            lf_float_tile(LF_F32, w, vector, LF_FLOAT_ROWS * vector, p->x + column * p->x_stride + k, p->x_stride, count, at,
                          !k, LF_FLOAT_ROWS, columns, 0);
            if (k + LF_STRETCH >= whole) lf_float_finish(dtype, p, r, column, at, LF_FLOAT_ROWS, columns);
        }
    }
}

/* LF_FLOAT_ROWS rows as floats, their vectors side by side. */
static void lf_float_place(int dtype, const char *w, int64_t stride, int32_t count, float *to) {
    for (int32_t i = 0; i < count; i += LF_W)
        for (int r = 0; r < LF_FLOAT_ROWS; r++, to += LF_W) lf_put(to, lf_load_weight(dtype, w + r * stride, i));
}

/* Rows begin .. end with many columns: their weights become floats side by side once for all of them. */
static __attribute__((noinline)) void lf_float_many(int dtype, const lf_float_product *p, float *floats, int64_t begin,
                                                    int64_t end) {
    int64_t left = begin;
    int32_t whole = p->k / LF_W * LF_W;
    float *to = floats;
    for (; left + LF_FLOAT_ROWS <= end; left += LF_FLOAT_ROWS, to += whole * LF_FLOAT_ROWS)
        lf_float_place(dtype, p->w + left * p->stride, p->stride, whole, to);
    for (int32_t c = 0, some; c < p->t; c += some) {
        some = lf_some_columns(p->t - c, LF_FLOAT_COLUMNS);
#define LF_TILE_CASE(columns) \
    if (some == columns) lf_float_pass(dtype, p, floats, begin, end, c, columns);
        LF_FLOAT_CASES
#undef LF_TILE_CASE
    }
    lf_float_each(dtype, p, left, end);
}

/* A whole product, some rows at a time. */
static void lf_float_turns(const lf_call *call, const lf_matmul_args *a) {
    int dtype = a->w->dtype;
    lf_float_product p = {a->w->data, lf_bytes(dtype, a->w->stride[1]), a->x->data, a->x->stride[1], a->out0->data,
                          a->out0->stride[1], a->w->ne[0], a->x->ne[1], 0, LF_ROWS_A_TURN};
    int64_t n = a->w->ne[1];
    if (p.t <= LF_FLOAT_FEW) p.turn = lf_rows_a_turn(call, n, LF_ROWS_A_TURN, LF_FEWER_ROWS);
    p.jump = (call->sharing - 1) * p.turn * p.stride;
    for (lf_turns turns = lf_turns_of(call, n, p.turn, p.t, LF_FLOAT_COLUMNS); lf_take_turn(call, &turns);) {
        int64_t begin = turns.row, end = begin + p.turn < n ? begin + p.turn : n;
        lf_float_product some = p;
        some.x += turns.first * p.x_stride, some.out += turns.first * p.out_stride, some.t = turns.end - turns.first;
        if (p.t > LF_FLOAT_FEW)
            lf_float_many(dtype, &some, (float *)call->scratch, begin, end);
        else
            lf_float_each(dtype, &some, begin, end);
    }
}
#endif
