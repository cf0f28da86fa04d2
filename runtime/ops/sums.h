/* Sums of products of floats with lanes side by side: the inner loop of attention and of products with float weights. */
#ifndef LF_SUMS_H
#define LF_SUMS_H
#include "simd.h"

/* Vectors that one pass holds beside six rows' factors: the registers are full of accumulators. */
#if LF_W == 16
#define LF_WIDE 4
#else
#define LF_WIDE 2
#endif

/* out[r][..] += the sum over i < n of x[r][i] times m[i][..], for `rows` rows and `vectors` vectors: one accumulator for each,
   i in order. x has rows x_stride apart, m and out likewise. Where out is fresh, sums begin with 0, whatever it holds. */
LF_INLINE void lf_sum_tile(const float *x, int64_t x_stride, const float *m, int64_t m_stride, int32_t n, float *out,
                           int64_t out_stride, int rows, int vectors, int fresh) {
    lf_vf acc[6][4];
    if (fresh) {
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = lf_set(0);
    } else {
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = lf_load(out + r * out_stride + v * LF_W);
    }
    for (int32_t i = 0; i < n; i++, m += m_stride) {
        lf_vf b[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) b[v] = lf_load(m + v * LF_W);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            lf_vf one = lf_set(x[r * x_stride + i]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = lf_fma(one, b[v], acc[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) lf_put(out + r * out_stride + v * LF_W, acc[r][v]);
}

/* The same for any number of rows, and `width` values of each. */
static void lf_sum_rows(const float *x, int64_t x_stride, const float *m, int64_t m_stride, int32_t n, float *out,
                        int64_t out_stride, int32_t rows, int32_t width, int fresh) {
    int32_t j = 0;
    for (int wide = LF_WIDE; wide; wide = wide > 1 ? 1 : 0)
        for (; j + wide * LF_W <= width; j += wide * LF_W)
            for (int32_t r = 0, some; r < rows; r += some) {
                const float *xr = x + r * x_stride;
                float *o = out + r * out_stride + j;
                int left = rows - r;
                some = left >= 6 ? 6 : left >= 3 ? 3 : left;
#define LF_TILE_CASE(count)                                                                                   \
    if (some == count && wide == LF_WIDE)                                                                     \
        lf_sum_tile(xr, x_stride, m + j, m_stride, n, o, out_stride, count, LF_WIDE, fresh);                  \
    if (some == count && wide == 1) lf_sum_tile(xr, x_stride, m + j, m_stride, n, o, out_stride, count, 1, fresh);
                LF_TILE_CASE(6)
                LF_TILE_CASE(3)
                LF_TILE_CASE(2)
                LF_TILE_CASE(1)
#undef LF_TILE_CASE
            }
    for (; j < width; j++)
        for (int32_t r = 0; r < rows; r++) {
            float sum = fresh ? 0 : out[r * out_stride + j];
            for (int32_t i = 0; i < n; i++) sum = lf_fma1(x[r * x_stride + i], m[i * m_stride + j], sum);
            out[r * out_stride + j] = sum;
        }
}
#endif
